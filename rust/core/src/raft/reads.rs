//! Linearizable reads on the leader and, through it, on followers (thesis 6.4).

use crate::effect::Reply;
use crate::message::{Body, Refusal};
use crate::mutants;
use crate::reads::Asker;
use crate::types::{Index, NodeId, RequestId};

use super::leader::Leadership;
use super::{Core, State};

impl Core {
    pub(super) fn read(&mut self, id: RequestId, lease: bool) {
        match self.state {
            State::Leader(_) => self.ask_read((self.id, id), lease),
            State::Follower { leader: Some(leader) } if !self.closing => {
                self.send_plain(leader, Body::ReadIndex { id, lease });
            }
            _ => self.refuse(id, if self.closing { Refusal::Closing } else { Refusal::NotLeader }),
        }
    }

    pub(super) fn remote_read(&mut self, from: NodeId, id: RequestId, lease: bool) {
        self.ask_read((from, id), lease);
    }

    pub(super) fn read_replied(&mut self, id: RequestId, result: Result<Index, Refusal>) {
        match result {
            Ok(index) => self.reply(Reply::ReadReady { id, index }),
            Err(why) => self.refuse(id, why),
        }
    }

    fn ask_read(&mut self, asker: Asker, lease: bool) {
        let known = |leadership: &Leadership| self.commit >= leadership.first;
        let unconfirmed =
            mutants::on("14-unconfirmed") && matches!(&self.state, State::Leader(leadership) if known(leadership));
        if lease && self.lease_holds() || unconfirmed {
            return self.answer_read(asker, Ok(self.commit));
        }
        let State::Leader(leadership) = &mut self.state else {
            return self.answer_read(asker, Err(Refusal::NotLeader));
        };
        if !leadership.reads.ask(asker) {
            self.answer_read(asker, Err(Refusal::Overloaded));
        }
    }

    /// Whether nobody else can have been elected yet, and this leader knows what is committed (thesis 6.4.1). A lease that may have
    /// run out is none: the read joins a round.
    fn lease_holds(&self) -> bool {
        let State::Leader(leadership) = &self.state else { return false };
        let holds = |until| self.now < until || mutants::on("15-lease-for-ever");
        self.commit >= leadership.first && self.lease_until().is_some_and(holds)
    }

    /// Starts a round for the reads that wait, unless one is under way: they go with the next. Never before the term's
    /// first commit, since until then the commit index may lag behind what earlier leaders acknowledged.
    pub(super) fn start_read_round(&mut self) {
        let State::Leader(leadership) = &self.state else { return };
        if (self.commit >= leadership.first || mutants::on("12-read-early")) && leadership.reads.want_round() {
            self.start_round();
        }
    }

    pub(super) fn answer_read(&mut self, (asker, id): Asker, result: Result<Index, Refusal>) {
        if asker == self.id {
            return self.read_replied(id, result);
        }
        if let Ok(index) = result {
            self.with_follower(asker, |follower| follower.awaited = follower.awaited.max(index));
        }
        self.send_plain(asker, Body::ReadIndexReply { id, result });
    }
}
