//! Giving leadership away with `TimeoutNow` (thesis 3.10): on request, at close, when the disk stalls, when apply has stopped.

use std::cmp::Reverse;

use crate::configuration::{Member, MemberRole};
use crate::effect::{Event, Reply};
use crate::message::{Body, Refusal};
use crate::mutants;
use crate::progress::{Flow, Progress};
use crate::types::{Incarnation, Micros, NodeId, RequestId};

use super::leader::Leadership;
use super::{Core, Digest, State};

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    to: NodeId,
    pub deadline: Micros,
    /// `TimeoutNow` has left.
    sent: bool,
    /// The request of the local user that waits for a `Transferred`.
    asked: Option<RequestId>,
}

impl Transfer {
    /// All of it.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.number(self.to);
        out.number(self.deadline);
        out.flag(self.sent);
        out.maybe(self.asked);
    }
}

/// Whether that member is a voter that could lead and is known.
fn may_succeed(member: &Member) -> bool {
    let votes = member.votes() && member.role == MemberRole::Voter || mutants::on("18-to-a-learner");
    votes && member.incarnation.is_some()
}

impl Core {
    pub(super) fn ask_transfer(&mut self, id: RequestId, to: Option<NodeId>) {
        match self.choose_successor(to) {
            Ok(to) if to == self.id => self.reply(Reply::Transferred { id, to: Ok(to) }),
            Ok(to) => self.begin_transfer(to, Some(id)),
            Err(why) => self.reply(Reply::Transferred { id, to: Err(why) }),
        }
    }

    /// Who is asked for, or who suits best.
    fn choose_successor(&self, to: Option<NodeId>) -> Result<NodeId, Refusal> {
        if !matches!(self.state, State::Leader(_)) {
            return Err(Refusal::NotLeader);
        }
        if self.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        match to {
            Some(to) => self.check_successor(to).map(|()| to),
            None => self.successor().ok_or(Refusal::NoSuccessor),
        }
    }

    /// Whether that node could take over soon.
    fn check_successor(&self, to: NodeId) -> Result<(), Refusal> {
        let member = self.configurations.current().member(to).ok_or(Refusal::UnknownMember)?;
        if !may_succeed(member) {
            return Err(Refusal::NotAVoter);
        }
        let State::Leader(leadership) = &self.state else { return Err(Refusal::NotLeader) };
        match leadership.followers.get(to) {
            _ if to == self.id => Ok(()),
            Some(follower) if self.is_able(leadership, follower) && follower.flow != Flow::Snapshot => Ok(()),
            _ => Err(Refusal::TooFarBehind),
        }
    }

    /// It is there, as far as a leader of this age can know, and its state machine works.
    fn is_able(&self, leadership: &Leadership, follower: &Progress) -> bool {
        let heard = follower.heard.unwrap_or(leadership.since);
        !follower.apply_stopped && heard + self.settings.election_timeout.1 > self.now
    }

