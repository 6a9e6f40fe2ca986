//! Changes of the membership: section 6, thesis 4, Ongaro 2015.

use crate::common::{
    Cluster, ELECTION, HEARTBEAT, STALL, Solo, candidate, kinds, known, learner, log_of, seen, settings, stamped,
};
use d_engine_raft::{Body, Change, ChangeError, Configuration, EntryKind, Input, LogId, MemberRole, Reply, Role};

// --- joint consensus

#[test]
fn class_05_a_majority_of_the_union_commits_nothing() {
    // CCF #3948: 1 of both halves, 4 and 5 are three of five, but only one of 1, 2, 3.
    let mut configuration_before = seen(5);
    for id in [4, 5] {
        configuration_before.members[id - 1].role = MemberRole::Learner;
    }
    let mut solo = Solo::leading_with(&settings(), &configuration_before, 4, log_of(&[4]));
    for id in 2..=5 {
        solo.accepted(id, 2);
    }
    let changes = vec![Change::Demote(2), Change::Demote(3), Change::Promote(4), Change::Promote(5)];
    assert_eq!(solo.change(changes), Some(Ok(LogId::new(3, 5))));
    assert!(solo.configuration().is_joint());
    solo.accepted(4, 3);
    solo.accepted(5, 3);
    assert_eq!(solo.commit(), 2);
    let round = Solo::round(&solo.due());
    let before = solo.cluster.core(1).lease_until();
    for id in [4, 5] {
        solo.heartbeat_reply(id, round, 3);
    }
    assert_eq!(solo.cluster.core(1).lease_until(), before, "nor do they confirm a round");
    solo.accepted(2, 3);
    assert_eq!(solo.commit(), 3);
    assert!(!solo.configuration().is_joint(), "committed: the leader goes on by itself");
    assert_eq!(solo.last().index, 4);
}

#[test]
fn a_whole_cluster_is_replaced_while_it_works() {
    let mut cluster = Cluster::settled(3);
    for id in [4, 5, 6] {
        cluster.join(id);
        cluster.change(1, vec![Change::Add(learner(id))]);
        cluster.advance(2 * HEARTBEAT);
    }
    let changes = [4, 5, 6].map(Change::Promote).into_iter().chain([1, 2, 3].map(Change::Remove));
    let request = cluster.change(1, changes.collect());
    let at = cluster.changing(1, request).unwrap().unwrap();
    cluster.advance(2 * HEARTBEAT);
    let leader = cluster.leader().unwrap();
    assert!(leader > 3, "the old leader has handed over");
    assert_eq!(cluster.voters(leader), [4, 5, 6]);
    assert!(cluster.status(leader).configuration_index > at.index);
    for id in [1, 2, 3] {
        cluster.crash(id, 0);
    }
    let write = cluster.propose(leader, b"without them");
    cluster.advance(HEARTBEAT);
    assert!(cluster.core(leader).commit() >= cluster.placed(leader, write).unwrap().index);
}

#[test]
fn one_voter_more_or_less_takes_one_step() {
    let mut solo = Solo::ready(3);
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Ok(LogId::new(3, 5))));
    assert_eq!((solo.configuration().is_joint(), solo.cluster.voters(1)), (false, vec![1, 2]));
    solo.accepted(2, 3);
    assert_eq!((solo.commit(), solo.last().index), (3, 3));
}

#[test]
fn class_21_a_joint_phase_is_left_when_it_is_committed_and_not_before() {
    // camunda #60086: a leader that finds a joint configuration in its log does not know whether it is committed.
    let mut joint = seen(5);
    joint.outgoing = vec![1, 2, 3];
    for id in [2, 3] {
        joint.members[id - 1].leaving = true;
    }
    let log = vec![stamped(1, 4, EntryKind::Configuration, &joint.encode())];
    let mut solo = Solo::with(&settings(), &seen(5), 4, log);
    solo.win();
    assert_eq!((solo.last().index, solo.commit()), (2, 0), "nothing but the term\'s first entry");
    solo.accepted(4, 1);
    solo.accepted(2, 1);
    assert_eq!((solo.last().index, solo.commit()), (2, 0), "held by a quorum, but of an earlier term");
    assert!(solo.configuration().is_joint());
    solo.accepted(4, 2);
    assert_eq!(solo.commit(), 0);
    solo.accepted(2, 2);
    assert_eq!(solo.commit(), 2);
    assert_eq!(solo.cluster.voters(1), [1, 4, 5]);
    assert_eq!((solo.last().index, solo.configuration().is_joint()), (3, false));
    assert_eq!(solo.configuration().member(2), None);
}

