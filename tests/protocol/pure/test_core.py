"""Small clusters of pure cores: elections, replication, reads, membership, as the thesis tells them."""

import pytest

from d_engine.pure import (
    Add,
    Changed,
    ChangeMembers,
    Changing,
    Configured,
    Core,
    Member,
    Persist,
    Persisted,
    Proposal,
    Propose,
    Proposed,
    Read,
    ReadReady,
    Receive,
    Remove,
    Removed,
    Send,
    Time,
    Transfer,
    Transferred,
    Vote,
)
from support.sim.cluster import Cluster
from support.sim.make import ELECTION, HEARTBEAT, MS, incarnation

SECOND = 1_000 * MS


class Watched(Cluster):
    """A cluster that keeps what each node said to its user."""

    def __init__(self, nodes, **options):
        super().__init__(Core, **options)
        self.said = []
        self.heard = self.keep
        self.populate(nodes)
        self.advance(2 * SECOND)

    def keep(self, node, given, effects):
        self.said += [(node, effect) for effect in effects if not isinstance(effect, (Persist, Send))]

    def of(self, kind):
        return [(node, effect) for node, effect in self.said if type(effect) is kind]

    @property
    def chief(self):
        (leader,) = [node.id for node in self.nodes.values() if node.core and node.core.role == "leader"]
        return leader

    def core(self, node):
        return self.nodes[node].core

    def write(self, node, data=b"x", request=1):
        self.step(node, Propose(self.now, self.now, ((request, (Proposal("command", 0, 0, 0, data),)),)))


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_one_leader_is_elected_and_its_log_is_everywhere(nodes):
    cluster = Watched(nodes)
    cluster.write(cluster.chief, request=77)
    cluster.advance(SECOND)
    assert [effect.id for _, effect in cluster.of(Proposed)] == [77]
    machines = {node.machine for node in cluster.nodes.values()}
    assert len(machines) == 1
    assert {core.commit for core in map(cluster.core, cluster.nodes)} == {cluster.core(cluster.chief).log.last}


def test_no_request_for_a_vote_leaves_before_the_term_is_on_disk():
    cluster = Watched(3)
    node = cluster.chief % 3 + 1
    cluster.nodes[node].auto_persist = False
    asked = []
    cluster.checks.sends = lambda _, message: asked.append(message) if isinstance(message.body, Vote) else None
    cluster.crash(cluster.chief)
    cluster.said.clear()
    while not any(effect.role == "candidate" for _, effect in cluster.of(Changed)):
        cluster.meet(node)
        while cluster.deliver():
            pass
    assert not asked
    while cluster.persist(node):
        pass
    assert {message.sender for message in asked} == {node}


def test_the_others_elect_another_leader_when_one_is_gone():
    cluster = Watched(3)
    first, term = cluster.chief, cluster.core(cluster.chief).term
    cluster.crash(first)
    cluster.advance(2 * SECOND)
    assert cluster.chief != first
    assert cluster.core(cluster.chief).term > term
    cluster.start(first)
    cluster.advance(SECOND)
    assert cluster.core(first).leader == cluster.chief


def test_a_leader_without_a_quorum_steps_down():
    cluster = Watched(3)
    leader = cluster.chief
    cluster.cut |= {(leader, node) for node in cluster.nodes} | {(node, leader) for node in cluster.nodes}
    cluster.advance(ELECTION[1])
    assert cluster.core(leader).role != "leader"


def test_a_cut_off_node_does_not_push_up_the_term():
    cluster = Watched(3)
    leader, term = cluster.chief, cluster.core(cluster.chief).term
    node = leader % 3 + 1
    cluster.cut |= {(node, other) for other in cluster.nodes} | {(other, node) for other in cluster.nodes}
    cluster.advance(5 * SECOND)
    cluster.cut.clear()
    cluster.advance(SECOND)
    assert (cluster.chief, cluster.core(leader).term) == (leader, term)


