//! Preference as a leader: it changes who campaigns first and who takes over, never a vote.

use crate::common::{Cluster, ELECTION, Solo, incarnation, kinds, log_of, member, seen, settings};
use d_engine_raft::{Body, Change, Configuration, Input, LogId, MemberRole, Micros, NodeId, Refusal, Reply};

fn preferring(priorities: &[i32]) -> Configuration {
    let mut configuration = seen(priorities.len() as u64);
    for (member, &priority) in configuration.members.iter_mut().zip(priorities) {
        member.priority = priority;
    }
    configuration
}

/// How long node 1 waits before it campaigns, over many seeds.
fn waits(configuration: &Configuration) -> (Micros, Micros) {
    let nodes = configuration.members.len() as u64;
    let wait = |seed| {
        let cluster = Cluster::with(nodes, &settings(), configuration, seed);
        cluster.core(1).deadline().unwrap() - cluster.now
    };
    let waits: Vec<Micros> = (0..200).map(wait).collect();
    (*waits.iter().min().unwrap(), *waits.iter().max().unwrap())
}

#[test]
fn each_preference_above_its_own_makes_a_node_wait_one_span_longer() {
    let span = ELECTION.1 - ELECTION.0;
    let cases: [(&[i32], u64); 7] = [
        (&[0, 0, 0], 0),
        (&[5, 0, -5], 0),
        (&[0, 5, 5], 1),
        (&[0, 5, 7], 2),
        (&[-9, 1, 2, 3], 3),
        (&[-9, 1, 2, 3, 4, 5, 6], 3),
        (&[i32::MIN, i32::MAX, 0], 2),
    ];
    for (priorities, rank) in cases {
        let (least, most) = waits(&preferring(priorities));
        assert!(
            least >= ELECTION.0 + rank * span && most <= ELECTION.1 + rank * span,
            "{priorities:?}: {least} to {most}"
        );
    }
    let mut configuration = preferring(&[0, 5, 7]);
    configuration.members[1].role = MemberRole::Witness;
    configuration.members[2].role = MemberRole::Learner;
    let (_, most) = waits(&configuration);
    assert!(most <= ELECTION.1, "witnesses and learners never lead");
}

#[test]
fn the_preferred_node_leads_when_nothing_else_decides() {
    for seed in 0..20 {
        let mut cluster = Cluster::with(3, &settings(), &preferring(&[1, 9, 5]), seed);
        cluster.advance(3 * ELECTION.1);
        assert_eq!(cluster.leader(), Some(2), "seed {seed}");
        cluster.crash(2, 0);
        cluster.advance(8 * ELECTION.1);
        assert_eq!(cluster.leader(), Some(3), "seed {seed}");
    }
}

#[test]
fn a_vote_does_not_ask_for_preferences() {
    let mut solo = Solo::with(&settings(), &preferring(&[9, 0, 0]), 4, log_of(&[4]));
    let sent = solo.hear(2, 5, Body::PreVote { last: LogId::new(1, 4) });
    assert!(matches!(sent[0].body, Body::PreVoteReply { granted: true }));
    let sent = solo.hear(2, 5, Body::Vote { last: LogId::new(1, 4), transfer: false });
    assert!(matches!(sent[0].body, Body::VoteReply { granted: true }));
}

/// A leader of voters with those preferences whose first entry, and a second one, are committed by the others in that order.
fn leader(priorities: &[i32], matched: &[(NodeId, u64)]) -> Solo {
    let mut solo = Solo::leading_with(&settings(), &preferring(priorities), 4, log_of(&[4]));
    solo.propose(b"x");
    solo.propose(b"y");
    for &(id, index) in matched {
        solo.accepted(id, index);
    }
    solo
}

fn chosen(solo: &mut Solo) -> Option<NodeId> {
    let mut sent = solo.step(Input::Transfer { id: 1, to: None });
    let last = solo.last().index;
    for id in 2..=5 {
        sent.extend(solo.accepted(id, last));
    }
    (2..=5).find(|&id| kinds(&sent, id).contains(&"TimeoutNow"))
}

#[test]
fn of_those_that_hold_what_is_committed_the_preferred_one_takes_over() {
    // Index 3 is committed by 1, 2 and 3.
    let matched = [(2, 4), (3, 3), (4, 2), (5, 2)];
    assert_eq!(chosen(&mut leader(&[0, 1, 5, 9, 9], &matched)), Some(3), "preferred, though it lags by one");
    let matched = [(2, 3), (3, 4), (4, 2), (5, 2)];
    assert_eq!(chosen(&mut leader(&[0, 1, 1, 9, 9], &matched)), Some(3), "of equals the one that holds more");
    let matched = [(2, 3), (3, 3), (4, 2), (5, 2)];
    assert_eq!(chosen(&mut leader(&[0, 1, 1, 9, 9], &matched)), Some(2), "then the lowest number");
}

#[test]
fn where_nobody_able_holds_what_is_committed_the_most_caught_up_takes_over() {
    let mut solo = leader(&[0, 1, 1, 9, 1], &[(2, 4), (3, 4), (4, 2), (5, 3)]);
    assert_eq!(solo.commit(), 4);
    let term = solo.term();
    for id in [2, 3] {
        solo.hear(id, term, Body::HeartbeatReply { round: 1, last: 4, apply_stopped: true });
    }
    assert_eq!(chosen(&mut solo), Some(5));
}

#[test]
fn why_a_named_node_cannot_take_over_is_said() {
    let mut configuration = seen(5);
    configuration.members[3].role = MemberRole::Learner;
    configuration.members[4].role = MemberRole::Witness;
    let mut solo = Solo::leading_with(&settings(), &configuration, 4, log_of(&[4]));
    let elected = solo.cluster.now;
    for id in [2, 4, 5] {
        solo.accepted(id, 2);
    }
    solo.change(vec![Change::Add(member(6))]);
    for id in [2, 5] {
        solo.accepted(id, 3);
    }
    assert_eq!(solo.commit(), 3);
    let asks = |solo: &mut Solo, to| {
        solo.step(Input::Transfer { id: 77, to: Some(to) });
        match solo.replies().last() {
            Some(Reply::Transferred { id: 77, to }) => *to,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asks(&mut solo, 9), Err(Refusal::UnknownMember));
    for id in [4, 5, 6] {
        assert_eq!(asks(&mut solo, id), Err(Refusal::NotAVoter));
    }
    solo.cluster.now = elected + ELECTION.1;
    for id in [2, 4, 5] {
        solo.accepted(id, 3);
    }
    assert_eq!(asks(&mut solo, 3), Err(Refusal::TooFarBehind), "never heard of in this term");
    let term = solo.term();
    solo.accepted(3, 3);
    solo.hear(3, term, Body::HeartbeatReply { round: 1, last: 3, apply_stopped: true });
    assert_eq!(asks(&mut solo, 3), Err(Refusal::TooFarBehind), "it cannot apply");
    solo.hear(3, term, Body::HeartbeatReply { round: 1, last: 3, apply_stopped: false });
    let sent = solo.step(Input::Transfer { id: 77, to: Some(3) });
    let target = incarnation(3);
    assert!(sent.iter().any(|message| matches!(message.body, Body::TimeoutNow { target: to } if to == target)));
    assert_eq!(asks(&mut solo, 2), Err(Refusal::Transferring));
}
