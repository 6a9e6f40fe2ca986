"""Nothing that depends on the disk leaves a node before the disk has it; and the interpreter can delay it, never leadership."""

import ctypes
import threading

import pytest

from d_engine import Config, DeadlineError, LocalCluster, MemoryStorage, OutcomeUnknownError
from support.clusters import WAIT, Trio, wait_until
from support.faulty import Faults, FaultyMachine, FaultyStorage
from support.machines import Journal
from support.scene import Scene


class BlockedLog:
    """A storage whose `append` and `save` wait for an event once it is armed."""

    def __init__(self):
        self.faults = Faults()
        inner = FaultyStorage(self.faults)
        self.log_store, self.meta_store = inner.log_store, inner.meta_store
        self.snapshot_store = inner.snapshot_store
        self.open, self.close = inner.open, inner.close

    def block(self):
        self.faults.hang("MetaStore.save")
        return self.faults.hang("LogStore.append")


@pytest.fixture
def trio():
    storages = {node: BlockedLog() for node in (1, 2, 3)}
    with Trio(lambda node: Journal(), storages.__getitem__) as trio:
        trio.nodes[1].propose(b"first", timeout=WAIT)
        trio.level()
        yield trio
        for storage in storages.values():
            storage.faults.heal()


def test_no_ack_and_no_result_leaves_a_node_whose_append_blocks(trio):
    leader = trio.leader()
    blocked, other = trio.followers()
    hit = trio.storages[blocked].block()
    # The two others are a quorum and go on; the blocked one holds nothing of it, and no result leaves it.
    for number in range(20):
        trio.nodes[leader].propose(b"%d" % number, timeout=WAIT)
    assert hit.wait(WAIT)
    durable = trio.nodes[blocked].status().durable
    with pytest.raises(OutcomeUnknownError):
        trio.nodes[blocked].propose(b"through the blocked one", timeout=0.5)
    progress = trio.nodes[leader].status().progress[blocked]
    assert progress.matched <= durable
    assert trio.nodes[blocked].status().applied <= durable
    trio.storages[blocked].faults.heal()
    assert trio.nodes[blocked].query(None, timeout=WAIT) == trio.nodes[other].query(None, timeout=WAIT)


def test_blocked_on_two_nodes_nothing_is_acknowledged(trio):
    leader = trio.leader()
    for node in trio.followers():
        trio.storages[node].block()
    commit = trio.nodes[leader].status().commit
    with pytest.raises(OutcomeUnknownError):
        trio.nodes[leader].propose(b"lonely", timeout=1.0)
    assert trio.nodes[leader].status().commit == commit
    assert trio.nodes[leader].query(None, consistency="eventual") == [b"first"]
    for node in trio.followers():
        trio.storages[node].faults.heal()
    wait_until(lambda: b"lonely" in trio.nodes[leader].query(None, timeout=WAIT), "the entry to be committed")


def test_the_leader_does_not_count_itself_before_its_disk_has_it(trio):
    leader = trio.leader()
    first, second = trio.followers()
    trio.storages[leader].block()
    trio.storages[first].block()
    with pytest.raises(OutcomeUnknownError):
        trio.nodes[leader].propose(b"x", timeout=1.0)
    assert trio.nodes[second].query(None, consistency="eventual") == [b"first"]


def test_no_vote_leaves_a_node_whose_save_blocks(trio):
    leader = trio.leader()
    blocked, other = trio.followers()
    trio.storages[blocked].block()
    trio.crash(leader)
    assert trio.storages[blocked].faults.hit["MetaStore.save"].wait(WAIT)
    with pytest.raises(DeadlineError):
        trio.nodes[other].query(None, timeout=1.0)
    assert trio.nodes[other].leader != other
    trio.storages[blocked].faults.heal()
    assert trio.nodes[other].query(None, timeout=WAIT) == [b"first"]


# --- the interpreter ---------------------------------------------------------------------------------------------------------------

HELD = 2  # seconds: four of the longest election timeouts


class Sleeper(FaultyMachine):
    """Holds the interpreter's lock inside `apply`: every thread of Python in this process stands still."""

    def apply(self, entry):
        if entry.data == b"sleep":
            ctypes.PyDLL(None).sleep(HELD)
        return super().apply(entry)


@pytest.mark.slow
def test_the_interpreter_held_in_all_three_nodes_changes_no_term():
    with LocalCluster(lambda: Sleeper(Faults())) as cluster:
        cluster.propose(b"x")
        cluster.wait_ready(timeout=WAIT)
        before = {node: (raft.status().term, raft.leader) for node, raft in cluster.nodes.items()}
        # One interpreter for all three: each of them holds it in turn.
        cluster.propose(b"sleep", timeout=WAIT)
        assert cluster.propose(b"after", timeout=WAIT) == 3
        for raft in cluster.nodes.values():
            raft.read_barrier(timeout=WAIT)
        assert {node: (raft.status().term, raft.leader) for node, raft in cluster.nodes.items()} == before


@pytest.mark.slow
def test_a_busy_python_thread_changes_no_term():
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(100_000))

    thread = threading.Thread(target=compute)
    with LocalCluster(Journal) as cluster:
        cluster.propose(b"x")
        term = cluster.nodes[cluster.leader].status().term
        thread.start()
        try:
            for number in range(100):
                cluster.propose(b"%d" % number, timeout=WAIT)
        finally:
            stop.set()
            thread.join()
        assert cluster.nodes[cluster.leader].status().term == term


@pytest.mark.slow
@pytest.mark.parametrize("side", ["leader", "follower"])
def test_a_python_storage_that_sleeps_changes_no_term(side):
    with Scene(storage=lambda node: Slow(), config=Config()) as scene:
        victim, others = scene.pick(side)
        term = scene.trio.nodes[victim].status().term
        scene.trio.storages[victim].sleep_next = HELD
        scene.trio.nodes[others[0]].propose(b"x", timeout=WAIT)
        scene.others_go_on(victim, others)
        assert {raft.status().term for raft in scene.trio.nodes.values()} == {term}


class Slow(MemoryStorage):
    """Sleeps once in `append`, without the interpreter's lock, as a slow disk would."""

    def __init__(self):
        super().__init__()
        self.sleep_next = 0
        log, storage = self.log_store, self

        class Log:
            bounds, read, purge = log.bounds, log.read, log.purge

            def append(self, records, *, truncate_from):
                seconds, storage.sleep_next = storage.sleep_next, 0
                if seconds:
                    threading.Event().wait(seconds)
                log.append(records, truncate_from=truncate_from)

        self.log_store = Log()
