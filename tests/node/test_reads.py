"""The tiers of reads: a quorum's word, a lease's word, and what a node has."""

import time

import pytest

from d_engine import Config, ConfigError, DeadlineError, LocalCluster, NotLeaderError, Peer
from support.clusters import WAIT, wait_until
from support.growing import Growing
from support.machines import Journal

FRESH = ("linearizable", "lease")


@pytest.mark.parametrize("consistency", FRESH)
def test_fresh_reads_see_every_acknowledged_write_on_every_node(consistency):
    with Growing(3) as cluster:
        for number in range(1, 31):
            assert cluster.nodes[number % 3 + 1].propose(b"%d" % number) == number
            for raft in cluster.nodes.values():
                assert len(raft.query(None, consistency=consistency)) == number
                assert raft.read(lambda machine: len(machine.items), consistency=consistency) == number
                assert raft.read_barrier(consistency=consistency) >= number


def test_eventual_reads_need_nobody():
    with LocalCluster(Journal, nodes=3) as cluster:
        cluster.propose(b"one")
        cluster.wait_ready()
        leader = cluster.leader
        for node in {1, 2, 3} - {leader}:
            cluster.crash(node)
        time.sleep(1.0)  # two election timeouts: no lease, no leader
        survivor = cluster.nodes[leader]
        assert survivor.query(None, consistency="eventual") == [b"one"]
        assert survivor.read(lambda machine: len(machine.items), consistency="eventual") == 1
        for consistency in FRESH:
            with pytest.raises(DeadlineError):
                survivor.query(None, consistency=consistency, timeout=0.3)


def test_a_lease_answers_without_a_round_of_heartbeats():
    with Growing(3, config=Config(heartbeat_interval=0.2, election_timeout=(2.0, 3.0))) as cluster:
        leader = cluster.leader
        leader.propose(b"one")

        def heartbeats(consistency, count=50):
            before = leader.metrics()["messages_sent"]
            for _ in range(count):
                leader.query(None, consistency=consistency)
            return leader.metrics()["messages_sent"] - before

        assert heartbeats("linearizable") >= 100  # one a read to each follower
        assert heartbeats("lease") < 50  # the timer's own


def test_a_lease_ends_with_the_leadership_that_gave_it():
    with Growing(3) as cluster:
        for _ in range(5):
            old = cluster.leader
            new = old.transfer()
            number = cluster.nodes[new].propose(b"x", timeout=WAIT)
            assert len(old.query(None, consistency="lease")) == number


def test_an_unknown_tier_is_refused():
    with Growing(1) as cluster:
        for wrong in ("strong", "", None, 1):
            with pytest.raises(ConfigError, match="'linearizable', 'lease' or 'eventual'"):
                cluster.leader.query(None, consistency=wrong)


def test_a_witness_has_nothing_to_read():
    peers = {1: "local:1", 2: "local:2", 3: Peer("local:3", role="witness")}
    with Growing(peers) as cluster:
        cluster.nodes[1].propose(b"one")
        for consistency in ("linearizable", "lease", "eventual"):
            with pytest.raises(NotLeaderError, match="witness"):
                cluster.nodes[3].query(None, consistency=consistency)
        wait_until(lambda: cluster.nodes[3].status().applied >= 2, "the witness to pass over what is committed")
        assert cluster.machines[3].items == []
