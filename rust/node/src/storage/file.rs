//! The native log, hard state and snapshots in one directory.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use d_engine_raft::{Entry, Index, LogId, Persist};
use d_engine_wal::{Directory, DiskFiles, Options, Wal, WalError, Written};

use super::{DirectorySnapshots, not_open};
use crate::error::StorageError;
use crate::runtime::park::lock;
use crate::traits::{Identity, Loaded, LogStore, SnapshotStore, Storage};

/// A directory that one node has for itself.
pub struct FileStorage {
    path: PathBuf,
    segment_bytes: u64,
    directory: Option<Directory>,
    options: Options,
    log: Option<Arc<FileLog>>,
    snapshots: Option<Arc<DirectorySnapshots>>,
}

impl FileStorage {
    /// Does no I/O. `segment_bytes` is the size of one file of the log.
    pub fn new(path: impl Into<PathBuf>, segment_bytes: u64) -> Self {
        Self {
            path: path.into(),
            segment_bytes,
            directory: None,
            options: Options::default(),
            log: None,
            snapshots: None,
        }
    }
}

fn convert(error: WalError) -> StorageError {
    match error {
        WalError::Io { operation, file, source } => StorageError::io(format!("{operation} {file}"), source),
        WalError::CorruptLog { segment, offset, index, reason } => {
            StorageError::Corrupt { what: segment, offset, index: Some(index), why: reason }
        }
        WalError::DirectoryLocked { directory, .. } => {
            StorageError::Locked { directory: directory.display().to_string() }
        }
        WalError::WrongCluster { segment, cluster, found_cluster, .. } => StorageError::WrongCluster {
            place: segment,
            expected: format!("{cluster:032x}"),
            found: format!("{found_cluster:032x}"),
        },
        other => StorageError::Inconsistent(other.to_string()),
    }
}

impl Storage for FileStorage {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        let directory = Directory::open(&self.path).map_err(convert)?;
        let stored = match directory.identity().map_err(convert)? {
            Some(stored) => stored,
            None if !proposed.may_begin() => {
                let why = format!("{} is empty, and no initial members are given", self.path.display());
                return Err(StorageError::NoMembers { why });
            }
            None => {
                let fresh = d_engine_wal::Identity {
                    node: proposed.node,
                    cluster: proposed.cluster.clone(),
                    cluster_id: proposed.cluster_id,
                    group: proposed.group,
                    recovery_epoch: proposed.recovery_epoch,
                    incarnation: proposed.incarnation,
                    initial: Some(proposed.initial.clone()),
                };
                directory.open_identity(fresh).map_err(convert)?
            }
        };
        let snapshots = directory.subdirectory("snapshots").map_err(convert)?;
        self.snapshots = Some(Arc::new(DirectorySnapshots::open(snapshots)?));
        #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
        let salt = stored.incarnation.0 as u64;
        self.options = Options {
            segment_bytes: self.segment_bytes,
            cluster_id: stored.cluster_id,
            group: stored.group,
            salt,
            background: true,
        };
        self.directory = Some(directory);
        let initial = stored.initial.ok_or_else(|| {
            StorageError::Inconsistent(format!("the identity in {} names no initial members", self.path.display()))
        })?;
        Ok(Identity {
            node: stored.node,
            cluster: stored.cluster,
            cluster_id: stored.cluster_id,
            group: stored.group,
            recovery_epoch: stored.recovery_epoch,
            incarnation: stored.incarnation,
            initial,
        })
    }

    fn load(&mut self) -> Result<Loaded, StorageError> {
        let directory = self.directory.as_ref().ok_or_else(not_open)?;
        let (wal, found) = directory.open_log(self.options.clone()).map_err(convert)?;
        self.log = Some(Arc::new(FileLog { wal, written: Mutex::new(VecDeque::new()) }));
        Ok(Loaded {
            hard_state: found.hard_state,
            purged: found.purged,
            last: found.last.index,
            term_runs: found.term_runs,
            last_time: found.last_time,
            configurations: found.configurations,
        })
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        self.log.clone().map(|log| log as Arc<dyn LogStore>).ok_or_else(not_open)
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        self.snapshots.clone().map(|snapshots| snapshots as Arc<dyn SnapshotStore>).ok_or_else(not_open)
    }

    fn close(&mut self, clean: bool) -> Result<(), StorageError> {
        let closed = match self.log.take() {
            Some(log) if clean => log.wal.close().map_err(convert),
            _ => Ok(()),
        };
        self.directory = None;
        closed
    }
}

struct FileLog {
    wal: Wal<DiskFiles>,
    /// Written and not synced, oldest first.
    written: Mutex<VecDeque<Written>>,
}

impl LogStore for FileLog {
    fn pipelined(&self) -> bool {
        true
    }

    fn write(&self, units: &[Persist]) -> Result<(), StorageError> {
        let written = self.wal.write(units).map_err(convert)?;
        lock(&self.written).push_back(written);
        Ok(())
    }

    fn sync(&self) -> Result<bool, StorageError> {
        let oldest = lock(&self.written).pop_front();
        match oldest {
            Some(written) => self.wal.sync(written).map_err(convert).map(|()| true),
            None => Ok(false),
        }
    }

    fn read(&self, lo: Index, hi: Index, max_bytes: usize) -> Result<Option<Vec<Entry>>, StorageError> {
        // Nothing behind the end is ever asked for; what was cut off meanwhile is gone like what was purged.
        Ok(self.wal.read(lo, hi, max_bytes).map_err(convert)?.filter(|entries| !entries.is_empty()))
    }

    fn purge(&self, upto: LogId) -> Result<(), StorageError> {
        self.wal.purge(upto).map_err(convert)
    }

    fn idle(&self) -> Result<(), StorageError> {
        self.wal.idle().map(drop).map_err(convert)
    }
}
