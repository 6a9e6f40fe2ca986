//! Terms, and where a message goes (section 5.1).

use crate::configuration::Configuration;
use crate::effect::Event;
use crate::entry::{Entry, EntryKind};
use crate::message::{AppendReply, Body, Message};
use crate::mutants;
use crate::types::{HardState, LogId, NodeId, Term};

use super::{Core, State};

impl Core {
    /// Takes a message from another member. Garbage is as good as lost.
    pub(super) fn receive_from_peer(&mut self, message: Message) {
        if message.from != self.id && plausible(&message) {
            self.receive(message);
        }
    }

    pub(super) fn receive(&mut self, message: Message) {
        if message.to != self.id || !self.admits(&message) {
            return;
        }
        self.record_incarnation(&message);
        let Message { from, term, body, .. } = message;
        match body {
            // Requests on behalf of a member's user, and their answers, carry facts that no term makes untrue.
            Body::Propose { id, entries } => return self.remote_propose(from, id, entries),
            Body::ProposeReply { id, result } => return self.propose_replied(id, result),
            Body::ReadIndex { id, lease } => return self.remote_read(from, id, lease),
            Body::ReadIndexReply { id, result } => return self.read_replied(id, result),
            Body::Change { id, changes } => return self.remote_change(from, id, changes),
            Body::ChangeReply { id, result } => return self.change_replied(id, result),
            Body::PreVote { last } => return self.pre_vote_asked(from, term, last),
            Body::PreVoteReply { granted: true } => return self.pre_vote_granted(from, term, message.incarnation),
            Body::Vote { transfer: false, .. } if term > self.hard_state.term && self.withholds_vote(from) => return,
            _ => {}
        }
        if term < self.hard_state.term {
            if mutants::on("43-back-to-a-term") {
                self.enter_term(term, None);
            }
            return self.answer_stale(from, &body);
        }
        if term > self.hard_state.term {
            self.enter_term(term, None);
        }
        match body {
            Body::Vote { last, transfer } => self.vote_asked(from, last, transfer),
            Body::VoteReply { granted } => self.vote_replied(from, granted, message.incarnation),
            Body::Append { prev, commit, entries } => {
                if self.follow(from) {
                    self.append(from, prev, commit, &entries);
                }
            }
            Body::Heartbeat { round, commit } => {
                if self.follow(from) {
                    self.heartbeat(from, round, commit);
                }
            }
            Body::AppendReply(reply) => self.append_replied(from, reply),
            Body::HeartbeatReply { round, last, apply_stopped } => {
                self.heartbeat_replied(from, round, last, apply_stopped);
            }
            Body::SnapshotReply { matched } => self.append_replied(from, AppendReply::Accepted { matched }),
            Body::TimeoutNow { target } => self.timeout_now(from, target),
            // A refused pre-vote, whose term has been looked at; the others are dealt with above.
            _ => self.pre_vote_refused(from),
        }
    }

    /// Whether the sender is who the cluster knows under its number: a wiped disk may have forgotten a vote. A leader was elected by
    /// those who know it, so what it says counts: this node may not have heard yet that it was admitted anew, and hears it from
    /// nobody else.
    fn admits(&mut self, message: &Message) -> bool {
        if matches!(message.body, Body::Append { .. } | Body::Heartbeat { .. }) {
            return true;
        }
        let member = self.configurations.current().member(message.from);
        if member.is_none() && self.is_somebody_else(message) {
            return false;
        }
        let known = member.and_then(|member| member.incarnation);
        match known {
            Some(expected) if expected != message.incarnation && !mutants::on("26-wiped-counts") => {
                if self.wiped.insert(message.from, message.incarnation) != Some(message.incarnation) {
                    self.event(Event::WipedMember { id: message.from, expected, found: message.incarnation });
                }
                false
            }
            _ => true,
        }
    }

