//! `NativeStorage`: the native log with the calls of a Python storage, one by one.
//!
//! A node has no Python between itself and this log; here it is put on the bench of the conformance suite.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use d_engine_node::storage::FileStorage;
use d_engine_node::{LogStore, Storage, StorageError};
use d_engine_raft::{Entry, HardState, Index, LogId, NodeId, Persist, Term};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::convert;
use crate::errors;
use crate::storage::{identity_from_python, identity_to_python};

/// Small, so that tests see more than one file.
const SEGMENT_BYTES: u64 = 4 << 20;

struct Open {
    log: Arc<dyn LogStore>,
    hard_state: HardState,
    purged: LogId,
    last: LogId,
}

struct Parts {
    storage: FileStorage,
    open: Option<Open>,
}

impl Parts {
    fn open(&mut self) -> Result<&mut Open, StorageError> {
        self.open.as_mut().ok_or_else(|| StorageError::Inconsistent("the storage is not open".into()))
    }
}

impl Open {
    fn write(&self, unit: Persist) -> Result<(), StorageError> {
        self.log.write(&[unit])?;
        self.log.sync().map(drop)
    }

    fn holds(&self, position: LogId) -> Result<bool, StorageError> {
        if position.index <= self.purged.index || position.index > self.last.index {
            return Ok(false);
        }
        let found = self.log.read(position.index, position.index + 1, 1)?;
        Ok(found.is_some_and(|entries| entries.first().is_some_and(|entry| entry.term() == position.term)))
    }

    fn term_at(&self, index: Index) -> Result<Term, StorageError> {
        if index == self.purged.index {
            return Ok(self.purged.term);
        }
        let found = self.log.read(index, index + 1, 1)?;
        Ok(found.and_then(|entries| entries.first().map(Entry::term)).unwrap_or_default())
    }
}

/// The native log in a directory: `StorageEngine`, `LogStore` and `MetaStore` in one, with plain tuples.
#[pyclass(frozen, module = "d_engine._core")]
pub struct NativeStorage {
    parts: Mutex<Parts>,
}

impl NativeStorage {
    /// Runs it detached, and raises what the node would raise.
    fn call<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Parts) -> Result<R, StorageError> + Send,
    ) -> PyResult<R> {
        py.detach(|| work(&mut self.parts())).map_err(|error| errors::storage(0, &error).raise(py))
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NativeStorage {
    #[new]
    fn new(directory: PathBuf) -> Self {
        Self { parts: Mutex::new(Parts { storage: FileStorage::new(directory, SEGMENT_BYTES), open: None }) }
    }

    /// Takes the directory, and returns the identity that is stored there.
    fn open<'py>(&self, py: Python<'py>, identity: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let proposed = identity_from_python(identity)?;
        let stored = self.call(py, |parts| {
            let stored = parts.storage.open(&proposed)?;
            let loaded = parts.storage.load()?;
            let term = loaded.term_runs.last().map_or(loaded.purged.term, |&(_, term)| term);
            parts.open = Some(Open {
                log: parts.storage.log()?,
                hard_state: loaded.hard_state,
                purged: loaded.purged,
                last: LogId::new(loaded.last, term),
            });
            Ok(stored)
        })?;
        identity_to_python(py, &stored)
    }

    /// Gives the directory free. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |parts| {
            parts.open = None;
            parts.storage.close(true)
        })
    }

    /// (purged index, its term, last index, its term).
    fn bounds(&self, py: Python<'_>) -> PyResult<(Index, Term, Index, Term)> {
        self.call(py, |parts| {
            let Open { purged, last, .. } = parts.open()?;
            Ok((purged.index, purged.term, last.index, last.term))
        })
    }

    /// Records as (index, term, bytes).
    fn read<'py>(
        &self,
        py: Python<'py>,
        start: Index,
        stop: Index,
        max_bytes: usize,
    ) -> PyResult<Vec<(Index, Term, Bound<'py, PyBytes>)>> {
        let entries = self.call(py, |parts| {
            let open = parts.open()?;
            if start <= open.purged.index || start >= stop || stop > open.last.index + 1 {
                return Err(StorageError::Inconsistent(format!("entries {start} to {stop} (half open) are not held")));
            }
            open.log.read(start, stop, max_bytes)
        })?;
        let entries = entries.unwrap_or_default();
        Ok(entries.iter().map(|entry| (entry.index(), entry.term(), PyBytes::new(py, entry.record()))).collect())
    }

    /// Drops, appends and syncs.
    #[expect(clippy::needless_pass_by_value, reason = "extracted from a Python argument")]
    fn append(
        &self,
        py: Python<'_>,
        records: Vec<(Index, Term, Bound<'_, PyAny>)>,
        truncate_from: Option<Index>,
    ) -> PyResult<()> {
        let mut entries = Vec::with_capacity(records.len());
        for (index, term, record) in &records {
            let mut record = Bytes::copy_from_slice(convert::buffer(record)?.as_bytes());
            let entry = Entry::decode(&mut record).map_err(|error| PyValueError::new_err(error.to_string()))?;
            if !record.is_empty() || entry.id() != LogId::new(*index, *term) {
                return Err(PyValueError::new_err(format!("the record of {index} is that of {}", entry.id())));
            }
            entries.push(entry);
        }
        self.call(py, |parts| {
            let open = parts.open()?;
            let cut = truncate_from.filter(|from| *from <= open.last.index);
            let last = match (entries.last(), cut) {
                (Some(entry), _) => entry.id(),
                (None, Some(from)) => LogId::new(from - 1, open.term_at(from - 1)?),
                (None, None) => return Ok(()),
            };
            open.write(Persist { truncate_from: cut, entries: entries.into(), ..Persist::default() })?;
            open.last = last;
            Ok(())
        })
    }

    /// Drops everything up to there; where the log does not hold that position, resets it.
    fn purge(&self, py: Python<'_>, index: Index, term: Term) -> PyResult<()> {
        let upto = LogId::new(index, term);
        self.call(py, |parts| {
            let open = parts.open()?;
            if index < open.purged.index || upto == open.purged {
                return Ok(());
            }
            if open.holds(upto)? {
                open.log.purge(upto)?;
                // By itself the native log makes a purge durable with the write that follows: nothing rests on it before.
                open.write(Persist { hard_state: Some(open.hard_state), ..Persist::default() })?;
            } else {
                open.write(Persist { reset_to: Some(upto), ..Persist::default() })?;
                open.last = upto;
            }
            open.purged = upto;
            Ok(())
        })
    }

    /// (term, vote), or None where nothing was saved.
    fn load(&self, py: Python<'_>) -> PyResult<Option<(Term, Option<NodeId>)>> {
        self.call(py, |parts| {
            let state = parts.open()?.hard_state;
            Ok((state != HardState::default()).then_some((state.term, state.vote)))
        })
    }

    /// Saves and syncs.
    fn save(&self, py: Python<'_>, term: Term, vote: Option<NodeId>) -> PyResult<()> {
        self.call(py, |parts| {
            let open = parts.open()?;
            let state = HardState { term, vote };
            open.write(Persist { hard_state: Some(state), ..Persist::default() })?;
            open.hard_state = state;
            Ok(())
        })
    }
}
