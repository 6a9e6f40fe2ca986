//! The words that every other module speaks in.

use std::fmt;

/// A member's number, chosen by the user; never 0.
pub type NodeId = u64;
/// A Raft term; 0 before the first election.
pub type Term = u64;
/// A position in the log; the first entry stands at 1.
pub type Index = u64;
/// A moment or a span of the caller's monotonic clock, in microseconds.
pub type Micros = u64;
/// A moment of the wall clock: Unix time in microseconds.
pub type WallMicros = u64;
/// One of many logs that may share a disk and a connection; today always 0.
pub type GroupId = u64;
/// Names one `Persist` effect. Never reused; completes in order.
pub type Token = u64;
/// Names one proposal batch or one read of the local node; chosen by the caller of `step`.
pub type RequestId = u64;
/// Names one `Fetch` effect.
pub type FetchId = u64;

/// Where an entry stands and which leader put it there: unique in the life of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    // `term` first, so that the derived order is Raft's "at least as up-to-date" (section 5.4.1).
    /// The term of the leader that appended the entry.
    pub term: Term,
    /// Its position.
    pub index: Index,
}

impl LogId {
    /// The position before the first entry.
    pub const ZERO: Self = Self { term: 0, index: 0 };

    /// An entry's identity.
    #[must_use]
    pub const fn new(index: Index, term: Term) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.index, self.term)
    }
}

/// What must be on disk before an answer that depends on it leaves (section 5.2 of the paper). The commit index is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
}

/// 128 random bits drawn when a data directory is made: what tells a member from the same member with its disk wiped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u128);

impl fmt::Debug for Incarnation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it would be elected, without touching its term (thesis 9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Replicates its log to the others.
    Leader,
}
