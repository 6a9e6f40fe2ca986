//! Transfers of leadership that callers wait for. The core decides everything else, and answers by its own deadline.

use std::collections::BTreeMap;

use d_engine_raft::{Micros, NodeId, RequestId};

use super::digest::Digest;
use super::take_if;
use super::types::{Action, Calls, Failure};

struct Transfer<W> {
    waiter: W,
    deadline: Option<Micros>,
}

pub(super) struct Transfers<W> {
    asked: BTreeMap<RequestId, Transfer<W>>,
}

impl<W> Default for Transfers<W> {
    fn default() -> Self {
        Self { asked: BTreeMap::new() }
    }
}

impl<W> Transfers<W> {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn ask(&mut self, id: RequestId, waiter: W, deadline: Option<Micros>) {
        self.asked.insert(id, Transfer { waiter, deadline });
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        self.asked.values().filter_map(|transfer| transfer.deadline).min()
    }

    pub(super) fn ended<K: Calls<Transfer = W>>(
        &mut self,
        id: RequestId,
        result: Result<NodeId, Failure>,
        out: &mut Vec<Action<K>>,
    ) {
        if let Some(Transfer { waiter, .. }) = self.asked.remove(&id) {
            out.push(Action::EndTransfer { waiter, result });
        }
    }

    pub(super) fn fail_all<K: Calls<Transfer = W>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        let all = std::mem::take(&mut self.asked).into_values();
        out.extend(all.map(|transfer| Action::EndTransfer { waiter: transfer.waiter, result: Err(*failure) }));
    }

    pub(super) fn expire<K: Calls<Transfer = W>>(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        let due = |transfer: &Transfer<W>| transfer.deadline.is_some_and(|deadline| deadline <= now);
        for (_, Transfer { waiter, .. }) in take_if(&mut self.asked, due) {
            out.push(Action::EndTransfer { waiter, result: Err(Failure::Deadline) });
        }
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.list(self.asked.iter(), |out, (&id, transfer)| {
            out.number(id);
            out.maybe(transfer.deadline);
        });
    }
}
