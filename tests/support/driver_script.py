"""A driver around a core that says what the test wants: no threads, no time but what is given."""

from d_engine import pure
from d_engine.pure import driver as d
from d_engine.pure.configuration import encode
from d_engine.pure.entry import Proposal

SETTINGS = d.DriverSettings(
    id=1,
    forward=True,
    max_forward_bytes=1_000,
    read_retry=1_000,
    refusal_pause=100,
    snapshot_every_entries=10,
    snapshot_every_bytes=0,
    trailing_entries=2,
    snapshot_pin_bytes=1_000,
    pin_grace=10_000,
)


class Script:
    """Answers every step with the effects prepared for it."""

    def __init__(self, leader):
        self.role = "follower"
        self.term = 3
        self.leader = leader
        self.commit = 0
        self.due = None
        self.inputs = []
        self.next = []
        self.match = {}

    def step(self, told):
        self.inputs.append(told)
        effects, self.next = self.next, []
        return effects

    def deadline(self):
        return self.due

    def matched(self, node):
        return self.match.get(node)

    def digest(self):
        return bytes(32)


class World:
    """Callers are known by a name."""

    def __init__(self, leader, settings=SETTINGS):
        self.script = Script(leader)
        self.driver = d.Driver(self.script, settings, d.DriverStart())
        self.out = []
        self.now = 1_000_000

    def prepare(self, *effects):
        self.script.next = list(effects)

    def feed(self, *effects):
        """One input whose step has these effects."""
        self.prepare(*effects)
        self.handle(d.Unreachable(9))

    def handle(self, told):
        self.out += self.driver.handle(self.now, 0, told)

    def flush(self):
        self.out += self.driver.flush(self.now, 0)

    def propose(self, waiter, entries, span=None):
        draft = tuple(Proposal("command", 0, 0, 0, b"x") for _ in range(entries))
        self.handle(d.Propose(draft, waiter, None if span is None else self.now + span))

    def read(self, waiter, span):
        self.handle(d.Read(waiter, self.now + span))

    def lease_read(self, waiter, span):
        self.handle(d.Read(waiter, self.now + span, "lease"))

    def change(self, waiter, span):
        self.handle(d.Change((pure.Remove(3),), waiter, self.now + span))

    def transfer(self, waiter, to, span):
        self.handle(d.Transfer(to, waiter, self.now + span))

    def change_leader(self, leader):
        self.script.leader = leader
        self.feed(pure.Changed("follower", 3, leader))

    def inputs(self):
        """What the core was told, since the last look."""
        taken, self.script.inputs = self.script.inputs, []
        return [line for line in map(_input, taken) if line]

    def said(self):
        taken, self.out = self.out, []
        return [line for line in map(_action, taken) if line]


def _input(told):
    match told:
        case pure.Propose():
            return f"propose {[(request, len(draft)) for request, draft in told.batches]}"
        case pure.Read():
            return f"{'lease ' if told.lease else ''}read {told.id}"
        case pure.ChangeMembers():
            return f"change {told.id} {list(told.changes)}"
        case pure.Transfer():
            return f"transfer {told.id} {told.to}"
        case pure.Purge():
            return f"purge {told.upto}"
        case pure.Close():
            return f"close {told.handover}"
        case pure.SnapshotTaken():
            return f"taken {told.last.index}@{told.last.term}"
        case pure.Time():
            return "time"
        case _:
            return None


def _action(action):
    match action:
        case d.Apply():
            return f"apply {len(action.entries)} [{', '.join(map(_piece, action.wanted))}]"
        case d.FailProposal():
            begun = "" if action.id is None else "after a part, "
            return f"{begun}{action.waiter}: {action.failure}"
        case d.FailRead():
            return f"{action.waiter}: {action.failure}"
        case d.Query():
            return f"query {action.waiter} at {action.index}"
        case d.EndSnapshot():
            return f"snapshot {action.waiter}: {action.result}"
        case d.EndChange():
            return f"change {action.waiter}: {action.result!s}"
        case d.EndTransfer():
            return f"transfer {action.waiter}: {action.result}"
        case d.TakeSnapshot():
            return "take a snapshot"
        case pure.Restore():
            return f"restore {action.last.index}@{action.last.term}"
        case pure.Closed():
            return "closed"
        case _:
            return None


def _piece(wanted):
    span = f"{wanted.start}..{wanted.stop}"
    match wanted.piece:
        case d.More():
            return f"{span} more of {wanted.id}"
        case d.Last(waiter):
            return f"{span} {waiter}"
        case d.Cut(waiter, failure):
            return f"{span} {waiter}: {failure}"
        case _:
            raise AssertionError(wanted)


def entries(first, count, term):
    return tuple(pure.Entry(index, term, "command", 1, 0, 0, 0, b"x") for index in range(first, first + count))


def configured(index, term, outgoing=()):
    """An entry that changes the members; joint with `outgoing`."""
    return pure.Entry(index, term, "configuration", 1, 0, 0, 0, encode(pure.Configuration((), outgoing)))


def proposed(request, index, term):
    return pure.Proposed(request, pure.LogId(term, index))
