"""A leader that is stopped for longer than its lease, and goes on: no read, of a quorum or of a lease, misses a write."""

import bisect
import time

import pytest

from process.harness import Nodes, wait_until
from process.pumps import Outcomes, Pumps

TIMEOUT = 0.5  # seconds: the longest election timeout of the default configuration
READERS = {1: {"lease": 2, "linearizable": 1}, 2: {"lease": 1, "linearizable": 2}, 3: {"lease": 1, "linearizable": 1}}


class Writes:
    """What was acknowledged by when."""

    def __init__(self, outcomes: Outcomes) -> None:
        moments = sorted((at, index) for index, at in outcomes.acknowledged_at.items())
        self._at = [at for at, _ in moments]
        self._index: list[int] = []
        for _, index in moments:
            self._index.append(max(index, self._index[-1] if self._index else 0))

    def before(self, moment: float) -> int:
        """The highest index that was acknowledged before that moment."""
        place = bisect.bisect_left(self._at, moment)
        return self._index[place - 1] if place else 0


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_read_is_stale_when_a_stopped_leader_goes_on(tmp_path, full, note):
    rounds = 100 if full else 10
    with Nodes(tmp_path).start() as nodes:
        nodes.leader()
        for node, tiers in READERS.items():
            nodes.children[node].call("read", tiers=tiers)
        with Pumps(nodes, chunk=2, pause=0.02) as pumps:
            pumps.switch(True)
            outcomes = pumps.outcomes
            for _ in range(rounds):
                leader = nodes.leader(60)
                others = [node for node in nodes.ids if node != leader]
                nodes.children[leader].pause()
                paused = time.monotonic()
                try:
                    wait_until(
                        lambda others=others, paused=paused: (
                            time.monotonic() > paused + 2 * TIMEOUT
                            and any(outcomes.newest.get(node, 0.0) > paused + TIMEOUT / 2 for node in others)
                        ),
                        within=60,
                        what="a write through another leader",
                    )
                finally:
                    nodes.children[leader].resume()
            nodes.leader(60)
            pumps.switch(False)
        nodes.level()
        answers = [nodes.children[node].call("stop_reading", timeout=60) for node in nodes.ids]
        writes = Writes(outcomes)
        counts = {"lease": 0, "linearizable": 0}
        for answer in answers:
            for tier, seen in answer["seen"].items():
                counts[tier] += len(seen)
                stale = [(began, index) for began, index in seen if index < writes.before(began)]
                assert not stale, f"{len(stale)} stale {tier} reads, such as {stale[:3]}"
    assert min(counts.values()) > 100
    note(
        f"SIGSTOP of the leader for {2 * TIMEOUT:.0f} s, {rounds} times, 8 readers: {counts['lease']:,} lease and"
        f" {counts['linearizable']:,} linearizable reads beside {len(outcomes.acknowledged):,} writes, 0 stale"
    )
