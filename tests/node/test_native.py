"""The boundary to the native part: batches, completions, buffers, files that are lent, threads that keep their state."""

import array
import asyncio
import contextlib
import copy
import gc
import pickle
import signal
import threading
import time
import weakref

import pytest

from d_engine import (
    AsyncRaft,
    ClosedError,
    Config,
    DeadlineError,
    DirectoryLockedError,
    Entries,
    Entry,
    FileStorage,
    LocalTransport,
    MemoryStorage,
    Raft,
    StateMachine,
    TooLargeError,
    _core,
)
from support.clusters import FOREVER, WAIT, wait_until
from support.machines import Gate, Journal


def alone(machine):
    return Raft(1, MemoryStorage(), machine, peers={1: "local:1"}, transport=LocalTransport())


def taken(queue):
    """What waits in a queue that is not closed."""
    found = queue.wait(WAIT)
    assert found is not None
    return found


# --- entries ------------------------------------------------------------------------------------------------------------------------


def made(*indexes):
    return [Entry(index, 2, 1.5, b"%d" % index) for index in indexes]


def test_an_entry():
    entry = Entry(7, 2, 1.5, b"data")
    assert (entry.index, entry.term, entry.time, entry.data) == (7, 2, 1.5, b"data")
    assert entry == Entry(7, 2, 1.5, b"data")
    assert hash(entry) == hash(Entry(7, 2, 1.5, b"data"))
    assert entry not in (Entry(8, 2, 1.5, b"data"), Entry(7, 2, 1.5, b"other"), (7, 2, 1.5, b"data"))
    assert repr(entry) == "Entry(index=7, term=2, time=1.5, data=b'data')"
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert copy.copy(entry) == entry
    with pytest.raises(AttributeError):
        entry.index = 8
    for wrong in [(-1, 2, 1.5, b""), ("7", 2, 1.5, b""), (7, 2, 1.5, "text"), (7, 2, 1.5)]:
        with pytest.raises((TypeError, OverflowError)):
            Entry(*wrong)
    assert Entry[bytes].__origin__ is Entry


def test_entries_are_a_sequence():
    one_by_one = made(3, 4, 6, 9)
    entries = Entries(one_by_one)
    assert len(entries) == 4
    assert list(entries) == one_by_one
    assert [entries[at] for at in (0, 3, -1, -4)] == [one_by_one[at] for at in (0, 3, -1, -4)]
    for part in (slice(1, 3), slice(None, None, -1), slice(-2, None), slice(0, 10, 2), slice(3, 1)):
        assert entries[part] == one_by_one[part]
    assert entries.data == [b"3", b"4", b"6", b"9"]
    assert entries.indexes == [3, 4, 6, 9]
    assert entries.times == [1.5] * 4
    assert entries.data is not entries.data
    assert one_by_one[2] in entries
    assert list(reversed(entries)) == one_by_one[::-1]
    for at in (4, -5):
        with pytest.raises(IndexError):
            entries[at]
    with pytest.raises(TypeError):
        entries["first"]
    with pytest.raises(TypeError):
        Entries([b"no entry"])
    assert list(Entries([])) == []


def test_a_batch_lives_as_long_as_it_is_kept():
    kept = []

    class Keeper(Journal):
        def apply_batch(self, entries):
            kept.append(entries)
            return [0] * len(entries)

    with alone(Keeper()) as raft:
        raft.propose_many([b"%d" % number for number in range(100)], timeout=WAIT)
    gc.collect()
    assert [data for entries in kept for data in entries.data] == [b"%d" % number for number in range(100)]
    indexes = [index for entries in kept for index in entries.indexes]
    assert indexes == sorted(set(indexes))
    times = [moment for entries in kept for moment in entries.times]
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 3600


# --- what can be proposed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b"bytes", b"bytes"),
        (b"", b""),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view"), b"view"),
        (memoryview(b"a-b-c-d")[::2], b"abcd"),
        (memoryview(b"abc")[::-1], b"cba"),
        (array.array("i", [1, 2]), array.array("i", [1, 2]).tobytes()),
    ],
)
def test_anything_with_a_buffer(data, stored):
    with alone(Journal()) as raft:
        assert raft.propose(data, timeout=WAIT) == 1
        assert raft.propose_many([data, data], timeout=WAIT) == [2, 3]
        assert raft.query(None) == [stored] * 3


