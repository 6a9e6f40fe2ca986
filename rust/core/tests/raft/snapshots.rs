//! Snapshots and purges: section 7, thesis 5.

use crate::common::{Cluster, HEARTBEAT, Job, Machine, Snapshot, Solo, Work, entry, kinds, log_of, seen, settings};
use d_engine_raft::{AppendReply, Body, Entry, Event, HardState, Input, LogId, Message, Role, Settings, Start, Term};

fn snapshot(index: u64, term: Term) -> Snapshot {
    let machine = Machine { applied: LogId::new(index, term), sum: index };
    Snapshot { machine, time: 100 + index, configuration: (0, seen(3)) }
}

/// The snapshot has come; what is sent at once and after the disk has worked, if it works by itself.
fn install(solo: &mut Solo, term: Term, snapshot: &Snapshot) -> Vec<Message> {
    solo.cluster.receive_snapshot(1, 2, term, snapshot);
    if solo.cluster.nodes[&1].auto_persist {
        solo.cluster.persist_all(1);
    }
    solo.sent()
}

fn matched(messages: &[Message]) -> Vec<u64> {
    let matched = |message: &Message| match message.body {
        Body::SnapshotReply { matched } | Body::AppendReply(AppendReply::Accepted { matched }) => Some(matched),
        _ => None,
    };
    messages.iter().filter_map(matched).collect()
}

fn restores(solo: &Solo) -> Vec<LogId> {
    let restore = |work: &Work| if let Work::Restore(last) = work { Some(*last) } else { None };
    solo.cluster.nodes[&1].works.iter().filter_map(restore).collect()
}

#[test]
fn a_snapshot_ahead_of_the_log_replaces_it() {
    let mut solo = Solo::new(3, 4, log_of(&[1, 1, 2]));
    let sent = install(&mut solo, 4, &snapshot(10, 3));
    assert_eq!(matched(&sent), [10]);
    let status = solo.cluster.status(1);
    assert_eq!((status.purged, status.last), (LogId::new(10, 3), LogId::new(10, 3)));
    assert_eq!((status.commit, status.snapshot), (10, Some(LogId::new(10, 3))));
    assert_eq!(restores(&solo), [LogId::new(10, 3)]);
    let sent = solo.append_committed(2, 4, LogId::new(10, 3), vec![entry(11, 4, b"next")], 11);
    assert_eq!(matched(&sent), [11]);
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 11);
}

#[test]
fn class_27_an_older_snapshot_changes_nothing() {
    // openraft #543, hashicorp #248.
    let mut solo = Solo::new(3, 4, log_of(&[4; 8]));
    solo.append_committed(2, 4, LogId::new(8, 4), Vec::new(), 6);
    install(&mut solo, 4, &snapshot(7, 4));
    let before = solo.cluster.status(1);
    for index in [1, 5, 7] {
        let sent = install(&mut solo, 4, &snapshot(index, 4));
        assert_eq!(matched(&sent), [7], "its sender learns what it need not send");
    }
    let after = solo.cluster.status(1);
    assert_eq!((before.snapshot, before.last, before.commit), (after.snapshot, after.last, after.commit));
    assert!(restores(&solo).is_empty());
    let stale = |event: &&Event| matches!(event, Event::StaleSnapshot(_));
    assert_eq!(solo.cluster.nodes[&1].events.iter().filter(stale).count(), 3);
}

#[test]
fn class_27_a_leader_takes_no_snapshot_and_an_older_own_one_is_not_the_newest() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    install(&mut solo, 5, &snapshot(10, 5));
    assert_eq!((solo.role(), solo.last().index), (Role::Leader, 2));
    solo.accepted(2, 2);
    solo.step(Input::SnapshotTaken(LogId::new(2, 5)));
    solo.step(Input::SnapshotTaken(LogId::new(1, 4)));
    solo.step(Input::SnapshotTaken(LogId::new(9, 5)));
    assert_eq!(solo.cluster.status(1).snapshot, Some(LogId::new(2, 5)), "of what is applied, the newest");
}

