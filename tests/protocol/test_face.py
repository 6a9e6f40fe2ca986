"""One face for both: the native core and the pure one take the same records, give the same, and are in the same state."""

from collections import deque

import pytest

from d_engine import ConfigError, InvalidMessageError, core, pure
from d_engine.core import (
    Append,
    Applied,
    Apply,
    Changed,
    ChangeMembers,
    Close,
    Closed,
    Fetched,
    HardState,
    Heartbeat,
    LogId,
    Message,
    Persist,
    Persisted,
    PersistFailed,
    PreVote,
    Promote,
    Proposal,
    Propose,
    Proposed,
    Purge,
    Read,
    ReadReady,
    Receive,
    Refused,
    Remove,
    Send,
    SnapshotReceived,
    SnapshotTaken,
    Start,
    Time,
    TimeoutNow,
    Transfer,
    Transferred,
    Vote,
)
from d_engine.pure import driver
from support.lockstep.pair import same
from support.sim.make import MS, configuration, entry, incarnation, member, seen, settings

CORES = {"native": core.NativeCore, "pure": pure.Core}
both = pytest.mark.parametrize("make", CORES.values(), ids=CORES)


def start(node=1, nodes=3, **fields):
    return Start(
        id=node,
        incarnation=incarnation(node),
        group=0,
        seed=node,
        hard_state=HardState(),
        purged=LogId(),
        last=0,
        term_runs=(),
        last_time=0,
        configurations=((0, seen(nodes)),),
        snapshot=None,
        applied=0,
    )._replace(**fields)


class Cluster:
    """Cores that hear each other at once, on disks that are quick; everything that they said is kept."""

    def __init__(self, make, nodes=3):
        self.now = 0
        self.cores = {node: make(0, settings(), start(node, nodes)) for node in range(1, nodes + 1)}
        self.waiting = deque()
        self.said = []

    def step(self, node, what, *fields):
        """Steps one core, and then whatever follows from it."""
        self.waiting.append((node, what(self.now, *fields)))
        while self.waiting:
            node, told = self.waiting.popleft()
            for effect in self.cores[node].step(told):
                self.said.append((node, effect))
                match effect:
                    case Persist(token):
                        self.waiting.append((node, Persisted(self.now, token)))
                    case Send(message):
                        self.waiting.append((message.to, Receive(self.now, self.now, message)))
                    case Apply(entries):
                        self.waiting.append((node, Applied(self.now, entries[-1].index)))
                    case _:
                        pass
            self.said.append((node, self.cores[node].digest(), self.cores[node].deadline()))

    def elect(self, node):
        """Its timer fires first."""
        self.now = max(self.now, self.cores[node].deadline())
        self.step(node, Time, self.now)
        assert self.cores[node].role == "leader"

    def pass_time(self, span):
        """Everybody's timers fire as they are due."""
        until = self.now + span
        while (due := min(self.deadlines()))[0] <= until:
            self.now = max(self.now, due[0])
            self.step(due[1], Time, self.now)
        self.now = until

    def deadlines(self):
        return [(at, node) for node, one in self.cores.items() if (at := one.deadline()) is not None]

    def effects(self, node, kind):
        return [told[1] for told in self.said if told[0] == node and type(told[1]) is kind]


def proposals(*data):
    return tuple(Proposal("command", 0, 0, 0, one) for one in data)


def elected(make):
    cluster = Cluster(make)
    cluster.elect(2)
    return cluster


def committed(make):
    cluster = elected(make)
    cluster.step(2, Propose, 5, ((1, proposals(b"one", b"two")), (2, proposals(b"three"))))
    cluster.pass_time(200 * MS)
    return cluster


def forwarded(make):
    cluster = elected(make)
    cluster.pass_time(100 * MS)
    cluster.step(3, Propose, 5, ((9, proposals(b"from afar")),))
    cluster.step(3, Read, 10)
    cluster.pass_time(100 * MS)
    return cluster


def transferred(make):
    cluster = committed(make)
    cluster.step(2, Transfer, 7, 3)
    cluster.pass_time(100 * MS)
    return cluster


def reduced(make):
    cluster = committed(make)
    cluster.step(2, ChangeMembers, 6, 8, (Remove(1),))
    cluster.pass_time(100 * MS)
    return cluster


