//! Commit and apply: sections 5.3, 5.4.2 and figure 8.

use crate::common::{Cluster, HEARTBEAT, Solo, Work, entry, log_of, seen, settings, stamped};
use d_engine_raft::{Body, Configuration, EntryKind, Event, Input, LogId, Refusal, Reply, Role};

#[test]
fn class_04_an_earlier_terms_entry_is_not_committed_by_counting() {
    // Figure 8 (b) and (c): S1 leads term 4, its entry of term 2 stands on a majority.
    let mut solo = Solo::leading(5, 3, log_of(&[1, 2]));
    assert_eq!((solo.term(), solo.last()), (4, LogId::new(3, 4)));
    solo.accepted(2, 2);
    solo.accepted(3, 2);
    solo.accepted(4, 2);
    solo.accepted(5, 2);
    assert_eq!(solo.commit(), 0, "all hold it, and a later leader could still cut it");
    // (e): once an entry of its own term stands on a majority, all before it is committed too.
    solo.accepted(2, 3);
    assert_eq!(solo.commit(), 0);
    solo.accepted(3, 3);
    assert_eq!(solo.commit(), 3);
}

#[test]
fn class_04_figure_8_played_out() {
    let mut cluster = Cluster::idle(5, &settings(), &seen(5), 1);
    for id in 1..=5 {
        cluster.node(id).disk.entries = log_of(&[1]).into();
        cluster.node(id).disk.hard_state.term = 3;
    }
    // (c) S1 and S2 hold term 2 at index 2, S5 holds term 3 there; S1 has spread its entry to S3 as well.
    for id in [1, 2, 3] {
        cluster.node(id).disk.entries = log_of(&[1, 2]).into();
    }
    cluster.node(5).disk.entries = log_of(&[1, 3]).into();
    for id in 1..=5 {
        cluster.start(id);
    }
    // (d) S1 is gone; S5 can win with S2, S3 and S4, and overwrites what stood on a majority.
    cluster.crash(1, 0);
    cluster.elect(5);
    cluster.advance(HEARTBEAT);
    for id in 2..=5 {
        assert_eq!(cluster.nodes[&id].disk.term(2), Some(3));
    }
    cluster.start(1);
    cluster.advance(4 * HEARTBEAT);
    cluster.assert_equal();
    cluster.check_logs();
}

#[test]
fn a_quorum_counts_durable_copies_and_the_leaders_own_is_one_of_them() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.slow_disk();
    solo.propose(b"x");
    assert_eq!(solo.commit(), 2);
    solo.accepted(2, 3);
    assert_eq!(solo.commit(), 2, "the leader itself does not hold it yet");
    solo.persist();
    assert_eq!(solo.commit(), 3);
    solo.propose(b"y");
    solo.accepted(2, 4);
    solo.accepted(3, 4);
    assert_eq!(solo.commit(), 4, "two followers are a quorum without the leader's disk");
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 3, "but it applies only what is durable on it");
    solo.persist();
    solo.cluster.apply(1);
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 4);
}

#[test]
fn followers_apply_what_is_both_committed_and_matched() {
    let mut solo = Solo::new(3, 4, log_of(&[1, 2, 2]));
    solo.append_committed(2, 4, LogId::new(1, 1), Vec::new(), 3);
    assert_eq!(solo.commit(), 1, "what follows may be another leader's");
    solo.append_committed(2, 4, LogId::new(1, 1), vec![entry(2, 4, b"a")], 9);
    assert_eq!((solo.commit(), solo.last().index), (2, 2));
    solo.append_committed(2, 4, LogId::new(2, 4), vec![entry(3, 4, b"b"), entry(4, 4, b"c")], 3);
    assert_eq!(solo.commit(), 3);
    solo.hear(2, 4, Body::Heartbeat { round: 0, commit: 4 });
    assert_eq!(solo.commit(), 4);
    solo.hear(2, 4, Body::Heartbeat { round: 0, commit: 1 });
    assert_eq!(solo.commit(), 4, "it never goes back (PySyncObj #166)");
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 4);
}

#[test]
fn a_heartbeat_tells_no_commit_index_beyond_what_its_receiver_is_known_to_hold() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.propose(b"x");
    solo.accepted(2, 3);
    let told = |solo: &mut Solo, to| {
        let sent = solo.due();
        sent.into_iter().find_map(|message| match message.body {
            Body::Heartbeat { commit, .. } if message.to == to => Some(commit),
            _ => None,
        })
    };
    solo.cluster.now += HEARTBEAT;
    assert_eq!(told(&mut solo, 3), Some(0), "it has answered nothing");
    solo.cluster.now += HEARTBEAT;
    assert_eq!(told(&mut solo, 2), Some(3));
}

#[test]
fn followers_learn_of_a_commit_soon_without_a_new_proposal() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    let write = cluster.propose(1, b"x");
    cluster.advance(HEARTBEAT / 5);
    let at = cluster.placed(1, write).unwrap();
    assert!(cluster.nodes.values().all(|node| node.machine.applied >= at));
}

#[test]
fn commits_survive_a_change_of_leader_at_every_moment() {
    for loss in 0..40 {
        let mut cluster = Cluster::led_by(5, 1);
        for number in 0..10 {
            cluster.propose(1, format!("{number}").as_bytes());
            if number == 5 {
                let _ = (0..loss).all(|_| cluster.deliver());
                for id in cluster.ids() {
                    cluster.persist(id);
                }
            }
        }
        cluster.crash(1, 0);
        cluster.elect(2 + loss % 4);
        cluster.advance(HEARTBEAT);
        cluster.start(1);
        cluster.advance(6 * HEARTBEAT);
        cluster.assert_equal();
        cluster.checks.exactly_once();
    }
}

