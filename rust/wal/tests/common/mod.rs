//! What the tests of the log share.
#![allow(dead_code, reason = "every test file uses some of it")]

use d_engine_raft::{Draft, Entry, HardState, Index, NodeId, Persist, Term};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Options, Recovered, Wal, WalError};

pub const CLUSTER: u128 = 0xc1c1_0000_1111_2222_3333_4444_5555_6666;

/// Small segments, no thread: every run of a test does the same on disk.
pub fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, cluster_id: CLUSTER, group: 0, salt: 0x5a17, background: false }
}

pub fn open(files: &MemFiles) -> (Wal<MemFiles>, Recovered) {
    try_open(files).unwrap()
}

pub fn try_open(files: &MemFiles) -> Result<(Wal<MemFiles>, Recovered), WalError> {
    Wal::open(files.clone(), options(256 << 10))
}

/// Entries of these payloads, from `first` on.
pub fn entries_of(first: Index, term: Term, payloads: &[Vec<u8>]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, payload) in (first..).zip(payloads) {
        Draft::command(payload).stamp(index, term, 1_700_000_000_000_000 + index, &mut entries);
    }
    entries
}

/// Compares without printing payloads.
#[track_caller]
pub fn same(found: &[Entry], expected: &[Entry]) {
    let ids = |entries: &[Entry]| entries.iter().map(Entry::id).collect::<Vec<_>>();
    if found != expected {
        assert_eq!(ids(found), ids(expected));
        panic!("the same entries with other bytes");
    }
}

/// A recognizable payload.
pub fn payload(index: Index, term: Term, bytes: usize) -> Vec<u8> {
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ term;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()[7]
        })
        .collect()
}

/// Entries `first..=last` with payloads of so many bytes.
pub fn entries(first: Index, last: Index, term: Term, bytes: usize) -> Vec<Entry> {
    let payloads: Vec<Vec<u8>> = (first..=last).map(|index| payload(index, term, bytes)).collect();
    entries_of(first, term, &payloads)
}

pub fn append(entries: Vec<Entry>) -> Persist {
    Persist { entries: entries.into(), ..Persist::default() }
}

pub fn vote(term: Term, vote: Option<NodeId>) -> Persist {
    Persist { hard_state: Some(HardState { term, vote }), ..Persist::default() }
}

/// Writes and syncs.
pub fn store(wal: &Wal<MemFiles>, units: &[Persist]) {
    let written = wal.write(units).unwrap();
    wal.sync(written).unwrap();
}

/// Everything behind the purge point.
pub fn read_all(wal: &Wal<MemFiles>) -> Vec<Entry> {
    let first = wal.purged().index + 1;
    wal.read(first, wal.last().index + 1, usize::MAX).unwrap().unwrap()
}

/// Whether the long counts are wanted.
pub fn full() -> bool {
    std::env::var_os("D_ENGINE_FULL").is_some_and(|value| value != "0")
}

/// `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
