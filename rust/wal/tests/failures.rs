//! Disks that fail: a failed sync or write ends the log (class 35), and a restart trusts nothing that it left.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{append, entries, open, options, store, try_open};
use d_engine_raft::LogId;
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Wal, WalError};

#[test]
fn class_35_a_failed_sync_poisons_the_log_for_ever() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    store(&wal, &[append(entries(1, 1, 1, 100))]);
    let first = wal.write(&[append(entries(2, 2, 1, 100))]).unwrap();
    let second = wal.write(&[append(entries(3, 3, 1, 100))]).unwrap();
    files.fail_sync(0);
    assert!(matches!(wal.sync(first), Err(WalError::Io { operation: "sync", .. })));
    // The disk works again, and would say yes.
    let syncs = files.operations().syncs;
    for _ in 0..3 {
        assert!(matches!(wal.sync(first), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.sync(second), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.write(&[append(entries(4, 4, 1, 1))]), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.purge(LogId::new(1, 1)), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.idle(), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.close(), Err(WalError::Poisoned { .. })));
    }
    assert_eq!(files.operations().syncs, syncs);
    assert_eq!(wal.read(1, 2, 1).unwrap().unwrap().len(), 1, "what is durable can still be read");
}

#[test]
fn class_35_after_a_failed_sync_a_restart_writes_again_what_the_system_takes_for_clean() {
    for seed in 0..60 {
        let files = MemFiles::new(seed);
        let (wal, _) = open(&files);
        let written = wal.write(&[append(entries(1, 20, 1, 500))]).unwrap();
        files.fail_sync(0);
        assert!(wal.sync(written).is_err());
        drop(wal);
        // No power cut: the system still shows the batch, and would call a sync of it a success without writing.
        let (wal, found) = open(&files);
        assert_eq!(found.last.index, 20);
        drop(wal);
        files.power_cut(seed);
        assert_eq!(open(&files).1.last.index, 20, "seed {seed}: it was given out as durable");
    }
}

#[test]
fn a_failed_write_poisons_the_log_and_leaves_a_tail() {
    for seed in 0..40 {
        let files = MemFiles::new(seed);
        let (wal, _) = open(&files);
        store(&wal, &[append(entries(1, 1, 1, 100))]);
        files.fail_write(0);
        assert!(matches!(wal.write(&[append(entries(2, 9, 1, 900))]), Err(WalError::Io { operation: "write", .. })));
        assert!(matches!(wal.write(&[append(entries(2, 2, 1, 1))]), Err(WalError::Poisoned { .. })));
        drop(wal);
        let (wal, found) = open(&files);
        assert!(found.last.index == 1 || found.last.index == 9);
        let next = found.last.index + 1;
        store(&wal, &[append(entries(next, next, 2, 1))]);
    }
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let files = MemFiles::new(1);
    let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
    files.set_capacity(Some(3 * 64 * 1024));
    let mut stored = 0;
    let error = loop {
        match wal.write(&[append(entries(stored + 1, stored + 5, 1, 700))]) {
            Ok(written) => wal.sync(written).unwrap(),
            Err(error) => break error,
        }
        stored += 5;
    };
    assert!(error.to_string().contains("log-"), "{error}");
    let WalError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    drop(wal);
    files.set_capacity(None);
    let (wal, found) = Wal::open(files, options(64 << 10)).unwrap();
    assert_eq!(found.last.index, stored);
    store(&wal, &[append(entries(stored + 1, stored + 50, 1, 700))]);
}

#[test]
fn a_disk_that_fails_while_a_log_is_opened_is_named() {
    let files = MemFiles::new(1);
    files.fail_sync(0);
    assert!(matches!(try_open(&files), Err(WalError::Io { operation: "sync", .. })));
    assert!(try_open(&files).is_ok());
}

/// Class 34: nothing counts before its sync has returned, in whatever order syncs are asked for.
#[test]
fn a_later_sync_covers_earlier_writes_and_an_earlier_one_costs_nothing_then() {
    let files = MemFiles::new(1);
    let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
    let first = wal.write(&[append(entries(1, 40, 1, 1000))]).unwrap();
    let second = wal.write(&[append(entries(41, 80, 1, 1000))]).unwrap();
    assert!(second > first);
    let before = files.operations().syncs;
    wal.sync(second).unwrap();
    assert_eq!(files.operations().syncs - before, 2, "the segment before, then this one");
    wal.sync(first).unwrap();
    assert_eq!(files.operations().syncs - before, 2);
    files.power_cut(1);
    drop(wal);
    assert_eq!(Wal::open(files, options(64 << 10)).unwrap().1.last.index, 80);
}
