//! Giving leadership away: thesis 3.10, Law 7, `storage_stall_timeout`, close.

use crate::common::{Cluster, ELECTION, HEARTBEAT, STALL, Solo, incarnation, kinds, log_of, seen, settings};
use d_engine_raft::{Body, Incarnation, Input, LogId, MemberRole, NodeId, Refusal, Reply, Role};

fn transferred(cluster: &Cluster, id: NodeId) -> Vec<Result<NodeId, Refusal>> {
    let result = |reply: &Reply| if let Reply::Transferred { to, .. } = reply { Some(*to) } else { None };
    cluster.nodes[&id].replies.iter().filter_map(result).collect()
}

/// A leader that all have answered; its first entry (2) is committed.
fn ready() -> Solo {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    for id in [2, 3] {
        solo.accepted(id, 2);
        solo.heartbeat_reply(id, 1, 2);
    }
    solo
}

#[test]
fn class_18_a_transfer_is_not_undone_by_a_heartbeat_under_pre_vote() {
    // canonical/raft #203: the target campaigns at once, without PreVote, and its voters do not withhold.
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.step(1, Input::Transfer { id: 900, to: Some(2) });
    cluster.time(1);
    let wall = cluster.now;
    cluster.now += HEARTBEAT;
    cluster.step(1, Input::Time { wall });
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2));
    assert_eq!(transferred(&cluster, 1), [Ok(2)]);
    assert_eq!(cluster.count(2, "PreVote"), 0);
    cluster.advance(10 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn class_18_a_target_that_lags_is_caught_up_first_and_writes_wait_outside() {
    // hashicorp #487: a gap between the target's log and the leader's.
    let mut solo = ready();
    solo.propose(b"x");
    let sent = solo.step(Input::Transfer { id: 900, to: Some(2) });
    assert!(!kinds(&sent, 2).contains(&"TimeoutNow"), "entry 3 is not there");
    let (late, _) = solo.propose(b"y");
    assert_eq!(solo.cluster.answers(1, late), [Reply::Refused { id: late, why: Refusal::Transferring }]);
    let sent = solo.accepted(2, 3);
    assert_eq!(kinds(&sent, 2).last(), Some(&"TimeoutNow"));
    assert!(kinds(&solo.accepted(2, 3), 2).is_empty(), "said once");
}

#[test]
fn class_18_who_hears_the_old_leader_votes_for_its_successor() {
    // redpanda #2606: with votes withheld a transfer waits for an election timeout, in which nobody leads.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    let sent = solo.hear(3, 5, Body::Vote { last: solo.last(), transfer: true });
    assert!(matches!(sent[0].body, Body::VoteReply { granted: true }));
    // So a leader that is lost in that moment is not missed.
    let mut cluster = Cluster::settled(3);
    cluster.transfer(1, Some(2));
    cluster.crash(1, 0);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn class_18_leadership_goes_to_voters_only() {
    // hashicorp #398.
    let mut configuration = seen(4);
    configuration.members[2].role = MemberRole::Learner;
    configuration.members[3].role = MemberRole::Witness;
    let mut solo = Solo::with(&settings(), &configuration, 4, log_of(&[4]));
    solo.win();
    for id in [2, 3, 4] {
        solo.accepted(id, 2);
    }
    for to in [1, 3, 4, 9] {
        solo.step(Input::Transfer { id: 900, to: Some(to) });
    }
    let refused = [Refusal::NotAVoter, Refusal::NotAVoter, Refusal::UnknownMember].map(Err);
    assert_eq!(transferred(&solo.cluster, 1)[1..], refused);
    assert_eq!(transferred(&solo.cluster, 1)[0], Ok(1), "it leads already");
    let sent = solo.step(Input::Transfer { id: 900, to: None });
    assert!(kinds(&sent, 2).contains(&"TimeoutNow"));
}

#[test]
fn the_most_caught_up_voter_that_is_there_takes_over() {
    let mut solo = Solo::leading(4, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.propose(b"x");
    solo.accepted(4, 3);
    solo.cluster.now += ELECTION.1 - 1;
    solo.accepted(2, 2);
    solo.accepted(3, 3);
    solo.cluster.now += 1;
    // Both 3 and 4 hold everything, but 4 has not been heard of for an election timeout.
    let sent = solo.step(Input::Transfer { id: 900, to: None });
    assert!(kinds(&sent, 3).contains(&"TimeoutNow"));
}

#[test]
fn a_new_leader_waits_for_a_successor_that_it_has_not_heard_of_yet() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    let sent = solo.step(Input::Transfer { id: 900, to: Some(2) });
    assert!(!kinds(&sent, 2).contains(&"TimeoutNow"), "nobody knows what it holds");
    solo.rejected(2, 1, LogId::ZERO);
    let sent = solo.accepted(2, 2);
    assert!(kinds(&sent, 2).contains(&"TimeoutNow"), "{sent:?}");
}

#[test]
fn a_transfer_ends_at_its_deadline_and_writes_go_on_but_no_lease_in_this_term() {
    let mut solo = ready();
    assert!(solo.cluster.core(1).lease_until().is_some());
    let sent = solo.step(Input::Transfer { id: 900, to: Some(2) });
    let target = sent.iter().find_map(|message| match message.body {
        Body::TimeoutNow { target } => Some((message.to, message.term, target)),
        _ => None,
    });
    assert_eq!(target, Some((2, 5, incarnation(2))));
    assert_eq!(solo.cluster.core(1).lease_until(), None, "the target may be elected from now on");
    for _ in 0..40 {
        let sent = solo.due();
        for id in [2, 3] {
            solo.heartbeat_reply(id, Solo::round(&sent), 2);
        }
        if !transferred(&solo.cluster, 1).is_empty() {
            break;
        }
    }
    assert_eq!(transferred(&solo.cluster, 1), [Err(Refusal::NoSuccessor)]);
    assert_eq!(solo.role(), Role::Leader);
    let (write, _) = solo.propose(b"x");
    assert!(matches!(solo.cluster.answers(1, write)[..], [Reply::Proposed { .. }]));
    assert_eq!(solo.cluster.core(1).lease_until(), None, "TimeoutNow may still be on its way");
}

#[test]
fn who_asked_for_a_transfer_is_told_what_came_of_it() {
    let mut solo = ready();
    solo.step(Input::Transfer { id: 900, to: Some(2) });
    solo.step(Input::Transfer { id: 900, to: Some(3) });
    assert_eq!(transferred(&solo.cluster, 1), [Err(Refusal::Transferring)]);
    solo.hear(2, 6, Body::Vote { last: solo.last(), transfer: true });
    assert_eq!(solo.role(), Role::Follower);
    assert_eq!(transferred(&solo.cluster, 1).len(), 1, "not known yet");
    solo.hear(2, 6, Body::Heartbeat { round: 1, commit: 0 });
    assert_eq!(transferred(&solo.cluster, 1)[1], Ok(2));
    solo.step(Input::Transfer { id: 900, to: None });
    assert_eq!(transferred(&solo.cluster, 1)[2], Err(Refusal::NotLeader));
    // Somebody else is elected instead.
    let mut solo = ready();
    solo.step(Input::Transfer { id: 900, to: Some(2) });
    solo.hear(3, 7, Body::Heartbeat { round: 1, commit: 0 });
    assert_eq!(transferred(&solo.cluster, 1), [Err(Refusal::NotLeader)]);
}

#[test]
fn a_wiped_target_does_not_campaign() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    solo.hear(2, 4, Body::TimeoutNow { target: Incarnation(99) });
    assert_eq!(solo.role(), Role::Follower);
}

// --- apply has stopped (Law 7)

#[test]
fn a_leader_whose_apply_has_stopped_hands_over_to_one_that_can_apply() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.step(2, Input::ApplyStopped);
    cluster.advance(2 * HEARTBEAT);
    cluster.step(1, Input::ApplyStopped);
    cluster.advance(2 * HEARTBEAT);
    assert_eq!(cluster.leader(), Some(3), "2 has said that it cannot either");
    assert_eq!(cluster.checks.leaders.len(), 2);
}

