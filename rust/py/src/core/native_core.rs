//! `NativeCore`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, TryLockError};

use d_engine_raft::{Core, Effect, Index, Micros, NodeId, Term};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::Report;

use super::configuration::LIMIT;
use super::effects::give_role;
use super::face::Face;
use super::records::{Place, bounded};

/// One member's protocol state, in Rust: `step` is its only entrance.
///
/// Inputs and effects are the records of `d_engine.pure`. An object belongs to one thread at a time: a call that comes while another
/// one is under way raises `RuntimeError`.
#[pyclass(frozen, module = "d_engine.core")]
pub struct NativeCore(Mutex<Inside>);

struct Inside {
    core: Core,
    face: Face,
    effects: Vec<Effect>,
    /// A step has failed half way: nobody knows what holds.
    broken: bool,
}

impl NativeCore {
    fn inside(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Inside>> {
        let inside = match self.0.try_lock() {
            Ok(inside) => inside,
            Err(TryLockError::Poisoned(_)) => return Err(defect(py)),
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err("this core is being used: it belongs to one thread at a time"));
            }
        };
        if inside.broken { Err(defect(py)) } else { Ok(inside) }
    }
}

/// What is said once a step has panicked.
fn defect(py: Python<'_>) -> PyErr {
    Report::new("DEngineError", "a step of this core has failed, its state cannot be relied on")
        .text("hint", "This is a defect of d-engine-core: please report it")
        .raise(py)
}

/// The moment a core is made at.
pub fn read_now(now: u64, record: &'static str) -> PyResult<Micros> {
    bounded(now, LIMIT, Place::new(record, "now"))
}

#[pymethods]
impl NativeCore {
    #[new]
    fn new(py: Python<'_>, now: Micros, settings: &Bound<'_, PyAny>, start: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut face = Face::new(py)?;
        let (settings, start) = (face.read_settings(settings)?, face.read_start(start)?);
        let core = Core::new(read_now(now, "NativeCore")?, settings, start);
        Ok(Self(Mutex::new(Inside { core, face, effects: Vec::new(), broken: false })))
    }

    /// Takes in one thing that happened, and says what is to be done, in order.
    fn step<'py>(&self, input: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = input.py();
        let mut guard = self.inside(py)?;
        let Inside { core, face, effects, broken } = &mut *guard;
        let (now, input) = face.read_input(input)?;
        // A panic must not pass for an exception of the caller's, nor leave a core behind that seems to be well.
        *broken = true;
        catch_unwind(AssertUnwindSafe(|| core.step(now, input, effects))).map_err(|_| defect(py))?;
        let mut given = Vec::with_capacity(effects.len());
        for effect in effects.drain(..) {
            given.push(face.give_effect(py, effect)?);
        }
        *broken = false;
        PyList::new(py, given)
    }

    /// When `Time` must be stepped at the latest; `None`: nothing is due, ever.
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<Micros>> {
        Ok(self.inside(py)?.core.deadline())
    }

    /// Everything worth showing.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut guard = self.inside(py)?;
        let Inside { core, face, .. } = &mut *guard;
        face.give_status(py, &core.status())
    }

    /// What this core has in common with every other that took the same inputs: 32 bytes.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inside(py)?.core.digest()))
    }

    /// What it is.
    #[getter]
    fn role<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(give_role(py, self.inside(py)?.core.role()))
    }

    /// The newest term it has seen.
    #[getter]
    fn term(&self, py: Python<'_>) -> PyResult<Term> {
        Ok(self.inside(py)?.core.term())
    }

    /// Who leads, as far as it knows.
    #[getter]
    fn leader(&self, py: Python<'_>) -> PyResult<Option<NodeId>> {
        Ok(self.inside(py)?.core.leader())
    }

    /// Committed up to here.
    #[getter]
    fn commit(&self, py: Python<'_>) -> PyResult<Index> {
        Ok(self.inside(py)?.core.commit())
    }

    /// On a leader: up to where that follower holds the log.
    fn matched(&self, py: Python<'_>, node: NodeId) -> PyResult<Option<Index>> {
        let status = self.inside(py)?.core.status();
        Ok(status.progress.iter().find(|follower| follower.id == node).map(|follower| follower.matched))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let status = self.inside(py)?.core.status();
        let role = give_role(py, status.role);
        Ok(format!("<NativeCore {}: {role}, term {}, commit {}>", status.id, status.term, status.commit))
    }
}
