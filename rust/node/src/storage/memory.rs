//! Storage in memory: for tests, benches, and clusters whose nodes may forget.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use d_engine_raft::{Configuration, Entry, EntryKind, HardState, Index, LogId, Persist};

use super::not_open;
use crate::error::StorageError;
use crate::runtime::park::lock;
use crate::traits::{Identity, Loaded, LogStore, SnapshotMeta, SnapshotReader, SnapshotStore, SnapshotWriter, Storage};

/// Survives its node, not its process: clones share everything, so that a node can be started again on a clone.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    identity: Arc<Mutex<Option<Identity>>>,
    log: Arc<Mutex<Log>>,
    files: Arc<Mutex<Files>>,
    open: Arc<Mutex<bool>>,
}

#[derive(Default)]
struct Log {
    hard_state: HardState,
    purged: LogId,
    entries: Vec<Entry>,
}

impl Log {
    fn last(&self) -> Index {
        self.entries.last().map_or(self.purged.index, Entry::index)
    }

    fn at(&self, index: Index) -> usize {
        usize::try_from(index.saturating_sub(self.purged.index + 1)).unwrap_or(usize::MAX).min(self.entries.len())
    }

    fn take(&mut self, unit: &Persist) -> Result<(), StorageError> {
        if let Some(state) = unit.hard_state {
            self.hard_state = state;
        }
        if let Some(last) = unit.reset_to {
            self.entries.clear();
            self.purged = last;
        }
        if let Some(from) = unit.truncate_from {
            let keep = self.at(from);
            self.entries.truncate(keep);
        }
        if let Some(first) = unit.entries.first()
            && first.index() != self.last() + 1
        {
            return Err(StorageError::Inconsistent(format!(
                "entry {} does not follow the log's end at {}",
                first.id(),
                self.last()
            )));
        }
        self.entries.extend(unit.entries.iter().cloned());
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        let mut open = lock(&self.open);
        if *open {
            return Err(StorageError::Locked { directory: "this memory".into() });
        }
        let mut identity = lock(&self.identity);
        if identity.is_none() && !proposed.may_begin() {
            return Err(StorageError::NoMembers {
                why: "the storage is empty, and no initial members are given".into(),
            });
        }
        *open = true;
        Ok(identity.get_or_insert_with(|| proposed.clone()).clone())
    }

    fn load(&mut self) -> Result<Loaded, StorageError> {
        let log = lock(&self.log);
        let mut loaded = Loaded {
            hard_state: log.hard_state,
            purged: log.purged,
            last: log.last(),
            last_time: log.entries.last().map_or(0, Entry::time),
            ..Loaded::default()
        };
        for entry in &log.entries {
            scan(&mut loaded, entry)?;
        }
        Ok(loaded)
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        Ok(Arc::new(MemoryLog(Arc::clone(&self.log))))
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        Ok(Arc::new(MemorySnapshots(Arc::clone(&self.files))))
    }

    fn close(&mut self, _clean: bool) -> Result<(), StorageError> {
        *lock(&self.open) = false;
        Ok(())
    }
}

/// Takes one entry into what a start needs to know of a log.
pub(super) fn scan(loaded: &mut Loaded, entry: &Entry) -> Result<(), StorageError> {
    if loaded.term_runs.last().is_none_or(|(_, term)| *term != entry.term()) {
        loaded.term_runs.push((entry.index(), entry.term()));
    }
    if entry.kind() == EntryKind::Configuration {
        let configuration = Configuration::decode(&entry.payload()).map_err(|error| StorageError::Corrupt {
            what: "the log".into(),
            offset: 0,
            index: Some(entry.index()),
            why: error.to_string(),
        })?;
        loaded.configurations.push((entry.index(), configuration));
    }
    Ok(())
}

struct MemoryLog(Arc<Mutex<Log>>);

impl LogStore for MemoryLog {
    fn pipelined(&self) -> bool {
        true
    }

    fn write(&self, units: &[Persist]) -> Result<(), StorageError> {
        let mut log = lock(&self.0);
        units.iter().try_for_each(|unit| log.take(unit))
    }

