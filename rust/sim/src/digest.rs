//! All facts as one number.

use d_engine_raft::{Body, Entry, LogId, Message};

use crate::fact::{End, Fact, Outcome, Request};

/// Facts on their way to a number: equal for equal facts in equal order, on every machine.
#[derive(Clone, Copy, Debug)]
pub struct FactDigest(u64);

impl Default for FactDigest {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }
}

impl FactDigest {
    /// The number so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Takes in a number.
    pub const fn number(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.number(u64::from(*byte));
        }
    }

    fn id(&mut self, id: LogId) {
        self.number(id.term);
        self.number(id.index);
    }

    fn entries(&mut self, entries: &[Entry]) {
        self.number(entries.len() as u64);
        for entry in entries {
            self.id(entry.id());
            // Both checksums together stand for the whole record.
            self.bytes(&entry.record()[56..64]);
        }
    }

    fn message(&mut self, message: &Message) {
        self.number(message.from << 32 | message.to);
        self.number(message.term);
        match &message.body {
            Body::PreVote { last } => self.id(*last),
            Body::Vote { last, transfer } => {
                self.id(*last);
                self.number(u64::from(*transfer));
            }
            Body::PreVoteReply { granted } | Body::VoteReply { granted } => self.number(2 + u64::from(*granted)),
            Body::Append { prev, commit, entries } => {
                self.id(*prev);
                self.number(*commit);
                self.entries(entries);
            }
            Body::Heartbeat { round, commit } => {
                self.number(*round);
                self.number(*commit);
            }
            Body::HeartbeatReply { round, last, apply_stopped } => {
                self.number(*round);
                self.number(*last);
                self.number(u64::from(*apply_stopped));
            }
            Body::SnapshotReply { matched } => self.number(*matched),
            Body::ReadIndex { id, lease } => {
                self.number(*id);
                self.number(u64::from(*lease));
            }
            Body::Propose { id, entries } => {
                self.number(*id);
                self.bytes(entries.as_bytes());
            }
            // Small ones, and seldom: in words.
            other => self.bytes(format!("{other:?}").as_bytes()),
        }
    }

    /// Takes in a fact.
    pub fn fact(&mut self, at: u64, fact: &Fact<'_>) {
        self.number(at);
        match fact {
            Fact::Phase(phase) => self.number(0x0100 | *phase as u64),
            Fact::Struck { fault, nodes } | Fact::Ended { fault, nodes } => {
                let ended = u64::from(matches!(fact, Fact::Ended { .. }));
                self.number(0x0200 | ended << 32 | *fault as u64);
                nodes.iter().for_each(|&node| self.number(node));
            }
            Fact::Started { node, incarnation, start } => {
                self.number(0x0300 | node << 32);
                #[expect(clippy::cast_possible_truncation, reason = "the lower half is random enough")]
                self.number(incarnation.0 as u64);
                self.number(start.hard_state.term);
                self.number(start.hard_state.vote.unwrap_or(0));
                self.id(start.purged);
                self.number(start.last);
            }
            Fact::Stopped { node, why } => {
                self.number(0x0400 | node << 32);
                match why {
                    End::Storage(why) => self.bytes(why.as_bytes()),
                    other => self.bytes(format!("{other:?}").as_bytes()),
                }
            }
            Fact::Stepped { node, now, input, position } => {
                self.number(0x0500 | node << 32);
                self.number(*now);
                self.bytes(input.as_bytes());
                self.number(position.role as u64);
                self.number(position.term);
                self.number(position.leader.unwrap_or(0));
                self.number(position.commit);
                self.id(position.last);
                self.number(position.durable);
                self.number(position.applied);
                self.number(position.lease_until.unwrap_or(0));
                self.number(position.waiting as u64);
            }
            Fact::Persist { node, persist } => {
                self.number(0x0600 | node << 32);
                self.number(persist.token);
                self.entries(&persist.entries);
            }
            Fact::Durable { node, token } => {
                self.number(0x0700 | node << 32);
                self.number(*token);
            }
            other => self.rest(other),
        }
    }

    fn rest(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Purged { node, upto } => {
                self.number(0x0800 | node << 32);
                self.id(*upto);
            }
            Fact::Configured { node, index, configuration } => {
                self.number(0x0900 | node << 32);
                self.number(*index);
                self.bytes(&configuration.encode());
            }
            Fact::Sent { number, message, .. } => {
                self.number(0x0a00);
                self.number(*number);
                self.message(message);
            }
            Fact::Delivered { number, .. } => {
                self.number(0x0b00);
                self.number(*number);
            }
            Fact::Lost { number, .. } => {
                self.number(0x0c00);
                self.number(*number);
            }
            Fact::Applied { node, entries, given, state } => {
                self.number(0x0d00 | node << 32);
                self.entries(entries);
                given.iter().for_each(|&index| self.number(index));
                self.number(*state);
            }
            Fact::Restored { node, last, state } => {
                self.number(0x0e00 | node << 32);
                self.id(*last);
                self.number(*state);
            }
            Fact::SnapshotKept { node, last, bytes, received } => {
                self.number(0x0f00 | node << 32 | u64::from(*received));
                self.id(*last);
                self.number(*bytes);
            }
            Fact::Invoked(operation) => {
                self.number(0x1000 | operation.node << 32);
                self.number(operation.id);
                self.request(&operation.request);
            }
            Fact::Returned { id, outcome } => {
                self.number(0x1100);
                self.number(*id);
                self.outcome(outcome);
            }
            Fact::Clock { node, shown, drift } => {
                self.number(0x1200 | node << 32);
                self.number(*shown);
                self.number(drift.cast_unsigned());
            }
            _ => {}
        }
    }

    fn request(&mut self, request: &Request) {
        match request {
            Request::Write { key, value, session } => {
                self.number(*key);
                self.number(*value);
                self.number(session.map_or(0, |(session, _)| session));
                self.number(session.map_or(0, |(_, sequence)| sequence));
            }
            Request::Read { key, consistency } => {
                self.number(*key);
                self.number(*consistency as u64);
            }
            other => self.bytes(format!("{other:?}").as_bytes()),
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Written { index, previous } => {
                self.number(*index);
                self.number(*previous);
            }
            Outcome::Read { value, applied } => {
                self.number(*value);
                self.number(*applied);
            }
            other => self.bytes(format!("{other:?}").as_bytes()),
        }
    }
}
