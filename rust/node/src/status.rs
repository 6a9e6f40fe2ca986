//! What a node says of itself.

use std::sync::Arc;

use d_engine_raft::{Configuration, Index, LogId, NodeId, Role, Term};

use crate::error::PluginFailure;

/// A follower, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerProgress {
    /// Its number.
    pub id: NodeId,
    /// It holds the leader's log up to here, durably.
    pub matched: Index,
    /// What it is sent next.
    pub next: Index,
    /// `probe`, `replicate` or `snapshot`.
    pub state: &'static str,
    /// Heard from within an election timeout.
    pub active: bool,
}

/// Everything worth knowing of a node at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its number.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it follows, itself included.
    pub leader: Option<NodeId>,
    /// The commit index.
    pub commit: Index,
    /// The last index that the state machine has applied.
    pub applied: Index,
    /// The end of the log.
    pub last: LogId,
    /// What of it is durable here.
    pub durable: Index,
    /// What is purged.
    pub purged: LogId,
    /// The newest snapshot here.
    pub snapshot: Option<LogId>,
    /// The index of the configuration in force.
    pub configuration_index: Index,
    /// The configuration in force.
    pub configuration: Arc<Configuration>,
    /// Voters whose incarnation is awaited.
    pub missing: Vec<NodeId>,
    /// Why apply has stopped.
    pub apply_error: Option<PluginFailure>,
    /// Whether storage has not answered for `storage_stall_timeout`.
    pub storage_stalled: bool,
    /// On a leader: the others.
    pub progress: Option<Vec<FollowerProgress>>,
}

/// The part of the status that is cheap: readable at any time, on every node, without waiting for anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What the node is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it follows.
    pub leader: Option<NodeId>,
    /// The commit index.
    pub commit: Index,
    /// The last index that the state machine has applied.
    pub applied: Index,
    /// A leader is known, and the first entry of its term is applied here.
    pub ready: bool,
}

/// A change of role, term, leader or readiness; those in between may be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Counts up from 1.
    pub version: u64,
    /// What the node is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it follows.
    pub leader: Option<NodeId>,
}
