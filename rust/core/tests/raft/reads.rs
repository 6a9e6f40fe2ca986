//! Linearizable reads and the lease: thesis 6.4 and 6.4.1.

use crate::common::{Cluster, ELECTION, HEARTBEAT, Solo, entry, kinds, log_of, seen, settings};
use d_engine_raft::{Body, Input, LogId, Message, Refusal, Reply, RequestId, Role};

fn refused(cluster: &Cluster, id: u64, request: RequestId) -> Option<Refusal> {
    cluster.answers(id, request).into_iter().find_map(|reply| match reply {
        Reply::Refused { why, .. } => Some(why),
        _ => None,
    })
}

/// A leader that has committed its first entry (index 2).
fn ready() -> Solo {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.accepted(3, 2);
    assert_eq!(solo.commit(), 2);
    solo
}

#[test]
fn class_12_no_read_before_the_terms_first_commit() {
    // etcd #7331: the commit index may lag behind what the old leader has acknowledged.
    let mut solo = Solo::leading(3, 4, log_of(&[4, 4]));
    let (read, sent) = solo.read();
    assert!(sent.is_empty(), "no round starts");
    for round in 1..5 {
        solo.cluster.now += HEARTBEAT;
        solo.due();
        solo.heartbeat_reply(2, round, 3);
        solo.heartbeat_reply(3, round, 3);
        assert_eq!(solo.cluster.read_index(1, read), None, "however many rounds are answered");
    }
    let sent = solo.accepted(2, 3);
    let round = Solo::round(&sent);
    assert!(round > 0, "the first commit starts a round");
    assert_eq!(solo.cluster.read_index(1, read), None);
    solo.heartbeat_reply(2, round, 3);
    assert_eq!(solo.cluster.read_index(1, read), Some(3));
}

#[test]
fn class_14_no_read_before_a_quorum_has_confirmed_the_leader() {
    let mut solo = ready();
    let (read, sent) = solo.read();
    let round = Solo::round(&sent);
    assert_eq!(kinds(&sent, 2), ["Heartbeat"], "at once, not with the next heartbeat");
    solo.heartbeat_reply(2, round - 1, 2);
    assert_eq!(solo.cluster.read_index(1, read), None, "an answer to an older round");
    solo.heartbeat_reply(2, round + 1, 2);
    assert_eq!(solo.cluster.read_index(1, read), None, "an answer to a round that was never sent");
    solo.heartbeat_reply(2, round, 2);
    assert_eq!(solo.cluster.read_index(1, read), Some(2));
}

#[test]
fn class_14_a_cut_off_leader_answers_no_read() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.isolate(1);
    let read = cluster.read(1);
    cluster.elect(2);
    cluster.propose(2, b"newer");
    cluster.advance(4 * ELECTION.1);
    assert_eq!(cluster.read_index(1, read), None);
    assert_eq!(refused(&cluster, 1, read), Some(Refusal::NotLeader), "it is told, and asks again");
}

#[test]
fn a_round_confirms_only_reads_queued_before_it_was_sent() {
    let mut solo = ready();
    let (first, sent) = solo.read();
    let round = Solo::round(&sent);
    let (second, sent) = solo.read();
    assert!(sent.is_empty(), "one round at a time: the next takes all that wait");
    let (third, _) = solo.read();
    solo.propose(b"x");
    solo.accepted(3, 3);
    let sent = solo.heartbeat_reply(2, round, 3);
    assert_eq!(solo.cluster.read_index(1, first), Some(2), "the commit index when the round was sent is enough");
    assert_eq!((solo.cluster.read_index(1, second), solo.cluster.read_index(1, third)), (None, None));
    let next = Solo::round(&sent);
    assert_eq!(next, round + 1, "the next round starts at once");
    solo.heartbeat_reply(2, next, 3);
    assert_eq!(solo.cluster.read_index(1, second), Some(3));
    assert_eq!(solo.cluster.read_index(1, third), Some(3));
}

#[test]
fn a_lost_round_is_made_up_for_by_the_next_heartbeat() {
    let mut solo = ready();
    let (read, _) = solo.read();
    solo.cluster.now += HEARTBEAT;
    let sent = solo.due();
    solo.heartbeat_reply(3, Solo::round(&sent), 2);
    assert_eq!(solo.cluster.read_index(1, read), Some(2));
}

