//! Where the core thread waits if the transport brings no place of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::traits::{Park, Unpark};

/// The guarded value, also after a panic elsewhere: every critical section here leaves its data whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct State {
    woken: bool,
    parked: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// A condition variable.
#[derive(Default)]
pub struct CondvarPark(Arc<Shared>);

impl Park for CondvarPark {
    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(CondvarUnpark(Arc::clone(&self.0)))
    }

    fn park(&mut self, limit: Option<Duration>) {
        if limit == Some(Duration::ZERO) {
            return;
        }
        let mut state = lock(&self.0.state);
        if !state.woken {
            state.parked = true;
            state = match limit {
                Some(limit) => self.0.wake.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.parked = false;
        }
        state.woken = false;
    }
}

struct CondvarUnpark(Arc<Shared>);

impl Unpark for CondvarUnpark {
    fn unpark(&self) {
        let mut state = lock(&self.0.state);
        let wake = !state.woken && state.parked;
        state.woken = true;
        drop(state);
        if wake {
            self.0.wake.notify_one();
        }
    }
}
