//! A Python snapshot store, as the node's snapshot and transfer threads see it.

use bytes::Bytes;
use d_engine_node::{SnapshotMeta, SnapshotReader, SnapshotStore, SnapshotWriter, StorageError};
use d_engine_raft::{Index, LogId, Term};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::boundary;
use crate::convert;

/// `SnapshotHooks`, taken apart.
pub struct Snapshots {
    create: Py<PyAny>,
    latest: Py<PyAny>,
    open: Py<PyAny>,
    partial: Py<PyAny>,
    retain: Py<PyAny>,
}

impl Snapshots {
    /// Reads the hooks of `hooks`.
    pub fn new(hooks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| hooks.getattr(name).map(Bound::unbind);
        Ok(Self {
            create: hook("create")?,
            latest: hook("latest")?,
            open: hook("open")?,
            partial: hook("partial")?,
            retain: hook("retain")?,
        })
    }
}

/// (index, term, digest, size): `_SnapshotMeta` of the stub.
type Meta<'py> = (Index, Term, Bound<'py, PyBytes>, u64);

fn to_python<'py>(py: Python<'py>, meta: &SnapshotMeta) -> Meta<'py> {
    let digest = meta.digest.as_ref().map_or(&[][..], |digest| &digest[..]);
    (meta.last.index, meta.last.term, PyBytes::new(py, digest), meta.size)
}

fn from_python(meta: &Bound<'_, PyAny>) -> PyResult<SnapshotMeta> {
    let (index, term, digest, size) = meta.extract::<Meta<'_>>()?;
    let digest = match digest.as_bytes() {
        [] => None,
        bytes => Some(bytes.try_into().map_err(|_| {
            PyValueError::new_err(format!("a snapshot's digest has 32 bytes or none, not {}", bytes.len()))
        })?),
    };
    Ok(SnapshotMeta { last: LogId::new(index, term), digest, size })
}

impl SnapshotStore for Snapshots {
    fn create(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let writer = boundary::call("SnapshotStore.create", |py| {
            let hooks = self.create.bind(py).call1((to_python(py, meta),))?;
            Writer::new(&hooks)
        })?;
        Ok(Box::new(writer))
    }

    fn latest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let latest = boundary::call("SnapshotStore.latest", |py| {
            let meta = self.latest.bind(py).call0()?;
            if meta.is_none() { Ok(None) } else { from_python(&meta).map(Some) }
        })?;
        Ok(latest)
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotReader>, StorageError> {
        let read = boundary::call("SnapshotStore.open", |py| {
            self.open.bind(py).call1((to_python(py, meta),)).map(Bound::unbind)
        })?;
        Ok(Box::new(Reader { read }))
    }

    fn partial(&self) -> Result<Option<(SnapshotMeta, u64)>, StorageError> {
        let partial = boundary::call("SnapshotStore.partial", |py| {
            let found = self.partial.bind(py).call0()?;
            if found.is_none() {
                return Ok(None);
            }
            let (meta, length) = found.extract::<(Bound<'_, PyAny>, u64)>()?;
            Ok(Some((from_python(&meta)?, length)))
        })?;
        Ok(partial)
    }

    fn retain(&self, count: usize) -> Result<(), StorageError> {
        Ok(boundary::call("SnapshotStore.retain", |py| self.retain.bind(py).call1((count,)).map(drop))?)
    }
}

struct Writer {
    write: Py<PyAny>,
    commit: Py<PyAny>,
    abort: Py<PyAny>,
}

impl Writer {
    fn new(hooks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| hooks.getattr(name).map(Bound::unbind);
        Ok(Self { write: hook("write")?, commit: hook("commit")?, abort: hook("abort")? })
    }
}

impl SnapshotWriter for Writer {
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        Ok(boundary::call("SnapshotWriter.write", |py| {
            self.write.bind(py).call1((offset, PyBytes::new(py, data))).map(drop)
        })?)
    }

    fn commit(self: Box<Self>, meta: &SnapshotMeta) -> Result<(), StorageError> {
        Ok(boundary::call("SnapshotWriter.commit", |py| self.commit.bind(py).call1((to_python(py, meta),)).map(drop))?)
    }

    fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(boundary::call("SnapshotWriter.abort", |py| self.abort.bind(py).call0().map(drop))?)
    }
}

struct Reader {
    read: Py<PyAny>,
}

impl SnapshotReader for Reader {
    fn read(&mut self, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
        let data = boundary::call("SnapshotReader.read", |py| {
            let data = convert::buffer(&self.read.bind(py).call1((offset, limit))?)?;
            let bytes = data.as_bytes();
            if bytes.len() > limit {
                return Err(PyValueError::new_err(format!("{} bytes were read, {limit} were asked for", bytes.len())));
            }
            Ok(Bytes::copy_from_slice(bytes))
        })?;
        Ok(data)
    }
}
