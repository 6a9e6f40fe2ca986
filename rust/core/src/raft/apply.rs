//! What the state machine gets: committed here, durable here, in order, and never more at once than a bound.

use std::collections::VecDeque;

use crate::effect::Effect;
use crate::entries::Entries;
use crate::entry::Entry;
use crate::log::Slice;
use crate::mutants;
use crate::types::Index;

use super::{Core, Digest, FetchFor};

/// Where the state machine is.
#[derive(Debug)]
pub(super) struct Applying {
    /// Given out up to here.
    handed: Index,
    /// Reported as applied up to here.
    applied: Index,
    /// The newest snapshot that it was told to take over.
    restored: Index,
    outstanding: VecDeque<(Index, usize)>,
    bytes: usize,
    fetching: bool,
}

impl Applying {
    pub(super) const fn from(applied: Index) -> Self {
        Self { handed: applied, applied, restored: 0, outstanding: VecDeque::new(), bytes: 0, fetching: false }
    }

    pub(super) const fn index(&self) -> Index {
        self.applied
    }

    pub(super) const fn handed(&self) -> Index {
        self.handed
    }

    pub(super) fn applied(&mut self, index: Index) {
        self.applied = self.applied.max(index);
        while let Some(&(last, bytes)) = self.outstanding.front() {
            if last > index {
                break;
            }
            self.outstanding.pop_front();
            self.bytes -= bytes;
        }
    }

    /// A snapshot takes the place of everything up to `index`.
    pub(super) fn restore(&mut self, index: Index) {
        self.handed = index;
        self.restored = index;
        self.fetching = false;
    }

    /// Whether it is known where the state machine will be once it has taken what was given out. A restore takes the newest
    /// snapshot, which may be one that has come since: until it has reported, nothing can be put behind it
    /// (MIT 6.824-2018 #4).
    pub(super) const fn settled(&self) -> bool {
        self.restored <= self.applied && self.applied <= self.handed
    }

    /// What was given out, and what of it has been reported.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.number(self.handed);
        out.number(self.applied);
        out.number(self.restored);
        out.list(self.outstanding.iter(), |out, &(last, bytes)| {
            out.number(last);
            out.size(bytes);
        });
        out.flag(self.fetching);
    }

    fn hand(&mut self, entries: &Entries) {
        if let Some(last) = entries.last() {
            let bytes = entries.bytes();
            self.handed = last.index();
            self.outstanding.push_back((last.index(), bytes));
            self.bytes += bytes;
        }
    }
}

impl Core {
    pub(super) fn advance_apply(&mut self) {
        let upto = if mutants::on("34-applied-early") { self.commit } else { self.commit.min(self.log.durable()) };
        while !self.apply_stopped && !self.applying.fetching && self.may_follow() && self.applying.handed < upto {
            let room = self.settings.max_applying_bytes.saturating_sub(self.applying.bytes);
            if room == 0 {
                return;
            }
            let next = self.applying.handed + u64::from(!mutants::on("38-handed-again") || self.applying.handed == 0);
            match self.log.slice(next, upto, room) {
                Slice::Here(entries) => {
                    self.applying.hand(&entries);
                    self.rest.push(Effect::Apply(entries));
                }
                Slice::OnDisk(end) => {
                    self.applying.fetching = true;
                    self.fetch(FetchFor::Apply, next, end, room);
                }
                // Only what is applied is ever purged.
                Slice::Compacted => return,
            }
        }
    }

    /// Whether what comes next may be put behind what was given out.
    fn may_follow(&self) -> bool {
        self.applying.settled() || mutants::on("42-before-the-restore")
    }

    pub(super) fn apply_fetched(&mut self, entries: Option<Vec<Entry>>) {
        self.applying.fetching = false;
        let upto = self.commit.min(self.log.durable());
        let next = self.applying.handed + 1;
        // A snapshot may have been installed since: then this is of the past.
        let mut entries = entries.unwrap_or_default();
        entries.retain(|entry| entry.index() <= upto);
        if !self.apply_stopped && entries.first().is_some_and(|entry| entry.index() == next) {
            let entries = Entries::from(entries);
            self.applying.hand(&entries);
            self.rest.push(Effect::Apply(entries));
        }
    }

    /// The state machine raised something that is no answer: this node goes on voting and replicating, but neither leads
    /// nor campaigns if it can help it (Law 7).
    pub(super) fn stop_apply(&mut self) {
        self.apply_stopped = true;
        self.retry_handover();
    }
}
