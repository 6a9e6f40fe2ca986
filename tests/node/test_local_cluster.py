"""`LocalCluster` and the verbs of `Raft`, as a user calls them."""

import concurrent.futures
import itertools
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

import d_engine
from d_engine import (
    Change,
    ClosedError,
    CommandError,
    Config,
    DeadlineError,
    LocalCluster,
    LogId,
    NotAcceptedError,
    NotLeaderError,
    Peer,
    PluginError,
    StateMachine,
    TooLargeError,
)
from support.clusters import WAIT
from support.machines import Journal, WordCount

ALL_VERBS = [
    lambda raft: raft.propose(b"x"),
    lambda raft: raft.propose_many([b"x"]),
    lambda raft: raft.query("x"),
    lambda raft: raft.read(len),
    lambda raft: raft.read_barrier(),
    lambda raft: raft.wait_ready(),
    lambda raft: raft.snapshot(),
    lambda raft: raft.submit(b"x").result(WAIT),
    lambda raft: raft.submit_many([b"x"]).result(WAIT),
]


@pytest.fixture
def cluster():
    with LocalCluster(Journal, nodes=3) as cluster:
        yield cluster


@pytest.fixture
def words():
    with LocalCluster(WordCount, nodes=3) as cluster:
        cluster.wait_ready(timeout=WAIT)
        yield cluster


def test_the_block_of_the_readme():
    with LocalCluster(WordCount, nodes=3) as cluster:
        cluster.propose(b"to be or not to be")
        cluster.crash(cluster.leader)
        assert cluster.propose(b"to be") == 8
        assert cluster.query("be") == 3


def test_one_node():
    with LocalCluster(Journal, nodes=1) as cluster:
        assert [cluster.propose(b"a"), cluster.propose(b"b")] == [1, 2]
        assert cluster.leader == 1


def test_every_node_proposes_and_answers(cluster):
    cluster.wait_ready(timeout=WAIT)
    results = [raft.propose(b"%d" % node) for node, raft in cluster.nodes.items()]
    assert results == [1, 2, 3]
    for raft in cluster.nodes.values():
        assert raft.query(None) == [b"1", b"2", b"3"]
        assert raft.read(lambda machine: len(machine.items)) == 3


def test_entries_say_where_they_stand():
    class Recording(StateMachine[bytes, Any]):
        def apply(self, entry):
            return entry.index, entry.term, entry.time, entry.data, type(entry.data)

        def snapshot(self, out):
            pass

        def restore(self, src):
            pass

    with LocalCluster(Recording) as other:
        rows = [other.propose(b"a%d" % number) for number in range(3)]
    assert [row[3] for row in rows] == [b"a0", b"a1", b"a2"]
    assert all(row[4] is bytes for row in rows)
    assert rows[0][0] < rows[1][0] < rows[2][0]
    assert rows[0][2] <= rows[1][2] <= rows[2][2]
    assert 1.6e9 < rows[0][2] < 1e11
    assert rows[0][1] >= 1


@pytest.mark.parametrize("data", [b"", b"x", bytearray(b"abc"), memoryview(b"abcdef")[1:3], bytes(1_000_000)])
def test_data_is_anything_with_a_buffer(cluster, data):
    cluster.propose(data)
    assert cluster.query(None)[-1] == bytes(data)


def test_propose_many_keeps_order_and_refusals_in_place(cluster):
    results = cluster.propose_many([b"a", b"refuse", b"b", b"refuse", b"c"])
    assert [results[0], results[2], results[4]] == [1, 2, 3]
    assert isinstance(results[1], CommandError)
    assert isinstance(results[3], CommandError)
    assert cluster.query(None) == [b"a", b"b", b"c"]
    assert cluster.propose_many([]) == []
    assert cluster.propose_many(iter([b"d"])) == [4]