#[test]
fn where_every_candidate_has_stopped_the_leader_stays_and_refuses() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    for id in [2, 3, 1] {
        cluster.step(id, Input::ApplyStopped);
        cluster.advance(2 * HEARTBEAT);
    }
    cluster.advance(20 * ELECTION.1);
    assert_eq!((cluster.leader(), cluster.checks.leaders.len()), (Some(1), 1));
    let write = cluster.propose(1, b"x");
    assert_eq!(cluster.answers(1, write), [Reply::Refused { id: write, why: Refusal::ApplyStopped }]);
    cluster.restart(3);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.leader(), Some(3), "one that can again takes over");
}

// --- storage does not answer

#[test]
fn a_stalled_leader_gives_up_its_lease_refuses_writes_and_hands_over_once() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.node(1).auto_persist = false;
    cluster.propose(1, b"x");
    cluster.advance(STALL - 1);
    assert!(cluster.core(1).lease_until().is_some());
    cluster.now += 1;
    cluster.time(1);
    assert_eq!(cluster.core(1).lease_until(), None);
    let write = cluster.propose(1, b"x");
    assert_eq!(cluster.answers(1, write), [Reply::Refused { id: write, why: Refusal::StorageStalled }]);
    cluster.settle();
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, 1);
    cluster.advance(60 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(leader), "and does not come back while it is stalled");
    assert_eq!(cluster.checks.leaders.len(), 2);
    cluster.node(1).auto_persist = true;
    cluster.advance(4 * HEARTBEAT);
    cluster.assert_equal();
}

