//! What the core knows of the log without reading it: its bounds, its term runs, and the entries at its end.

use std::collections::VecDeque;

use crate::entries::Entries;
use crate::mutants;
use crate::raft::Digest;
use crate::tail::Tail;
use crate::types::{Index, LogId, Term, WallMicros};

/// Entries that a caller asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Slice {
    /// In memory: a run that begins where it was asked to, as long as the bound allows.
    Here(Entries),
    /// On disk only, up to this index (excluded).
    OnDisk(Index),
    /// Purged.
    Compacted,
}

/// The log's outline and its tail.
#[derive(Debug)]
pub struct Log {
    purged: LogId,
    last: Index,
    /// Ascending `(first index, term)` of every run of one term behind `purged`.
    runs: VecDeque<(Index, Term)>,
    /// Contiguous, ends at `last`. Holds at least everything that is not durable.
    tail: Tail,
    tail_limit: usize,
    durable: Index,
    volatile_bytes: usize,
    last_time: WallMicros,
}

impl Log {
    /// A log as found on disk: all of it is durable, none of it in memory.
    #[must_use]
    pub fn new(
        purged: LogId,
        last: Index,
        runs: impl IntoIterator<Item = (Index, Term)>,
        last_time: WallMicros,
        tail_limit: usize,
    ) -> Self {
        Self {
            purged,
            last,
            runs: runs.into_iter().collect(),
            tail: Tail::default(),
            tail_limit,
            durable: last,
            volatile_bytes: 0,
            last_time,
        }
    }

    /// The entry before the first.
    #[must_use]
    pub const fn purged(&self) -> LogId {
        self.purged
    }

    /// The last index.
    #[must_use]
    pub const fn last(&self) -> Index {
        self.last
    }

    /// The last entry.
    #[must_use]
    pub fn last_id(&self) -> LogId {
        LogId::new(self.last, self.runs.back().map_or(self.purged.term, |&(_, term)| term))
    }

    /// Everything up to here is on disk.
    #[must_use]
    pub const fn durable(&self) -> Index {
        self.durable
    }

    /// Time of the newest entry: what the next one's must not be below.
    #[must_use]
    pub const fn last_time(&self) -> WallMicros {
        self.last_time
    }

    /// Bytes at the end that are not durable.
    #[must_use]
    pub const fn volatile_bytes(&self) -> usize {
        self.volatile_bytes
    }

    /// Bytes of entries in memory.
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// The term at that index, if it is known.
    #[must_use]
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        if index < self.purged.index || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|&(first, _)| first <= index);
        run.checked_sub(1).map(|at| self.runs[at].1)
    }

    /// Whether that entry stands in the log (or just before it).
    #[must_use]
    pub fn holds(&self, id: LogId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// The newest entry at or before `id.index` whose term is not beyond `id.term`: where two logs can agree at best.
    #[must_use]
    pub fn agreement(&self, id: LogId) -> LogId {
        let index = id.index.min(self.last);
        let mut end = index;
        for &(first, term) in self.runs.iter().rev() {
            if first > index {
                continue;
            }
            if term <= id.term {
                return LogId::new(end, term);
            }
            end = first - 1;
        }
        self.purged
    }

    /// Adds entries that follow the last one.
    pub fn append(&mut self, entries: &Entries) {
        for entry in entries {
            debug_assert_eq!(entry.index(), self.last + 1, "entries are contiguous");
            if self.last_id().term != entry.term() || self.runs.is_empty() {
                self.runs.push_back((entry.index(), entry.term()));
            }
            self.last = entry.index();
            self.last_time = self.last_time.max(entry.time());
        }
        self.volatile_bytes += entries.bytes();
        self.tail.append(entries);
    }

    /// Drops entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        if !mutants::on("33-tail-not-cut") {
            self.volatile_bytes -= self.tail.bytes_between(self.durable.max(from - 1), self.last);
            self.tail.truncate(from);
        }
        while self.runs.back().is_some_and(|&(first, _)| first >= from) {
            self.runs.pop_back();
        }
        self.last = self.last.min(from - 1);
        self.durable = self.durable.min(from - 1);
    }

    /// Forgets everything: the log begins behind `to`, which a committed snapshot covers. Until storage has done the same
    /// nothing counts as durable.
    pub fn reset(&mut self, to: LogId, time: WallMicros) {
        self.tail.clear();
        self.volatile_bytes = 0;
        self.runs.clear();
        self.purged = to;
        self.last = to.index;
        self.durable = 0;
        self.last_time = self.last_time.max(time);
    }

    /// Forgets entries up to `upto`, which is in the log. Gives back what then stands before the first.
    pub fn purge(&mut self, upto: Index) -> LogId {
        if let Some(term) = self.term(upto) {
            self.purged = LogId::new(upto, term);
            while self.runs.get(1).is_some_and(|&(first, _)| first <= upto + 1) {
                self.runs.pop_front();
            }
            if self.last == upto {
                self.runs.clear();
            } else if let Some(run) = self.runs.front_mut() {
                run.0 = run.0.max(upto + 1);
            }
            while self.tail.first().is_some_and(|first| first <= upto) {
                self.tail.drop_first();
            }
        }
        self.purged
    }

    /// Everything up to `index` is on disk now.
    pub fn made_durable(&mut self, index: Index) {
        let index = index.min(self.last);
        // The tail holds everything that was not durable.
        self.volatile_bytes -= self.tail.bytes_between(self.durable, index);
        self.durable = self.durable.max(index);
    }

    /// Lets go of the oldest durable entries beyond the bound.
    pub fn trim(&mut self) {
        while self.tail.bytes() > self.tail_limit
            && !mutants::on("46-never-trimmed")
            && self.tail.first().is_some_and(|first| first <= self.durable)
        {
            self.tail.drop_first();
        }
    }

    /// Entries `lo..=hi` of at most `max_bytes`, at least one.
    #[must_use]
    pub fn slice(&self, lo: Index, hi: Index, max_bytes: usize) -> Slice {
        if lo <= self.purged.index {
            return Slice::Compacted;
        }
        let first = self.tail.first().unwrap_or(self.last + 1);
        if lo < first {
            return Slice::OnDisk(first.min(hi + 1));
        }
        Slice::Here(self.tail.slice(lo, hi, max_bytes))
    }

    /// Bounds, runs of terms, and the entries in memory.
    pub(crate) fn digest(&self, out: &mut Digest) {
        out.id(self.purged);
        out.number(self.last);
        out.number(self.durable);
        out.number(self.last_time);
        out.list(self.runs.iter(), |out, &(first, term)| {
            out.number(first);
            out.number(term);
        });
        out.size(self.tail.iter().count());
        for entry in self.tail.iter() {
            out.number(entry.index());
            out.number(entry.term());
            out.number(u64::from(entry.payload_crc()));
            out.size(entry.size());
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
