//! Who belongs to the cluster, and its encoding in configuration entries, snapshots and identity records.

use std::fmt;

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

const VERSION: u8 = 1;

impl Configuration {
    /// The voters of the active (in a joint phase: the incoming) half, ascending. Witnesses vote.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.role != MemberRole::Learner).map(|member| member.id)
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
        self.member(id).is_some_and(|member| member.role != MemberRole::Learner) || self.outgoing.contains(&id)
    }

    /// Whether two halves are in force.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Voters whose incarnation no leader has recorded.
    pub fn unknown_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members
            .iter()
            .filter(|member| member.role != MemberRole::Learner && member.incarnation.is_none())
            .map(|member| member.id)
    }

    /// The bytes of a configuration entry's payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.min_election_timeout.to_le_bytes());
        put_len(&mut out, self.members.len());
        for member in &self.members {
            out.extend_from_slice(&member.id.to_le_bytes());
            out.push(member.role as u8);
            out.push(
                u8::from(member.auto_promote)
                    | u8::from(member.client_address.is_some()) << 1
                    | u8::from(member.incarnation.is_some()) << 2,
            );
            out.extend_from_slice(&member.priority.to_le_bytes());
            put_text(&mut out, &member.address);
            if let Some(address) = &member.client_address {
                put_text(&mut out, address);
            }
            if let Some(incarnation) = member.incarnation {
                out.extend_from_slice(&incarnation.0.to_le_bytes());
            }
        }
        put_len(&mut out, self.outgoing.len());
        for id in &self.outgoing {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// The bytes are cut off, of a later format, or hold members out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        let mut source = Source(bytes);
        if source.u8()? != VERSION {
            return Err(ConfigurationError("its format is of a later release"));
        }
        let min_election_timeout = u64::from_le_bytes(source.array()?);
        let mut members: Vec<Member> = Vec::new();
        for _ in 0..source.len()? {
            let id = u64::from_le_bytes(source.array()?);
            let role = match source.u8()? {
                0 => MemberRole::Voter,
                1 => MemberRole::Learner,
                2 => MemberRole::Witness,
                _ => return Err(ConfigurationError("a member has an unknown role")),
            };
            let flags = source.u8()?;
            let priority = i32::from_le_bytes(source.array()?);
            let address = source.text()?;
            let client_address = if flags & 2 == 0 { None } else { Some(source.text()?) };
            let incarnation =
                if flags & 4 == 0 { None } else { Some(Incarnation(u128::from_le_bytes(source.array()?))) };
            if members.last().is_some_and(|last| last.id >= id) {
                return Err(ConfigurationError("its members are out of order"));
            }
            members.push(Member {
                id,
                address,
                client_address,
                role,
                priority,
                auto_promote: flags & 1 != 0,
                incarnation,
            });
        }
        let mut outgoing = Vec::new();
        for _ in 0..source.len()? {
            outgoing.push(u64::from_le_bytes(source.array()?));
        }
        if !source.0.is_empty() {
            return Err(ConfigurationError("bytes follow its end"));
        }
        Ok(Self { members, outgoing, min_election_timeout })
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

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ConfigurationError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(ConfigurationError("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ConfigurationError> {
        self.take(N)?.try_into().map_err(|_| ConfigurationError("it is cut off"))
    }

    fn u8(&mut self) -> Result<u8, ConfigurationError> {
        Ok(self.take(1)?[0])
    }

    fn len(&mut self) -> Result<usize, ConfigurationError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn text(&mut self) -> Result<String, ConfigurationError> {
        let length = self.len()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| ConfigurationError("an address is not UTF-8"))
    }
}
