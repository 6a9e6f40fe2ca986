//! Elections: `PreVote`, votes, and when they are withheld (sections 5.2 and 5.4.1, thesis 6.4 and 9.6).

use crate::configuration::MemberRole;
use crate::message::Body;
use crate::quorum::{VoteResult, vote_result};
use crate::types::{Incarnation, LogId, Micros, NodeId, Role, Term};

use super::{Core, State, Votes};

impl Core {
    pub(super) fn reset_election_timer(&mut self) {
        let (low, high) = self.settings.election_timeout;
        self.election_at = self.now + self.rng.between(low, high);
    }

    /// Whether this node could lead.
    pub(super) fn may_campaign(&self) -> bool {
        let configuration = self.configurations.current();
        // On another disk than the one that the cluster knows, nobody counts its messages, not even itself.
        let eligible = configuration.is_voter(self.id)
            && configuration.member(self.id).is_none_or(|member| {
                member.role != MemberRole::Witness && member.incarnation.is_none_or(|known| known == self.incarnation)
            });
        eligible && !self.apply_stopped && !self.storage_stalled && !self.closing
    }

    /// Would we be elected? Nothing changes yet, so that a cut-off node does not push up the others' terms.
    pub(super) fn pre_campaign(&mut self) {
        self.become_follower(None);
        self.reset_election_timer();
        self.seen.clear();
        self.seen.insert(self.id, self.incarnation);
        self.state = State::PreCandidate { votes: Votes::from([(self.id, true)]) };
        let last = self.last();
        let token = self.durability.hard_state_token();
        for voter in self.other_voters() {
            self.send_in(self.hard_state.term + 1, voter, Body::PreVote { last }, token);
        }
        self.count_pre_votes();
    }

    /// Asks for votes. The requests, and the vote for itself, wait until the term is on disk.
    pub(super) fn campaign(&mut self, transfer: bool) {
        self.enter_term(self.hard_state.term + 1, Some(self.id));
        self.reset_election_timer();
        if transfer {
            self.seen.clear();
        }
        self.seen.insert(self.id, self.incarnation);
        self.state = State::Candidate { votes: Votes::new() };
        let last = self.last();
        for voter in self.other_voters() {
            self.send(voter, Body::Vote { last, transfer });
        }
        self.send(self.id, Body::VoteReply { granted: true });
    }

    /// Whether votes are refused because a leader is there, or may still rely on this node.
    pub(super) fn withholds_vote(&self, candidate: NodeId) -> bool {
        if matches!(self.state, State::Leader(_)) {
            return self.lease_until().is_some_and(|until| self.now < until);
        }
        let minimum = self.configurations.current().min_election_timeout;
        let relied_on = match self.heard {
            // A leader that has stepped down may be elected again at once (hashicorp #606).
            Some((leader, heard)) => leader != candidate && self.now < heard + minimum,
            None => false,
        };
        relied_on || self.now < self.withhold_until
    }

    pub(super) fn pre_vote_asked(&mut self, from: NodeId, term: Term, last: LogId) {
        if self.withholds_vote(from) {
            return;
        }
        if term > self.hard_state.term && last >= self.last() {
            // In the term that was asked for: this node has not entered it and promises nothing.
            let token = self.durability.hard_state_token();
            self.send_in(term, from, Body::PreVoteReply { granted: true }, token);
        } else {
            self.send(from, Body::PreVoteReply { granted: false });
        }
    }

    pub(super) fn pre_vote_granted(&mut self, from: NodeId, term: Term, incarnation: Incarnation) {
        if term != self.hard_state.term + 1 {
            return;
        }
        if let State::PreCandidate { votes } = &mut self.state {
            votes.insert(from, true);
            self.seen.insert(from, incarnation);
            self.count_pre_votes();
        }
    }

    pub(super) fn pre_vote_refused(&mut self, from: NodeId) {
        if let State::PreCandidate { votes } = &mut self.state {
            votes.insert(from, false);
            self.count_pre_votes();
        }
    }

    fn count_pre_votes(&mut self) {
        let State::PreCandidate { votes } = &self.state else { return };
        match self.tally(votes) {
            VoteResult::Won => self.campaign(false),
            VoteResult::Lost => self.become_follower(None),
            VoteResult::Pending => {}
        }
    }

    /// The vote of this term, once: to a candidate whose log is at least as up-to-date.
    pub(super) fn vote_asked(&mut self, from: NodeId, last: LogId, transfer: bool) {
        let free = self.leader().is_none() && self.hard_state.vote.is_none();
        let repeated = self.hard_state.vote == Some(from);
        let withheld = !transfer && self.withholds_vote(from);
        if repeated {
            self.send(from, Body::VoteReply { granted: true });
        } else if free && !withheld && last >= self.last() {
            // Whoever was asking for itself gives way.
            self.become_follower(None);
            self.hard_state.vote = Some(from);
            self.durability.stage_hard_state(self.hard_state);
            self.reset_election_timer();
            self.send(from, Body::VoteReply { granted: true });
        } else {
            self.send(from, Body::VoteReply { granted: false });
        }
    }

    pub(super) fn vote_replied(&mut self, from: NodeId, granted: bool, incarnation: Incarnation) {
        let State::Candidate { votes } = &mut self.state else { return };
        votes.insert(from, granted);
        if granted {
            self.seen.insert(from, incarnation);
        }
        let State::Candidate { votes } = &self.state else { return };
        match self.tally(votes) {
            VoteResult::Won => self.become_leader(),
            VoteResult::Lost => self.become_follower(None),
            VoteResult::Pending => {}
        }
    }

    /// While the configuration lacks a voter's incarnation, that voter could be a wiped one, and a quorum without it
    /// could be one that has forgotten: every voter must grant.
    fn tally(&self, granted: &Votes) -> VoteResult {
        let (voters, outgoing) = (self.configurations.voters(), self.configurations.outgoing());
        let vote = |id: NodeId| granted.get(&id).copied();
        if self.configurations.current().unknown_voters().next().is_none() {
            return vote_result(vote, voters, outgoing);
        }
        let mut all = voters.iter().chain(outgoing);
        if all.clone().any(|&id| vote(id) == Some(false)) {
            VoteResult::Lost
        } else if all.all(|&id| vote(id) == Some(true)) {
            VoteResult::Won
        } else {
            VoteResult::Pending
        }
    }

    pub(super) fn other_voters(&self) -> Vec<NodeId> {
        let mut others: Vec<NodeId> =
            self.configurations.voters().iter().chain(self.configurations.outgoing()).copied().collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|&id| id != self.id);
        others
    }

    /// What this node is.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.state {
            State::Follower { .. } => Role::Follower,
            State::PreCandidate { .. } => Role::PreCandidate,
            State::Candidate { .. } => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// The newest term it has seen.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Who leads, as far as it knows.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        match self.state {
            State::Follower { leader } => leader,
            State::Leader(_) => Some(self.id),
            _ => None,
        }
    }

    /// Until when this leader may answer reads by its lease; `None` if it has none.
    #[must_use]
    pub fn lease_until(&self) -> Option<Micros> {
        let State::Leader(leadership) = &self.state else { return None };
        if self.storage_stalled || leadership.handed_over {
            return None;
        }
        let minimum = self.configurations.current().min_election_timeout;
        let span = minimum - minimum.saturating_mul(self.settings.drift_ppm).div_ceil(1_000_000).min(minimum);
        leadership.confirmed_at.map(|sent| sent + span)
    }
}
