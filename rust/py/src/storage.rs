//! A Python storage, as the node's threads see it: log and meta store here, snapshots in `snapshots.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use d_engine_node::storage::{DirectorySnapshots, PluginStorage, StorageOwner};
use d_engine_node::{Identity, LogBounds, MetaStore, RecordStore, SnapshotStore, Storage, StorageError};
use d_engine_raft::{Configuration, Entry, HardState, Index, LogId, NodeId, Term};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::boundary;
use crate::convert;
use crate::snapshots::Snapshots;

/// `StorageHooks`: one engine, taken apart.
pub struct Engine {
    open: Py<PyAny>,
    close: Py<PyAny>,
    log: Log,
    meta: Meta,
    snapshots: Option<Snapshots>,
    directory: PathBuf,
}

impl Engine {
    /// Reads the hooks of `hooks`.
    pub fn new(hooks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| hooks.getattr(name).map(Bound::unbind);
        let snapshots = hooks.getattr("snapshots")?;
        Ok(Self {
            open: hook("open")?,
            close: hook("close")?,
            log: Log { bounds: hook("bounds")?, read: hook("read")?, append: hook("append")?, purge: hook("purge")? },
            meta: Meta { load: hook("load")?, save: hook("save")? },
            snapshots: if snapshots.is_none() { None } else { Some(Snapshots::new(&snapshots)?) },
            directory: hooks.getattr("snapshot_directory")?.extract()?,
        })
    }
}

struct Log {
    bounds: Py<PyAny>,
    read: Py<PyAny>,
    append: Py<PyAny>,
    purge: Py<PyAny>,
}

/// (index, term, record), as Python writes it.
type Row<'py> = (Index, Term, Bound<'py, PyAny>);

impl RecordStore for Log {
    fn bounds(&mut self) -> Result<LogBounds, StorageError> {
        let bounds = boundary::call("LogStore.bounds", |py| {
            let (purged, purged_term, last, last_term) = self.bounds.call0(py)?.extract(py)?;
            Ok(LogBounds { purged: LogId::new(purged, purged_term), last: LogId::new(last, last_term) })
        })?;
        Ok(bounds)
    }

    fn read(&mut self, start: Index, stop: Index, max_bytes: usize) -> Result<Vec<(Index, Term, Bytes)>, StorageError> {
        let records = boundary::call("LogStore.read", |py| {
            let rows = self.read.call1(py, (start, stop, max_bytes))?;
            let mut records = Vec::new();
            for row in rows.bind(py).try_iter()? {
                let (index, term, record) = row?.extract::<Row<'_>>()?;
                let record = convert::buffer(&record)?;
                records.push((index, term, Bytes::copy_from_slice(record.as_bytes())));
            }
            Ok(records)
        });
        Ok(records.map_err(|failure| failure.at(start))?)
    }

    fn append(&mut self, entries: &[Entry], truncate_from: Option<Index>) -> Result<(), StorageError> {
        let appended = boundary::call("LogStore.append", |py| {
            let rows = entries
                .iter()
                .map(|entry| (entry.index(), entry.term(), PyBytes::new(py, entry.record())).into_pyobject(py))
                .collect::<PyResult<Vec<Bound<'_, PyTuple>>>>()?;
            self.append.call1(py, (PyList::new(py, rows)?, truncate_from)).map(drop)
        });
        Ok(appended.map_err(|failure| match entries.first() {
            Some(entry) => failure.at(entry.index()),
            None => failure,
        })?)
    }

    fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let purged = boundary::call("LogStore.purge", |py| self.purge.call1(py, (upto.index, upto.term)).map(drop));
        Ok(purged.map_err(|failure| failure.at(upto.index))?)
    }
}

struct Meta {
    load: Py<PyAny>,
    save: Py<PyAny>,
}

impl MetaStore for Meta {
    fn load(&mut self) -> Result<Option<HardState>, StorageError> {
        let saved = boundary::call("MetaStore.load", |py| {
            let saved = self.load.call0(py)?.extract::<Option<(Term, Option<NodeId>)>>(py)?;
            Ok(saved.map(|(term, vote)| HardState { term, vote }))
        })?;
        Ok(saved)
    }

    fn save(&mut self, state: HardState) -> Result<(), StorageError> {
        Ok(boundary::call("MetaStore.save", |py| self.save.call1(py, (state.term, state.vote)).map(drop))?)
    }
}

struct Owner {
    open: Py<PyAny>,
    close: Py<PyAny>,
    snapshots: Option<Arc<dyn SnapshotStore>>,
    directory: PathBuf,
}

impl Engine {
    /// What the node is given.
    pub fn into_storage(self) -> Box<dyn Storage> {
        let owner = Owner {
            open: self.open,
            close: self.close,
            snapshots: self.snapshots.map(|store| Arc::new(store) as Arc<dyn SnapshotStore>),
            directory: self.directory,
        };
        Box::new(PluginStorage::new(Box::new(owner), Box::new(self.log), Box::new(self.meta)))
    }
}

impl StorageOwner for Owner {
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        let identity = boundary::call("StorageEngine.open", |py| {
            let found = self.open.bind(py).call1((identity_to_python(py, proposed)?,))?;
            identity_from_python(found.cast::<PyDict>()?)
        })?;
        Ok(identity)
    }

    fn snapshots(&mut self, identity: &Identity) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        if let Some(own) = &self.snapshots {
            return Ok(Arc::clone(own));
        }
        // A folder for each incarnation: a storage that was wiped must not find the snapshots of its former life.
        let folder = self.directory.join(identity.incarnation.to_string());
        Ok(Arc::new(DirectorySnapshots::open(folder)?))
    }

    fn close(&mut self) -> Result<(), StorageError> {
        Ok(boundary::call("StorageEngine.close", |py| self.close.call0(py).map(drop))?)
    }
}

/// `_Identity` of the stub.
pub fn identity_to_python<'py>(py: Python<'py>, identity: &Identity) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("node_id", identity.node)?;
    fields.set_item("cluster", &identity.cluster)?;
    fields.set_item("cluster_id", PyBytes::new(py, &convert::identity_bytes(identity.cluster_id)))?;
    fields.set_item("group", identity.group)?;
    fields.set_item("recovery_epoch", identity.recovery_epoch)?;
    fields.set_item("incarnation", PyBytes::new(py, &convert::identity_bytes(identity.incarnation.0)))?;
    fields.set_item("members", PyBytes::new(py, &identity.initial.encode()))?;
    Ok(fields)
}

/// The other way.
pub fn identity_from_python(fields: &Bound<'_, PyDict>) -> PyResult<Identity> {
    let field = |name: &'static str| fields.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name));
    let bytes = |name: &'static str| convert::buffer(&field(name)?);
    let initial = Configuration::decode(bytes("members")?.as_bytes())
        .map_err(|error| PyValueError::new_err(format!("identity: members: {error}")))?;
    Ok(Identity {
        node: field("node_id")?.extract()?,
        cluster: field("cluster")?.extract()?,
        cluster_id: convert::identity_number(bytes("cluster_id")?.as_bytes(), "identity: cluster_id")?,
        group: field("group")?.extract()?,
        recovery_epoch: field("recovery_epoch")?.extract()?,
        incarnation: convert::incarnation(bytes("incarnation")?.as_bytes())?,
        initial,
    })
}
