"""Nothing Python does causes an election: the interpreter lock held for ten seconds, a storage that sleeps."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from process.harness import Nodes, wait_until
from process.pumps import Pumps

RESUME = 0.5
# What the others commit meanwhile has to be written and applied by the one that wakes up: a load that it can make up for quickly.
steady = partial(Pumps, chunk=4, pause=0.02)


def views(nodes: Nodes) -> dict[int, tuple[int, int]]:
    """(term, leader) as each node sees it."""
    return {node: (status["term"], status["leader"]) for node, status in nodes.statuses().items()}


def check_resumed(pumps: Pumps, nodes: Nodes, woke: float) -> float:
    """Waits for a write through every node after that moment; the longest time it took."""
    outcomes = pumps.outcomes
    wait_until(
        lambda: all(outcomes.newest.get(node, 0.0) > woke for node in nodes.ids),
        within=30,
        what="writes through all nodes after the sleep",
        every=0.002,
    )
    return max(outcomes.first_after(node, woke) for node in nodes.ids) - woke


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("who", ["leader", "follower", "all"])
def test_the_interpreter_lock_held_in_apply_changes_no_term(tmp_path, note, who):
    choose: dict[str, Callable[[int, list[int]], list[int]]] = {
        "leader": lambda leader, followers: [leader],
        "follower": lambda leader, followers: followers[:1],
        "all": lambda leader, followers: [leader, *followers],
    }
    with Nodes(tmp_path).start() as nodes:
        leader = nodes.leader()
        followers = [node for node in nodes.ids if node != leader]
        sleepers = choose[who](leader, followers)
        before = views(nodes)
        with steady(nodes) as pumps:
            pumps.switch(True)
            nodes.children[followers[-1]].call("sleep", seconds=10, nodes=sleepers)
            # Those that are awake see nothing of it; the sleepers answer when they have woken up.
            awake = [node for node in nodes.ids if node not in sleepers]
            asked = {node: nodes.children[node].request("status") for node in sleepers}

            def over() -> bool:
                for node in awake:
                    status = nodes.status(node)
                    assert (status["term"], status["leader"]) == before[node]
                for node, answer in asked.items():
                    if answer.done() and not answer.result()["slept"]:
                        asked[node] = nodes.children[node].request("status")  # it had not fallen asleep yet
                return all(answer.done() and answer.result()["slept"] for answer in asked.values())

            wait_until(over, within=40, what="the sleepers to wake up", every=0.05)
            spans = [span for node in sleepers for span in nodes.status(node)["slept"]]
            took = check_resumed(pumps, nodes, max(end for _, end in spans))
            pumps.switch(False)
        nodes.level()
        after = views(nodes)
    assert len(spans) == len(sleepers)
    assert all(end - begin >= 9.9 for begin, end in spans)
    assert after == before
    assert took <= RESUME, f"writes resumed {took:.2f} s after the sleep"
    note(f"interpreter held for 10 s on {who}: terms and leader unchanged, writes through all nodes after {took:.3f} s")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_storage_asleep_for_ten_seconds_changes_no_term(tmp_path, note, who):
    with Nodes(tmp_path, storage="python").start() as nodes:
        leader = nodes.leader()
        sleeper = leader if who == "leader" else next(node for node in nodes.ids if node != leader)
        before = views(nodes)
        with steady(nodes) as pumps:
            pumps.switch(True)
            nodes.children[sleeper].call("sleep_storage", seconds=10.0)

            def woke() -> bool:
                assert views(nodes) == before
                return bool(nodes.children[sleeper].call("storage_slept")["slept"])

            wait_until(woke, within=40, what="the storage to wake up", every=0.1)
            ((_, end),) = nodes.children[sleeper].call("storage_slept")["slept"]
            took = check_resumed(pumps, nodes, end)
            pumps.switch(False)
        nodes.level()
        after = views(nodes)
    assert after == before
    assert took <= RESUME, f"writes resumed {took:.2f} s after the sleep"
    note(f"Python storage asleep for 10 s on {who}: terms and leader unchanged, writes through all after {took:.3f} s")


@pytest.mark.process
@pytest.mark.slow
def test_a_leader_whose_storage_sleeps_for_twenty_seconds_gives_leadership_away_once(tmp_path, note):
    with Nodes(tmp_path, storage="python").start() as nodes:
        leader = nodes.leader()
        term = nodes.status(leader)["term"]
        others = [node for node in nodes.ids if node != leader]
        with steady(nodes) as pumps:
            pumps.switch(True)
            began = time.monotonic()
            nodes.children[leader].call("sleep_storage", seconds=20.0)
            seen: set[tuple[int, int]] = set()

            def moved() -> bool:
                statuses = {node: nodes.status(node) for node in others}
                seen.update((status["term"], status["leader"]) for status in statuses.values() if status["leader"])
                return all(status["leader"] in others for status in statuses.values())

            wait_until(moved, within=30, what="another leader", every=0.05)
            gave = time.monotonic() - began
            moment = time.monotonic()
            wait_until(
                lambda: all(pumps.outcomes.newest.get(node, 0.0) > moment for node in others),
                within=10,
                what="writes through the others",
            )
            assert not nodes.children[leader].call("storage_slept")["slept"], "it woke up before leadership had moved"
            wait_until(
                lambda: bool(nodes.children[leader].call("storage_slept")["slept"]),
                within=40,
                what="the storage to wake up",
            )
            wait_until(
                lambda: pumps.outcomes.newest.get(leader, 0.0) > moment + 5,
                within=30,
                what="writes through the old leader",
            )
            pumps.switch(False)
        nodes.level()
        final = views(nodes)
    assert len(set(final.values())) == 1
    (new_term, new_leader) = final[leader]
    assert new_leader in others
    assert new_term == term + 1, f"term {term} became {new_term}: more than one change of leadership"
    assert seen <= {(term, leader), (new_term, new_leader)}
    note(f"storage of the leader asleep for 20 s: one change of leadership, {gave:.1f} s after it fell asleep")
