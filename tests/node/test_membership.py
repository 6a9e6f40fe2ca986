"""Members come, go, change their roles and addresses: through the verbs, on real nodes in this process."""

import asyncio
import logging
import time

import pytest

from d_engine import (
    AsyncRaft,
    Config,
    ConfigError,
    DeadlineError,
    FileStorage,
    LocalCluster,
    LocalTransport,
    MemoryStorage,
    NotAcceptedError,
    NotLeaderError,
    OutcomeUnknownError,
    Peer,
    Raft,
    SocketTransport,
    WrongClusterError,
)
from support.clusters import WAIT, wait_until
from support.growing import Growing, wait_level
from support.machines import Journal
from support.ports import free_ports

SLOW = Config(election_timeout=(1.0, 2.0), heartbeat_interval=0.1)


def test_one_node_grows_to_three_and_back():
    with Growing(1) as cluster:
        cluster.leader.propose(b"one")
        cluster.join(2)
        cluster.join(3)
        cluster.wait_roles(n1="voter", n2="voter", n3="voter")
        members = cluster.leader.status().members
        assert all(len(member.incarnation) == 32 for member in members.values())
        assert len({member.incarnation for member in members.values()}) == 3
        assert cluster.nodes[3].propose(b"two") == 2
        assert cluster.level() == [b"one", b"two"]
        after = cluster.nodes[2].change(remove=[3])
        assert list(after) == [1, 2]
        assert list(cluster.nodes[1].change(remove=[2])) == [1]
        assert cluster.nodes[1].propose(b"three") == 3


def test_a_joined_node_restarts_without_join(tmp_path):
    with Growing(1) as cluster:
        cluster.storages[2] = FileStorage(tmp_path / "two")
        cluster.join(2)
        cluster.wait_roles(n1="voter", n2="voter")
        cluster.leader.propose(b"one")
        cluster.stop(2)
        cluster.start(2).wait_ready(timeout=WAIT)
        assert cluster.level() == [b"one"]
        # With `join` as before it is not asked for again: nobody answers there any more.
        cluster.stop(2)
        network, cluster.network = cluster.network, LocalTransport()
        alone = cluster.make(2, join=["local:1"])
        alone.start()
        alone.close(handover=False)
        cluster.network = network


def test_a_learner_stays_one_until_it_is_promoted():
    with Growing(1) as cluster:
        cluster.join(2, peer=Peer("local:2", role="learner", auto_promote=False))
        cluster.leader.propose(b"one")
        assert cluster.roles() == {1: "voter", 2: "learner"}
        assert cluster.nodes[2].change(promote=[2])[2].role == "voter"
        assert cluster.nodes[2].propose(b"two") == 2
        changed = cluster.leader.change(demote=[2])
        assert changed[2].role == "learner"
        assert not changed[2].auto_promote
        assert cluster.nodes[2].query(None) == [b"one", b"two"]


def test_all_voters_are_replaced_in_one_change():
    with Growing(3) as cluster:
        cluster.leader.propose(b"one")
        for node in (4, 5, 6):
            cluster.join(node, peer=Peer(f"local:{node}", role="learner", auto_promote=False))
        after = cluster.leader.change(remove=[1, 2, 3], promote=[4, 5, 6], timeout=WAIT)
        assert {node: member.role for node, member in after.items()} == dict.fromkeys((4, 5, 6), "voter")
        for node in (1, 2, 3):
            wait_until(lambda node=node: 4 in cluster.nodes[node].status().members, "its own removal")
            cluster.stop(node)
        assert cluster.nodes[5].propose(b"two", timeout=WAIT) == 2
        assert cluster.level() == [b"one", b"two"]


def test_a_members_address_and_preference_are_replaced():
    with Growing(3) as cluster:
        before = cluster.leader.status().members
        after = cluster.follower().change(add={2: Peer("elsewhere:2", priority=7, client_address="elsewhere:3")})
        assert (after[2].address, after[2].priority, after[2].client_address) == ("elsewhere:2", 7, "elsewhere:3")
        assert (after[2].role, after[2].incarnation) == ("voter", before[2].incarnation)
        assert {node: after[node] for node in (1, 3)} == {node: before[node] for node in (1, 3)}


