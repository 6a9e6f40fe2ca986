//! Where a blocking call waits for its one value.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::wake::{self, Wake};

/// Between two looks for signals.
const LOOK: Duration = Duration::from_millis(100);

/// Takes one value on whatever thread, gives it to the thread that waits.
pub struct Slot<T> {
    value: Mutex<Option<T>>,
    filled: Condvar,
}

impl<T: Send + 'static> Slot<T> {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { value: Mutex::new(None), filled: Condvar::new() })
    }

    /// Puts the value in; only the first one counts.
    pub fn put(self: &Arc<Self>, value: T) {
        let late = {
            let mut place = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            if place.is_none() { place.replace(value) } else { Some(value) }
        };
        drop(late);
        wake::wake(Arc::clone(self) as Arc<dyn Wake>);
    }

    /// Waits for the value, detached, and looks for signals: Ctrl-C ends the wait. `None` at the deadline.
    pub fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<T>> {
        loop {
            if let Some(value) = py.detach(|| self.wait_until(deadline)) {
                return Ok(Some(value));
            }
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
        }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<T> {
        let limit = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()).min(LOOK));
        let place = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut place, _) = self
            .filled
            .wait_timeout_while(place, limit, |place| place.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        place.take()
    }
}

impl<T: Send> Wake for Slot<T> {
    fn wake(&self) {
        self.filled.notify_all();
    }
}

/// Something that happens once, for any number of threads that wait for it.
#[derive(Default)]
pub struct Latch {
    done: Mutex<bool>,
    opened: Condvar,
}

impl Latch {
    /// It has happened.
    pub fn open(&self) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Waits for it, detached, and looks for signals.
    pub fn wait(&self, py: Python<'_>) -> PyResult<()> {
        while !py.detach(|| self.wait_a_moment()) {
            py.check_signals()?;
        }
        Ok(())
    }

    fn wait_a_moment(&self) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *self.opened.wait_timeout_while(done, LOOK, |done| !*done).unwrap_or_else(PoisonError::into_inner).0
    }
}
