//! Several threads on one log: two batches deep, readers beside, segments made and released in the background.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use common::{append, entries, options, same};
use d_engine_raft::{LogId, Persist};
use d_engine_wal::mem::{MemFile, MemFiles};
use d_engine_wal::{DiskFiles, File, Files, Options, Wal};

/// Two threads hand over the write turn and then the sync turn, as the node's log threads do.
fn hand_over_hand<F: Files>(wal: &Wal<F>, batches: u64) {
    let next = Mutex::new(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let mut turn = next.lock().unwrap();
                    let first = *turn;
                    if first > batches * 3 {
                        return;
                    }
                    let written = wal.write(&[append(entries(first, first + 2, 1, 900))]).unwrap();
                    *turn = first + 3;
                    drop(turn);
                    wal.sync(written).unwrap();
                }
            });
        }
    });
}

#[test]
fn readers_and_purges_beside_two_writers_see_only_whole_entries() {
    let home = tempfile::tempdir().unwrap();
    let options = || Options { background: true, ..options(64 << 10) };
    let (wal, _) = Wal::open(DiskFiles::new(home.path()), options()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (wal, done) = (&wal, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let last = wal.last();
                let from = (wal.purged().index + 1).max(last.index.saturating_sub(120));
                // `None`: purged meanwhile.
                if let Some(found) = wal.read(from, last.index + 1, 50_000).unwrap()
                    && let Some(end) = found.last()
                {
                    same(&found, &entries(from, end.index(), 1, 900));
                }
            }
        });
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let last = wal.last().index;
                if last > wal.purged().index + 300 {
                    wal.purge(LogId::new(last - 150, 1)).unwrap();
                }
                std::thread::yield_now();
            }
        });
        hand_over_hand(wal, 800);
        done.store(true, Ordering::Release);
    });
    wal.close().unwrap();
    let counters = wal.counters();
    assert_eq!((counters.records, counters.batches >= 800), (2400, true));
    assert!(counters.syncs <= counters.batches + counters.segments_made + counters.segments_recycled + 1);
    drop(wal);
    let (wal, found) = Wal::open(DiskFiles::new(home.path()), options()).unwrap();
    assert_eq!(found.last, LogId::new(2400, 1));
    let all = wal.read(found.purged.index + 1, 2401, usize::MAX).unwrap().unwrap();
    same(&all, &entries(found.purged.index + 1, 2400, 1, 900));
}

/// Files that notice syncs beside each other, and that can hold a call up until something has happened beside it.
#[derive(Clone)]
struct Watched {
    files: MemFiles,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    syncing: AtomicU64,
    most: AtomicU64,
    sync: Gate,
    read: Gate,
    rename: Gate,
}

/// Holds up the next call that passes: the test meets it when it has begun, and again when it may go on.
#[derive(Default)]
struct Gate(Mutex<Option<Arc<Barrier>>>);

impl Gate {
    fn close(&self) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        *self.0.lock().unwrap() = Some(Arc::clone(&barrier));
        barrier
    }

    fn pass(&self) {
        let barrier = self.0.lock().unwrap().take();
        if let Some(barrier) = barrier {
            barrier.wait();
            barrier.wait();
        }
    }
}

struct WatchedFile {
    file: MemFile,
    watch: Arc<Watch>,
}

impl Watched {
    fn new() -> Self {
        Self { files: MemFiles::new(5), watch: Arc::default() }
    }

    fn wrap(&self, file: MemFile) -> WatchedFile {
        WatchedFile { file, watch: Arc::clone(&self.watch) }
    }
}

impl Files for Watched {
    type File = WatchedFile;

    fn create(&self, name: &str) -> io::Result<WatchedFile> {
        self.files.create(name).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str) -> io::Result<WatchedFile> {
        self.files.open(name).map(|file| self.wrap(file))
    }