def test_a_follower_forwards_what_its_user_proposes():
    cluster = Watched(3)
    node = cluster.chief % 3 + 1
    cluster.write(node, request=5)
    cluster.advance(HEARTBEAT)
    ((told, effect),) = cluster.of(Proposed)
    assert (told, effect.id) == (node, 5)


def test_a_read_waits_for_a_quorum_and_a_lease_read_does_not():
    cluster = Watched(3)
    leader = cluster.chief
    cluster.step(leader, Read(cluster.now, 1, lease=True))
    assert [effect.id for _, effect in cluster.of(ReadReady)] == [1]
    cluster.step(leader, Read(cluster.now, 2))
    assert [effect.id for _, effect in cluster.of(ReadReady)] == [1]
    cluster.settle()
    assert [effect.id for _, effect in cluster.of(ReadReady)] == [1, 2]


def test_leadership_is_given_to_whom_the_user_names():
    cluster = Watched(3)
    heir = cluster.chief % 3 + 1
    cluster.step(cluster.chief, Transfer(cluster.now, 9, heir))
    cluster.advance(SECOND)
    assert cluster.chief == heir
    assert [effect for _, effect in cluster.of(Transferred)] == [Transferred(9, heir)]


def test_two_nodes_join_at_once_and_two_leave():
    cluster = Watched(3)
    old = cluster.chief
    for node in (4, 5):
        cluster.add(node, None)
        cluster.start(node)
    joining = tuple(
        Add(Member(node, f"node-{node}:7000", auto_promote=False, incarnation=incarnation(node))) for node in (4, 5)
    )
    leaving = tuple(Remove(node) for node in (1, 2, 3) if node != old)
    cluster.step(old, ChangeMembers(cluster.now, cluster.now, 3, joining + leaving))
    cluster.advance(2 * SECOND)
    assert [effect.id for _, effect in cluster.of(Changing)] == [3]
    assert cluster.core(old).configurations.voters == tuple(sorted((old, 4, 5)))
    assert {node for node, _ in cluster.of(Removed)} == {1, 2, 3} - {old}
    joint = [effect for node, effect in cluster.of(Configured) if effect.configuration.is_joint() and node == old]
    assert len(joint) == 1


def test_a_learner_that_has_caught_up_becomes_a_voter_by_itself():
    cluster = Watched(1)
    cluster.add(2, None)
    cluster.start(2)
    cluster.step(1, ChangeMembers(cluster.now, cluster.now, 3, (Add(Member(2, "node-2:7000")),)))
    assert cluster.core(1).configurations.voters == (1,)
    cluster.advance(2 * SECOND)
    assert cluster.core(1).configurations.voters == (1, 2)
    assert cluster.core(2).configurations.voters == (1, 2)


def test_a_closed_core_does_nothing_more():
    cluster = Watched(3)
    core = cluster.core(cluster.chief)
    core.closed = True
    assert core.step(Time(cluster.now + SECOND, 0)) == []
    assert core.deadline() is None


def test_what_is_given_out_stays_as_it_was():
    cluster = Watched(3)
    core = cluster.core(cluster.chief)
    nothing = core.step(Persisted(cluster.now, 0))
    later = core.step(Time(core.deadline(), 0))
    assert nothing == []
    assert later


def test_garbage_is_as_good_as_lost():
    cluster = Watched(3)
    leader, core = cluster.core(cluster.chief), cluster.core(cluster.chief % 3 + 1)
    sent = [effect.message for effect in leader.step(Time(leader.deadline(), 0)) if isinstance(effect, Send)]
    (message,) = [one for one in sent if one.to == core.id]
    before = core.digest()
    for garbage in (message._replace(term=1 << 63), message._replace(sender=core.id), message._replace(to=9)):
        assert core.step(Receive(core.now, core.wall, garbage)) == []
    assert core.digest() == before
    core.step(Receive(core.now, core.wall, message))
    assert core.digest() != before