REFUSED = [
    ({}, "empty"),
    ({"add": {4: "a:4"}, "remove": [4]}, "duplicate"),
    ({"remove": [3, 3]}, "duplicate"),
    ({"remove": [9]}, "unknown_member"),
    ({"promote": [9]}, "unknown_member"),
    ({"demote": [9]}, "unknown_member"),
    ({"promote": [1]}, "not_a_learner"),
    ({"demote": [4]}, "not_a_voter"),
    ({"add": {1: Peer("local:1", role="learner")}}, "role_of_member"),
    ({"add": {1: Peer("local:1", role="witness")}}, "role_of_member"),
    ({"remove": [1, 2, 3]}, "no_voter_left"),
    ({"demote": [1, 2, 3]}, "no_voter_left"),
    (
        {"add": {7: Peer("a:7", role="witness"), 8: Peer("a:8", role="witness"), 9: Peer("a:9", role="witness")}},
        "too_many_witnesses",
    ),
    ({"add": {2: Peer("local:2")}}, "no_change"),
]


def test_changes_that_the_rules_refuse_say_why_and_change_nothing():
    with Growing(3) as cluster:
        cluster.join(4, peer=Peer("local:4", role="learner", auto_promote=False))
        wait_until(lambda: cluster.leader.status().members[4].incarnation, "node 4 to be recorded")
        before = cluster.leader.status().members
        for node in (cluster.leader, cluster.follower()):
            for change, reason in REFUSED:
                with pytest.raises(ConfigError) as caught:
                    node.change(**change)
                assert caught.value.reason == reason, change
                assert caught.value.node == node.id
                assert not caught.value.retryable
        assert cluster.leader.status().members == before
        cluster.leader.propose(b"one")


def test_a_learner_that_was_never_heard_of_is_not_promoted():
    with Growing(1) as cluster:
        cluster.leader.change(add={2: Peer("local:2", role="learner")})
        with pytest.raises(ConfigError) as caught:
            cluster.leader.change(promote=[2])
        assert caught.value.reason == "not_seen"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"add": {0: "a:1"}}, "node id 0"),
        ({"add": {"2": "a:1"}}, "node id '2'"),
        ({"add": ["a:1"]}, "mapping"),
        ({"add": {2: "a"}}, "add[2]"),
        ({"add": {2: 9}}, "an address or a Peer"),
        ({"add": {2: "a:1", 3: "a:1"}}, "same address"),
        ({"add": {2: Peer("a:1", role="king")}}, "role"),
        ({"add": {2: Peer("a:1", priority=2**31)}}, "priority"),
        ({"add": {2: Peer("a:1", auto_promote=1)}}, "auto_promote"),
        ({"remove": 3}, "list of node ids"),
        ({"promote": "3"}, "list of node ids"),
        ({"demote": [0]}, "node id 0"),
        ({"demote": [True]}, "node id True"),
    ],
)
def test_what_can_be_no_change_is_refused_before_it_is_asked_for(change, words):
    with Growing(1) as cluster, pytest.raises(ConfigError) as caught:
        cluster.leader.change(**change)
    assert words in str(caught.value)


def test_a_change_while_another_is_in_flight():
    with Growing(3, config=SLOW) as cluster:
        leader = cluster.leader
        for node in {1, 2, 3} - {leader.id}:
            cluster.crash(node)
        with pytest.raises(OutcomeUnknownError):
            leader.change(add={4: Peer("local:4", role="learner")}, timeout=0.2)
        with pytest.raises(NotAcceptedError) as caught:
            leader.change(add={5: Peer("local:5", role="learner")}, timeout=0.2)
        assert caught.value.reason == "in_flight"
        assert caught.value.retryable
        assert 5 not in leader.status().members


def test_without_a_leader_a_change_was_certainly_not_made():
    with Growing(3) as cluster:
        survivor = cluster.follower()
        for node in {1, 2, 3} - {survivor.id}:
            cluster.crash(node)
        wait_until(lambda: survivor.leader is None, "the survivor to miss its leader")
        with pytest.raises(NotLeaderError):
            survivor.change(remove=[1], timeout=0.3)


