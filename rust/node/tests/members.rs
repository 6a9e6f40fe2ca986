//! Members come, go and change their roles: the verbs of whole nodes, on a network inside this process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Cluster, PATIENCE, Tape, TapeNode, config, eventually, members, propose, read, wait_ready};
use d_engine_node::{Consistency, Join, JoinError, Node, NodeConfig, NodeError, NodeParts};
use d_engine_raft::{Change, ChangeError, Configuration, Member, MemberRole, NodeId, Refusal};

fn change(node: &TapeNode, changes: Vec<Change>) -> Result<Configuration, NodeError> {
    let (sender, receiver) = channel();
    node.change(changes, Some(PATIENCE), Box::new(move |result| drop(sender.send(result))));
    receiver.recv_timeout(PATIENCE * 2).expect("an answer")
}

fn transfer(node: &TapeNode, to: Option<NodeId>) -> Result<NodeId, NodeError> {
    let (sender, receiver) = channel();
    node.transfer(to, Some(PATIENCE), Box::new(move |result| drop(sender.send(result))));
    receiver.recv_timeout(PATIENCE * 2).expect("an answer")
}

fn member(id: NodeId) -> Member {
    members(id).pop().expect("a member")
}

fn joining(cluster: &mut Cluster, member: Member) -> NodeParts<Tape> {
    let id = member.id;
    let storage = cluster.storages.entry(id).or_default().clone();
    let join = Some(Join { addresses: vec!["anywhere".into()], member });
    NodeParts { members: Vec::new(), join, ..cluster.parts(id, Box::new(storage), Tape::default()) }
}

fn join(cluster: &mut Cluster, member: Member) {
    let id = member.id;
    let node = Node::start(joining(cluster, member)).expect("a node joins");
    wait_ready(&node).expect("it follows");
    cluster.nodes.insert(id, Arc::new(node));
}

fn roles(node: &TapeNode) -> Vec<(NodeId, MemberRole)> {
    node.configuration().members.iter().map(|member| (member.id, member.role)).collect()
}

/// Until the leader knows that it holds everything: it can then be given leadership.
fn level(cluster: &Cluster, id: NodeId) {
    let leader = Arc::clone(&cluster.nodes[&cluster.leader()]);
    eventually("a follower that holds everything", || {
        let status = leader.status();
        let progress = status.progress?;
        progress.iter().find(|one| one.id == id).filter(|one| one.matched >= status.commit).map(|_| ())
    });
}

#[test]
fn a_node_joins_votes_and_leaves() {
    let mut cluster = Cluster::new(1, config());
    cluster.leader();
    propose(&cluster.nodes[&1], &[b"one"]).unwrap();
    join(&mut cluster, member(2));
    eventually("two voters", || {
        let wanted = vec![(1, MemberRole::Voter), (2, MemberRole::Voter)];
        (roles(&cluster.nodes[&1]) == wanted).then_some(())
    });
    assert_eq!(propose(&cluster.nodes[&2], &[b"two"]).unwrap(), [2]);
    // It starts again from what it has, without asking.
    cluster.crash(2);
    let parts = NodeParts { join: None, ..joining(&mut cluster, member(2)) };
    cluster.nodes.insert(2, Arc::new(Node::start(parts).expect("its own storage is enough")));
    cluster.leader();
    let left = change(&cluster.nodes[&2], vec![Change::Remove(2)]).unwrap();
    assert_eq!(left.members.iter().map(|member| member.id).collect::<Vec<_>>(), [1]);
    let removed = eventually("the removed node to know", || propose(&cluster.nodes[&2], &[b"x"]).err());
    assert!(matches!(removed, NodeError::Removed { node: 2 }), "{removed}");
    let report = cluster.nodes.remove(&2).expect("node 2").close(true, Duration::from_secs(1));
    assert!(report.left_behind.is_empty());
    assert_eq!(propose(&cluster.nodes[&1], &[b"three"]).unwrap().len(), 1);
    cluster.close();
}