def closed(make):
    cluster = committed(make)
    cluster.step(2, Close, True)
    cluster.pass_time(100 * MS)
    return cluster


@both
def test_a_leader_is_elected_and_an_entry_committed(make):
    cluster = committed(make)
    assert [cluster.cores[node].role for node in (1, 2, 3)] == ["follower", "leader", "follower"]
    assert cluster.effects(2, Changed)[-1] == ("leader", 1, 2)
    assert cluster.effects(2, Proposed) == [(1, LogId(1, 2)), (2, LogId(1, 4))]
    for node in (1, 2, 3):
        applied = [entry for effect in cluster.effects(node, Apply) for entry in effect.entries]
        assert [(entry.index, entry.kind, entry.data) for entry in applied] == [
            (1, "noop", b""),
            (2, "command", b"one"),
            (3, "command", b"two"),
            (4, "command", b"three"),
        ]
        assert cluster.cores[node].commit == 4
        assert cluster.cores[node].leader == 2


@both
def test_followers_pass_on_what_is_the_leaders(make):
    cluster = forwarded(make)
    assert cluster.effects(3, Proposed) == [(9, LogId(1, 2))]
    assert [index >= 1 for _, index in cluster.effects(3, ReadReady)] == [True]


@both
def test_status(make):
    status = committed(make).cores[2].status()
    assert type(status) is pure.CoreStatus
    assert (status.id, status.role, status.term, status.vote, status.leader) == (2, "leader", 1, 2, 2)
    assert (status.commit, status.applied, status.last, status.durable) == (4, 4, LogId(1, 4), 4)
    assert status.configuration == seen(3)
    assert [(type(one), one.id, one.matched, one.state) for one in status.progress] == [
        (pure.ProgressStatus, 1, 4, "replicate"),
        (pure.ProgressStatus, 3, 4, "replicate"),
    ]


@both
def test_leadership_and_membership_change(make):
    assert transferred(make).effects(2, Transferred) == [(7, 3)]
    cluster = reduced(make)
    assert cluster.cores[2].status().configuration.voters() == (2, 3)
    assert closed(make).effects(2, Closed) == [()]


@pytest.mark.parametrize("scene", [elected, committed, forwarded, transferred, reduced, closed])
def test_both_say_the_same_and_are_in_the_same_state(scene):
    native, simple = scene(core.NativeCore), scene(pure.Core)
    assert len(native.said) > 20
    for number, (one, other) in enumerate(zip(native.said, simple.said, strict=True)):
        assert same(one, other), number
    for node in native.cores:
        assert same(native.cores[node].status(), simple.cores[node].status())
        assert native.cores[node].matched(1) == simple.cores[node].matched(1)


def test_an_entry_is_one_object_on_its_way():
    """It is made once, whatever it is part of, and comes back as what went in."""
    cluster = committed(core.NativeCore)
    (entry,) = {id(e): e for e in all_entries(cluster, 2) if e.data == b"three"}.values()
    assert all(other is entry for node in (1, 3) for other in all_entries(cluster, node) if other.data == b"three")


def all_entries(cluster, node):
    for _, effect, *_rest in (told for told in cluster.said if told[0] == node):
        if type(effect) in {Persist, Apply}:
            yield from effect.entries
        elif type(effect) is Send and type(effect.message.body) is Append:
            yield from effect.message.body.entries


def test_two_entries_of_one_place_are_not_taken_for_each_other():
    """Two damaged leaders of one term: what was remembered of the first must not stand for the second's."""
    native = core.NativeCore(0, settings(), start())
    (first,) = append(native, entry(1, 1, b"first"))
    assert first.entries[0].data == b"first"
    # A later term cuts it, and puts its own there.
    (second,) = append(native, entry(1, 2, b"second"), term=2)
    assert second.entries[0].data == b"second"


def append(native, *entries, term=1):
    message = Message(2, incarnation(2), 1, term, Append(LogId(), 0, entries))
    return [effect for effect in native.step(Receive(1, 1, message)) if type(effect) is Persist]


# --- bad input -------------------------------------------------------------------------------------------------------------


def receive(body, **fields):
    return Receive(1, 1, Message(2, incarnation(2), 1, 1, body)._replace(**fields))


def by_kind(wrong):
    """Test parameters, each by what it is and its number."""
    return [pytest.param(one, id=f"{type(one).__name__}-{number}") for number, one in enumerate(wrong)]