#[test]
fn too_many_uncommitted_bytes_are_refused_and_one_entry_always_fits() {
    let mut small = settings();
    small.max_uncommitted_bytes = 500;
    let mut solo = Solo::leading_with(&small, &seen(3), 4, log_of(&[4]));
    solo.accepted(2, 2);
    assert_eq!(solo.commit(), 2);
    let (big, _) = solo.propose(&[0; 1_000]);
    let (refused, _) = solo.propose(b"x");
    assert!(matches!(solo.cluster.answers(1, big)[..], [Reply::Proposed { .. }]));
    assert_eq!(solo.cluster.answers(1, refused), [Reply::Refused { id: refused, why: Refusal::Overloaded }]);
    solo.accepted(2, 3);
    let (taken, _) = solo.propose(b"x");
    assert!(matches!(solo.cluster.answers(1, taken)[..], [Reply::Proposed { .. }]));
}

// --- apply

#[test]
fn apply_is_bounded_in_bytes_and_goes_on_when_reported() {
    let mut small = settings();
    small.max_applying_bytes = 250;
    small.tail_bytes = 0;
    let mut solo = Solo::with(&small, &seen(3), 4, log_of(&[4; 20]));
    solo.cluster.node(1).auto_apply = false;
    solo.append_committed(2, 4, LogId::new(20, 4), Vec::new(), 20);
    for _ in 0..40 {
        let handed: usize = solo.cluster.nodes[&1].works.iter().map(size).sum();
        assert!(handed <= 250 + 70, "{handed} bytes");
        solo.cluster.apply(1);
        while solo.cluster.answer_fetch(1) {}
    }
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 20);
}

fn size(work: &Work) -> usize {
    match work {
        Work::Apply(entries) => entries.iter().map(d_engine_raft::Entry::size).sum(),
        Work::Restore(_) => 0,
    }
}

#[test]
fn an_apply_that_has_stopped_gets_nothing_more() {
    let mut solo = Solo::new(3, 4, Vec::new());
    solo.cluster.node(1).auto_apply = false;
    solo.append_committed(2, 4, LogId::ZERO, vec![entry(1, 4, b"bad")], 1);
    assert_eq!(solo.cluster.nodes[&1].works.len(), 1);
    solo.step(Input::ApplyStopped);
    let sent = solo.append_committed(2, 4, LogId::new(1, 4), vec![entry(2, 4, b"next")], 2);
    assert_eq!(solo.cluster.nodes[&1].works.len(), 1);
    assert_eq!(crate::common::kinds(&sent, 2), ["AppendReply"], "it goes on replicating");
    let sent = solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 2 });
    assert!(matches!(sent[0].body, Body::HeartbeatReply { apply_stopped: true, .. }));
    assert!(solo.due().is_empty(), "and does not campaign");
    assert_eq!((solo.cluster.core(1).leader(), solo.cluster.core(1).deadline()), (None, None));
    solo.cluster.now += 1_000_000;
    let sent = solo.hear(3, 5, Body::Vote { last: LogId::new(2, 4), transfer: false });
    assert!(matches!(sent[0].body, Body::VoteReply { granted: true }), "but votes");
}

// --- configurations take effect when appended, and fall back when cut (section 6)

#[test]
fn a_configuration_is_in_force_as_soon_as_it_stands_in_the_log_and_falls_back_when_cut() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    let five = stamped(2, 4, EntryKind::Configuration, &seen(5).encode());
    solo.append(2, 4, LogId::new(1, 4), vec![five]);
    assert_eq!(solo.cluster.status(1).configuration.members.len(), 5);
    assert_eq!(solo.cluster.status(1).configuration_index, 2);
    solo.append(3, 5, LogId::new(1, 4), vec![entry(2, 5, b"instead")]);
    assert_eq!(solo.cluster.status(1).configuration.members.len(), 3);
    let sizes: Vec<(u64, usize)> = solo.cluster.nodes[&1]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Configured { index, configuration } => Some((*index, configuration.members.len())),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [(2, 5), (0, 3)]);
}

#[test]
fn a_joint_configuration_needs_a_quorum_of_each_half() {
    let mut joint: Configuration = seen(5);
    joint.outgoing = vec![1, 2, 3];
    for id in [1, 2, 3] {
        joint.members[id - 1].role = d_engine_raft::MemberRole::Learner;
    }
    joint.members[0].role = d_engine_raft::MemberRole::Voter;
    // Incoming 1, 4, 5; outgoing 1, 2, 3.
    let entry = stamped(1, 4, EntryKind::Configuration, &joint.encode());
    let mut solo = Solo::with(&settings(), &seen(5), 4, vec![entry]);
    solo.cluster.due(1);
    for id in [4, 5] {
        solo.hear(id, 5, Body::PreVoteReply { granted: true });
        assert_eq!(solo.role(), Role::PreCandidate, "all of one half are not enough");
    }
    solo.hear(2, 5, Body::PreVoteReply { granted: true });
    for id in [2, 3] {
        solo.hear(id, 5, Body::VoteReply { granted: true });
        assert_eq!(solo.role(), Role::Candidate);
    }
    solo.hear(4, 5, Body::VoteReply { granted: true });
    assert_eq!(solo.role(), Role::Leader);
    for id in [4, 5] {
        solo.accepted(id, 2);
        assert_eq!(solo.commit(), 0);
    }
    solo.accepted(3, 2);
    assert_eq!(solo.commit(), 2);
}
