"""What the demo does, in order: feed, kill the leader, bring a follower back by a snapshot, compare."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from d_engine.demo.cluster import NODES, Cluster
from d_engine.demo.feed import Feeder, Work
from d_engine.demo.processes import wait_until

KILL_AT = 0.5
BURST_TO = 0.55
STOP_AT = 0.6
PURGED_BY = 0.9
PATIENCE = 30.0


@dataclass
class Result:
    """What happened, for the summary."""

    lines: int = 0
    acknowledged: int = 0
    unknown: int = 0
    unknown_applied: int = 0
    refused: int = 0
    words: int = 0
    elections: int = 0
    in_flight_at_kill: int = 0
    new_leader: float | None = None  # seconds from SIGKILL until a node said that it leads
    next_write: float | None = None  # seconds from SIGKILL until a line sent after it was acknowledged
    snapshots_taken: int = 0
    snapshots_installed: int = 0
    syncs: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list[str])


class Story:
    """One run. `tell` is called with what happens, from this thread."""

    def __init__(self, cluster: Cluster, work: Work, tell: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.work = work
        self.result = Result(lines=len(work.lines))
        self._tell = tell
        self._killed = 0

    def run(self) -> Result:
        began = time.monotonic()
        self.cluster.start()
        self._tell(f"three nodes are up, node {self.cluster.leader()} leads")
        feeders = [Feeder(self.work, self.cluster.children, node) for node in NODES]
        try:
            self._feed_to(KILL_AT)
            self._kill_leader()
            self._feed_to(STOP_AT)
            self._starve_follower()
            self._feed_to(1.0)
            self._wait(lambda: self.work.settled == len(self.work.lines), "the outcome of every line")
        finally:
            for feeder in feeders:
                feeder.stop()
        self.result.seconds = time.monotonic() - began
        self._compare()
        self._sum_up()
        return self.result

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        """Waits as long as something is acknowledged at least every 30 s."""
        began = time.monotonic()

        def patient() -> bool:
            if time.monotonic() - max(began, self.work.last_acknowledged()) > PATIENCE:
                raise TimeoutError(f"nothing was acknowledged for {PATIENCE:.0f} s while waiting for {what}")
            return condition()

        self.cluster.wait(patient, what, within=float("inf"))

    def _feed_to(self, share: float) -> None:
        self.work.allow(share)
        target = round(len(self.work.lines) * share)
        self._wait(lambda: self.work.sent >= target, f"{share:.0%} of the lines to be sent")

    def _kill_leader(self) -> None:
        cluster, work = self.cluster, self.work
        cluster.wait(lambda: cluster.leader() is not None, "a leader to kill")
        leader = cluster.leader()
        assert leader is not None
        terms = set(cluster.leaders)
        # Some lines go out all at once, so that the leader dies with proposals in its hands; feeding goes on meanwhile.
        sent, settled = work.sent, work.settled
        work.allow(BURST_TO, burst=True)
        wait_until(lambda: work.sent > sent, within=PATIENCE, what="a burst of lines", every=0.0005)
        with contextlib.suppress(TimeoutError):  # it dies a moment later, or when the first answers come
            wait_until(lambda: work.settled > settled, within=0.003, what="", every=0.0005)
        self.result.in_flight_at_kill = work.sent - work.settled
        killed = time.monotonic()
        self._killed = leader
        cluster.kill_node(leader)
        work.allow(STOP_AT)
        self._tell(f"kill -9 of node {leader}, the leader, with {self.result.in_flight_at_kill} lines in flight")
        self._wait(lambda: bool(set(cluster.leaders) - terms), "a new leader")
        new = min(set(cluster.leaders) - terms)
        self.result.new_leader = cluster.first_seen[new] - killed
        self._tell(f"node {cluster.leaders[new]} leads in term {new}, {self.result.new_leader:.2f} s after the kill")

        def acknowledged() -> bool:
            work.allow_more()
            return work.acknowledged_after(killed) is not None or work.settled == len(work.lines)

        self._wait(acknowledged, "the next acknowledgement")
        moment = work.acknowledged_after(killed)
        if moment is not None:
            self.result.next_write = moment - killed
            # Nodes are looked at every 50 ms: the write may prove earlier that somebody leads.
            self.result.new_leader = min(self.result.new_leader, self.result.next_write)
        cluster.start_node(leader)
        self._catch_up(leader)
        self._tell(f"node {leader} is back and has caught up")

    def _starve_follower(self) -> None:
        cluster, work = self.cluster, self.work
        follower = next(node for node in NODES if node not in (cluster.leader(), self._killed))
        cluster.stop_node(follower)
        held = max(child.call("status")["last"] for child in cluster.children.values())  # it has no more than that
        self._tell(f"node {follower} is stopped at index {held} or before")
        work.allow(PURGED_BY)

        def purged() -> int:
            return min(int(cluster.said(node).get("purged", 0)) for node in cluster.children)

        def past() -> bool:
            if purged() > held:
                return True
            if work.settled == work.sent >= round(len(work.lines) * PURGED_BY):
                # The feed waits here: some more lines, and snapshots that were not due yet.
                work.allow_more()
                for child in cluster.children.values():
                    child.call("snapshot")
            return False

        self._wait(past, f"the log to be purged past index {held}")
        self._tell(f"the log is purged up to index {purged()}: only a snapshot can bring node {follower} back")
        cluster.start_node(follower)
        self._wait(lambda: cluster.said(follower).get("restores", 0) > 0, f"node {follower} to get a snapshot")
        self._catch_up(follower)
        self._tell(f"node {follower} is back, by a snapshot of index {cluster.said(follower)['snapshot']}")

    def _catch_up(self, node: int) -> None:
        cluster = self.cluster

        def level() -> bool:
            leader = cluster.leader()
            return leader is not None and cluster.said(node).get("applied", 0) >= goal

        goal = max(cluster.said(other).get("commit", 0) for other in NODES)
        self._wait(level, f"node {node} to apply index {goal}")

    def _compare(self) -> None:
        """The three states against a count made here, from the lines, without Raft."""
        for child in self.cluster.children.values():
            child.call("count", word="the")  # a linearizable read: everything acknowledged is applied there
        states: dict[int, dict[str, Any]] = {}

        def same_end() -> bool:
            states.update({node: child.call("dump") for node, child in self.cluster.children.items()})
            return len({state["last_index"] for state in states.values()}) == 1

        self.cluster.wait(same_end, "all three nodes to be at the same index")
        outcomes = self.work.outcomes
        counted = numbers(states[1]["lines"])
        self.result.unknown_applied = len(counted & outcomes.unknown)
        self.result.differences = differences(states, counted, self.work)
        self.result.words = sum(states[1]["words"].values())

    def _sum_up(self) -> None:
        result, outcomes = self.result, self.work.outcomes
        result.acknowledged = len(outcomes.acknowledged)
        result.unknown = len(outcomes.unknown)
        result.refused = outcomes.refused
        result.elections = len(self.cluster.leaders)
        result.syncs = self.cluster.total("log_syncs")
        result.snapshots_taken = self.cluster.total("snapshots_taken")
        result.snapshots_installed = self.cluster.total("snapshots_installed")
        if self.work.problem:
            result.differences.append(f"a node complained: {self.work.problem}")


def numbers(bits: str) -> set[int]:
    """The line numbers in a machine's bit map."""
    data = bytes.fromhex(bits)
    return {8 * at + bit for at, byte in enumerate(data) for bit in range(8) if byte >> bit & 1}


