//! Giving leadership away with `TimeoutNow` (thesis 3.10): on request, at close, when the disk stalls, when apply has stopped.

use crate::configuration::MemberRole;
use crate::effect::{Event, Reply};
use crate::message::{Body, Refusal};
use crate::types::{Incarnation, Micros, NodeId, RequestId};

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

impl Core {
    pub(super) fn ask_transfer(&mut self, id: RequestId, to: Option<NodeId>) {
        let refusal = if !matches!(self.state, State::Leader(_)) {
            Refusal::NotLeader
        } else if self.transfer.is_some() {
            Refusal::Transferring
        } else {
            match self.successor(to) {
                Some(to) => return self.begin_transfer(to, Some(id)),
                None => Refusal::NoSuccessor,
            }
        };
        self.reply(Reply::Transferred { id, to: Err(refusal) });
    }

    /// The most caught-up voter that could lead; `only`: that one, if it could.
    fn successor(&self, only: Option<NodeId>) -> Option<NodeId> {
        let State::Leader(leadership) = &self.state else { return None };
        let configuration = self.configurations.current();
        let patience = self.settings.election_timeout.1;
        let able = leadership.followers.iter().filter(|&(&id, follower)| {
            only.is_none_or(|only| only == id)
                && !follower.apply_stopped
                && follower.heard.is_some_and(|heard| heard + patience > self.now)
                && configuration
                    .member(id)
                    .is_some_and(|member| member.role == MemberRole::Voter && member.incarnation.is_some())
        });
        // Of equals the lowest number: `max_by_key` takes the last.
        able.rev().max_by_key(|(_, follower)| follower.matched).map(|(&id, _)| id)
    }

    fn begin_transfer(&mut self, to: NodeId, asked: Option<RequestId>) {
        let deadline = self.now + self.settings.election_timeout.1;
        self.transfer = Some(Transfer { to, deadline, sent: false, asked });
    }

    /// Tells the successor to campaign once it holds everything.
    pub(super) fn advance_transfer(&mut self) {
        let last = self.log.last();
        let State::Leader(leadership) = &mut self.state else { return };
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.sent) else { return };
        let to = transfer.to;
        let caught_up = leadership.followers.get(&to).is_some_and(|follower| follower.matched == last);
        let target = self.configurations.current().member(to).and_then(|member| member.incarnation);
        if let (true, Some(target)) = (caught_up, target) {
            transfer.sent = true;
            leadership.handed_over = true;
            self.send(to, Body::TimeoutNow { target });
        }
    }

    pub(super) fn timeout_now(&mut self, from: NodeId, target: Incarnation) {
        // Meant for the data directory that the leader knows, and only from the leader that this node follows.
        if target == self.incarnation && self.leader() == Some(from) && self.may_campaign() {
            self.campaign(true);
        }
    }

    pub(super) fn check_transfer_deadline(&mut self) {
        if self.transfer.as_ref().is_none_or(|transfer| self.now < transfer.deadline) {
            return;
        }
        self.end_transfer(Err(Refusal::NoSuccessor));
        if matches!(self.state, State::Leader(_)) && self.storage_stalled {
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
            && let Some(to) = self.successor(None)
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
            && let Some(to) = self.successor(None)
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
