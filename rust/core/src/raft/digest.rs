//! The digest: 32 bytes that two cores have in common if, and in practice only if, they are in the same state.
//!
//! SHA-256 over the state in a fixed order, `python/d_engine/pure/raft/digest.py` being its twin. Every number is a little-endian
//! `u64` (an incarnation two of them), an option 0 or 1 and its value, a list its length and its items, text its length and its
//! bytes. Entries in memory stand there with the checksum of their payload. What follows from the rest (sums, caches) is left
//! out, and so is what a step leaves empty behind it.

use sha2::{Digest as _, Sha256};

use crate::types::{Incarnation, LogId, NodeId, Role};

use super::{Core, FetchFor, State, Votes};

/// State on its way to a hash. Each part of a core writes itself: a field that is added is added there.
#[derive(Debug, Default)]
pub(crate) struct Digest(Vec<u8>);

impl Digest {
    pub fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub fn flag(&mut self, value: bool) {
        self.number(u64::from(value));
    }

    pub fn incarnation(&mut self, value: Incarnation) {
        self.0.extend_from_slice(&value.0.to_le_bytes());
    }

    pub fn id(&mut self, value: LogId) {
        self.number(value.term);
        self.number(value.index);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.size(value.len());
        self.0.extend_from_slice(value);
    }

    pub fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            some(self, value);
        }
    }

    pub fn maybe(&mut self, value: Option<u64>) {
        self.option(value, Self::number);
    }

    pub fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.size(items.len());
        for item in items {
            each(self, item);
        }
    }

    fn finish(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl Core {
    /// What this core has in common with every other that took the same inputs, the pure one included.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut out = Digest::default();
        out.number(self.id);
        out.incarnation(self.incarnation);
        out.number(self.group);
        out.number(self.now);
        out.number(self.wall);
        self.rng.digest(&mut out);
        out.number(self.hard_state.term);
        out.maybe(self.hard_state.vote);
        self.digest_state(&mut out);
        self.log.digest(&mut out);
        self.configurations.digest(&mut out);
        self.durability.digest(&mut out);
        out.number(self.commit);
        out.option(self.snapshot, Digest::id);
        self.applying.digest(&mut out);
        self.digest_elections(&mut out);
        out.option(self.transfer.as_ref(), |out, transfer| transfer.digest(out));
        out.number(self.next_fetch);
        out.list(self.fetches.iter(), |out, (&id, purpose)| {
            out.number(id);
            out.number(match *purpose {
                // No member has this number.
                FetchFor::Apply => 0,
                FetchFor::Follower(follower) => follower,
            });
        });
        for flag in [self.apply_stopped, self.storage_stalled, self.closing, self.closed, self.belongs] {
            out.flag(flag);
        }
        let (role, term, leader) = self.shown;
        out.number(number_of(role));
        out.number(term);
        out.maybe(leader);
        out.finish()
    }

    fn digest_state(&self, out: &mut Digest) {
        out.number(number_of(self.role()));
        match &self.state {
            State::Follower { leader } => out.maybe(*leader),
            State::PreCandidate { votes } | State::Candidate { votes } => digest_votes(votes, out),
            State::Leader(leadership) => leadership.digest(out),
        }
    }

    fn digest_elections(&self, out: &mut Digest) {
        out.number(self.election_at);
        out.option(self.heard, |out, (leader, at)| {
            out.number(leader);
            out.number(at);
        });
        out.number(self.withhold_until);
        for shown in [&self.seen, &self.wiped] {
            out.list(shown.iter(), |out, (&id, &incarnation)| {
                out.number(id);
                out.incarnation(incarnation);
            });
        }
    }
}

fn digest_votes(votes: &Votes, out: &mut Digest) {
    out.list(votes.iter(), |out, (&id, &granted): (&NodeId, &bool)| {
        out.number(id);
        out.flag(granted);
    });
}

const fn number_of(role: Role) -> u64 {
    match role {
        Role::Follower => 0,
        Role::PreCandidate => 1,
        Role::Candidate => 2,
        Role::Leader => 3,
    }
}
