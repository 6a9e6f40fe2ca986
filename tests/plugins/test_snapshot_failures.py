"""Failures and hangs around the way of a snapshot from one node to another, in purges, at the ends, and in durable machines."""

import pickle

import pytest

from d_engine import ClosedError, Config, MemoryStorage, OutcomeUnknownError, PluginError, StorageError
from support.clusters import WAIT, Trio, wait_until
from support.faulty import Faults, Injected
from support.scene import Scene, sockets

SMALL = Config(snapshot_every_entries=20, trailing_entries=1)


def purge_past(scene, victim, others):
    """Stops the victim and writes until only a snapshot can bring it back."""
    scene.trio.stop(victim)
    for _ in range(4):
        scene.trio.nodes[others[0]].propose_many([b"x"] * 25, timeout=WAIT)
    wait_until(
        lambda: all(scene.trio.nodes[node].status().purged.index > 60 for node in others), "the logs to be purged"
    )


def caught_up(scene, victim, others):
    assert scene.trio.nodes[victim].query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None, timeout=WAIT)


@pytest.mark.parametrize("callback", ["SnapshotStore.open", "SnapshotReader.read"])
@pytest.mark.parametrize("how", ["raise", "hang"])
def test_the_sender_cannot_read_its_snapshot(callback, how):
    with Scene(config=SMALL) as scene:
        victim, others = scene.pick("follower")
        purge_past(scene, victim, others)
        leader = scene.trio.leader()
        hit = getattr(scene.faults[leader], "fail" if how == "raise" else "hang")(callback)
        scene.trio.start(victim)
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, writes=2)
        assert scene.trio.nodes[leader].status().apply_error is None
        scene.faults[leader].heal()
        caught_up(scene, victim, others)


@pytest.mark.parametrize("callback", ["SnapshotStore.create", "SnapshotWriter.write", "SnapshotWriter.commit"])
@pytest.mark.parametrize("how", ["raise", "hang"])
def test_the_receiver_cannot_write_its_snapshot(callback, how):
    with Scene(config=SMALL) as scene:
        victim, others = scene.pick("follower")
        purge_past(scene, victim, others)
        hit = getattr(scene.faults[victim], "fail" if how == "raise" else "hang")(callback)
        scene.trio.start(victim)
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, writes=2)
        scene.faults[victim].heal()
        caught_up(scene, victim, others)


def test_the_receiver_cannot_restore_it():
    with Scene(config=SMALL) as scene:
        victim, others = scene.pick("follower")
        purge_past(scene, victim, others)
        scene.faults[victim].fail("restore")
        raft = scene.trio.start(victim)
        error = wait_until(lambda: raft.status().apply_error, "apply to stop")
        assert (error.callback, error.node) == ("restore", victim)
        assert isinstance(error.__cause__, Injected)
        scene.others_go_on(victim, others, writes=2)
        # It goes on replicating; after a restart it restores the snapshot that it has.
        scene.faults[victim].heal()
        scene.trio.restart(victim)
        caught_up(scene, victim, others)


def test_retain_that_fails_keeps_more_than_it_should():
    with Scene(config=SMALL) as scene:
        victim, others = scene.pick("leader")
        hit = scene.faults[victim].fail("SnapshotStore.retain")
        scene.trio.nodes[victim].propose_many([b"x"] * 60, timeout=WAIT)
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, writes=2)
        assert scene.trio.nodes[victim].propose(b"y", timeout=WAIT) > 60


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_exception_in_purge_stops_the_node(side):
    with Scene(config=SMALL) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        hit = scene.faults[victim].fail("LogStore.purge")
        scene.trio.nodes[others[0]].propose_many([b"x"] * 60, timeout=WAIT)
        assert hit.wait(WAIT)
        with pytest.raises(ClosedError) as caught:
            wait_until(lambda: raft.query(None, consistency="eventual", timeout=1) is None, "the node to stop")
        cause = caught.value.__cause__
        assert isinstance(cause, StorageError)
        assert cause.callback == "LogStore.purge"
        scene.others_go_on(victim, others, writes=2, without=True)


