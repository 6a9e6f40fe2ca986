//! What one core's conversions keep between its steps.

use d_engine_raft::Incarnation;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use super::entries::{EntryPairs, KINDS};
use super::records::{Classes, Place, Record};

/// Both directions between the records of Python and the core.
pub struct Face {
    pub records: &'static Classes<Record>,
    pub entries: EntryPairs,
    /// Names of the kinds of entries, each at its number.
    pub kinds: [Py<PyString>; 4],
    incarnations: Vec<(Incarnation, Py<PyAny>)>,
}

/// Incarnations that are remembered: those of a cluster.
const INCARNATIONS: usize = 16;

impl Face {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self {
            records: Classes::get(py)?,
            entries: EntryPairs::new(),
            kinds: KINDS.map(|name| PyString::intern(py, name).unbind()),
            incarnations: Vec::new(),
        })
    }

    /// An incarnation on its way to Python. Numbers of 128 bits are slow to make and to read, and there are few of them.
    pub fn give_incarnation<'py>(&mut self, py: Python<'py>, value: Incarnation) -> PyResult<Bound<'py, PyAny>> {
        if let Some((_, object)) = self.incarnations.iter().find(|(known, _)| *known == value) {
            return Ok(object.bind(py).clone());
        }
        let object = value.0.into_pyobject(py)?.into_any();
        self.remember(value, &object);
        Ok(object)
    }

    /// An incarnation that Python gave.
    pub fn read_incarnation(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Incarnation> {
        if let Some(&(known, _)) = self.incarnations.iter().find(|(_, known)| known.as_ptr() == object.as_ptr()) {
            return Ok(known);
        }
        let Ok(number) = object.cast::<PyInt>() else { return Err(place.wrong_type("an int", object)) };
        let number =
            number.extract().map_err(|_: PyErr| place.wrong_value("a number from 0 to 2**128 - 1 is needed"))?;
        self.remember(Incarnation(number), object);
        Ok(Incarnation(number))
    }

    fn remember(&mut self, value: Incarnation, object: &Bound<'_, PyAny>) {
        if self.incarnations.len() == INCARNATIONS {
            self.incarnations.remove(0);
        }
        self.incarnations.push((value, object.clone().unbind()));
    }
}
