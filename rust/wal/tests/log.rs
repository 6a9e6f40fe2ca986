//! What the log keeps, drops and gives back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{append, entries, entries_of, open, options, payload, read_all, same, store, vote};
use d_engine_raft::{Configuration, Draft, EntryKind, HardState, LogId, Member, MemberRole, Persist};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Options, Wal, WalError};

/// Class 1: term and vote are as durable as entries.
#[test]
fn what_was_synced_is_there_after_a_power_cut() {
    let files = MemFiles::new(1);
    let (wal, found) = open(&files);
    assert_eq!(found, d_engine_wal::Recovered::default());
    store(&wal, &[vote(3, Some(2)), append(entries(1, 5, 3, 100))]);
    store(&wal, &[append(entries(6, 6, 4, 0))]);
    let written = read_all(&wal);
    drop(wal);
    files.power_cut(2);
    let (wal, found) = open(&files);
    assert_eq!(found.hard_state, HardState { term: 3, vote: Some(2) });
    assert_eq!((found.purged, found.last), (LogId::ZERO, LogId::new(6, 4)));
    assert_eq!(found.term_runs, [(1, 3), (6, 4)]);
    assert_eq!(found.last_time, 1_700_000_000_000_006);
    same(&read_all(&wal), &written);
    assert_eq!(written.len(), 6);
}

/// Class 2: a power cut leaves the old term with its vote or the new term with its vote, and entries never without the term
/// they were written with.
#[test]
fn class_02_term_and_vote_change_in_one_piece() {
    for seed in 0..100 {
        let files = MemFiles::new(seed);
        let (wal, _) = open(&files);
        store(&wal, &[vote(4, Some(1))]);
        wal.write(&[vote(5, None)]).unwrap();
        wal.write(&[Persist { entries: entries(1, 20, 6, 300).into(), ..vote(6, Some(3)) }]).unwrap();
        drop(wal);
        files.power_cut(seed);
        let (_, found) = open(&files);
        let HardState { term, vote } = found.hard_state;
        assert!([(4, Some(1)), (5, None), (6, Some(3))].contains(&(term, vote)), "{found:?}");
        assert_eq!(found.last.index, if term == 6 { 20 } else { 0 });
    }
}

#[test]
fn one_write_is_one_batch_and_one_disk_write_and_its_sync_is_one_sync() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    let before = files.operations();
    for index in 1..=20 {
        store(&wal, &[vote(1, Some(1)), append(entries(index, index, 1, 256))]);
    }
    let after = files.operations();
    assert_eq!(after.writes - before.writes, 20);
    assert_eq!(after.syncs - before.syncs, 20);
    assert_eq!((after.names, after.directory_syncs), (before.names, before.directory_syncs));
    let counters = wal.counters();
    assert_eq!((counters.batches, counters.syncs, counters.records, counters.bytes), (20, 20, 20, 20 * 4096));
}

#[test]
fn units_of_one_write_act_in_their_order() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 10, 1, 10))]);
    store(
        &wal,
        &[
            append(entries(11, 12, 1, 10)),
            Persist { truncate_from: Some(12), entries: entries(12, 14, 2, 10).into(), ..vote(2, None) },
            Persist { truncate_from: Some(8), entries: entries(8, 9, 3, 10).into(), ..vote(3, Some(1)) },
            append(entries(10, 10, 3, 10)),
        ],
    );
    let mut expected = entries(1, 7, 1, 10);
    expected.extend(entries(8, 9, 3, 10));
    expected.extend(entries(10, 10, 3, 10));
    same(&read_all(&wal), &expected);
    assert_eq!(wal.counters().batches, 2);
    drop(wal);
    let (wal, found) = open(&files);
    same(&read_all(&wal), &expected);
    assert_eq!(found.hard_state, HardState { term: 3, vote: Some(1) });
    assert_eq!(found.term_runs, [(1, 1), (8, 3)]);
}

#[test]
fn an_empty_write_makes_no_batch_and_no_sync() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    let before = files.operations();
    let written = wal.write(&[Persist::default()]).unwrap();
    wal.sync(written).unwrap();
    assert_eq!(files.operations(), before);
}

