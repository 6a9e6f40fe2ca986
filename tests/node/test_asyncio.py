"""`AsyncRaft`: many awaits, cancellation, several loops, and an end with calls in flight."""

import asyncio
import threading

import pytest

from d_engine import (
    AsyncRaft,
    ClosedError,
    CommandError,
    DEngineError,
    DirectoryLockedError,
    FileStorage,
    LocalTransport,
    MemoryStorage,
    NotAcceptedError,
    OutcomeUnknownError,
    Raft,
)
from support.clusters import WAIT, Trio
from support.machines import Gate, Journal

try:
    import uvloop
except ImportError:
    uvloop = None
else:
    uvloop.new_event_loop().close()  # its first loop makes a pipe that the process keeps: no test's own


def uvloop_factory():
    assert uvloop is not None
    return uvloop.new_event_loop()


NO_UVLOOP = pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")
LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop_factory, id="uvloop", marks=NO_UVLOOP),
]


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine on a loop of each kind."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, 4 * WAIT))

    return run


class Gated(Journal):
    """Hangs in `apply` while a test wants it to."""

    gate = None

    def apply(self, entry):
        if self.gate is not None:
            self.gate.pass_through()
        return super().apply(entry)


class Mixed(Trio):
    """Node 1 is an `AsyncRaft`, made but not started; the others are `Raft`s, started."""

    def __enter__(self):
        self.nodes[2], self.nodes[3] = self.make(2), self.make(3)
        self.cls = AsyncRaft
        self.async_raft = self.make(1)
        self.nodes[2].start()
        self.nodes[3].start()
        return self


@pytest.fixture
def mixed():
    with Mixed(lambda node: Gated()) as trio:
        yield trio


def test_the_verbs(run, mixed):
    async def body():
        async with mixed.async_raft as raft:
            await raft.wait_ready(timeout=WAIT)
            assert await raft.propose(b"a") == 1
            results = await raft.propose_many([b"b", b"refuse", bytearray(b"c")])
            assert results[0] == 2
            assert isinstance(results[1], CommandError)
            with pytest.raises(CommandError):
                await raft.propose(b"refuse")
            assert await raft.query(None) == [b"a", b"b", b"c"]
            assert await raft.query(None, consistency="eventual") == [b"a", b"b", b"c"]
            assert await raft.read(lambda machine: len(machine.items)) == 3
            assert await raft.read_barrier() >= 3
            assert await raft.snapshot() >= 3
            assert raft.status().applied >= 3
            assert raft.metrics()["proposals"] == 3
            async for change in raft.changes():
                assert change.leader in (1, 2, 3)
                break
            with pytest.raises(TypeError):
                await raft.propose("text")
        with pytest.raises(ClosedError):
            await raft.propose(b"late")
        assert [change async for change in raft.changes()] == []

    run(body())


def test_ten_thousand_awaits_half_of_them_cancelled(run, mixed, rng):
    async def body():
        async with mixed.async_raft as raft:
            await raft.wait_ready(timeout=WAIT)
            tasks = [asyncio.create_task(raft.propose(b"%d" % number, timeout=2 * WAIT)) for number in range(10_000)]
            for _ in range(4):  # some before they have begun, some under way, some done
                await asyncio.sleep(0)
                for task in rng.sample(tasks, 1_250):
                    task.cancel()
            victims = [task for task in tasks if not task.cancelling()]
            for task in rng.sample(victims, max(0, len(victims) - 5_000)):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            acknowledged = set()
            for number, result in enumerate(results):
                if isinstance(result, BaseException):
                    assert isinstance(result, asyncio.CancelledError), result
                else:
                    acknowledged.add(b"%d" % number)
            assert len(acknowledged) >= 4_000
            items = await raft.query(None, timeout=WAIT)
            # Cancelling withdraws the waiter, not the entry: it may be there, and nothing is there twice.
            assert acknowledged <= set(items)
            assert len(items) == len(set(items))
            assert await raft.propose(b"after") == len(items) + 1

    run(body())


