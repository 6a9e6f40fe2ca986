"""Acknowledged means synced: counted by the system, not by us."""

import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from process.harness import Nodes, wait_until

CALL = re.compile(r"^\d+\s+(\d+\.\d+) (?:fsync|fdatasync)\(")


def can_trace() -> bool:
    """Whether strace is here and may follow a process."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


def syncs_between(trace: Path, began: float, ended: float) -> int:
    """The calls of fsync and fdatasync that began in a span of wall time."""
    calls = (CALL.match(line) for line in trace.read_text().splitlines())
    return sum(1 for call in calls if call and began <= float(call[1]) <= ended)


def wait_for_silence(nodes: Nodes) -> None:
    """Until no log has synced for a second (the log vouches for its last batch when it has become idle)."""
    last: list[int] = []
    since = time.monotonic()

    def silent() -> bool:
        nonlocal last, since
        now = [nodes.metrics(node)["log_syncs"] for node in nodes.ids]
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 1.0

    wait_until(silent, within=30, what="logs that sync nothing while nothing is written", every=0.1)


@pytest.mark.process
@pytest.mark.slow
def test_every_acknowledged_write_is_synced_on_a_quorum(tmp_path, full, note):
    writes = 500 if full else 100
    idle = 5.0 if full else 2.0
    traced = can_trace()

    def trace(node: int) -> Path:
        return tmp_path / f"trace-{node}.txt"

    def prefix(node: int) -> list[str]:
        options = ["-f", "--seccomp-bpf", "-ttt", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none"]
        return ["strace", *options, "-o", str(trace(node)), "--"] if traced else []

    with Nodes(tmp_path, prefix=prefix).start() as nodes:
        leader = nodes.leader()
        followers = [node for node in nodes.ids if node != leader]
        wait_for_silence(nodes)
        counted = {node: nodes.metrics(node)["log_syncs"] for node in nodes.ids}
        began = time.time()
        durations = nodes.children[leader].call("sequential", first=0, count=writes, timeout=60)["durations"]
        ended = time.time()
        grown = {node: nodes.metrics(node)["log_syncs"] - counted[node] for node in nodes.ids}
        assert nodes.leader() == leader
        wait_for_silence(nodes)
        idle_began = time.time()
        wait_until(lambda: time.time() > idle_began + idle, within=idle + 5, what="idle time to pass", every=0.1)
        idle_ended = time.time()
        after = [nodes.metrics(node)["log_syncs"] for node in nodes.ids]
        wait_for_silence(nodes)
        assert after == [nodes.metrics(node)["log_syncs"] for node in nodes.ids]
    assert grown[leader] >= writes
    assert sum(grown[node] for node in followers) >= writes
    text = f"{writes} writes one at a time: syncs by the nodes' own count {grown} (leader {leader})"
    if traced:
        seen = {node: syncs_between(trace(node), began, ended) for node in nodes.ids}
        assert seen[leader] >= writes
        assert sum(seen[node] for node in followers) >= writes
        quiet = {node: syncs_between(trace(node), idle_began, idle_ended) for node in nodes.ids}
        assert not any(quiet.values()), f"syncs in {idle} idle seconds: {quiet}"
        text += f", by strace {seen}; in {idle:.0f} idle seconds none"
    note(f"{text}; p50 {statistics.median(durations) * 1e3:.2f} ms{' under strace' if traced else ''}")
