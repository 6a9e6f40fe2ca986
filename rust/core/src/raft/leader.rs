//! A leader's state and its timers: heartbeats, the check for a quorum, the commit index (sections 5.2 and 5.4.2, thesis 6.2).

use std::collections::VecDeque;

use crate::entries::Entries;
use crate::entry::{Draft, EntryKind};
use crate::followers::Followers;
use crate::message::{Body, Refusal};
use crate::mutants;
use crate::progress::Progress;
use crate::quorum::committed_index;
use crate::reads::Reads;
use crate::types::{Index, LogId, Micros, NodeId};

use super::promotion::promotable;
use super::{Core, Digest, FetchFor, State};

/// What only a leader has.
#[derive(Debug)]
pub(super) struct Leadership {
    /// The other members.
    pub followers: Followers,
    /// The term's first entry: before it is committed, nothing is known of what is.
    pub first: Index,
    /// When this leadership began.
    pub since: Micros,
    /// The newest heartbeat round sent.
    pub round: u64,
    /// Rounds that no quorum has answered, with the moment each was sent.
    pub unconfirmed: VecDeque<(u64, Micros)>,
    /// When the newest round that a quorum has answered was sent: a lease begins there.
    pub confirmed_at: Option<Micros>,
    /// When the next round is due.
    pub heartbeat_at: Micros,
    /// When followers that had no append since are told of a new commit index.
    pub notice_at: Option<Micros>,
    /// Reads that wait for a round.
    pub reads: Reads,
    /// `TimeoutNow` was sent in this term: no lease any more.
    pub handed_over: bool,
    /// Ends and sizes of what was appended and is not committed.
    pub uncommitted: VecDeque<(Index, usize)>,
    /// Their sum.
    pub uncommitted_bytes: usize,
    /// Learners that are to become voters by themselves.
    pub promotable: Vec<NodeId>,
    /// Somebody holds more, durably, or other voters count: more may be committed.
    pub held_more: bool,
}

impl Leadership {
    /// All of it, in the order of the fields.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.list(self.followers.iter(), |out, (id, follower)| {
            out.number(id);
            follower.digest(out);
        });
        out.number(self.first);
        out.number(self.since);
        out.number(self.round);
        out.list(self.unconfirmed.iter(), |out, &(round, at)| {
            out.number(round);
            out.number(at);
        });
        out.maybe(self.confirmed_at);
        out.number(self.heartbeat_at);
        out.maybe(self.notice_at);
        self.reads.digest(out);
        out.flag(self.handed_over);
        out.list(self.uncommitted.iter(), |out, &(last, bytes)| {
            out.number(last);
            out.size(bytes);
        });
    }
}

impl Core {
    pub(super) fn become_leader(&mut self) {
        let last = self.log.last();
        let followers = self.configurations.current().members.iter().filter(|member| member.id != self.id);
        let followers = followers.map(|member| (member.id, Progress::new(last + 1, member.incarnation))).collect();
        self.state = State::Leader(Box::new(Leadership {
            followers,
            first: last + 1,
            since: self.now,
            round: 0,
            unconfirmed: VecDeque::new(),
            confirmed_at: None,
            heartbeat_at: self.now,
            notice_at: None,
            reads: Reads::default(),
            handed_over: false,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            promotable: promotable(self.configurations.current()),
            held_more: true,
        }));
        self.transfer_ended(self.id);
        self.append_first_entry();
        self.start_round();
    }

    /// The term's first entry: a no-op, or the configuration as long as it lacks an incarnation that is known now.
    fn append_first_entry(&mut self) {
        let mut configuration = self.configurations.current().as_ref().clone();
        let mut recorded = false;
        for (&id, &incarnation) in &self.seen {
            recorded |= configuration.record(id, incarnation);
        }
        let mut draft = Draft::default();
        if recorded {
            draft.push(EntryKind::Configuration, &configuration.encode());
        } else {
            draft.push(EntryKind::Noop, &[]);
        }
        self.append_own(draft);
    }

