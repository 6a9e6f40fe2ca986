//! Where log, hard state and snapshots are kept.

use std::sync::Arc;

use bytes::Bytes;
use d_engine_raft::{
    Configuration, Entry, GroupId, HardState, Incarnation, Index, LogId, NodeId, Persist, Term, WallMicros,
};

use crate::error::StorageError;

/// Whose storage it is. Written once, at first start. A proposed one without a cluster id is for a storage that must hold one
/// already: an empty one refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's number.
    pub node: NodeId,
    /// The cluster's name (`Config.cluster`).
    pub cluster: String,
    /// Name and initial members, hashed: separate first starts agree on it.
    pub cluster_id: u128,
    /// Which log this is; 0.
    pub group: GroupId,
    /// Raised when a lost quorum is given up offline.
    pub recovery_epoch: u64,
    /// Random, drawn with the storage.
    pub incarnation: Incarnation,
    /// The configuration at index 0; without members on a node that has joined a running cluster.
    pub initial: Configuration,
}

impl Identity {
    /// Whether an empty storage may begin with it.
    #[must_use]
    pub const fn may_begin(&self) -> bool {
        self.cluster_id != 0
    }
}

/// What a log holds at start.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Term and vote.
    pub hard_state: HardState,
    /// The entry before the first.
    pub purged: LogId,
    /// The last index; `purged.index` if there is no entry.
    pub last: Index,
    /// Ascending `(first index, term)` for every change of term after `purged`.
    pub term_runs: Vec<(Index, Term)>,
    /// Time of the newest entry.
    pub last_time: WallMicros,
    /// Configuration entries of the log, ascending.
    pub configurations: Vec<(Index, Configuration)>,
}

/// All storage of one node. `open` comes first, then `load`, both on the thread that starts the node; `close` comes last,
/// after every other call has returned.
pub trait Storage: Send {
    /// What to call it in errors, such as its directory.
    fn place(&self) -> String {
        "this storage".into()
    }

    /// Stores `proposed` durably if the storage is empty, and returns what is stored. The node compares.
    ///
    /// # Errors
    /// The storage is in use, or damaged, or cannot be written.
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError>;

    /// Reads what is needed to start.
    ///
    /// # Errors
    /// The log is damaged, or cannot be read.
    fn load(&mut self) -> Result<Loaded, StorageError>;

    /// The log together with the hard state. Valid after `load`.
    ///
    /// # Errors
    /// It was not loaded.
    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError>;

    /// The snapshots. Valid after `open`.
    ///
    /// # Errors
    /// It was not opened.
    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError>;

    /// Gives directory and files free. With `clean`, everything that was written is vouched for first; without, as after
    /// `kill -9`.
    ///
    /// # Errors
    /// The last write failed.
    fn close(&mut self, clean: bool) -> Result<(), StorageError>;
}

/// A log whose writes and syncs can overlap: write n + 1 may run during sync n, never two writes and never two syncs at once;
/// syncs come in the order of the writes, one for each. Log threads.
pub trait LogStore: Send + Sync {
    /// Whether writes and syncs may overlap; otherwise one thread calls everything, and `sync` may do nothing.
    fn pipelined(&self) -> bool;

    /// Writes units in their order, as one batch. Not durable before `sync`.
    ///
    /// # Errors
    /// The node stops.
    fn write(&self, units: &[Persist]) -> Result<(), StorageError>;

    /// Makes the oldest batch durable that was written and not synced. Returns whether the disk had to be waited for.
    ///
    /// # Errors
    /// The node stops; nothing is ever retried as if clean.
    fn sync(&self) -> Result<bool, StorageError>;

    /// Durable entries `lo..hi` of at most `max_bytes`, at least one; `None`: purged. Reader thread, at any time.
    ///
    /// # Errors
    /// The node stops.
    fn read(&self, lo: Index, hi: Index, max_bytes: usize) -> Result<Option<Vec<Entry>>, StorageError>;

    /// Forgets everything up to there. Ordered like a write.
    ///
    /// # Errors
    /// The node stops.
    fn purge(&self, upto: LogId) -> Result<(), StorageError>;

