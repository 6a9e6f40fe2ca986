//! The native log, hard state and snapshots in one directory.

use std::path::PathBuf;
use std::sync::Arc;

use d_engine_wal::{Directory, Options};

use super::log::{WalLog, convert};
use super::{DirectorySnapshots, not_open};
use crate::error::StorageError;
use crate::traits::{Identity, Loaded, LogStore, SnapshotStore, Storage};

/// A directory that one node has for itself.
pub struct FileStorage {
    path: PathBuf,
    segment_bytes: u64,
    directory: Option<Directory>,
    options: Options,
    log: Option<Arc<WalLog>>,
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
        let (log, loaded) = WalLog::opened(directory.open_log(self.options.clone()))?;
        self.log = Some(Arc::new(log));
        Ok(loaded)
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        self.log.clone().map(|log| log as Arc<dyn LogStore>).ok_or_else(not_open)
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        self.snapshots.clone().map(|snapshots| snapshots as Arc<dyn SnapshotStore>).ok_or_else(not_open)
    }

    fn close(&mut self, clean: bool) -> Result<(), StorageError> {
        let closed = match self.log.take() {
            Some(log) if clean => log.close(),
            _ => Ok(()),
        };
        self.directory = None;
        closed
    }
}
