//! How fast snapshots may leave: so many bytes a second, all followers together.

use d_engine_raft::Micros;

use super::CHUNK_BYTES;

/// Chunks a second at most, where a limit is set: small ones, so that what was sent is soon acknowledged.
const CHUNKS: u64 = 16;
const LEAST_CHUNK: usize = 4 << 10;

/// Lets bytes pass at a limited rate: after each chunk the next one waits as long as that chunk takes at this rate.
pub(super) struct Pace {
    /// 0: no limit.
    per_second: u64,
    next: Micros,
    /// Somebody was told to wait.
    waited: bool,
}

impl Pace {
    pub(super) const fn new(per_second: u64, now: Micros) -> Self {
        Self { per_second, next: now, waited: false }
    }

    /// How much to send at once.
    pub(super) fn chunk(&self) -> usize {
        if self.per_second == 0 {
            return CHUNK_BYTES;
        }
        usize::try_from(self.per_second / CHUNKS).unwrap_or(CHUNK_BYTES).clamp(LEAST_CHUNK, CHUNK_BYTES)
    }

    /// Whether a chunk may leave now.
    pub(super) const fn allows(&mut self, now: Micros) -> bool {
        self.waited = self.per_second > 0 && now < self.next;
        !self.waited
    }

    /// It has left.
    pub(super) fn spend(&mut self, now: Micros, bytes: usize) {
        if let Some(span) = (bytes as u64).saturating_mul(1_000_000).checked_div(self.per_second) {
            // Time that nobody used is gone, but for one turn that came late.
            self.next = self.next.max(now.saturating_sub(span)) + span;
        }
    }

    /// When somebody who waits may go on.
    pub(super) fn waits(&self) -> Option<Micros> {
        self.waited.then_some(self.next)
    }

    /// Whether somebody waited, and may go on.
    pub(super) const fn is_due(&self, now: Micros) -> bool {
        self.waited && now >= self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_unused_time_is_not_saved_up() {
        let begun = 5_000_000;
        let mut pace = Pace::new(1 << 20, begun);
        assert_eq!(pace.chunk(), 64 << 10);
        assert!(pace.allows(begun));
        pace.spend(begun, 1 << 20);
        // Late by less than one chunk's span: the first is free.
        pace.spend(begun, 1 << 20);
        assert!(!pace.allows(begun));
        let until = pace.waits().expect("it waits");
        assert_eq!(until, begun + 2_000_000);
        assert!(!pace.is_due(until - 1) && pace.is_due(until));
        // Nothing was sent for long: one chunk is free, no more.
        let later = until + 60_000_000;
        pace.spend(later, 1 << 20);
        assert!(pace.allows(later));
        pace.spend(later, 1 << 20);
        assert!(!pace.allows(later));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut pace = Pace::new(0, 7);
        for _ in 0..3 {
            pace.spend(7, 1 << 30);
            assert!(pace.allows(7));
        }
        assert_eq!((pace.chunk(), pace.waits(), pace.is_due(7)), (CHUNK_BYTES, None, false));
    }
}
