//! Changes of the membership as they travel.

use bytes::Bytes;
use d_engine_raft::{Change, ChangeError, Incarnation, Member, MemberRole, RequestId};

use super::CodecError;
use super::decode::identity;
use super::encode::identity_bytes;
use crate::wire;
use crate::wire::ChangeRefusal;
use crate::wire::member_change::Change as Wire;

pub(super) fn changes_to_wire(id: RequestId, changes: Vec<Change>) -> wire::Change {
    let changes = changes.into_iter().map(|change| {
        let change = match change {
            Change::Add(member) => Wire::Add(member_to_wire(member)),
            Change::Remove(id) => Wire::Remove(id),
            Change::Promote(id) => Wire::Promote(id),
            Change::Demote(id) => Wire::Demote(id),
        };
        wire::MemberChange { change: Some(change) }
    });
    wire::Change { id, changes: changes.collect() }
}

pub(super) fn open_change(change: wire::MemberChange) -> Result<Change, CodecError> {
    Ok(match change.change.ok_or(CodecError::Missing("what changes of the membership"))? {
        Wire::Add(member) => Change::Add(open_member(member)?),
        Wire::Remove(id) => Change::Remove(id),
        Wire::Promote(id) => Change::Promote(id),
        Wire::Demote(id) => Change::Demote(id),
    })
}

pub(crate) fn member_to_wire(member: Member) -> wire::Member {
    let role = match member.role {
        MemberRole::Voter => wire::MemberRole::Voter,
        MemberRole::Learner => wire::MemberRole::Learner,
        MemberRole::Witness => wire::MemberRole::Witness,
    };
    wire::Member {
        id: member.id,
        address: member.address,
        client_address: member.client_address,
        role: role.into(),
        priority: member.priority,
        auto_promote: member.auto_promote,
        incarnation: member.incarnation.map_or_else(Bytes::new, |incarnation| identity_bytes(incarnation.0)),
    }
}

pub(crate) fn open_member(member: wire::Member) -> Result<Member, CodecError> {
    let role = match wire::MemberRole::try_from(member.role) {
        Ok(wire::MemberRole::Voter) => MemberRole::Voter,
        Ok(wire::MemberRole::Learner) => MemberRole::Learner,
        Ok(wire::MemberRole::Witness) => MemberRole::Witness,
        Ok(wire::MemberRole::Unspecified) | Err(_) => return Err(value("a member's role", member.role)),
    };
    let incarnation = if member.incarnation.is_empty() {
        None
    } else {
        Some(Incarnation(identity(&member.incarnation, "a member's incarnation")?))
    };
    Ok(Member {
        id: member.id,
        address: member.address,
        client_address: member.client_address,
        role,
        priority: member.priority,
        auto_promote: member.auto_promote,
        incarnation,
        leaving: false,
    })
}

pub(crate) fn error_to_wire(error: ChangeError) -> wire::ChangeError {
    let mut wire = wire::ChangeError::default();
    let about = |refusal, node| (refusal, node);
    let (refusal, node) = match error {
        ChangeError::Empty => about(ChangeRefusal::Empty, 0),
        ChangeError::Duplicate(node) => about(ChangeRefusal::Duplicate, node),
        ChangeError::UnknownMember(node) => about(ChangeRefusal::UnknownMember, node),
        ChangeError::NotALearner(node) => about(ChangeRefusal::NotALearner, node),
        ChangeError::NotAVoter(node) => about(ChangeRefusal::NotAVoter, node),
        ChangeError::RoleOfMember(node) => about(ChangeRefusal::RoleOfMember, node),
        ChangeError::WitnessRole(node) => about(ChangeRefusal::WitnessRole, node),
        ChangeError::NotSeen(node) => about(ChangeRefusal::NotSeen, node),
        ChangeError::NoVoterLeft => about(ChangeRefusal::NoVoterLeft, 0),
        ChangeError::TooManyWitnesses { witnesses, allowed } => {
            (wire.witnesses, wire.allowed) = (witnesses as u64, allowed as u64);
            about(ChangeRefusal::TooManyWitnesses, 0)
        }
        ChangeError::NoChange => about(ChangeRefusal::NoChange, 0),
        ChangeError::ZeroId => about(ChangeRefusal::ZeroId, 0),
        ChangeError::InFlight(index) => {
            wire.index = index;
            about(ChangeRefusal::InFlight, 0)
        }
        ChangeError::NotReady => about(ChangeRefusal::NotReady, 0),
        ChangeError::NotLeader => about(ChangeRefusal::NotLeader, 0),
        ChangeError::Transferring => about(ChangeRefusal::Transferring, 0),
        ChangeError::StorageStalled => about(ChangeRefusal::StorageStalled, 0),
        ChangeError::Closing => about(ChangeRefusal::Closing, 0),
        ChangeError::Overloaded => about(ChangeRefusal::Overloaded, 0),
    };
    (wire.refusal, wire.node) = (refusal.into(), node);
    wire
}

pub(crate) fn open_error(error: wire::ChangeError) -> Result<ChangeError, CodecError> {
    let node = error.node;
    Ok(match ChangeRefusal::try_from(error.refusal) {
        Ok(ChangeRefusal::Empty) => ChangeError::Empty,
        Ok(ChangeRefusal::Duplicate) => ChangeError::Duplicate(node),
        Ok(ChangeRefusal::UnknownMember) => ChangeError::UnknownMember(node),
        Ok(ChangeRefusal::NotALearner) => ChangeError::NotALearner(node),
        Ok(ChangeRefusal::NotAVoter) => ChangeError::NotAVoter(node),
        Ok(ChangeRefusal::RoleOfMember) => ChangeError::RoleOfMember(node),
        Ok(ChangeRefusal::WitnessRole) => ChangeError::WitnessRole(node),
        Ok(ChangeRefusal::NotSeen) => ChangeError::NotSeen(node),
        Ok(ChangeRefusal::NoVoterLeft) => ChangeError::NoVoterLeft,
        Ok(ChangeRefusal::TooManyWitnesses) => ChangeError::TooManyWitnesses {
            witnesses: usize::try_from(error.witnesses).unwrap_or(usize::MAX),
            allowed: usize::try_from(error.allowed).unwrap_or(usize::MAX),
        },
        Ok(ChangeRefusal::NoChange) => ChangeError::NoChange,
        Ok(ChangeRefusal::ZeroId) => ChangeError::ZeroId,
        Ok(ChangeRefusal::InFlight) => ChangeError::InFlight(error.index),
        Ok(ChangeRefusal::NotReady) => ChangeError::NotReady,
        Ok(ChangeRefusal::NotLeader) => ChangeError::NotLeader,
        Ok(ChangeRefusal::Transferring) => ChangeError::Transferring,
        Ok(ChangeRefusal::StorageStalled) => ChangeError::StorageStalled,
        Ok(ChangeRefusal::Closing) => ChangeError::Closing,
        Ok(ChangeRefusal::Overloaded) => ChangeError::Overloaded,
        Ok(ChangeRefusal::Unspecified) | Err(_) => return Err(value("a refused change", error.refusal)),
    })
}

fn value(field: &'static str, found: i32) -> CodecError {
    CodecError::Value { field, found: i64::from(found).cast_unsigned() }
}