def test_cancelled_reads_and_waits(run, mixed):
    async def body():
        async with mixed.async_raft as raft:
            await raft.wait_ready(timeout=WAIT)
            tasks = [asyncio.create_task(raft.query(None)) for _ in range(500)]
            tasks += [asyncio.create_task(raft.read_barrier()) for _ in range(500)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(not isinstance(result, BaseException) for result in results[1::2])

    run(body())


def test_two_loops_in_two_threads(mixed):
    started, done = threading.Event(), threading.Barrier(2, timeout=WAIT)
    results = {}
    raft = mixed.async_raft

    async def work(name):
        tasks = [raft.propose(b"%s %d" % (name, number)) for number in range(500)]
        return await asyncio.gather(*tasks)

    async def owner():
        async with raft:
            await raft.wait_ready(timeout=WAIT)
            started.set()
            results["owner"] = await work(b"owner")
            await asyncio.to_thread(done.wait)

    async def guest():
        await asyncio.to_thread(started.wait, WAIT)
        results["guest"] = await work(b"guest")
        await asyncio.to_thread(done.wait)

    threads = [threading.Thread(target=asyncio.run, args=(body(),)) for body in (owner, guest)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * WAIT)
        assert not thread.is_alive()
    assert sorted(results["owner"] + results["guest"]) == list(range(1, 1001))


@pytest.mark.parametrize("side", ["same loop", "another loop"])
def test_closing_with_calls_in_flight_resolves_every_one(mixed, side):
    gate = mixed.machines[1].gate = Gate()
    raft = mixed.async_raft
    outcome = {}

    async def calls(begun):
        tasks = [asyncio.create_task(raft.propose(b"%d" % number, timeout=2 * WAIT)) for number in range(300)]
        tasks += [asyncio.create_task(raft.query(None, timeout=2 * WAIT)) for _ in range(100)]
        await asyncio.sleep(0)
        begun.set()
        outcome["results"] = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WAIT)

    async def owner():
        begun = threading.Event()
        await raft.start()
        thread = None
        if side == "another loop":
            thread = threading.Thread(target=asyncio.run, args=(calls(begun),))
            thread.start()
            waiting = None
        else:
            waiting = asyncio.create_task(calls(begun))
        await asyncio.to_thread(begun.wait, WAIT)
        await raft.close(handover=False, timeout=1.0)
        if waiting is not None:
            await waiting
        if thread is not None:
            await asyncio.to_thread(thread.join, WAIT)
            assert not thread.is_alive()

    try:
        asyncio.run(owner())
    finally:
        gate.release.set()
    for result in outcome["results"]:
        assert result is None or isinstance(result, (int, list, DEngineError)), result
        if isinstance(result, DEngineError):
            assert isinstance(result, (OutcomeUnknownError, ClosedError, NotAcceptedError, TimeoutError))


def test_a_loop_that_ended_does_not_disturb_the_next(mixed):
    raft = mixed.async_raft

    async def first():
        await raft.start()
        await raft.wait_ready(timeout=WAIT)
        for number in range(50):
            task = asyncio.create_task(raft.propose(b"%d" % number))
            await asyncio.sleep(0)
            task.cancel()

    async def second():
        assert await raft.propose(b"next", timeout=WAIT) >= 1
        await raft.close()

    asyncio.run(first())
    asyncio.run(second())


def test_start_fails_in_the_await(tmp_path):
    async def body():
        blocking = Raft(1, FileStorage(tmp_path / "data"), Journal(), peers={1: "local:1"}, transport=network)
        with blocking:
            other = AsyncRaft(
                1, FileStorage(tmp_path / "data"), Journal(), peers={1: "local:1"}, transport=LocalTransport()
            )
            with pytest.raises(DirectoryLockedError):
                await other.start()

    network = LocalTransport()
    asyncio.run(body())


def test_await_outside_a_loop_is_refused():
    raft = AsyncRaft(1, MemoryStorage(), Journal(), peers={1: "local:1"})
    coroutine = raft.propose(b"x")
    with pytest.raises(ClosedError, match="not started"):
        coroutine.send(None)