#[test]
fn who_cannot_join_is_told_why() {
    let mut cluster = Cluster::new(1, config());
    cluster.leader();
    let refused = |parts: NodeParts<Tape>| match Node::start(parts) {
        Err(NodeError::Join { error, .. }) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken in"),
    };
    let other = NodeConfig { cluster: "other".into(), ..config() };
    let parts = NodeParts { config: other, ..joining(&mut cluster, member(2)) };
    let wrong = JoinError::WrongCluster { expected: "other".into(), found: "default".into() };
    assert_eq!(refused(parts), wrong);
    let witness = Member { role: MemberRole::Witness, ..member(2) };
    let parts = joining(&mut cluster, witness);
    let too_many = ChangeError::TooManyWitnesses { witnesses: 1, allowed: 0 };
    assert_eq!(refused(parts), JoinError::Refused(too_many));
    let hasty = NodeConfig { request_timeout: Duration::from_millis(200), ..config() };
    let alone = Cluster::new(0, hasty);
    let parts = NodeParts { members: Vec::new(), join: None, ..joining(&mut Cluster::new(0, config()), member(2)) };
    assert!(matches!(Node::start(parts), Err(NodeError::Config(_))), "neither members nor whom to ask");
    let mut alone = alone;
    let parts = joining(&mut alone, member(2));
    assert!(matches!(refused(parts), JoinError::Unanswered(_)));
    assert_eq!(roles(&cluster.nodes[&1]), [(1, MemberRole::Voter)]);
    cluster.close();
}

#[test]
fn refused_changes_and_transfers_say_why() {
    let mut cluster = Cluster::new(3, config());
    let (leader, follower) = (cluster.leader(), cluster.follower());
    for node in [leader, follower] {
        let refused = change(&cluster.nodes[&node], vec![Change::Promote(9)]);
        assert!(
            matches!(refused, Err(NodeError::ChangeRefused { why: ChangeError::UnknownMember(9), .. })),
            "{refused:?}"
        );
    }
    let refused = transfer(&cluster.nodes[&leader], Some(9));
    assert!(matches!(refused, Err(NodeError::TransferRefused { why: Refusal::UnknownMember, .. })), "{refused:?}");
    let refused = transfer(&cluster.nodes[&follower], None);
    assert!(matches!(refused, Err(NodeError::NotLeader { leader: Some(found), .. }) if found == leader), "{refused:?}");
    level(&cluster, follower);
    assert_eq!(transfer(&cluster.nodes[&leader], Some(follower)).unwrap(), follower);
    cluster.close();
}

#[test]
fn a_witness_votes_and_gives_no_results() {
    let mut cluster = Cluster::new(2, config());
    cluster.leader();
    propose(&cluster.nodes[&1], &[b"one"]).unwrap();
    join(&mut cluster, Member { role: MemberRole::Witness, ..member(3) });
    let witness = Arc::clone(&cluster.nodes[&3]);
    let refused = propose(&witness, &[b"x"]);
    assert!(matches!(refused, Err(NodeError::Witness { node: 3, leader: Some(_), .. })), "{refused:?}");
    for consistency in [Consistency::Linearizable, Consistency::Lease, Consistency::Eventual] {
        assert!(matches!(read(&witness, consistency), Err(NodeError::Witness { .. })));
    }
    let leader = cluster.leader();
    cluster.crash(leader);
    let survivor = 3 - leader;
    eventually("the other one to lead", || (cluster.nodes[&survivor].summary().leader == Some(survivor)).then_some(()));
    assert_eq!(propose(&cluster.nodes[&survivor], &[b"two"]).unwrap(), [2]);
    eventually("the witness to pass over it", || {
        (witness.summary().applied >= cluster.nodes[&survivor].summary().applied).then_some(())
    });
    drop(witness);
    cluster.close();
}