NOT_INPUTS = [
    None,
    7,
    "Time",
    (1, 2),
    Proposal("command", 0, 0, 0, b""),
    Persist(1, None, None, None, ()),
    driver.Persisted(1),
    tuple.__new__(Time, (1,)),
    Time("now", 0),
    Time(1.0, 0),
    Time(None, 0),
    Read(1, 1, 1),
    Receive(1, 1, None),
    Receive(1, 1, Time(1, 1)),
    receive(None),
    receive(Time(1, 1)),
    receive(PreVote((1, 1))),
    receive(Vote(LogId(1, 1), "yes")),
    receive(Heartbeat(1, 1), incarnation="1"),
    receive(Append(LogId(), 0, None)),
    receive(Append(LogId(), 0, (b"entry",))),
    receive(Append(LogId(), 0, (entry(1, 1)._replace(data="text"),))),
    receive(Append(LogId(), 0, (entry(1, 1)._replace(data=bytearray(3)),))),
    Propose(1, 1, 5),
    Propose(1, 1, ((1, b"data"),)),
    Propose(1, 1, ((1, (b"data",)),)),
    ChangeMembers(1, 1, 1, (1,)),
    SnapshotReceived(1, 2, 1, LogId(1, 1), 1, (1, None)),
    Fetched(1, 1, 3),
]


@pytest.mark.parametrize("wrong", by_kind(NOT_INPUTS))
def test_a_wrong_type_changes_nothing(wrong):
    refused(TypeError, wrong)


BEYOND = [
    Time(-1, 0),
    Time(0, 2**64),
    Time(2**62, 0),
    Applied(1, 2**62),
    Purge(1, 2**62),
    SnapshotTaken(1, LogId(2**62, 1)),
    Fetched(1, 1, (entry(1, 1), entry(3, 1))),
    Propose(1, 1, ((1,),)),
    Propose(1, 1, ((1, (Proposal("noop", 0, 0, 0, b""),)),)),
    Propose(1, 1, ((1, (Proposal("nonsense", 0, 0, 0, b""),)),)),
    SnapshotReceived(1, 2, 1, LogId(1, 1), 1, (1, configuration([member(2), member(1)]))),
    SnapshotReceived(1, 2, 1, LogId(1, 1), 1, (1, configuration([member(0)]))),
    SnapshotReceived(1, 2, 1, LogId(1, 1), 1, (1, configuration([member(1)], [3, 2]))),
    SnapshotReceived(1, 2, 1, LogId(1, 1), 1, (1, configuration([member(1, role="king")]))),
]


@pytest.mark.parametrize("wrong", by_kind(BEYOND))
def test_a_value_that_cannot_be_changes_nothing(wrong):
    refused(ValueError, wrong)


NO_MESSAGES = [
    receive(Heartbeat(-1, 0)),
    receive(Heartbeat(2**64, 0)),
    receive(Heartbeat(1, 0), term=2**64),
    receive(Heartbeat(1, 0), incarnation=2**128),
    receive(TimeoutNow(-1)),
    receive(Append(LogId(), 0, (entry(1, 1)._replace(kind="nonsense"),))),
    receive(pure.ProposeReply(1, "nonsense")),
    receive(pure.ChangeReply(1, pure.ChangeError("nonsense"))),
    receive(pure.ChangeReply(1, pure.ChangeError("duplicate", ()))),
    receive(pure.ForwardedPropose(1, (Proposal("configuration", 0, 0, 0, b""),))),
]


@pytest.mark.parametrize("wrong", by_kind(NO_MESSAGES))
def test_what_no_message_can_hold_changes_nothing(wrong):
    refused(InvalidMessageError, wrong)


def refused(error, wrong):
    native = elected(core.NativeCore).cores[2]
    before, status = native.digest(), native.status()
    with pytest.raises(error):
        native.step(wrong)
    assert (native.digest(), native.status()) == (before, status)
    assert native.step(Read(10**6, 1))  # and it works


