//! Learners become voters by themselves: thesis 4.2.1.

use crate::common::{
    Cluster, ELECTION, HEARTBEAT, MS, Solo, candidate, incarnation, known, learner, log_of, seen, settings,
};
use d_engine_raft::{Body, Change, ChangeError, Event, Input, Member, MemberRole, NodeId, Role};

/// A leader of three voters with learner 4, which is to be promoted and has not answered yet.
fn with_learner() -> Solo {
    let mut configuration = seen(4);
    configuration.members[3] = Member { role: MemberRole::Learner, auto_promote: true, ..known(4) };
    let mut solo = Solo::leading_with(&settings(), &configuration, 4, log_of(&[4]));
    for id in [2, 3] {
        solo.accepted(id, 2);
        solo.heartbeat_reply(id, 1, 2);
    }
    solo
}

/// Time passes, in which the voters answer, and the learner too if it is there.
fn pass(solo: &mut Solo, span: u64, there: &[NodeId]) {
    let end = solo.cluster.now + span;
    while solo.cluster.now < end {
        let round = Solo::round(&solo.pass(10 * MS));
        let last = solo.last().index;
        for &id in there {
            solo.heartbeat_reply(id, round, last);
        }
    }
}

fn told(solo: &Solo) -> usize {
    solo.cluster.nodes[&1].events.iter().filter(|event| **event == Event::NotCatchingUp(4)).count()
}

#[test]
fn a_node_that_joins_becomes_a_voter_once_it_has_caught_up() {
    let mut cluster = Cluster::settled(3);
    for number in 0..20 {
        cluster.propose(1, &vec![number; 90_000]);
    }
    cluster.advance(HEARTBEAT);
    cluster.join(4);
    cluster.change(1, vec![Change::Add(candidate(4))]);
    assert_eq!(cluster.voters(1), [1, 2, 3], "not before");
    cluster.advance(6 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 3, 4]);
    assert_eq!(cluster.voters(4), [1, 2, 3, 4]);
    assert_eq!(cluster.status(1).configuration.member(4).unwrap().incarnation, Some(incarnation(4)));
}

#[test]
fn a_short_round_is_enough_and_a_long_one_is_followed_by_another() {
    let mut solo = with_learner();
    pass(&mut solo, 10 * MS, &[2, 3, 4]);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3], "it is there, but holds nothing");
    solo.accepted(4, 2);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3, 4]);

    let mut solo = with_learner();
    pass(&mut solo, ELECTION.0 + 10 * MS, &[2, 3, 4]);
    solo.propose(b"x");
    solo.accepted(4, 2);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3], "that took too long, and there is more now");
    solo.accepted(4, 3);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3, 4], "that was quick");
}

#[test]
fn after_ten_rounds_that_were_too_long_it_is_left_alone_for_a_while() {
    let mut solo = with_learner();
    for round in 1..=10 {
        assert_eq!(told(&solo), 0, "round {round}");
        // What ends a round is what the log held when it began.
        let target = solo.last().index;
        pass(&mut solo, ELECTION.0 + 10 * MS, &[2, 3, 4]);
        solo.propose(b"more");
        let last = solo.last().index;
        for id in [2, 3] {
            solo.accepted(id, last);
        }
        solo.accepted(4, target);
    }
    assert_eq!((told(&solo), solo.cluster.voters(1)), (1, vec![1, 2, 3]));
    // Now it holds everything, and is not asked.
    let last = solo.last().index;
    solo.accepted(4, last);
    pass(&mut solo, 10 * ELECTION.1 - 20 * MS, &[2, 3, 4]);
    assert_eq!((told(&solo), solo.cluster.voters(1)), (1, vec![1, 2, 3]));
    pass(&mut solo, 30 * MS, &[2, 3, 4]);
    assert_eq!((told(&solo), solo.cluster.voters(1)), (1, vec![1, 2, 3, 4]));
}

#[test]
fn who_is_silent_cannot_apply_or_shall_stay_a_learner_is_not_promoted() {
    let mut solo = with_learner();
    let term = solo.term();
    solo.hear(4, term, Body::HeartbeatReply { round: 1, last: 2, apply_stopped: true });
    solo.accepted(4, 2);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3], "its state machine has stopped");

    let mut solo = with_learner();
    solo.cluster.node(1).auto_persist = false;
    solo.propose(b"x");
    solo.accepted(4, 2);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3]);
    pass(&mut solo, ELECTION.1, &[2, 3]);
    solo.persist_all();
    assert_eq!(solo.cluster.voters(1), [1, 2, 3], "it has not been heard for an election timeout");

    let mut cluster = Cluster::settled(3);
    cluster.join(4);
    cluster.change(1, vec![Change::Add(learner(4))]);
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    // Named a voter it becomes one by itself; by `promote` at once.
    cluster.change(1, vec![Change::Add(candidate(4))]);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 3, 4]);
    cluster.change(1, vec![Change::Demote(4)]);
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.voters(1), [1, 2, 3], "who was demoted stays a learner");
    cluster.change(1, vec![Change::Promote(4)]);
    assert_eq!(cluster.voters(1), [1, 2, 3, 4]);
}

#[test]
fn nobody_is_promoted_while_another_change_or_a_transfer_is_under_way() {
    let mut solo = with_learner();
    solo.change(vec![Change::Add(Member { priority: 3, ..known(2) })]);
    pass(&mut solo, 10 * MS, &[2, 3, 4]);
    solo.accepted(4, 3);
    assert_eq!((solo.cluster.voters(1), solo.last().index), (vec![1, 2, 3], 3));
    solo.accepted(2, 3);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3, 4], "as soon as that is committed");

    let mut solo = with_learner();
    solo.step(Input::Transfer { id: 1, to: Some(2) });
    pass(&mut solo, 10 * MS, &[2, 3, 4]);
    solo.accepted(4, 2);
    assert_eq!(solo.cluster.voters(1), [1, 2, 3]);
}

#[test]
fn all_that_have_caught_up_are_promoted_together() {
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Add(candidate(4)), Change::Add(candidate(5))]);
    let term = solo.term();
    for id in [4, 5] {
        solo.hear(id, term, Body::HeartbeatReply { round: 1, last: 0, apply_stopped: false });
        solo.accepted(id, 3);
    }
    assert_eq!(solo.last().index, 5, "one entry for each that was recorded");
    for id in [4, 5] {
        solo.accepted(id, 5);
    }
    assert_eq!(solo.commit(), 2);
    solo.accepted(2, 5);
    let configuration = solo.configuration();
    assert_eq!(solo.cluster.voters(1), [1, 2, 3, 4, 5]);
    assert_eq!(configuration.outgoing, [1, 2, 3], "two voters more: a joint phase");
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::InFlight(6))));
    assert_eq!(solo.role(), Role::Leader);
}
