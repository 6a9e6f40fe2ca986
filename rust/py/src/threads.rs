//! Threads of the node that call plugins keep their thread state from their beginning to their end: attaching then costs about
//! 0.15 µs instead of 9.

use std::cell::Cell;

use d_engine_node::ThreadHooks;
use pyo3::ffi;

thread_local! {
    static KEPT: Cell<Option<Kept>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Kept {
    before: ffi::PyGILState_STATE,
    state: *mut ffi::PyThreadState,
}

/// Makes a thread state when a thread begins, takes it away when the thread ends; detached in between.
pub struct KeepThreadState;

impl ThreadHooks for KeepThreadState {
    fn started(&self, _thread: &str) {
        // SAFETY: may be called at any time, from any thread.
        if unsafe { ffi::Py_IsInitialized() } == 0 || KEPT.get().is_some() {
            return;
        }
        // SAFETY: the interpreter is initialized, and this thread is native and not attached, so that `Ensure` makes it a
        // thread state of its own. `SaveThread` detaches from just that state and returns it; the count that `Ensure` raised
        // keeps the state alive until `ending` lowers it again on this same thread (`KEPT` is thread-local).
        let kept = unsafe {
            let before = ffi::PyGILState_Ensure();
            Kept { before, state: ffi::PyEval_SaveThread() }
        };
        KEPT.set(Some(kept));
    }

    fn ending(&self, _thread: &str) {
        let Some(kept) = KEPT.take() else { return };
        // SAFETY: may be called at any time, from any thread.
        if unsafe { ffi::Py_IsInitialized() } == 0 {
            return; // the interpreter has freed it, or is about to
        }
        // SAFETY: `state` came from `SaveThread` on this thread, nothing has been attached since that was not detached again,
        // and the interpreter is still there; `before` belongs to the `Ensure` that made the state.
        unsafe {
            ffi::PyEval_RestoreThread(kept.state);
            ffi::PyGILState_Release(kept.before);
        }
    }
}
