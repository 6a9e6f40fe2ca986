//! `Entries`: a batch for the state machine.

use std::sync::atomic::{AtomicUsize, Ordering};

use d_engine_raft::{Index, Term};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice};

use crate::entry::Entry;

/// Microseconds of a clock of Unix time, as Python's seconds.
#[expect(clippy::cast_precision_loss, reason = "exact up to the year 2255")]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

struct Item {
    index: Index,
    term: Term,
    time: f64,
    data: Py<PyBytes>,
}

/// A batch of committed commands, in log order: a sequence that makes its `Entry` objects when they are asked for.
///
/// Indexes rise, but with gaps where the log holds entries that are not for the state machine.
#[pyclass(frozen, generic, sequence, module = "d_engine._core")]
pub struct Entries {
    items: Vec<Item>,
}

impl Entries {
    /// The payloads are copied out of the log's buffers here, so that a batch that is kept holds nothing else in memory.
    pub fn of(py: Python<'_>, entries: &[d_engine_raft::Entry]) -> Self {
        let items = entries
            .iter()
            .map(|entry| Item {
                index: entry.index(),
                term: entry.term(),
                time: seconds(entry.time()),
                data: PyBytes::new(py, &entry.record()[d_engine_raft::HEADER_BYTES..]).unbind(),
            })
            .collect();
        Self { items }
    }

    fn make<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, Entry>> {
        let item = self.items.get(at).ok_or_else(|| PyIndexError::new_err("Entries index out of range"))?;
        Bound::new(py, Entry { index: item.index, term: item.term, time: item.time, data: item.data.clone_ref(py) })
    }
}

#[pymethods]
impl Entries {
    #[new]
    fn new(entries: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = entries.py();
        let mut items = Vec::new();
        for entry in entries.try_iter()? {
            let entry = entry?.cast_into::<Entry>()?;
            let entry = entry.get();
            items.push(Item { index: entry.index, term: entry.term, time: entry.time, data: entry.data.clone_ref(py) });
        }
        Ok(Self { items })
    }

    /// The data of all entries, in one go. A new list each time.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.items.iter().map(|item| &item.data))
    }

    /// The positions of all entries. A new list each time.
    #[getter]
    fn indexes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.items.iter().map(|item| item.index))
    }

    /// The leaders' stamps of all entries, Unix seconds. A new list each time.
    #[getter]
    fn times<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.items.iter().map(|item| item.time))
    }

    fn __len__(&self) -> usize {
        self.items.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let length = isize::try_from(self.items.len())?;
        if let Ok(slice) = index.cast::<PySlice>() {
            let bounds = slice.indices(length)?;
            let list = PyList::empty(py);
            let mut at = bounds.start;
            for _ in 0..bounds.slicelength {
                list.append(self.make(py, usize::try_from(at)?)?)?;
                at += bounds.step;
            }
            return Ok(list.into_any());
        }
        let at: isize = index.extract()?;
        let at = if at < 0 { at + length } else { at };
        Ok(self.make(py, usize::try_from(at).unwrap_or(usize::MAX))?.into_any())
    }

    fn __iter__(slf: Bound<'_, Self>) -> EntriesIterator {
        EntriesIterator { entries: slf.unbind(), next: AtomicUsize::new(0) }
    }

    fn __repr__(&self) -> String {
        match (self.items.first(), self.items.last()) {
            (Some(first), Some(last)) => {
                format!("<Entries: {} from index {} to {}>", self.items.len(), first.index, last.index)
            }
            _ => "<Entries: none>".to_owned(),
        }
    }
}

/// Goes once over the entries of a batch.
#[pyclass(frozen, module = "d_engine._core", name = "_EntriesIterator")]
pub struct EntriesIterator {
    entries: Py<Entries>,
    next: AtomicUsize,
}

#[pymethods]
impl EntriesIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Entry>>> {
        let entries = self.entries.get();
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        if at >= entries.items.len() {
            self.next.store(entries.items.len(), Ordering::Relaxed);
            return Ok(None);
        }
        entries.make(py, at).map(Some)
    }

    fn __length_hint__(&self) -> usize {
        self.entries.get().items.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}
