"""The native driver beside the pure one: the same records in, the same out, the same digest. Large runs are `make lockstep`'s."""

import pytest

from d_engine import ConfigError, InvalidMessageError
from d_engine._cores import NativeDriver
from d_engine.core import Apply, Changed, Closed, HardState, LogId, Persist, Proposal, Start
from d_engine.pure import Core, Heartbeat, Message, Remove
from d_engine.pure import driver as d
from support.lockstep.pair import same
from support.sim.make import MS, entry, incarnation, seen, settings, unseen

OWN = d.DriverSettings(
    id=1,
    forward=True,
    max_forward_bytes=1_000,
    read_retry=300 * MS,
    refusal_pause=10 * MS,
    snapshot_every_entries=3,
    snapshot_every_bytes=0,
    trailing_entries=1,
    snapshot_pin_bytes=1_000,
    pin_grace=1_000 * MS,
)


def start(nodes):
    return Start(
        id=1,
        incarnation=incarnation(1),
        group=0,
        seed=7,
        hard_state=HardState(),
        purged=LogId(),
        last=0,
        term_runs=(),
        last_time=0,
        configurations=((0, unseen(nodes) if nodes == 1 else seen(nodes)),),
        snapshot=None,
        applied=0,
    )


def native(nodes):
    return NativeDriver(0, settings(), start(nodes), OWN, d.DriverStart())


def pure(nodes):
    return d.Driver(Core(0, settings(), start(nodes)), OWN, d.DriverStart())


class Two:
    """Both, on a disk and with a state machine that answer at once."""

    def __init__(self, nodes):
        self.native, self.pure = native(nodes), pure(nodes)
        self.now = 0
        self.out = []

    def handle(self, told):
        self.take(self.native.handle(self.now, 5, told), self.pure.handle(self.now, 5, told))

    def flush(self):
        self.take(self.native.flush(self.now, 5), self.pure.flush(self.now, 5))

    def turn(self, *told):
        for one in told:
            self.handle(one)
        self.flush()

    def run(self, span):
        until = self.now + span
        while (due := self.native.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.flush()
        self.now = until

    def take(self, native, pure):
        assert same(native, pure), (native, pure)
        assert self.native.digest() == self.pure.digest()
        assert self.native.deadline() == self.pure.deadline()
        assert self.native.position() == self.pure.position()
        for name in ("applied", "ready", "closed", "waiting"):
            assert same(getattr(self.native, name), getattr(self.pure, name)), name
        self.out += native
        for action in native:
            match action:
                case Persist(token):
                    self.handle(d.Persisted(token))
                case d.Apply(entries):
                    self.handle(d.Applied(LogId(entries[-1].term, entries[-1].index), 100))
                case d.TakeSnapshot():
                    self.handle(d.SnapshotTaken(self.native.applied))
                case _:
                    pass

    def of(self, kind):
        return [action for action in self.out if type(action) is kind]


def commands(*data):
    return tuple(Proposal("command", 0, 0, 0, one) for one in data)


def test_a_life_alone():
    two = Two(1)
    waiter = object()
    two.turn()
    assert two.of(Changed)[-1].role == "leader"
    two.turn(d.Propose(commands(b"a", b"b"), waiter), d.Propose(commands(b"c"), "another", 10**9))
    (first, second) = (one for action in two.of(d.Apply) for one in action.wanted)
    assert (first.piece, second.piece) == (d.Last(waiter), d.Last("another"))
    assert first.piece.waiter is waiter
    assert not two.of(Apply)
    two.turn(d.Read("r", None, "linearizable"), d.Read("l", None, "lease"), d.Read("e", None, "eventual"))
    two.run(100 * MS)
    assert sorted(query.waiter for query in two.of(d.Query)) == ["e", "l", "r"]
    two.turn(d.Change((Remove(1),), "c"), d.Transfer(None, "t"), d.Snapshot("s"))
    (ended,) = two.of(d.EndChange)
    assert (ended.waiter, ended.result.why.kind) == ("c", "no_voter_left")
    assert two.of(d.EndTransfer) == [("t", d.Refused("no_successor"))]
    assert two.of(d.EndSnapshot) == [("s", 4)]
    two.turn(d.Close(True, two.now + 10))
    assert two.of(Closed)
    assert two.native.closed
    two.turn(d.Propose(commands(b"x"), "late"))
    assert two.of(d.FailProposal) == [(None, "late", "closed")]


def test_a_life_without_the_others():
    two = Two(3)
    two.turn(d.Propose(commands(b"a"), "p", 400 * MS), d.Read("r", 400 * MS), d.Change((Remove(2),), "c", 400 * MS))
    two.run(1_000 * MS)
    assert [failure.failure for failure in two.of(d.FailProposal)] == [d.NotLeader(None, 0)]
    assert [failure.failure for failure in two.of(d.FailRead)] == ["deadline"]
    assert [ended.waiter for ended in two.of(d.EndChange)] == ["c"]
    two.turn(d.Propose(commands(b"a"), "p2"))
    two.take(two.native.fail_everything(), two.pure.fail_everything())
    assert two.of(d.FailProposal)[-1] == (None, "p2", "closed")


WRONG = [
    (TypeError, None),
    (TypeError, Heartbeat(1, 1)),
    (TypeError, d.Persisted("1")),
    (TypeError, d.Propose(b"x", "w")),
    (TypeError, d.Propose(commands(b"x"), "w", 1.5)),
    (TypeError, d.Change((1,), "w")),
    (TypeError, d.Close(1, 1)),
    (ValueError, d.Read("w", None, "fresh")),
    (ValueError, d.Read("w", -1)),
    (ValueError, d.Applied(LogId(1, 2**62), 1)),
    (ValueError, d.Applied(LogId(1, 1), 2**48)),
    (ValueError, d.Fetched(1, (entry(1, 1), entry(3, 1)))),
    (InvalidMessageError, d.Receive(Message(2, incarnation(2), 1, 1, Heartbeat(-1, 0)))),
]


def test_bad_input_changes_nothing():
    driver = native(1)
    driver.flush(0, 0)
    before = driver.digest()
    for error, told in WRONG:
        with pytest.raises(error):
            driver.handle(1, 1, told)
        assert driver.digest() == before, told
    with pytest.raises(ValueError, match="now"):
        driver.handle(2**62, 1, d.ApplyStopped())
    for wrong in ({"id": -1}, {"read_retry": 2**60}):
        with pytest.raises(ConfigError):
            NativeDriver(0, settings(), start(1), OWN._replace(**wrong), d.DriverStart())
    with pytest.raises(ConfigError):
        NativeDriver(0, settings(), start(1), OWN, d.DriverStart(ids_after=2**63))