def test_a_refusal_reaches_the_one_who_proposed(cluster):
    for raft in cluster.nodes.values():
        with pytest.raises(CommandError, match="refused"):
            raft.propose(b"refuse this")
    assert cluster.propose(b"fine") == 1
    assert all(raft.status().apply_error is None for raft in cluster.nodes.values())


def test_submit(cluster):
    futures = [cluster.submit(b"%d" % number) for number in range(100)]
    assert [future.result(WAIT) for future in futures] == list(range(1, 101))
    many = cluster.submit_many([b"a", b"refuse", b"b"])
    results = many.result(WAIT)
    assert (results[0], results[2]) == (101, 102)
    assert isinstance(results[1], CommandError)
    with pytest.raises(CommandError):
        cluster.submit(b"refuse").result(WAIT)


def test_cancelled_future_withdraws_the_waiter_not_the_entry(cluster):
    cluster.wait_ready(timeout=WAIT)
    futures = [cluster.submit(b"%d" % number) for number in range(200)]
    cancelled = [future.cancel() for future in futures[::2]]
    concurrent.futures.wait(futures, WAIT)
    for future, given_up in zip(futures[::2], cancelled, strict=True):
        assert future.cancelled() == given_up
    cluster.read_barrier()
    assert len(cluster.query(None)) == 200


def test_futures_callbacks_run_and_may_propose(cluster):
    cluster.wait_ready(timeout=WAIT)
    raft = cluster.nodes[1]
    chained = concurrent.futures.Future()
    raft.submit(b"first").add_done_callback(lambda done: chained.set_result(raft.submit(b"second")))
    assert chained.result(WAIT).result(WAIT) == 2


def test_crash_and_restart(cluster):
    for round_number in range(3):
        cluster.propose(b"before %d" % round_number)
        victim = cluster.leader
        cluster.crash(victim)
        assert victim not in cluster.live
        cluster.propose(b"during %d" % round_number)
        assert cluster.leader != victim
        cluster.restart(victim)
        assert victim in cluster.live
    cluster.wait_ready(timeout=WAIT)
    expected = list(itertools.chain.from_iterable((b"before %d" % n, b"during %d" % n) for n in range(3)))
    for raft in cluster.nodes.values():
        assert raft.query(None) == expected


def test_the_whole_cluster_comes_back(tmp_path):
    with LocalCluster(Journal, directory=tmp_path / "data") as cluster:
        for number in range(20):
            cluster.propose(b"%d" % number)
        for node in list(cluster.nodes):
            cluster.crash(node)
        with pytest.raises(DeadlineError):
            cluster.query(None, timeout=0.1)
        for node in list(cluster.nodes):
            cluster.restart(node)
        assert cluster.query(None) == [b"%d" % number for number in range(20)]
    with LocalCluster(Journal, directory=tmp_path / "data") as cluster:
        assert cluster.query(None) == [b"%d" % number for number in range(20)]


def test_temporary_directory_is_removed(cluster):
    directory = cluster.directory
    assert sorted(path.name for path in directory.iterdir()) == ["node-1", "node-2", "node-3"]
    cluster.close()
    assert not directory.exists()


def test_reads_as_fresh_as_asked(words):
    words.propose(b"fresh")
    for raft in words.nodes.values():
        assert raft.query("fresh") >= 1
        assert raft.query("fresh", consistency="eventual") >= 0
        assert raft.read_barrier() >= 1
        assert raft.read_barrier(consistency="eventual") >= 0
    assert words.read(type) is WordCount


def test_what_query_raises(words):
    def refuse(machine):
        raise CommandError("not like this")

    with pytest.raises(PluginError) as caught:
        words.query([])  # no key of a Counter
    assert caught.value.callback == "query"
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(PluginError) as caught:
        words.read(lambda machine: machine.no_such_thing)
    assert caught.value.callback == "read"
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(CommandError, match="not like this"):
        words.read(refuse)
    assert words.query("x") == 0


