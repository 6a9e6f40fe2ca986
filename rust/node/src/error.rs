//! What goes wrong, in the words that reach the user. Every error can be cloned, because one cause may end many waiters.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

use d_engine_raft::{ChangeError, Incarnation, Index, NodeId, Refusal, Term};

use crate::traits::JoinError;

/// A plugin's callback raised, or broke its contract.
#[derive(Clone, thiserror::Error)]
#[error("{callback} failed{}: {message}", Place(self.index))]
pub struct PluginFailure {
    /// The callback's name, as the user wrote it: `StateMachine.apply_batch`, `LogStore.append`.
    pub callback: &'static str,
    /// The entry it was called for, where there is one.
    pub index: Option<Index>,
    /// What the plugin said.
    pub message: String,
    /// The plugin's own exception, for the adaptor that made this failure.
    pub cause: Option<Arc<dyn Any + Send + Sync>>,
}

impl PluginFailure {
    /// A failure without an exception of its own.
    pub fn new(callback: &'static str, message: impl Into<String>) -> Self {
        Self { callback, index: None, message: message.into(), cause: None }
    }

    /// The same, naming an entry unless one is named already.
    #[must_use]
    pub fn at(mut self, index: Index) -> Self {
        self.index = self.index.or(Some(index));
        self
    }
}

impl fmt::Debug for PluginFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PluginFailure({self})")
    }
}

struct Place(Option<Index>);

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |index| write!(out, " at index {index}"))
    }
}

/// Storage did not do what it was asked for. The node stops: what it knows of its disk no longer holds.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("{what} failed: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// What is stored is damaged: it is refused, never repaired silently.
    #[error("{what} is damaged at offset {offset}{}: {why}. Restore this node from another one", Place(self.damaged_index()))]
    Corrupt {
        /// The file.
        what: String,
        /// Bytes from its beginning.
        offset: u64,
        /// The entry there, as far as it can be told.
        index: Option<Index>,
        /// What does not fit.
        why: String,
    },
    /// Another process, or another node of this one, uses the directory.
    #[error("{directory} is in use by another node; stop it first")]
    Locked {
        /// The directory.
        directory: String,
    },
    /// The directory belongs to another node.
    #[error("{place} belongs to node {found}, not to node {expected}; use that node's own storage")]
    WrongNode {
        /// The storage.
        place: String,
        /// Who asked.
        expected: NodeId,
        /// Whose it is.
        found: NodeId,
    },
    /// The directory belongs to another cluster.
    #[error("{place} belongs to cluster {found:?}, not to {expected:?}; use a storage of this cluster")]
    WrongCluster {
        /// The storage.
        place: String,
        /// Who asked.
        expected: String,
        /// Whose it is.
        found: String,
    },
    /// An empty storage, and nobody said who the members are: a mistake of the configuration.
    #[error("peers are missing: {why}")]
    NoMembers {
        /// Why they are needed.
        why: String,
    },
    /// A storage plugin raised.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    /// What is stored does not fit together.
    #[error("{0}")]
    Inconsistent(String),
}

impl StorageError {
    /// Wraps an error of the operating system.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source: Arc::new(source) }
    }

    const fn damaged_index(&self) -> Option<Index> {
        match self {
            Self::Corrupt { index, .. } => *index,
            _ => None,
        }
    }
}

