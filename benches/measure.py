"""Measures one system: three processes on loopback, fresh data, sequential writes, throughput and kills."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d_engine.demo.processes import Child, Ports, Reply, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

NODES = (1, 2, 3)
SIZE = 256
IN_FLIGHT = 4096
THREADS = 2
MEMBER = Path(__file__).with_name("member.py")


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    sequential_seconds: float
    throughput_seconds: float
    kills: int


@dataclass
class Throughput:
    """One stretch of writes with 4,096 in flight."""

    rate: float  # acknowledged writes a second
    lost: int  # writes never acknowledged
    cpu: dict[str, float]  # role -> processors used
    batching: dict[str, dict[str, float]] = field(default_factory=dict)  # role -> entries a call or sync


@dataclass
class Measured:
    """One round of one system."""

    system: str
    p50: float = 0.0  # seconds
    p99: float = 0.0
    sequential: int = 0
    many: Throughput | None = None
    single: Throughput | None = None
    failover: list[float] = field(default_factory=list)  # seconds, one a kill
    without_answer: int = 0  # kills after which no write was acknowledged in time


class Cluster:
    """Three processes of one system."""

    def __init__(self, system: str, directory: Path) -> None:
        self._system = system
        self._directory = directory
        self._ports = Ports(len(NODES))
        self.peers = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, self._ports.numbers, strict=True)}
        self.children: dict[int, Child] = {}
        directory.mkdir()
        for node in NODES:
            self.start(node)
        self.wait_ready()

    def start(self, node: int) -> None:
        folder = self._directory / str(node)
        folder.mkdir(exist_ok=True)
        spec = {"system": self._system, "id": node, "peers": self.peers, "directory": str(folder)}
        argv = [sys.executable, str(MEMBER), json.dumps(spec)]
        self.children[node] = Child(argv, name=f"{self._system} {node}", errors=self._directory / f"{node}.txt")

    def status(self) -> dict[int, Reply]:
        return {node: child.call("status") for node, child in self.children.items()}

    def wait_ready(self) -> int:
        """Until all know a leader and hold the same; returns the leader."""
        leader = 0

        def ready() -> bool:
            nonlocal leader
            statuses = self.status()
            leaders = [node for node, status in statuses.items() if status["leads"]]
            leader = leaders[0] if len(leaders) == 1 else 0
            same = len({status["entries"] for status in statuses.values()}) == 1
            return leader > 0 and same and all(status["ready"] for status in statuses.values())

        wait_until(ready, within=60, what=f"{self._system}: one leader, and the same entries on all nodes")
        return leader

    def close(self) -> None:
        for child in self.children.values():
            child.stop(timeout=10)
        self._ports.close()
        shutil.rmtree(self._directory)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def measure_sequential(cluster: Cluster, plan: Plan, result: Measured) -> None:
    child = cluster.children[cluster.wait_ready()]
    child.call("sequential", seconds=min(1.0, plan.sequential_seconds), size=SIZE)  # warm
    answer = child.call("sequential", timeout=plan.sequential_seconds + 60, seconds=plan.sequential_seconds, size=SIZE)
    latencies = [micros / 1e6 for micros in answer["latencies"]]
    result.sequential = len(latencies)
    result.p50 = statistics.median(latencies)
    result.p99 = percentile(latencies, 0.99)


def measure_throughput(cluster: Cluster, plan: Plan, group: int) -> Throughput:
    leader = cluster.wait_ready()
    arguments: dict[str, Any] = {"size": SIZE, "in_flight": IN_FLIGHT, "threads": THREADS, "group": group}
    patience = plan.throughput_seconds + 60
    cluster.children[leader].call(
        "throughput", timeout=patience, seconds=min(1.0, plan.throughput_seconds), **arguments
    )
    before = cluster.status()
    began = time.perf_counter()
    answer = cluster.children[leader].call("throughput", timeout=patience, seconds=plan.throughput_seconds, **arguments)
    after = cluster.status()
    elapsed = time.perf_counter() - began
    cpu: dict[str, float] = {}
    batching: dict[str, dict[str, float]] = {}
    for node in NODES:
        role = "leader" if node == leader else f"follower {node}"
        cpu[role] = (after[node]["cpu"] - before[node]["cpu"]) / elapsed
        batching[role] = batch_sizes(before[node]["metrics"], after[node]["metrics"])
    return Throughput(answer["acknowledged"] / answer["elapsed"], answer["lost"], cpu, batching)


def batch_sizes(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """Entries a call of apply, an append and a sync, and bytes a sync, in between; empty without counters."""
    if not after:
        return {}
    grown = {name: after[name] - before.get(name, 0) for name in after}
    syncs, appends, applies = (max(grown[name], 1) for name in ("log_syncs", "log_appends", "apply_batches"))
    return {
        "entries_per_apply": grown["applied_entries"] / applies,
        "entries_per_append": grown["log_append_entries"] / appends,
        "entries_per_sync": grown["log_append_entries"] / syncs,
        "bytes_per_sync": grown["log_append_bytes"] / syncs,
    }


def measure_failover(cluster: Cluster, result: Measured) -> None:
    """One kill: SIGKILL of the leader until the next write, sent after it through a survivor, is acknowledged."""
    leader = cluster.wait_ready()
    survivors = [cluster.children[node] for node in NODES if node != leader]
    for child in survivors:
        child.call("probe", size=SIZE)
    time.sleep(0.2)  # writes are flowing through both
    moment = time.monotonic()
    cluster.children.pop(leader).kill()
    answers = [child.request("first_after", moment=moment, within=30.0) for child in survivors]
    found = [answer.result(60)["found"] for answer in answers]
    acknowledged = [pair[1] for pair in found if pair is not None]
    if acknowledged:
        result.failover.append(min(acknowledged) - moment)
    else:
        result.without_answer += 1
    cluster.start(leader)


def measure(system: str, plan: Plan, directory: Path, tell: Callable[[str], None]) -> Measured:
    """One round of one system, in a fresh directory that is removed afterwards."""
    result = Measured(system)
    cluster = Cluster(system, directory)
    try:
        tell("sequential writes")
        measure_sequential(cluster, plan, result)
        tell(f"p50 {result.p50 * 1e3:.3f} ms, p99 {result.p99 * 1e3:.3f} ms of {result.sequential}")
        if system == "d-engine":
            tell("4,096 in flight, submit_many of 64")
            result.many = measure_throughput(cluster, plan, 64)
            tell(f"{result.many.rate:,.0f} writes/s")
        tell("4,096 in flight, one call each")
        result.single = measure_throughput(cluster, plan, 1)
        tell(f"{result.single.rate:,.0f} writes/s, {result.single.lost} never acknowledged")
    finally:
        cluster.close()
    if plan.kills:
        cluster = Cluster(system, directory)
        try:
            for kill in range(plan.kills):
                tell(f"kill {kill + 1} of {plan.kills}")
                measure_failover(cluster, result)
        finally:
            cluster.close()
        tell(f"failover {', '.join(f'{seconds:.2f}' for seconds in result.failover)} s")
    return result
