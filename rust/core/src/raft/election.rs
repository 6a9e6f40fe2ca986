//! Elections: `PreVote`, votes, and when they are withheld (sections 5.2 and 5.4.1, thesis 6.4 and 9.6).

use crate::configuration::{Configuration, Member, MemberRole};
use crate::message::Body;
use crate::mutants;
use crate::quorum::{VoteResult, vote_result};
use crate::types::{Incarnation, LogId, Micros, NodeId, Role, Term};

use super::{Core, State, Votes};

/// Who has more preferences above its own waits no longer than this many make it.
const HIGHEST_RANK: usize = 3;

impl Core {
    pub(super) fn reset_election_timer(&mut self) {
        let (low, high) = self.settings.election_timeout;
        self.election_at = self.now + self.rank * high.saturating_sub(low) + self.rng.between(low, high);
    }

    /// Distinct preferences above the own one among those that may lead: who is preferred campaigns first. A vote does not ask.
    pub(super) fn rank_of_priority(&self) -> u64 {
        let configuration = self.configurations.current();
        let Some(own) = configuration.member(self.id).map(|member| member.priority) else { return 0 };
        let leads = |member: &&Member| member.votes() && member.role == MemberRole::Voter;
        let mut above: Vec<i32> = configuration.members.iter().filter(leads).map(|member| member.priority).collect();
        above.retain(|&priority| priority > own);
        above.sort_unstable();
        above.dedup();
        above.len().min(HIGHEST_RANK) as u64
    }

    /// Whether this node could lead: by any configuration that may still be in force, for until its removal is committed it may be
    /// the only one that can commit it (thesis 4.2.2, figure 4.6).
    pub(super) fn may_campaign(&self) -> bool {
        let able = !self.apply_stopped && !self.storage_stalled && !self.closing;
        let mut in_force = self.configurations.in_force();
        able && (in_force.any(|configuration| self.is_candidate_of(configuration))
            || mutants::on("24-removed-campaigns"))
    }

    /// On another disk than the one that the cluster knows, nobody counts its messages, not even itself.
    fn is_candidate_of(&self, configuration: &Configuration) -> bool {
        configuration.is_voter(self.id)
            && configuration.member(self.id).is_some_and(|member| {
                member.role != MemberRole::Witness && member.incarnation.is_none_or(|known| known == self.incarnation)
            })
    }

    /// No leader was heard of. Who cannot campaign at least sends nothing more to the one that is gone.
    pub(super) fn election_timed_out(&mut self) {
        if self.may_campaign() {
            self.pre_campaign();
        } else {
            self.become_follower(None);
        }
    }

    /// The cluster's, which leases rest on. A node that joins does not know it yet, but must not break a lease either.
    pub(super) fn min_election_timeout(&self) -> Micros {
        let configuration = self.configurations.current();
        if configuration.members.is_empty() {
            self.settings.election_timeout.0
        } else {
            configuration.min_election_timeout
        }
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
        let minimum = self.min_election_timeout();
        let relied_on = match self.heard {
            // A leader that has stepped down may be elected again at once (hashicorp #606).
            Some((leader, heard)) => {
                (leader != candidate || mutants::on("17-own-leader")) && self.now < heard + minimum
            }
            None => false,
        };
        relied_on || self.now < self.withhold_until
    }

    pub(super) fn pre_vote_asked(&mut self, from: NodeId, term: Term, last: LogId) {
        if self.withholds_vote(from) || term > 2 && mutants::on("16-pre-vote-stuck") {
            return;
        }
        if term > self.hard_state.term && (last >= self.last() || mutants::on("03-any-position")) {
            // In the term that was asked for: this node has not entered it and promises nothing.
            let token = self.durability.hard_state_token();
            self.send_in(term, from, Body::PreVoteReply { granted: true }, token);
        } else {
            self.send(from, Body::PreVoteReply { granted: false });
        }
    }

    pub(super) fn pre_vote_granted(&mut self, from: NodeId, term: Term, incarnation: Incarnation) {
        if term != self.hard_state.term + 1 && !mutants::on("40-other-pre-vote") {
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
        let free = mutants::on("11-two-votes") || self.leader().is_none() && self.hard_state.vote.is_none();
        let repeated = self.hard_state.vote == Some(from);
        let withheld = (!transfer || mutants::on("18-transfer-withheld")) && self.withholds_vote(from);
        let own = if mutants::on("03-stale-position") { self.log.agreement(last) } else { self.last() };
        let free = free && (!mutants::on("23-learner-refuses") || self.configurations.current().is_voter(self.id));
        if repeated {
            self.send(from, Body::VoteReply { granted: true });
        } else if free && !withheld && (last >= own || mutants::on("03-any-position")) {
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
            VoteResult::Lost if mutants::on("11-refusals-elect") => self.become_leader(),
            VoteResult::Lost => self.become_follower(None),
            VoteResult::Pending => {}
        }
    }

    /// A quorum of recorded data directories elects, for another one could be a wiped one that has forgotten a vote. Or every
    /// voter does, recorded or not, since that holds whatever quorum there was: so a cluster forms, and so one comes back whose new
    /// voter no leader has lived to record.
    fn tally(&self, granted: &Votes) -> VoteResult {
        let (voters, outgoing) = (self.configurations.voters(), self.configurations.outgoing());
        let configuration = self.configurations.current();
        let vote = |id: NodeId| granted.get(&id).copied();
        let counted = |id: NodeId| vote(id).filter(|&yes| !yes || configuration.is_recorded(id));
        let unanimous = voters.iter().chain(outgoing).all(|&id| vote(id) == Some(true));
        if unanimous { VoteResult::Won } else { vote_result(counted, voters, outgoing) }
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
        if self.storage_stalled || leadership.handed_over && !mutants::on("15-lease-after-handover") {
            return None;
        }
        if self.has_no_vote() {
            // The others decide without it, and may know that.
            return None;
        }
        let minimum = self.configurations.current().min_election_timeout;
        let span = minimum - minimum.saturating_mul(self.settings.drift_ppm).div_ceil(1_000_000).min(minimum);
        let span = if mutants::on("15-lease-too-long") { 3 * span } else { span };
        leadership.confirmed_at.map(|sent| sent + span)
    }
}
