//! A storage made of plain stores, one call at a time: what a plugin implements.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use d_engine_raft::{Entry, Index, LogId, Persist, RecordError};

use super::fold::{Operation, fold};
use super::memory::scan;
use super::not_open;
use crate::error::{PluginFailure, StorageError};
use crate::runtime::park::lock;
use crate::traits::{Identity, Loaded, LogStore, MetaStore, RecordStore, SnapshotStore, Storage};

/// The plugin as a whole: its first and last calls.
pub trait StorageOwner: Send {
    /// Stores the identity if the storage is empty; returns the one that is stored.
    ///
    /// # Errors
    /// The node does not start.
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError>;

    /// The snapshot store; asked once, after `open`.
    ///
    /// # Errors
    /// The node does not start.
    fn snapshots(&mut self, identity: &Identity) -> Result<Arc<dyn SnapshotStore>, StorageError>;

    /// The last call; not made by a crash.
    ///
    /// # Errors
    /// Logged.
    fn close(&mut self) -> Result<(), StorageError>;
}

/// Plain stores as a storage.
pub struct PluginStorage {
    owner: Box<dyn StorageOwner>,
    stores: Arc<Mutex<Stores>>,
    snapshots: Option<Arc<dyn SnapshotStore>>,
}

struct Stores {
    records: Box<dyn RecordStore>,
    meta: Box<dyn MetaStore>,
}

/// Bytes asked of a store at once while the log is read at start.
const LOAD_BYTES: usize = 4 << 20;

impl PluginStorage {
    /// Calls nothing yet.
    #[must_use]
    pub fn new(owner: Box<dyn StorageOwner>, records: Box<dyn RecordStore>, meta: Box<dyn MetaStore>) -> Self {
        Self { owner, stores: Arc::new(Mutex::new(Stores { records, meta })), snapshots: None }
    }
}

impl Storage for PluginStorage {
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        if !proposed.may_begin() {
            let why =
                "a storage of one's own needs them, or join, at every start: it cannot be asked whether it is empty"
                    .into();
            return Err(StorageError::NoMembers { why });
        }
        let identity = self.owner.open(proposed)?;
        self.snapshots = Some(self.owner.snapshots(&identity)?);
        Ok(identity)
    }

    fn load(&mut self) -> Result<Loaded, StorageError> {
        let mut stores = lock(&self.stores);
        let bounds = stores.records.bounds()?;
        let mut loaded = Loaded {
            hard_state: stores.meta.load()?.unwrap_or_default(),
            purged: bounds.purged,
            last: bounds.last.index,
            ..Loaded::default()
        };
        let mut next = bounds.purged.index + 1;
        let mut last = bounds.purged;
        while next <= bounds.last.index {
            let records = stores.records.read(next, bounds.last.index + 1, LOAD_BYTES)?;
            for entry in &check(records, next, bounds.last.index + 1)? {
                if entry.term() < last.term {
                    return Err(broken(format!("terms go back from {last} to {}", entry.id())));
                }
                scan(&mut loaded, entry)?;
                loaded.last_time = entry.time();
                last = entry.id();
                next += 1;
            }
        }
        if last != bounds.last {
            return Err(broken(format!("bounds says that the log ends at {}, its last record is {last}", bounds.last)));
        }
        Ok(loaded)
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        Ok(Arc::new(PluginLog { stores: Arc::clone(&self.stores), changed: Mutex::new(false) }))
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        self.snapshots.clone().ok_or_else(not_open)
    }

    fn close(&mut self, clean: bool) -> Result<(), StorageError> {
        if clean { self.owner.close() } else { Ok(()) }
    }
}

fn broken(why: String) -> StorageError {
    StorageError::Plugin(PluginFailure::new("LogStore.read", why))
}

/// Records as entries: from `start` on, contiguous, at least one, each what its checksums say.
fn check(records: Vec<(Index, u64, Bytes)>, start: Index, stop: Index) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::with_capacity(records.len());
    for ((index, term, record), expected) in records.into_iter().zip(start..) {
        if index != expected || index >= stop {
            return Err(broken(format!(
                "asked for entries {start} to {stop} (half open), it gave {index} for {expected}"
            )));
        }
        let entry = decode(record).map_err(|error| StorageError::Corrupt {
            what: "the record that LogStore.read gave".into(),
            offset: 0,
            index: Some(index),
            why: error.to_string(),
        })?;
        if entry.id() != LogId::new(index, term) {
            return Err(broken(format!("the record given for {index} of term {term} is that of {}", entry.id())));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(broken(format!("asked for entries {start} to {stop} (half open), it gave none")));
    }
    Ok(entries)
}

fn decode(mut record: Bytes) -> Result<Entry, RecordError> {
    let found = record.len();
    let entry = Entry::decode(&mut record)?;
    if record.is_empty() { Ok(entry) } else { Err(RecordError::Truncated { needed: entry.size(), found }) }
}

struct PluginLog {
    stores: Arc<Mutex<Stores>>,
    /// The last write called the plugin.
    changed: Mutex<bool>,
}

impl LogStore for PluginLog {
    fn pipelined(&self) -> bool {
        false
    }

    fn write(&self, units: &[Persist]) -> Result<(), StorageError> {
        let (hard_state, operations) = fold(units);
        let mut stores = lock(&self.stores);
        *lock(&self.changed) = hard_state.is_some() || !operations.is_empty();
        if let Some(state) = hard_state {
            stores.meta.save(state)?;
        }
        for operation in operations {
            match operation {
                Operation::Reset(last) => stores.records.purge(last)?,
                Operation::Append { truncate_from, entries } => stores.records.append(&entries, truncate_from)?,
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<bool, StorageError> {
        // Every call was durable on return.
        Ok(*lock(&self.changed))
    }

    fn read(&self, lo: Index, hi: Index, max_bytes: usize) -> Result<Option<Vec<Entry>>, StorageError> {
        let mut stores = lock(&self.stores);
        let bounds = stores.records.bounds()?;
        if lo <= bounds.purged.index || lo > bounds.last.index {
            return Ok(None);
        }
        let stop = hi.min(bounds.last.index + 1);
        check(stores.records.read(lo, stop, max_bytes)?, lo, stop).map(Some)
    }

    fn purge(&self, upto: LogId) -> Result<(), StorageError> {
        lock(&self.stores).records.purge(upto)
    }
}