/// Class 33: reads never see what was replaced.
#[test]
fn truncation_survives_a_restart_and_old_entries_never_come_back() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 50, 1, 30))]);
    store(&wal, &[append(entries(51, 90, 2, 30))]);
    store(&wal, &[Persist { truncate_from: Some(40), ..Persist::default() }]);
    assert_eq!(wal.last(), LogId::new(39, 1));
    assert_eq!(wal.read(39, 60, usize::MAX).unwrap().unwrap().len(), 1);
    store(&wal, &[append(entries(40, 41, 3, 30))]);
    let mut expected = entries(1, 39, 1, 30);
    expected.extend(entries(40, 41, 3, 30));
    same(&read_all(&wal), &expected);
    drop(wal);
    let (wal, found) = open(&files);
    assert_eq!(found.term_runs, [(1, 1), (40, 3)]);
    same(&read_all(&wal), &expected);
    // A read that begins in the middle of what was replaced.
    same(&wal.read(40, 100, 1).unwrap().unwrap(), &entries(40, 41, 3, 30)[..1]);
}

#[test]
fn truncating_everything_leaves_an_empty_log() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 3, 1, 30))]);
    store(&wal, &[Persist { truncate_from: Some(1), ..Persist::default() }]);
    assert_eq!(wal.last(), LogId::ZERO);
    drop(wal);
    let (wal, found) = open(&files);
    assert_eq!((found.last, found.term_runs), (LogId::ZERO, Vec::new()));
    assert!(read_all(&wal).is_empty());
}

/// Class 29: the snapshot's position, the hard state and the log behind it change in one piece.
#[test]
fn a_reset_empties_the_log_behind_the_snapshot_and_stays_after_a_restart() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 2000, 1, 400))]);
    let used = files.operations().names;
    let to = LogId::new(5000, 7);
    store(&wal, &[Persist { reset_to: Some(to), entries: entries(5001, 5002, 7, 10).into(), ..vote(7, None) }]);
    assert_eq!((wal.purged(), wal.last()), (to, LogId::new(5002, 7)));
    assert_eq!(wal.read(5000, 5003, usize::MAX).unwrap(), None);
    same(&wal.read(5001, 5003, usize::MAX).unwrap().unwrap(), &entries(5001, 5002, 7, 10));
    assert!(files.operations().names > used, "the segments before it are given up");
    drop(wal);
    files.power_cut(9);
    let (_, found) = open(&files);
    assert_eq!((found.purged, found.last), (to, LogId::new(5002, 7)));
    assert_eq!(found.term_runs, [(5001, 7)]);
    assert_eq!(found.hard_state.term, 7);
}

#[test]
fn a_reset_may_go_back() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 1500, 1, 400))]);
    store(&wal, &[Persist { reset_to: Some(LogId::new(700, 9)), ..Persist::default() }]);
    store(&wal, &[append(entries(701, 1800, 9, 400))]);
    drop(wal);
    let (wal, found) = open(&files);
    assert_eq!((found.purged, found.last), (LogId::new(700, 9), LogId::new(1800, 9)));
    same(&read_all(&wal), &entries(701, 1800, 9, 400));
}

#[test]
fn purged_entries_are_gone_and_the_point_keeps_its_term() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 10, 1, 100))]);
    store(&wal, &[append(entries(11, 20, 2, 100))]);
    wal.purge(LogId::new(12, 2)).unwrap();
    assert_eq!(wal.read(12, 20, usize::MAX).unwrap(), None);
    same(&wal.read(13, 21, usize::MAX).unwrap().unwrap(), &entries(11, 20, 2, 100)[2..]);
    assert!(matches!(
        wal.write(&[Persist { truncate_from: Some(12), ..Persist::default() }]),
        Err(WalError::TruncatesPurged { from: 12, purged: LogId { index: 12, term: 2 } })
    ));
    wal.close().unwrap();
    drop(wal);
    let (wal, found) = open(&files);
    assert_eq!((found.purged, found.last), (LogId::new(12, 2), LogId::new(20, 2)));
    assert_eq!(found.term_runs, [(13, 2)]);
    // All of it, down to nothing.
    wal.purge(LogId::new(20, 2)).unwrap();
    wal.close().unwrap();
    drop(wal);
    let (_, found) = open(&files);
    assert_eq!((found.purged, found.last), (LogId::new(20, 2), LogId::new(20, 2)));
    assert!(found.term_runs.is_empty());
}

