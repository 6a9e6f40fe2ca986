//! What a core shows of itself.

use std::sync::Arc;

use crate::configuration::Configuration;
use crate::progress::Flow;
use crate::types::{Index, LogId, Micros, NodeId, Role, Term};

use super::{Core, State};

/// A core at one moment.
#[derive(Clone, Debug)]
pub struct CoreStatus {
    /// Who it is.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub vote: Option<NodeId>,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Committed up to here.
    pub commit: Index,
    /// Applied up to here, as reported.
    pub applied: Index,
    /// The end of its log.
    pub last: LogId,
    /// On disk up to here.
    pub durable: Index,
    /// What stands before its first entry.
    pub purged: LogId,
    /// Its newest snapshot.
    pub snapshot: Option<LogId>,
    /// The members in force.
    pub configuration: Arc<Configuration>,
    /// The index of the entry that brought them.
    pub configuration_index: Index,
    /// Until when this leader's lease runs.
    pub lease_until: Option<Micros>,
    /// Its storage has not answered for `storage_stall_timeout`.
    pub storage_stalled: bool,
    /// Its state machine has stopped.
    pub apply_stopped: bool,
    /// Voters that must be seen once before the first leader can be elected.
    pub missing: Vec<NodeId>,
    /// A leader's followers.
    pub progress: Vec<ProgressStatus>,
}

/// A follower, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressStatus {
    /// Who it is.
    pub id: NodeId,
    /// It holds the leader's log up to here.
    pub matched: Index,
    /// What is sent next.
    pub next: Index,
    /// `"probe"`, `"replicate"` or `"snapshot"`.
    pub state: &'static str,
    /// Append messages under way.
    pub inflight: usize,
    /// When it last answered.
    pub heard: Option<Micros>,
    /// Its state machine has stopped.
    pub apply_stopped: bool,
}

impl Core {
    /// Everything worth showing.
    #[must_use]
    pub fn status(&self) -> CoreStatus {
        let configuration = self.configurations.current().clone();
        let missing = configuration.unknown_voters().filter(|id| !self.seen.contains_key(id)).collect();
        let progress = match &self.state {
            State::Leader(leadership) => leadership
                .followers
                .iter()
                .map(|(id, follower)| ProgressStatus {
                    id,
                    matched: follower.matched,
                    next: follower.next,
                    state: match follower.flow {
                        Flow::Probe { .. } => "probe",
                        Flow::Replicate => "replicate",
                        Flow::Snapshot => "snapshot",
                    },
                    inflight: follower.inflight(),
                    heard: follower.heard,
                    apply_stopped: follower.apply_stopped,
                })
                .collect(),
            _ => Vec::new(),
        };
        CoreStatus {
            id: self.id,
            role: self.role(),
            term: self.hard_state.term,
            vote: self.hard_state.vote,
            leader: self.leader(),
            commit: self.commit,
            applied: self.applying.index(),
            last: self.log.last_id(),
            durable: self.log.durable(),
            purged: self.log.purged(),
            snapshot: self.snapshot,
            configuration,
            configuration_index: self.configurations.index(),
            lease_until: self.lease_until(),
            storage_stalled: self.storage_stalled,
            apply_stopped: self.apply_stopped,
            missing,
            progress,
        }
    }

    /// Committed up to here.
    #[must_use]
    pub const fn commit(&self) -> Index {
        self.commit
    }

    /// What stands before its first entry.
    #[must_use]
    pub const fn purged(&self) -> LogId {
        self.log.purged()
    }

    /// On disk up to here.
    #[must_use]
    pub const fn durable(&self) -> Index {
        self.log.durable()
    }

    /// Bytes of entries in its memory.
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.log.tail_bytes()
    }
}
