//! What is known of the log without reading it: bounds, changes of term, and where on disk to look.

use std::collections::VecDeque;
use std::sync::Arc;

use d_engine_raft::{Entry, HardState, Index, LogId, Term, mutants};

use crate::format::{HEAD_BYTES, Head, round_up};

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment<T> {
    pub epoch: u64,
    pub name: String,
    pub file: T,
    /// Bytes that batches may fill.
    pub capacity: u64,
}

/// A segment in use, and where in the log it begins.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    pub segment: Arc<Segment<T>>,
    /// The entry before its first batch.
    pub base: LogId,
    /// The sequence of its first batch.
    pub first_sequence: u64,
}

/// A run of entries that a read takes in one piece. Extents are what a read has instead of a place for each entry: one for
/// about `EXTENT_BYTES` of disk.
#[derive(Debug)]
pub(crate) struct Extent<T> {
    pub first: Index,
    /// One beyond the last entry. Fewer than are there, if some were dropped from the log afterwards.
    pub end: Index,
    pub segment: Arc<Segment<T>>,
    pub start: u64,
    pub stop: u64,
    pub kind: ExtentKind,
}

impl<T> Clone for Extent<T> {
    fn clone(&self) -> Self {
        Self { segment: Arc::clone(&self.segment), ..*self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtentKind {
    /// Whole batches; the next batch may join them.
    Growing,
    /// Whole batches, of which some entries at the end were dropped.
    Closed,
    /// Records from the middle of one large batch.
    Records,
}

/// How much a read scans at most to find an entry (more only if one entry is larger).
pub(crate) const EXTENT_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct LogState<T> {
    pub hard_state: HardState,
    pub purged: LogId,
    pub last: LogId,
    /// What is in the log stands behind this.
    pub base: LogId,
    pub runs: Vec<(Index, Term)>,
    pub extents: VecDeque<Extent<T>>,
    pub segments: VecDeque<Placed<T>>,
    /// The purge point has moved since the last batch was written.
    pub purge_pending: bool,
    /// The first batch that carries the purge point.
    pub purge_sequence: u64,
    /// The batch of the newest reset.
    pub reset_sequence: u64,
}

impl<T> LogState<T> {
    pub(crate) fn new() -> Self {
        Self {
            hard_state: HardState::default(),
            purged: LogId::ZERO,
            last: LogId::ZERO,
            base: LogId::ZERO,
            runs: Vec::new(),
            extents: VecDeque::new(),
            segments: VecDeque::new(),
            purge_pending: false,
            purge_sequence: 0,
            reset_sequence: 0,
        }
    }

    /// The term of the entry at `index`; `None` if the log does not know it any more, or not yet.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last.index {
            return None;
        }
        let after = self.runs.partition_point(|&(first, _)| first <= index);
        after.checked_sub(1).map(|at| self.runs[at].1)
    }

    /// Takes up a batch that stands in `segment`: the same for one just written and for one found at start-up.
    ///
    /// # Errors
    /// It does not continue what came before.
    pub(crate) fn take(&mut self, segment: &Arc<Segment<T>>, head: &Head, entries: &[&Entry]) -> Result<(), String> {
        let previous = head.previous;
        if head.is_reset() {
            self.reset(previous);
            (self.reset_sequence, self.purge_sequence, self.purge_pending) = (head.sequence, head.sequence, false);
        } else {
            if previous.index > self.last.index {
                return Err(format!("it continues entry {previous}, the log before it ends at {}", self.last));
            }
            if self.term_at(previous.index).is_some_and(|term| term != previous.term) {
                return Err(format!("it continues entry {previous}, which has another term in the log before it"));
            }
            self.rewind(previous);
        }
        self.hard_state = head.hard_state;
        if head.is_first() {
            let segment = Arc::clone(segment);
            self.segments.push_back(Placed { segment, base: previous, first_sequence: head.sequence });
        }
        for entry in entries {
            if self.runs.last().is_none_or(|&(_, term)| term != entry.term()) {
                self.runs.push((entry.index(), entry.term()));
            }
        }
        if let Some(entry) = entries.last() {
            self.last = entry.id();
        }
        self.place(segment, head, entries);
        Ok(())
    }

    fn place(&mut self, segment: &Arc<Segment<T>>, head: &Head, entries: &[&Entry]) {
        let (first, end) = (head.previous.index + 1, head.previous.index + 1 + entries.len() as u64);
        if u64::from(head.record_bytes) > EXTENT_BYTES {
            let mut at = head.offset + HEAD_BYTES as u64;
            let mut open: Option<Extent<T>> = None;
            for entry in entries {
                let stop = at + entry.size() as u64;
                match &mut open {
                    Some(extent) if stop - extent.start <= EXTENT_BYTES => {
                        (extent.end, extent.stop) = (entry.index() + 1, stop);
                    }
                    _ => {
                        let (first, end) = (entry.index(), entry.index() + 1);
                        let segment = Arc::clone(segment);
                        let next = Extent { first, end, segment, start: at, stop, kind: ExtentKind::Records };
                        self.extents.extend(open.replace(next));
                    }
                }
                at = stop;
            }
            self.extents.extend(open);
            return;
        }
        let stop = head.offset + round_up(head.used());
        if let Some(extent) = self.extents.back_mut()
            && extent.kind == ExtentKind::Growing
            && extent.stop == head.offset
            && extent.end == first
            && extent.segment.epoch == segment.epoch
            && stop - extent.start <= EXTENT_BYTES
        {
            (extent.end, extent.stop) = (end, stop);
        } else if first < end {
            let segment = Arc::clone(segment);
            self.extents.push_back(Extent { first, end, segment, start: head.offset, stop, kind: ExtentKind::Growing });
        }
    }

    /// Drops everything behind `previous`.
    fn rewind(&mut self, previous: LogId) {
        if previous.index == self.last.index {
            return;
        }
        if previous.index < self.base.index {
            self.extents.clear();
            self.runs.clear();
            self.base = previous;
        }
        while self.extents.back().is_some_and(|extent| extent.first > previous.index) {
            self.extents.pop_back();
        }
        if let Some(extent) = self.extents.back_mut()
            && extent.end > previous.index + 1
        {
            extent.end = previous.index + 1;
            if extent.kind == ExtentKind::Growing {
                extent.kind = ExtentKind::Closed;
            }
        }
        while self.runs.pop_if(|&mut (first, _)| first > previous.index).is_some() {}
        self.last = previous;
    }

    fn reset(&mut self, to: LogId) {
        self.extents.clear();
        self.runs.clear();
        (self.base, self.last, self.purged) = (to, to, to);
    }

    /// Forgets everything up to `point`, which is in the log.
    pub(crate) fn purge(&mut self, point: LogId) {
        self.purged = point;
        if point.index <= self.base.index {
            return;
        }
        self.base = point;
        while self.extents.front().is_some_and(|extent| extent.end <= point.index + 1) {
            self.extents.pop_front();
        }
        let keep = self.runs.partition_point(|&(first, _)| first <= point.index + 1).saturating_sub(1);
        self.runs.drain(..keep);
        if point.index >= self.last.index {
            self.runs.clear();
        } else if let Some(run) = self.runs.first_mut() {
            run.0 = run.0.max(point.index + 1);
        }
    }

    /// Takes out the oldest segments that nothing needs once `durable` is on disk, oldest first.
    pub(crate) fn release(&mut self, durable: u64) -> Vec<Arc<Segment<T>>> {
        let mut released = Vec::new();
        while self.releasable(durable)
            && let Some(placed) = self.segments.pop_front()
        {
            released.push(placed.segment);
        }
        released
    }

    /// Whether the oldest segment can go. A power cut must never leave a log without its beginning: the next segment's first
    /// batch has to be durable, and so has the batch that says why nothing before it is missed.
    pub(crate) fn releasable(&self, durable: u64) -> bool {
        let Some(next) = self.segments.get(1) else { return false };
        if mutants::on("29-released-early") {
            return next.base.index <= self.purged.index;
        }
        let purged = next.base.index <= self.purged.index && !self.purge_pending && self.purge_sequence <= durable;
        let reset = next.first_sequence <= self.reset_sequence && self.reset_sequence <= durable;
        next.first_sequence <= durable && (purged || reset)
    }
}