    fn open_read(&self, name: &str) -> io::Result<WatchedFile> {
        self.files.open_read(name).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.rename.pass();
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch.read.pass();
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(buffers, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let now = self.watch.syncing.fetch_add(1, Ordering::SeqCst) + 1;
        self.watch.most.fetch_max(now, Ordering::SeqCst);
        self.watch.sync.pass();
        let done = self.file.sync();
        self.watch.syncing.fetch_sub(1, Ordering::SeqCst);
        done
    }
}

#[test]
fn a_write_runs_beside_a_sync_and_that_sync_does_not_vouch_for_it() {
    let files = Watched::new();
    let (wal, _) = Wal::open(files.clone(), options(256 << 10)).unwrap();
    let first = wal.write(&[append(entries(1, 1, 1, 10))]).unwrap();
    let meeting = files.watch.sync.close();
    let second = std::thread::scope(|scope| {
        scope.spawn(|| wal.sync(first).unwrap());
        meeting.wait();
        let second = wal.write(&[append(entries(2, 2, 1, 10))]).unwrap();
        meeting.wait();
        second
    });
    let before = wal.counters().syncs;
    wal.sync(first).unwrap();
    assert_eq!(wal.counters().syncs, before);
    wal.sync(second).unwrap();
    assert_eq!(wal.counters().syncs, before + 1, "the second batch needs its own");
}

#[test]
fn syncs_never_run_beside_each_other() {
    let files = Watched::new();
    let (wal, _) = Wal::open(files.clone(), options(256 << 10)).unwrap();
    hand_over_hand(&wal, 300);
    assert_eq!(files.watch.most.load(Ordering::SeqCst), 1);
    assert_eq!(wal.last().index, 900);
}

/// Writes and syncs entries up to `last`, ten a batch.
fn fill(wal: &Wal<Watched>, last: u64) {
    while wal.last().index < last {
        let first = wal.last().index + 1;
        wal.sync(wal.write(&[append(entries(first, first + 9, 1, 900))]).unwrap()).unwrap();
    }
}

/// What a sync did not cover gives no reason to release anything.
#[test]
fn a_purge_or_reset_beside_a_sync_releases_segments_only_with_its_own_sync() {
    for reset in [false, true] {
        let files = Watched::new();
        let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
        fill(&wal, 300);
        let first = wal.write(&[append(entries(301, 301, 1, 10))]).unwrap();
        let before = files.list().unwrap().swap_remove(0);
        let meeting = files.watch.sync.close();
        let second = std::thread::scope(|scope| {
            scope.spawn(|| wal.sync(first).unwrap());
            meeting.wait();
            let unit = if reset {
                Persist { reset_to: Some(LogId::new(400, 2)), ..Persist::default() }
            } else {
                wal.purge(LogId::new(290, 1)).unwrap();
                append(entries(302, 302, 1, 10))
            };
            let second = wal.write(&[unit]).unwrap();
            meeting.wait();
            second
        });
        assert_eq!(files.list().unwrap()[0], before);
        wal.sync(second).unwrap();
        assert_ne!(files.list().unwrap()[0], before);
    }
}

/// Class 1: the hard state moves on with the first batch of the next segment, and has to be durable there.
#[test]
fn the_last_segment_with_the_vote_stays_until_the_next_one_is_durable() {
    let files = Watched::new();
    let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
    fill(&wal, 100);
    wal.purge(wal.last()).unwrap();
    // Durable with everything before it: only the segment in use is left, and perhaps one for later.
    for term in 5..9 {
        wal.sync(wal.write(&[common::vote(term, None)]).unwrap()).unwrap();
    }
    let before = files.list().unwrap();
    let voted = wal.write(&[common::vote(9, Some(2))]).unwrap();
    let meeting = files.watch.sync.close();
    std::thread::scope(|scope| {
        scope.spawn(|| wal.sync(voted).unwrap());
        meeting.wait();
        wal.write(&[append(entries(101, 160, 9, 900))]).unwrap();
        meeting.wait();
    });
    assert_eq!(files.list().unwrap()[..before.len()], before);
    drop(wal);
    files.files.power_cut(1);
    let (_, found) = Wal::open(files.files, options(64 << 10)).unwrap();
    assert_eq!((found.hard_state.term, found.hard_state.vote), (9, Some(2)));
}

#[test]
fn a_segment_is_not_recycled_under_a_reader() {
    let files = Watched::new();
    let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
    fill(&wal, 200);
    let meeting = files.watch.read.close();
    let found = std::thread::scope(|scope| {
        let reader = scope.spawn(|| wal.read(11, 31, usize::MAX));
        meeting.wait();
        wal.purge(LogId::new(190, 1)).unwrap();
        // Every segment that was recycled by then is full of other entries.
        fill(&wal, 600);
        meeting.wait();
        reader.join().unwrap()
    });
    assert!(wal.counters().segments_recycled > 0);
    // Purged on the way, or what stood there; never anything else.
    if let Some(found) = found.unwrap() {
        same(&found, &entries(11, 10 + found.len() as u64, 1, 900));
    }
}

/// Epochs are used in ascending order, whoever makes segments how fast.
#[test]
fn a_slow_recycling_does_not_put_an_old_epoch_behind_a_newer_one() {
    let files = Watched::new();
    let (wal, _) = Wal::open(files.clone(), Options { background: true, ..options(64 << 10) }).unwrap();
    fill(&wal, 300);
    let meeting = files.watch.rename.close();
    wal.purge(LogId::new(290, 1)).unwrap();
    fill(&wal, 310);
    meeting.wait();
    // The thread is held up in the middle of a recycling; the writer makes what it needs by itself.
    fill(&wal, 800);
    meeting.wait();
    while wal.counters().segments_recycled == 0 {
        std::thread::yield_now();
    }
    fill(&wal, 1500);
    drop(wal);
    let (wal, found) = Wal::open(files.files, options(64 << 10)).unwrap();
    assert_eq!((found.last.index, found.cut), (1500, None));
    assert_eq!(wal.read(291, 1501, usize::MAX).unwrap().unwrap().len(), 1210);
}

#[test]
fn no_thread_outlives_its_log() {
    let files = MemFiles::new(1);
    for _ in 0..20 {
        let options = Options { background: true, ..options(64 << 10) };
        let (wal, _) = Wal::open(files.clone(), options).unwrap();
        let first = wal.last().index + 1;
        let written = wal.write(&[append(entries(first, first + 60, 1, 700))]).unwrap();
        wal.sync(written).unwrap();
        // Dropping joins the thread that may just be making a segment.
        drop(wal);
    }
    assert_eq!(Wal::open(files, options(64 << 10)).unwrap().1.last.index, 20 * 61);
}
