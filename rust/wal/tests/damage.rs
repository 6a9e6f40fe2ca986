//! A torn tail is cut, a damaged middle is refused by name, and what was cut off never comes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{append, entries, full, open, options, read_all, same, store, try_open, vote};
use d_engine_raft::{HardState, LogId, Persist};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Wal, WalError, inspect_files, verify_files};

const FIRST: &str = "log-0000000000000001";
const PAGE: u64 = 4096;

/// Five batches behind the first (pages 1 to 6; the second of them takes two), and nothing that vouches for the last one.
fn sample() -> (MemFiles, u64) {
    let files = MemFiles::new(1);
    let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
    store(&wal, &[vote(2, Some(1)), append(entries(1, 2, 1, 300))]);
    store(&wal, &[append(entries(3, 8, 1, 900))]);
    store(&wal, &[Persist { truncate_from: Some(6), entries: entries(6, 6, 2, 0).into(), ..Persist::default() }]);
    store(&wal, &[vote(3, None)]);
    store(&wal, &[append(entries(7, 9, 3, 400))]);
    drop(wal);
    (files.copy(), 6 * PAGE)
}

fn try_small(files: &MemFiles) -> Result<(Wal<MemFiles>, d_engine_wal::Recovered), WalError> {
    Wal::open(files.clone(), options(64 << 10))
}

/// Every byte, or some of them where the count would take long.
fn some(from: u64, to: u64, step: usize) -> impl Iterator<Item = u64> {
    (from..to).step_by(if full() { 1 } else { step })
}

#[test]
fn class_36_every_byte_of_the_last_batch_cut_or_flipped_opens() {
    let (sample, last) = sample();
    for offset in last..last + PAGE {
        let cut = offset % 2 == 0 || full();
        let flipped = offset % 2 == 1 || full();
        for way in [cut.then_some(true), flipped.then_some(false)].into_iter().flatten() {
            let files = sample.copy();
            if way {
                files.truncate(FIRST, offset);
            } else {
                assert!(files.flip(FIRST, offset, 1 << (offset % 8)));
            }
            let (wal, found) = try_small(&files).unwrap_or_else(|error| panic!("byte {offset}: {error}"));
            let whole = found.last == LogId::new(9, 3);
            // Only the padding may be missing without harm.
            assert!(whole || found.last == LogId::new(6, 2), "byte {offset}: {found:?}");
            assert!(!whole || (way && offset >= last + 160 + 3 * 464), "byte {offset}");
            assert_eq!(found.hard_state, HardState { term: 3, vote: None });
            // It goes on from there, and the next start finds that.
            if offset % 64 < 2 {
                let next = found.last.index + 1;
                store(&wal, &[append(entries(next, next + 2, 4, 100))]);
                drop(wal);
                files.power_cut(offset);
                assert_eq!(try_small(&files).unwrap().1.last, LogId::new(next + 2, 4), "byte {offset}");
            }
        }
    }
}

#[test]
fn class_36_every_flip_at_or_below_what_is_known_to_be_durable_is_refused_by_name() {
    let (files, last) = sample();
    let before = files.contents(FIRST);
    for offset in some(0, last, 7) {
        let mask = 1 << (offset % 8);
        assert!(files.flip(FIRST, offset, mask));
        let batch = match offset / PAGE {
            3 => 2,
            page => page,
        };
        let index = [1, 1, 3, 0, 9, 7][usize::try_from(batch).unwrap()];
        for refused in [try_small(&files).map(|_| ()), verify_files(&files).map(|_| ())] {
            match refused {
                Err(WalError::CorruptLog { segment, offset: at, index: first, .. }) => {
                    assert_eq!((segment.as_str(), at, first), (FIRST, batch * PAGE, index), "byte {offset}");
                }
                other => panic!("byte {offset}: {other:?}"),
            }
        }
        assert!(files.flip(FIRST, offset, mask));
    }
    assert_eq!(files.contents(FIRST), before, "a refused log is left as it is");
    assert!(try_small(&files).is_ok());
}

