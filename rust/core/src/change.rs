//! Changes of the membership: from what is asked for to the configurations that lead there (section 6, thesis 4).

use crate::configuration::{Configuration, Member, MemberRole};
use crate::mutants;
use crate::quorum::quorum;
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

impl Change {
    /// Whom it is about.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        match self {
            Self::Add(member) => member.id,
            Self::Remove(id) | Self::Promote(id) | Self::Demote(id) => *id,
        }
    }
}

/// The configurations that `current` goes through: one, or a joint one and the one after it.
///
/// # Errors
/// Says what is wrong with the first change that cannot be made, or with what all of them would lead to.
pub fn change(current: &Configuration, changes: &[Change]) -> Result<Vec<Configuration>, ChangeError> {
    if current.is_joint() {
        return Err(ChangeError::InFlight(0));
    }
    check_request(changes)?;
    let mut members = current.members.clone();
    for change in changes {
        match change {
            Change::Add(member) => add(&mut members, member)?,
            Change::Remove(id) => remove(&mut members, *id)?,
            Change::Promote(id) => promote(&mut members, *id)?,
            Change::Demote(id) => demote(&mut members, *id)?,
        }
    }
    if members == current.members {
        return Err(ChangeError::NoChange);
    }
    check_members(&members)?;
    Ok(steps(current, members))
}

/// Each member once, and nobody by the number 0.
fn check_request(changes: &[Change]) -> Result<(), ChangeError> {
    if changes.is_empty() {
        return Err(ChangeError::Empty);
    }
    for (at, change) in changes.iter().enumerate() {
        let id = change.id();
        if id == 0 {
            return Err(ChangeError::ZeroId);
        }
        if changes[..at].iter().any(|before| before.id() == id) {
            return Err(ChangeError::Duplicate(id));
        }
    }
    Ok(())
}

/// A node joins, or is a member already and described anew.
fn add(members: &mut Vec<Member>, given: &Member) -> Result<(), ChangeError> {
    match members.binary_search_by_key(&given.id, |member| member.id) {
        Err(at) => {
            members.insert(at, newcomer(given));
            Ok(())
        }
        Ok(at) => describe(&mut members[at], given),
    }
}

/// Nobody votes before it has caught up (thesis 4.2.1), unless that is said.
fn newcomer(given: &Member) -> Member {
    let role = match given.role {
        MemberRole::Voter if given.auto_promote => MemberRole::Learner,
        role => role,
    };
    Member { role, leaving: false, ..given.clone() }
}

/// Address and preferences are replaced. On another data directory than the recorded one a member begins as a learner again.
fn describe(member: &mut Member, given: &Member) -> Result<(), ChangeError> {
    let another =
        given.incarnation.is_some() && member.incarnation.is_some() && given.incarnation != member.incarnation;
    let same_role = given.role == member.role;
    match (member.role, given.role) {
        (MemberRole::Witness, _) if another => return Err(ChangeError::WitnessRole(member.id)),
        // To be a voter is what becomes of a learner, and of a voter whose disk was wiped; `auto_promote` says whether by itself.
        (MemberRole::Learner, MemberRole::Voter) => {}
        (MemberRole::Voter, MemberRole::Learner) if another => {}
        _ if same_role => {}
        _ => return Err(ChangeError::RoleOfMember(member.id)),
    }
    *member = Member {
        id: member.id,
        address: given.address.clone(),
        client_address: given.client_address.clone(),
        role: if another { MemberRole::Learner } else { member.role },
        priority: given.priority,
        auto_promote: given.auto_promote,
        incarnation: given.incarnation.or(member.incarnation),
        leaving: false,
    };
    Ok(())
}

fn remove(members: &mut Vec<Member>, id: NodeId) -> Result<(), ChangeError> {
    let at = position(members, id)?;
    members.remove(at);
    Ok(())
}

fn promote(members: &mut [Member], id: NodeId) -> Result<(), ChangeError> {
    let at = position(members, id)?;
    match members[at].role {
        MemberRole::Witness => Err(ChangeError::WitnessRole(id)),
        MemberRole::Voter => Err(ChangeError::NotALearner(id)),
        MemberRole::Learner if members[at].incarnation.is_none() => Err(ChangeError::NotSeen(id)),
        MemberRole::Learner => {
            members[at].role = MemberRole::Voter;
            Ok(())
        }
    }
}

/// A voter that is demoted stays a learner until it is promoted by name.
fn demote(members: &mut [Member], id: NodeId) -> Result<(), ChangeError> {
    let at = position(members, id)?;
    match members[at].role {
        MemberRole::Witness => Err(ChangeError::WitnessRole(id)),
        MemberRole::Learner => Err(ChangeError::NotAVoter(id)),
        MemberRole::Voter => {
            (members[at].role, members[at].auto_promote) = (MemberRole::Learner, false);
            Ok(())
        }
    }
}

fn position(members: &[Member], id: NodeId) -> Result<usize, ChangeError> {
    members.binary_search_by_key(&id, |member| member.id).map_err(|_| ChangeError::UnknownMember(id))
}

/// Somebody can lead, and no quorum consists of witnesses alone.
fn check_members(members: &[Member]) -> Result<(), ChangeError> {
    let count = |role| members.iter().filter(|member| member.role == role).count();
    let witnesses = count(MemberRole::Witness);
    if count(MemberRole::Voter) == 0 {
        return Err(ChangeError::NoVoterLeft);
    }
    let voters = count(MemberRole::Voter) + witnesses;
    let allowed = voters - quorum(voters);
    if witnesses > allowed { Err(ChangeError::TooManyWitnesses { witnesses, allowed }) } else { Ok(()) }
}

/// One voter more or less: quorums of before and after have a node in common (thesis 4.1). Else a joint phase lies between.
fn steps(current: &Configuration, members: Vec<Member>) -> Vec<Configuration> {
    let target = Configuration { members, outgoing: Vec::new(), min_election_timeout: current.min_election_timeout };
    let (old, new): (Vec<NodeId>, Vec<NodeId>) = (current.voters().collect(), target.voters().collect());
    let missing = |from: &[NodeId], these: &[NodeId]| these.iter().filter(|id| !from.contains(id)).count();
    if missing(&old, &new) + missing(&new, &old) <= 1 || mutants::on("45-never-joint") {
        return vec![target];
    }
    let joint = joint(current, target, old);
    let incoming = joint.incoming();
    vec![joint, incoming]
}

/// Both halves: what is to be, and who votes in what was.
fn joint(current: &Configuration, target: Configuration, outgoing: Vec<NodeId>) -> Configuration {
    let mut joint = Configuration { outgoing, ..target };
    for before in &current.members {
        match joint.members.binary_search_by_key(&before.id, |member| member.id) {
            Err(at) => joint.members.insert(at, Member { leaving: true, ..before.clone() }),
            // Its votes of before still count in the old half, and a wiped disk may have forgotten one: whoever it is now, it is
            // recorded after the joint phase.
            Ok(at) if before.votes() && joint.members[at].incarnation != before.incarnation => {
                joint.members[at].incarnation = None;
            }
            Ok(_) => {}
        }
    }
    joint
}
