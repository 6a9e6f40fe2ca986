//! Snapshots: what they allow to forget, and what they replace (section 7).

use crate::configuration::Configuration;
use crate::effect::{Effect, Event};
use crate::message::Body;
use crate::mutants;
use crate::types::{Index, LogId, NodeId, Term, WallMicros};

use super::{Core, FetchFor, State};

impl Core {
    pub(super) fn snapshot_taken(&mut self, last: LogId) {
        if last.index <= self.applying.index() {
            self.snapshot = if mutants::on("27-newest-goes-back") { Some(last) } else { self.snapshot.max(Some(last)) };
        }
    }

    pub(super) fn purge(&mut self, upto: Index) {
        let covered = self.snapshot.map_or(0, |snapshot| snapshot.index);
        let upto = if mutants::on("29-purged-beyond") { self.commit } else { upto.min(covered) };
        let upto = upto.min(self.applying.index()).min(self.log.durable());
        if upto > self.log.purged().index {
            let purged = self.log.purge(upto);
            self.rest.push(Effect::Purge(purged));
        }
    }

    pub(super) fn snapshot_received(
        &mut self,
        from: NodeId,
        term: Term,
        last: LogId,
        time: WallMicros,
        configuration: (Index, Configuration),
    ) {
        if matches!(self.state, State::Leader(_)) && term <= self.hard_state.term {
            return self.event(Event::StaleSnapshot(last));
        }
        if term > self.hard_state.term {
            self.enter_term(term, None);
        }
        if last.index <= self.commit && !mutants::on("27-older-installed") {
            // Older than what is here (openraft #543). Tell its sender what it need not send.
            self.event(Event::StaleSnapshot(last));
            self.restore_in_place(last);
            let held = self.commit.min(self.log.durable());
            return self.send(from, Body::SnapshotReply { matched: held });
        }
        self.snapshot = Some(last);
        let mut token = None;
        let reaches = mutants::on("28-tail-kept") && self.log.last() >= last.index;
        if (self.log.holds(last) || reaches) && !mutants::on("28-tail-lost") {
            // What follows it stays: it may be acknowledged (openraft #753 is the opposite case, below).
            token = self.durability.token_for(last.index, self.log.durable());
            self.commit = last.index;
            self.configurations.committed(last.index);
            self.restore_in_place(last);
        } else {
            self.log.reset(last, time);
            self.durability.stage_reset(last);
            self.configurations.reset(configuration.0, configuration.1);
            self.configured();
            self.commit = last.index;
            self.restore(last);
            token = token.max(Some(self.durability.current_token()));
        }
        let token = token.filter(|_| !mutants::on("29-before-the-reset"));
        self.send_after(from, Body::SnapshotReply { matched: last.index }, token);
    }

    /// A restore that has not reported may take this snapshot in place of its own: then what lies between is not applied.
    fn restore_in_place(&mut self, last: LogId) {
        if !self.applying.settled() && last.index > self.applying.handed() {
            self.restore(last);
        }
    }

    fn restore(&mut self, last: LogId) {
        self.fetches.retain(|_, purpose| *purpose != FetchFor::Apply);
        self.applying.restore(last.index);
        self.rest.push(Effect::Restore(last));
    }

    pub(super) fn snapshot_sent(&mut self, to: NodeId, delivered: Option<Index>) {
        let last = self.log.last();
        self.with_follower(to, |follower| follower.snapshot_ended(delivered.filter(|&index| index <= last)));
    }
}
