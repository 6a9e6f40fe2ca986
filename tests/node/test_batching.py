"""Callbacks are batched: many calls at once make few crossings into Python, one call alone waits for nothing."""

import threading
import time

import pytest

from d_engine import FileStorage
from support.clusters import WAIT, Trio
from support.machines import Journal

IN_FLIGHT = 4096
AT_LEAST = 64


def keep_in_flight(raft, each, total):
    """One thread's share: at most `each` calls under way, `total` in all."""
    slots = threading.Semaphore(each)
    failures = []

    def done(future):
        slots.release()
        if future.exception() is not None:
            failures.append(future.exception())

    for number in range(total):
        slots.acquire()
        raft.submit(b"%d" % number, timeout=2 * WAIT).add_done_callback(done)
    for _ in range(each):
        assert slots.acquire(timeout=2 * WAIT)
    return failures


@pytest.mark.slow
def test_batches_on_leader_and_followers(tmp_path, full):
    # Python storages are judged in tests/process/test_batching.py, where each node has an interpreter of its own: three of
    # them in this one, beside two submitters, take turns at batches of whatever came during one short cycle.
    total = 200_000 if full else 40_000
    with Trio(lambda node: Journal(), lambda node: FileStorage(tmp_path / str(node))) as trio:
        leader = trio.nodes[trio.leader()]
        before = {node: raft.metrics() for node, raft in trio.nodes.items()}
        failures = []
        threads = [
            threading.Thread(target=lambda: failures.extend(keep_in_flight(leader, IN_FLIGHT // 2, total // 2)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(8 * WAIT)
        assert failures == []
        trio.level()
        for node, raft in trio.nodes.items():
            counts = {name: value - before[node][name] for name, value in raft.metrics().items()}
            assert counts["applied_entries"] == total
            assert counts["applied_entries"] / counts["apply_batches"] >= AT_LEAST, (node, counts)
            assert counts["log_append_entries"] / counts["log_appends"] >= AT_LEAST, (node, counts)
            assert counts["log_append_entries"] / max(1, counts["log_syncs"]) >= AT_LEAST, (node, counts)
        assert len({tuple(machine.items) for machine in trio.machines.values()}) == 1


def test_one_call_alone_never_waits_for_a_timer(tmp_path):
    with Trio(lambda node: Journal(), lambda node: FileStorage(tmp_path / str(node))) as trio:
        raft = trio.nodes[trio.leader()]
        for _ in range(20):
            raft.propose(b"warm up")
        taken = []
        for number in range(200):
            began = time.perf_counter()
            raft.propose(b"%d" % number)
            taken.append(time.perf_counter() - began)
        taken.sort()
        # Half a heartbeat would show at once; a slow disk may not.
        assert taken[len(taken) // 2] < 0.02, taken[len(taken) // 2]


def test_a_submit_many_is_one_waiter():
    with Trio(lambda node: Journal()) as trio:
        raft = trio.nodes[trio.leader()]
        before = raft.metrics()
        futures = [raft.submit_many([b"%d" % number] * 64) for number in range(50)]
        for future in futures:
            results = future.result(WAIT)
            assert results == list(range(results[0], results[0] + 64))
        after = raft.metrics()
        assert after["proposals"] - before["proposals"] == 50
        assert after["proposed_entries"] - before["proposed_entries"] == 3200