#[test]
fn class_21_whoever_leads_next_leaves_the_joint_phase() {
    let mut cluster = Cluster::settled(3);
    for id in [4, 5] {
        cluster.join(id);
        cluster.change(1, vec![Change::Add(learner(id))]);
        cluster.advance(2 * HEARTBEAT);
    }
    // The joint configuration gets out, the one after it does not.
    cluster.filter = Box::new(|message| {
        !matches!(&message.body, Body::Append { entries, .. } if entries.iter().any(|entry| {
            entry.kind() == EntryKind::Configuration && !Configuration::decode(&entry.payload()).unwrap().is_joint()
        }))
    });
    cluster.change(1, vec![Change::Promote(4), Change::Promote(5), Change::Remove(3)]);
    cluster.settle();
    assert!(!cluster.status(1).configuration.is_joint());
    assert!(cluster.status(2).configuration.is_joint());
    cluster.crash(1, 9);
    cluster.filter = Box::new(|_| true);
    cluster.advance(8 * ELECTION.1);
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.voters(leader), [1, 2, 4, 5]);
    assert!(!cluster.status(leader).configuration.is_joint());
    cluster.start(1);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.voters(1), [1, 2, 4, 5]);
}

// --- when a change may begin, and when it takes effect

#[test]
fn class_19_no_change_before_the_terms_first_commit() {
    // Ongaro 2015: single-server changes of two leaders, neither of which knows of the other's.
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::NotReady)));
    solo.accepted(2, 1);
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::NotReady)), "an earlier term's entry");
    solo.accepted(2, 2);
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Ok(LogId::new(3, 5))));
}

#[test]
fn class_19_two_leaders_changes_of_one_server_each_do_not_make_two_majorities() {
    // The published counterexample: S1 adds S5 to S1-S4, cut off; S2 is elected and removes S1; S1 returns.
    let mut cluster = Cluster::with(4, &settings(), &seen(4), 7);
    cluster.elect(1);
    cluster.advance(2 * HEARTBEAT);
    cluster.join(5);
    for other in [2, 3, 4] {
        cluster.cut.extend([(1, other), (other, 1)]);
    }
    cluster.change(1, vec![Change::Add(known(5))]);
    cluster.settle();
    assert_eq!((cluster.voters(1).len(), cluster.voters(2).len()), (5, 4));
    cluster.cut.extend([2, 3, 4].into_iter().flat_map(|id| [(5, id), (id, 5)]));
    while cluster.leader().is_none_or(|leader| leader == 1) {
        cluster.advance(HEARTBEAT);
    }
    let leader = cluster.leader().unwrap();
    cluster.advance(HEARTBEAT);
    cluster.change(leader, vec![Change::Remove(1)]);
    cluster.advance(10 * HEARTBEAT);
    let write = cluster.propose(leader, b"by the new ones");
    cluster.advance(HEARTBEAT);
    let at = cluster.placed(leader, write).unwrap();
    assert!(cluster.core(leader).commit() >= at.index);
    // 1 and 5 come back, with one of the others: they would be three of five.
    cluster.heal();
    cluster.advance(20 * ELECTION.1);
    let leader = cluster.leader().unwrap();
    assert!(leader != 1 && cluster.core(leader).commit() >= at.index);
    cluster.check_logs();
}