def test_without_forwarding_a_follower_names_the_leader():
    with Growing(3, config=Config(forward=False)) as cluster:
        with pytest.raises(NotLeaderError) as caught:
            cluster.follower().change(remove=[1])
        assert caught.value.leader_id == cluster.leader.id


def test_a_removed_leader_hands_over_and_learns_of_it(caplog):
    with Growing(3) as cluster:
        cluster.leader.propose(b"one")
        removed = cluster.leader
        after = removed.change(remove=[removed.id])
        assert removed.id not in after
        wait_until(lambda: "removed from the cluster" in caplog.text, "the removed node to say so")
        assert removed.id not in removed.status().members
        for call in (
            lambda: removed.propose(b"x"),
            lambda: removed.query(None),
            lambda: removed.change(remove=[1]),
            removed.transfer,
        ):
            with pytest.raises(NotLeaderError, match="removed"):
                call()
        assert removed.query(None, consistency="eventual") == [b"one"]
        began = time.monotonic()
        removed.close()
        assert time.monotonic() - began < 1.0
        del cluster.nodes[removed.id]
        assert cluster.leader.propose(b"two", timeout=WAIT) == 2


def test_a_removed_follower_learns_of_it(caplog):
    with Growing(3) as cluster:
        removed = cluster.follower()
        cluster.leader.change(remove=[removed.id])
        wait_until(lambda: "removed from the cluster" in caplog.text, "the removed node to say so")
        assert removed.id not in removed.status().members
        with pytest.raises(NotLeaderError, match="removed"):
            removed.propose(b"x", timeout=5)
        term = cluster.leader.status().term
        time.sleep(1.5)  # three election timeouts: whoever was removed campaigns no more
        assert cluster.nodes[removed.id].status().term == term
        # A removed node comes back as a new member.
        cluster.wipe(removed.id)
        cluster.join(removed.id)
        cluster.wait_roles(n1="voter", n2="voter", n3="voter")


def test_a_wiped_voter_is_refused_and_taken_in_again(caplog):
    with Growing(3) as cluster:
        cluster.leader.propose(b"one")
        wiped = cluster.follower().id
        before = cluster.leader.status().members[wiped].incarnation
        cluster.wipe(wiped)
        cluster.start(wiped, peers=cluster.peers)
        with caplog.at_level(logging.ERROR):
            wait_until(lambda: "disk was wiped" in caplog.text, "the others to complain")
        with pytest.raises(DeadlineError):
            cluster.nodes[wiped].wait_ready(timeout=0.7)
        assert (
            cluster.leader.status().progress[wiped].matched <= 1 or not cluster.leader.status().progress[wiped].active
        )
        cluster.wipe(wiped)
        cluster.join(wiped)
        cluster.wait_roles(n1="voter", n2="voter", n3="voter")
        assert cluster.leader.status().members[wiped].incarnation != before
        assert cluster.level() == [b"one"]


def test_a_wiped_voter_is_taken_in_by_a_change_on_the_leader():
    with Growing(3) as cluster:
        cluster.leader.propose(b"one")
        wiped = cluster.follower().id
        cluster.wipe(wiped)
        cluster.start(wiped, peers=cluster.peers)

        def admit():
            try:
                cluster.leader.change(add={wiped: f"local:{wiped}"})
            except ConfigError as error:
                return error.reason != "no_change"  # so it is until the leader has heard of the new one
            return True

        wait_until(admit, "the leader to hear of the new storage")
        cluster.wait_roles(n1="voter", n2="voter", n3="voter")
        assert cluster.level() == [b"one"]


