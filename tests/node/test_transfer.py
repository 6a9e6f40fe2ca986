"""Leadership is given away by name or to the best one, and refused where that cannot work."""

import contextlib
import threading
import time

import pytest

from d_engine import Config, ConfigError, LocalCluster, NotAcceptedError, NotLeaderError, Peer
from support.clusters import WAIT, wait_until
from support.growing import Growing, wait_level
from support.machines import Journal


def test_leadership_goes_where_it_is_sent():
    with Growing(3) as cluster:
        for _ in range(6):
            leader = cluster.leader
            target = leader.id % 3 + 1
            wait_level(leader, target)
            term = leader.status().term
            assert leader.transfer(target) == target
            assert leader.leader == target
            wait_until(lambda target=target: cluster.nodes[target].is_leader, "the target to lead")
            assert cluster.nodes[target].status().term == term + 1


def test_to_itself_is_done_at_once():
    with Growing(3) as cluster:
        leader = cluster.leader
        term = leader.status().term
        assert leader.transfer(leader.id) == leader.id
        assert leader.status().term == term


def test_without_a_name_priority_decides():
    peers = {1: Peer("local:1", priority=1), 2: Peer("local:2", priority=5), 3: Peer("local:3", priority=3)}
    with Growing(peers) as cluster:
        if cluster.leader.id != 2:
            wait_level(cluster.leader, 2)
            assert cluster.leader.transfer() == 2
        for best, others in ((3, (1, 3)), (2, (1, 2))):
            wait_level(cluster.leader, *others)
            assert cluster.leader.transfer() == best
        assert cluster.leader.status().members[2].priority == 5


def test_what_cannot_lead_is_refused_and_nothing_changes():
    config = Config(request_timeout=2.0)
    with Growing(3, config=config) as cluster:
        cluster.join(4, peer=Peer("local:4", role="learner", auto_promote=False))
        leader = cluster.leader
        term = leader.status().term
        for target, reason in ((9, "unknown_member"), (4, "not_a_voter")):
            with pytest.raises(ConfigError) as caught:
                leader.transfer(target)
            assert caught.value.reason == reason
        silent = next(node for node in (1, 2, 3) if node != leader.id)
        cluster.crash(silent)
        wait_until(lambda: not leader.status().progress[silent].active, "the leader to miss a node")
        with pytest.raises(NotAcceptedError) as late:
            leader.transfer(silent)
        assert late.value.reason == "too_far_behind"
        assert late.value.retryable
        assert (leader.is_leader, leader.status().term) == (True, term)
        leader.propose(b"one")


def test_nobody_to_give_it_to():
    with Growing(1) as cluster:
        with pytest.raises(NotAcceptedError) as caught:
            cluster.leader.transfer()
        assert caught.value.reason == "no_successor"
        with pytest.raises(ConfigError):
            cluster.leader.transfer(2)


def test_a_follower_does_not_pass_it_on():
    with Growing(3) as cluster:
        leader = cluster.leader.id
        with pytest.raises(NotLeaderError) as caught:
            cluster.follower().transfer(leader)
        assert caught.value.leader_id == leader


@pytest.mark.parametrize("wrong", [0, -1, "2", True, 1.5])
def test_a_wrong_target_is_refused_before_it_is_asked_for(wrong):
    with Growing(1) as cluster, pytest.raises(ConfigError):
        cluster.leader.transfer(wrong)


def transfer(cluster):
    """To the next node: asked again where it is only just behind."""

    def given():
        with contextlib.suppress(NotAcceptedError):
            return cluster.transfer(cluster.leader % 3 + 1, timeout=WAIT)

    wait_until(given, "a transfer")


def test_nothing_acknowledged_is_lost_or_doubled_by_transfers():
    with LocalCluster(Journal, nodes=3) as cluster:
        done, stop = [], threading.Event()

        def write(name):
            number = 0
            while not stop.is_set():
                item = b"%d-%d" % (name, number)
                cluster.nodes[name].propose(item, timeout=WAIT)
                done.append(item)
                number += 1

        threads = [threading.Thread(target=write, args=(node,)) for node in (1, 2, 3)]
        for thread in threads:
            thread.start()
        times = []
        for _ in range(10):
            began = time.monotonic()
            transfer(cluster)
            times.append(time.monotonic() - began)
        stop.set()
        for thread in threads:
            thread.join()
        items = cluster.query(None, timeout=WAIT)
        assert len(items) == len(set(items))
        assert set(done) <= set(items)
        assert max(times) < 5
