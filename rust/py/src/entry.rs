//! `Entry`.

use std::hash::{DefaultHasher, Hash, Hasher};

use d_engine_raft::{Index, Term};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One committed command. Immutable. Can be made by hand, for tests of a state machine.
#[pyclass(frozen, generic, module = "d_engine._core")]
pub struct Entry {
    /// Its position in the log, from 1.
    #[pyo3(get)]
    pub index: Index,
    /// The term of the leader that appended it.
    #[pyo3(get)]
    pub term: Term,
    /// Unix seconds, stamped by the leader; the same on every node, and never going back from one entry to the next.
    #[pyo3(get)]
    pub time: f64,
    /// What was proposed.
    #[pyo3(get)]
    pub data: Py<PyBytes>,
}

#[pymethods]
impl Entry {
    #[new]
    fn new(index: Index, term: Term, time: f64, data: Py<PyBytes>) -> Self {
        Self { index, term, time, data }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> Py<PyAny> {
        let Ok(other) = other.cast::<Self>() else { return py.NotImplemented() };
        let other = other.get();
        let same = self.index == other.index
            && self.term == other.term
            && self.time.to_bits() == other.time.to_bits()
            && self.data.as_bytes(py) == other.data.as_bytes(py);
        same.into_pyobject(py).map_or_else(|never| match never {}, |same| same.to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.index, self.term).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let data = self.data.bind(py).repr()?;
        Ok(format!("Entry(index={}, term={}, time={}, data={data})", self.index, self.term, self.time))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (Index, Term, f64, Py<PyBytes>)) {
        let entry = slf.get();
        let state = (entry.index, entry.term, entry.time, entry.data.clone_ref(slf.py()));
        (slf.get_type().into_any(), state)
    }
}
