"""Twice the load that saturates a cluster: nearly the full rate goes on, refusals say so, nobody hangs, memory stays bounded."""

import statistics

import pytest

from process.harness import Nodes
from process.memory import Watch

MIB = 1 << 20
SIZE = 1024
ALLOWED = (
    384 * MIB
)  # two times 64 MiB of proposals on their way, the log's tail of 32 MiB, and what Python makes of them


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twice_the_saturating_load(tmp_path, full, note):
    seconds, rounds = (10, 5) if full else (5, 2)
    # What is measured is not how busy the machine is with something else: no change of leader for that.
    # Calls wait longer than what admission goes by: those that it should have refused show in the longest wait.
    config = {
        "heartbeat_interval": 0.2,
        "election_timeout": (2.0, 4.0),
        "request_timeout": 4.0,
        "snapshot_every_entries": 10_000_000,
    }
    ratios: list[float] = []
    with Nodes(tmp_path, config=config).start() as nodes:
        leader = nodes.leader()
        child = nodes.children[leader]

        def saturate() -> float:
            return child.call("offer", size=SIZE, wait=10, in_flight=2048, seconds=seconds, timeout=90)["goodput"]

        before = saturate()
        for _ in range(rounds):
            watch = Watch({f"node {node}": nodes.children[node] for node in nodes.ids})
            result = child.call("offer", size=SIZE, wait=20, rate=2 * before, seconds=seconds, timeout=90)
            more = watch.end()
            after = saturate()
            # A machine has better and worse moments: what it does before and after is what it can do.
            peak = (before + after) / 2
            ratios.append(result["goodput"] / peak)
            refused = {kind: count for kind, count in result["outcomes"].items() if kind != "acknowledged"}
            note(
                f"saturated {before:,.0f} and {after:,.0f} entries of {SIZE} bytes a second; offered {result['offered']:,.0f}/s for"
                f" {seconds} s: goodput {result['goodput']:,.0f}/s, {ratios[-1]:.2f} of the peak; refused {refused}; longest wait"
                f" {result['longest']:.2f} s; memory above before, at most: {max(more.values()) / MIB:.0f} MiB"
            )
            before = after
            assert nodes.leader() == leader
            assert result["hanging"] == 0
            assert set(refused) <= {"OverloadedError"}, refused
            assert max(more.values()) <= ALLOWED, more
    # A busy machine has no rate of its own to compare with.
    assert statistics.median(ratios) >= (0.8 if full else 0.3), ratios