    /// A leader tells a member that has left what it has to know of that; who answers on another data directory is not that member.
    fn is_somebody_else(&self, message: &Message) -> bool {
        let State::Leader(leadership) = &self.state else { return false };
        let told = leadership.followers.get(message.from).and_then(|follower| follower.known);
        told.is_some_and(|known| known != message.incarnation)
    }

    /// An old term's leader or candidate learns of the new one; everything else of an old term is void.
    fn answer_stale(&mut self, from: NodeId, body: &Body) {
        match body {
            _ if mutants::on("16-stale-unanswered") => {}
            Body::Append { prev, .. } => {
                let hint = self.log.agreement(*prev);
                self.send(from, Body::AppendReply(AppendReply::Rejected { prev: prev.index, hint }));
            }
            // It tells of the term and confirms nothing: late enough, it would meet a new leadership of that node, whose rounds begin anew.
            Body::Heartbeat { .. } => self.answer_heartbeat(from, 0),
            Body::Vote { .. } => self.send(from, Body::VoteReply { granted: false }),
            _ => {}
        }
    }

    /// A newer term: whatever this node was, it follows now.
    pub(super) fn enter_term(&mut self, term: Term, vote: Option<NodeId>) {
        self.hard_state = HardState { term, vote };
        self.durability.stage_hard_state(self.hard_state);
        self.become_follower(None);
    }

    /// Gives up whatever role this node has.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>) {
        let before = std::mem::replace(&mut self.state, State::Follower { leader });
        match before {
            State::Leader(leadership) => {
                self.abdicated(*leadership);
                self.reset_election_timer();
            }
            State::PreCandidate { .. } | State::Candidate { .. } => self.reset_election_timer(),
            State::Follower { .. } => {}
        }
    }

    /// The sender leads this term. `false`: this node does, so the message is a lie.
    fn follow(&mut self, leader: NodeId) -> bool {
        match self.state {
            State::Leader(_) => return false,
            State::Follower { leader: Some(known) } if known == leader => {}
            _ => {
                self.become_follower(Some(leader));
                self.transfer_ended(leader);
            }
        }
        self.heard = Some((leader, self.now));
        self.reset_election_timer();
        true
    }

    /// The end of the log.
    #[must_use]
    pub fn last(&self) -> LogId {
        self.log.last_id()
    }
}

/// Beyond what any cluster reaches: what claims more is damaged, and arithmetic below it never overflows.
const LIMIT: u64 = 1 << 62;

/// Whether a message could have been made by a member that keeps the rules.
fn plausible(message: &Message) -> bool {
    let place = |id: &LogId| id.index < LIMIT && id.term < LIMIT;
    message.term < LIMIT
        && match &message.body {
            Body::PreVote { last } | Body::Vote { last, .. } => place(last),
            Body::Append { prev, commit, entries } => {
                place(prev) && *commit < LIMIT && follow_on(*prev, message.term, entries)
            }
            Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => *matched < LIMIT,
            Body::AppendReply(AppendReply::Rejected { prev, hint }) => *prev < LIMIT && place(hint),
            Body::Heartbeat { commit: index, .. }
            | Body::HeartbeatReply { last: index, .. }
            | Body::ReadIndexReply { result: Ok(index), .. } => *index < LIMIT,
            Body::ProposeReply { result: Ok(at), .. } | Body::ChangeReply { result: Ok(at), .. } => {
                at.index > 0 && place(at)
            }
            _ => true,
        }
}

/// Whether entries follow `prev` without a gap, in terms that do not go back nor beyond their leader's, and memberships
/// among them can be read.
fn follow_on(prev: LogId, leader: Term, entries: &[Entry]) -> bool {
    let mut before = prev;
    entries.iter().all(|entry| {
        let after = entry.id();
        let follows = after.index == before.index + 1 && (before.term..=leader).contains(&after.term);
        before = after;
        follows && (entry.kind() != EntryKind::Configuration || Configuration::decode(&entry.payload()).is_ok())
    })
}