#[test]
fn a_marker_turns_the_last_batch_from_a_tail_into_what_must_not_be_cut() {
    for close in [false, true] {
        let (files, last) = sample();
        let (wal, _) = try_small(&files).unwrap();
        assert!(close || wal.idle().unwrap());
        wal.close().unwrap();
        drop(wal);
        for offset in some(last, last + PAGE, 5) {
            assert!(files.flip(FIRST, offset, 0x10));
            let refused = try_small(&files);
            assert!(matches!(refused, Err(WalError::CorruptLog { index: 7, .. })), "byte {offset}");
            assert!(files.flip(FIRST, offset, 0x10));
        }
        // The marker itself vouches for nothing that is in it.
        assert!(files.flip(FIRST, last + PAGE + 40, 1));
        assert_eq!(try_small(&files).unwrap().1.last, LogId::new(9, 3));
    }
}

#[test]
fn a_missing_segment_is_refused() {
    use d_engine_wal::Files;
    let files = MemFiles::new(1);
    let (wal, _) = try_small(&files).unwrap();
    for first in (1..=600).step_by(10) {
        store(&wal, &[append(entries(first, first + 9, 1, 400))]);
    }
    drop(wal);
    let names = files.list().unwrap();
    assert!(names.len() > 4);
    for name in &names[..names.len() - 1] {
        let files = files.copy();
        files.remove(name).unwrap();
        assert!(matches!(try_small(&files), Err(WalError::CorruptLog { .. })), "without {name}");
        assert!(inspect_files(&files).unwrap().damage.is_some());
    }
}

/// A crash may leave a prepared segment that will never be used, with an epoch between those in use.
#[test]
fn a_segment_that_was_only_prepared_is_no_gap() {
    let files = MemFiles::new(1);
    files.put("log-0000000000000003", &vec![0; 64 << 10]);
    let (wal, _) = try_small(&files).unwrap();
    store(&wal, &[append(entries(1, 400, 1, 400))]);
    drop(wal);
    assert!(files.contents("log-0000000000000003").is_none());
    assert!(files.contents("log-0000000000000005").is_some());
    files.put("log-0000000000000003", &vec![0; 64 << 10]);
    // Recycled: full of what another epoch left.
    files.put("log-0000000000000002", &files.contents("log-0000000000000005").unwrap());
    let (wal, _) = try_small(&files).unwrap();
    assert_eq!(read_all(&wal).len(), 400);
    assert!(files.contents("log-0000000000000003").is_none());
}

#[test]
fn a_flip_in_an_older_segment_is_refused() {
    let files = MemFiles::new(1);
    let (wal, _) = try_small(&files).unwrap();
    for first in (1..=600).step_by(10) {
        store(&wal, &[append(entries(first, first + 9, 1, 400))]);
    }
    for name in ["log-0000000000000001", "log-0000000000000002", "log-0000000000000004"] {
        for offset in [0, 9, 20, 44, 5000, 16_000] {
            assert!(files.flip(name, offset, 4));
            match inspect_files(&files).unwrap().damage {
                Some(damage) => assert_eq!((damage.segment.as_str(), damage.offset / 8192), (name, offset / 8192)),
                None => panic!("{name} at {offset}"),
            }
            assert!(files.flip(name, offset, 4));
        }
    }
}

#[test]
fn a_damaged_entry_is_not_given_to_a_reader() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 3, 1, 500))]);
    assert!(files.flip(FIRST, PAGE + 160 + 564 + 100, 1));
    same(&wal.read(1, 2, 100).unwrap().unwrap(), &entries(1, 1, 1, 500));
    assert!(matches!(wal.read(2, 3, 100), Err(WalError::CorruptLog { index: 2, .. })));
    assert!(matches!(wal.read(1, 4, 10_000), Err(WalError::CorruptLog { index: 2, .. })));
}

