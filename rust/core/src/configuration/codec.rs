//! The encoding of a configuration in configuration entries, snapshots and identity records.
//!
//! ```text
//! version u8 | min_election_timeout u64 | members u32, then each:
//!     id u64 | role u8 | flags u8 | priority i32 | address | client_address (flag 2) | incarnation u128 (flag 4)
//! outgoing u32, then each: id u64
//! ```
//! Flags: 1 promoted automatically, 2 has a client address, 4 has an incarnation, 8 leaving. A text is its length (u32) and its
//! UTF-8 bytes; integers are little-endian.

use super::{Configuration, ConfigurationError, Member, MemberRole};
use crate::types::Incarnation;

const VERSION: u8 = 1;

impl Configuration {
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
                    | u8::from(member.incarnation.is_some()) << 2
                    | u8::from(member.leaving) << 3,
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
                leaving: flags & 8 != 0,
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
