//! Power cuts, kills and failures at random moments: nothing that a sync has confirmed is ever lost, and what is there after a
//! start is the log as it stood after one of the writes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{Random, entries_of, full, options, payload, read_all};
use d_engine_raft::{Entry, HardState, Index, LogId, Persist};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Options, Recovered, Wal, Written};

const QUICK_CASES: u64 = 350;
const FULL_CASES: u64 = 4_000;
/// Lives of one disk: each ends with a power cut, or with a kill and then a power cut while starting.
const LIVES: u64 = 3;

/// The log after one of the writes.
#[derive(Clone, Default)]
struct Model {
    hard_state: HardState,
    last: LogId,
    /// Up to here entries may be gone. They stay in `entries`, because a power cut may undo a purge.
    purged: LogId,
    /// Nothing up to here can come back.
    reset: LogId,
    entries: BTreeMap<Index, Entry>,
    /// The end of what the newest write kept: a power cut may leave some first entries of those that it appended.
    kept: LogId,
}

impl Model {
    fn apply(&mut self, units: &[Persist]) {
        self.kept = self.last;
        for unit in units {
            self.hard_state = unit.hard_state.unwrap_or(self.hard_state);
            if let Some(to) = unit.reset_to {
                self.entries.clear();
                (self.last, self.purged, self.reset, self.kept) = (to, to, to, to);
            }
            if let Some(from) = unit.truncate_from {
                self.entries.split_off(&from);
                self.last = self.id(from - 1);
                self.kept = if self.kept.index < from { self.kept } else { self.last };
            }
            for entry in &unit.entries {
                self.entries.insert(entry.index(), entry.clone());
                self.last = entry.id();
            }
        }
    }

    fn id(&self, index: Index) -> LogId {
        self.entries.get(&index).map_or(self.reset, Entry::id)
    }

    fn fits(&self, found: &Recovered, read: &[Entry]) -> bool {
        let first = found.purged.index + 1;
        found.hard_state == self.hard_state
            && (self.reset.index..=self.purged.index).contains(&found.purged.index)
            && found.purged == self.id(found.purged.index)
            && (self.kept.index..=self.last.index).contains(&found.last.index)
            && read.len() as u64 == found.last.index - found.purged.index
            && read.iter().zip(first..).all(|(entry, index)| self.entries.get(&index) == Some(entry))
    }

    fn of(found: &Recovered, read: Vec<Entry>) -> Self {
        Self {
            hard_state: found.hard_state,
            last: found.last,
            purged: found.purged,
            reset: found.purged,
            kept: found.last,
            entries: read.into_iter().map(|entry| (entry.index(), entry)).collect(),
        }
    }
}

struct Case {
    random: Random,
    /// The log after every write since the last confirmed one, which is the first.
    history: Vec<Model>,
    confirmed: u64,
}

