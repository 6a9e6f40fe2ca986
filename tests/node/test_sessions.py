"""Sessions: applied once, whatever is repeated, lost, restarted or kept; and what of a result comes back (class 38)."""

import asyncio
import copy
import gc
import itertools
import pickle
import threading

import pytest

from d_engine import (
    AsyncRaft,
    CommandError,
    Config,
    LocalCluster,
    LocalTransport,
    MemoryStorage,
    NotLeaderError,
    OutcomeUnknownError,
    PluginTypeError,
    Raft,
    ResultLostError,
    SessionExpiredError,
    SessionPlace,
    StateMachine,
)
from d_engine.sessions import Session
from support.clusters import WAIT, Trio, wait_until
from support.machines import Gate, Journal


class Refusal(CommandError):
    """With an `__init__` of its own."""

    def __init__(self, account, missing):
        super().__init__(f"account {account} lacks {missing}")
        self.account, self.missing = account, missing


class Odd:
    """Nothing that can be kept."""


class Text(str):
    """A subclass: what it is beyond a str would be lost."""

    __slots__ = ()


LOOP: list = []
LOOP.append(LOOP)

RESULTS = {
    b"none": None,
    b"true": True,
    b"false": False,
    b"zero": 0,
    b"small": -129,
    b"edge": 2**63 - 1,
    b"lowest": -(2**63),
    b"big": -(3**300),
    b"float": -0.1,
    b"inf": float("inf"),
    b"str": "ü\0x",
    b"bytes": b"\0\xff",
    b"list": [1, [2, "3"], {}],
    b"tuple": (1, (), b"x"),
    b"dict": {"b": 1, 2: [None], (1, "x"): {b"k": 0.5}},
}
LOST = {
    b"odd": Odd(),
    b"subclass": Text("x"),
    b"inside": [1, {"x": Odd()}],
    b"loop": LOOP,
    b"surrogate": "\ud800",
    b"large": b"x" * (1 << 20),
}


class Results(StateMachine[bytes, object]):
    """Gives what it is asked for; counts."""

    def __init__(self):
        self.count = 0

    def apply(self, entry):
        self.count += 1
        if entry.data == b"refuse":
            raise Refusal("a", 3)
        return (RESULTS | LOST)[entry.data]

    def snapshot(self, out):
        out.write(str(self.count).encode())

    def restore(self, src):
        self.count = int(src.read())


class Pickled(Results):
    """Keeps everything, in its own way."""

    def dump_result(self, result):
        if isinstance(result, Odd):
            return b"odd"
        raise ValueError("this one it cannot")

    def load_result(self, data):
        return f"loaded {data.decode()}"


@pytest.fixture
def cluster():
    with LocalCluster(Journal, nodes=3) as cluster:
        yield cluster


def place(session: Session, sequence: int, ack_below: int = 0) -> SessionPlace:
    return SessionPlace(session.id, sequence, ack_below)


def test_every_verb_works_in_a_session_and_a_repetition_is_answered(cluster):
    session = cluster.session()
    assert cluster.propose(b"a", session=session) == 1
    assert cluster.propose_many([b"b", b"refuse", bytearray(b"c")], session=session)[::2] == [2, 3]
    assert cluster.submit(b"d", session=session).result(WAIT) == 4
    assert cluster.submit_many([b"e", b"f"], session=session).result(WAIT) == [5, 6]
    # The last proposal had the numbers 6 and 7: through any node it is answered, and not applied.
    for raft in cluster.nodes.values():
        assert raft.propose_many([b"e", b"f"], session=place(session, 6)) == [5, 6]
        assert raft.propose(b"f", session=place(session, 7)) == 6
    assert cluster.query(None) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert cluster.metrics()["repeated_entries"] > 0
    assert repr(session) == f"<Session {session.id}: 7 proposals, 0 open>"


def test_a_session_of_one_node_serves_all(cluster):
    cluster.wait_ready(timeout=WAIT)
    session = cluster.nodes[1].session()
    assert [cluster.nodes[node].propose(b"x", session=session) for node in (1, 2, 3)] == [1, 2, 3]
    assert cluster.nodes[2].status().applied > 0
    assert cluster.nodes[2].metrics()["sessions"] == 1


def test_results_come_back_as_they_were():
    with LocalCluster(Results, nodes=1) as cluster:
        session = cluster.session()
        for sequence, (data, result) in enumerate(RESULTS.items(), 1):
            first = cluster.propose(data, session=place(session, sequence))
            again = cluster.propose(data, session=place(session, sequence))
            assert first == again == result
            assert type(again) is type(result)
            assert repr(again) == repr(result)
        with pytest.raises(Refusal):
            cluster.propose(b"refuse", session=place(session, 100))
        with pytest.raises(Refusal) as caught:
            cluster.propose(b"refuse", session=place(session, 100))
        assert (caught.value.account, caught.value.missing) == ("a", 3)
        assert caught.value.results == []
        [again] = cluster.propose_many([b"refuse"], session=place(session, 100))
        assert isinstance(again, Refusal)


