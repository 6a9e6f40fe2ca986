//! Which data directory counts: incarnations, their recording, re-admission of a wiped member.

use crate::common::{
    Cluster, ELECTION, HEARTBEAT, Solo, candidate, entry, incarnation, kinds, known, learner, log_of, member, message,
    seen, settings, stamped, unseen,
};
use d_engine_raft::{AppendReply, Body, Change, EntryKind, Event, Incarnation, LogId, Member, MemberRole, Role};

#[test]
fn class_25_a_voter_that_never_comes_freezes_nothing() {
    // EastGuard #150. By default it does not even vote before it has caught up.
    let mut cluster = Cluster::settled(3);
    cluster.change(1, vec![Change::Add(candidate(9))]);
    cluster.advance(4 * ELECTION.1);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    // At once, as asked for: one voter more that does not answer, which a quorum of the others bears.
    cluster.change(1, vec![Change::Add(member(8))]);
    cluster.advance(2 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 3, 8]);
    cluster.isolate(1);
    cluster.heal();
    cluster.crash(1, 0);
    cluster.advance(10 * ELECTION.1);
    assert_eq!(cluster.leader(), None, "two of four are none");
    cluster.start(1);
    cluster.advance(10 * ELECTION.1);
    let leader = cluster.leader().expect("three of four");
    cluster.crash(leader, 0);
    cluster.start(leader);
    cluster.advance(10 * ELECTION.1);
    let leader = cluster.leader().expect("and again");
    cluster.change(leader, vec![Change::Remove(8), Change::Remove(9)]);
    cluster.advance(2 * HEARTBEAT);
    assert_eq!(cluster.voters(leader), [1, 2, 3]);
}

#[test]
fn class_25_who_left_in_a_joint_phase_is_waited_for_by_nobody() {
    let mut cluster = Cluster::settled(4);
    cluster.change(1, vec![Change::Remove(3), Change::Remove(4)]);
    cluster.advance(2 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2]);
    assert_eq!(cluster.status(1).configuration.members.len(), 2);
    cluster.crash(3, 0);
    cluster.crash(4, 0);
    let write = cluster.propose(1, b"of two");
    cluster.advance(HEARTBEAT);
    assert!(cluster.core(1).commit() >= cluster.placed(1, write).unwrap().index);
    cluster.restart(1);
    cluster.restart(2);
    cluster.advance(8 * ELECTION.1);
    assert!(cluster.leader().is_some());
}

#[test]
fn an_unrecorded_voter_neither_elects_nor_commits_until_it_is_recorded() {
    let mut cluster = Cluster::settled(3);
    cluster.change(1, vec![Change::Add(member(4))]);
    cluster.advance(HEARTBEAT);
    assert_eq!(cluster.status(1).configuration.member(4).unwrap().incarnation, None);
    // A candidate's count: 4 is one of four, and nobody knows who it is.
    let mut configuration = seen(3);
    configuration.members.push(member(4));
    let mut solo = Solo::with(&settings(), &configuration, 4, log_of(&[4]));
    solo.cluster.due(1);
    for id in [4, 2] {
        solo.hear(id, 5, Body::PreVoteReply { granted: true });
    }
    assert_eq!(solo.role(), Role::PreCandidate);
    solo.hear(3, 5, Body::PreVoteReply { granted: true });
    for id in [4, 2] {
        solo.hear(id, 5, Body::VoteReply { granted: true });
    }
    assert_eq!(solo.role(), Role::Candidate);
    solo.hear(3, 5, Body::VoteReply { granted: true });
    assert_eq!(solo.role(), Role::Leader);
    assert_eq!(solo.recorded(4), Some(incarnation(4)), "its vote has shown who it is: the first entry records it");
}

#[test]
fn class_25_a_voter_that_no_leader_has_lived_to_record_blocks_nobody_who_is_there() {
    // 1 alone adds 4 and is restarted before it has heard of it: two voters, of which nobody knows one.
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.join(4);
    cluster.isolate(4);
    cluster.change(1, vec![Change::Add(member(4))]);
    cluster.settle();
    cluster.restart(1);
    cluster.advance(8 * ELECTION.1);
    assert_eq!((cluster.leader(), cluster.voters(1)), (None, vec![1, 4]));
    cluster.heal();
    cluster.advance(8 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(1), "all have granted");
    assert_eq!(cluster.status(1).configuration.member(4).unwrap().incarnation, Some(incarnation(4)));
    // Nor where the new one holds what its leader has lost, and what would record it.
    let mut configuration = seen(1);
    configuration.members.push(member(2));
    let added = stamped(1, 4, EntryKind::Configuration, &configuration.encode());
    let mut cluster = Cluster::idle(2, &settings(), &seen(1), 7);
    cluster.node(1).disk.entries = vec![added.clone()].into();
    cluster.node(2).disk.entries = vec![added, entry(2, 4, b"lost by 1")].into();
    for id in [1, 2] {
        cluster.node(id).disk.hard_state.term = 4;
        cluster.start(id);
    }
    cluster.advance(8 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_member_is_recorded_when_it_is_heard_also_while_a_change_is_in_flight() {
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Add(learner(4))]);
    assert_eq!((solo.last().index, solo.recorded(4)), (3, None));
    let term = solo.term();
    let sent = solo.hear(4, term, Body::HeartbeatReply { round: 1, last: 0, apply_stopped: false });
    assert_eq!((solo.last().index, solo.recorded(4)), (4, Some(incarnation(4))));
    assert!(kinds(&sent, 2).contains(&"Append"), "at once");
    solo.hear(4, term, Body::HeartbeatReply { round: 1, last: 0, apply_stopped: false });
    assert_eq!(solo.last().index, 4, "once");
    // Who has deposed this leader is none of its business any more.
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Add(learner(4))]);
    solo.hear(4, 9, Body::HeartbeatReply { round: 1, last: 0, apply_stopped: false });
    assert_eq!((solo.last().index, solo.role()), (3, Role::Follower));
}

