"""`kill -9`, again and again, under load: nothing acknowledged is lost, nothing is there twice, all agree on the order."""

import os
import random
import statistics
import time
from array import array

import pytest

from process.harness import Nodes, wait_until
from process.pumps import Outcomes, Pumps

IN_FLIGHT = 64
ON_THE_WAY = 0.05  # seconds in which answers may still arrive that a killed leader has given


def kill_under_load(nodes: Nodes, pumps: Pumps, victim: str, rng: random.Random) -> tuple[bool, int, float]:
    """One SIGKILL, and its node started again. Returns (was it the leader, proposals in flight there, seconds until a write)."""
    leader = nodes.leader()
    target = leader if victim == "leader" else rng.choice([node for node in nodes.ids if node != leader])
    pumps.switch(True)
    in_flight = 0

    def loaded() -> bool:
        nonlocal in_flight
        status = nodes.status(target)
        in_flight = status["in_flight"]
        return in_flight >= IN_FLIGHT and (status["role"] == "leader") == (victim == "leader")

    # All three are writing, and the last thing the victim says is that it holds enough.
    outcomes = pumps.outcomes
    began = time.monotonic()
    wait_until(
        lambda: all(outcomes.newest.get(node, 0.0) > began for node in nodes.ids),
        within=30,
        what="writes through all three nodes",
    )
    wait_until(loaded, within=30, what=f"{IN_FLIGHT} proposals in flight on node {target}", every=0.0005)
    killed = time.monotonic()
    nodes.kill(target)
    survivors = [node for node in nodes.ids if node != target]
    wait_until(
        lambda: any(outcomes.newest.get(node, 0.0) > killed + ON_THE_WAY for node in survivors),
        within=30,
        what=f"a write after the kill of node {target}",
        every=0.005,
    )
    later = killed + ON_THE_WAY
    recovered = min(outcomes.first_after(node, later) for node in survivors if outcomes.newest[node] > later) - killed
    nodes.start(target)
    if rng.random() < 0.5:  # the restarted node catches up under load, or in peace
        pumps.switch(False)
    nodes.leader()
    pumps.switch(False)
    return target == leader, in_flight, recovered


def check_ledgers(ledgers: dict[int, tuple[array, array]], outcomes: Outcomes) -> int:
    """Every acknowledged entry on every node at its index, none twice, one order. Returns how many unknown ones were applied."""
    first = min(ledgers)
    numbers, indexes = ledgers[first]
    for node, ledger in ledgers.items():
        assert ledger == ledgers[first], f"node {node} applied something else than node {first}, or in another order"
    found = dict(zip(numbers, indexes, strict=True))
    assert len(found) == len(numbers), f"{len(numbers) - len(found)} entries were applied twice"
    assert list(indexes) == sorted(set(indexes)), "indexes do not rise"
    lost = {number for number, index in outcomes.acknowledged.items() if found.get(number) != index}
    assert not lost, f"{len(lost)} acknowledged entries are lost or elsewhere, such as {sorted(lost)[:5]}"
    refused = outcomes.refused & found.keys()
    assert not refused, f"{len(refused)} refused entries were applied after all, such as {sorted(refused)[:5]}"
    foreign = found.keys() - outcomes.acknowledged.keys() - outcomes.unknown
    assert not foreign, f"{len(foreign)} applied entries have no outcome that allows it"
    return len(outcomes.unknown & found.keys())


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_under_load_lose_nothing(tmp_path, full, seed, rng, note):
    kills = int(os.environ.get("D_ENGINE_KILLS", "50" if full else "5"))
    victims = ["leader"] * (kills // 2 + kills % 2) + [rng.choice(["leader", "follower"]) for _ in range(kills // 2)]
    rng.shuffle(victims)
    leader_kills: list[int] = []
    recoveries: list[float] = []
    with Nodes(tmp_path).start() as nodes:
        with Pumps(nodes) as pumps:
            for victim in victims:
                was_leader, in_flight, recovered = kill_under_load(nodes, pumps, victim, rng)
                if was_leader:
                    leader_kills.append(in_flight)
                    recoveries.append(recovered)
            outcomes = pumps.outcomes
        nodes.level()
        ledgers = {node: nodes.dump(node) for node in nodes.ids}
        term = nodes.status(1)["term"]
    assert not outcomes.complaints, outcomes.complaints[:3]
    applied = check_ledgers(ledgers, outcomes)
    assert len(leader_kills) >= kills / 2
    assert min(leader_kills) >= IN_FLIGHT
    note(
        f"{kills} SIGKILLs (seed {seed}), {len(leader_kills)} of them on the leader with {min(leader_kills)} to"
        f" {max(leader_kills)} of its own proposals in flight; {len(outcomes.acknowledged):,} acknowledged,"
        f" {len(outcomes.unknown):,} unknown of which {applied:,} are in the log, {len(outcomes.refused):,} refused of which"
        f" none is; 0 lost, 0 twice, one order on three nodes; last term {term}; from the kill of a leader to the next"
        f" write {statistics.median(recoveries):.2f} s (median), {max(recoveries):.2f} s (longest); errors {outcomes.errors}"
    )


@pytest.mark.process
@pytest.mark.slow
def test_all_three_killed_at_once_lose_nothing(tmp_path, full, note):
    rounds = 10 if full else 2
    with Nodes(tmp_path).start() as nodes:
        with Pumps(nodes) as pumps:
            for _ in range(rounds):
                nodes.leader()
                outcomes = pumps.outcomes
                began = time.monotonic()
                pumps.switch(True)
                wait_until(
                    lambda outcomes=outcomes, began=began: all(
                        outcomes.newest.get(node, 0.0) > began for node in nodes.ids
                    ),
                    within=30,
                    what="writes through all three nodes",
                )
                pumps.switch(False)
                for node in nodes.ids:
                    nodes.kill(node)
                nodes.start()
        nodes.level()
        ledgers = {node: nodes.dump(node) for node in nodes.ids}
    applied = check_ledgers(ledgers, outcomes)
    note(
        f"{rounds} times all three killed within milliseconds: {len(outcomes.acknowledged):,} acknowledged, 0 lost, 0 twice,"
        f" one order; {len(outcomes.unknown):,} unknown of which {applied:,} are in the log"
    )