def test_what_is_proposed_is_copied_at_once():
    data = bytearray(b"before")
    machine, gate = Journal(), Gate()
    with alone(machine) as raft:
        blocked = threading.Thread(target=raft.read, args=(lambda _: gate.pass_through(),), kwargs={"timeout": WAIT})
        blocked.start()
        assert gate.reached.wait(WAIT)
        future = raft.submit(data)
        data[:] = b"behind"
        gate.release.set()
        assert future.result(WAIT) == 1
        blocked.join()
        assert raft.query(None) == [b"before"]


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2], object()])
def test_no_buffer_changes_nothing(wrong):
    with alone(Journal()) as raft:
        for call in (raft.propose, raft.submit):
            with pytest.raises(TypeError):
                call(wrong)
        for call in (raft.propose_many, raft.submit_many):
            with pytest.raises(TypeError):
                call([b"fine", wrong])
        assert raft.query(None) == []


def test_one_that_is_too_large_refuses_all():
    with alone(Journal()) as raft:
        for items in ([b"fine", bytes(2**20)], [bytes(2**20)]):
            with pytest.raises(TooLargeError) as caught:
                raft.propose_many(items)
            assert (caught.value.size, caught.value.limit) == (2**20, Config().max_entry_bytes)
        assert raft.query(None) == []


# --- completions -----------------------------------------------------------------------------------------------------------------------


def test_completions():
    queue = _core.Completions()
    assert queue.drain() == []
    assert queue.wait(0.01) == []
    with alone(Journal()) as raft:
        node = raft._live()
        keys = [object() for _ in range(10)]
        for key in keys:
            node.propose_to(queue, key, b"x", WAIT)
        done = []
        while len(done) < len(keys):
            done += taken(queue)
        assert [key for key, _, _ in done] == keys
        assert [value for _, value, _ in done] == list(range(1, 11))
        assert [error for _, _, error in done] == [None] * 10
        node.propose_to(queue, "large", bytes(900_000), 0.0)
        ((key, value, error),) = taken(queue)
        assert (key, value) == ("large", None)
        assert isinstance(error, Exception)
    queue.close()
    queue.close()
    assert queue.wait(WAIT) is None


def test_closing_the_queue_ends_a_wait():
    queue, ended = _core.Completions(), []
    waiter = threading.Thread(target=lambda: ended.append(queue.wait(WAIT)))
    waiter.start()
    queue.close()
    waiter.join(WAIT)
    assert ended == [None]


def test_what_is_withdrawn_lets_go_of_its_key():
    class Key:
        pass

    queue, gate = _core.Completions(), Gate()
    with alone(Journal()) as raft:
        node = raft._live()
        busy = raft.submit(b"x")
        assert busy.result(WAIT) == 1
        node.read_to(queue, "busy", lambda _: gate.pass_through(), None, "read", "eventual", WAIT)
        assert gate.reached.wait(WAIT)
        key, ran = Key(), []
        gone = weakref.ref(key)
        call = node.read_to(queue, key, ran.append, None, "read", "eventual", WAIT)
        del key
        node.withdraw(call)
        assert gone() is None
        node.withdraw(call)
        node.withdraw(123_456)
        gate.release.set()
        assert [key for key, _, _ in taken(queue)] == ["busy"]
        raft.read_barrier()
        assert ran == []
    queue.close()


def test_notify_is_armed_once():
    told = threading.Semaphore(0)
    queue = _core.Completions(told.release)
    with alone(Journal()) as raft:
        node = raft._live()
        for number in range(100):
            node.propose_to(queue, number, b"x", WAIT)
        raft.read_barrier(timeout=WAIT)
        assert told.acquire(timeout=WAIT)
        assert not told.acquire(timeout=0.05)
        assert len(queue.drain()) == 100
        node.propose_to(queue, "next", b"x", WAIT)
        assert told.acquire(timeout=WAIT)
    queue.close()


# --- files that are lent -----------------------------------------------------------------------------------------------------------------


class Borrower(Journal):
    """Keeps the files that it was handed."""

    def __init__(self, files):
        super().__init__()
        self.files = files

    def snapshot(self, out):
        self.files.append(out)
        self.files.append(out.raw)
        pickle.dump(self.items, out)
        out.write(memoryview(array.array("i", range(300_000))))

    def restore(self, src):
        self.files.append(src)
        self.files.append(src.raw)
        self.items = pickle.load(src)
        assert src.readline(3) == b"\x00\x00\x00"
        rest = src.read()
        assert len(rest) == 4 * 300_000 - 3
        assert src.read(10) == b""


def test_a_snapshots_file_ends_with_its_call():
    storage, files = MemoryStorage(), []

    def run():
        return Raft(1, storage, Borrower(files), peers={1: "local:1"}, transport=LocalTransport())

    with run() as raft:
        raft.propose_many([b"%d" % number for number in range(50)], timeout=WAIT)
        raft.snapshot(timeout=WAIT)
        raft.propose(b"after", timeout=WAIT)
    with run() as raft:
        assert raft.query(None, timeout=WAIT) == [b"%d" % number for number in range(50)] + [b"after"]
    assert len(files) == 4
    for file in files[:2]:
        with pytest.raises(ValueError, match="closed|ends with the call"):
            file.write(b"late")
    for file in files[2:]:
        with pytest.raises(ValueError, match="closed|ends with the call"):
            file.read(1)
    for raw in (files[1]._sink, files[3]._source):
        with pytest.raises(ValueError, match="ends with the call"):
            raw.write(b"late") if hasattr(raw, "write") else raw.read(1)


