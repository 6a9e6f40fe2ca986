//! Lending a borrowed writer or reader to a Python object for the time of one call.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// What a Python object may use until the loan is over. `T` is a trait object without a lifetime of its own.
pub struct Loan<T: ?Sized + 'static> {
    place: Mutex<Option<Place<T>>>,
    thread: ThreadId,
}

struct Place<T: ?Sized>(NonNull<T>);

// SAFETY: the pointer is only followed on the thread that made the loan (`Loan::with` compares), and `Loan` itself moves and
// shares nothing but the address.
unsafe impl<T: ?Sized> Send for Place<T> {}

/// Ends the loan when it is dropped.
pub struct Lender<T: ?Sized + 'static>(Arc<Loan<T>>);

impl<T: ?Sized> Lender<T> {
    /// Lends `target`.
    ///
    /// # Safety
    /// What `target` points to must stay valid, and be used by nobody else, until the returned lender is dropped; the lender must
    /// be dropped (not leaked) on this thread.
    pub unsafe fn new(target: NonNull<T>) -> Self {
        Self(Arc::new(Loan { place: Mutex::new(Some(Place(target))), thread: thread::current().id() }))
    }

    /// What the Python object keeps.
    pub fn loan(&self) -> Arc<Loan<T>> {
        Arc::clone(&self.0)
    }
}

impl<T: ?Sized> Drop for Lender<T> {
    fn drop(&mut self) {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Lets a closure that uses a loan run detached: it stays on its thread.
struct SameThread<T>(T);

// SAFETY: `Python::detach` runs its closure on the calling thread; nothing is sent anywhere.
unsafe impl<T> Send for SameThread<T> {}

impl<T> SameThread<T> {
    fn into_inner(self) -> T {
        self.0
    }
}

impl<T: ?Sized> Loan<T> {
    /// Uses what is lent, detached.
    pub fn with<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut T) -> R + Send) -> PyResult<R> {
        let place = {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            if place.is_some() && thread::current().id() != self.thread {
                return Err(PyRuntimeError::new_err(
                    "a snapshot's file works on the thread that it was handed to only",
                ));
            }
            // Taken out while it is in use: nobody holds the lock meanwhile, and a use within a use finds nothing.
            place.take()
        };
        let Some(place) = place else {
            return Err(PyValueError::new_err("a snapshot's file ends with the call that it was handed to"));
        };
        let mut target = place.0;
        let moved = SameThread(&mut target);
        let result = py.detach(|| {
            let target = moved.into_inner();
            // SAFETY: the lender's maker vouches for the target until the lender is dropped. The place was still there, so the
            // lender is not dropped; it is dropped on this very thread, which is here now. `place` was taken: no second use.
            work(unsafe { target.as_mut() })
        });
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(result)
    }
}
