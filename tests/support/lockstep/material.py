"""What streams are made of: payloads, configurations, changes, settings, and numbers near the true ones and far from them."""

from random import Random

from d_engine.pure import Add, Configuration, Demote, Entry, Member, Promote, Proposal, Remove
from d_engine.pure.configuration import encode
from support.sim.make import ELECTION, MS, incarnation, settings

PAYLOADS = (b"", b"a", b"set x", b"." * 40, b"-" * 150, b"=" * 400)
EDGES = (0, 1, 2, 1 << 32, (1 << 62) - 1, 1 << 62, (1 << 64) - 2, (1 << 64) - 1)
REFUSED = ("not_leader", "transferring", "overloaded", "storage_stalled", "apply_stopped", "closing", "no_successor")
NODES = 6  # numbers that members have


def stream(seed, purpose):
    """One stream of random numbers for each purpose, so that a draw more for one shifts no other."""
    return Random(f"{seed}/{purpose}")


def limits(random):
    """Tight limits, so that each is met."""
    pick = random.randint
    return settings(
        storage_stall_timeout=random.choice((pick(60, 300), pick(300, 1_000), pick(300, 4_000))) * MS,
        max_append_bytes=pick(100, 2_000),
        max_inflight_messages=pick(1, 6),
        max_inflight_bytes=pick(200, 4_000),
        max_uncommitted_bytes=pick(1_000, 20_000),
        tail_bytes=pick(0, 3_000),
        max_applying_bytes=pick(100, 3_000),
        drift_ppm=random.choice((0, 1_000, 100_000)),
    )


def member(random, node, role=None, known=0.85):
    return Member(
        id=node,
        address=f"node-{node}:7000",
        client_address=f"node-{node}:8000" if random.random() < 0.1 else None,
        role=role or random.choices(("voter", "learner", "witness"), (8, 2, 1))[0],
        priority=random.choice((0, 0, 0, 1, 5, -3)),
        auto_promote=random.random() < 0.5,
        incarnation=incarnation(node) if random.random() < known else None,
    )


def some_configuration(random, *, me=None, known=0.85):
    """Any configuration; with `me`, mostly one in which that node votes."""
    count = random.choices((1, 2, 3, 4, 5), (2, 2, 8, 3, 5))[0]
    nodes = set(random.sample(range(1, NODES + 1), count))
    if me is not None and random.random() < 0.95:
        nodes.add(me)
    members = [member(random, node, known=known) for node in sorted(nodes)]
    if me is not None and random.random() < 0.9:
        members = [one._replace(role="voter") if one.id == me else one for one in members]
    if all(one.role != "voter" for one in members):
        members[0] = members[0]._replace(role="voter")  # no change makes a cluster without voters
    outgoing = ()
    if random.random() < 0.15:
        outgoing = tuple(sorted(random.sample(range(1, NODES + 1), random.randint(1, 3))))
        held = {one.id for one in members}
        for node in outgoing:
            if node not in held:
                members.append(member(random, node, role="learner", known=known)._replace(leaving=True))
        members.sort()
    return Configuration(tuple(members), outgoing, random.choice((ELECTION[0], ELECTION[0], 60 * MS)))


def some_changes(random):
    """What a user may ask for: mostly one thing, sometimes several, sometimes nonsense."""
    changes = []
    for _ in range(random.choices((0, 1, 2, 3), (1, 16, 4, 1))[0]):
        node = random.choice((0, *range(1, NODES + 1), *range(1, NODES + 1)))
        kind = random.random()
        if kind < 0.4:
            changes.append(Add(member(random, node, known=0.1)))
        else:
            changes.append((Remove if kind < 0.6 else Promote if kind < 0.8 else Demote)(node))
    return tuple(changes)


def some_draft(random):
    count = random.choices((0, 1, 2, 5), (1, 12, 3, 1))[0]
    return tuple(
        Proposal(
            "command" if random.random() < 0.95 else "session",
            random.choice((0, 0, 0, 7)),
            random.choice((0, 1, 2)),
            random.choice((0, 1)),
            random.choice(PAYLOADS),
        )
        for _ in range(count)
    )


def some_entry(random, index, term, *, configurations=0.06):
    kind, data = "command", random.choice(PAYLOADS)
    which = random.random()
    if which < configurations:
        kind, data = "configuration", encode(some_configuration(random))
    elif which < configurations + 0.1:
        kind, data = "noop", b""
    return Entry(index, term, kind, min(index + random.choice((0, 0, 5)), 1 << 62), 0, 0, 0, data)


def near(random, value):
    """A number that is right more often than not, else beside it, and now and then from the edges of all numbers."""
    which = random.random()
    if which < 0.6:
        return value
    if which < 0.97:
        return min(max(0, value + random.choice((-3, -2, -1, 1, 2))), EDGES[-1])
    return random.choice(EDGES)


def local(random, value):
    """The same for what comes from this node itself: never beyond what any log can reach."""
    return min(near(random, value), 1 << 61)
