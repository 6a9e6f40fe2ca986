//! What users ask of a cluster, and what they are told.

use bytes::Bytes;
use d_engine_raft::{Change, ChangeError, Draft, Event, Index, Input, LogId, NodeId, Reply, RequestId};

use super::cluster::Cluster;

impl Cluster {
    pub fn propose(&mut self, id: NodeId, payload: &[u8]) -> RequestId {
        let request = self.next_id;
        self.next_id += 1;
        let wall = self.now;
        self.checks.proposals.insert(request, Bytes::copy_from_slice(payload));
        self.step(id, Input::Propose { wall, batches: vec![(request, Draft::command(payload))] });
        request
    }

    pub fn read(&mut self, id: NodeId) -> RequestId {
        self.read_as(id, false)
    }

    /// A read that a lease may answer.
    pub fn lease_read(&mut self, id: NodeId) -> RequestId {
        self.read_as(id, true)
    }

    fn read_as(&mut self, id: NodeId, lease: bool) -> RequestId {
        let request = self.next_id;
        self.next_id += 1;
        self.checks.read_begins(request);
        self.step(id, Input::Read { id: request, lease });
        request
    }

    pub fn change(&mut self, id: NodeId, changes: Vec<Change>) -> RequestId {
        let request = self.next_id;
        self.next_id += 1;
        let wall = self.now;
        self.step(id, Input::Change { wall, id: request, changes });
        request
    }

    pub fn transfer(&mut self, id: NodeId, to: Option<NodeId>) -> RequestId {
        let request = self.next_id;
        self.next_id += 1;
        self.step(id, Input::Transfer { id: request, to });
        request
    }

    /// What became of a change so far.
    pub fn changing(&self, id: NodeId, request: RequestId) -> Option<Result<LogId, ChangeError>> {
        self.answers(id, request).into_iter().find_map(|reply| match reply {
            Reply::Changing { at, .. } => Some(Ok(at)),
            Reply::ChangeRefused { why, .. } => Some(Err(why)),
            _ => None,
        })
    }

    /// How often that node has said that it is no member any more.
    pub fn removals(&self, id: NodeId) -> usize {
        self.nodes[&id].events.iter().filter(|event| **event == Event::Removed).count()
    }

    /// Who votes, by what that node holds.
    pub fn voters(&self, id: NodeId) -> Vec<NodeId> {
        self.status(id).configuration.voters().collect()
    }

    /// The answers to that request so far.
    pub fn answers(&self, id: NodeId, request: RequestId) -> Vec<Reply> {
        let about = |reply: &&Reply| match reply {
            Reply::Proposed { id, .. }
            | Reply::Forwarded { id, .. }
            | Reply::Refused { id, .. }
            | Reply::ReadReady { id, .. }
            | Reply::Transferred { id, .. }
            | Reply::Changing { id, .. }
            | Reply::ChangeRefused { id, .. } => *id == request,
            Reply::Closed => false,
        };
        self.nodes[&id].replies.iter().filter(about).copied().collect()
    }

    /// Where a proposal stands.
    pub fn placed(&self, id: NodeId, request: RequestId) -> Option<LogId> {
        self.answers(id, request).into_iter().find_map(|reply| match reply {
            Reply::Proposed { at, .. } => Some(at),
            _ => None,
        })
    }

    pub fn read_index(&self, id: NodeId, request: RequestId) -> Option<Index> {
        self.answers(id, request).into_iter().find_map(|reply| match reply {
            Reply::ReadReady { index, .. } => Some(index),
            _ => None,
        })
    }
}