/// Class 29: the log never loses its beginning before the purge point says why.
#[test]
fn a_purge_gives_whole_segments_back_only_once_its_point_is_durable() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    for first in (1..=2000).step_by(100) {
        store(&wal, &[append(entries(first, first + 99, 1, 400))]);
    }
    let before = files.contents("log-0000000000000001").map(|bytes| bytes.len());
    wal.purge(LogId::new(1500, 1)).unwrap();
    assert_eq!(files.contents("log-0000000000000001").map(|bytes| bytes.len()), before);
    let written = wal.write(&[append(entries(2001, 2001, 1, 1))]).unwrap();
    assert_eq!(files.contents("log-0000000000000001").map(|bytes| bytes.len()), before);
    wal.sync(written).unwrap();
    assert_eq!(files.contents("log-0000000000000001"), None);
    let counters = wal.counters();
    assert_eq!(counters.segments_recycled, 2);
    assert!(counters.segments_removed >= 1);
    drop(wal);
    files.power_cut(3);
    let (wal, found) = open(&files);
    assert_eq!((found.purged, found.last), (LogId::new(1500, 1), LogId::new(2001, 1)));
    assert_eq!(read_all(&wal).len(), 501);
}

#[test]
fn a_purge_beyond_the_end_or_of_another_term_resets() {
    for point in [LogId::new(8, 2), LogId::new(3, 2)] {
        let files = MemFiles::new(1);
        let (wal, _) = open(&files);
        store(&wal, &[append(entries(1, 5, 1, 100))]);
        wal.purge(point).unwrap();
        assert_eq!((wal.purged(), wal.last()), (point, point));
        drop(wal);
        files.power_cut(3);
        let (_, found) = open(&files);
        assert_eq!((found.purged, found.last), (point, point));
    }
}

#[test]
fn an_idle_purge_is_stored_by_the_marker() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 5, 1, 100))]);
    assert!(wal.idle().unwrap());
    wal.purge(LogId::new(3, 1)).unwrap();
    assert!(wal.idle().unwrap());
    drop(wal);
    files.power_cut(3);
    assert_eq!(open(&files).1.purged, LogId::new(3, 1));
}

#[test]
fn idle_costs_one_marker_and_then_nothing() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    assert!(!wal.idle().unwrap(), "nothing to vouch for");
    let written = wal.write(&[append(entries(1, 1, 1, 100))]).unwrap();
    assert!(!wal.idle().unwrap(), "a sync is still to come");
    wal.sync(written).unwrap();
    let before = files.operations();
    assert!(wal.idle().unwrap());
    assert_eq!(files.operations().syncs, before.syncs + 1);
    let before = files.operations();
    for _ in 0..100 {
        assert!(!wal.idle().unwrap());
    }
    assert_eq!(files.operations(), before);
    wal.close().unwrap();
    assert_eq!(files.operations(), before, "the marker is there already");
    assert!(matches!(wal.write(&[]), Err(WalError::Closed)));
    wal.close().unwrap();
}

#[test]
fn entries_that_do_not_continue_the_log_are_refused_and_change_nothing() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 2, 1, 10))]);
    let before = files.operations();
    for bad in [entries(4, 4, 1, 10), entries(2, 2, 1, 10)] {
        let found = bad[0].index();
        let refused = wal.write(&[append(bad)]);
        assert!(matches!(refused, Err(WalError::NotContiguous { expected: 3, found: f }) if f == found));
    }
    assert_eq!(files.operations(), before);
    store(&wal, &[append(entries(3, 3, 1, 10))]);
}

#[test]
fn reads_are_bounded_but_give_at_least_one_entry() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 100, 1, 936))]);
    assert_eq!(wal.read(1, 101, 0).unwrap().unwrap().len(), 1);
    same(&wal.read(50, 101, 10_000).unwrap().unwrap(), &entries(50, 59, 1, 936));
    assert_eq!(wal.read(99, 500, usize::MAX).unwrap().unwrap().len(), 2);
    assert!(wal.read(101, 102, 10).unwrap().unwrap().is_empty());
    assert!(wal.read(5, 5, 10).unwrap().unwrap().is_empty());
    assert_eq!(wal.read(0, 5, 10).unwrap(), None);
}

