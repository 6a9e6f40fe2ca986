"""A plugin that hangs, one callback after the other, on leader and follower: the others go on, and close never hangs."""

import time

import pytest

from d_engine import Config, DeadlineError, OutcomeUnknownError
from support.clusters import WAIT, wait_until
from support.faulty import FaultyBatches, FaultyMachine, FaultyViews
from support.scene import Scene, sockets

SIDES = ["leader", "follower"]


def closes(raft, timeout=0.5):
    """Close returns about when it was told to, whatever hangs."""
    began = time.monotonic()
    raft.close(handover=False, timeout=timeout)
    assert time.monotonic() - began < timeout + 5.0


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("callback", ["apply", "apply_batch", "query"])
def test_hang_in_apply_or_query(callback, side):
    machine = FaultyBatches if callback == "apply_batch" else FaultyMachine
    with Scene(machine) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        term, leader = raft.status().term, raft.leader
        hit = scene.faults[victim].hang(callback)
        if callback == "query":
            with pytest.raises(DeadlineError):
                raft.query(None, timeout=0.3)
        else:
            with pytest.raises(OutcomeUnknownError):
                raft.propose(b"slow", timeout=0.3)
        assert hit.is_set()
        with pytest.raises(DeadlineError):
            raft.read_barrier(timeout=0.2)
        scene.others_go_on(victim, others)
        # Python delays apply, never leadership.
        assert all(node.status().term == term and node.leader == leader for node in scene.trio.nodes.values())
        assert raft.status().apply_error is None
        scene.faults[victim].heal()
        assert raft.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None, timeout=WAIT)


@pytest.mark.parametrize("callback", ["apply", "query", "snapshot", "write_view", "LogStore.append"])
def test_close_while_a_callback_hangs(callback):
    with Scene(FaultyViews if callback == "write_view" else FaultyMachine) as scene:
        victim, others = scene.pick("follower")
        raft = scene.trio.nodes.pop(victim)
        hit = scene.faults[victim].hang(callback)
        if callback == "query":
            future_error = pytest.raises(DeadlineError)
            with future_error:
                raft.query(None, timeout=0.2)
        elif callback in ("snapshot", "write_view"):
            with pytest.raises(DeadlineError):
                raft.snapshot(timeout=0.2)
        else:
            with pytest.raises(OutcomeUnknownError):
                raft.propose(b"x", timeout=0.5)
        assert hit.wait(WAIT)
        closes(raft)
        scene.others_go_on(victim, others, writes=1)


def test_hang_in_append_of_a_follower():
    with Scene() as scene:
        victim, others = scene.pick("follower")
        raft = scene.trio.nodes[victim]
        hit = scene.faults[victim].hang("LogStore.append")
        durable = raft.status().durable
        scene.others_go_on(victim, others)
        assert hit.wait(WAIT)
        assert raft.status().durable == durable
        scene.faults[victim].heal()
        assert raft.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)


def test_hang_in_append_of_the_leader_gives_leadership_away_once():
    config = Config(storage_stall_timeout=1.0)
    with Scene(config=config) as scene:
        victim, others = scene.pick("leader")
        raft = scene.trio.nodes[victim]
        term = raft.status().term
        hit = scene.faults[victim].hang("LogStore.append")
        with pytest.raises(OutcomeUnknownError):
            raft.propose(b"stuck", timeout=0.5)
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, without=True)
        after = scene.trio.nodes[others[0]].status().term
        assert after == term + 1
        scene.faults[victim].heal()
        assert raft.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)
        assert scene.trio.nodes[others[0]].status().term == after


def test_hang_in_save_keeps_the_vote_back():
    with Scene() as scene:
        victim, _ = scene.pick("follower")
        hit = scene.faults[victim].hang("MetaStore.save")
        leader = scene.trio.leader()
        third = next(node for node in scene.trio.nodes if node not in (victim, leader))
        scene.trio.crash(leader)
        assert hit.wait(WAIT)
        # One vote of three is no leader: the third stays without one as long as this vote is not stored.
        with pytest.raises(DeadlineError):
            scene.trio.nodes[third].query(None, timeout=1.0)
        scene.faults[victim].heal()
        scene.trio.leader()
        assert scene.trio.nodes[third].query(None, timeout=WAIT) == 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "callback", ["snapshot", "freeze", "write_view", "SnapshotStore.create", "SnapshotWriter.commit"]
)
def test_hang_while_a_snapshot_is_made(callback, side):
    machine = FaultyViews if callback in ("freeze", "write_view") else FaultyMachine
    with Scene(machine) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        term, leader = raft.status().term, raft.leader
        hit = scene.faults[victim].hang(callback)
        with pytest.raises(DeadlineError):
            raft.snapshot(timeout=0.3)
        assert hit.is_set()
        scene.others_go_on(victim, others)
        if callback in ("write_view", "SnapshotWriter.commit"):
            assert raft.query(None, timeout=WAIT) > 1  # apply goes on beside it
        assert (raft.status().term, raft.leader) == (term, leader)
        scene.faults[victim].heal()
        assert raft.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)


@pytest.mark.parametrize("side", SIDES)
def test_hang_in_send(side):
    with sockets() as scene:
        victim, others = scene.pick(side)
        hit = scene.faults[victim].hang("Transport.send")
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, without=True)
        raft = scene.trio.nodes.pop(victim)
        closes(raft)


def test_hang_in_restore_of_a_received_snapshot():
    config = Config(snapshot_every_entries=20, trailing_entries=1)
    with Scene(config=config) as scene:
        victim, others = scene.pick("follower")
        scene.trio.stop(victim)
        for _ in range(4):
            scene.trio.nodes[others[0]].propose_many([b"x"] * 25, timeout=WAIT)
        wait_until(lambda: scene.trio.nodes[scene.trio.leader()].status().purged.index > 40, "the log to be purged")
        hit = scene.faults[victim].hang("restore")
        raft = scene.trio.start(victim)
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others)
        scene.faults[victim].heal()
        assert raft.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)
        assert raft.metrics()["snapshots_installed"] >= 1