#[test]
fn learners_of_the_initial_configuration_are_recorded_too() {
    let mut initial = unseen(4);
    initial.members[3].role = MemberRole::Learner;
    let mut cluster = Cluster::with(4, &settings(), &initial, 7);
    cluster.elect(1);
    cluster.advance(2 * HEARTBEAT);
    let configuration = cluster.status(1).configuration;
    assert!(configuration.members.iter().all(|member| member.incarnation == Some(incarnation(member.id))));
}

#[test]
fn class_26_a_wiped_member_is_re_admitted_as_a_learner_and_votes_again_when_it_has_caught_up() {
    // cockroach #756, RedisRaft #2: the number stays, the data directory is another one.
    let mut cluster = Cluster::settled(3);
    cluster.propose(1, b"before");
    cluster.advance(HEARTBEAT);
    cluster.wipe(3);
    cluster.start(3);
    cluster.advance(2 * ELECTION.1);
    assert!(cluster.nodes[&1].events.iter().any(|event| matches!(event, Event::WipedMember { id: 3, .. })));
    let write = cluster.propose(1, b"during");
    cluster.advance(HEARTBEAT);
    let at = cluster.placed(1, write).unwrap();
    assert_eq!(cluster.status(1).progress.iter().find(|one| one.id == 3).unwrap().matched, 2, "as before it was wiped");
    // The leader knows the new directory: it has refused its messages.
    let request = cluster.change(1, vec![Change::Add(candidate(3))]);
    assert!(cluster.changing(1, request).unwrap().is_ok());
    let configuration = cluster.status(1).configuration;
    let readmitted = configuration.member(3).unwrap();
    assert_eq!((readmitted.role, readmitted.incarnation), (MemberRole::Learner, Some(cluster.nodes[&3].incarnation)));
    assert_eq!(cluster.voters(1), [1, 2]);
    cluster.advance(6 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    assert!(cluster.nodes[&3].machine.applied >= at);
    cluster.crash(2, 0);
    let write = cluster.propose(1, b"after");
    cluster.advance(HEARTBEAT);
    assert!(cluster.core(1).commit() >= cluster.placed(1, write).unwrap().index, "it counts");
}

#[test]
fn class_26_what_a_former_self_acknowledged_does_not_count_for_who_is_re_admitted() {
    let mut solo = Solo::ready(4);
    solo.propose(b"x");
    solo.accepted(3, 3);
    let wiped = Member { incarnation: Some(Incarnation(99)), ..member(3) };
    solo.change(vec![Change::Add(wiped)]);
    let three = solo.progress(3).unwrap();
    assert_eq!((three.matched, three.heard, three.state), (0, None, "probe"));
    // Nor does an answer that its former self had sent.
    solo.accepted(3, 4);
    let three = solo.progress(3).unwrap();
    assert_eq!(three.matched, 0);
}

#[test]
fn class_26_a_leader_that_was_admitted_anew_is_heard_by_who_knows_only_its_former_self() {
    let mut solo = Solo::with(&settings(), &seen(3), 3, log_of(&[3]));
    let hears = |solo: &mut Solo, term, body| {
        let mut said = message(3, 1, term, body);
        said.incarnation = Incarnation(99);
        solo.hear_message(said)
    };
    let append = Body::Append { prev: LogId::new(1, 3), commit: 1, entries: vec![entry(2, 7, b"x")].into() };
    let sent = hears(&mut solo, 7, append);
    assert!(kinds(&sent, 3).contains(&"AppendReply"), "{sent:?}");
    assert_eq!((solo.last(), solo.commit()), (LogId::new(2, 7), 1));
    assert!(kinds(&hears(&mut solo, 7, Body::Heartbeat { round: 1, commit: 2 }), 3).contains(&"HeartbeatReply"));
    assert_eq!(solo.commit(), 2);
    // Its vote is another matter.
    solo.cluster.now += 2 * ELECTION.1;
    assert!(hears(&mut solo, 9, Body::Vote { last: LogId::new(9, 8), transfer: true }).is_empty());
    assert_eq!(solo.term(), 7);
}

#[test]
fn class_26_a_wiped_voter_of_an_old_half_counts_in_no_half_until_the_joint_phase_is_over() {
    let mut solo = Solo::ready(3);
    let wiped = Member { incarnation: Some(Incarnation(99)), auto_promote: true, ..member(3) };
    solo.change(vec![Change::Add(wiped), Change::Add(known(4))]);
    assert!(solo.configuration().is_joint());
    let hears = |solo: &mut Solo, matched| {
        let term = solo.term();
        let mut ack = message(3, 1, term, Body::AppendReply(AppendReply::Accepted { matched }));
        ack.incarnation = Incarnation(99);
        solo.hear_message(ack);
    };
    hears(&mut solo, 3);
    assert_eq!((solo.last().index, solo.recorded(3)), (3, None), "not recorded now");
    solo.accepted(4, 3);
    assert_eq!(solo.commit(), 2, "1 and the wiped 3 are no majority of 1, 2, 3");
    solo.accepted(2, 3);
    assert_eq!((solo.commit(), solo.cluster.voters(1)), (3, vec![1, 2, 4]));
    hears(&mut solo, 3);
    assert_eq!(solo.recorded(3), Some(Incarnation(99)), "now it is");
}
