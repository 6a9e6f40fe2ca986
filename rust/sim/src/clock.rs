//! A node's own clocks: they run fast or slow, and jump.

use d_engine_raft::Micros;

/// Maps the world's time to a node's. Integers only: every machine computes the same.
#[derive(Clone, Debug)]
pub struct Clock {
    /// A moment of the world, and what the clock showed then.
    since: Micros,
    shown: Micros,
    /// Parts per million that it runs fast; below 0: slow.
    drift: i64,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// A clock that shows `shown` at `at`.
    #[must_use]
    pub const fn new(at: Micros, shown: Micros, drift: i64) -> Self {
        Self { since: at, shown, drift }
    }

    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + self.drift).unwrap_or(1)
    }

    /// What it shows.
    #[must_use]
    pub fn local(&self, at: Micros) -> Micros {
        let passed = u128::from(at.saturating_sub(self.since)) * self.rate() / MILLION;
        self.shown + u64::try_from(passed).unwrap_or(u64::MAX / 2)
    }

    /// The first moment at which it shows `local` or more.
    #[must_use]
    pub fn world(&self, local: Micros) -> Micros {
        let missing = u128::from(local.saturating_sub(self.shown)) * MILLION;
        let passed = missing.div_ceil(self.rate());
        self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// From now on it runs so fast.
    pub fn set_drift(&mut self, at: Micros, drift: i64) {
        *self = Self::new(at, self.local(at), drift);
    }

    /// It jumps; back not below 0.
    pub fn jump(&mut self, at: Micros, by: i64) {
        let shown = self.local(at).saturating_add_signed(by);
        *self = Self::new(at, shown, self.drift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_reached_too_early_and_never_a_microsecond_too_late() {
        for drift in [-24_000, -1, 0, 1, 10_000, 24_000] {
            let mut clock = Clock::new(1_000, 77, drift);
            for local in [77, 78, 1_000, 123_457, 9_999_999_999] {
                let at = clock.world(local);
                assert!(clock.local(at) >= local, "{drift} {local}");
                assert!(at == 1_000 || clock.local(at - 1) < local, "{drift} {local}");
            }
            let before = clock.local(5_000);
            clock.set_drift(5_000, 3);
            assert_eq!(clock.local(5_000), before, "changing the rate moves nothing");
            clock.jump(5_000, 500);
            assert_eq!(clock.local(5_000), before + 500);
            clock.jump(5_000, -5_000_000);
            assert_eq!(clock.local(5_000), 0);
        }
    }
}
