//! Callers that wait for the node to change.

use d_engine_raft::{Micros, NodeId, Role, Term};

use super::calls::complete;
use super::shared::Shared;
use crate::error::NodeError;
use crate::node::Completion;
use crate::status::{Change, Summary};

struct Waiter<T> {
    done: Completion<T>,
    deadline: Option<Micros>,
}

/// Lives on the core thread.
#[derive(Default)]
pub struct Watch {
    current: Option<Change>,
    ready: bool,
    changes: Vec<(u64, Waiter<Change>)>,
    readiness: Vec<Waiter<()>>,
}

impl Watch {
    /// Takes in what the node is now, and tells whoever waited for it.
    pub fn update(&mut self, shared: &Shared, summary: &Summary) {
        self.ready = summary.ready;
        let seen: (Role, Term, Option<NodeId>) = (summary.role, summary.term, summary.leader);
        if self.current.is_none_or(|current| (current.role, current.term, current.leader) != seen) {
            let version = self.current.map_or(1, |current| current.version + 1);
            let change = Change { version, role: seen.0, term: seen.1, leader: seen.2 };
            self.current = Some(change);
            for (_, waiter) in self.changes.extract_if(.., |(known, _)| *known < version) {
                complete(shared, waiter.done, Ok(change));
            }
        }
        if self.ready {
            for waiter in self.readiness.drain(..) {
                complete(shared, waiter.done, Ok(()));
            }
        }
    }

    pub fn next_change(&mut self, shared: &Shared, seen: u64, done: Completion<Change>, deadline: Option<Micros>) {
        match self.current {
            Some(current) if current.version > seen => complete(shared, done, Ok(current)),
            _ => self.changes.push((seen, Waiter { done, deadline })),
        }
    }

    pub fn wait_ready(&mut self, shared: &Shared, done: Completion<()>, deadline: Option<Micros>) {
        if self.ready {
            complete(shared, done, Ok(()));
        } else {
            self.readiness.push(Waiter { done, deadline });
        }
    }

    pub fn deadline(&self) -> Option<Micros> {
        let changes = self.changes.iter().filter_map(|(_, waiter)| waiter.deadline);
        changes.chain(self.readiness.iter().filter_map(|waiter| waiter.deadline)).min()
    }

    pub fn expire(&mut self, shared: &Shared, now: Micros, missing: impl Fn() -> Vec<NodeId>) {
        let due = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= now);
        for (_, waiter) in self.changes.extract_if(.., |(_, waiter)| due(waiter.deadline)) {
            complete(shared, waiter.done, Err(shared.late("a wait for a change")));
        }
        for waiter in self.readiness.extract_if(.., |waiter| due(waiter.deadline)) {
            let missing = missing();
            let what = if missing.is_empty() {
                "no leader was known with its first entry applied here".to_owned()
            } else {
                format!("the cluster forms once all its initial voters were seen; missing: {missing:?}")
            };
            let what = format!("the node did not become ready before the timeout: {what}");
            complete(shared, waiter.done, Err(NodeError::Deadline { node: shared.id, what }));
        }
    }

    pub fn end(&mut self, shared: &Shared) {
        for (_, waiter) in self.changes.drain(..) {
            complete(shared, waiter.done, Err(shared.closed()));
        }
        for waiter in self.readiness.drain(..) {
            complete(shared, waiter.done, Err(shared.closed()));
        }
    }
}
