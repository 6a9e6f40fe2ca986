//! The one log that all state machines apply, as the first of them did.

use std::collections::BTreeMap;

use d_engine_raft::{Entry, EntryKind, Index, LogId, Term, WallMicros};

/// What stands at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The entry's term.
    pub term: Term,
    /// Checksums of its header and payload.
    pub print: u64,
    /// Its time.
    pub time: WallMicros,
    /// Whether machines are given it.
    pub given: bool,
    /// Of registers: the value that it puts, and what stood there before.
    pub value: u64,
    /// What stood there before.
    pub previous: u64,
}

/// Entries by index, and what registers held when.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: Vec<Line>,
    /// The state after that index, where anybody was told it.
    states: Vec<Option<u64>>,
    /// For each register, ascending: index and value.
    registers: BTreeMap<u64, Vec<(Index, u64)>>,
}

/// The checksums that a record carries: of the payload, and of the header with the payload's.
pub fn print(entry: &Entry) -> u64 {
    entry.record().get(56..64).and_then(|sums| sums.first_chunk()).copied().map_or(0, u64::from_le_bytes)
}

/// A register's key and value, as the payload has them.
pub fn command(entry: &Entry) -> Option<(u64, u64)> {
    let number = |from: usize| entry.record().get(from..)?.first_chunk().copied().map(u64::from_le_bytes);
    let header = d_engine_raft::HEADER_BYTES;
    (entry.kind() == EntryKind::Command).then(|| Some((number(header)?, number(header + 8)?))).flatten()
}

fn place(index: Index) -> usize {
    usize::try_from(index.wrapping_sub(1)).unwrap_or(usize::MAX)
}

impl Ledger {
    /// The last index that anybody has applied.
    pub fn last(&self) -> Index {
        self.lines.len() as Index
    }

    /// What stands at an index.
    pub fn line(&self, index: Index) -> Option<&Line> {
        self.lines.get(place(index))
    }

    /// Whether that entry stands there.
    pub fn holds(&self, id: LogId) -> bool {
        id.index == 0 || self.line(id.index).is_some_and(|line| line.term == id.term)
    }

    /// The state after that index, if anybody was told it.
    pub fn state(&self, index: Index) -> Option<u64> {
        self.states.get(place(index)).copied().flatten()
    }

    /// What a register held after that index.
    pub fn register(&self, key: u64, index: Index) -> u64 {
        let values = self.registers.get(&key).map_or(&[][..], Vec::as_slice);
        values.iter().rev().find(|(at, _)| *at <= index).map_or(0, |&(_, value)| value)
    }

    /// Takes in what is new of a batch.
    pub(super) fn apply(&mut self, entries: &[Entry], given: &[Index], state: u64, registers: bool) {
        let mut given = given.iter().copied().peekable();
        for entry in entries {
            while given.next_if(|&index| index < entry.index()).is_some() {}
            if entry.index() == self.last() + 1 {
                self.add(entry, given.peek() == Some(&entry.index()), registers);
            }
        }
        if let Some(last) = entries.last()
            && let Some(known) = self.states.get_mut(place(last.index()))
        {
            known.get_or_insert(state);
        }
    }

    fn add(&mut self, entry: &Entry, given: bool, registers: bool) {
        let (term, time, mut value, mut previous) = (entry.term(), entry.time(), 0, 0);
        if let (true, Some((key, put))) = (given && registers, command(entry)) {
            let values = self.registers.entry(key).or_default();
            previous = values.last().map_or(0, |&(_, value)| value);
            value = put;
            values.push((entry.index(), put));
        }
        self.lines.push(Line { term, print: print(entry), time, given, value, previous });
        self.states.push(None);
    }
}
