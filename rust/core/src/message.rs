//! What members say to each other. The cluster, the recovery epoch and the group stand on the frame that carries a message.

use crate::change::{Change, ChangeError};
use crate::entries::Entries;
use crate::entry::Draft;
use crate::types::{Incarnation, Index, LogId, NodeId, RequestId, Term};

/// One message between two members.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it.
    pub from: NodeId,
    /// The data directory that the sender runs on; the receiver compares it with its own configuration.
    pub incarnation: Incarnation,
    /// Whom it is for.
    pub to: NodeId,
    /// The sender's term when the message was made (in a pre-vote: the term it would campaign in). 0 for requests on
    /// behalf of a user and their answers: they belong to no term and do not wait for one to be durable.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Body {
    /// Would you vote for me in `term`? (thesis 9.6)
    PreVote {
        /// The end of the sender's log.
        last: LogId,
    },
    /// The answer, in the term that was asked for if granted, else in the answerer's own.
    PreVoteReply {
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me (section 5.2).
    Vote {
        /// The end of the sender's log.
        last: LogId,
        /// The old leader asked for this election (thesis 3.10): do not withhold the vote.
        transfer: bool,
    },
    /// The answer.
    VoteReply {
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries that follow `prev` (section 5.3).
    Append {
        /// What stands before the first entry.
        prev: LogId,
        /// The leader's commit index.
        commit: Index,
        /// The entries, contiguous.
        entries: Entries,
    },
    /// The answer, once what it says is durable.
    AppendReply(AppendReply),
    /// I lead. Answered without waiting for any disk.
    Heartbeat {
        /// Counts up in a term; confirms reads and the lease. 0: only tells the commit index, wants no answer.
        round: u64,
        /// The leader's commit index, never beyond what it knows the receiver to hold.
        commit: Index,
    },
    /// The answer.
    HeartbeatReply {
        /// The round it answers.
        round: u64,
        /// The end of the sender's log, durable or not: shows the leader that appends were lost, and proves nothing.
        last: Index,
        /// The sender's state machine has stopped on an error (it is no transfer target).
        apply_stopped: bool,
    },
    /// The receiver's state now begins with the leader's snapshot (or already held what it covers).
    SnapshotReply {
        /// The receiver holds a durable prefix of the leader's log up to here.
        matched: Index,
    },
    /// Campaign now (thesis 3.10).
    TimeoutNow {
        /// The data directory it is meant for.
        target: Incarnation,
    },
    /// Entries for the leader to append on a follower's behalf.
    Propose {
        /// The follower's number for them.
        id: RequestId,
        /// The unstamped records.
        entries: Draft,
    },
    /// What became of them.
    ProposeReply {
        /// The follower's number for them.
        id: RequestId,
        /// Where the first stands and in which term, or why they were not taken.
        result: Result<LogId, Refusal>,
    },
    /// Which commit index must a read wait for? (thesis 6.4)
    ReadIndex {
        /// Unique with `from` and `incarnation`; new on every retry.
        id: RequestId,
        /// A lease is as good as a quorum's answer.
        lease: bool,
    },
    /// The answer, after a quorum has confirmed the leader.
    ReadIndexReply {
        /// The number of the read.
        id: RequestId,
        /// The index to wait for, or why there is none.
        result: Result<Index, Refusal>,
    },
    /// Changes of the membership, for the leader to make on a follower's behalf.
    Change {
        /// The follower's number for them.
        id: RequestId,
        /// All to be made together.
        changes: Vec<Change>,
    },
    /// What became of them.
    ChangeReply {
        /// The follower's number for them.
        id: RequestId,
        /// Where the first configuration that they led to stands, or why they were not taken.
        result: Result<LogId, ChangeError>,
    },
}

/// What a follower made of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendReply {
    /// It holds, durably, the leader's log up to here.
    Accepted {
        /// End of the matching prefix: never beyond the append that is answered.
        matched: Index,
    },
    /// It does not hold what the append follows.
    Rejected {
        /// The position that did not match.
        prev: Index,
        /// The newest entry at or before it whose term is not beyond the leader's there: skips a whole term at once.
        hint: LogId,
    },
}

/// Why a leader did not take a request. Certain: it did not and will not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// This node does not lead.
    #[error("not the leader")]
    NotLeader,
    /// Leadership is being given away.
    #[error("leadership is being transferred")]
    Transferring,
    /// Too many bytes wait for a quorum.
    #[error("too many uncommitted bytes")]
    Overloaded,
    /// The leader's disk has not answered for `storage_stall_timeout`.
    #[error("the leader's storage is stalled")]
    StorageStalled,
    /// No member can apply.
    #[error("the leader's state machine has stopped")]
    ApplyStopped,
    /// Leadership cannot be given away: no other voter is up, caught up and able to apply.
    #[error("no voter can take over")]
    NoSuccessor,
    /// The node is closing.
    #[error("the node is closing")]
    Closing,
    /// The node that shall lead is no member.
    #[error("that node is no member")]
    UnknownMember,
    /// The node that shall lead is a learner or a witness, or has never been heard of.
    #[error("that member is no voter that could lead")]
    NotAVoter,
    /// The node that shall lead is silent, cannot apply, or has too much to catch up.
    #[error("that member is too far behind")]
    TooFarBehind,
}