def test_status(words):
    words.propose(b"something")
    leader = words.leader
    for node, raft in words.nodes.items():
        raft.read_barrier()
        status = raft.status()
        assert status.id == node
        assert status.role == ("leader" if node == leader else "follower")
        assert status.leader == leader
        assert status.term >= 1
        assert status.commit >= status.applied >= 2
        assert isinstance(status.last, LogId)
        assert status.last.index >= status.commit
        assert status.durable <= status.last.index
        assert set(status.members) == {1, 2, 3}
        assert all(isinstance(peer, Peer) for peer in status.members.values())
        assert status.missing == ()
        assert status.apply_error is None
        assert not status.storage_stalled
        assert (status.progress is not None) == (node == leader)
        assert pickle.loads(pickle.dumps(status)) == status
    progress = words.nodes[leader].status().progress
    assert set(progress) == {1, 2, 3} - {leader}
    assert all(follower.state == "replicate" for follower in progress.values())


def test_repr_and_cheap_properties(words):
    leader = words.leader
    raft = words.nodes[leader]
    assert raft.is_leader
    assert raft.leader == leader
    for word in (f"Raft {leader}", "leader", "term=", "commit=", "applied="):
        assert word in repr(raft)
    assert "LocalCluster" in repr(words)


def test_metrics(words):
    raft = words.nodes[words.leader]
    before = raft.metrics()
    raft.propose_many([b"a", b"b", b"c"])
    after = raft.metrics()
    assert after["proposals"] - before["proposals"] == 1
    assert after["proposed_entries"] - before["proposed_entries"] == 3
    assert after["applied_entries"] - before["applied_entries"] == 3
    assert after["log_syncs"] > before["log_syncs"]
    assert all(isinstance(value, int) for value in after.values())


def test_changes_begin_with_the_current_value(cluster):
    cluster.wait_ready(timeout=WAIT)
    watcher = next(node for node in cluster.nodes if node != cluster.leader)
    changes = cluster.nodes[watcher].changes()
    first = next(changes)
    assert isinstance(first, Change)
    assert first.leader == cluster.leader
    old = cluster.leader
    cluster.crash(old)
    for change in changes:
        if change.leader not in (None, old):
            assert change.term > first.term
            break
    cluster.crash(watcher)
    assert list(changes) == []


def test_the_clusters_own_verbs(cluster):
    cluster.propose(b"x")
    assert cluster.status().id == cluster.leader
    assert cluster.metrics()["proposals"] >= 1
    assert cluster.snapshot() >= 1
    changes = cluster.changes()
    first = next(change for change in changes if change.leader is not None)
    cluster.crash(first.leader)
    after = next(change for change in changes if change.leader not in (None, first.leader))
    assert after.term > first.term
    cluster.close()
    assert list(changes) == []


def test_snapshot_on_demand(cluster):
    cluster.propose_many([b"%d" % number for number in range(50)])
    raft = cluster.nodes[cluster.leader]
    index = raft.snapshot()
    assert index >= 50
    assert raft.status().snapshot.index == index
    assert raft.snapshot() == index
    cluster.restart(raft.id)
    assert len(cluster.nodes[raft.id].query(None, timeout=WAIT)) == 50


def test_entry_over_the_limit():
    with LocalCluster(Journal, config=Config(max_entry_bytes=100)) as cluster:
        cluster.propose(bytes(100))
        for raft in cluster.nodes.values():
            with pytest.raises(TooLargeError) as caught:
                raft.propose(bytes(101))
            assert (caught.value.size, caught.value.limit, caught.value.retryable) == (101, 100, False)
            with pytest.raises(TooLargeError):
                raft.propose_many([b"ok", bytes(101)])
        assert len(cluster.query(None)) == 1