#[test]
fn a_read_scans_a_bounded_piece_wherever_it_begins() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    // Small batches, and one large one.
    for index in 1..=200 {
        store(&wal, &[append(entries(index, index, 1, 50))]);
    }
    store(&wal, &[append(entries(201, 1200, 1, 136))]);
    for index in (1..=1200).step_by(37) {
        let before = files.operations().reads;
        let one = wal.read(index, 1201, 1).unwrap().unwrap();
        assert_eq!((one.len(), one[0].index()), (1, index));
        assert_eq!(files.operations().reads, before + 1, "one piece of at most 64 KiB");
    }
    assert_eq!(read_all(&wal).len(), 1200);
}

#[test]
fn batches_over_a_segment_and_entries_over_a_segment_find_room() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    let mut payloads: Vec<Vec<u8>> = (1..=300).map(|index| payload(index, 1, 3000)).collect();
    payloads.push(payload(301, 1, 1 << 20));
    payloads.push(payload(302, 1, 5));
    payloads.push(payload(303, 1, 700_000));
    let all = entries_of(1, 1, &payloads);
    store(&wal, &[append(all.clone())]);
    same(&read_all(&wal), &all);
    drop(wal);
    files.power_cut(5);
    let (wal, found) = open(&files);
    assert_eq!(found.last.index, 303);
    same(&read_all(&wal), &all);
    // Behind them, and with a purge that meets segments of other sizes.
    store(&wal, &[append(entries(304, 900, 2, 3000))]);
    wal.purge(LogId::new(600, 2)).unwrap();
    store(&wal, &[append(entries(901, 1500, 2, 3000))]);
    same(&read_all(&wal), &entries(601, 1500, 2, 3000));
}

#[test]
fn an_entry_over_the_formats_bound_is_refused_by_name() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    let huge = entries_of(1, 1, &[vec![0; 64 << 20]]);
    assert!(matches!(wal.write(&[append(huge)]), Err(WalError::EntryTooLarge { index: 1, .. })));
    store(&wal, &[append(entries(1, 1, 1, 10))]);
}

#[test]
fn configurations_are_found_again_and_go_with_a_truncation() {
    let configuration = |port: u16| Configuration {
        members: vec![Member {
            id: 1,
            address: format!("127.0.0.1:{port}"),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: false,
            incarnation: None,
            leaving: false,
        }],
        outgoing: Vec::new(),
        min_election_timeout: 250_000,
    };
    let entry = |index, port| {
        let mut draft = Draft::default();
        draft.push(EntryKind::Configuration, &configuration(port).encode());
        let mut entries = Vec::new();
        draft.stamp(index, 1, 1, &mut entries);
        append(entries)
    };
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[entry(1, 1001), append(entries(2, 4, 1, 10)), entry(5, 1005), entry(6, 1006)]);
    store(&wal, &[Persist { truncate_from: Some(6), ..Persist::default() }]);
    drop(wal);
    let (wal, found) = open(&files);
    assert_eq!(found.configurations, [(1, configuration(1001)), (5, configuration(1005))]);
    wal.purge(LogId::new(2, 1)).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&files).1.configurations, [(5, configuration(1005))]);
}

#[test]
fn another_clusters_or_groups_log_is_refused() {
    let files = MemFiles::new(1);
    drop(open(&files));
    let before = files.operations();
    let other = Options { cluster_id: 9, ..options(256 << 10) };
    assert!(matches!(Wal::open(files.clone(), other), Err(WalError::WrongCluster { found_group: 0, .. })));
    let other = Options { group: 4, ..options(256 << 10) };
    assert!(matches!(Wal::open(files.clone(), other), Err(WalError::WrongCluster { group: 4, .. })));
    assert_eq!(files.operations().writes, before.writes);
    let nonsense = Options { segment_bytes: 1000, ..options(0) };
    assert!(matches!(Wal::open(files, nonsense), Err(WalError::Options(_))));
}
