"""Settings, configurations and entries that simulated members work with."""

from d_engine.pure import Configuration, Entry, Member, Settings

MS = 1_000
HEARTBEAT = 50 * MS
ELECTION = (150 * MS, 300 * MS)
STALL = 15_000 * MS


def settings(**changes):
    return Settings(
        heartbeat_interval=HEARTBEAT,
        election_timeout=ELECTION,
        drift_ppm=1_000,
        storage_stall_timeout=STALL,
        max_append_bytes=64 << 10,
        max_inflight_messages=8,
        max_inflight_bytes=256 << 10,
        max_uncommitted_bytes=1 << 20,
        tail_bytes=1 << 20,
        max_applying_bytes=1 << 20,
    )._replace(**changes)


def incarnation(node, life=0):
    """The data directory that a node runs on; a wipe begins another life."""
    return (node << 64) + (life << 16) + 0xD15C


def member(node, **fields):
    return Member(
        id=node,
        address=f"node-{node}:7000",
        client_address=None,
        role="voter",
        priority=0,
        auto_promote=False,
        incarnation=None,
    )._replace(**fields)


def configuration(members, outgoing=(), min_election_timeout=ELECTION[0]):
    return Configuration(tuple(members), tuple(outgoing), min_election_timeout)


def unseen(nodes):
    """Voters 1 to `nodes`, none of which any leader has seen."""
    return configuration(member(node) for node in range(1, nodes + 1))


def seen(nodes):
    """Voters 1 to `nodes`, with their incarnations on record."""
    return configuration(member(node, incarnation=incarnation(node)) for node in range(1, nodes + 1))


def entry(index, term, data=None, kind="command"):
    """One entry, as a leader of `term` would have made it."""
    data = f"{index}@{term}".encode() if data is None else data
    return Entry(index=index, term=term, kind=kind, time=index, session=0, sequence=0, ack_below=0, data=data)


def log_of(terms):
    """A log written as the terms of its entries, from index 1 on."""
    return [entry(index, term) for index, term in enumerate(terms, 1)]