@both
@pytest.mark.parametrize(
    "absurd",
    by_kind(
        [
            receive(Heartbeat(1, 2**64 - 1)),
            receive(Append(LogId(2**63, 2**63), 0, ())),
            receive(Append(LogId(), 0, (entry(2, 1), entry(5, 1)))),
            receive(Append(LogId(), 0, (entry(1, 1, b"no configuration", "configuration"),))),
            receive(pure.SnapshotReply(2**64 - 1)),
        ]
    ),
)
def test_what_no_member_would_send_is_dropped(make, absurd):
    one = make(0, settings(), start())
    quiet = one.step(absurd)
    assert [type(effect) for effect in quiet if type(effect) is not Changed] == []


CONFIG = [
    ("settings", {"election_timeout": (5, 4)}),
    ("settings", {"election_timeout": (0, 4)}),
    ("settings", {"election_timeout": (1, 2**63)}),
    ("settings", {"heartbeat_interval": 0}),
    ("settings", {"heartbeat_interval": -1}),
    ("settings", {"drift_ppm": 1_000_001}),
    ("settings", {"tail_bytes": 2**63}),
    ("start", {"id": 0}),
    ("start", {"id": 2**64}),
    ("start", {"incarnation": 2**128}),
    ("start", {"purged": LogId(1, 5)}),
    ("start", {"term_runs": (), "last": 5}),
    ("start", {"last": 2**62}),
    ("start", {"last": 5, "term_runs": ((2, 1),)}),
    ("start", {"last": 5, "term_runs": ((1, 1), (3, 1))}),
    ("start", {"last": 5, "term_runs": ((1, 1), (6, 2))}),
    ("start", {"configurations": ((1, seen(3)),)}),
    ("start", {"configurations": ((0, seen(3)), (0, seen(3)))}),
]


@pytest.mark.parametrize(("what", "wrong"), CONFIG)
def test_a_wrong_setting_or_start_is_a_config_error(what, wrong):
    given = {"settings": settings(), "start": start()}
    given[what] = given[what]._replace(**wrong)
    with pytest.raises(ConfigError) as raised:
        core.NativeCore(0, **given)
    assert next(iter(wrong)) in str(raised.value)


@pytest.mark.parametrize(("given", "error"), [((0, None, start()), TypeError), ((0, settings(), 1), TypeError)])
def test_what_a_core_is_made_of(given, error):
    with pytest.raises(error):
        core.NativeCore(*given)
    for now in (-1, 2**62, 2**64):
        with pytest.raises(ValueError, match=r"NativeCore\.now"):
            core.NativeCore(now, settings(), start())
    with pytest.raises(TypeError):
        core.NativeCore("now", settings(), start())


def test_one_call_at_a_time():
    """Code that runs in the middle of a step, here when an old incarnation is forgotten, does not see half of a state."""
    native = core.NativeCore(0, settings(), start())
    answers = []

    class Noisy(int):
        def __index__(self):
            answers.append("asked")
            return 1

        def __del__(self):
            try:
                native.digest()
            except RuntimeError as error:
                answers.append(str(error))

    for number in range(40):
        native.step(receive(Heartbeat(1, 0), incarnation=Noisy(number)))
    assert answers
    assert all("one thread at a time" in answer for answer in answers)


def test_a_core_that_has_failed_says_nothing():
    native = core.NativeCore(0, settings(), start())
    native.step(Time(1, 1))
    assert type(native.step(PersistFailed(2, 1))) is list
    assert native.step(Time(10**9, 1)) == []
    assert native.deadline() is None


@both
def test_what_is_refused_is_refused_by_both(make):
    one = make(0, settings(), start())
    assert one.step(Propose(1, 1, ((1, proposals(b"x")),))) == [Refused(1, "not_leader")]
    assert one.step(Read(1, 2)) == [Refused(2, "not_leader")]
    assert one.step(Transfer(1, 3, 2)) == [Transferred(3, "not_leader")]
    (refusal,) = one.step(ChangeMembers(1, 1, 4, (Promote(3),)))
    assert (refusal.id, refusal.why.kind) == (4, "not_leader")
    assert same(refusal.why, pure.ChangeError("not_leader"))


def test_all_records_are_on_both_faces():
    machinery = {"Core", "Log", "SplitMix64", "quorum"}
    assert set(pure.__all__) - machinery == set(core.__all__) - {"NativeCore"}
    own = {"NativeCore", "change", "committed_index", "vote_result"}
    for name in set(core.__all__) - own:
        assert getattr(core, name) is getattr(pure, name), name
    for name in own:
        assert getattr(core, name).__doc__
