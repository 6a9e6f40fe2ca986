//! A log as its node wants it: terms by runs, nothing of the entries themselves.

use d_engine_raft::{Index, LogId, Persist, Start, Term};

/// Where a log begins and ends, and which term stands where.
#[derive(Clone, Debug, Default)]
pub struct LogView {
    /// What stands before the first entry.
    pub purged: LogId,
    /// The last index.
    pub last: Index,
    /// Ascending `(first index, term)`.
    runs: Vec<(Index, Term)>,
}

impl LogView {
    /// As a node starts with it.
    pub fn of(start: &Start) -> Self {
        Self { purged: start.purged, last: start.last, runs: start.term_runs.clone() }
    }

    /// The term at `index`; `None` where nothing stands or nothing is known any more.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        if index < self.purged.index || index > self.last {
            return None;
        }
        self.runs.iter().rev().find(|(first, _)| *first <= index).map(|&(_, term)| term)
    }

    /// The last entry.
    pub fn last_id(&self) -> LogId {
        LogId::new(self.last, self.term(self.last).unwrap_or(0))
    }

    /// Whether that entry is held, or covered by what was purged.
    pub fn holds(&self, id: LogId) -> bool {
        id.index < self.purged.index || self.term(id.index) == Some(id.term)
    }

    /// Its terms up to and with `to`, from `from` on, run by run: `(last index, term)`.
    pub fn runs(&self, from: Index, to: Index) -> impl Iterator<Item = (Index, Term)> {
        let begins = self.runs.partition_point(|&(first, _)| first <= from).saturating_sub(1);
        let ends = self.runs.iter().skip(begins + 1).map(|&(first, _)| first - 1).chain([Index::MAX]);
        self.runs.iter().skip(begins).zip(ends).map(move |(&(_, term), end)| (end.min(to), term))
    }

    /// The entry that the first one of a unit follows.
    pub fn before(&self, persist: &Persist) -> Option<LogId> {
        let index = match (persist.reset_to, persist.truncate_from) {
            (Some(to), _) => return Some(to),
            (None, Some(from)) => from.checked_sub(1)?.min(self.last),
            (None, None) => self.last,
        };
        Some(LogId::new(index, self.term(index)?))
    }

    /// A unit of storage work.
    pub fn persist(&mut self, persist: &Persist) {
        if let Some(to) = persist.reset_to {
            (self.purged, self.last) = (to, to.index);
            self.runs.clear();
        }
        if let Some(from) = persist.truncate_from {
            self.last = self.last.min(from.saturating_sub(1)).max(self.purged.index);
            while self.runs.last().is_some_and(|&(first, _)| first > self.last) {
                self.runs.pop();
            }
        }
        for entry in &persist.entries {
            if self.runs.last().is_none_or(|&(_, term)| term != entry.term()) {
                self.runs.push((entry.index(), entry.term()));
            }
            self.last = entry.index();
        }
    }

    /// Its beginning is forgotten.
    pub fn purge(&mut self, upto: LogId) {
        if upto.index <= self.purged.index {
            // The log was reset to a snapshot while this was waiting.
            return;
        }
        self.purged = upto;
        self.last = self.last.max(upto.index);
        let gone = self.runs.partition_point(|&(first, _)| first <= upto.index + 1).saturating_sub(1);
        self.runs.drain(..gone);
        if self.last == upto.index {
            self.runs.clear();
        }
    }
}
