"""Members come and go under load, by processes that are killed meanwhile: nothing acknowledged is lost or doubled."""

import random
import shutil
import time

import pytest

from process.harness import Nodes, wait_until
from process.pumps import Outcomes, Pumps
from process.test_kill import check_ledgers

LOAD = {"chunk": 8, "pause": 0.02}  # a steady load that leaves the machine some time


def flowing(outcomes: Outcomes, nodes: Nodes) -> None:
    """Waits until something sent after this moment is acknowledged through each running node."""
    began = time.monotonic()
    wait_until(
        lambda: all(outcomes.newest.get(node, 0.0) > began for node in nodes.children),
        within=60,
        what=f"writes through nodes {sorted(nodes.children)}",
    )


def kill_one(nodes: Nodes, rng: random.Random) -> None:
    """SIGKILL to one of them, the leader as often as not, and its node started again from its data."""
    leader = nodes.leader(60)
    others = [node for node in nodes.children if node != leader]
    victim = leader if rng.random() < 0.5 else rng.choice(others)
    nodes.kill(victim)
    nodes.start(victim)
    nodes.leader(60)


def judge(nodes: Nodes, outcomes: Outcomes) -> str:
    nodes.level()
    ledgers = {node: nodes.dump(node) for node in nodes.children}
    applied = check_ledgers(ledgers, outcomes)
    return (
        f"{len(outcomes.acknowledged):,} acknowledged, 0 lost, 0 twice, one order on nodes {sorted(ledgers)};"
        f" {len(outcomes.unknown):,} unknown of which {applied:,} are in the log; {len(outcomes.refused):,} refused, none applied"
    )


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_grows_to_three_to_five_and_shrinks_under_load_and_kills(tmp_path, full, note):
    rng = random.Random(4)
    kills = 0
    with Nodes(tmp_path, count=1, room=5).start() as nodes:
        nodes.leader()
        with Pumps(nodes, **LOAD) as pumps:
            pumps.switch(True)
            for size in (3, 5):
                for node in range(size - 1, size + 1):
                    nodes.join(node, through=sorted(nodes.children))
                flowing(pumps.outcomes, nodes)
                for _ in range(5 if full else 1):
                    kill_one(nodes, rng)
                    kills += 1
                flowing(pumps.outcomes, nodes)
            for node in (5, 1):  # the first one among them
                nodes.remove(node, through=2)
                nodes.stop(node)
                flowing(pumps.outcomes, nodes)
                kill_one(nodes, rng)
                kills += 1
            flowing(pumps.outcomes, nodes)
            pumps.switch(False)
        assert nodes.members(2) == {2: "voter", 3: "voter", 4: "voter"}
        note(f"1 -> 3 -> 5 -> 3 with {kills} SIGKILLs: {judge(nodes, pumps.outcomes)}")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_node_is_replaced_one_by_one_under_load(tmp_path, note):
    with Nodes(tmp_path, count=3, room=6).start() as nodes:
        nodes.leader()
        with Pumps(nodes, **LOAD) as pumps:
            pumps.switch(True)
            for old, new in ((1, 4), (2, 5), (3, 6)):
                nodes.join(new, through=sorted(nodes.children))
                nodes.remove(old, through=new)
                nodes.stop(old)
                flowing(pumps.outcomes, nodes)
            pumps.switch(False)
        assert nodes.members(4) == {4: "voter", 5: "voter", 6: "voter"}
        # Each of them knows all it needs by itself: they start again without the ones of the beginning.
        nodes.level()
        for node in (4, 5, 6):
            nodes.kill(node)
        nodes.start(4, 5, 6)
        note(f"every node of three replaced: {judge(nodes, pumps.outcomes)}")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_wiped_voter_is_refused_and_taken_in_again(tmp_path, note):
    with Nodes(tmp_path).start() as nodes:
        leader = nodes.leader()
        wiped = next(node for node in nodes.ids if node != leader)
        with Pumps(nodes, **LOAD) as pumps:
            pumps.switch(True)
            flowing(pumps.outcomes, nodes)
            nodes.kill(wiped)
            shutil.rmtree(nodes.data(wiped))
            child = nodes.spawn(wiped)
            wait_until(
                lambda: "was its disk wiped" in nodes.errors(wiped), within=30, what="the wiped node to be told so"
            )
            others = [node for node in nodes.ids if node != wiped]
            # Each side writes it down in its own time.
            wait_until(
                lambda: any("was its disk wiped" in nodes.errors(node) for node in others),
                within=30,
                what="another node to be told so",
            )
            flowing(pumps.outcomes, nodes)  # the others go on
            child.kill()
            shutil.rmtree(nodes.data(wiped))
            nodes.join(wiped, through=others)
            flowing(pumps.outcomes, nodes)
            pumps.switch(False)
        note(f"a wiped voter refused, then taken in: {judge(nodes, pumps.outcomes)}")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_transfers_under_load(tmp_path, full, note):
    wanted = 100 if full else 10
    seconds: list[float] = []
    refused = 0
    with Nodes(tmp_path).start() as nodes:
        nodes.leader()
        with Pumps(nodes, **LOAD) as pumps:
            pumps.switch(True)
            while len(seconds) < wanted:
                leader = nodes.leader(60)
                answer = nodes.children[leader].call("transfer", to=leader % 3 + 1)
                if answer["leader"] is None:
                    refused += 1
                    assert refused < 10 * wanted, answer["refused"]
                else:
                    assert answer["leader"] == leader % 3 + 1
                    seconds.append(answer["seconds"])
            flowing(pumps.outcomes, nodes)
            pumps.switch(False)
        seconds.sort()
        note(
            f"{len(seconds)} transfers, {seconds[len(seconds) // 2] * 1000:.0f} ms (median), {seconds[-1] * 1000:.0f} ms (longest),"
            f" {refused} refused for now: {judge(nodes, pumps.outcomes)}"
        )


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_and_a_witness_survive_each_kill(tmp_path, note):
    with Nodes(tmp_path, roles={3: "witness"}).start() as nodes:
        nodes.leader()
        with Pumps(nodes, **LOAD) as pumps:
            pumps.switch(True)
            for victim in ("witness", "leader", "follower", "leader"):
                leader = nodes.leader(60)
                node = {"witness": 3, "leader": leader, "follower": 3 - leader}[victim]
                nodes.kill(node)
                survivor = 3 - node if node != 3 else leader
                began = time.monotonic()
                wait_until(
                    lambda survivor=survivor, began=began: pumps.outcomes.newest.get(survivor, 0.0) > began + 0.1,
                    within=60,
                    what=f"a write without node {node}",
                )
                assert nodes.status(survivor)["leader"] == survivor
                nodes.start(node)
            nodes.leader(60)
            pumps.switch(False)
        assert nodes.status(3)["role"] == "follower"
        nodes.level()
        assert len(nodes.dump(1)[0]) > 0
        ledgers = {node: nodes.dump(node) for node in (1, 2)}
        check_ledgers(ledgers, pumps.outcomes)
        note(
            f"two nodes and a witness, each killed: {len(pumps.outcomes.acknowledged):,} acknowledged, 0 lost, 0 twice"
        )