    fn sync(&self) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn read(&self, lo: Index, hi: Index, max_bytes: usize) -> Result<Option<Vec<Entry>>, StorageError> {
        let log = lock(&self.0);
        if lo <= log.purged.index || lo > log.last() {
            return Ok(None);
        }
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.size();
            entry.index() == lo || bytes <= max_bytes
        };
        let range = log.at(lo)..log.at(hi).max(log.at(lo));
        Ok(Some(log.entries[range].iter().take_while(fits).cloned().collect()))
    }

    fn purge(&self, upto: LogId) -> Result<(), StorageError> {
        let mut log = lock(&self.0);
        if upto.index <= log.purged.index {
            return Ok(());
        }
        let held = log.entries.get(log.at(upto.index)).is_some_and(|entry| entry.id() == upto);
        if held {
            let upto = log.at(upto.index + 1);
            log.entries.drain(..upto);
        } else {
            log.entries.clear();
        }
        log.purged = upto;
        Ok(())
    }
}

#[derive(Default)]
struct Files {
    committed: Vec<(SnapshotMeta, Bytes)>,
    coming: Option<(SnapshotMeta, Vec<u8>)>,
}

struct MemorySnapshots(Arc<Mutex<Files>>);

impl SnapshotStore for MemorySnapshots {
    fn create(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let mut files = lock(&self.0);
        let received = meta.digest.is_some();
        if received && files.coming.as_ref().is_none_or(|(known, _)| known != meta) {
            files.coming = Some((*meta, Vec::new()));
        }
        Ok(Box::new(MemoryWriter { files: Arc::clone(&self.0), received, bytes: Vec::new() }))
    }

    fn latest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        Ok(lock(&self.0).committed.last().map(|(meta, _)| *meta))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotReader>, StorageError> {
        let files = lock(&self.0);
        let found = files.committed.iter().find(|(known, _)| known.last == meta.last);
        let bytes = found.map(|(_, bytes)| bytes.clone()).ok_or_else(not_open)?;
        Ok(Box::new(MemoryReader(bytes)))
    }

    fn partial(&self) -> Result<Option<(SnapshotMeta, u64)>, StorageError> {
        Ok(lock(&self.0).coming.as_ref().map(|(meta, bytes)| (*meta, bytes.len() as u64)))
    }

    fn retain(&self, count: usize) -> Result<(), StorageError> {
        let committed = &mut lock(&self.0).committed;
        let extra = committed.len().saturating_sub(count);
        committed.drain(..extra);
        Ok(())
    }
}

struct MemoryWriter {
    files: Arc<Mutex<Files>>,
    received: bool,
    bytes: Vec<u8>,
}

impl SnapshotWriter for MemoryWriter {
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut files = lock(&self.files);
        let bytes = match &mut files.coming {
            Some((_, bytes)) if self.received => bytes,
            _ => &mut self.bytes,
        };
        let start = usize::try_from(offset).map_err(|_| not_open())?;
        let end = start + data.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn commit(self: Box<Self>, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let mut files = lock(&self.files);
        let bytes =
            if self.received { files.coming.take().map(|(_, bytes)| bytes).ok_or_else(not_open)? } else { self.bytes };
        files.committed.push((*meta, bytes.into()));
        files.committed.sort_by_key(|(meta, _)| meta.last.index);
        Ok(())
    }

    fn abort(self: Box<Self>) -> Result<(), StorageError> {
        if self.received {
            lock(&self.files).coming = None;
        }
        Ok(())
    }

    fn read_back(&mut self, offset: u64, limit: usize) -> Result<Option<Bytes>, StorageError> {
        let files = lock(&self.files);
        let bytes = files.coming.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(Some(piece(bytes, offset, limit)))
    }
}

fn piece(bytes: &[u8], offset: u64, limit: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    Bytes::copy_from_slice(&bytes[start..start.saturating_add(limit).min(bytes.len())])
}

struct MemoryReader(Bytes);

impl SnapshotReader for MemoryReader {
    fn read(&mut self, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
        Ok(piece(&self.0, offset, limit))
    }
}