    /// Stamps entries, puts them at the end of the log and on their way to the disk.
    pub(super) fn append_own(&mut self, draft: Draft) -> LogId {
        let first = LogId::new(self.log.last() + 1, self.hard_state.term);
        let time = if mutants::on("43-time-back") { self.wall } else { self.log.last_time().max(self.wall) };
        let bytes = draft.size();
        self.take_entries(&draft.stamped(first, time));
        if let State::Leader(leadership) = &mut self.state
            && bytes > 0
        {
            leadership.held_more = true;
            leadership.uncommitted.push_back((self.log.last(), bytes));
            leadership.uncommitted_bytes += bytes;
        }
        first
    }

    /// Entries join the log, a leader's or a follower's; configurations take effect.
    pub(super) fn take_entries(&mut self, entries: &Entries) {
        self.log.append(entries);
        self.durability.stage_entries(entries);
        for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration) {
            // `plausible` has refused the messages whose memberships cannot be read.
            if let Ok(configuration) = crate::configuration::Configuration::decode(&entry.payload())
                && !mutants::on("20-not-when-appended")
            {
                self.configurations.push(entry.index(), configuration);
                self.configured();
            }
        }
    }

    pub(super) fn leader_deadline(&self, leadership: &Leadership) -> Micros {
        let mut deadline = leadership.heartbeat_at;
        if let Some(notice) = leadership.notice_at {
            deadline = deadline.min(notice);
        }
        deadline.min(self.quorum_deadline(leadership))
    }

    fn quorum_deadline(&self, leadership: &Leadership) -> Micros {
        leadership.confirmed_at.unwrap_or(leadership.since) + self.settings.election_timeout.1
    }

    pub(super) fn leader_timers(&mut self) {
        let State::Leader(leadership) = &self.state else { return };
        if self.now >= self.quorum_deadline(leadership) && !self.alone() {
            // A leader that no quorum hears must not go on promising (thesis 6.2).
            return self.become_follower(None);
        }
        if leadership.notice_at.is_some_and(|at| self.now >= at) {
            self.tell_commit(|_| true);
            if let State::Leader(leadership) = &mut self.state {
                leadership.notice_at = None;
            }
        }
        let State::Leader(leadership) = &self.state else { return };
        if self.now >= leadership.heartbeat_at {
            self.drop_those_who_left();
            self.start_round();
            self.retry_handover();
        }
    }

    /// A round of heartbeats: keeps followers quiet, and confirms that this node still led when it was sent.
    pub(super) fn start_round(&mut self) {
        let commit = self.commit;
        let State::Leader(leadership) = &mut self.state else { return };
        leadership.round += 1;
        let round = leadership.round;
        leadership.unconfirmed.push_back((round, self.now));
        leadership.heartbeat_at = self.now + self.settings.heartbeat_interval;
        if commit >= leadership.first || mutants::on("12-read-early") {
            leadership.reads.round_starts(round, commit);
        }
        let mut heartbeats = Vec::with_capacity(leadership.followers.len());
        for (id, follower) in leadership.followers.iter_mut() {
            let commit = if mutants::on("09-commit-beyond") { commit } else { commit.min(follower.matched) };
            follower.commit_told = follower.commit_told.max(commit);
            if let Some(leaving) = follower.leaving.as_mut().filter(|leaving| commit >= leaving.index) {
                leaving.told.get_or_insert(round);
            }
            heartbeats.push((id, Body::Heartbeat { round, commit }));
        }
        for (id, heartbeat) in heartbeats {
            self.send(id, heartbeat);
        }
        self.confirm_rounds();
    }

    pub(super) fn heartbeat_replied(&mut self, from: NodeId, round: u64, last: Index, apply_stopped: bool) {
        let State::Leader(leadership) = &mut self.state else { return };
        let newest = leadership.round;
        let Some(follower) = leadership.followers.get_mut(from) else { return };
        if round > newest {
            return;
        }
        follower.round = follower.round.max(round);
        follower.heard = Some(self.now);
        follower.apply_stopped = apply_stopped;
        if mutants::on("07-heard-is-held") && last < follower.next {
            follower.accepted(last);
        }
        let has_left = follower.leaving.is_some_and(|leaving| leaving.told.is_some_and(|told| told <= round));
        let unanswered = follower.heard_end(last, self.now, self.settings.heartbeat_interval);
        let sent = follower.next - 1;
        if unanswered && !self.send_append(from, sent, Entries::default()) {
            // What was sent is purged by now: `replicate` starts again from what it is known to hold.
            self.with_follower(from, |follower| follower.probe(follower.matched + 1));
        }
        if has_left && let State::Leader(leadership) = &mut self.state {
            leadership.held_more |= leadership.followers.retain(|id, _| id != from);
        }
        self.confirm_rounds();
    }

    /// Lease, quorum check and reads all rest on one thing: the newest round that a quorum of each half has answered.
    fn confirm_rounds(&mut self) {
        let me = self.id;
        let State::Leader(leadership) = &mut self.state else { return };
        let answered = |id: NodeId| {
            if id == me { leadership.round } else { leadership.followers.get(id).map_or(0, Progress::counted_round) }
        };
        let round = committed_index(answered, self.configurations.voters(), self.configurations.outgoing());
        while let Some(&(sent, at)) = leadership.unconfirmed.front() {
            if sent > round {
                break;
            }
            leadership.confirmed_at = Some(if mutants::on("15-lease-from-answer") { self.now } else { at });
            leadership.unconfirmed.pop_front();
        }
        let mut answers = Vec::new();
        leadership.reads.confirmed(round, |asker, index| answers.push((asker, index)));
        for (asker, index) in answers {
            self.answer_read(asker, Ok(index));
        }
    }

    /// Commits what a quorum of each half holds durably, if it is of this term: earlier terms' entries only follow it
    /// (section 5.4.2, figure 8).
    pub(super) fn advance_commit(&mut self) {
        let State::Leader(leadership) = &mut self.state else { return };
        if !std::mem::take(&mut leadership.held_more) {
            return;
        }
        let (me, durable) = (self.id, self.log.durable());
        let held = |id: NodeId| {
            if id == me { durable } else { leadership.followers.get(id).map_or(0, Progress::counted_match) }
        };
        let held = committed_index(held, self.configurations.voters(), self.configurations.outgoing());
        let index = held.min(self.log.last());
        let own = self.log.term(index) == Some(self.hard_state.term) || mutants::on("04-earlier-term");
        if index <= self.commit || !own {
            return;
        }
        self.commit = index;
        self.configurations.committed(index);
        while let Some(&(last, bytes)) = leadership.uncommitted.front() {
            if last > index {
                break;
            }
            leadership.uncommitted.pop_front();
            leadership.uncommitted_bytes -= bytes;
        }
        leadership.notice_at.get_or_insert(self.now + self.settings.heartbeat_interval / 10);
    }

    /// Tells followers how far they may apply, where nothing else has told them.
    pub(super) fn tell_commit(&mut self, whom: impl Fn(&Progress) -> bool) {
        let mut place = 0;
        while let State::Leader(leadership) = &mut self.state
            && let Some((id, follower)) = leadership.followers.at_mut(place)
        {
            place += 1;
            let commit = self.commit.min(follower.matched);
            if commit > follower.commit_told && whom(follower) {
                follower.commit_told = commit;
                self.send(id, Body::Heartbeat { round: 0, commit });
            }
        }
    }

    /// This node leads no more.
    pub(super) fn abdicated(&mut self, mut leadership: Leadership) {
        for asker in leadership.reads.abandon().into_iter().filter(|_| !mutants::on("41-readers-forgotten")) {
            self.answer_read(asker, Err(Refusal::NotLeader));
        }
        self.fetches.retain(|_, purpose| *purpose == FetchFor::Apply);
        self.transfer_abdicated();
    }
}
