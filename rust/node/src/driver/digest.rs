//! What a driver decides by, as bytes: the same in both implementations after the same inputs. Its twin is
//! `python/d_engine/pure/driver/digest.py`.
//!
//! Every number is a little-endian `u64`, an option 0 or 1 and its value, a list its length and its items.

use d_engine_raft::{LogId, NodeId, Term};

use super::Driver;
use super::types::{Calls, Raft, Unknown};

/// State on its way to a hash. Each part of a driver writes itself: a field that is added is added there.
#[derive(Default)]
pub(super) struct Digest(Vec<u8>);

impl Digest {
    pub(super) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.number(u64::from(value));
    }

    pub(super) fn id(&mut self, value: LogId) {
        self.number(value.term);
        self.number(value.index);
    }

    pub(super) fn maybe(&mut self, value: Option<u64>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.number(value);
        }
    }

    /// To whom something was passed on, and in which term, if it was.
    pub(super) fn forwarded(&mut self, to: Option<(NodeId, Term)>) {
        self.flag(to.is_some());
        if let Some((node, term)) = to {
            self.number(node);
            self.number(term);
        }
    }

    /// Why something is in doubt, by number.
    pub(super) fn doubt(&mut self, why: Option<Unknown>) {
        self.number(match why {
            None => 0,
            Some(Unknown::Timeout(_)) => 1,
            Some(Unknown::Forwarded(_)) => 2,
            Some(Unknown::Closed) => 3,
            Some(Unknown::Restored(_)) => 4,
            Some(Unknown::Applied(_)) => 5,
        });
    }

    pub(super) fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.size(items.len());
        for item in items {
            each(self, item);
        }
    }
}

impl<C: Raft, K: Calls> Driver<C, K> {
    /// Everything that this driver decides by, its core's state and who waits left out: for comparing, not for keeping.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        let mut out = Digest::default();
        out.number(self.last_id);
        out.number(self.handed);
        out.id(self.applied);
        out.flag(self.apply_stopped);
        out.flag(self.failed);
        out.flag(self.removed);
        self.proposals.digest(&mut out);
        self.reads.digest(&mut out);
        self.policy.digest(&mut out);
        self.changes.digest(&mut out);
        self.transfers.digest(&mut out);
        self.closing.digest(&mut out);
        out.0
    }
}