#[test]
fn class_20_a_configuration_is_in_force_when_appended_however_far_apply_lags() {
    // etcd #7625: between append and apply two majorities decide by different members.
    let mut solo = Solo::ready(3);
    solo.cluster.node(1).auto_apply = false;
    solo.change(vec![Change::Remove(3)]);
    assert_eq!(solo.cluster.voters(1), [1, 2]);
    solo.propose(b"x");
    solo.accepted(3, 4);
    assert_eq!(solo.commit(), 2, "3 is no part of any quorum");
    solo.accepted(2, 4);
    assert_eq!(solo.commit(), 4);
    assert!(solo.cluster.status(1).applied < 3);
    // A follower the same, durable or not.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.slow_disk();
    let two = stamped(2, 4, EntryKind::Configuration, &seen(2).encode());
    solo.append(2, 4, LogId::new(1, 4), vec![two]);
    assert_eq!(solo.cluster.voters(1), [1, 2]);
}

#[test]
fn class_22_a_new_leader_goes_by_the_configuration_in_its_log_committed_or_not() {
    // NuRaft #67.
    let five = stamped(2, 4, EntryKind::Configuration, &seen(5).encode());
    let mut log = log_of(&[4]);
    log.push(five);
    let mut solo = Solo::with(&settings(), &seen(5), 4, log);
    solo.cluster.due(1);
    solo.hear(2, 5, Body::PreVoteReply { granted: true });
    assert_eq!(solo.role(), Role::PreCandidate, "two of three, but not of five");
    solo.hear(3, 5, Body::PreVoteReply { granted: true });
    for id in [2, 3] {
        solo.hear(id, 5, Body::VoteReply { granted: true });
    }
    assert_eq!(solo.role(), Role::Leader);
    solo.accepted(2, 3);
    assert_eq!(solo.commit(), 0);
    solo.accepted(3, 3);
    assert_eq!(solo.commit(), 3);
}

#[test]
fn class_22_a_configuration_that_is_cut_off_falls_back_also_after_a_restart() {
    // canonical/raft #354, ClickHouse #105784.
    let mut cluster = Cluster::settled(3);
    cluster.join(4);
    cluster.isolate(1);
    cluster.change(1, vec![Change::Add(known(4)), Change::Remove(2)]);
    cluster.settle();
    assert!(cluster.status(1).configuration.is_joint());
    cluster.restart(1);
    assert!(cluster.status(1).configuration.is_joint(), "it stands in the log");
    cluster.advance(8 * ELECTION.1);
    cluster.heal();
    cluster.advance(8 * ELECTION.1);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    cluster.restart(1);
    assert_eq!(cluster.voters(1), [1, 2, 3]);
    assert_eq!(cluster.status(1).configuration.outgoing, []);
}

#[test]
fn one_change_at_a_time_and_none_while_the_leader_is_about_to_go() {
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Remove(3)]);
    assert_eq!(solo.change(vec![Change::Demote(2)]), Some(Err(ChangeError::InFlight(3))));
    solo.accepted(2, 3);
    solo.step(Input::Transfer { id: 1, to: Some(2) });
    assert_eq!(solo.change(vec![Change::Demote(2)]), Some(Err(ChangeError::Transferring)));

    let mut solo = Solo::ready(3);
    solo.step(Input::Close { handover: true });
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::Closing)));

    let mut solo = Solo::with(&settings(), &seen(1), 4, log_of(&[4]));
    solo.due();
    assert_eq!((solo.role(), solo.commit()), (Role::Leader, 2));
    solo.slow_disk();
    solo.propose(b"x");
    solo.pass(STALL);
    assert_eq!(solo.change(vec![Change::Add(candidate(2))]), Some(Err(ChangeError::StorageStalled)));

    let mut small = settings();
    small.max_uncommitted_bytes = 100;
    let mut solo = Solo::leading_with(&small, &seen(3), 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.propose(&[0; 200]);
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::Overloaded)));
}

