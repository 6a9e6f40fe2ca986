//! Replication: probe, replicate, snapshot (section 5.3, thesis 10.2.1).

use crate::effect::Effect;
use crate::entries::Entries;
use crate::entry::Entry;
use crate::log::Slice;
use crate::message::{AppendReply, Body};
use crate::mutants;
use crate::progress::{Flow, Progress, Window};
use crate::types::{FetchId, Index, LogId, NodeId};

use super::{Core, FetchFor, State};

impl Core {
    /// Sends every follower what its window has room for, and the commit index to those who wait for it.
    pub(super) fn replicate_all(&mut self) {
        let State::Leader(leadership) = &self.state else { return };
        let last = self.log.last();
        let has_all = |follower: &Progress| follower.flow == Flow::Replicate && follower.next > last;
        // Most steps bring nothing to send: this is all that they cost.
        if !leadership.followers.iter().all(|(_, follower)| has_all(follower)) {
            let mut place = 0;
            while let State::Leader(leadership) = &self.state
                && let Some(id) = leadership.followers.at(place)
            {
                place += 1;
                while self.replicate(id) {}
            }
        }
        self.tell_commit(|follower| follower.awaited > follower.commit_told);
    }

    /// Sends one append if there is one to send; says whether another may follow.
    fn replicate(&mut self, id: NodeId) -> bool {
        let window = Window { messages: self.settings.max_inflight_messages, bytes: self.settings.max_inflight_bytes };
        let State::Leader(leadership) = &self.state else { return false };
        let Some(follower) = leadership.followers.get(id).filter(|follower| follower.ready(window)) else {
            return false;
        };
        let (next, last) = (follower.next, self.log.last());
        // A whole snapshot is worth sending only to somebody who is there and stays.
        let worth_it = follower.heard.is_some() && follower.leaving.is_none();
        if next > last {
            // Nothing new: only a probe asks whether the logs match so far.
            let probe = matches!(follower.flow, Flow::Probe { .. });
            return probe && self.log.term(next - 1).is_some() && self.send_append(id, next - 1, Entries::default());
        }
        match self.log.slice(next, last, self.settings.max_append_bytes) {
            Slice::Here(entries) => self.send_append(id, next - 1, entries),
            // One read a follower, even if what it was for has changed: a disk that hangs must not collect wishes.
            Slice::OnDisk(_) if self.fetches.values().any(|&purpose| purpose == FetchFor::Follower(id)) => false,
            Slice::OnDisk(end) => {
                let fetch = self.fetch(FetchFor::Follower(id), next, end, self.settings.max_append_bytes);
                self.with_follower(id, |follower| follower.fetch = Some(fetch));
                false
            }
            Slice::Compacted if mutants::on("30-no-snapshot") => false,
            Slice::Compacted => {
                if worth_it && self.snapshot.is_some() {
                    self.with_follower(id, Progress::needs_snapshot);
                    let at_least = self.log.purged().index;
                    self.rest.push(Effect::SendSnapshot { to: id, at_least });
                }
                false
            }
        }
    }

    pub(super) fn send_append(&mut self, id: NodeId, prev: Index, entries: Entries) -> bool {
        let Some(term) = self.log.term(prev) else { return false };
        let last = entries.last().map_or(prev, Entry::index);
        let bytes = entries.bytes();
        let commit = self.commit;
        self.with_follower(id, |follower| {
            follower.sent(last, bytes);
            follower.commit_told = follower.commit_told.max(commit.min(last));
        });
        self.send(id, Body::Append { prev: LogId::new(prev, term), commit, entries });
        true
    }

    pub(super) fn append_replied(&mut self, from: NodeId, reply: AppendReply) {
        let last = self.log.last();
        let State::Leader(leadership) = &mut self.state else { return };
        let Some(follower) = leadership.followers.get_mut(from) else { return };
        follower.heard = Some(self.now);
        match reply {
            // Beyond our log: not an answer to anything we sent.
            AppendReply::Accepted { matched } if matched > last => {}
            AppendReply::Accepted { matched } => leadership.held_more |= follower.accepted(matched),
            AppendReply::Rejected { prev, hint } => {
                // The newest of our entries with a term not beyond theirs: one round skips a whole term of ours too.
                let retry = self.log.agreement(hint).index.min(hint.index);
                if mutants::on("44-leader-cuts") && retry >= self.commit && retry < last {
                    follower.rejected(prev, retry);
                    return self.truncate(retry + 1);
                }
                follower.rejected(prev, retry);
            }
        }
    }

    pub(super) fn unreachable(&mut self, peer: NodeId) {
        self.with_follower(peer, Progress::lost);
    }

    /// Asks for entries that are not in memory.
    pub(super) fn fetch(&mut self, purpose: FetchFor, lo: Index, hi: Index, max_bytes: usize) -> FetchId {
        let id = self.next_fetch;
        self.next_fetch += 1;
        self.fetches.insert(id, purpose);
        self.rest.push(Effect::Fetch { id, lo, hi, max_bytes });
        id
    }

    pub(super) fn fetched(&mut self, id: FetchId, entries: Option<Vec<Entry>>) {
        match self.fetches.remove(&id) {
            Some(FetchFor::Apply) => self.apply_fetched(entries),
            Some(FetchFor::Follower(to)) => {
                let State::Leader(leadership) = &mut self.state else { return };
                let Some(follower) = leadership.followers.get_mut(to) else { return };
                // What was asked for on behalf of an earlier probe is of no use any more.
                if follower.fetch != Some(id) {
                    return;
                }
                follower.fetch = None;
                let next = follower.next;
                // `None`: purged meanwhile; `replicate` will see that it is.
                let entries = entries.unwrap_or_default();
                if entries.first().is_some_and(|entry| entry.index() == next) {
                    self.send_append(to, next - 1, entries.into());
                }
            }
            None => {}
        }
    }

    pub(super) fn with_follower(&mut self, id: NodeId, change: impl FnOnce(&mut Progress)) {
        if let State::Leader(leadership) = &mut self.state
            && let Some(follower) = leadership.followers.get_mut(id)
        {
            change(follower);
        }
    }
}