def test_who_cannot_join_is_told_why():
    with Growing(1) as cluster:
        with pytest.raises(WrongClusterError) as caught:
            Raft(
                2, MemoryStorage(), Journal(), Config(cluster="other"), join=["local:1"], transport=cluster.network
            ).start()
        assert (caught.value.expected, caught.value.found) == ("other", "default")
        with pytest.raises(ConfigError) as refused:
            peer = {2: Peer("local:2", role="witness")}
            Raft(2, MemoryStorage(), Journal(), join=["local:1"], peers=peer, transport=cluster.network).start()
        assert refused.value.reason == "too_many_witnesses"
        assert list(cluster.leader.status().members) == [1]
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with Raft(1, MemoryStorage(), Journal(), peers={1: address}) as first:
        first.wait_ready(timeout=WAIT)
        with pytest.raises(ConfigError, match="needs its own id"):
            Raft(1, MemoryStorage(), Journal(), join=[address], listen="127.0.0.1:2").start()
    config = Config(request_timeout=0.3)
    with pytest.raises(DeadlineError, match="no member took this node in"):
        Raft(2, MemoryStorage(), Journal(), config, join=["local:1"], transport=LocalTransport()).start()
    with pytest.raises(DeadlineError, match="127.0.0.1:1"):
        Raft(2, MemoryStorage(), Journal(), config, join=["127.0.0.1:1"], listen="127.0.0.1:2").start()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"join": "127.0.0.1:1", "listen": "127.0.0.1:2"}, "join is '127.0.0.1:1': a list"),
        ({"join": [], "listen": "127.0.0.1:2"}, "join is []"),
        ({"join": ["nowhere"], "listen": "127.0.0.1:2"}, "join"),
        ({"join": ["127.0.0.1:1"]}, "listen is missing"),
        ({"join": ["127.0.0.1:1"], "listen": "127.0.0.1:0"}, "port"),
        ({"join": ["127.0.0.1:1"], "peers": {1: "127.0.0.1:1"}}, "not among peers"),
        ({"join": ["127.0.0.1:1"], "peers": {2: Peer("127.0.0.1:1", auto_promote=False)}}, "as a learner"),
        ({"join": ["127.0.0.1:1"], "peers": {2: "127.0.0.1:2"}, "transport": SocketTransport()}, "cannot ask"),
    ],
)
def test_join_is_checked_by_the_constructor(kwargs, words):
    with pytest.raises(ConfigError) as caught:
        Raft(2, MemoryStorage(), Journal(), **kwargs)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("peers", "words"),
    [
        ({1: Peer("a:1", role="learner")}, "no voter"),
        ({1: Peer("a:1", role="witness")}, "no voter"),
        ({1: "a:1", 2: Peer("a:2", role="witness")}, "at most 0"),
        ({1: "a:1", 2: Peer("a:2", role="witness"), 3: Peer("a:3", role="witness")}, "at most 1"),
        ({1: Peer("a:1", role="queen")}, "role"),
        ({1: Peer("a:1", priority="high")}, "priority"),
    ],
)
def test_roles_of_initial_members_are_checked(peers, words):
    with pytest.raises(ConfigError) as caught:
        Raft(1, MemoryStorage(), Journal(), peers=peers)
    assert words in str(caught.value)


def test_the_async_verbs():
    async def run():
        network = LocalTransport()
        first = AsyncRaft(1, MemoryStorage(), Journal(), peers={1: "local:1"}, transport=network)
        second = AsyncRaft(2, MemoryStorage(), Journal(), join=["local:1"], transport=network)
        async with first:
            await first.wait_ready(timeout=WAIT)
            async with second:
                await second.wait_ready(timeout=WAIT)
                await asyncio.to_thread(
                    wait_until, lambda: first.status().members[2].role == "voter", "node 2 to be promoted"
                )
                assert await first.transfer(2) == 2
                assert list(await first.change(remove=[1])) == [2]
                assert await second.propose(b"one", timeout=WAIT) == 1
                assert await second.query(None, consistency="lease") == [b"one"]

    asyncio.run(run())


def test_the_verbs_of_a_local_cluster():
    with LocalCluster(Journal, nodes=3) as cluster:
        leader = cluster.leader
        other = next(node for node in (1, 2, 3) if node != leader)
        wait_level(cluster.nodes[leader], other)
        assert cluster.transfer(other) == other
        assert list(cluster.change(remove=[leader])) == sorted({1, 2, 3} - {leader})
        cluster.crash(leader)
        assert cluster.propose(b"one", timeout=WAIT) == 1