def test_a_snapshots_file_stays_on_its_thread():
    caught = []

    class Elsewhere(Journal):
        def snapshot(self, out):
            def write():
                try:
                    out.raw.write(b"x")
                except BaseException as error:
                    caught.append(error)

            helper = threading.Thread(target=write)
            helper.start()
            helper.join()
            super().snapshot(out)

    with alone(Elsewhere()) as raft:
        raft.propose(b"x", timeout=WAIT)
        assert raft.snapshot(timeout=WAIT) > 0
    assert [type(error) for error in caught] == [RuntimeError]


# --- threads ----------------------------------------------------------------------------------------------------------------------------


def test_the_apply_thread_keeps_its_thread_state():
    """What `threading.local` holds lives in the thread state: a fresh attach for each call would find it empty each time."""
    local, seen = threading.local(), []

    class Counting(Journal):
        def apply(self, entry):
            local.count = getattr(local, "count", 0) + 1
            seen.append((threading.get_ident(), local.count))
            return super().apply(entry)

    with alone(Counting()) as raft:
        for _ in range(20):
            raft.propose(b"x", timeout=WAIT)
        assert raft.read(lambda _: local.count) == 20
    assert len({thread for thread, _ in seen}) == 1
    assert [count for _, count in seen] == list(range(1, 21))


def test_a_query_that_hangs_ends_at_its_deadline_and_at_close():
    gate = Gate()

    class Hanging(Journal):
        def query(self, request):
            gate.pass_through()
            return []

    async def ask():
        async with AsyncRaft(1, MemoryStorage(), Hanging(), peers={1: "local:1"}, transport=LocalTransport()) as raft:
            await raft.propose(b"x", timeout=WAIT)
            with pytest.raises(DeadlineError):
                await raft.query(True, timeout=0.2)
            waiting = asyncio.ensure_future(raft.query(True, timeout=FOREVER))
            await asyncio.sleep(0)
            await raft.close(timeout=0.5)
            with pytest.raises(ClosedError):
                await waiting

    try:
        asyncio.run(ask())
    finally:
        gate.release.set()


def test_control_c_ends_a_start_that_restores(tmp_path):
    """What was begun is taken down again: the directory can be used afterwards."""
    gate = Gate()

    class Stuck(Journal):
        def restore(self, src):
            gate.pass_through()
            super().restore(src)

    def node(machine):
        return Raft(1, FileStorage(tmp_path / "data"), machine, peers={1: "local:1"}, transport=LocalTransport())

    with node(Journal()) as raft:
        raft.propose(b"x", timeout=WAIT)
        raft.snapshot(timeout=WAIT)
    interrupt = threading.Thread(
        target=lambda: gate.reached.wait(WAIT) and signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        node(Stuck()).start()
    interrupt.join()
    gate.release.set()

    def usable():
        with contextlib.suppress(DirectoryLockedError), node(Journal()) as raft:
            return raft.query(None, timeout=WAIT) == [b"x"]

    wait_until(usable, "the directory to be free")


# --- memory ---------------------------------------------------------------------------------------------------------------------------------


def test_a_node_that_was_never_started_is_collected():
    machine = Journal()
    raft = alone(machine)
    machine.raft = raft
    gone = weakref.ref(raft), weakref.ref(machine)
    del raft, machine
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_a_closed_node_lets_go_of_its_plugins():
    machine = Journal()
    raft = alone(machine)
    machine.raft = raft
    gone = weakref.ref(machine)
    with raft:
        raft.propose(b"x", timeout=WAIT)
    del raft, machine
    gc.collect()
    assert gone() is None


def test_results_and_errors_do_not_leak():
    class Result:
        alive = 0

        def __init__(self):
            Result.alive += 1

        def __del__(self):
            Result.alive -= 1

    class Making(StateMachine[bytes, Result]):
        def apply(self, entry):
            return Result()

        def snapshot(self, out):
            out.write(b"nothing")

        def restore(self, src):
            assert src.read() == b"nothing"

    with alone(Making()) as raft:
        raft.propose(b"x", timeout=WAIT)
        raft.propose_many([b"x"] * 100, timeout=WAIT)
        futures = [raft.submit(b"x") for _ in range(100)]
        for future in futures:
            future.cancel()
        raft.read_barrier(timeout=WAIT)
        del futures, future
    del raft
    gc.collect()
    assert Result.alive == 0
