//! Learners, nodes that are no members yet, and those that are none any more: thesis 4.2.

use crate::common::{Cluster, ELECTION, HEARTBEAT, Solo, candidate, incarnation, kinds, learner, message};
use d_engine_raft::{AppendReply, Body, Change, Incarnation, LogId, Role};

// --- learners, and nodes that are no members

#[test]
fn class_23_a_promoted_learner_votes_though_its_own_log_does_not_say_so() {
    // etcd #10998: it has not got the entry that makes it a voter.
    let mut cluster = Cluster::settled(3);
    cluster.join(4);
    cluster.change(1, vec![Change::Add(learner(4))]);
    cluster.advance(4 * HEARTBEAT);
    cluster.cut.insert((1, 4));
    cluster.change(1, vec![Change::Promote(4)]);
    cluster.settle();
    assert_eq!((cluster.voters(2).len(), cluster.voters(4).len()), (4, 3));
    // Without 4 there are two of four.
    cluster.crash(1, 0);
    cluster.advance(8 * ELECTION.1);
    let leader = cluster.leader().expect("4 votes");
    assert_ne!(leader, 4);
    cluster.advance(HEARTBEAT);
    assert_eq!(cluster.voters(4).len(), 4);
}

#[test]
fn a_learner_gets_everything_and_counts_for_nothing() {
    let mut cluster = Cluster::settled(3);
    cluster.join(4);
    cluster.change(1, vec![Change::Add(learner(4))]);
    cluster.advance(2 * HEARTBEAT);
    let write = cluster.propose(1, b"x");
    cluster.advance(2 * HEARTBEAT);
    assert!(cluster.nodes[&4].machine.applied >= cluster.placed(1, write).unwrap());
    for id in [2, 3] {
        cluster.isolate(id);
    }
    let commit = cluster.core(1).commit();
    cluster.propose(1, b"y");
    cluster.settle();
    assert_eq!(cluster.core(1).commit(), commit);
    cluster.advance(4 * ELECTION.1);
    assert_ne!(cluster.core(1).role(), Role::Leader, "nor does it keep a leader in office");
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.count(4, "PreVote"), 0);
    assert_eq!(cluster.core(4).leader(), None, "who does not campaign forgets a leader too");
}

#[test]
fn a_node_that_joins_never_campaigns_and_is_not_removed_by_what_was_before_it() {
    let mut cluster = Cluster::settled(3);
    for number in 0..20 {
        cluster.propose(1, &vec![number; 90_000]);
    }
    cluster.join(4);
    cluster.advance(4 * ELECTION.1);
    assert_eq!((cluster.core(4).deadline(), cluster.count(4, "PreVote")), (None, 0));
    cluster.change(1, vec![Change::Add(learner(4))]);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.core(4).commit(), cluster.core(1).commit());
    assert_eq!(cluster.removals(4), 0);
}

#[test]
fn a_node_that_joins_withholds_its_vote_from_the_first_heartbeat_on() {
    // It knows no configuration, and so not how long leases are, but may already be counted.
    let mut cluster = Cluster::settled(3);
    cluster.join(4);
    cluster.now += ELECTION.0;
    let heartbeat = message(1, 4, 1, Body::Heartbeat { round: 1, commit: 0 });
    cluster.tell(heartbeat);
    cluster.persist_all(4);
    cluster.sent.clear();
    let ask = |term| message(2, 4, term, Body::Vote { last: LogId::new(9, 9), transfer: false });
    cluster.now += ELECTION.0 - 1;
    cluster.tell(ask(9));
    cluster.persist_all(4);
    assert!(cluster.sent.is_empty());
    cluster.now += 1;
    cluster.tell(ask(9));
    cluster.persist_all(4);
    assert_eq!(cluster.sent.last().map(|sent| sent.3), Some("VoteReply"));
}

// --- removal

#[test]
fn class_24_a_removed_node_learns_of_it_once_it_is_committed_and_is_then_left_alone() {
    // CCF #5973: nobody retires before its removal is committed.
    let mut cluster = Cluster::settled(3);
    cluster.cut.extend([(2, 1), (1, 2)]);
    cluster.change(1, vec![Change::Remove(3)]);
    cluster.advance(HEARTBEAT);
    assert_eq!(cluster.voters(3), [1, 2]);
    assert_eq!(cluster.removals(3), 0, "1 alone is no quorum of 1 and 2");
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.removals(3), 1);
    cluster.sent.clear();
    cluster.advance(20 * ELECTION.1);
    assert_eq!(
        cluster.sent.iter().filter(|sent| sent.1 == 3 || sent.0 == 3).count(),
        0,
        "nobody talks to it, nor it to anybody"
    );
    assert_eq!((cluster.checks.leaders.len(), cluster.core(3).deadline()), (1, None));
    // After a restart it does not know any more what was committed, and still disturbs nobody.
    let term = cluster.core(1).term();
    cluster.restart(3);
    cluster.advance(20 * ELECTION.1);
    assert_eq!((cluster.leader(), cluster.core(1).term(), cluster.core(3).term()), (Some(1), term, term));
    // It does where its state machine keeps what was applied.
    cluster.crash(3, 0);
    cluster.node(3).machine.applied = cluster.nodes[&3].disk.last();
    cluster.node(3).durable_machine = true;
    cluster.start(3);
    cluster.sent.clear();
    cluster.advance(20 * ELECTION.1);
    assert_eq!((cluster.removals(3), cluster.count(3, "PreVote")), (2, 0), "said once in each of its lives");
}