def test_hang_at_the_end_of_a_storage():
    with Scene() as scene:
        victim, others = scene.pick("follower")
        raft = scene.trio.nodes.pop(victim)
        hit = scene.faults[victim].hang("StorageEngine.close")
        raft.close(handover=False, timeout=0.5)
        assert hit.is_set()
        scene.others_go_on(victim, others, writes=1)


def test_hang_at_the_end_of_a_transport():
    with sockets() as scene:
        victim, others = scene.pick("follower")
        raft = scene.trio.nodes.pop(victim)
        hit = scene.faults[victim].hang("Transport.close")
        raft.close(handover=False, timeout=0.5)
        assert hit.is_set()
        scene.others_go_on(victim, others, writes=1)


# --- durable machines -------------------------------------------------------------------------------------------------------------


class Durable:
    """Keeps (items, position, sidecar), and changes them together or not at all."""

    def __init__(self, faults):
        self.faults = faults
        self.kept = ([], 0, b"")

    def applied(self):
        self.faults.at("applied")
        return self.kept[1:]

    def apply_durable(self, batch):
        items = self.kept[0] + [entry.data for entry in batch.entries]
        if batch.entries:
            self.faults.at("apply_durable")
        self.kept = (items, batch.last_index, batch.sidecar)
        return range(len(items) - len(batch.entries) + 1, len(items) + 1)

    def query(self, request):
        return len(self.kept[0])

    def snapshot(self, out):
        pickle.dump(self.kept[0], out)

    def restore(self, src):
        self.kept = (pickle.load(src), *self.kept[1:])

    @property
    def items(self):
        return self.kept[0]


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_exception_in_apply_durable_changes_nothing_and_resumes_there(side):
    machines = {}

    def make(faults):
        return machines.setdefault(id(faults), Durable(faults))  # as a database, it outlives its node

    with Scene(make) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        before = raft.status().applied
        scene.faults[victim].fail("apply_durable")
        with pytest.raises(PluginError) as caught:
            raft.propose(b"poison", timeout=WAIT)
        assert (caught.value.callback, caught.value.node) == ("apply_durable", victim)
        assert raft.status().applied == before
        scene.others_go_on(victim, others, without=True)
        scene.faults[victim].heal()
        scene.trio.restart(victim)
        caught_up(scene, victim, others)
        assert len(set(map(tuple, (machine.items for machine in machines.values())))) == 1


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_hang_in_apply_durable(side):
    with Scene(Durable) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        hit = scene.faults[victim].hang("apply_durable")
        with pytest.raises(OutcomeUnknownError):
            raft.propose(b"slow", timeout=0.3)
        assert hit.is_set()
        scene.others_go_on(victim, others)
        scene.faults[victim].heal()
        caught_up(scene, victim, others)


def test_exception_in_applied_at_start():
    with Scene(Durable) as scene:
        victim, others = scene.pick("follower")
        scene.trio.stop(victim)
        scene.faults[victim].fail("applied")
        with pytest.raises(PluginError) as caught:
            scene.trio.start(victim)
        assert (caught.value.callback, caught.value.node) == ("applied", victim)
        scene.trio.nodes.pop(victim)
        scene.others_go_on(victim, others, writes=1)


def test_an_applied_position_beyond_the_log_is_refused():
    """A database that is ahead of its log: one of the two was brought back from an older copy."""
    machine = Durable(Faults())
    with Trio(lambda node: machine, lambda node: MemoryStorage(), ids=(1,)) as trio:
        trio.nodes[1].propose_many([b"x"] * 50, timeout=WAIT)
        trio.stop(1)
        trio.storages[1] = MemoryStorage()
        with pytest.raises((StorageError, PluginError)) as caught:
            trio.start(1)
        trio.nodes.clear()
    assert str(machine.applied()[0]) in str(caught.value)
