//! Time: a monotonic clock that goes on while the machine sleeps, and the wall clock for entry headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use d_engine_raft::{Micros, WallMicros};

use crate::config::micros;

/// Microseconds of a clock that never goes back.
#[cfg(target_os = "linux")]
pub fn now() -> Micros {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    // Never 0: a core may take 0 for "never".
    seconds * 1_000_000 + nanos / 1_000 + 1
}

/// Microseconds of a clock that never goes back.
#[cfg(not(target_os = "linux"))]
pub fn now() -> Micros {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    micros(START.get_or_init(std::time::Instant::now).elapsed()) + 1
}

/// Unix time; 0 before 1970.
pub fn wall() -> WallMicros {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

/// The moment that is `timeout` away; `None` for ever.
pub fn deadline(timeout: Option<Duration>) -> Option<Micros> {
    timeout.map(|timeout| now().saturating_add(micros(timeout)))
}

/// The way from `now` to `then`.
pub fn until(now: Micros, then: Micros) -> Duration {
    Duration::from_micros(then.saturating_sub(now))
}
