"""Two nodes with state and one that only votes: any one of them may go."""

import pytest

from d_engine import Config, ConfigError, NotLeaderError, Peer, StorageError
from support.clusters import WAIT, wait_until
from support.growing import Growing, wait_level
from support.machines import Journal

PEERS = {1: "local:1", 2: "local:2", 3: Peer("local:3", role="witness")}


class Untouched(Journal):
    """The machine of a witness: nothing is ever asked of it."""

    def apply(self, entry):
        raise AssertionError("a witness applies nothing")

    def query(self, request):
        raise AssertionError("a witness is asked nothing")

    def snapshot(self, out):
        raise AssertionError("a witness has nothing to write")

    def restore(self, src):
        raise AssertionError("a witness has nothing to read back")


def machine(node):
    return Untouched() if node == 3 else Journal()


def cluster_of(**kwargs):
    return Growing(PEERS, machine=machine, **kwargs)


@pytest.mark.parametrize("victim", ["leader", "follower", "witness"])
def test_each_may_go(victim):
    with cluster_of() as cluster:
        cluster.leader.propose(b"one")
        leader = cluster.leader.id
        node = {"leader": leader, "follower": 3 - leader, "witness": 3}[victim]
        cluster.crash(node)
        other = next(raft for number, raft in cluster.nodes.items() if number != 3)
        wait_until(lambda: other.leader not in {None, node}, "a leader that lives")
        assert other.propose(b"two", timeout=WAIT) == 2
        assert other.query(None, timeout=WAIT) == [b"one", b"two"]
        cluster.start(node, peers=PEERS).wait_ready(timeout=WAIT)
        assert other.propose(b"three", timeout=WAIT) == 3
        assert cluster.leader.id != 3
        assert cluster.leader.status().apply_error is None


def test_a_witness_never_leads_and_gives_no_results():
    with cluster_of() as cluster:
        witness = cluster.nodes[3]
        leader = cluster.leader
        with pytest.raises(NotLeaderError, match="witness") as caught:
            witness.propose(b"x")
        assert caught.value.leader_id == leader.id
        with pytest.raises(NotLeaderError, match="witness"):
            witness.query(None)
        with pytest.raises(ConfigError) as refused:
            leader.transfer(3)
        assert refused.value.reason == "not_a_voter"
        other = 3 - leader.id
        wait_level(leader, other)
        assert leader.transfer(other) == other
        wait_level(cluster.leader, leader.id)
        assert cluster.leader.transfer() == leader.id
        # What changes the members needs no state: a witness passes it on.
        assert witness.change(add={1: Peer("local:1", priority=2)})[1].priority == 2


def test_its_role_and_number_are_bounded():
    with cluster_of() as cluster:
        leader = cluster.leader
        for change, reason in (
            ({"promote": [3]}, "witness_role"),
            ({"demote": [3]}, "witness_role"),
            ({"add": {4: Peer("local:4", role="witness")}}, "too_many_witnesses"),
            ({"remove": [3 - leader.id]}, "too_many_witnesses"),
            ({"remove": [1, 2]}, "no_voter_left"),
        ):
            with pytest.raises(ConfigError) as caught:
                leader.change(**change)
            assert caught.value.reason == reason, change


def test_a_witness_snapshots_and_restarts_without_a_state():
    config = Config(snapshot_every_entries=20, trailing_entries=5)
    with cluster_of(config=config) as cluster:
        cluster.leader.propose_many([b"%d" % number for number in range(100)])
        cluster.leader.propose_many([b"%d" % number for number in range(100)])
        wait_until(lambda: cluster.nodes[3].status().purged.index > 50, "the witness to purge its log")
        assert cluster.nodes[3].snapshot() > 0
        cluster.stop(3)
        cluster.start(3, peers=PEERS).wait_ready(timeout=WAIT)
        cluster.crash(3 - cluster.leader.id)
        leader = next(raft for node, raft in cluster.nodes.items() if node != 3)
        assert leader.propose(b"last", timeout=WAIT) == 201


def test_the_storage_of_a_witness_cannot_become_that_of_a_voter():
    config = Config(snapshot_every_entries=20, trailing_entries=5)
    with cluster_of(config=config) as cluster:
        cluster.leader.propose_many([b"%d" % number for number in range(200)])
        wait_until(lambda: cluster.nodes[3].status().purged.index > 50, "the witness to purge its log")
        cluster.leader.change(remove=[3])
        cluster.leader.change(add={3: Peer("local:3", role="learner", auto_promote=False)})
        wait_until(lambda: cluster.nodes[3].status().apply_error, "the running node to notice")
        cluster.stop(3)
        with pytest.raises(StorageError, match="a witness made it"):
            cluster.start(3, peers=PEERS)
        # With an empty one it is welcome.
        del cluster.storages[3]
        cluster.machine = lambda node: Journal()
        cluster.join(3)
        assert len(cluster.nodes[3].query(None, timeout=WAIT)) == 200


def test_a_witness_joins():
    with Growing(2, machine=machine) as cluster:
        cluster.leader.propose(b"one")
        cluster.join(3, peer=Peer("local:3", role="witness"))
        assert cluster.roles() == {1: "voter", 2: "voter", 3: "witness"}
        cluster.crash(cluster.leader.id)
        survivor = next(raft for node, raft in cluster.nodes.items() if node != 3)
        wait_until(lambda: survivor.is_leader, "the survivor to lead")
        assert survivor.propose(b"two", timeout=WAIT) == 2
