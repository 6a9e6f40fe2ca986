//! Quorum arithmetic against the definition, for all sets of voters up to five and five.

use std::cmp::Ordering;

use d_engine_raft::quorum::{VoteResult, committed_index, quorum, vote_result};

/// All subsets of `1..=5`, as ids.
fn sets() -> Vec<Vec<u64>> {
    (0_u32..32).map(|mask| (1..=5).filter(|&id| mask & (1 << (id - 1)) != 0).collect()).collect()
}

/// Whether the yes-sayers hold a majority of one half; an empty half asks for nothing.
fn majority(half: &[u64], yes: impl Fn(u64) -> bool) -> bool {
    half.is_empty() || 2 * half.iter().filter(|&&id| yes(id)).count() > half.len()
}

#[test]
fn a_quorum_is_the_smallest_majority() {
    for voters in 1..50 {
        assert!(2 * quorum(voters) > voters);
        assert!(2 * (quorum(voters) - 1) <= voters);
    }
}

#[test]
fn class_05_votes_are_counted_in_each_half_and_never_over_the_union() {
    // CCF #3948. Every voter has granted, refused or not answered.
    for voters in sets() {
        for outgoing in sets() {
            for mut votes in 0..3_u32.pow(5) {
                let mut answers = [None; 6];
                for answer in &mut answers[1..] {
                    *answer = [None, Some(true), Some(false)][(votes % 3) as usize];
                    votes /= 3;
                }
                let granted = |id: u64| answers[usize::try_from(id).unwrap()];
                let both = |yes: &dyn Fn(u64) -> bool| majority(&voters, yes) && majority(&outgoing, yes);
                let expected = if both(&|id| granted(id) == Some(true)) {
                    VoteResult::Won
                } else if both(&|id| granted(id) != Some(false)) {
                    VoteResult::Pending
                } else {
                    VoteResult::Lost
                };
                assert_eq!(vote_result(granted, &voters, &outgoing), expected, "{voters:?} {outgoing:?} {answers:?}");
            }
        }
    }
}

#[test]
fn class_06_the_committed_index_is_the_highest_that_a_majority_of_each_half_holds() {
    // openraft #1802: whatever the order of voters and of their indexes.
    for voters in sets() {
        for outgoing in sets() {
            for mut held in 0..4_u32.pow(5) {
                let mut indexes = [0; 6];
                for index in &mut indexes[1..] {
                    *index = u64::from(held % 4);
                    held /= 4;
                }
                let acked = |id: u64| indexes[usize::try_from(id).unwrap()];
                let at_least = |index: u64| {
                    majority(&voters, |id| acked(id) >= index) && majority(&outgoing, |id| acked(id) >= index)
                };
                let expected = if at_least(u64::MAX) { u64::MAX } else { (0..4).rev().find(|&i| at_least(i)).unwrap() };
                assert_eq!(committed_index(acked, &voters, &outgoing), expected, "{voters:?} {outgoing:?} {indexes:?}");
            }
        }
    }
}

#[test]
fn class_06_order_does_not_matter_and_large_sets_work() {
    let ids: Vec<u64> = (1..=31).collect();
    let reversed: Vec<u64> = ids.iter().rev().copied().collect();
    let acked = |id: u64| (id * 7) % 31;
    let mut sorted: Vec<u64> = ids.iter().map(|&id| acked(id)).collect();
    sorted.sort_unstable();
    // The 16th from above of 31.
    assert_eq!(committed_index(acked, &ids, &[]), sorted[15]);
    assert_eq!(committed_index(acked, &reversed, &[]), sorted[15]);
    assert_eq!(committed_index(acked, &ids, &ids[..3]).cmp(&sorted[15]), Ordering::Less);
}
