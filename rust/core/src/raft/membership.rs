//! Changes of the membership (section 6, thesis 4).

use crate::change::{Change, ChangeError};
use crate::effect::Reply;
use crate::types::{LogId, NodeId, RequestId};

use super::Core;

impl Core {
    pub(super) fn change(&mut self, id: RequestId, _changes: Vec<Change>) {
        self.reply(Reply::ChangeRefused { id, why: ChangeError::NotReady });
    }

    pub(super) fn remote_change(&mut self, _from: NodeId, _id: RequestId, _changes: Vec<Change>) {}

    pub(super) fn change_replied(&mut self, id: RequestId, result: Result<LogId, ChangeError>) {
        self.reply(match result {
            Ok(at) => Reply::Changing { id, at },
            Err(why) => Reply::ChangeRefused { id, why },
        });
    }
}