#[test]
fn class_28_a_conflicting_tail_does_not_survive_a_snapshot() {
    // hashicorp #704: the log goes beyond the snapshot, but is not the one that the snapshot is of.
    let mut solo = Solo::new(3, 4, log_of(&[1, 1, 2, 2, 2, 2]));
    install(&mut solo, 4, &snapshot(4, 3));
    assert_eq!(solo.last(), LogId::new(4, 3));
    assert!(solo.cluster.nodes[&1].disk.entries.is_empty());
    let sent = solo.append(2, 4, LogId::new(5, 2), Vec::new());
    assert!(
        matches!(sent[0].body, Body::AppendReply(AppendReply::Rejected { prev: 5, hint }) if hint == LogId::new(4, 3))
    );
}

#[test]
fn class_28_a_tail_that_follows_the_snapshot_stays() {
    // openraft #753 the other way round: it may be acknowledged.
    let mut solo = Solo::new(3, 4, log_of(&[1, 1, 3, 3, 3, 3]));
    let sent = install(&mut solo, 4, &snapshot(4, 3));
    assert_eq!(matched(&sent), [4]);
    assert_eq!((solo.last(), solo.commit()), (LogId::new(6, 3), 4));
    assert!(restores(&solo).is_empty(), "the state machine goes on with the log");
}

#[test]
fn class_29_the_acknowledgement_waits_until_the_log_is_reset_too() {
    // RedisRaft #43: a snapshot without its log, or the other way round, must not be counted.
    let mut solo = Solo::new(3, 4, log_of(&[1, 1]));
    solo.slow_disk();
    assert!(install(&mut solo, 4, &snapshot(10, 3)).is_empty());
    // What follows waits for it as well, and so does what is already covered.
    assert!(matched(&solo.append(2, 4, LogId::new(10, 3), vec![entry(11, 4, b"x")])).is_empty());
    assert!(matched(&solo.append(2, 4, LogId::new(5, 3), Vec::new())).is_empty());
    assert_eq!(matched(&solo.persist()), [10, 5]);
    assert_eq!(matched(&solo.persist()), [11]);
}

#[test]
fn class_29_hard_state_and_reset_are_one_unit() {
    // nexus #4215.
    let mut solo = Solo::new(3, 4, log_of(&[1]));
    solo.slow_disk();
    install(&mut solo, 6, &snapshot(10, 5));
    let queue = &solo.cluster.nodes[&1].disk.queue;
    let Some(Job::Persist(persist)) = queue.front() else { panic!("a persist") };
    assert_eq!(queue.len(), 1);
    assert_eq!(persist.hard_state, Some(HardState { term: 6, vote: None }));
    assert_eq!(persist.reset_to, Some(LogId::new(10, 5)));
}

#[test]
fn class_29_a_crash_at_any_moment_of_an_installation_leaves_one_whole_state() {
    for kept in 0..=2 {
        let mut solo = Solo::new(3, 4, log_of(&[1, 2, 2]));
        solo.slow_disk();
        install(&mut solo, 4, &snapshot(10, 3));
        solo.append(2, 4, LogId::new(10, 3), vec![entry(11, 4, b"x")]);
        solo.cluster.crash(1, kept);
        solo.cluster.start(1);
        let status = solo.cluster.status(1);
        assert_eq!((status.purged.index, status.commit), (10, 10), "{kept} writes were durable");
        assert_eq!(status.last.index, if kept == 2 { 11 } else { 10 });
        assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 10);
    }
}

#[test]
fn class_32_writes_of_before_a_snapshot_make_nothing_of_it_durable() {
    let mut solo = Solo::new(3, 4, log_of(&[1]));
    solo.slow_disk();
    let old: Vec<Entry> = (2..20).map(|index| entry(index, 4, b"old")).collect();
    solo.append(3, 4, LogId::new(1, 1), old);
    install(&mut solo, 5, &snapshot(10, 3));
    assert!(matched(&solo.persist()).is_empty());
    assert_eq!(solo.cluster.status(1).durable, 0);
    assert_eq!(matched(&solo.persist()), [10]);
    assert_eq!(solo.cluster.status(1).durable, 10);
}

