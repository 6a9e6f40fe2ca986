//! `change()` against a naive definition: all voter sets of up to five and five, and all kinds of changes to all kinds of members.

use crate::common::{incarnation, member};
use d_engine_raft::{Change, ChangeError, Configuration, Incarnation, Member, MemberRole, NodeId, change};

/// All non-empty subsets of `1..=5`, as ids.
fn sets() -> Vec<Vec<NodeId>> {
    (1_u32..32).map(|mask| (1..=5).filter(|&id| mask & (1 << (id - 1)) != 0).collect()).collect()
}

fn voter(id: NodeId) -> Member {
    Member { incarnation: Some(incarnation(id)), ..member(id) }
}

fn with(id: NodeId, role: MemberRole) -> Member {
    Member { role, ..voter(id) }
}

fn of(members: Vec<Member>) -> Configuration {
    Configuration { members, outgoing: Vec::new(), min_election_timeout: 7 }
}

fn voters(ids: &[NodeId]) -> Configuration {
    of(ids.iter().map(|&id| voter(id)).collect())
}

/// Who must agree: every half by its own majority.
fn is_quorum(configuration: &Configuration, nodes: u32) -> bool {
    let within = |id: &NodeId| nodes & (1 << (id - 1)) != 0;
    let majority = |half: Vec<NodeId>| half.is_empty() || 2 * half.iter().filter(|id| within(id)).count() > half.len();
    majority(configuration.voters().collect()) && majority(configuration.outgoing.clone())
}

/// Whether some quorum of the one and some quorum of the other have nobody in common: two leaders at once.
fn can_split(one: &Configuration, other: &Configuration) -> bool {
    (0_u32..32).any(|nodes| is_quorum(one, nodes) && is_quorum(other, 31 & !nodes))
}

#[test]
fn class_05_every_change_of_voters_goes_through_configurations_whose_quorums_meet() {
    for old in sets() {
        for new in sets() {
            let removed = old.iter().filter(|id| !new.contains(id)).map(|&id| Change::Remove(id));
            let added = new.iter().filter(|id| !old.contains(id)).map(|&id| Change::Add(voter(id)));
            let changes: Vec<Change> = removed.chain(added).collect();
            let current = voters(&old);
            let result = change(&current, &changes);
            if changes.is_empty() {
                assert_eq!(result, Err(ChangeError::Empty));
                continue;
            }
            let steps = result.unwrap();
            assert_eq!(steps.len(), if changes.len() == 1 { 1 } else { 2 }, "{old:?} to {new:?}");
            assert_eq!(steps.last(), Some(&voters(&new)));
            let path: Vec<&Configuration> = [&current].into_iter().chain(&steps).collect();
            for pair in path.windows(2) {
                assert!(!can_split(pair[0], pair[1]), "{} and {} can both have a leader", pair[0], pair[1]);
            }
            if let [joint, _] = &steps[..] {
                assert_eq!((joint.voters().collect::<Vec<_>>(), &joint.outgoing), (new.clone(), &old));
                let mut both: Vec<NodeId> = old.iter().chain(&new).copied().collect();
                both.sort_unstable();
                both.dedup();
                assert_eq!(joint.members.iter().map(|member| member.id).collect::<Vec<_>>(), both);
                let leaving = joint.members.iter().filter(|member| member.leaving).map(|member| member.id);
                assert_eq!(
                    leaving.collect::<Vec<_>>(),
                    old.iter().filter(|id| !new.contains(id)).copied().collect::<Vec<_>>()
                );
            }
            for configuration in &steps {
                assert_eq!(&Configuration::decode(&configuration.encode()).unwrap(), configuration);
            }
        }
    }
}

#[test]
fn the_naive_definition_knows_a_split_when_it_sees_one() {
    // Two voters more without a joint phase: one and two nodes could each elect a leader.
    assert!(can_split(&voters(&[1]), &voters(&[1, 2, 3])));
    assert!(!can_split(&voters(&[1, 2]), &voters(&[1, 2, 3])));
}

