//! Proposals, the local user's and those that followers forward.

use crate::effect::Reply;
use crate::entry::Draft;
use crate::message::{Body, Refusal};
use crate::types::{LogId, NodeId, RequestId};

use super::{Core, State};

impl Core {
    pub(super) fn propose(&mut self, id: RequestId, draft: Draft) {
        match self.state {
            State::Leader(_) => match self.take_proposal(draft) {
                Ok(at) => self.reply(Reply::Proposed { id, at }),
                Err(why) => self.refuse(id, why),
            },
            State::Follower { leader: Some(leader) } if !self.closing => {
                // Once: what may have left is never sent again, for it could be applied twice.
                self.send_plain(leader, Body::Propose { id, entries: draft });
                self.reply(Reply::Forwarded { id, to: leader });
            }
            _ => self.refuse(id, if self.closing { Refusal::Closing } else { Refusal::NotLeader }),
        }
    }

    pub(super) fn remote_propose(&mut self, from: NodeId, id: RequestId, draft: Draft) {
        let entries = draft.len() as u64;
        let result =
            if matches!(self.state, State::Leader(_)) { self.take_proposal(draft) } else { Err(Refusal::NotLeader) };
        if let Ok(at) = result {
            let last = (at.index + entries).saturating_sub(1);
            self.with_follower(from, |follower| follower.awaited = follower.awaited.max(last));
        }
        self.send_plain(from, Body::ProposeReply { id, result });
    }

    pub(super) fn propose_replied(&mut self, id: RequestId, result: Result<LogId, Refusal>) {
        match result {
            Ok(at) => self.reply(Reply::Proposed { id, at }),
            Err(why) => self.refuse(id, why),
        }
    }

    fn take_proposal(&mut self, draft: Draft) -> Result<LogId, Refusal> {
        let State::Leader(leadership) = &self.state else { return Err(Refusal::NotLeader) };
        let waiting = leadership.uncommitted_bytes;
        if self.closing {
            Err(Refusal::Closing)
        } else if self.storage_stalled {
            Err(Refusal::StorageStalled)
        } else if self.apply_stopped {
            Err(Refusal::ApplyStopped)
        } else if self.transfer.is_some() {
            Err(Refusal::Transferring)
        } else if waiting > 0 && waiting + draft.size() > self.settings.max_uncommitted_bytes {
            Err(Refusal::Overloaded)
        } else {
            Ok(self.append_own(draft))
        }
    }
}
