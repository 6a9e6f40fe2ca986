//! The native log as a node uses it.

use std::collections::VecDeque;
use std::sync::Mutex;

use d_engine_raft::{Entry, Index, LogId, Persist};
use d_engine_wal::{DiskFiles, Files, Options, Recovered, Wal, WalError, Written};

use crate::error::StorageError;
use crate::runtime::park::lock;
use crate::traits::{Loaded, LogStore};

/// `d_engine_wal::Wal`, which may be written while it is synced.
pub struct WalLog<F: Files = DiskFiles> {
    wal: Wal<F>,
    /// Written and not synced, oldest first.
    written: Mutex<VecDeque<Written>>,
}

impl<F: Files> WalLog<F> {
    /// Opens the log in `files`, or makes one there.
    ///
    /// # Errors
    /// It is damaged, or another cluster's, or cannot be read.
    pub fn open(files: F, options: Options) -> Result<(Self, Loaded), StorageError> {
        Self::opened(Wal::open(files, options))
    }

    pub(super) fn opened(opened: Result<(Wal<F>, Recovered), WalError>) -> Result<(Self, Loaded), StorageError> {
        let (wal, found) = opened.map_err(convert)?;
        let loaded = Loaded {
            hard_state: found.hard_state,
            purged: found.purged,
            last: found.last.index,
            term_runs: found.term_runs,
            last_time: found.last_time,
            configurations: found.configurations,
        };
        Ok((Self { wal, written: Mutex::new(VecDeque::new()) }, loaded))
    }

    /// The log itself.
    #[must_use]
    pub const fn wal(&self) -> &Wal<F> {
        &self.wal
    }

    /// Makes everything durable and vouches for it.
    ///
    /// # Errors
    /// The last write failed.
    pub fn close(&self) -> Result<(), StorageError> {
        self.wal.close().map_err(convert)
    }
}

pub(super) fn convert(error: WalError) -> StorageError {
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

impl<F: Files> LogStore for WalLog<F> {
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