/// What a member is, to the naive definition: role, whether it is promoted by itself, and its directory.
type State = Option<(MemberRole, bool, Option<u8>)>;

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Add(MemberRole, bool, Option<u8>),
    Remove,
    Promote,
    Demote,
}

const ROLES: [MemberRole; 3] = [MemberRole::Voter, MemberRole::Learner, MemberRole::Witness];

fn states() -> Vec<State> {
    let mut states = vec![None];
    for role in ROLES {
        for auto in [false, true] {
            states.extend([None, Some(1)].map(|directory| Some((role, auto, directory))));
        }
    }
    states
}

fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Remove, Kind::Promote, Kind::Demote];
    for role in ROLES {
        for auto in [false, true] {
            kinds.extend([None, Some(1), Some(2)].map(|directory| Kind::Add(role, auto, directory)));
        }
    }
    kinds
}

/// The rules as a table: what one change makes of one member, whatever the others are.
fn outcome(id: NodeId, before: State, kind: Kind) -> Result<State, ChangeError> {
    use MemberRole::{Learner, Voter, Witness};
    #[allow(clippy::match_same_arms)] // One rule, one line.
    let after = match (before, kind) {
        (None, Kind::Add(Voter, true, directory)) => Some((Learner, true, directory)),
        (None, Kind::Add(role, auto, directory)) => Some((role, auto, directory)),
        (None, _) => return Err(ChangeError::UnknownMember(id)),
        (Some(_), Kind::Remove) => None,
        (Some((Learner, auto, Some(directory))), Kind::Promote) => Some((Voter, auto, Some(directory))),
        (Some((Learner, _, None)), Kind::Promote) => return Err(ChangeError::NotSeen(id)),
        (Some((Voter, ..)), Kind::Promote) => return Err(ChangeError::NotALearner(id)),
        (Some((Voter, _, directory)), Kind::Demote) => Some((Learner, false, directory)),
        (Some((Learner, ..)), Kind::Demote) => return Err(ChangeError::NotAVoter(id)),
        (Some((Witness, ..)), Kind::Promote | Kind::Demote) => return Err(ChangeError::WitnessRole(id)),
        // Another directory than the recorded one: re-admitted as a learner.
        (Some((Witness, _, Some(1))), Kind::Add(_, _, Some(2))) => return Err(ChangeError::WitnessRole(id)),
        (Some((_, _, Some(1))), Kind::Add(Voter | Learner, auto, Some(2))) => Some((Learner, auto, Some(2))),
        (Some((role, _, known)), Kind::Add(given, auto, directory))
            if role == given || (role == Learner && given == Voter) =>
        {
            Some((role, auto, directory.or(known)))
        }
        (Some(_), Kind::Add(..)) => return Err(ChangeError::RoleOfMember(id)),
    };
    Ok(after)
}

fn made(id: NodeId, state: (MemberRole, bool, Option<u8>)) -> Member {
    let (role, auto_promote, directory) = state;
    Member { role, auto_promote, incarnation: directory.map(|number| Incarnation(number.into())), ..member(id) }
}

fn asked(id: NodeId, kind: Kind) -> Change {
    match kind {
        Kind::Add(role, auto, directory) => Change::Add(made(id, (role, auto, directory))),
        Kind::Remove => Change::Remove(id),
        Kind::Promote => Change::Promote(id),
        Kind::Demote => Change::Demote(id),
    }
}

/// What the members must be in the end, or the first thing that is wrong.
fn expected(before: &[(NodeId, State)], changes: &[(NodeId, Kind)]) -> Result<Vec<Member>, ChangeError> {
    let mut after = before.to_vec();
    for &(id, kind) in changes {
        for (_, state) in after.iter_mut().filter(|(other, _)| *other == id) {
            *state = outcome(id, *state, kind)?;
        }
    }
    if after == before {
        return Err(ChangeError::NoChange);
    }
    let count = |role| after.iter().filter(|(_, state)| state.is_some_and(|(is, ..)| is == role)).count();
    let (leaders, witnesses) = (count(MemberRole::Voter), count(MemberRole::Witness));
    if leaders == 0 {
        return Err(ChangeError::NoVoterLeft);
    }
    // No quorum may consist of witnesses alone: what is left without a quorum.
    let allowed = (leaders + witnesses - 1) / 2;
    if witnesses > allowed {
        return Err(ChangeError::TooManyWitnesses { witnesses, allowed });
    }
    Ok(after.iter().filter_map(|&(id, state)| state.map(|state| made(id, state))).collect())
}

