"""What happens around a node: Ctrl-C, the end of the interpreter, records in `logging`."""

import logging
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from d_engine import LocalCluster
from support.clusters import WAIT, Trio, wait_until
from support.machines import Journal

PROGRAM = """
import sys, threading
from d_engine import LocalCluster, StateMachine

class Machine(StateMachine):
    def apply(self, entry):
        {apply}
    def snapshot(self, out): pass
    def restore(self, src): pass

cluster = LocalCluster(Machine)
cluster.start()
{body}
print("done", flush=True)
"""


def run_program(body, apply="return len(entry.data)", timeout=30):
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", PROGRAM.format(body=body, apply=apply)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return run, time.monotonic() - began


@pytest.mark.process
@pytest.mark.parametrize(
    "body",
    [
        "cluster.propose(b'abc')",
        "futures = [cluster.submit(b'abc') for _ in range(1000)]",
        "threading.Thread(target=lambda: [cluster.propose(b'x') for _ in range(100)], daemon=True).start()",
        "raft = cluster.nodes[1]; raft.propose(b'x'); print('last words', file=sys.stderr)",
    ],
    ids=["nothing under way", "futures under way", "a daemon thread proposes", "a node kept by a global"],
)
def test_the_interpreter_ends_without_close(body):
    run, _ = run_program(body)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr
    assert "Traceback" not in run.stderr
    assert "panicked" not in run.stderr


@pytest.mark.process
def test_the_interpreter_ends_while_apply_hangs():
    run, took = run_program(
        "reached = threading.Event(); Machine.reached = reached; cluster.submit(b'abc'); reached.wait()",
        apply="self.reached.set(); threading.Event().wait(60)",
        timeout=45,
    )
    assert run.returncode == 0, run.stderr
    assert took < 30


@pytest.mark.process
@pytest.mark.parametrize(
    "call",
    [
        lambda raft: raft.propose(b"x", timeout=60),
        lambda raft: raft.query(None, timeout=60),
        lambda raft: raft.read_barrier(timeout=60),
        lambda raft: raft.wait_ready(timeout=60),
        lambda raft: list(raft.changes()),
    ],
    ids=["propose", "query", "read_barrier", "wait_ready", "changes"],
)
def test_control_c_ends_a_blocking_call(call):
    """One node of three, so that nothing can be answered."""
    with Trio(lambda node: Journal()) as trio:
        keep = trio.followers()[0]
        for node in [node for node in trio.nodes if node != keep]:
            trio.crash(node)
        raft = trio.nodes[keep]
        wait_until(lambda: raft.leader is None, "the leader to be given up")
        timer = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
        timer.start()
        began = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                call(raft)
            assert time.monotonic() - began < 10
        finally:
            timer.join()


def test_a_node_that_is_forgotten_warns_and_stops():
    held = [LocalCluster(Journal, nodes=1)]
    held[0].start()
    held[0].propose(b"x", timeout=WAIT)
    directory = held[0].directory
    with pytest.warns(ResourceWarning, match="was not closed"):
        held.clear()
    shutil.rmtree(directory)


def test_records_reach_logging_with_node_term_and_index(caplog):
    with caplog.at_level(logging.DEBUG, "d_engine"), LocalCluster(Journal) as cluster:
        cluster.propose(b"x")
        leader = cluster.leader
        term = cluster.nodes[leader].status().term
    ours = [record for record in caplog.records if record.name.startswith("d_engine")]
    assert ours
    assert all(hasattr(record, name) for record in ours for name in ("node", "term", "index"))
    assert {record.node for record in ours} >= {1, 2, 3}
    assert any(record.node == leader and record.term == term for record in ours)
    assert all(abs(record.created - time.time()) < 2 * WAIT for record in ours)


def test_nothing_is_logged_unless_asked(caplog):
    with caplog.at_level(logging.CRITICAL, "d_engine"), LocalCluster(Journal) as cluster:
        cluster.propose(b"x")
        cluster.crash(cluster.leader)
        cluster.propose(b"x")
    assert [record for record in caplog.records if record.name.startswith("d_engine")] == []


def test_there_is_a_null_handler():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("d_engine").handlers)
