//! Changes of the membership: who may ask, what takes effect, what follows (section 6, thesis 4).

use crate::change::{Change, ChangeError, change};
use crate::configuration::Configuration;
use crate::effect::{Event, Reply};
use crate::entry::{Draft, EntryKind};
use crate::message::{Body, Message};
use crate::mutants;
use crate::progress::{Leaving, Progress};
use crate::types::{LogId, NodeId, RequestId};

use super::promotion::promotable;
use super::{Core, State};

/// Election timeouts for which a node that left is told of it.
const FAREWELL: u64 = 4;

impl Core {
    pub(super) fn change(&mut self, id: RequestId, changes: Vec<Change>) {
        match self.state {
            State::Leader(_) => {
                let result = self.take_change(changes);
                self.change_replied(id, result);
            }
            State::Follower { leader: Some(leader) } if !self.closing => {
                // Once, as a proposal.
                self.send_plain(leader, Body::Change { id, changes });
                self.reply(Reply::Forwarded { id, to: leader });
            }
            _ => {
                let why = if self.closing { ChangeError::Closing } else { ChangeError::NotLeader };
                self.change_replied(id, Err(why));
            }
        }
    }

    pub(super) fn remote_change(&mut self, from: NodeId, id: RequestId, changes: Vec<Change>) {
        let result = self.take_change(changes);
        if let Ok(at) = result {
            self.with_follower(from, |follower| follower.awaited = follower.awaited.max(at.index));
        }
        self.send_plain(from, Body::ChangeReply { id, result });
    }

    pub(super) fn change_replied(&mut self, id: RequestId, result: Result<LogId, ChangeError>) {
        self.reply(match result {
            Ok(at) => Reply::Changing { id, at },
            Err(why) => Reply::ChangeRefused { id, why },
        });
    }

    /// The first configuration that the changes lead to is appended; the one after it follows by itself.
    fn take_change(&mut self, mut changes: Vec<Change>) -> Result<LogId, ChangeError> {
        self.check_may_change()?;
        for change in &mut changes {
            self.readmit(change);
        }
        let mut steps = change(self.configurations.current(), &changes)?;
        Ok(self.append_configuration(&steps.swap_remove(0)))
    }

    /// Whether a change may begin now.
    pub(super) fn check_may_change(&self) -> Result<(), ChangeError> {
        let State::Leader(leadership) = &self.state else { return Err(ChangeError::NotLeader) };
        if self.closing {
            Err(ChangeError::Closing)
        } else if self.storage_stalled {
            Err(ChangeError::StorageStalled)
        } else if self.transfer.is_some() {
            Err(ChangeError::Transferring)
        } else if self.commit < leadership.first && !mutants::on("19-early-change") {
            // What an earlier leader began may be committed or not: only the term's own first entry tells (Ongaro 2015).
            Err(ChangeError::NotReady)
        } else if self.configurations.index() > self.commit || self.configurations.current().is_joint() {
            Err(ChangeError::InFlight(self.configurations.index()))
        } else if leadership.uncommitted_bytes >= self.settings.max_uncommitted_bytes {
            Err(ChangeError::Overloaded)
        } else {
            Ok(())
        }
    }

    /// A member whose disk was wiped is named as what it is now, unless the user says otherwise.
    fn readmit(&self, change: &mut Change) {
        if let Change::Add(member) = change
            && member.incarnation.is_none()
            && self.configurations.current().member(member.id).is_some()
        {
            member.incarnation = self.wiped.get(&member.id).copied();
        }
    }

    /// A configuration takes effect as soon as it stands in the log, not when it is committed or applied (section 6).
    pub(super) fn append_configuration(&mut self, configuration: &Configuration) -> LogId {
        let mut draft = Draft::default();
        draft.push(EntryKind::Configuration, &configuration.encode());
        self.append_own(draft)
    }

    /// A member is heard whose data directory no leader has recorded: from now on it is known, and counts.
    pub(super) fn record_incarnation(&mut self, message: &Message) {
        let leads = matches!(self.state, State::Leader(_)) && message.term <= self.hard_state.term;
        let current = self.configurations.current();
        if leads && current.member(message.from).is_some_and(|member| member.incarnation.is_none()) {
            let mut configuration = current.as_ref().clone();
            if configuration.record(message.from, message.incarnation) {
                self.append_configuration(&configuration);
            }
        }
    }

    /// Another configuration is in force.
    pub(super) fn configured(&mut self) {
        let configuration = self.configurations.current().clone();
        let refused = |id: NodeId| configuration.member(id).and_then(|member| member.incarnation);
        self.wiped.retain(|&id, found| refused(id).is_some_and(|known| known != *found));
        self.rank = self.rank_of_priority();
        self.belongs |= configuration.member(self.id).is_some();
        self.follow_members(&configuration);
        let index = self.configurations.index();
        self.event(Event::Configured { index, configuration });
    }

    /// A leader keeps progress of its members, and for a while of those who were. Progress is of one data directory.
    fn follow_members(&mut self, configuration: &Configuration) {
        let (index, until) = (self.configurations.index(), self.now + FAREWELL * self.settings.election_timeout.1);
        let (me, next) = (self.id, self.log.last());
        let State::Leader(leadership) = &mut self.state else { return };
        for (id, follower) in leadership.followers.iter_mut() {
            if configuration.member(id).is_none() {
                follower.leaving.get_or_insert(Leaving { index, until, told: None });
            }
        }
        for member in configuration.members.iter().filter(|member| member.id != me) {
            let fresh = || Progress::new(next, member.incarnation);
            let follower = leadership.followers.get_or_insert(member.id, fresh);
            if follower.known != member.incarnation {
                *follower = fresh();
            }
            follower.leaving = None;
        }
        leadership.promotable = promotable(configuration);
        leadership.held_more = true;
    }

    /// Nobody is told for ever that it has left.
    pub(super) fn drop_those_who_left(&mut self) {
        let now = self.now;
        if let State::Leader(leadership) = &mut self.state {
            let stays = |_, follower: &Progress| follower.leaving.is_none_or(|leaving| now < leaving.until);
            leadership.held_more |= leadership.followers.retain(stays);
        }
    }

    /// What follows once the newest configuration is committed: the joint phase ends, and a leader that has no vote any more gives
    /// way.
    pub(super) fn advance_membership(&mut self) {
        let settled = self.configurations.index() <= self.commit || mutants::on("21-left-early");
        if settled && self.configurations.current().is_joint() {
            let incoming = self.configurations.current().incoming();
            self.append_configuration(&incoming);
        } else if self.has_no_vote() {
            self.step_aside();
        }
    }

    /// Whether it is settled that this node does not vote.
    pub(super) fn has_no_vote(&self) -> bool {
        self.configurations.index() <= self.commit && !self.configurations.current().is_voter(self.id)
    }

    /// It has led on until its own removal was committed (thesis 4.2.2).
    fn step_aside(&mut self) {
        if self.transfer.is_none() {
            match self.successor() {
                Some(to) => self.begin_transfer(to, None),
                None => self.become_follower(None),
            }
        }
    }

    /// Tells, once, that this node is no member any more: only when that can no longer be undone (CCF #5973).
    pub(super) fn notice_removal(&mut self) {
        if self.belongs
            && (self.configurations.index() <= self.commit || mutants::on("24-retired-early"))
            && self.configurations.current().member(self.id).is_none()
        {
            self.belongs = false;
            self.event(Event::Removed);
        }
    }
}
