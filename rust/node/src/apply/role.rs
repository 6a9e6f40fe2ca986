//! What a node's place in the configuration means for its state.

use d_engine_raft::{Configuration, Incarnation, Member, MemberRole, NodeId};

use crate::traits::Hello;

/// What this node is, unless a configuration of its number's past says so; `peers` are whom a node that joins was told of.
#[must_use]
pub fn own_member(configuration: &Configuration, peers: &[Member], hello: &Hello) -> Option<Member> {
    let here = |member: &&Member| member.id == hello.node;
    let own = configuration.members.iter().find(here).or_else(|| peers.iter().find(here));
    own.filter(|own| own.incarnation.is_none_or(|incarnation| incarnation == hello.incarnation)).cloned()
}

/// Whether such a member has no state.
#[must_use]
pub fn is_witness(member: &Member) -> bool {
    member.role == MemberRole::Witness
}

/// What another configuration makes of a running node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// It needs no state any more: `AppliedState::set_witness`.
    BecomesWitness,
    /// It has been a witness and has no state, and cannot make up for that while it runs: apply stops.
    LacksState,
}

/// Compares a configuration that now counts with what the node is.
#[must_use]
pub fn role_change(
    configuration: &Configuration,
    node: NodeId,
    incarnation: Incarnation,
    witness: bool,
) -> Option<RoleChange> {
    // A node that catches up sees configurations of its number's past, too.
    let own = configuration.member(node).filter(|own| own.incarnation == Some(incarnation))?;
    match (is_witness(own), witness) {
        (true, false) => Some(RoleChange::BecomesWitness),
        (false, true) => Some(RoleChange::LacksState),
        _ => None,
    }
}
