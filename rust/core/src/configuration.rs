//! Who belongs to the cluster.

mod codec;

use std::fmt;

use crate::mutants;
use crate::types::{Incarnation, Micros, NodeId};

/// What a member takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MemberRole {
    /// Votes, and keeps the whole log.
    Voter = 0,
    /// Gets the log, does not vote.
    Learner = 1,
    /// Votes, but is never a candidate and keeps no state machine.
    Witness = 2,
}

/// One member of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// `host:port` where other members reach it.
    pub address: String,
    /// `host:port` where clients reach it, where that is another one.
    pub client_address: Option<String>,
    /// What it takes part in.
    pub role: MemberRole,
    /// Preference as a leader.
    pub priority: i32,
    /// Whether a learner becomes a voter by itself once it has caught up.
    pub auto_promote: bool,
    /// The data directory that it started with; `None` until a leader has recorded it.
    pub incarnation: Option<Incarnation>,
    /// It goes with the old half of a joint configuration: whatever its role, it has no vote in the new one.
    pub leaving: bool,
}

impl Member {
    /// Whether it votes in the active (in a joint phase: the incoming) half. Witnesses vote.
    #[must_use]
    pub const fn votes(&self) -> bool {
        !matches!(self.role, MemberRole::Learner) && !self.leaving
    }
}

/// A membership: takes effect as soon as it stands in the log. While `outgoing` is not empty it is joint (section 6):
/// elections and commits need a quorum of each half by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// All members of both halves, in ascending order of `id`.
    pub members: Vec<Member>,
    /// The voters of the old half, ascending; empty outside a joint phase.
    pub outgoing: Vec<NodeId>,
    /// The cluster's minimum election timeout, fixed at first start: what leases rest on.
    pub min_election_timeout: Micros,
}

/// Why bytes are not a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a configuration: {0}")]
pub struct ConfigurationError(&'static str);

impl Configuration {
    /// The voters of the active (in a joint phase: the incoming) half, ascending. Witnesses vote.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.votes()).map(|member| member.id)
    }

    /// The member of that number.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|at| &self.members[at])
    }

    /// The member of that number.
    pub fn member_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|at| &mut self.members[at])
    }

    /// Whether that node votes, in either half.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.member(id).is_some_and(Member::votes) || self.outgoing.contains(&id)
    }

    /// Whether two halves are in force.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Records a member's data directory, if none is and if that is safe: a vote that it gave in the old half, before it was told
    /// apart from its former self, may be forgotten. Says whether it did.
    pub fn record(&mut self, id: NodeId, incarnation: Incarnation) -> bool {
        if self.outgoing.contains(&id) {
            return false;
        }
        let unknown = self.member_mut(id).filter(|member| member.incarnation.is_none());
        unknown.is_some_and(|member| member.incarnation.replace(incarnation).is_none())
    }

    /// What follows a joint phase: the new half alone.
    #[must_use]
    pub fn incoming(&self) -> Self {
        let mut members = self.members.clone();
        if mutants::on("25-phantom-voter") {
            for member in &mut members {
                member.leaving = false;
            }
        }
        members.retain(|member| !member.leaving);
        Self { members, outgoing: Vec::new(), min_election_timeout: self.min_election_timeout }
    }

    /// Whether that member's data directory is recorded. Until then nothing that it grants or acknowledges counts.
    #[must_use]
    pub fn is_recorded(&self, id: NodeId) -> bool {
        self.member(id).is_some_and(|member| member.incarnation.is_some())
    }

    /// Voters whose incarnation no leader has recorded.
    pub fn unknown_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.votes() && member.incarnation.is_none()).map(|member| member.id)
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for member in &self.members {
            write!(out, "{separator}{}={}", member.id, member.address)?;
            match member.role {
                MemberRole::Voter => {}
                MemberRole::Learner => write!(out, " (learner)")?,
                MemberRole::Witness => write!(out, " (witness)")?,
            }
            separator = ", ";
        }
        if self.is_joint() {
            write!(out, "; leaving {:?}", self.outgoing)?;
        }
        Ok(())
    }
}