#[test]
fn class_31_a_node_begins_behind_the_newer_of_snapshot_and_state_machine() {
    // dragonboat #156: never behind an older one, silently.
    let start = |applied| Start {
        id: 1,
        incarnation: crate::common::incarnation(1),
        group: 0,
        seed: 1,
        hard_state: HardState { term: 4, vote: None },
        purged: LogId::new(5, 4),
        last: 9,
        term_runs: vec![(6, 4)],
        last_time: 0,
        configurations: vec![(0, seen(3))],
        snapshot: Some(LogId::new(7, 4)),
        applied,
    };
    for (applied, expected) in [(0, 7), (3, 7), (7, 7), (8, 8), (9, 9)] {
        let core = d_engine_raft::Core::new(0, settings(), start(applied));
        assert_eq!((core.commit(), core.status().applied), (expected, expected), "machine at {applied}");
    }
}

#[test]
fn class_42_a_restore_stands_between_what_it_covers_and_what_follows() {
    // MIT 6.824-2018 #4: one queue, in order.
    let mut solo = Solo::new(3, 4, Vec::new());
    solo.cluster.node(1).auto_apply = false;
    solo.append_committed(2, 4, LogId::ZERO, log_of(&[4, 4]), 2);
    install(&mut solo, 4, &snapshot(10, 4));
    solo.append_committed(2, 4, LogId::new(10, 4), vec![entry(11, 4, b"a"), entry(12, 4, b"b")], 12);
    assert_eq!(solo.cluster.nodes[&1].works.len(), 2, "what follows waits until the restore has reported");
    solo.cluster.apply(1);
    solo.cluster.apply(1);
    let order: Vec<(u64, u64)> = solo.cluster.nodes[&1]
        .works
        .iter()
        .map(|work| match work {
            Work::Apply(entries) => (entries[0].index(), entries[entries.len() - 1].index()),
            Work::Restore(last) => (0, last.index),
        })
        .collect();
    assert_eq!(order, [(11, 12)]);
}

#[test]
fn class_42_a_snapshot_that_comes_while_another_one_waits_to_be_restored_is_taken_in_its_place() {
    for reported_first in [false, true] {
        let mut solo = Solo::new(3, 4, Vec::new());
        solo.cluster.node(1).auto_apply = false;
        install(&mut solo, 4, &snapshot(10, 4));
        let more = (11..=20).map(|index| entry(index, 4, b"x")).collect();
        solo.append_committed(2, 4, LogId::new(10, 4), more, 20);
        // The store has the newer one before the core hears of it.
        solo.cluster.node(1).disk.snapshot = Some(snapshot(15, 4));
        if reported_first {
            solo.cluster.apply(1);
            assert!(solo.cluster.nodes[&1].works.is_empty(), "the machine is at 15: nothing fits behind 10");
        }
        solo.append_committed(2, 4, LogId::new(20, 4), Vec::new(), 14);
        install(&mut solo, 4, &snapshot(15, 4));
        while solo.cluster.apply(1) {}
        assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 20, "reported first: {reported_first}");
    }
}

#[test]
fn class_42_a_log_read_for_apply_that_a_snapshot_overtakes_is_dropped() {
    let mut solo = Solo::new(3, 4, log_of(&[4, 4, 4]));
    solo.slow_reads = true;
    solo.cluster.node(1).auto_apply = false;
    solo.append_committed(2, 4, LogId::new(3, 4), Vec::new(), 3);
    assert_eq!(solo.cluster.nodes[&1].fetches.len(), 1);
    let entries = solo.cluster.nodes[&1].disk.fetch(1, 4, 1_000);
    let id = solo.cluster.node(1).fetches.pop_front().unwrap().0;
    install(&mut solo, 4, &snapshot(10, 4));
    solo.step(Input::Fetched { id, entries });
    assert_eq!(solo.cluster.nodes[&1].works.len(), 1, "the restore alone");
    solo.cluster.apply(1);
    assert_eq!(solo.cluster.nodes[&1].machine.applied.index, 10);
}