fn check(before: &[(NodeId, State)], changes: &[(NodeId, Kind)]) {
    let current = of(before.iter().filter_map(|&(id, state)| state.map(|state| made(id, state))).collect());
    let asked: Vec<Change> = changes.iter().map(|&(id, kind)| asked(id, kind)).collect();
    let result = change(&current, &asked);
    let members = match (expected(before, changes), result) {
        (Err(expected), result) => return assert_eq!(result, Err(expected), "{before:?} {changes:?}"),
        (Ok(members), Ok(steps)) => (members, steps),
        (Ok(_), Err(why)) => panic!("{why}: {before:?} {changes:?}"),
    };
    let (mut members, steps) = members;
    if let [joint, _] = &steps[..] {
        for member in &joint.members {
            let old = current.member(member.id);
            let kept = old.is_some_and(|old| old.incarnation == member.incarnation);
            assert!(
                kept || !joint.outgoing.contains(&member.id) || member.incarnation.is_none(),
                "{before:?} {changes:?}"
            );
        }
        assert!(joint.is_joint() && joint.outgoing == current.voters().collect::<Vec<_>>());
        // Who votes in the old half and shows another directory is recorded only when that half is gone.
        for member in members.iter_mut().filter(|member| joint.outgoing.contains(&member.id)) {
            if current.member(member.id).is_some_and(|old| old.incarnation != member.incarnation) {
                member.incarnation = None;
            }
        }
    }
    assert_eq!(steps.last().unwrap(), &of(members), "{before:?} {changes:?}");
    let path: Vec<&Configuration> = [&current].into_iter().chain(&steps).collect();
    // Nobody leads where nobody votes.
    let begins = usize::from(current.voters().next().is_none());
    assert!(path[begins..].windows(2).all(|pair| !can_split(pair[0], pair[1])), "{before:?} {changes:?}");
}

#[test]
fn one_change_of_every_kind_to_a_member_of_every_kind_is_as_the_table_says() {
    // Beside a cluster in which it is the only voter, one of two, one of many, and a witness too many.
    let voter = Some((MemberRole::Voter, false, Some(1)));
    let witness = Some((MemberRole::Witness, false, Some(1)));
    for others in [vec![], vec![voter], vec![voter, voter, voter], vec![voter, voter, witness], vec![voter, witness]] {
        for state in states() {
            for kind in kinds() {
                let mut before = vec![(1, state)];
                before.extend((2..).zip(others.iter().copied()));
                check(&before, &[(1, kind)]);
            }
        }
    }
}

#[test]
fn two_changes_of_every_kind_to_members_of_every_kind_are_as_the_table_says() {
    let voter = Some((MemberRole::Voter, false, Some(1)));
    for (first, second) in states().iter().flat_map(|first| states().into_iter().map(move |second| (*first, second))) {
        for one in kinds() {
            for other in kinds() {
                check(&[(1, first), (2, second), (3, voter), (4, voter)], &[(1, one), (2, other)]);
            }
        }
    }
}

#[test]
fn a_request_that_makes_no_sense_is_refused_as_a_whole() {
    let current = voters(&[1, 2, 3]);
    assert_eq!(change(&current, &[]), Err(ChangeError::Empty));
    assert_eq!(change(&current, &[Change::Remove(0)]), Err(ChangeError::ZeroId));
    assert_eq!(change(&current, &[Change::Remove(2), Change::Demote(2)]), Err(ChangeError::Duplicate(2)));
    assert_eq!(change(&current, &[Change::Remove(2), Change::Remove(9)]), Err(ChangeError::UnknownMember(9)));
    assert_eq!(change(&current, &[Change::Add(voter(2))]), Err(ChangeError::NoChange));
    assert_eq!(change(&current, &[1, 2, 3].map(Change::Remove)), Err(ChangeError::NoVoterLeft));
    let mut joint = current;
    joint.outgoing = vec![1];
    assert_eq!(change(&joint, &[Change::Remove(2)]), Err(ChangeError::InFlight(0)), "one at a time");
}