def test_what_cannot_be_kept_is_given_once_and_stops_nothing():
    with LocalCluster(Results, nodes=1) as cluster:
        session = cluster.session()
        for sequence, (data, result) in enumerate(LOST.items(), 1):
            assert type(cluster.propose(data, session=place(session, sequence))) is type(result)
            with pytest.raises(ResultLostError) as caught:
                cluster.propose(data, session=place(session, sequence))
            assert (caught.value.session, caught.value.sequence) == (session.id, sequence)
            assert not caught.value.retryable
        assert cluster.read(lambda machine: machine.count) == len(LOST)


def test_a_machine_keeps_results_its_own_way():
    with LocalCluster(Pickled, nodes=1) as cluster:
        session = cluster.session()
        assert isinstance(cluster.propose(b"odd", session=place(session, 1)), Odd)
        assert cluster.propose(b"odd", session=place(session, 1)) == "loaded odd"
        assert cluster.propose(b"true", session=place(session, 2)) is True
        with pytest.raises(ResultLostError):  # its dump_result raised: that is no failure of apply
            cluster.propose(b"true", session=place(session, 2))
        for _ in range(2):  # refusals do not go through it
            with pytest.raises(Refusal):
                cluster.propose(b"refuse", session=place(session, 3))
        assert cluster.status().apply_error is None


def test_half_of_the_two_functions_is_refused():
    class Half(Results):
        def dump_result(self, result):
            return b""

    with pytest.raises(PluginTypeError, match="load_result"):
        Raft(1, MemoryStorage(), Half(), peers={1: "local:1"}, transport=LocalTransport())


def test_unknown_sessions_and_wrong_arguments(cluster):
    with pytest.raises(SessionExpiredError) as caught:
        cluster.propose(b"x", session=SessionPlace(12345, 1, 0))
    assert caught.value.session == 12345
    with pytest.raises(SessionExpiredError):
        cluster.propose_many([b"x", b"y"], session=SessionPlace(12345, 1, 0))
    for wrong in (7, "s", (1, 2, 3)):
        with pytest.raises(TypeError, match="session is"):
            cluster.propose(b"x", session=wrong)
    session = cluster.session()
    with pytest.raises(TypeError):
        cluster.propose(3, session=session)
    assert cluster.propose(b"x", session=session) == 1


def test_too_many_sessions_and_too_long_unused():
    with LocalCluster(Journal, nodes=1, config=Config(max_sessions=2)) as cluster:
        sessions = [cluster.session() for _ in range(3)]
        with pytest.raises(SessionExpiredError):
            cluster.propose(b"x", session=sessions[0])
        assert [cluster.propose(b"x", session=session) for session in sessions[1:]] == [1, 2]
    with LocalCluster(Journal, nodes=1, config=Config(session_ttl=0.05)) as cluster:
        session = cluster.session()
        # It lives by the times that leaders stamp on entries.
        wait_until(lambda: cluster.metrics()["sessions"] == 1, "the session")
        begun = cluster.read(lambda machine: None)
        assert begun is None

        def expired():
            try:
                cluster.propose(b"x", session=Session(session.id, cluster))
            except SessionExpiredError:
                return True
            return threading.Event().wait(0.1)

        wait_until(expired, "the session to expire")


class Stuck(Journal):
    """Waits in apply at `stop`, on every node."""

    gate = Gate()

    def apply(self, entry):
        if entry.data == b"stop":
            self.gate.pass_through()
        return super().apply(entry)


@pytest.fixture
def gate():
    Stuck.gate = Gate()
    yield Stuck.gate
    Stuck.gate.release.set()


def test_an_unknown_outcome_is_retried(gate):
    with LocalCluster(Stuck, nodes=3) as cluster:
        session = cluster.session()
        raft = cluster.nodes[cluster.leader]
        with pytest.raises(OutcomeUnknownError) as caught:
            raft.propose(b"stop", session=session, timeout=0.2)
        error = caught.value
        assert error.place == (session.id, 1, 1)
        with pytest.raises(OutcomeUnknownError) as caught:
            session.retry(error, timeout=0.2)
        again = caught.value
        del error, caught
        # What is still in doubt is not acknowledged by what comes later, but by its own end.
        future = cluster.nodes[1].submit(b"y", session=session)
        twin = pickle.loads(pickle.dumps(again))
        assert twin.place == again.place
        assert copy.copy(again).place == again.place
        gate.release.set()
        assert session.retry(again, timeout=WAIT) == 1
        assert future.result(WAIT) == 2
        with pytest.raises(ValueError, match="is over"):
            session.retry(again)
        with pytest.raises(ValueError, match="not of a proposal in this session"):
            session.retry(twin)
        # A pickled one is repeated by its place, as long as its result is not acknowledged.
        assert cluster.propose(b"stop", session=twin.place) == 1
        assert cluster.query(None) == [b"stop", b"y"]