#[test]
fn purging_goes_no_further_than_snapshot_applied_and_durable() {
    let mut solo = Solo::new(3, 4, log_of(&[4; 8]));
    solo.append_committed(2, 4, LogId::new(8, 4), Vec::new(), 6);
    solo.step(Input::Purge { upto: 6 });
    assert_eq!(solo.cluster.status(1).purged.index, 0, "no snapshot");
    solo.cluster.snapshot(1, 6);
    solo.step(Input::Purge { upto: u64::MAX });
    assert_eq!(solo.cluster.status(1).purged, LogId::new(6, 4));
    solo.step(Input::Purge { upto: 3 });
    assert_eq!(solo.cluster.status(1).purged, LogId::new(6, 4), "never back");
    solo.persist_all();
    assert_eq!(solo.cluster.nodes[&1].disk.purged, LogId::new(6, 4));
}

#[test]
fn a_transfer_that_fails_is_tried_again_and_one_that_arrives_is_followed_by_the_log() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.isolate(3);
    for _ in 0..20 {
        cluster.propose(1, b"x");
    }
    cluster.advance(HEARTBEAT);
    cluster.snapshot(1, 2);
    cluster.settle();
    cluster.heal();
    // Heartbeats pass, the snapshot does not.
    for _ in 0..3 {
        while cluster.nodes[&1].sending.is_empty() {
            if !cluster.deliver() {
                cluster.due(1);
            }
        }
        assert_eq!(cluster.status(1).progress[1].state, "snapshot");
        let (to, at_least) = cluster.node(1).sending.pop_front().unwrap();
        assert_eq!((to, at_least), (3, cluster.status(1).purged.index));
        cluster.step(1, Input::SnapshotSent { to, delivered: None });
        assert_eq!(cluster.status(1).progress[1].state, "probe");
        assert!(cluster.nodes[&1].sending.is_empty(), "not at once");
    }
    cluster.advance(6 * HEARTBEAT);
    cluster.assert_equal();
    assert_eq!(cluster.status(1).progress[1].state, "replicate");
}

#[test]
fn while_a_snapshot_is_sent_no_appends_are_but_heartbeats_are() {
    let mut small: Settings = settings();
    small.tail_bytes = 0;
    let mut solo = Solo::with(&small, &seen(3), 4, log_of(&[4; 4]));
    solo.win();
    solo.accepted(2, 5);
    solo.cluster.snapshot(1, 0);
    solo.persist_all();
    solo.heartbeat_reply(3, 1, 0);
    solo.rejected(3, 4, LogId::ZERO);
    assert_eq!(solo.cluster.status(1).progress[1].state, "snapshot");
    let (_, sent) = solo.propose(b"x");
    assert!(kinds(&sent, 3).is_empty());
    let sent = solo.due();
    assert!(kinds(&sent, 3).iter().all(|kind| *kind == "Heartbeat"));
    solo.rejected(3, 4, LogId::ZERO);
    solo.step(Input::Unreachable(3));
    assert_eq!(solo.cluster.status(1).progress[1].state, "snapshot");
    // Nonsense about what was delivered does not stop the follower's replication.
    solo.step(Input::SnapshotSent { to: 3, delivered: Some(1 << 40) });
    solo.cluster.now += HEARTBEAT;
    solo.heartbeat_reply(3, 1, 0);
    solo.cluster.now += HEARTBEAT;
    solo.heartbeat_reply(3, 1, 0);
    assert_eq!(solo.cluster.status(1).progress[1].state, "snapshot", "it is sent again");
}

#[test]
fn an_old_leaders_snapshot_is_still_of_committed_entries() {
    let mut solo = Solo::new(3, 6, log_of(&[1]));
    let sent = install(&mut solo, 4, &snapshot(10, 3));
    assert_eq!((sent[0].term, matched(&sent)), (6, vec![10]), "and its sender learns the new term");
    assert_eq!(solo.commit(), 10);
}
