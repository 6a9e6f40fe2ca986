"""Law 7: an exception in a plugin, one callback after the other, on leader and follower, is an answer; the others go on."""

import pytest

from d_engine import (
    ClosedError,
    ConfigError,
    NotAcceptedError,
    OutcomeUnknownError,
    PluginError,
    SocketTransport,
    StorageError,
)
from support.clusters import WAIT, Trio, wait_until
from support.faulty import Faults, FaultyBatches, FaultyMachine, FaultyViews, Injected
from support.ports import free_ports
from support.scene import Scene, sockets

APPLY = ["apply", "apply_batch"]
SIDES = ["leader", "follower"]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("callback", APPLY)
def test_exception_in_apply(callback, side):
    machine = FaultyBatches if callback == "apply_batch" else FaultyMachine
    with Scene(machine) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        scene.faults[victim].fail(callback)
        with pytest.raises(PluginError) as caught:
            raft.propose(b"poison", timeout=WAIT)
        error = caught.value
        assert (error.callback, error.node) == (callback, victim)
        assert error.index is not None
        assert isinstance(error.__cause__, Injected)
        shown = raft.status().apply_error
        assert isinstance(shown, PluginError)
        assert (shown.callback, shown.index) == (callback, error.index)
        scene.others_go_on(victim, others, without=True)
        # It goes on replicating, and does not lead.
        leader = scene.trio.nodes[scene.trio.leader(among=others)]
        wait_until(lambda: raft.status().durable >= leader.status().commit, "the stopped node to replicate")
        assert raft.leader != victim
        # After a restart it resumes at that entry.
        scene.faults[victim].heal()
        again = scene.trio.restart(victim)
        assert again.query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None, timeout=WAIT)
        assert again.status().apply_error is None


def test_apply_stopped_everywhere_the_leader_stays_and_refuses():
    with Scene() as scene:
        leader = scene.trio.leader()
        for faults in scene.faults.values():
            faults.fail("apply")
        with pytest.raises((PluginError, OutcomeUnknownError)):
            scene.trio.nodes[leader].propose(b"poison", timeout=5)
        wait_until(lambda: all(raft.status().apply_error for raft in scene.trio.nodes.values()), "all to stop")
        for raft in scene.trio.nodes.values():
            with pytest.raises((PluginError, NotAcceptedError), match="stopped|injected"):
                raft.propose(b"more", timeout=5)
        assert any(raft.leader == raft.id for raft in scene.trio.nodes.values())


def test_results_before_the_failure_are_kept():
    class Third(FaultyMachine):
        def apply(self, entry):
            if entry.data == b"poison":
                raise Injected("third")
            return super().apply(entry)

    with Scene(Third) as scene:
        raft = scene.trio.nodes[scene.trio.leader()]
        with pytest.raises(PluginError) as caught:
            raft.propose_many([b"a", b"b", b"poison", b"c"], timeout=WAIT)
        assert caught.value.results == [2, 3]
        assert caught.value.index == raft.status().applied + 1


def test_wrong_number_of_results():
    class Short(FaultyMachine):
        def apply_batch(self, entries):
            return [] if b"poison" in entries.data else super().apply_batch(entries)

    with Scene(Short) as scene:
        raft = scene.trio.nodes[scene.trio.followers()[0]]
        with pytest.raises(PluginError, match="0 results for 1 entries") as caught:
            raft.propose(b"poison", timeout=WAIT)
        assert caught.value.callback == "apply_batch"


@pytest.mark.parametrize("side", SIDES)
def test_exception_in_query(side):
    with Scene() as scene:
        victim, others = scene.pick(side)
        scene.faults[victim].fail("query")
        with pytest.raises(PluginError) as caught:
            scene.trio.nodes[victim].query(None)
        assert (caught.value.callback, caught.value.node) == ("query", victim)
        assert isinstance(caught.value.__cause__, Injected)
        scene.faults[victim].heal()
        assert scene.trio.nodes[victim].query(None) == 1
        assert scene.trio.nodes[victim].status().apply_error is None
        scene.others_go_on(victim, others, writes=1)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "callback",
    ["snapshot", "freeze", "write_view", "SnapshotStore.create", "SnapshotWriter.write", "SnapshotWriter.commit"],
)
def test_exception_while_a_snapshot_is_made(callback, side):
    machine = FaultyViews if callback in ("freeze", "write_view") else FaultyMachine
    with Scene(machine) as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        scene.faults[victim].fail(callback)
        with pytest.raises((PluginError, StorageError)) as caught:
            raft.snapshot(timeout=WAIT)
        assert caught.value.node == victim
        assert callback.rpartition(".")[2] in (caught.value.callback or "")
        assert isinstance(caught.value.__cause__, Injected)
        assert raft.status().snapshot is None
        # A snapshot that failed changes nothing: the node goes on, and the next one works.
        scene.faults[victim].heal()
        assert raft.propose(b"x", timeout=WAIT) == 2
        assert raft.snapshot(timeout=WAIT) >= 2
        scene.others_go_on(victim, others, writes=1)


