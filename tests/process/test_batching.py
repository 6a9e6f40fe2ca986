"""Many in flight are carried together; one in flight waits for nobody."""

import statistics

import pytest

from process.harness import Nodes

LEAST = 64
IN_FLIGHT = 4096


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before.get(name, 0) for name in after}


@pytest.mark.process
@pytest.mark.parametrize("storage", ["file", "python"])
def test_single_submits_are_batched_on_all_nodes(tmp_path, full, note, storage):
    with Nodes(tmp_path, storage=storage).start() as nodes:
        leader = nodes.leader()
        before = {node: nodes.metrics(node) for node in nodes.ids}
        seconds = 5.0 if full else 2.0
        flood = nodes.children[leader].call("flood", first=0, seconds=seconds, in_flight=IN_FLIGHT, timeout=90)
        nodes.level()
        counts = {node: grown(before[node], nodes.metrics(node)) for node in nodes.ids}
        assert nodes.leader() == leader
    ratios: dict[int, dict[str, float]] = {}
    for node, count in counts.items():
        ratios[node] = {
            "apply_batch": count["applied_entries"] / count["apply_batches"],
            "append": count["log_append_entries"] / count["log_appends"],
            "sync": count["log_append_entries"] / max(count["log_syncs"], 1),
        }
        if storage == "python":
            ratios[node]["LogStore.append"] = count["store_appended"] / count["store_appends"]
            del ratios[node]["sync"]  # that is the store's business
    text = "; ".join(
        f"node {node}{' (leader)' if node == leader else ''} "
        + ", ".join(f"{value:.0f} a {name}" for name, value in ratio.items())
        for node, ratio in ratios.items()
    )
    note(
        f"{storage}: {flood['acknowledged']:,} single submits from two threads, {IN_FLIGHT} in flight; entries: {text}"
    )
    assert all(value >= LEAST for ratio in ratios.values() for value in ratio.values()), text


@pytest.mark.process
def test_one_in_flight_never_waits_for_a_timer(tmp_path, note):
    # Timers thirty times as long as usual: whoever waited for a heartbeat would be seen at once.
    with Nodes(tmp_path, config={"heartbeat_interval": 1.5, "election_timeout": (6.0, 9.0)}).start() as nodes:
        leader = nodes.leader(within=60)
        follower = next(node for node in nodes.ids if node != leader)
        medians: dict[str, float] = {}
        for name, node, first in (("leader", leader, 0), ("follower", follower, 1000)):
            answer = nodes.children[node].call("sequential", first=first, count=200, timeout=100)
            medians[name] = statistics.median(answer["durations"])
            assert medians[name] < 0.1
            assert max(answer["durations"]) < 1.0
    note(
        f"one in flight: p50 {medians['leader'] * 1e3:.2f} ms on the leader, {medians['follower'] * 1e3:.2f} ms on a follower"
    )