/// A transport could not be started, or not used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Bind {
        /// The address.
        address: String,
        /// What the operating system says.
        why: String,
    },
    /// A transport plugin raised.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Why a call on a node, or its start, did not work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration does not make sense; every problem is listed.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// The node is closed, or closing: the call did nothing.
    #[error("node {node} is closed")]
    Closed {
        /// The node.
        node: NodeId,
    },
    /// Certainly not applied: this node does not lead, and knows or does not know who does.
    #[error("node {node} does not lead in term {term}{}", Leader(.leader.as_ref(), .address.as_ref()))]
    NotLeader {
        /// The node that was asked.
        node: NodeId,
        /// The leader, if known.
        leader: Option<NodeId>,
        /// Its address, if known.
        address: Option<String>,
        /// The term that this is known of.
        term: Term,
    },
    /// Certainly not applied: too much is waiting. Try again after a while.
    #[error("node {node} is overloaded: {why}; retry later")]
    Overloaded {
        /// The node that refused.
        node: NodeId,
        /// What is full.
        why: String,
    },
    /// Certainly not applied: one entry is larger than `max_entry_bytes`.
    #[error("an entry of {size} bytes is over the limit of {limit} (max_entry_bytes)")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Certainly not applied (for the part without results), for another reason.
    #[error("node {node} did not accept the proposal: {why}")]
    NotAccepted {
        /// The node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// The members stay as they are, certainly.
    #[error("node {node} does not change the members: {why}")]
    ChangeRefused {
        /// The node that was asked.
        node: NodeId,
        /// Why, and what to do.
        why: ChangeError,
    },
    /// Leadership was not given away.
    #[error("node {node} does not give leadership away: {why}")]
    TransferRefused {
        /// The node that was asked.
        node: NodeId,
        /// Why.
        why: Refusal,
    },
    /// Certainly not applied: this node is no member any more.
    #[error("node {node} was removed from the cluster: close it, and ask another node")]
    Removed {
        /// The node.
        node: NodeId,
    },
    /// A witness has no state machine that could give a result.
    #[error("node {node} is a witness: it keeps no state machine and gives no results{}", Leader(.leader.as_ref(), .address.as_ref()))]
    Witness {
        /// The node that was asked.
        node: NodeId,
        /// The leader, if known.
        leader: Option<NodeId>,
        /// Its address, if known.
        address: Option<String>,
        /// The term that this is known of.
        term: Term,
    },
    /// It may have been applied, or may still be, or never will.
    #[error("the outcome of a proposal on node {node} is unknown: {why}. It may or may not be applied")]
    OutcomeUnknown {
        /// The node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Nothing was applied now; what became of an earlier attempt is not known.
    #[error(
        "node {node} does not know session {session} (any more): nothing was applied now, an earlier attempt may have been"
    )]
    SessionExpired {
        /// The node.
        node: NodeId,
        /// The session.
        session: u64,
    },
    /// It was applied, once.
    #[error("node {node}: proposal {sequence} of session {session} was applied, but its result was not kept")]
    ResultLost {
        /// The node.
        node: NodeId,
        /// The session.
        session: u64,
        /// The proposal's number in it.
        sequence: u64,
    },
    /// A read or another wait took longer than allowed.
    #[error("node {node}: {what}")]
    Deadline {
        /// The node.
        node: NodeId,
        /// What was waited for, and for how long.
        what: String,
    },
    /// A plugin's callback failed on this node.
    #[error("node {node}: {failure}")]
    Plugin {
        /// The node.
        node: NodeId,
        /// What failed.
        failure: PluginFailure,
    },
    /// Storage failed: the node has stopped.
    #[error("node {node}: {error}")]
    Storage {
        /// The node.
        node: NodeId,
        /// What failed.
        error: StorageError,
    },
    /// The transport failed.
    #[error("node {node}: {error}")]
    Transport {
        /// The node.
        node: NodeId,
        /// What failed.
        error: TransportError,
    },
    /// The cluster has not taken this node in.
    #[error("node {node} cannot join: {error}")]
    Join {
        /// The node.
        node: NodeId,
        /// Why not.
        error: JoinError,
    },
    /// This node runs on another data directory than the one that the cluster knows.
    #[error("the cluster knows node {node} by incarnation {expected}, this storage is {found}: was its disk wiped?")]
    WipedMember {
        /// The node.
        node: NodeId,
        /// What the configuration says.
        expected: Incarnation,
        /// What its storage says.
        found: Incarnation,
    },
    /// A thread of the node ended by a panic: a defect of this library. The node has stopped.
    #[error("node {node}: thread {thread} failed: {message}. The node has stopped; please report this")]
    Panic {
        /// The node.
        node: NodeId,
        /// The thread.
        thread: String,
        /// The panic's message.
        message: String,
    },
}

impl NodeError {
    /// Whether the same call may work after a while, without the risk of doing something twice.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::NotLeader { .. } | Self::Overloaded { .. } | Self::NotAccepted { .. } | Self::Deadline { .. }
        ) || matches!(self, Self::ChangeRefused { why, .. } if passes(*why))
    }
}

/// Whether a refused change may be made when it is asked for again a little later.
#[must_use]
pub const fn passes(why: ChangeError) -> bool {
    matches!(
        why,
        ChangeError::InFlight(_)
            | ChangeError::NotReady
            | ChangeError::NotLeader
            | ChangeError::Transferring
            | ChangeError::StorageStalled
            | ChangeError::Closing
            | ChangeError::Overloaded
    )
}

struct Leader<'a>(Option<&'a NodeId>, Option<&'a String>);

impl fmt::Display for Leader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (None, _) => write!(out, ", and no leader is known"),
            (Some(id), None) => write!(out, "; node {id} does"),
            (Some(id), Some(address)) => write!(out, "; node {id} at {address} does"),
        }
    }
}
