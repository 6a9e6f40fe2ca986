//! How fast snapshots may leave: so many bytes a second, all followers together.

use std::time::{Duration, Instant};

use super::transfer::CHUNK_BYTES;

/// Chunks a second at most, where a limit is set: small ones, so that what was sent is soon acknowledged.
const CHUNKS: u64 = 16;
const LEAST_CHUNK: usize = 4 << 10;

/// Lets bytes pass at a limited rate: after each chunk the next one waits as long as that chunk takes at this rate.
pub struct Pace {
    /// 0: no limit.
    per_second: u64,
    next: Instant,
    /// Somebody was told to wait.
    waited: bool,
}

impl Pace {
    pub fn new(per_second: u64) -> Self {
        Self { per_second, next: Instant::now(), waited: false }
    }

    /// How much to send at once.
    pub fn chunk(&self) -> usize {
        if self.per_second == 0 {
            return CHUNK_BYTES;
        }
        usize::try_from(self.per_second / CHUNKS).unwrap_or(CHUNK_BYTES).clamp(LEAST_CHUNK, CHUNK_BYTES)
    }

    /// Whether a chunk may leave now.
    pub fn allows(&mut self) -> bool {
        self.waited = self.per_second > 0 && Instant::now() < self.next;
        !self.waited
    }

    /// It has left.
    pub fn spend(&mut self, bytes: usize) {
        if let Some(micros) = (bytes as u64).saturating_mul(1_000_000).checked_div(self.per_second) {
            let span = Duration::from_micros(micros);
            // Time that nobody used is gone, but for one turn of this thread that came late.
            let earliest = Instant::now().checked_sub(span).unwrap_or(self.next);
            self.next = self.next.max(earliest) + span;
        }
    }

    /// When somebody who waits may go on.
    pub fn waits(&self) -> Option<Instant> {
        self.waited.then_some(self.next)
    }

    /// Whether somebody waited, and may go on.
    pub fn is_due(&self) -> bool {
        self.waited && Instant::now() >= self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_unused_time_is_not_saved_up() {
        let mut pace = Pace::new(1 << 20);
        assert_eq!(pace.chunk(), 64 << 10);
        assert!(pace.allows());
        pace.spend(1 << 20);
        // Late by less than one chunk's span: the first is free.
        let begun = Instant::now();
        pace.spend(1 << 20);
        assert!(!pace.allows());
        let until = pace.waits().expect("it waits");
        assert!(until > begun + Duration::from_millis(900), "{:?}", until - begun);
        assert!(until < begun + Duration::from_millis(2_100));
        assert!(!pace.is_due());
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut pace = Pace::new(0);
        for _ in 0..3 {
            pace.spend(1 << 30);
            assert!(pace.allows());
        }
        assert_eq!((pace.chunk(), pace.waits(), pace.is_due()), (CHUNK_BYTES, None, false));
    }
}