impl Case {
    fn chance(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    fn unit(&mut self, model: &Model) -> Persist {
        let mut unit = Persist::default();
        let (mut term, mut last) = (model.hard_state.term, model.last);
        if self.chance(4) {
            term += self.random.below(3);
            unit.hard_state = Some(HardState { term, vote: Some(1 + self.random.below(3)) });
        }
        if self.chance(10) && last.index > model.purged.index {
            let from = model.purged.index + 1 + self.random.below(last.index - model.purged.index);
            unit.truncate_from = Some(from);
            last = model.id(from - 1);
        } else if self.chance(40) {
            last = LogId::new(model.purged.index + 1 + self.random.below(60), term.max(last.term) + 1);
            unit.reset_to = Some(last);
        }
        let term = term.max(last.term).max(1);
        let (count, bytes) = match self.random.below(12) {
            0 => (self.random.below(60), 3_000),
            1 => (1, 90_000),
            2 => (0, 1),
            _ => (1 + self.random.below(4), 600),
        };
        let payloads: Vec<Vec<u8>> = (0..count)
            .map(|_| payload(last.index, self.random.next(), usize::try_from(self.random.below(bytes)).unwrap()))
            .collect();
        unit.entries = entries_of(last.index + 1, term, &payloads).into();
        unit
    }

    /// Works until the power goes, something fails, or the process ends by itself.
    fn live(&mut self, wal: &Wal<MemFiles>) {
        let mut open: Vec<(Written, usize)> = Vec::new();
        for _ in 0..5 + self.random.below(40) {
            let alive = match self.random.below(16) {
                0 => self.purge(wal),
                1 => wal.idle().is_ok(),
                2..=6 if !open.is_empty() => self.sync(wal, &mut open),
                _ => self.write(wal, &mut open),
            };
            if !alive {
                return;
            }
        }
        if self.chance(4) && wal.close().is_ok() {
            self.confirm(self.history.len() - 1);
        }
    }

    /// Nothing older than that write may ever be seen again.
    fn confirm(&mut self, write: usize) {
        self.history.drain(..write);
        self.confirmed += 1;
    }

    fn purge(&mut self, wal: &Wal<MemFiles>) -> bool {
        let model = self.history.last_mut().unwrap();
        let room = model.last.index - model.purged.index;
        let index = model.purged.index + self.random.below(room + 1);
        let point = model.id(index);
        if index > model.purged.index {
            model.purged = point;
        }
        wal.purge(point).is_ok()
    }

    fn sync(&mut self, wal: &Wal<MemFiles>, open: &mut Vec<(Written, usize)>) -> bool {
        let at = usize::try_from(self.random.below(open.len() as u64)).unwrap();
        let (written, write) = open[at];
        if wal.sync(written).is_err() {
            return false;
        }
        self.confirm(write);
        open.drain(..=at);
        for (_, later) in open {
            *later -= write;
        }
        true
    }

    fn write(&mut self, wal: &Wal<MemFiles>, open: &mut Vec<(Written, usize)>) -> bool {
        let mut model = self.history.last().unwrap().clone();
        let mut after = model.clone();
        let mut units = Vec::new();
        for _ in 0..=self.random.below(2) {
            let unit = self.unit(&after);
            after.apply(std::slice::from_ref(&unit));
            units.push(unit);
        }
        model.apply(&units);
        self.history.push(model);
        let written = wal.write(&units);
        open.extend(written.as_ref().ok().map(|&written| (written, self.history.len() - 1)));
        written.is_ok()
    }
}

fn run(seed: u64, background: bool) -> (u64, u64) {
    let options = || Options { background, ..options(64 << 10) };
    let files = MemFiles::new(seed);
    let mut case = Case { random: Random(seed), history: vec![Model::default()], confirmed: 0 };
    let mut cuts = 0;
    for life in 0..LIVES {
        // Sometimes the start itself is cut off.
        if case.chance(5) {
            files.cut_after(case.random.below(12));
        }
        let opened = Wal::open(files.clone(), options());
        if let Ok((wal, found)) = opened {
            let read = read_all(&wal);
            assert!(
                case.history.iter().any(|model| model.fits(&found, &read)),
                "seed {seed}, life {life}: found {found:?} with {} entries, which is none of the last {} states: {:?}",
                read.len(),
                case.history.len(),
                case.history.iter().map(|model| (model.hard_state, model.purged, model.last)).collect::<Vec<_>>()
            );
            case.history = vec![Model::of(&found, read)];
            match case.random.below(6) {
                0 => files.fail_sync(case.random.below(10)),
                1 => files.fail_write(case.random.below(20)),
                2 => {}
                _ => files.cut_after(case.random.below(60)),
            }
            case.live(&wal);
        } else {
            assert!(files.is_dead(), "seed {seed}, life {life}: {:?}", opened.err());
        }
        files.calm();
        // A kill alone leaves what the system shows; the next life then begins without a cut.
        if files.is_dead() || !case.chance(4) {
            files.power_cut(case.random.next());
            cuts += 1;
        }
    }
    let (wal, found) = Wal::open(files, options()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let read = read_all(&wal);
    assert!(case.history.iter().any(|model| model.fits(&found, &read)), "seed {seed}: at the end {found:?}");
    (cuts, case.confirmed)
}

/// Class 37: what was acknowledged is never rolled back.
#[test]
fn nothing_that_was_confirmed_is_lost() {
    let cases = if full() { FULL_CASES } else { QUICK_CASES };
    let (mut cuts, mut confirmed) = (0, 0);
    for seed in 0..cases {
        let (more_cuts, more_confirmed) = run(seed, false);
        cuts += more_cuts;
        confirmed += more_confirmed;
    }
    println!("{cuts} power cuts, {confirmed} confirmed syncs, none lost");
    assert!(cuts > cases * 2);
}

/// The same with segments made and released on a thread, whose work the cuts hit wherever it happens to be.
#[test]
fn nothing_that_was_confirmed_is_lost_with_a_thread_beside() {
    for seed in 0..if full() { 1_000 } else { 60 } {
        run(1_000_000 + seed, true);
    }
}