#[test]
fn class_13_every_retry_has_an_id_of_its_own_and_answers_name_it() {
    // etcd #20418: an answer to the first try must not be taken for one to the second.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    let (first, sent) = solo.read();
    assert!(matches!(sent[0].body, Body::ReadIndex { id, .. } if id == first));
    solo.cluster.now += ELECTION.0;
    solo.hear(3, 5, Body::Heartbeat { round: 1, commit: 0 });
    let (second, sent) = solo.read();
    assert_eq!(sent[0].to, 3);
    // The old leader's answer comes late.
    solo.hear(2, 0, Body::ReadIndexReply { id: first, result: Ok(1) });
    assert_eq!(solo.cluster.read_index(1, second), None);
    solo.hear(3, 0, Body::ReadIndexReply { id: second, result: Ok(7) });
    assert_eq!(solo.cluster.read_index(1, second), Some(7));
}

#[test]
fn class_13_askers_are_told_apart_by_who_they_are() {
    let mut solo = ready();
    solo.hear(2, 0, Body::ReadIndex { id: 5, lease: false });
    solo.hear(3, 0, Body::ReadIndex { id: 5, lease: false });
    let rounds = solo.cluster.status(1);
    assert_eq!(rounds.role, Role::Leader);
    let mut answered: Vec<u64> = Vec::new();
    for round in 1..4 {
        for message in solo.heartbeat_reply(2, round, 2) {
            if let Body::ReadIndexReply { id: 5, result: Ok(2) } = message.body {
                answered.push(message.to);
            }
        }
    }
    assert_eq!(answered, [2, 3]);
}

#[test]
fn a_followers_read_reflects_what_was_acknowledged_before_it() {
    let mut cluster = Cluster::led_by(5, 1);
    cluster.advance(HEARTBEAT);
    for number in 0..10 {
        let write = cluster.propose(1, format!("{number}").as_bytes());
        cluster.settle();
        let at = cluster.placed(1, write).unwrap();
        let reads: Vec<_> = (2..=5).map(|id| (id, cluster.read(id))).collect();
        cluster.settle();
        for (id, read) in reads {
            let index = cluster.read_index(id, read).unwrap();
            assert!(index >= at.index);
            assert!(cluster.nodes[&id].machine.applied.index >= index, "and is told of the commit at once");
        }
    }
}

#[test]
fn class_41_reads_are_given_up_when_leadership_ends() {
    // openraft 1d5cc706: who waits is told, whoever it is.
    let mut solo = ready();
    let (own, _) = solo.read();
    let (late, _) = solo.read();
    solo.hear(2, 0, Body::ReadIndex { id: 77, lease: false });
    let sent = solo.hear(3, 9, Body::Heartbeat { round: 1, commit: 0 });
    for read in [own, late] {
        assert_eq!(refused(&solo.cluster, 1, read), Some(Refusal::NotLeader));
    }
    let told = |message: &Message| {
        matches!(message.body, Body::ReadIndexReply { id: 77, result: Err(Refusal::NotLeader) }) && message.to == 2
    };
    assert!(sent.iter().any(told));
}

#[test]
fn class_41_what_comes_to_a_node_that_does_not_lead_is_refused_at_once() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    let sent = solo.hear(2, 0, Body::ReadIndex { id: 1, lease: false });
    assert!(matches!(sent[0].body, Body::ReadIndexReply { id: 1, result: Err(Refusal::NotLeader) }));
    let entries = d_engine_raft::Draft::command(b"x");
    let sent = solo.hear(2, 0, Body::Propose { id: 2, entries });
    assert!(matches!(sent[0].body, Body::ProposeReply { id: 2, result: Err(Refusal::NotLeader) }));
    assert_eq!(solo.last().index, 1);
}

#[test]
fn reads_that_wait_are_bounded() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    for id in 0..5_000 {
        solo.hear(2, 0, Body::ReadIndex { id, lease: false });
    }
    let (read, _) = solo.read();
    assert_eq!(refused(&solo.cluster, 1, read), Some(Refusal::Overloaded));
}

