//! How a log is opened, and what is found.

use d_engine_raft::{Configuration, GroupId, HardState, Index, LogId, Term, WallMicros};

use crate::error::WalError;
use crate::format::round_up;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a segment's file; at least 64 KiB. The first ones are smaller (from 4 MiB on), so that a small log takes
    /// little space; one that must hold a larger batch is larger.
    pub segment_bytes: u64,
    /// The cluster: stands in every batch, and another one's log is refused.
    pub cluster_id: u128,
    /// Which of the cluster's logs this is.
    pub group: GroupId,
    /// Any random number, used when the log is made: makes its checksums unlike those of other logs, so that an entry which
    /// contains pieces of a log file is never taken for a piece of this one.
    pub salt: u64,
    /// Prepare and release segments on a thread of its own. `false` (for a simulator): inside `write` and `sync`.
    pub background: bool,
}

/// 64 MiB.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

const MIN_SEGMENT_BYTES: u64 = 64 << 10;
const MAX_SEGMENT_BYTES: u64 = 4 << 30;
const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: DEFAULT_SEGMENT_BYTES, cluster_id: 0, group: 0, salt: 0, background: true }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), WalError> {
        if (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return Ok(());
        }
        Err(WalError::Options(format!(
            "segment_bytes is {}; it must be between {MIN_SEGMENT_BYTES} (64 KiB) and {MAX_SEGMENT_BYTES} (4 GiB)",
            self.segment_bytes
        )))
    }

    pub(crate) fn first_capacity(&self) -> u64 {
        round_up(self.segment_bytes.min(FIRST_SEGMENT_BYTES))
    }

    pub(crate) fn full_capacity(&self) -> u64 {
        round_up(self.segment_bytes)
    }

    /// Segments grow, so that a log which stays small does not take a full one's space.
    pub(crate) fn next_capacity(&self, previous: u64) -> u64 {
        previous.saturating_mul(4).clamp(self.first_capacity(), self.full_capacity())
    }
}

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Term and vote; the default in a new log.
    pub hard_state: HardState,
    /// The entry before the first one in the log.
    pub purged: LogId,
    /// The last entry; `purged` if the log is empty.
    pub last: LogId,
    /// Ascending: the first index of every run of entries of one term, from `purged.index + 1` on.
    pub term_runs: Vec<(Index, Term)>,
    /// The last entry's time; 0 if the log is empty.
    pub last_time: WallMicros,
    /// Ascending: the configuration entries of the log.
    pub configurations: Vec<(Index, Configuration)>,
    /// Where a tail was cut off that had never been made durable.
    pub cut: Option<Cut>,
}

/// A tail that was never made durable, and so was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub segment: String,
    /// Where the log ends now.
    pub offset: u64,
    /// What was wrong behind it.
    pub reason: String,
}
