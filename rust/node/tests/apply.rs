//! The apply rule and recovery on a simulated disk, without a thread: whatever a power cut leaves, the machine comes back to a
//! point of its history, and from there to the end of the log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::VecDeque;

use common::Tape;
use d_engine_node::apply::{AppliedState, Slot, Trouble, Why};
use d_engine_node::driver::{Failure, Piece, Wanted};
use d_engine_node::recover::recover;
use d_engine_node::storage::{DirectorySnapshots, LogBatch, LogTask, WalLog};
use d_engine_node::{Hello, LogStore, PROTOCOL_VERSION, SnapshotStore, StateMachine, StorageError};
use d_engine_raft::{Configuration, Draft, Entry, EntryKind, Incarnation, LogId, Persist, SplitMix64};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Files, Options};

fn hello() -> Hello {
    Hello {
        node: 1,
        incarnation: Incarnation(9),
        cluster: "apply".into(),
        cluster_id: 7,
        group: 0,
        recovery_epoch: 0,
        version: PROTOCOL_VERSION,
        initial: Configuration { members: Vec::new(), outgoing: Vec::new(), min_election_timeout: 1 },
    }
}

fn options() -> Options {
    Options { segment_bytes: 64 << 10, cluster_id: 7, group: 0, salt: 3, background: false }
}

fn command(index: u64) -> Entry {
    command_of(index, 1)
}

fn command_of(index: u64, term: u64) -> Entry {
    let mut out = Vec::new();
    Draft::command(&index.to_le_bytes()).stamp(index, term, index, &mut out);
    out.remove(0)
}

/// One life of a node's storage and machine.
struct Life {
    log: WalLog<MemFiles>,
    snapshots: DirectorySnapshots<MemFiles>,
    machine: Tape,
    state: AppliedState<Vec<u64>>,
    last: u64,
    term: u64,
}

impl Life {
    fn begin(disk: &MemFiles) -> Result<Self, StorageError> {
        let (log, loaded) = WalLog::open(disk.directory("log"), options())?;
        let snapshots = DirectorySnapshots::over(disk.directory("snapshots"), "snapshots");
        let recovered = recover(&hello(), loaded, &log, &snapshots)?;
        let mut state = AppliedState::new(recovered.configurations[0].clone());
        let mut machine = Tape::default();
        match state.bring_up(&mut machine, &snapshots, &recovered) {
            Ok(()) => {}
            Err(Trouble::Storage(error)) => return Err(error),
            Err(trouble) => panic!("{trouble}"),
        }
        let last = recovered.log.last;
        let mut life = Self { log, snapshots, machine, state, last, term: 1 };
        while life.state.last().index < last {
            let (lo, hi) = (life.state.last().index + 1, last + 1);
            let entries = life.log.read(lo, hi, 1000)?.unwrap_or_else(|| panic!("purged beyond the snapshot"));
            life.state.apply(&mut life.machine, &entries, Vec::new(), StateMachine::apply);
        }
        Ok(life)
    }

