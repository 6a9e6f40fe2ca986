//! What a log has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Syncs of the log (those that prepare segments are not counted).
    pub syncs: u64,
    /// Batches written, markers among them.
    pub batches: u64,
    /// Bytes written, with heads and padding.
    pub bytes: u64,
    /// Entries written.
    pub records: u64,
    /// Segments made of zeros.
    pub segments_made: u64,
    /// Segments used again.
    pub segments_recycled: u64,
    /// Segments removed.
    pub segments_removed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub syncs: AtomicU64,
    pub batches: AtomicU64,
    pub bytes: AtomicU64,
    pub records: AtomicU64,
}

impl Counting {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
