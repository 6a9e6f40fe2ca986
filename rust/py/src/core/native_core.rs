//! `NativeCore`.

use d_engine_raft::{Core, Effect, Index, Micros, NodeId, Term};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::alone::Alone;
use super::configuration::LIMIT;
use super::effects::give_role;
use super::face::Face;
use super::records::{Place, bounded, number};

/// One member's protocol state, in Rust: `step` is its only entrance.
///
/// Inputs and effects are the records of `d_engine.pure`. An object belongs to one thread at a time: a call that comes while another
/// one is under way raises `RuntimeError`.
#[pyclass(frozen, module = "d_engine.core")]
pub struct NativeCore(Alone<Inside>);

struct Inside {
    core: Core,
    face: Face,
    effects: Vec<Effect>,
}

/// The moment that something is made at, or asked for.
pub fn read_now(now: &Bound<'_, PyAny>, function: &'static str) -> PyResult<Micros> {
    let place = Place::new(function, "now");
    bounded(number(now, place)?, LIMIT, place)
}

#[pymethods]
impl NativeCore {
    #[new]
    fn new(now: &Bound<'_, PyAny>, settings: &Bound<'_, PyAny>, start: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = now.py();
        let mut face = Face::new(py)?;
        let (settings, start) = (face.read_settings(settings)?, face.read_start(start)?);
        let core = Core::new(read_now(now, "NativeCore")?, settings, start);
        Ok(Self(Alone::new(Inside { core, face, effects: Vec::new() })))
    }

    /// Takes in one thing that happened, and says what is to be done, in order.
    fn step<'py>(&self, input: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = input.py();
        let mut held = self.0.enter(py)?;
        let (now, input) = held.inside.face.read_input(input)?;
        held.change(py, |Inside { core, face, effects }| {
            core.step(now, input, effects);
            let mut given = Vec::with_capacity(effects.len());
            for effect in effects.drain(..) {
                given.push(face.give_effect(py, effect)?);
            }
            PyList::new(py, given)
        })
    }

    /// When `Time` must be stepped at the latest; `None`: nothing is due, ever.
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<Micros>> {
        Ok(self.0.enter(py)?.inside.core.deadline())
    }

    /// Everything worth showing.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut held = self.0.enter(py)?;
        let Inside { core, face, .. } = &mut held.inside;
        face.give_status(py, &core.status())
    }

    /// What this core has in common with every other that took the same inputs: 32 bytes.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.enter(py)?.inside.core.digest()))
    }

    /// What it is.
    #[getter]
    fn role<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(give_role(py, self.0.enter(py)?.inside.core.role()))
    }

    /// The newest term it has seen.
    #[getter]
    fn term(&self, py: Python<'_>) -> PyResult<Term> {
        Ok(self.0.enter(py)?.inside.core.term())
    }

    /// Who leads, as far as it knows.
    #[getter]
    fn leader(&self, py: Python<'_>) -> PyResult<Option<NodeId>> {
        Ok(self.0.enter(py)?.inside.core.leader())
    }

    /// Committed up to here.
    #[getter]
    fn commit(&self, py: Python<'_>) -> PyResult<Index> {
        Ok(self.0.enter(py)?.inside.core.commit())
    }

    /// On a leader: up to where that follower holds the log.
    fn matched(&self, node: &Bound<'_, PyAny>) -> PyResult<Option<Index>> {
        let (py, node) = (node.py(), number(node, Place::new("matched", "node"))?);
        let status = self.0.enter(py)?.inside.core.status();
        Ok(status.progress.iter().find(|follower| follower.id == node).map(|follower| follower.matched))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let status = self.0.enter(py)?.inside.core.status();
        let role = give_role(py, status.role);
        Ok(format!("<NativeCore {}: {role}, term {}, commit {}>", status.id, status.term, status.commit))
    }
}