    fn write(&mut self, count: u64) -> Result<(), StorageError> {
        let entries: Vec<Entry> =
            (self.last + 1..=self.last + count).map(|index| command_of(index, self.term)).collect();
        let mut tasks =
            VecDeque::from([LogTask::Persist(Persist { entries: entries.clone().into(), ..Persist::default() })]);
        let batch = LogBatch::collect(&mut tasks, 1 << 20);
        self.log.write(&batch.units)?;
        self.log.sync()?;
        self.last += count;
        self.state.apply(&mut self.machine, &entries, Vec::new(), StateMachine::apply);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), StorageError> {
        let storage = |trouble| match trouble {
            Trouble::Storage(error) => error,
            Trouble::Plugin(failure) => panic!("{failure}"),
        };
        let making = self.state.snapshot(&mut self.machine, &self.snapshots, &hello()).map_err(storage)?;
        let head = making.unwrap().finish(&self.snapshots).map_err(storage)?;
        self.log.purge(LogId::new(head.last.index.saturating_sub(3), self.term))?;
        self.snapshots.retain(1)
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_a_machine_that_comes_back() {
    let mut found_snapshots = 0;
    for seed in 0..150 {
        let mut random = SplitMix64::new(seed);
        let disk = MemFiles::new(seed);
        disk.tear_sectors(seed % 2 == 0);
        let mut durable = 0;
        for _ in 0..4 {
            disk.cut_after(random.next() % 90);
            if let Ok(mut life) = Life::begin(&disk) {
                for _ in 0..8 {
                    if life.write(1 + random.next() % 5).is_err() {
                        break;
                    }
                    durable = life.last;
                    if random.next().is_multiple_of(3) && life.snapshot().is_err() {
                        break;
                    }
                }
            } else {
                assert!(disk.is_dead(), "seed {seed}: refused without a reason");
            }
            disk.power_cut(random.next());
        }
        let life = Life::begin(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(life.last >= durable, "seed {seed}: {} of {durable}", life.last);
        let expected: Vec<Vec<u8>> = (1..=life.last).map(|index| index.to_le_bytes().to_vec()).collect();
        assert!(life.machine.entries == expected, "seed {seed}: another history");
        found_snapshots += usize::from(life.snapshots.latest().unwrap().is_some());
    }
    assert!(found_snapshots > 75, "{found_snapshots}");
}

#[test]
fn a_rotten_snapshot_is_refused_by_name() {
    let mut refused = 0;
    for seed in 0..60 {
        let disk = MemFiles::new(seed);
        let mut life = Life::begin(&disk).unwrap();
        life.write(5).unwrap();
        life.snapshot().unwrap();
        let whole = life.machine.entries.clone();
        drop(life);
        let rotten = disk.directory("snapshots").rot(seed).unwrap();
        match Life::begin(&disk) {
            Ok(life) => assert_eq!(life.machine.entries, whole, "seed {seed}: {rotten:?}"),
            Err(StorageError::Corrupt { .. } | StorageError::Inconsistent(_)) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(refused > 30, "{refused}");
}

/// A crash came between the snapshot's commit and the log's reset: the entries that the snapshot covers were never here, or others
/// stood in their places.
#[test]
fn a_log_that_does_not_hold_the_snapshots_end_is_reset_to_it() {
    let source = MemFiles::new(1);
    let mut life = Life::begin(&source).unwrap();
    life.term = 2;
    life.write(9).unwrap();
    life.snapshot().unwrap();
    let (files, whole) = (source.directory("snapshots"), life.machine.entries.clone());
    for behind in [3, 9, 12] {
        let disk = MemFiles::new(2);
        let mut old = Life::begin(&disk).unwrap();
        old.write(behind).unwrap();
        drop(old);
        for name in files.list().unwrap() {
            disk.directory("snapshots").put(&name, &files.contents(&name).unwrap());
        }
        for _ in 0..2 {
            let life = Life::begin(&disk).unwrap();
            assert_eq!((life.last, life.state.last()), (9, LogId::new(9, 2)), "{behind} entries");
            assert_eq!(life.log.wal().purged(), LogId::new(9, 2));
            assert!(life.machine.entries == whole);
            drop(life);
            disk.power_cut(3);
        }
    }
}

fn wanted(range: std::ops::Range<usize>, id: u64, piece: Piece<&'static str>) -> (Slot, Option<&'static str>) {
    Slot::of(Wanted { range, id, deadline: None, piece }, 0)
}

/// Pieces of one proposal, in two batches, and one that the machine fails in.
#[test]
fn waiters_get_what_was_applied_and_why_there_is_no_more() {
    let mut state = AppliedState::new((0, hello().initial));
    let mut machine = Tape::default();
    let (first, none) = wanted(0..2, 1, Piece::More);
    assert_eq!(none, None);
    let done = state.apply(&mut machine, &[command(1), command(2)], vec![first], StateMachine::apply);
    assert!(done.ended[0].is_none());
    assert_eq!(done.applied, Some((LogId::new(2, 1), (command(1).size() + command(2).size()) as u64)));

    let mut failing = Vec::new();
    Draft::command(b"fail").stamp(5, 1, 5, &mut failing);
    let entries = [command(3), command(4), failing.remove(0), command(6)];
    let slots =
        [wanted(0..1, 1, Piece::Last("a")), wanted(1..3, 2, Piece::Last("b")), wanted(3..4, 3, Piece::Last("c"))];
    let slots = slots.map(|(slot, _)| slot).into();
    let done = state.apply(&mut machine, &entries, slots, StateMachine::apply);
    let [a, b, c] = done.ended.try_into().unwrap();
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    let why = Why::Failure(Failure::ApplyStopped);
    let stopped = Some(why);
    assert_eq!((a.outputs, a.why), (vec![vec![1, 2], vec![3]], None));
    assert_eq!((b.outputs, b.why), (vec![vec![4]], stopped));
    assert_eq!((c.outputs, c.why), (Vec::<Vec<u64>>::new(), stopped));
    assert_eq!(done.failure.unwrap().index, Some(5));
    assert_eq!((state.last().index, state.stopped()), (4, true));
    assert_eq!(state.check_read(4), Ok(()));
    assert_eq!(state.check_read(5), Err(why));

    // Nothing is applied any more, and whoever waits hears of it.
    let (late, _) = wanted(0..1, 4, Piece::Last("d"));
    let done = state.apply(&mut machine, &[command(6)], vec![late], StateMachine::apply);
    assert_eq!(done.applied, None);
    assert_eq!(done.ended[0].as_ref().unwrap().why, stopped);
    assert_eq!(machine.entries.len(), 4);
}

#[test]
fn a_witness_passes_over_and_remembers_the_place() {
    let mut state = AppliedState::<Vec<u64>>::new((0, hello().initial));
    state.set_witness(true);
    let mut machine = Tape::default();
    let (slot, _) = wanted(0..1, 1, Piece::Last("a"));
    let mut entries = vec![command(1)];
    let mut noop = Draft::default();
    noop.push(EntryKind::Noop, b"");
    noop.stamp(2, 1, 2, &mut entries);
    let done = state.apply(&mut machine, &entries, vec![slot], |_, _| panic!("there is no state"));
    assert_eq!(done.ended[0].as_ref().unwrap().why, Some(Why::Passed));
    assert_eq!(state.last(), LogId::new(2, 1));
    assert_eq!(state.check_read(0), Err(Why::Witness));
}
