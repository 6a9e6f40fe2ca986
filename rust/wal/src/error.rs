//! What can go wrong with a log or its directory.

use std::io;
use std::path::PathBuf;

use d_engine_raft::{GroupId, Index, LogId};

/// A failure of the log or of its directory. Every one of them names the place; none of them is a reason to try the
/// same call again.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refused.
    #[error("{operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that had been made durable are not what was written. Nothing has been changed on disk.
    #[error(
        "the log is damaged in segment {segment} at byte {offset}, at or before entry {index}: {reason}. It was durable \
         once, so cutting it off could lose acknowledged writes. Restore this node's directory, or remove the member and \
         let it join again with an empty one"
    )]
    CorruptLog {
        /// The segment's file.
        segment: String,
        /// Where the damaged batch begins in it.
        offset: u64,
        /// The first entry that cannot be trusted.
        index: Index,
        /// What does not fit.
        reason: String,
    },
    /// The log belongs to another cluster or group.
    #[error(
        "the log in segment {segment} belongs to cluster {found_cluster:032x}, group {found_group}; this node is of \
         cluster {cluster:032x}, group {group}. Give the node its own directory"
    )]
    WrongCluster {
        /// The segment's file.
        segment: String,
        /// This node's cluster.
        cluster: u128,
        /// This node's group.
        group: GroupId,
        /// The cluster that the segment names.
        found_cluster: u128,
        /// The group that the segment names.
        found_group: GroupId,
    },
    /// A later release wrote it.
    #[error(
        "{file} has format {found}; this build reads up to {supported}. Run the release that wrote it, or a later one"
    )]
    Version {
        /// Which file.
        file: String,
        /// Its format.
        found: u16,
        /// The newest format that this build knows.
        supported: u16,
    },
    /// An earlier write or sync failed: what is on disk is unknown until the log is opened again.
    #[error("the log takes no more writes, because an earlier operation failed: {reason}. Restart the node")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Entries that do not continue the log. Nothing was written.
    #[error("entry {found} does not continue the log: entry {expected} does")]
    NotContiguous {
        /// The index that would.
        expected: Index,
        /// The index given.
        found: Index,
    },
    /// A truncation that reaches into what was purged. Nothing was written.
    #[error("cannot drop entries from {from} on: everything up to {purged} is purged")]
    TruncatesPurged {
        /// The first entry to be dropped.
        from: Index,
        /// The purge point.
        purged: LogId,
    },
    /// An entry over the format's bound. Nothing was written.
    #[error("entry {index} has {size} bytes; a log takes at most {bound} in one entry")]
    EntryTooLarge {
        /// Which entry.
        index: Index,
        /// Bytes of its record.
        size: usize,
        /// The bound.
        bound: usize,
    },
    /// Options that make no sense.
    #[error("a log cannot be opened like this: {0}")]
    Options(String),
    /// Another process, or another node of this one, works in the directory.
    #[error("the data directory {} is in use by {}. Stop that node first, or give this one another directory",
            directory.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    DirectoryLocked {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, if it could be read.
        holder: Option<u32>,
    },
    /// The identity file is not what was written.
    #[error("the identity file {file} is damaged: {reason}. Restore it; without it a node must join as a new one")]
    CorruptIdentity {
        /// The file.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// There is a log, but nobody knows whose.
    #[error(
        "the data directory {} holds a log but no identity file. Restore the file, or empty the directory and let the \
         node join again", directory.display()
    )]
    IdentityMissing {
        /// The directory.
        directory: PathBuf,
    },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { operation, file, source }
    }
}