    /// Among voters that could lead: of those that hold what is committed the preferred one, else the most caught-up; of equals
    /// the lowest number.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let State::Leader(leadership) = &self.state else { return None };
        let configuration = self.configurations.current();
        let suits = |(id, follower): (NodeId, &Progress)| {
            // Preferences of those that lag are all one.
            let member = configuration.member(id).filter(|member| may_succeed(member))?;
            let priority = (follower.matched >= self.commit).then_some(member.priority);
            self.is_able(leadership, follower).then_some((priority, follower.matched, id))
        };
        let able = leadership.followers.iter().filter_map(suits);
        able.max_by_key(|&(priority, matched, id)| (priority, matched, Reverse(id))).map(|(_, _, id)| id)
    }

    pub(super) fn begin_transfer(&mut self, to: NodeId, asked: Option<RequestId>) {
        let deadline = self.now + self.settings.election_timeout.1;
        self.transfer = Some(Transfer { to, deadline, sent: false, asked });
    }

    /// Tells the successor to campaign once it holds everything.
    pub(super) fn advance_transfer(&mut self) {
        let last = self.log.last();
        let State::Leader(leadership) = &mut self.state else { return };
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.sent) else { return };
        let to = transfer.to;
        let caught_up = leadership.followers.get(to).is_some_and(|follower| follower.matched == last);
        let target = self.configurations.current().member(to).and_then(|member| member.incarnation);
        if let (true, Some(target)) = (caught_up, target) {
            transfer.sent = true;
            leadership.handed_over = true;
            self.send(to, Body::TimeoutNow { target });
            if self.has_no_vote() {
                // It was only to find a successor.
                self.become_follower(None);
            }
        }
    }

    pub(super) fn timeout_now(&mut self, from: NodeId, target: Incarnation) {
        // Meant for the data directory that the leader knows, and only from the leader that this node follows.
        let meant = target == self.incarnation && self.leader() == Some(from);
        if (meant || mutants::on("40-stale-timeout-now")) && self.may_campaign() {
            self.campaign(true);
        }
    }

    pub(super) fn check_transfer_deadline(&mut self) {
        if self.transfer.as_ref().is_none_or(|transfer| self.now < transfer.deadline) {
            return;
        }
        self.end_transfer(Err(Refusal::NoSuccessor));
        if matches!(self.state, State::Leader(_)) && (self.storage_stalled || self.has_no_vote()) {
            // It cannot lead, and nobody took over: let the others elect whom they can.
            self.become_follower(None);
        }
        if self.closing {
            self.finish_close();
        }
    }

    /// Another leader is known, or this node leads (again).
    pub(super) fn transfer_ended(&mut self, leader: NodeId) {
        if let Some(transfer) = &self.transfer {
            let result = if transfer.to == leader { Ok(leader) } else { Err(Refusal::NotLeader) };
            self.end_transfer(result);
        }
    }

    /// This node leads no more: a transfer that never asked its target to campaign has failed.
    pub(super) fn transfer_abdicated(&mut self) {
        if self.transfer.as_ref().is_some_and(|transfer| !transfer.sent || transfer.asked.is_none()) {
            self.end_transfer(Err(Refusal::NotLeader));
        }
        if self.closing {
            self.finish_close();
        }
    }

    fn end_transfer(&mut self, to: Result<NodeId, Refusal>) {
        if let Some(id) = self.transfer.take().and_then(|transfer| transfer.asked) {
            self.reply(Reply::Transferred { id, to });
        }
    }

    /// A leader that should not lead looks for somebody who can, at every heartbeat.
    pub(super) fn retry_handover(&mut self) {
        if (self.apply_stopped || self.storage_stalled)
            && self.transfer.is_none()
            && let Some(to) = self.successor()
        {
            self.begin_transfer(to, None);
        }
    }

    /// Whether the disk has been silent for too long.
    pub(super) fn check_stall(&mut self) {
        let timeout = self.settings.storage_stall_timeout;
        let stalled = self.durability.oldest().is_some_and(|issued| self.now >= issued + timeout);
        if stalled == self.storage_stalled {
            return;
        }
        self.storage_stalled = stalled;
        self.event(Event::StorageStalled(stalled));
        if !stalled {
            return self.reset_election_timer();
        }
        self.retry_handover();
        if self.transfer.is_none() && !self.alone() && matches!(self.state, State::Leader(_)) {
            self.become_follower(None);
        }
    }

    pub(super) fn close(&mut self, handover: bool) {
        self.closing = true;
        if handover
            && self.transfer.is_none()
            && let Some(to) = self.successor()
        {
            self.begin_transfer(to, None);
        }
        let leaving = self.transfer.is_some() && matches!(self.state, State::Leader(_));
        if !(handover && leaving) {
            self.finish_close();
        }
    }

    fn finish_close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.reply(Reply::Closed);
        }
    }

    /// Storage has failed: nothing that this node could say would be kept.
    pub(super) fn fail(&mut self) {
        self.closing = true;
        self.closed = true;
        self.become_follower(None);
    }
}
