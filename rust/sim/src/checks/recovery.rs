//! After the faults: whatever happened, it goes on.

use d_engine_raft::Micros;

use super::book::{Book, Call};
use super::{Check, Finding, Options, ensure};
use crate::fact::{Fact, Outcome, Phase, Request};

/// After healing has begun, a write that is asked for then is acknowledged within a stated time.
#[derive(Debug)]
pub struct ProgressAfterHealing {
    recovery: Micros,
    /// By when, while it has not been.
    due: Option<Micros>,
}

impl ProgressAfterHealing {
    pub const NAME: &str = "progress-after-healing";

    pub const fn new(options: &Options) -> Self {
        Self { recovery: options.recovery, due: None }
    }
}

impl Check for ProgressAfterHealing {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let since = book.phase.1;
        match fact {
            Fact::Phase(Phase::Healing) => self.due = Some(at + self.recovery),
            Fact::Returned { id, outcome: Outcome::Written { .. } | Outcome::Answered { .. } }
                if self.due.is_some() =>
            {
                let writes = |request: &Request| matches!(request, Request::Write { .. } | Request::Command { .. });
                let new = |call: &Call| call.at >= since && writes(&call.request);
                self.due = self.due.filter(|_| !book.call(*id).is_some_and(new));
            }
            _ => {}
        }
        let recovered = self.due.is_none_or(|due| at <= due);
        ensure!(recovered, "no write was acknowledged since the faults ended at {since}");
        Ok(())
    }
}
