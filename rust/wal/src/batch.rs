//! Merging what the core wants stored into one change of the log.

use d_engine_raft::{Entry, HardState, Index, LogId, Persist, mutants};

use crate::error::WalError;

/// The most bytes that one entry's record may have.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
/// A batch is cut at this size: a start-up reads it in one piece.
pub(crate) const MAX_BATCH_BYTES: u64 = 4 << 20;

/// Several units as one: hard state, then reset, then truncation, then entries.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    pub hard_state: Option<HardState>,
    pub reset_to: Option<LogId>,
    pub truncate_from: Option<Index>,
    pub entries: Vec<&'a Entry>,
}

impl<'a> Change<'a> {
    /// Merges units in their order; `last` is the end of the log before them.
    ///
    /// # Errors
    /// Entries that do not follow each other.
    pub(crate) fn merge(units: &'a [Persist], last: Index) -> Result<Self, WalError> {
        let mut change =
            Self { entries: Vec::with_capacity(units.iter().map(|unit| unit.entries.len()).sum()), ..Self::default() };
        let mut end = last;
        for unit in units {
            change.hard_state = unit.hard_state.or(change.hard_state);
            if let Some(to) = unit.reset_to {
                change.reset_to = Some(to);
                change.truncate_from = None;
                change.entries.clear();
                end = to.index;
            }
            if let Some(from) = unit.truncate_from
                && from <= end
            {
                match change.entries.first().map(|entry| entry.index()) {
                    Some(first) if from > first || mutants::on("33-merged-away") => {
                        change.entries.truncate(usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX));
                    }
                    _ => {
                        change.entries.clear();
                        // Behind a reset of this change there is nothing else to drop.
                        if change.reset_to.is_none_or(|to| from <= to.index) {
                            change.truncate_from = Some(change.truncate_from.map_or(from, |before| before.min(from)));
                        }
                    }
                }
                end = from.saturating_sub(1);
            }
            for entry in &unit.entries {
                if entry.index() != end + 1 {
                    return Err(WalError::NotContiguous { expected: end + 1, found: entry.index() });
                }
                if entry.size() > MAX_RECORD_BYTES {
                    let (index, size) = (entry.index(), entry.size());
                    return Err(WalError::EntryTooLarge { index, size, bound: MAX_RECORD_BYTES });
                }
                change.entries.push(entry);
                end += 1;
            }
        }
        Ok(change)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hard_state.is_none() && self.reset_to.is_none() && self.truncate_from.is_none() && self.entries.is_empty()
    }
}

/// How many of the entries go in one batch of at most `limit` bytes of records; at least one, if there is one.
pub(crate) fn fill(entries: &[&Entry], limit: u64) -> usize {
    let mut bytes = 0;
    let count = entries.iter().take_while(|entry| {
        bytes += entry.size() as u64;
        bytes <= limit
    });
    count.count().max(entries.len().min(1))
}
