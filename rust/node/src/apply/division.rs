//! What of a batch the machine is given, and what each waiter gets for it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use d_engine_raft::{Entry, EntryKind, Index};

use crate::driver::{Sessions, Verdict};

/// One waiter's entries: what the machine gives for them, in one piece, or pieces from several places.
pub enum Parts {
    Whole,
    Several(Vec<Part>),
}

/// Entries of a waiter that are answered together.
pub struct Part {
    /// One beyond the last position in the batch.
    pub stop: usize,
    pub from: From,
}

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub enum From {
    /// The machine's next output.
    Machine,
    /// The session table: the entry repeats one that was applied before.
    Table { index: Index, session: u64, sequence: u64 },
    /// The entry opened that session.
    Opened(u64),
    /// The entry's session is not known.
    Expired(u64),
}

/// A batch, divided.
pub struct Division {
    /// What the machine is given; `None`: every entry.
    commands: Option<Vec<Entry>>,
    /// Ranges of that, one output each.
    pub ranges: Vec<Range<usize>>,
    /// Positions in that whose results are kept.
    pub keep: Vec<usize>,
    /// For each waiter, in order.
    pub parts: Vec<Parts>,
}

impl Division {
    /// Divides a batch; entries of sessions are judged on the way.
    pub fn new(entries: &[Entry], wanted: Vec<Range<usize>>, sessions: &mut Sessions) -> Self {
        if entries.iter().all(|entry| entry.kind() == EntryKind::Command && entry.session() == 0) {
            let parts = wanted.iter().map(|_| Parts::Whole).collect();
            return Self { commands: None, ranges: wanted, keep: Vec::new(), parts };
        }
        let (mut commands, mut keep) = (Vec::with_capacity(entries.len()), Vec::new());
        // For each entry: how many of those before it are given to the machine, and who answers.
        let mut fates = Vec::with_capacity(entries.len());
        for entry in entries {
            let from = judge(entry, sessions);
            fates.push((commands.len(), from));
            if matches!(from, Some(From::Machine)) {
                if entry.session() != 0 {
                    keep.push(commands.len());
                }
                commands.push(entry.clone());
            }
        }
        let mut ranges = Vec::with_capacity(wanted.len());
        let parts = wanted.into_iter().map(|range| divide(range, &fates, &mut ranges)).collect();
        Self { commands: Some(commands), ranges, keep, parts }
    }

    /// What the machine is given.
    pub fn commands<'a>(&'a self, entries: &'a [Entry]) -> &'a [Entry] {
        self.commands.as_deref().unwrap_or(entries)
    }

    /// How many entries were dealt with, if the machine failed after so many commands.
    pub fn through(&self, entries: &[Entry], applied: usize) -> usize {
        let Some(commands) = &self.commands else { return applied.min(entries.len()) };
        commands
            .get(applied)
            .map_or(entries.len(), |failed| entries.iter().take_while(|entry| entry.index() < failed.index()).count())
    }

    /// Puts the machine's results into the table; returns what is left for repetitions.
    pub fn settle(
        &self,
        kept: Vec<Option<Bytes>>,
        entries: &[Entry],
        sessions: &mut Sessions,
    ) -> BTreeMap<Index, Option<Bytes>> {
        let commands = self.commands(entries);
        let mut results = self.keep.iter().filter_map(|&at| commands.get(at)).map(Entry::index).zip(kept);
        // Both are in log order, and of the same entries.
        sessions.settle(|index| results.next().filter(|(of, _)| *of == index).and_then(|(_, result)| result))
    }
}

fn judge(entry: &Entry, sessions: &mut Sessions) -> Option<From> {
    match entry.kind() {
        EntryKind::Noop | EntryKind::Configuration => return None,
        EntryKind::Command if entry.session() == 0 => return Some(From::Machine),
        EntryKind::Command | EntryKind::Session => {}
    }
    let (index, session, sequence) = (entry.index(), entry.session(), entry.sequence());
    Some(match sessions.judge(entry) {
        Verdict::Opened => From::Opened(index),
        Verdict::Apply => From::Machine,
        Verdict::Repeat => From::Table { index, session, sequence },
        Verdict::Expired => From::Expired(session),
    })
}

/// Divides one waiter's entries; adds to `ranges` what it wants of the machine.
fn divide(range: Range<usize>, fates: &[(usize, Option<From>)], ranges: &mut Vec<Range<usize>>) -> Parts {
    let mut parts: Vec<Part> = Vec::new();
    for (stop, &(at, from)) in (range.start + 1..).zip(&fates[range]) {
        // A waiter's entries are commands, or a session's opening.
        let Some(from) = from else { continue };
        match (from, parts.last_mut(), ranges.last_mut()) {
            (From::Machine, Some(Part { stop: end, from: From::Machine }), Some(run)) => {
                *end = stop;
                run.end = at + 1;
            }
            (From::Machine, ..) => {
                ranges.push(at..at + 1);
                parts.push(Part { stop, from });
            }
            _ => parts.push(Part { stop, from }),
        }
    }
    match parts.as_slice() {
        [Part { from: From::Machine, .. }] => Parts::Whole,
        _ => Parts::Several(parts),
    }
}
