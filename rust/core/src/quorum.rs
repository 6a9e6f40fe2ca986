//! Quorum arithmetic: one half at a time, never over the union of the halves of a joint configuration.

use crate::mutants;
use crate::types::{Index, NodeId};

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteResult {
    /// A quorum of each half has granted.
    Won,
    /// Some half can no longer be won.
    Lost,
    /// Votes are still missing.
    Pending,
}

/// Members of a quorum among so many voters.
#[must_use]
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest number that a quorum of each half has reached. A half without voters constrains nothing.
pub fn committed_index(acked: impl Fn(NodeId) -> Index, voters: &[NodeId], outgoing: &[NodeId]) -> Index {
    if mutants::on("05-union-commits") {
        return half_committed(&acked, &union(voters, outgoing));
    }
    half_committed(&acked, voters).min(half_committed(&acked, outgoing))
}

/// Who has won, if anybody has. An absent vote is one that may still come. A half without voters is won.
pub fn vote_result(granted: impl Fn(NodeId) -> Option<bool>, voters: &[NodeId], outgoing: &[NodeId]) -> VoteResult {
    if mutants::on("05-union-votes") {
        return half_vote(&granted, &union(voters, outgoing));
    }
    match (half_vote(&granted, voters), half_vote(&granted, outgoing)) {
        (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
        (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
        _ => VoteResult::Pending,
    }
}

/// Clusters are small: up to this many voters nothing is allocated.
const SMALL: usize = 9;

fn half_committed(acked: &impl Fn(NodeId) -> Index, voters: &[NodeId]) -> Index {
    if voters.is_empty() {
        return Index::MAX;
    }
    let mut small = [0; SMALL];
    let mut large = Vec::new();
    let reached: &mut [Index] = if let Some(slots) = small.get_mut(..voters.len()) {
        slots
    } else {
        large.resize(voters.len(), 0);
        &mut large
    };
    for (slot, &id) in reached.iter_mut().zip(voters) {
        *slot = acked(id);
    }
    if !mutants::on("06-unsorted") {
        reached.sort_unstable();
    }
    // Ascending: from this position on, a quorum stands at or above it.
    reached[voters.len() - quorum(voters.len())]
}

fn half_vote(granted: &impl Fn(NodeId) -> Option<bool>, voters: &[NodeId]) -> VoteResult {
    let count = |answer| voters.iter().filter(|&&id| granted(id) == Some(answer)).count();
    let (yes, refused) = (count(true), count(false));
    if voters.is_empty() || yes >= quorum(voters.len()) {
        VoteResult::Won
    } else if voters.len() - refused < quorum(voters.len()) {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

/// What must never be counted over: for the planted faults.
fn union(voters: &[NodeId], outgoing: &[NodeId]) -> Vec<NodeId> {
    let mut all: Vec<NodeId> = voters.iter().chain(outgoing).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
