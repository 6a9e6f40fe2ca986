//! What a core wants done. Effects of one step are carried out in their order; none of them is waited for.

use std::sync::Arc;

use crate::change::ChangeError;
use crate::configuration::Configuration;
use crate::entries::Entries;
use crate::message::{Message, Refusal};
use crate::types::{FetchId, HardState, Incarnation, Index, LogId, NodeId, RequestId, Role, Term, Token};

/// One ordered unit of storage work: hard state, then reset, then truncation, then entries.
#[derive(Clone, Debug, Default)]
pub struct Persist {
    /// To be answered by `Persisted(token)`, which covers all earlier ones too.
    pub token: Token,
    /// Term and vote, if they changed.
    pub hard_state: Option<HardState>,
    /// The log becomes empty and begins behind this entry (a snapshot was installed).
    pub reset_to: Option<LogId>,
    /// Entries from here on are dropped first.
    pub truncate_from: Option<Index>,
    /// To be appended, contiguous.
    pub entries: Entries,
}

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Write, make durable, then answer `Persisted`.
    Persist(Persist),
    /// Read entries `lo..hi` (half open) of at most `max_bytes` (at least one) and answer `Fetched`. They are durable.
    Fetch {
        /// To be given back.
        id: FetchId,
        /// First index.
        lo: Index,
        /// One beyond the last index.
        hi: Index,
        /// Bound on the records' bytes.
        max_bytes: usize,
    },
    /// Hand to the transport; may be lost.
    Send(Message),
    /// Committed and durable here: apply in order. Contiguous over all effects of this kind since the start or the last `Restore`.
    Apply(Entries),
    /// Replace the state machine by the newest snapshot, this one or a later one (after what came before in the apply
    /// queue), and report where it is with `Applied`; then everything from the next index on comes as `Apply`.
    Restore(LogId),
    /// Forget the log up to here, after what came before in the storage queue.
    Purge(LogId),
    /// Send the newest snapshot, which must cover `at_least`, to that follower; answer `SnapshotSent`.
    SendSnapshot {
        /// To whom.
        to: NodeId,
        /// The follower needs a state no older than this.
        at_least: Index,
    },
    /// The answer to a local request.
    Reply(Reply),
    /// For status, logs and waiters.
    Event(Event),
}

/// The answer to a request of the local user. A `Forwarded` request gets a second one, or none (its fate is then unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The batch stands in the log: its first entry here, the others behind it. Applied at that index with that term = done;
    /// another term there = it never will be.
    Proposed {
        /// The request.
        id: RequestId,
        /// First entry.
        at: LogId,
    },
    /// The batch has been sent to the leader, once.
    Forwarded {
        /// The request.
        id: RequestId,
        /// To whom.
        to: NodeId,
    },
    /// Not taken, and certainly never will be.
    Refused {
        /// The request: a proposal or a read.
        id: RequestId,
        /// Why.
        why: Refusal,
    },
    /// The read may be answered from a state that has applied this index.
    ReadReady {
        /// The request.
        id: RequestId,
        /// What must be applied.
        index: Index,
    },
    /// Leadership was given away, or not.
    Transferred {
        /// The request.
        id: RequestId,
        /// Who leads now, if it worked.
        to: Result<NodeId, Refusal>,
    },
    /// The membership changes: the first configuration that the request led to stands here. Done when the first one from here
    /// on that is not joint is committed; another term here = it never will be.
    Changing {
        /// The request.
        id: RequestId,
        /// Its entry.
        at: LogId,
    },
    /// The membership does not change, and certainly never will by this request.
    ChangeRefused {
        /// The request.
        id: RequestId,
        /// Why.
        why: ChangeError,
    },
    /// `Close` is done; the core does nothing more.
    Closed,
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Role, term or leader changed.
    Changed {
        /// The role.
        role: Role,
        /// The term.
        term: Term,
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// A configuration took effect, or fell back.
    Configured {
        /// The index of its entry.
        index: Index,
        /// It.
        configuration: Arc<Configuration>,
    },
    /// A member runs on another data directory than the one the cluster knows: it is not counted.
    WipedMember {
        /// Who.
        id: NodeId,
        /// What the configuration says.
        expected: Incarnation,
        /// What its message says.
        found: Incarnation,
    },
    /// Storage has not answered for too long, or answers again.
    StorageStalled(bool),
    /// A received snapshot was older than what is here.
    StaleSnapshot(LogId),
    /// A learner that was to be promoted fell behind round after round; it is tried again after a pause.
    NotCatchingUp(NodeId),
    /// This node is no member any more, and that is committed.
    Removed,
}