def test_exception_in_restore_at_start():
    with Scene() as scene:
        victim, others = scene.pick("follower")
        raft = scene.trio.nodes[victim]
        raft.snapshot(timeout=WAIT)
        scene.trio.stop(victim)
        scene.faults[victim].fail("restore")
        with pytest.raises(PluginError) as caught:
            scene.trio.start(victim)
        assert (caught.value.callback, caught.value.node) == ("restore", victim)
        assert isinstance(caught.value.__cause__, Injected)
        scene.trio.nodes.pop(victim, None)
        scene.others_go_on(victim, others)
        scene.faults[victim].heal()
        assert scene.trio.start(victim).query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)


def stopped_by(raft, victim, callback):
    """The node has stopped by itself, and every call says why."""
    with pytest.raises(ClosedError) as caught:
        wait_until(lambda: raft.propose(b"y", timeout=1) and False, "the node to stop")
    cause = caught.value.__cause__
    assert isinstance(cause, StorageError)
    assert (cause.node, cause.callback) == (victim, callback)
    assert isinstance(cause.__cause__, Injected)


@pytest.mark.parametrize("side", SIDES)
def test_exception_in_append_stops_the_node(side):
    with Scene() as scene:
        victim, others = scene.pick(side)
        raft = scene.trio.nodes[victim]
        scene.faults[victim].fail("LogStore.append")
        with pytest.raises((OutcomeUnknownError, StorageError, ClosedError)):
            raft.propose(b"x", timeout=5)
        stopped_by(raft, victim, "LogStore.append")
        scene.others_go_on(victim, others, without=True)


def test_exception_in_save_stops_the_node():
    """A vote that cannot be stored is not given."""
    with Scene() as scene:
        victim, _ = scene.pick("follower")
        hit = scene.faults[victim].fail("MetaStore.save")
        scene.trio.crash(scene.trio.leader())  # the others have to vote
        assert hit.wait(WAIT)
        raft = scene.trio.nodes[victim]
        with pytest.raises(ClosedError) as caught:
            wait_until(lambda: raft.query(None, timeout=0.2) is None, "the node to stop")
        assert getattr(caught.value.__cause__, "callback", None) == "MetaStore.save"


@pytest.mark.parametrize(
    "callback", ["StorageEngine.open", "MetaStore.load", "LogStore.bounds", "LogStore.read", "SnapshotStore.latest"]
)
def test_exception_in_storage_at_start_undoes_it(callback):
    with Scene() as scene:
        victim, others = scene.pick("follower")
        scene.trio.stop(victim)
        scene.faults[victim].fail(callback)
        with pytest.raises((StorageError, PluginError)) as caught:
            scene.trio.start(victim)
        assert caught.value.callback == callback
        assert caught.value.node == victim
        assert isinstance(caught.value.__cause__, Injected)
        scene.trio.nodes.pop(victim)
        scene.others_go_on(victim, others, writes=1)
        scene.faults[victim].heal()
        assert scene.trio.start(victim).query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)


def test_exception_in_close_of_a_storage_is_not_fatal():
    with Scene() as scene:
        victim, others = scene.pick("follower")
        hit = scene.faults[victim].fail("StorageEngine.close")
        scene.trio.stop(victim)
        assert hit.is_set()
        scene.others_go_on(victim, others, writes=1)


# --- transport ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_exception_in_send_is_a_lost_message(side):
    with sockets() as scene:
        victim, others = scene.pick(side)
        hit = scene.faults[victim].fail("Transport.send")
        assert hit.wait(WAIT)
        scene.others_go_on(victim, others, without=True)
        assert scene.trio.nodes[victim].metrics()["send_errors"] > 0
        scene.faults[victim].heal()
        assert scene.trio.nodes[victim].query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(
            None, timeout=WAIT
        )


@pytest.mark.parametrize("callback", ["Transport.start", "Transport.set_peers"])
def test_exception_in_transport_at_start_undoes_it(callback):
    with sockets() as scene:
        victim, others = scene.pick("follower")
        scene.trio.stop(victim)
        scene.faults[victim].fail(callback)
        with pytest.raises(PluginError) as caught:
            scene.trio.start(victim)
        assert (caught.value.callback, caught.value.node) == (callback, victim)
        assert isinstance(caught.value.__cause__, Injected)
        scene.trio.nodes.pop(victim)
        scene.faults[victim].heal()
        assert scene.trio.start(victim).query(None, timeout=WAIT) == scene.trio.nodes[others[0]].query(None)


def test_what_our_own_errors_look_like_at_start():
    """An error of ours that a plugin raises at start is not wrapped in another."""
    port = free_ports(1)[0]
    taken, late = SocketTransport(f"127.0.0.1:{port}"), SocketTransport(f"127.0.0.1:{port}")
    taken.start(1, lambda data: None)
    try:
        trio = Trio(
            lambda node: FaultyMachine(Faults()), transport=lambda node: late, ids=(1,), peers={1: f"127.0.0.1:{port}"}
        )
        with pytest.raises(ConfigError, match="cannot be bound"):
            trio.start(1)
    finally:
        taken.close()
