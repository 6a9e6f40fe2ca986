//! The entries at the end of the log that are in memory, in the runs in which they came.

use std::collections::VecDeque;

use crate::entries::Entries;
use crate::entry::Entry;
use crate::types::Index;

/// A run and where it begins.
#[derive(Debug)]
struct Run {
    first: Index,
    entries: Entries,
}

impl Run {
    const fn place(&self, index: Index) -> usize {
        // Both stand in memory, so their distance is a length.
        #[allow(clippy::cast_possible_truncation)]
        let place = index.saturating_sub(self.first) as usize;
        place
    }
}

/// Contiguous entries, none missing up to the log's last.
#[derive(Debug, Default)]
pub struct Tail {
    runs: VecDeque<Run>,
    bytes: usize,
}

impl Tail {
    /// The first entry's index.
    pub fn first(&self) -> Option<Index> {
        self.runs.front().map(|run| run.first)
    }

    /// Bytes of all records.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.runs.iter().flat_map(|run| run.entries.iter())
    }

    /// Adds entries behind the last.
    pub fn append(&mut self, entries: &Entries) {
        if let Some(entry) = entries.first() {
            self.bytes += entries.bytes();
            self.runs.push_back(Run { first: entry.index(), entries: entries.clone() });
        }
    }

    /// Drops entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        while let Some(run) = self.runs.back_mut() {
            let kept = run.place(from);
            if kept >= run.entries.len() {
                break;
            }
            self.bytes -= run.entries.bytes();
            if kept > 0 {
                run.entries = run.entries.part(0..kept);
                self.bytes += run.entries.bytes();
                break;
            }
            self.runs.pop_back();
        }
    }

    /// Drops the first entry.
    pub fn drop_first(&mut self) {
        let Some(run) = self.runs.front_mut() else { return };
        self.bytes -= run.entries.first().map_or(0, Entry::size);
        if run.entries.len() > 1 {
            run.first += 1;
            run.entries.drop_first();
        } else {
            self.runs.pop_front();
        }
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.bytes = 0;
    }

    /// Bytes of the entries behind `after`, up to `last`.
    pub fn bytes_between(&self, after: Index, last: Index) -> usize {
        let covered = self.runs.range(self.run_of(after + 1)..).take_while(|run| run.first <= last);
        covered
            .map(|run| {
                let begin = run.place(after + 1);
                let end = run.place(last + 1).min(run.entries.len());
                if begin == 0 && end == run.entries.len() {
                    return run.entries.bytes();
                }
                run.entries.get(begin..end).unwrap_or_default().iter().map(Entry::size).sum()
            })
            .sum()
    }

    /// Entries `lo..=hi` of at most `max_bytes`, at least one. `lo` is not before the first.
    pub fn slice(&self, lo: Index, hi: Index, max_bytes: usize) -> Entries {
        let at = self.run_of(lo);
        let Some(run) = self.runs.get(at) else { return Entries::default() };
        let begin = run.place(lo);
        let end = run.place(hi.saturating_add(1)).min(run.entries.len());
        if begin >= end {
            return Entries::default();
        }
        let part = run.entries.part(begin..end);
        if part.bytes() > max_bytes {
            return part.part(0..fitting(&part, max_bytes));
        }
        let room = max_bytes - part.bytes();
        match self.runs.get(at + 1) {
            Some(next) if next.first <= hi && next.entries.first().is_some_and(|entry| entry.size() <= room) => {
                self.gather(at, lo, hi, max_bytes)
            }
            _ => part,
        }
    }

    /// The same over several runs, as one.
    fn gather(&self, at: usize, lo: Index, hi: Index, max_bytes: usize) -> Entries {
        let mut bytes = 0;
        self.runs
            .range(at..)
            .flat_map(|run| run.entries.iter().skip(run.place(lo)))
            .take_while(|entry| {
                bytes += entry.size();
                entry.index() <= hi && bytes <= max_bytes
            })
            .cloned()
            .collect()
    }

    /// The run that holds `index`, or the number of runs. Mostly one of the last: looked for from the end.
    fn run_of(&self, index: Index) -> usize {
        let near = self.runs.len().saturating_sub(4);
        let before = match self.runs.get(near) {
            Some(run) if run.first <= index => {
                near + self.runs.range(near..).take_while(|run| run.first <= index).count()
            }
            _ => self.runs.partition_point(|run| run.first <= index),
        };
        before.saturating_sub(1)
    }
}

/// How many of them fit, at least one.
fn fitting(entries: &Entries, max_bytes: usize) -> usize {
    let mut bytes = 0;
    let fits = entries.iter().take_while(|entry| {
        bytes += entry.size();
        bytes <= max_bytes
    });
    fits.count().max(1)
}
