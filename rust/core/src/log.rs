//! What the core knows of the log without reading it: its bounds, its term runs, and the entries at its end.

use std::collections::VecDeque;

use crate::entry::Entry;
use crate::mutants;
use crate::raft::Digest;
use crate::types::{Index, LogId, Term, WallMicros};

/// Entries that a caller asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Slice {
    /// In memory: a run that begins where it was asked to, as long as the bound allows.
    Here(Vec<Entry>),
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
    tail: VecDeque<Entry>,
    tail_bytes: usize,
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
            tail: VecDeque::new(),
            tail_bytes: 0,
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
    pub fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            debug_assert_eq!(entry.index(), self.last + 1, "entries are contiguous");
            if self.last_id().term != entry.term() || self.runs.is_empty() {
                self.runs.push_back((entry.index(), entry.term()));
            }
            self.last = entry.index();
            self.last_time = self.last_time.max(entry.time());
            self.tail_bytes += entry.size();
            self.volatile_bytes += entry.size();
            self.tail.push_back(entry.clone());
        }
    }

    /// Drops entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        while let Some(entry) = self.tail.back() {
            if entry.index() < from || mutants::on("33-tail-not-cut") {
                break;
            }
            self.tail_bytes -= entry.size();
            if entry.index() > self.durable {
                self.volatile_bytes -= entry.size();
            }
            self.tail.pop_back();
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
        self.tail_bytes = 0;
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
            while self.tail.front().is_some_and(|entry| entry.index() <= upto) {
                self.drop_front();
            }
        }
        self.purged
    }

    /// Everything up to `index` is on disk now.
    pub fn made_durable(&mut self, index: Index) {
        let index = index.min(self.last);
        let first = self.tail.front().map_or(self.last + 1, Entry::index);
        // The tail holds everything that was not durable.
        let from = usize::try_from((self.durable + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let run = self.tail.iter().skip(from).take_while(|entry| entry.index() <= index);
        self.volatile_bytes -= run.map(Entry::size).sum::<usize>();
        self.durable = self.durable.max(index);
    }

    /// Lets go of the oldest durable entries beyond the bound.
    pub fn trim(&mut self) {
        while self.tail_bytes > self.tail_limit && self.tail.front().is_some_and(|entry| entry.index() <= self.durable)
        {
            self.drop_front();
        }
    }

    /// Entries `lo..=hi` of at most `max_bytes`, at least one.
    #[must_use]
    pub fn slice(&self, lo: Index, hi: Index, max_bytes: usize) -> Slice {
        if lo <= self.purged.index {
            return Slice::Compacted;
        }
        let first = self.tail.front().map_or(self.last + 1, Entry::index);
        if lo < first {
            return Slice::OnDisk(first.min(hi + 1));
        }
        let (Ok(from), Ok(count)) = (usize::try_from(lo - first), usize::try_from((hi + 1).saturating_sub(lo))) else {
            return Slice::Here(Vec::new());
        };
        let mut bytes = 0;
        let run = self.tail.iter().skip(from).take(count);
        Slice::Here(
            run.take_while(|entry| {
                let begins = bytes == 0;
                bytes += entry.size();
                begins || bytes <= max_bytes
            })
            .cloned()
            .collect(),
        )
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
        out.list(self.tail.iter(), |out, entry| {
            out.number(entry.index());
            out.number(entry.term());
            out.number(u64::from(entry.payload_crc()));
            out.size(entry.size());
        });
    }

    fn drop_front(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes -= entry.size();
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
