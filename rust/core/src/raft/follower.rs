//! What a follower does with a leader's messages (section 5.3).

use crate::entries::Entries;
use crate::message::{AppendReply, Body};
use crate::mutants;
use crate::types::{Index, LogId, NodeId};

use super::Core;

impl Core {
    pub(super) fn append(&mut self, leader: NodeId, prev: LogId, commit: Index, entries: &Entries) {
        if self.overfull() {
            return;
        }
        let end = prev.index + entries.len() as u64;
        // What is committed here stands in every later leader's log (section 5.4.3): it cannot conflict, need not be
        // looked at (it may be purged), and is never cut.
        let settled = usize::try_from(self.commit.saturating_sub(prev.index)).unwrap_or(usize::MAX);
        let settled = if mutants::on("37-rolled-back") { 0 } else { settled };
        let entries = entries.part(settled.min(entries.len())..entries.len());
        let follows = self.log.holds(prev) || mutants::on("08-unchecked") && prev.index <= self.log.last();
        if settled == 0 && !follows {
            let hint = self.log.agreement(prev);
            let prev = if mutants::on("10-wrong-rejection") { hint } else { prev };
            self.send(leader, Body::AppendReply(AppendReply::Rejected { prev: prev.index, hint }));
            return;
        }
        let known = entries.iter().take_while(|entry| self.log.holds(entry.id())).count();
        if let Some(first) = entries.get(known) {
            // Only a real conflict cuts the log: a late or shorter append must not (CCF #5991).
            if first.index() <= self.log.last() {
                self.truncate(first.index());
            }
            self.take_entries(&entries.part(known..entries.len()));
        }
        if mutants::on("08-shorter-append") && end < self.log.last() {
            self.truncate(end + 1);
        }
        self.learn_commit(commit.min(end));
        if mutants::on("39-nothing-new-unanswered") && known == entries.len() && known > 0 {
            return;
        }
        // Never beyond what this append has shown to match (CCF #6001).
        self.accept(leader, if mutants::on("09-beyond-the-append") { self.log.last() } else { end });
    }

    pub(super) fn heartbeat(&mut self, leader: NodeId, round: u64, commit: Index) {
        self.learn_commit(commit);
        if round > 0 {
            self.answer_heartbeat(leader, round);
        }
    }

    pub(super) fn answer_heartbeat(&mut self, leader: NodeId, round: u64) {
        let (last, apply_stopped) = (self.log.last(), self.apply_stopped);
        self.send(leader, Body::HeartbeatReply { round, last, apply_stopped });
    }

    /// Acknowledges a matching prefix as soon as it is on disk.
    pub(super) fn accept(&mut self, leader: NodeId, matched: Index) {
        let token = self.durability.token_for(matched, self.log.durable());
        let token = token.filter(|_| !mutants::on("34-before-the-sync"));
        self.send_after(leader, Body::AppendReply(AppendReply::Accepted { matched }), token);
    }

    fn learn_commit(&mut self, commit: Index) {
        let commit = commit.min(self.log.last());
        if commit > self.commit || mutants::on("07-commit-back") {
            self.commit = commit;
            self.configurations.committed(commit);
        }
    }

    pub(super) fn truncate(&mut self, from: Index) {
        self.log.truncate(from);
        self.durability.stage_truncation(from);
        if self.configurations.truncate(from) {
            self.configured();
        }
    }

    /// The disk does not keep up with the leader's window: lost messages are its back-pressure.
    fn overfull(&self) -> bool {
        self.log.volatile_bytes() > 2 * self.settings.max_inflight_bytes.max(self.settings.max_append_bytes)
    }
}