#[test]
fn a_stalled_leader_without_a_successor_steps_down() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.slow_disk();
    solo.propose(b"x");
    while solo.cluster.now < 1_000_000 + STALL + ELECTION.1 && solo.role() == Role::Leader {
        // They answer heartbeats, but their state machines have stopped.
        let sent = solo.due();
        let term = solo.term();
        for id in [2, 3] {
            let round = Solo::round(&sent);
            solo.hear(id, term, Body::HeartbeatReply { round, last: 2, apply_stopped: true });
        }
    }
    assert_eq!(solo.role(), Role::Follower);
    assert!(solo.cluster.status(1).storage_stalled);
    assert_eq!(solo.cluster.core(1).deadline(), None, "nothing to wait for but the disk");
    solo.persist_all();
    assert!(!solo.cluster.status(1).storage_stalled);
    assert!(solo.cluster.core(1).deadline().is_some());
}

#[test]
fn progress_of_the_disk_is_no_stall_however_much_waits() {
    let mut solo = ready();
    solo.slow_disk();
    for _ in 0..100 {
        solo.propose(b"x");
        solo.cluster.now += STALL / 4;
        solo.cluster.step(1, Input::Persisted(0));
        solo.persist();
    }
    assert!(!solo.cluster.status(1).storage_stalled);
}

// --- close

#[test]
fn close_without_handover_is_done_at_once() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.step(1, Input::Close { handover: false });
    assert_eq!(cluster.nodes[&1].replies.last(), Some(&Reply::Closed));
    assert_eq!(cluster.core(1).deadline(), None);
    cluster.sent.clear();
    cluster.time(1);
    cluster.propose(1, b"x");
    assert!(cluster.sent.is_empty());
}

#[test]
fn close_with_handover_waits_for_the_successor_and_no_longer_than_the_deadline() {
    let mut solo = ready();
    solo.propose(b"x");
    solo.step(Input::Close { handover: true });
    assert!(!solo.replies().contains(&Reply::Closed), "entry 3 is not there yet");
    let (write, _) = solo.propose(b"y");
    assert_eq!(solo.cluster.answers(1, write), [Reply::Refused { id: write, why: Refusal::Closing }]);
    let deadline = solo.cluster.now + ELECTION.1;
    while solo.cluster.core(1).deadline().is_some_and(|at| at <= deadline) {
        solo.due();
    }
    assert_eq!(solo.replies().iter().filter(|reply| **reply == Reply::Closed).count(), 1);
}

#[test]
fn close_with_handover_of_a_follower_or_a_lone_node_is_done_at_once() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.step(2, Input::Close { handover: true });
    assert_eq!(cluster.nodes[&2].replies, [Reply::Closed]);
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.step(1, Input::Close { handover: true });
    assert_eq!(cluster.nodes[&1].replies, [Reply::Closed]);
}

#[test]
fn nothing_acknowledged_is_lost_by_closing_the_leader_under_load() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    let writes: Vec<_> = (0..20).map(|number| cluster.propose(1, format!("{number}").as_bytes())).collect();
    cluster.step(1, Input::Close { handover: true });
    cluster.settle();
    let leader = cluster.leader().unwrap();
    cluster.advance(HEARTBEAT);
    for write in writes {
        let at = cluster.placed(1, write).unwrap();
        assert_eq!(cluster.nodes[&leader].disk.term(at.index), Some(at.term));
        assert!(cluster.nodes[&leader].machine.applied.index >= at.index);
    }
}