// --- the lease

#[test]
fn class_15_a_lease_runs_from_the_send_of_a_confirmed_round_on_the_monotonic_clock() {
    // d-engine #390: the wall clock has no part in it.
    let mut solo = ready();
    let sent_at = solo.cluster.now;
    let (_, sent) = solo.read();
    solo.cluster.now += 40_000;
    solo.heartbeat_reply(2, Solo::round(&sent), 2);
    let span = ELECTION.0 - ELECTION.0 / 1_000;
    assert_eq!(solo.cluster.core(1).lease_until(), Some(sent_at + span), "1,000 ppm of drift are taken off");
    solo.step(Input::Time { wall: u64::MAX / 2 });
    solo.step(Input::Time { wall: 0 });
    assert_eq!(solo.cluster.core(1).lease_until(), Some(sent_at + span));
}

#[test]
fn class_15_a_stalled_leader_that_returns_has_no_lease() {
    // consul #54: it slept; its own clock says so before it has heard of anybody.
    let mut solo = ready();
    let (_, sent) = solo.read();
    solo.heartbeat_reply(2, Solo::round(&sent), 2);
    solo.cluster.now += 60 * ELECTION.1;
    let lease = solo.cluster.core(1).lease_until();
    assert!(lease.is_none_or(|until| until < solo.cluster.now));
    solo.pass(0);
    assert_ne!(solo.role(), Role::Leader);
    assert_eq!(solo.cluster.core(1).lease_until(), None);
}

#[test]
fn a_lease_needs_a_quorum_and_its_own_term() {
    let mut solo = Solo::leading(5, 4, log_of(&[4]));
    solo.heartbeat_reply(2, 1, 2);
    assert_eq!(solo.cluster.core(1).lease_until(), None, "two of five");
    solo.hear(3, 4, Body::HeartbeatReply { round: 1, last: 2, apply_stopped: false });
    assert_eq!(solo.cluster.core(1).lease_until(), None, "an answer of an old term");
    solo.heartbeat_reply(3, 1, 2);
    assert!(solo.cluster.core(1).lease_until().is_some());
}

#[test]
fn a_drift_bound_beyond_reason_leaves_no_lease_and_no_underflow() {
    let mut drifting = settings();
    drifting.drift_ppm = u64::MAX;
    let mut solo = Solo::leading_with(&drifting, &seen(3), 4, log_of(&[4]));
    solo.heartbeat_reply(2, 1, 2);
    assert!(solo.cluster.core(1).lease_until().is_none_or(|until| until <= solo.cluster.now));
}

#[test]
fn nobody_is_elected_while_a_lease_runs_however_soon_nodes_restart() {
    // After a start a node knows of no leader, and must not vote as if there were none.
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    let until = cluster.core(1).lease_until().unwrap();
    cluster.isolate(1);
    cluster.restart(2);
    cluster.restart(3);
    while cluster.now < until {
        cluster.advance(1_000);
        assert!(cluster.core(2).role() != Role::Leader && cluster.core(3).role() != Role::Leader);
    }
    cluster.advance(6 * ELECTION.1);
    assert!(cluster.leader().is_some_and(|leader| leader != 1));
}

#[test]
fn a_follower_that_learns_of_a_read_index_gets_the_commit_with_it() {
    let mut solo = ready();
    let (_, sent) = solo.propose(b"x");
    assert_eq!(kinds(&sent, 2), ["Append"]);
    solo.accepted(2, 3);
    let sent = solo.hear(2, 0, Body::ReadIndex { id: 9, lease: false });
    let sent = solo.heartbeat_reply(3, Solo::round(&sent), 2);
    assert!(sent.iter().any(|message| matches!(message.body, Body::ReadIndexReply { result: Ok(3), .. })));
    let told = solo.cluster.status(1).commit;
    assert_eq!(told, 3);
    let mut follower = Solo::new(3, 5, log_of(&[4]));
    follower.append_committed(2, 5, LogId::new(1, 4), vec![entry(2, 5, b"x")], 2);
    assert_eq!(follower.commit(), 2);
}