def count(lines: Sequence[str], which: set[int]) -> Counter[str]:
    """The count without Raft."""
    words: Counter[str] = Counter()
    for number in which:
        words.update(lines[number].split())
    return words


def differences(states: dict[int, dict[str, Any]], counted: set[int], work: Work) -> list[str]:
    """Everything that is not as it must be, in words; empty if all is well."""
    wrong: list[str] = []
    lost = work.outcomes.acknowledged - counted
    if lost:
        wrong.append(f"{len(lost)} acknowledged lines are missing, the first is line {min(lost) + 1}")
    foreign = counted - work.outcomes.acknowledged - work.outcomes.unknown
    if foreign:
        wrong.append(
            f"{len(foreign)} lines were counted that nobody may have counted, the first is line {min(foreign) + 1}"
        )
    expected = count(work.lines, counted)
    for node, state in states.items():
        if state["repeated"]:
            wrong.append(f"node {node} counted {state['repeated']} lines twice")
        if state["lines"] != states[1]["lines"]:
            wrong.append(f"node {node} counted other lines than node 1")
        if state["order"] != states[1]["order"]:
            wrong.append(f"node {node} counted the lines in another order than node 1")
        if Counter(state["words"]) != expected:
            wrong.append(f"node {node} has other words than the count without Raft")
    return wrong