#[test]
fn class_24_a_removed_node_that_does_not_know_disturbs_nobody() {
    // hashicorp #524, logcabin #56.
    let mut cluster = Cluster::settled(4);
    cluster.isolate(4);
    cluster.change(1, vec![Change::Remove(4)]);
    cluster.advance(20 * ELECTION.1);
    let term = cluster.core(1).term();
    cluster.heal();
    cluster.advance(40 * ELECTION.1);
    assert!(cluster.count(4, "PreVote") > 10, "it still thinks that it votes");
    assert_eq!((cluster.leader(), cluster.core(1).term(), cluster.core(4).term()), (Some(1), term, term));
    // Nor where the leader is lost: its log lacks what a majority holds.
    cluster.crash(1, 0);
    cluster.advance(10 * ELECTION.1);
    assert!(cluster.leader().is_some_and(|leader| leader != 4));
}

#[test]
fn class_24_a_removal_that_is_cut_off_removes_nobody() {
    let mut cluster = Cluster::settled(5);
    for id in [2, 3, 4] {
        cluster.cut.extend([(1, id), (id, 1)]);
    }
    cluster.change(1, vec![Change::Remove(5)]);
    cluster.settle();
    assert_eq!((cluster.voters(5), cluster.voters(4).len()), (vec![1, 2, 3, 4], 5));
    cluster.crash(1, 0);
    cluster.isolate(5);
    cluster.advance(10 * ELECTION.1);
    let leader = cluster.leader().expect("2, 3 and 4 are three of five");
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    assert_eq!((cluster.voters(5).len(), cluster.removals(5)), (5, 0));
    cluster.crash(leader, 0);
    cluster.advance(10 * ELECTION.1);
    assert!(cluster.leader().is_some(), "5 votes as before");
}

#[test]
fn who_left_and_is_not_there_is_not_waited_for() {
    let mut cluster = Cluster::settled(4);
    cluster.crash(4, 0);
    cluster.change(1, vec![Change::Remove(4)]);
    cluster.advance(2 * HEARTBEAT);
    assert!(cluster.status(1).progress.iter().any(|follower| follower.id == 4));
    cluster.advance(4 * ELECTION.1);
    assert!(cluster.status(1).progress.iter().all(|follower| follower.id != 4));
}

#[test]
fn who_left_gets_no_snapshot() {
    let mut cluster = Cluster::settled(4);
    cluster.isolate(4);
    for number in 0..9 {
        cluster.propose(1, &[number; 9]);
    }
    cluster.advance(HEARTBEAT);
    cluster.change(1, vec![Change::Remove(4)]);
    cluster.advance(HEARTBEAT);
    cluster.snapshot(1, 0);
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    assert!(cluster.nodes[&4].disk.snapshot.is_none());
}

#[test]
fn a_node_that_left_may_come_back_with_its_log() {
    let mut cluster = Cluster::settled(3);
    cluster.change(1, vec![Change::Remove(3)]);
    cluster.advance(4 * HEARTBEAT);
    cluster.change(1, vec![Change::Add(candidate(3))]);
    cluster.advance(6 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    assert_eq!(cluster.status(3).configuration.member(3).unwrap().incarnation, Some(incarnation(3)));
    cluster.change(1, vec![Change::Remove(3)]);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.removals(3), 2, "said anew");
}

#[test]
fn class_26_who_answers_on_another_data_directory_is_not_the_member_that_has_left() {
    let mut solo = Solo::ready(3);
    solo.accepted(3, 2);
    solo.change(vec![Change::Remove(3)]);
    solo.accepted(2, 3);
    let term = solo.term();
    let mut said = message(3, 1, term, Body::AppendReply(AppendReply::Rejected { prev: 3, hint: LogId::ZERO }));
    assert!(kinds(&solo.hear_message(said.clone()), 3).contains(&"Append"), "it is told what it has to know");
    said.incarnation = Incarnation(99);
    let sent = solo.hear_message(said);
    assert!(sent.is_empty(), "it would reject the same again and again: {sent:?}");
}
