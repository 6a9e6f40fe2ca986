//! Calls: each ends once, and in time.

use std::collections::VecDeque;

use d_engine_raft::Micros;

use super::book::Book;
use super::{Check, Finding, Options, ensure};
use crate::fact::{Fact, Fault};

/// A call ends once, and only after it was made.
#[derive(Debug, Default)]
pub struct AnsweredOnce;

impl AnsweredOnce {
    pub const NAME: &str = "answered-once";
}

impl Check for AnsweredOnce {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        if let Fact::Returned { id, outcome } = fact {
            ensure!(book.call(*id).is_some(), "call {id} ended with {outcome:?} and was not under way");
        }
        Ok(())
    }
}

/// Every call ends: within its timeout and a bound, unless its node hangs.
#[derive(Debug)]
pub struct NoWedgedWaiter {
    patience: Micros,
    /// When which call is looked at, ascending.
    due: VecDeque<(Micros, u64)>,
}

/// While one of these lasts, a node answers nobody.
const HANGS: [Fault; 4] = [Fault::Pause, Fault::ApplyHangs, Fault::SnapshotHangs, Fault::DiskStall];

impl NoWedgedWaiter {
    pub const NAME: &str = "no-wedged-waiter";

    pub const fn new(options: &Options) -> Self {
        Self { patience: options.patience, due: VecDeque::new() }
    }
}

impl Check for NoWedgedWaiter {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        while let Some(&(due, id)) = self.due.front() {
            if due >= at {
                break;
            }
            self.due.pop_front();
            let Some(call) = book.call(id) else { continue };
            let hangs = book.observed.node(call.node).is_some_and(|node| node.is_struck(&HANGS));
            // A call may end in the fact that is being told.
            let ends = matches!(fact, Fact::Returned { id: ended, .. } if *ended == id);
            let (node, since) = (call.node, call.at);
            ensure!(hangs || ends, "call {id} of node {node} waits since {since} for {:?}", call.request);
            self.due.push_back((at + self.patience, id));
        }
        if let Fact::Invoked(operation) = fact {
            self.due.push_back((at + self.patience, operation.id));
        }
        Ok(())
    }
}