/// Class 36 (acoustid #157): batches that stand behind a repaired tail must not be taken up again once the gap is filled.
#[test]
fn batches_behind_a_repaired_tail_stay_gone() {
    for seed in 0..if full() { 400 } else { 40 } {
        let term = 1 + seed % 2;
        let files = MemFiles::new(seed);
        let (wal, _) = try_small(&files).unwrap();
        store(&wal, &[append(entries(1, 3, 1, 200))]);
        // Two batches in flight; the first is lost, the second stays.
        wal.write(&[append(entries(4, 5, 1, 200))]).unwrap();
        wal.write(&[append(entries(6, 7, 1, 200))]).unwrap();
        drop(wal);
        files.flip(FIRST, 2 * PAGE + 3, 0xff).then_some(()).unwrap();
        let (wal, found) = try_small(&files).unwrap();
        assert_eq!(found.last.index, 3);
        assert_eq!(found.cut.unwrap().offset, 2 * PAGE);
        // The same place in the log again, and the same size; even the same term fits.
        store(&wal, &[append(entries(4, 5, term, 200))]);
        drop(wal);
        files.power_cut(seed);
        let (wal, found) = try_small(&files).unwrap();
        assert_eq!(found.last, LogId::new(5, term));
        same(&read_all(&wal)[3..], &entries(4, 5, term, 200));
        store(&wal, &[append(entries(6, 6, term, 1))]);
        drop(wal);
        assert_eq!(try_small(&files).unwrap().1.last, LogId::new(6, term));
    }
}

/// A head may reach the disk while its records do not, where good records of the same indexes stood before.
#[test]
fn a_head_over_the_records_of_another_batch_is_a_torn_tail() {
    let of_term = |term| {
        let files = MemFiles::new(1);
        let (wal, _) = try_small(&files).unwrap();
        store(&wal, &[append(entries(1, 3, term, 200))]);
        files.contents(FIRST).unwrap()
    };
    let (old, mut torn) = (of_term(1), of_term(2));
    let records = usize::try_from(PAGE).unwrap() + 160;
    torn[records..].copy_from_slice(&old[records..]);
    let files = MemFiles::new(1);
    files.put(FIRST, &torn);
    let (_, found) = try_small(&files).unwrap();
    assert_eq!(found.last, LogId::ZERO);
    assert!(found.cut.is_some());
}

#[test]
fn what_a_recycled_segment_held_before_is_void() {
    let files = MemFiles::new(7);
    let (wal, _) = try_small(&files).unwrap();
    let mut next = 1;
    for _ in 0..200 {
        store(&wal, &[append(entries(next, next + 4, 1, 700))]);
        next += 5;
        if next % 50 == 1 {
            wal.purge(LogId::new(next - 10, 1)).unwrap();
        }
    }
    let counters = wal.counters();
    assert!(counters.segments_recycled > 5, "{counters:?}");
    drop(wal);
    files.power_cut(3);
    let (wal, found) = try_small(&files).unwrap();
    assert_eq!((found.last.index, found.cut), (next - 1, None));
    same(&read_all(&wal), &entries(found.purged.index + 1, next - 1, 1, 700));
}

/// An entry may contain anything, pieces of other logs and of this one too.
#[test]
fn payloads_that_look_like_batches_are_not_taken_for_some() {
    let other = MemFiles::new(2);
    let (wal, _) = Wal::open(other.clone(), d_engine_wal::Options { salt: 77, ..options(64 << 10) }).unwrap();
    for index in 1..=9 {
        store(&wal, &[append(entries(index, index, 1, 50))]);
    }
    let piece = other.contents(FIRST).unwrap();
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 1, 1, 10))]);
    // Put so that its pages fall on page boundaries, in a batch whose head is then lost.
    let lead = usize::try_from(PAGE).unwrap() - 160 - 64;
    let payload = [vec![1; lead], piece].concat();
    wal.write(&[append(common::entries_of(2, 1, &[payload]))]).unwrap();
    drop(wal);
    assert!(files.flip(FIRST, 2 * PAGE, 1));
    let (wal, found) = try_open(&files).unwrap();
    assert_eq!(found.last.index, 1);
    store(&wal, &[append(entries(2, 2, 2, 10))]);
    drop(wal);
    assert_eq!(open(&files).1.last, LogId::new(2, 2));
}

#[test]
fn a_log_that_was_never_finished_being_made_is_made_again() {
    for operations in 0..6 {
        for seed in 0..20 {
            let files = MemFiles::new(seed);
            files.cut_after(operations);
            let opened = try_small(&files);
            if files.is_dead() {
                assert!(opened.is_err());
            }
            files.power_cut(seed);
            let (wal, found) = try_small(&files).unwrap();
            assert_eq!(found.last, LogId::ZERO);
            store(&wal, &[append(entries(1, 1, 1, 1))]);
        }
    }
}