#[test]
fn a_follower_passes_a_change_on_once_and_tells_what_came_of_it() {
    let mut cluster = Cluster::settled(3);
    let request = cluster.change(2, vec![Change::Remove(3)]);
    assert_eq!(cluster.answers(2, request), [Reply::Forwarded { id: request, to: 1 }]);
    cluster.settle();
    let at = cluster.changing(2, request).unwrap().unwrap();
    assert_eq!(cluster.status(1).configuration_index, at.index);
    assert_eq!(cluster.count(2, "Change"), 1);
    assert!(cluster.core(2).commit() >= at.index, "who asked is told of the commit at once");
    let request = cluster.change(2, vec![Change::Remove(9)]);
    cluster.settle();
    assert_eq!(cluster.changing(2, request), Some(Err(ChangeError::UnknownMember(9))));
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    assert_eq!(solo.change(vec![Change::Remove(3)]), Some(Err(ChangeError::NotLeader)));
    let sent = solo.hear(2, 0, Body::Change { id: 5, changes: vec![Change::Remove(3)] });
    assert!(matches!(sent[0].body, Body::ChangeReply { id: 5, result: Err(ChangeError::NotLeader) }));
}

// --- a leader that changes its own place

#[test]
fn a_leader_that_removes_itself_leads_until_that_is_committed_without_counting_itself() {
    // Thesis 4.2.2.
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Remove(1)]);
    assert_eq!((solo.role(), solo.cluster.voters(1)), (Role::Leader, vec![2, 3]));
    solo.accepted(2, 3);
    assert_eq!((solo.commit(), solo.role()), (2, Role::Leader), "1 holds it too, but 1 and 2 are no quorum of 2 and 3");
    assert_eq!(solo.cluster.removals(1), 0);
    let sent = solo.accepted(3, 3);
    assert_eq!((solo.commit(), solo.role()), (3, Role::Follower));
    let asked = |id| kinds(&sent, id).contains(&"TimeoutNow");
    assert!(asked(2) ^ asked(3), "one of them is asked to go on");
    assert_eq!(solo.cluster.removals(1), 1);
    assert_eq!(solo.cluster.core(1).deadline(), None, "and it never campaigns again");
}

#[test]
fn a_leader_that_demotes_itself_hands_over_and_learns_on() {
    let mut cluster = Cluster::settled(3);
    cluster.change(1, vec![Change::Demote(1)]);
    cluster.advance(HEARTBEAT);
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, 1);
    assert_eq!(cluster.checks.leaders.len(), 2);
    let write = cluster.propose(leader, b"x");
    cluster.advance(2 * HEARTBEAT);
    assert!(cluster.nodes[&1].machine.applied >= cluster.placed(leader, write).unwrap());
    assert_eq!(cluster.removals(1), 0);
}

#[test]
fn a_leader_that_is_to_go_steps_down_when_nobody_can_take_over() {
    let mut solo = Solo::ready(3);
    solo.change(vec![Change::Remove(1)]);
    let term = solo.term();
    let sent = solo.due();
    for id in [2, 3] {
        let round = Solo::round(&sent);
        solo.hear(id, term, Body::HeartbeatReply { round, last: 3, apply_stopped: true });
    }
    solo.accepted(2, 3);
    let sent = solo.accepted(3, 3);
    assert_eq!((solo.role(), solo.commit()), (Role::Follower, 3));
    assert!(!sent.iter().any(|message| matches!(message.body, Body::TimeoutNow { .. })));
}

#[test]
fn who_holds_its_own_removal_still_campaigns_while_it_may_not_be_committed() {
    // Thesis 4.2.2, figure 4.6: 2 cannot win against the longer log of 1, and 1 has no vote in the configuration that it holds.
    let mut cluster = Cluster::settled(2);
    cluster.isolate(1);
    cluster.change(1, vec![Change::Remove(1)]);
    cluster.settle();
    cluster.restart(1);
    cluster.heal();
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(2));
    assert_eq!((cluster.voters(2), cluster.removals(1)), (vec![2], 1));
    assert!(cluster.checks.leaders.len() >= 3, "1 led once more to commit it");
}