#[test]
fn a_members_address_and_preferences_are_replaced_and_the_rest_stays() {
    let mut current = voters(&[1, 2]);
    current.members[1].auto_promote = true;
    let given = Member {
        address: "elsewhere:1".to_owned(),
        client_address: Some("clients:2".to_owned()),
        priority: -3,
        ..member(2)
    };
    let steps = change(&current, &[Change::Add(given.clone())]).unwrap();
    assert_eq!(steps, [of(vec![voter(1), Member { incarnation: Some(incarnation(2)), ..given }])]);
}

#[test]
fn class_24_a_witness_that_is_removed_stays_one_until_it_is_gone() {
    let mut current = voters(&[1, 2, 3]);
    current.members[2].role = MemberRole::Witness;
    let steps = change(&current, &[Change::Remove(3), Change::Add(voter(4))]).unwrap();
    let witness = steps[0].member(3).unwrap();
    assert_eq!((witness.role, witness.leaving, steps[0].is_voter(3)), (MemberRole::Witness, true, true));
    assert_eq!(steps[0].voters().collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(steps[1].member(3), None);
}

#[test]
fn class_26_who_is_re_admitted_while_voters_change_counts_in_neither_half_until_it_is_recorded_anew() {
    // With the new directory its votes would count in the old half, where its former self may have voted otherwise.
    let current = voters(&[1, 2, 3]);
    let wiped = Member { incarnation: Some(Incarnation(99)), ..member(3) };
    let steps = change(&current, &[Change::Add(wiped.clone()), Change::Add(voter(4))]).unwrap();
    let joint = steps[0].member(3).unwrap();
    assert_eq!((joint.role, joint.incarnation, &steps[0].outgoing), (MemberRole::Learner, None, &vec![1, 2, 3]));
    let mut recorded = steps[0].clone();
    assert!(!recorded.record(3, Incarnation(99)), "nor may a leader record it now");
    let mut after = steps[1].clone();
    assert!(after.record(3, Incarnation(99)) && !after.record(3, Incarnation(98)));
    // Alone it takes one step, in which the old half is gone at once.
    let steps = change(&current, &[Change::Add(wiped)]).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].member(3).unwrap().incarnation, Some(Incarnation(99)));
    assert_eq!(steps[0].voters().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn learners_come_and_go_in_one_step_however_many() {
    let current = of(vec![voter(1), with(2, MemberRole::Learner), with(3, MemberRole::Learner)]);
    let learner = |id| Change::Add(with(id, MemberRole::Learner));
    let steps = change(&current, &[Change::Remove(2), Change::Remove(3), learner(4), learner(5)]).unwrap();
    assert_eq!(steps.len(), 1);
    let changes = [Change::Promote(2), Change::Demote(1)];
    assert_eq!(change(&current, &changes).unwrap().len(), 2, "one voter for another: two differences");
}

#[test]
fn every_refusal_says_what_to_do() {
    let all = [
        ChangeError::Empty,
        ChangeError::Duplicate(1),
        ChangeError::UnknownMember(1),
        ChangeError::NotALearner(1),
        ChangeError::NotAVoter(1),
        ChangeError::RoleOfMember(1),
        ChangeError::WitnessRole(1),
        ChangeError::NotSeen(1),
        ChangeError::NoVoterLeft,
        ChangeError::TooManyWitnesses { witnesses: 2, allowed: 1 },
        ChangeError::NoChange,
        ChangeError::ZeroId,
        ChangeError::InFlight(7),
    ];
    for error in all {
        assert!(error.to_string().contains(':'), "{error}");
    }
}
