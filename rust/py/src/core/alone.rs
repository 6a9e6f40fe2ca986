//! What belongs to one thread at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::Report;

/// Used by one caller at a time: another one is told so, and never waits.
pub struct Alone<T>(Mutex<Held<T>>);

/// What is held while it is used.
pub struct Held<T> {
    pub inside: T,
    /// Something has failed half way: nobody knows what holds.
    broken: bool,
}

impl<T> Alone<T> {
    pub const fn new(inside: T) -> Self {
        Self(Mutex::new(Held { inside, broken: false }))
    }

    /// Takes it for one call.
    pub fn enter(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Held<T>>> {
        match self.0.try_lock() {
            Ok(held) if !held.broken => Ok(held),
            Ok(_) | Err(TryLockError::Poisoned(_)) => Err(defect(py)),
            Err(TryLockError::WouldBlock) => {
                Err(PyRuntimeError::new_err("this object is being used: it belongs to one thread at a time"))
            }
        }
    }
}

impl<T> Held<T> {
    /// Does what must not end half way. A panic must neither pass for an exception of the caller's, nor leave something behind
    /// that seems to be well.
    pub fn change<R>(&mut self, py: Python<'_>, work: impl FnOnce(&mut T) -> PyResult<R>) -> PyResult<R> {
        self.broken = true;
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut self.inside))).map_err(|_| defect(py))??;
        self.broken = false;
        Ok(done)
    }
}

/// What is said once something has failed half way.
fn defect(py: Python<'_>) -> PyErr {
    Report::new("DEngineError", "a step has failed half way: this object's state cannot be relied on")
        .text("hint", "This is a defect of d-engine-core: please report it")
        .raise(py)
}
