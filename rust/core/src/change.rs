//! What a change of the membership asks for, and why it may be refused.

use crate::configuration::Member;
use crate::types::{Index, NodeId};

/// One of the changes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node joins, or a member's address, preference and the like are replaced.
    Add(Member),
    /// A member leaves.
    Remove(NodeId),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
}

/// Why a change of the membership was not made. Certain: it was not and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was asked for.
    #[error("no change was asked for: name at least one member")]
    Empty,
    /// One member is named twice.
    #[error("node {0} is named twice: ask for one change of each member at a time")]
    Duplicate(NodeId),
    /// No member has that number.
    #[error("node {0} is no member: add it first")]
    UnknownMember(NodeId),
    /// Only learners are promoted.
    #[error("node {0} is no learner: only learners are promoted")]
    NotALearner(NodeId),
    /// Only voters are demoted.
    #[error("node {0} is no voter: only voters are demoted")]
    NotAVoter(NodeId),
    /// Adding a member anew does not change its role.
    #[error("node {0} is a member with another role: promote or demote it, or remove it first")]
    RoleOfMember(NodeId),
    /// Witnesses stay witnesses.
    #[error("node {0} is a witness: remove it and add it with the other role")]
    WitnessRole(NodeId),
    /// Which data directory the learner runs on is not known.
    #[error("node {0} has not been heard of: start it, and promote it once it follows")]
    NotSeen(NodeId),
    /// Nobody would be left who can lead.
    #[error("no voter that can lead would be left: keep or add one")]
    NoVoterLeft,
    /// A quorum could consist of witnesses alone.
    #[error("{witnesses} witnesses are too many, {allowed} are allowed: add voters or remove witnesses")]
    TooManyWitnesses {
        /// As many there would be.
        witnesses: usize,
        /// As many there may be.
        allowed: usize,
    },
    /// Everything is already as asked for.
    #[error("nothing would change: the members are already like that")]
    NoChange,
    /// 0 is nobody's number.
    #[error("0 is no node's number: choose one from 1 on")]
    ZeroId,
    /// Another change is under way.
    #[error("the change at index {0} is not complete: ask again when it is")]
    InFlight(Index),
    /// The leader does not know yet what is committed.
    #[error("the leader has not committed anything in its term: ask again soon")]
    NotReady,
    /// This node does not lead.
    #[error("not the leader: ask the leader")]
    NotLeader,
    /// Leadership is being given away.
    #[error("leadership is being transferred: ask again soon")]
    Transferring,
    /// The leader's disk has not answered for `storage_stall_timeout`.
    #[error("the leader's storage is stalled: ask again when it answers")]
    StorageStalled,
    /// The node is closing.
    #[error("the node is closing: ask another one")]
    Closing,
    /// Too many bytes wait for a quorum.
    #[error("too many uncommitted bytes: ask again soon")]
    Overloaded,
}
