//! `Completions`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::answer;
use crate::convert;
use crate::fork::Native;
use crate::queue::{Item, Queue};

/// Where finished calls wait to be taken, for one event loop or one thread. Any number of nodes may put in.
#[pyclass(frozen, module = "d_engine._core")]
pub struct Completions {
    inner: Native<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    notifier: Mutex<Option<JoinHandle<()>>>,
}

impl Completions {
    /// For calls that put in.
    pub fn queue(&self, py: Python<'_>) -> PyResult<Arc<Queue>> {
        Ok(Arc::clone(&self.inner.get(py)?.queue))
    }
}

#[pymethods]
impl Completions {
    #[new]
    #[pyo3(signature = (notify=None))]
    fn new(notify: Option<Py<PyAny>>) -> PyResult<Self> {
        let queue = Arc::new(Queue::default());
        let notifier = notify.map(|notify| start_notifier(Arc::clone(&queue), notify)).transpose()?;
        Ok(Self { inner: Native::new("Completions", Inner { queue, notifier: Mutex::new(notifier) }) })
    }

    /// A descriptor that is readable while something waits (eventfd on Linux, else a pipe; made when first asked for).
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let queue = self.queue(py)?;
        py.detach(|| queue.descriptor()).map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Takes all (key, value, error) that wait; empties the descriptor first. Never blocks.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        triples(py, self.queue(py)?.take())
    }

    /// The same, but waits (detached) until there is something. [] at the timeout, None once the queue is closed and empty.
    fn wait<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Option<Bound<'py, PyList>>> {
        let queue = self.queue(py)?;
        let limit = convert::span(timeout)?;
        py.detach(|| queue.wait(limit)).map(|items| triples(py, items)).transpose()
    }

    /// Wakes `wait`; closes the descriptor; later completions are dropped. Idempotent.
    fn close(&self, py: Python<'_>) {
        let Some(inner) = self.inner.peek() else { return };
        py.detach(|| inner.close());
    }
}

impl Inner {
    fn close(&self) {
        self.queue.close();
        let notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(notifier) = notifier
            && notifier.thread().id() != thread::current().id()
        {
            // A panic of the notifier has nothing to say that matters here.
            let _ = notifier.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever drops the last reference may be attached, and the notifier may want to attach: it is not waited for.
        self.queue.close();
    }
}

fn triples(py: Python<'_>, items: VecDeque<Item>) -> PyResult<Bound<'_, PyList>> {
    let items = items.into_iter().map(|item| answer::triple(py, item)).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, items)
}

/// Calls `notify` for loops without `add_reader`, on a thread of its own: what fills the queue may be the core thread.
fn start_notifier(queue: Arc<Queue>, notify: Py<PyAny>) -> PyResult<JoinHandle<()>> {
    let run = move || {
        while queue.wait_notify() {
            let called = Python::try_attach(|py| {
                if let Err(error) = notify.call0(py) {
                    error.write_unraisable(py, Some(notify.bind(py)));
                }
            });
            if called.is_none() {
                return; // the interpreter is gone
            }
        }
    };
    thread::Builder::new()
        .name("d-engine-notify".into())
        .spawn(run)
        .map_err(|error| PyOSError::new_err(format!("cannot start a thread: {error}")))
}