def test_errors_that_nobody_keeps_are_given_up(gate):
    with LocalCluster(Stuck, nodes=1) as cluster:
        session = cluster.session()
        for verb in (cluster.nodes[1].propose_many, lambda *a, **k: cluster.nodes[1].submit_many(*a, **k).result(WAIT)):
            with pytest.raises(OutcomeUnknownError) as caught:
                verb([b"stop", b"z"], session=session, timeout=0.1)
            assert caught.value.place is not None
            assert caught.value.place.session == session.id
        del caught
        gc.collect()
        gate.release.set()
        assert cluster.propose(b"x", session=session, timeout=WAIT) == 5
        assert repr(session) == f"<Session {session.id}: 5 proposals, 0 open>"
        with pytest.raises(ResultLostError):
            cluster.propose(b"stop", session=place(session, 1))


def test_a_cancelled_future_is_given_up(gate):
    with LocalCluster(Stuck, nodes=1) as cluster:
        session = cluster.session()
        future = cluster.nodes[1].submit(b"stop", session=session)
        assert gate.reached.wait(WAIT)
        assert future.cancel()
        gate.release.set()
        assert cluster.propose(b"x", session=session, timeout=WAIT) == 2
        assert "0 open" in repr(session)


def test_certain_refusals_are_given_up():
    with Trio(lambda _: Journal(), config=Config(forward=False)) as trio:
        leader = trio.leader()
        session = trio.nodes[leader].session()
        follower = trio.followers()[0]
        with pytest.raises(NotLeaderError):
            trio.nodes[follower].propose(b"x", session=session)
        assert "0 open" in repr(session)
        assert trio.nodes[leader].propose(b"x", session=session) == 1


def test_sessions_of_many_threads_across_crashes():
    """Each proposal of eight threads is applied once, though every leader crashes and every unknown outcome is repeated."""
    each, threads = 40, 8
    with LocalCluster(Journal, nodes=3, config=Config(request_timeout=20.0)) as cluster:
        session = cluster.session()
        results: dict[bytes, int] = {}
        failures: list[BaseException] = []

        def run(name: int) -> None:
            try:
                for number in range(each):
                    data = b"%d-%d" % (name, number)
                    try:
                        results[data] = cluster.propose(data, session=session, timeout=2)
                    except OutcomeUnknownError as error:
                        results[data] = session.retry(error)
            except BaseException as error:
                failures.append(error)

        running = [threading.Thread(target=run, args=(name,)) for name in range(threads)]
        for thread in running:
            thread.start()
        for share in (1, 2):
            wait_until(lambda share=share: len(results) > share * each * threads / 4 or failures, "proposals")
            leader = cluster.leader
            cluster.crash(leader)
            cluster.restart(leader)
        for thread in running:
            thread.join()
        assert not failures
        items = cluster.query(None)
        assert sorted(items) == sorted(b"%d-%d" % pair for pair in itertools.product(range(threads), range(each)))
        # Everybody was told the position that the item really has.
        assert all(items[position - 1] == data for data, position in results.items())


def test_sessions_outlive_snapshots_and_restarts():
    config = Config(snapshot_every_entries=5, trailing_entries=0)
    with LocalCluster(Journal, nodes=1, config=config) as cluster:
        session = cluster.session()
        for number in range(20):
            cluster.propose(b"%d" % number, session=place(session, number))
        cluster.snapshot()
        cluster.restart(1)
        assert cluster.propose(b"7", session=place(session, 7), timeout=WAIT) == 8
        assert cluster.propose(b"new", session=place(session, 30)) == 21


def test_the_same_from_coroutines(gate):
    async def run():
        raft = AsyncRaft(1, MemoryStorage(), Stuck(), peers={1: "local:1"}, transport=LocalTransport())
        async with raft:
            session = await raft.session()
            assert await raft.propose(b"a", session=session) == 1
            assert await raft.propose_many([b"b", b"c"], session=session) == [2, 3]
            results = await asyncio.gather(*(raft.propose(b"%d" % number, session=session) for number in range(20)))
            assert sorted(results) == list(range(4, 24))
            with pytest.raises(OutcomeUnknownError) as caught:
                await raft.propose(b"stop", session=session, timeout=0.1)
            with pytest.raises(OutcomeUnknownError):
                await session.retry(caught.value, timeout=0.1)
            gate.release.set()
            assert await session.retry(caught.value, timeout=WAIT) == 24
            task = asyncio.create_task(raft.propose(b"x", session=session))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "0 open" in repr(session)
            assert await raft.propose(b"y", session=session) in {25, 26}

    asyncio.run(run())
