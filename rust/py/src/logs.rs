//! Log records on their way to `logging`: a bounded queue that any thread fills and one Python thread empties.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use d_engine_node::{Level, LogRecord, LogSink};
use pyo3::prelude::*;

use crate::convert;

/// Records kept; more are dropped and counted.
const CAPACITY: usize = 8_192;
/// Records taken at once.
const CHUNK: usize = 1_024;
/// Turns everything off.
const OFF: u8 = 100;

/// (level, Unix seconds, part, message, node, term, index).
type Row = (u8, f64, &'static str, String, Option<u64>, Option<u64>, Option<u64>);

struct State {
    records: VecDeque<(f64, LogRecord)>,
    dropped: u64,
    woken: bool,
}

static LEVEL: AtomicU8 = AtomicU8::new(OFF);
static STATE: Mutex<State> = Mutex::new(State { records: VecDeque::new(), dropped: 0, woken: false });
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `logging` counts.
const fn number(level: Level) -> u8 {
    match level {
        Level::Debug => 10,
        Level::Info => 20,
        Level::Warning => 30,
        Level::Error => 40,
    }
}

/// The node's `LogSink`: all nodes of the process share one queue.
pub struct Sink;

impl LogSink for Sink {
    fn enabled(&self, level: Level) -> bool {
        number(level) >= LEVEL.load(Ordering::Relaxed)
    }

    fn log(&self, record: LogRecord) {
        if !self.enabled(record.level) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut state = lock();
        if state.records.len() >= CAPACITY {
            state.dropped += 1;
            return;
        }
        let first = state.records.is_empty();
        state.records.push_back((now, record));
        drop(state);
        if first {
            CHANGED.notify_all();
        }
    }
}

/// Records below this `logging` level are not made. An atomic; 100 turns all off (the default).
#[pyfunction]
pub fn log_level(level: i64) {
    LEVEL.store(u8::try_from(level.clamp(0, i64::from(OFF))).unwrap_or(OFF), Ordering::Relaxed);
}

/// Waits (detached) until records are there, the timeout, or `log_wake`. Returns them, at most 1,024, and how many were dropped
/// since the last call because the queue (8,192) was full.
#[pyfunction]
pub fn log_take(py: Python<'_>, timeout: f64) -> PyResult<(Vec<Row>, u64)> {
    let deadline = convert::span(timeout)?.and_then(|limit| Instant::now().checked_add(limit));
    Ok(py.detach(|| take(deadline)))
}

fn take(deadline: Option<Instant>) -> (Vec<Row>, u64) {
    let mut state = lock();
    while state.records.is_empty() && !state.woken {
        let Some(deadline) = deadline else {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    state.woken = false;
    let count = state.records.len().min(CHUNK);
    let rows = state.records.drain(..count).map(row).collect();
    (rows, std::mem::take(&mut state.dropped))
}

fn row((time, record): (f64, LogRecord)) -> Row {
    (number(record.level), time, record.part, record.message, Some(record.node), record.term, record.index)
}

/// Ends a `log_take` that waits.
#[pyfunction]
pub fn log_wake(py: Python<'_>) {
    py.detach(|| lock().woken = true);
    CHANGED.notify_all();
}
