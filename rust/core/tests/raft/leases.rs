//! Reads that a lease answers: thesis 6.4.1.

use crate::common::{Cluster, ELECTION, HEARTBEAT, STALL, Solo, log_of, seen, settings};
use d_engine_raft::{Body, Change, Input, MemberRole, Message, Refusal, Reply, Role};

/// A leader with a lease.
fn leased() -> (Solo, u64) {
    let solo = Solo::ready(3);
    let until = solo.cluster.core(1).lease_until().unwrap();
    (solo, until)
}

fn lease_read(solo: &mut Solo) -> (Vec<Reply>, Vec<Message>) {
    let request = solo.cluster.lease_read(1);
    let sent = solo.sent();
    (solo.cluster.answers(1, request), sent)
}

fn rounds(sent: &[Message]) -> usize {
    sent.iter().filter(|message| matches!(message.body, Body::Heartbeat { round, .. } if round > 0)).count()
}

#[test]
fn class_15_a_lease_answers_at_once_until_it_ends_and_not_a_moment_longer() {
    let (mut solo, until) = leased();
    solo.cluster.now = until - 1;
    let (answer, sent) = lease_read(&mut solo);
    assert!(matches!(answer[..], [Reply::ReadReady { index: 2, .. }]) && sent.is_empty(), "{answer:?}");
    solo.cluster.now = until;
    let (answer, sent) = lease_read(&mut solo);
    assert_eq!((answer, rounds(&sent)), (vec![], 2), "it asks the others, as any read");
    let round = Solo::round(&sent);
    solo.heartbeat_reply(2, round, 2);
    assert!(matches!(solo.replies().last(), Some(Reply::ReadReady { index: 2, .. })));
}

#[test]
fn a_read_that_does_not_allow_a_lease_asks_the_others() {
    let (mut solo, _) = leased();
    let (_, sent) = solo.read();
    assert_eq!(rounds(&sent), 2);
}

#[test]
fn class_12_no_lease_read_before_the_terms_first_commit() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.heartbeat_reply(2, 1, 2);
    assert!(solo.cluster.core(1).lease_until().is_some());
    let (answer, _) = lease_read(&mut solo);
    assert_eq!(answer, [], "what an earlier leader has committed is not known");
}

#[test]
fn class_15_no_lease_once_timeout_now_has_left_nor_while_storage_is_stalled() {
    let (mut solo, _) = leased();
    let sent = solo.step(Input::Transfer { id: 1, to: Some(2) });
    assert!(sent.iter().any(|message| matches!(message.body, Body::TimeoutNow { .. })));
    assert_eq!(lease_read(&mut solo).0, []);

    let mut solo = Solo::with(&settings(), &seen(1), 4, log_of(&[4]));
    solo.due();
    assert!(matches!(lease_read(&mut solo).0[..], [Reply::ReadReady { .. }]), "alone");
    solo.slow_disk();
    solo.propose(b"x");
    solo.pass(STALL);
    assert_eq!(solo.role(), Role::Leader);
    assert_eq!(solo.cluster.core(1).lease_until(), None);
}

#[test]
fn class_15_a_leader_that_was_cut_off_answers_no_lease_read_when_another_may_lead() {
    // d-engine #390, consul #54.
    let mut cluster = Cluster::settled(3);
    cluster.isolate(1);
    let until = cluster.core(1).lease_until().unwrap();
    while cluster.leader() == Some(1) {
        cluster.advance(1_000);
    }
    assert!(cluster.now >= until);
    let leader = cluster.leader();
    cluster.advance(HEARTBEAT);
    if let Some(leader) = leader {
        cluster.propose(leader, b"x");
    }
    let read = cluster.lease_read(1);
    cluster.settle();
    assert_eq!(cluster.read_index(1, read), None);
}

#[test]
fn a_follower_passes_a_lease_read_on_and_the_leaders_lease_answers_it() {
    let mut cluster = Cluster::settled(3);
    cluster.sent.clear();
    let read = cluster.lease_read(2);
    cluster.settle();
    assert!(cluster.read_index(2, read).is_some());
    assert_eq!(cluster.count(1, "Heartbeat"), 0, "without a round");
    let read = cluster.read(2);
    cluster.settle();
    assert!(cluster.read_index(2, read).is_some());
    assert_eq!(cluster.count(1, "Heartbeat"), 2);
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    assert!(matches!(lease_read(&mut solo).0[..], [Reply::Refused { why: Refusal::NotLeader, .. }]));
    let sent = solo.hear(2, 0, Body::ReadIndex { id: 1, lease: true });
    assert!(matches!(sent[0].body, Body::ReadIndexReply { id: 1, result: Err(Refusal::NotLeader) }));
}

#[test]
fn class_15_a_lease_needs_a_quorum_of_each_half() {
    let mut configuration = seen(5);
    for id in [4, 5] {
        configuration.members[id - 1].role = MemberRole::Learner;
    }
    let mut solo = Solo::leading_with(&settings(), &configuration, 4, log_of(&[4]));
    for id in 2..=5 {
        solo.accepted(id, 2);
        solo.heartbeat_reply(id, 1, 2);
    }
    solo.change(vec![Change::Promote(4), Change::Promote(5), Change::Remove(2), Change::Remove(3)]);
    let before = solo.cluster.core(1).lease_until();
    solo.cluster.now += 10_000;
    let round = {
        let (_, sent) = solo.read();
        Solo::round(&sent)
    };
    for id in [4, 5] {
        solo.heartbeat_reply(id, round, 3);
        assert_eq!(solo.cluster.core(1).lease_until(), before, "only one of 1, 2, 3");
    }
    solo.heartbeat_reply(3, round, 3);
    assert!(solo.cluster.core(1).lease_until() > before);
    // And no vote breaks one: whoever could elect another leader has heard of this one since.
    solo.cluster.now += ELECTION.0 / 2;
    let (answer, _) = lease_read(&mut solo);
    assert!(matches!(answer[..], [Reply::ReadReady { .. }]));
}

#[test]
fn class_15_a_restart_of_who_may_be_the_only_voter_breaks_no_lease() {
    // Of two voters one is demoted by a leader with a lease; the other holds that, not knowing whether it is committed.
    let mut cluster = Cluster::settled(2);
    cluster.change(1, vec![Change::Demote(1)]);
    cluster.filter = Box::new(|message| !matches!(message.body, Body::AppendReply(_)));
    cluster.settle();
    assert_eq!(cluster.voters(2), [2]);
    assert!(cluster.core(2).commit() < cluster.status(2).configuration_index);
    let until = cluster.core(1).lease_until().unwrap();
    cluster.restart(2);
    cluster.settle();
    while cluster.now < until {
        assert_ne!(cluster.core(2).role(), Role::Leader);
        cluster.advance(1_000);
    }
    // Once it is committed the leader has no lease at all, for the other may know that it is alone.
    let mut cluster = Cluster::settled(2);
    cluster.change(1, vec![Change::Demote(1)]);
    cluster.filter = Box::new(|message| !matches!(message.body, Body::TimeoutNow { .. }));
    cluster.settle();
    assert_eq!(cluster.core(1).lease_until(), None);
    // A lone node that was one before does not wait.
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.restart(1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(1));
}
