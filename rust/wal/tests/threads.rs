//! Several threads on one log: two batches deep, readers beside, segments made and released in the background.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use common::{append, entries, options, same};
use d_engine_raft::LogId;
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

/// Files that notice syncs beside each other, and that make a sync wait until a write has run beside it.
#[derive(Clone)]
struct Watched {
    files: MemFiles,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    syncing: AtomicU64,
    most: AtomicU64,
    meeting: Mutex<Option<Arc<Barrier>>>,
}

struct WatchedFile {
    file: MemFile,
    watch: Arc<Watch>,
}

impl Watched {
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

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(buffers, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let now = self.watch.syncing.fetch_add(1, Ordering::SeqCst) + 1;
        self.watch.most.fetch_max(now, Ordering::SeqCst);
        let meeting = self.watch.meeting.lock().unwrap().take();
        if let Some(meeting) = meeting {
            meeting.wait(); // the sync has begun
            meeting.wait(); // the write beside it is done
        }
        let done = self.file.sync();
        self.watch.syncing.fetch_sub(1, Ordering::SeqCst);
        done
    }
}

#[test]
fn a_write_runs_beside_a_sync_and_that_sync_does_not_vouch_for_it() {
    let files = Watched { files: MemFiles::new(5), watch: Arc::default() };
    let (wal, _) = Wal::open(files.clone(), options(256 << 10)).unwrap();
    let first = wal.write(&[append(entries(1, 1, 1, 10))]).unwrap();
    let meeting = Arc::new(Barrier::new(2));
    *files.watch.meeting.lock().unwrap() = Some(Arc::clone(&meeting));
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
    let files = Watched { files: MemFiles::new(5), watch: Arc::default() };
    let (wal, _) = Wal::open(files.clone(), options(256 << 10)).unwrap();
    hand_over_hand(&wal, 300);
    assert_eq!(files.watch.most.load(Ordering::SeqCst), 1);
    assert_eq!(wal.last().index, 900);
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