def test_wrong_arguments_change_nothing(cluster):
    cluster.propose(b"one")
    raft = cluster.nodes[1]
    for wrong in ("text", 7, None, [b"x"]):
        with pytest.raises(TypeError):
            raft.propose(wrong)
        with pytest.raises(TypeError):
            raft.submit(wrong)
    for wrong in (b"bytes", "text", [b"fine", "text"], 7):
        with pytest.raises(TypeError):
            raft.propose_many(wrong)
    for wrong in (-1, math.nan, "5", True):
        with pytest.raises(d_engine.ConfigError, match="timeout"):
            raft.propose(b"x", timeout=wrong)
    with pytest.raises(d_engine.ConfigError, match="'linearizable', 'lease' or 'eventual'"):
        raft.query("x", consistency="soon")
    with pytest.raises(d_engine.ConfigError, match="there is no node 9"):
        cluster.crash(9)
    assert cluster.query(None) == [b"one"]


def test_without_a_quorum(cluster):
    cluster.propose(b"one")
    leader = cluster.leader
    alone = next(node for node in cluster.nodes if node != leader)
    for node in list(cluster.nodes):
        if node != alone:
            cluster.crash(node)
    raft = cluster.nodes[alone]
    assert raft.query(None, consistency="eventual") is not None
    with pytest.raises(DeadlineError):
        raft.query(None, timeout=0.3)
    with pytest.raises(DeadlineError):
        raft.read_barrier(timeout=0.3)
    with pytest.raises(NotLeaderError) as caught:
        cluster.propose(b"two", timeout=1.5)
    assert isinstance(caught.value, NotAcceptedError)
    assert caught.value.leader_id is None


def test_forward_off():
    with LocalCluster(Journal, config=Config(forward=False)) as cluster:
        cluster.wait_ready(timeout=WAIT)
        leader = cluster.leader
        follower = next(node for node in cluster.nodes if node != leader)
        with pytest.raises(NotLeaderError) as caught:
            cluster.nodes[follower].propose(b"x")
        assert caught.value.leader_id == leader
        assert caught.value.address == f"local:{leader}"
        assert cluster.propose(b"x") == 1


def test_after_close_every_verb_says_so(tmp_path):
    cluster = LocalCluster(Journal, directory=tmp_path)
    with pytest.raises(ClosedError, match="not started"):
        cluster.propose(b"x")
    with cluster:
        cluster.propose(b"x")
        nodes = dict(cluster.nodes)
        last = nodes[1].status().term
    cluster.close()
    for raft in nodes.values():
        raft.close()
        for verb in ALL_VERBS:
            with pytest.raises(ClosedError):
                verb(raft)
        assert raft.status().term >= last
        assert "closed" in repr(raft)
        assert list(raft.changes()) == []
        with pytest.raises(ClosedError, match="started before"):
            raft.start()
    with pytest.raises(ClosedError):
        cluster.propose(b"x")
    with pytest.raises(ClosedError):
        cluster.start()


def test_close_hands_leadership_over(cluster):
    cluster.propose(b"x")
    leader = cluster.leader
    term = cluster.nodes[leader].status().term
    cluster.nodes[leader].close(handover=True)
    others = [node for node in cluster.nodes if node != leader]
    # Given away, not timed out: somebody else leads in the next term at once.
    for change in cluster.nodes[others[0]].changes():
        if change.leader in others:
            assert change.term == term + 1
            break


def test_close_with_calls_in_flight(cluster):
    cluster.wait_ready(timeout=WAIT)
    raft = cluster.nodes[cluster.leader]
    futures = [raft.submit(b"%d" % number) for number in range(2000)]
    raft.close(handover=False)
    done, waiting = concurrent.futures.wait(futures, WAIT)
    assert not waiting
    for future in done:
        error = future.exception()
        assert error is None or isinstance(error, (d_engine.OutcomeUnknownError, ClosedError, NotAcceptedError))


def test_directories_by_node(tmp_path):
    with LocalCluster(Journal, nodes=2, directory=tmp_path / "a" / "b") as cluster:
        cluster.propose(b"x")
        assert Path(cluster.directory) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b" / "node-2").is_dir()
