//! `NativeDriver`.

use d_engine_node::driver::{Action, Driver};
use d_engine_raft::{Core, Micros, NodeId, Term};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use sha2::{Digest, Sha256};

use super::alone::{Alone, Held};
use super::driver_inputs::{DriverFace, Waiters};
use super::effects::give_role;
use super::native_core::read_now;
use super::records::{Place, number};

/// A native core with everything that a node decides around it, for lock step with `d_engine.pure.driver.Driver`.
///
/// Inputs and actions are the records of `d_engine.pure.driver`. An object belongs to one thread at a time.
#[pyclass(frozen, module = "d_engine._core")]
pub struct NativeDriver(Alone<Inside>);

struct Inside {
    driver: Driver<Core, Waiters>,
    face: DriverFace,
    actions: Vec<Action<Waiters>>,
}

/// Runs the driver, and gives what it wants done.
fn act<'py>(
    py: Python<'py>,
    held: &mut Held<Inside>,
    work: impl FnOnce(&mut Driver<Core, Waiters>, &mut Vec<Action<Waiters>>),
) -> PyResult<Bound<'py, PyList>> {
    held.change(py, |Inside { driver, face, actions }| {
        work(driver, actions);
        let mut given = Vec::with_capacity(actions.len());
        for action in actions.drain(..) {
            given.push(face.give_action(py, action)?);
        }
        PyList::new(py, given)
    })
}

#[pymethods]
impl NativeDriver {
    #[new]
    fn new(
        now: &Bound<'_, PyAny>,
        settings: &Bound<'_, PyAny>,
        start: &Bound<'_, PyAny>,
        driver_settings: &Bound<'_, PyAny>,
        driver_start: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let mut face = DriverFace::new(now.py())?;
        let core =
            Core::new(read_now(now, "NativeDriver")?, face.core.read_settings(settings)?, face.core.read_start(start)?);
        let driver = Driver::new(core, face.read_settings(driver_settings)?, &face.read_start(driver_start)?);
        Ok(Self(Alone::new(Inside { driver, face, actions: Vec::new() })))
    }

    /// Takes in one thing that happened.
    fn handle<'py>(
        &self,
        now: &Bound<'py, PyAny>,
        wall: &Bound<'py, PyAny>,
        input: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = input.py();
        let mut held = self.0.enter(py)?;
        let (now, wall) = (read_now(now, "handle")?, number(wall, Place::new("handle", "wall"))?);
        let input = held.inside.face.read_input(input)?;
        act(py, &mut held, |driver, actions| driver.handle(now, wall, input, actions))
    }

    /// Ends a turn: steps what has been collected, then fires what is due.
    fn flush<'py>(&self, now: &Bound<'py, PyAny>, wall: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = now.py();
        let (now, wall) = (read_now(now, "flush")?, number(wall, Place::new("flush", "wall"))?);
        act(py, &mut *self.0.enter(py)?, |driver, actions| driver.flush(now, wall, actions))
    }

    /// Ends every call that waits in here; for a node that stops without closing its core.
    fn fail_everything<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        act(py, &mut *self.0.enter(py)?, Driver::fail_everything)
    }

    /// When `flush` must be called at the latest.
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<Micros>> {
        Ok(self.0.enter(py)?.inside.driver.deadline())
    }

    /// SHA-256 over everything that the driver and its core decide by.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let held = self.0.enter(py)?;
        let driver = &held.inside.driver;
        let hash = Sha256::new().chain_update(driver.core().digest()).chain_update(driver.state());
        Ok(PyBytes::new(py, &hash.finalize()))
    }

    /// What this node is, its term, and whom it follows.
    fn position<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Term, Option<NodeId>)> {
        let (role, term, leader) = self.0.enter(py)?.inside.driver.position();
        Ok((give_role(py, role), term, leader))
    }

    /// Everything worth showing of its core.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut held = self.0.enter(py)?;
        let Inside { driver, face, .. } = &mut held.inside;
        face.core.give_status(py, &driver.core().status())
    }

    /// The last entry that the state machine has applied.
    #[getter]
    fn applied<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let held = self.0.enter(py)?;
        held.inside.face.core.give_id(py, held.inside.driver.applied())
    }

    /// A leader is known, and an entry of its term is applied here.
    #[getter]
    fn ready(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.enter(py)?.inside.driver.ready())
    }

    /// Whether nothing is left to do.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.enter(py)?.inside.driver.closed())
    }

    /// Calls that wait in here.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.0.enter(py)?.inside.driver.waiting())
    }
}