    /// Nothing has been written for a while: the moment to vouch for the last batch. Ordered like a write.
    ///
    /// # Errors
    /// The node stops.
    fn idle(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Where a plain log store begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The entry before the first.
    pub purged: LogId,
    /// The last entry; `purged` if there is none.
    pub last: LogId,
}

/// A plain log of records, as a plugin implements it: `storage::PluginLog` makes a `LogStore` of it and a `MetaStore`. One call
/// at a time. Every change is durable on return.
pub trait RecordStore: Send {
    /// Where it begins and ends.
    ///
    /// # Errors
    /// The node stops, or does not start.
    fn bounds(&mut self) -> Result<LogBounds, StorageError>;

    /// Records `start..stop` of at most `max_bytes`, at least one: `(index, term, record)`.
    ///
    /// # Errors
    /// The node stops, or does not start.
    fn read(&mut self, start: Index, stop: Index, max_bytes: usize) -> Result<Vec<(Index, Term, Bytes)>, StorageError>;

    /// Drops everything from `truncate_from` on, then appends.
    ///
    /// # Errors
    /// The node stops.
    fn append(&mut self, entries: &[Entry], truncate_from: Option<Index>) -> Result<(), StorageError>;

    /// Drops everything up to `upto` and keeps its (index, term). Beyond the last entry, or where the entry there has another
    /// term, the log is reset to it.
    ///
    /// # Errors
    /// The node stops.
    fn purge(&mut self, upto: LogId) -> Result<(), StorageError>;
}

/// Keeps term and vote, as a plugin implements it.
pub trait MetaStore: Send {
    /// What was saved last.
    ///
    /// # Errors
    /// The node does not start.
    fn load(&mut self) -> Result<Option<HardState>, StorageError>;

    /// Durable on return.
    ///
    /// # Errors
    /// The node stops.
    fn save(&mut self, state: HardState) -> Result<(), StorageError>;
}

/// What a snapshot store knows of a snapshot; everything else stands in the file's own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub last: LogId,
    /// The content hash; `None` while one is being made here.
    pub digest: Option<[u8; 32]>,
    /// Bytes of the whole file; 0 while unknown.
    pub size: u64,
}

/// Keeps snapshot files. Called from the snapshot and transfer threads, and at start by the thread that starts the node; calls
/// may overlap.
pub trait SnapshotStore: Send + Sync {
    /// Begins a snapshot: one made here (no digest; an abandoned one is dropped), or a received one, which goes on where a
    /// partial one of the same meta ended.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn create(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, StorageError>;

    /// The newest committed one.
    ///
    /// # Errors
    /// The node does not start, or the transfer is given up.
    fn latest(&self) -> Result<Option<SnapshotMeta>, StorageError>;

    /// Reads one.
    ///
    /// # Errors
    /// It is gone, or cannot be read.
    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotReader>, StorageError>;

    /// A received one that is neither committed nor aborted, and how many of its bytes, from 0, are there.
    ///
    /// # Errors
    /// Nothing can be resumed.
    fn partial(&self) -> Result<Option<(SnapshotMeta, u64)>, StorageError>;

    /// Keeps the newest `count` committed ones.
    ///
    /// # Errors
    /// Logged; older ones stay.
    fn retain(&self, count: usize) -> Result<(), StorageError>;
}

/// One snapshot that is being written.
pub trait SnapshotWriter: Send {
    /// Offsets rise without gaps, except that the header at 0 is written again at the end of one made here.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError>;

    /// Durable and newest on return; `meta` is complete.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn commit(self: Box<Self>, meta: &SnapshotMeta) -> Result<(), StorageError>;

    /// Forgets it.
    ///
    /// # Errors
    /// Logged.
    fn abort(self: Box<Self>) -> Result<(), StorageError>;

    /// Bytes written before, for a partial one that is to be continued by another process: without them (`None`) it begins
    /// again, because what was not seen cannot be vouched for.
    ///
    /// # Errors
    /// It begins again.
    fn read_back(&mut self, _offset: u64, _limit: usize) -> Result<Option<Bytes>, StorageError> {
        Ok(None)
    }
}

/// One snapshot that is being read.
pub trait SnapshotReader: Send {
    /// At most `limit` bytes from `offset`; empty at the end.
    ///
    /// # Errors
    /// The transfer or the restore is given up.
    fn read(&mut self, offset: u64, limit: usize) -> Result<Bytes, StorageError>;
}
