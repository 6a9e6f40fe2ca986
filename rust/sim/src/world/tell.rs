//! Telling facts to those who watch, and counting on the way.

use d_engine_raft::Micros;

use crate::digest::FactDigest;
use crate::fact::{Fact, Observer, Outcome, Violation};
use crate::outcome::Summary;

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub summary: Summary,
    pub digest: FactDigest,
}

/// The way of facts to the observers, for the time of one run.
pub struct Tell<'a, 'b> {
    pub at: Micros,
    pub tally: Tally,
    pub broken: Option<Violation>,
    observers: &'a mut [&'b mut dyn Observer],
}

impl<'a, 'b> Tell<'a, 'b> {
    pub fn new(at: Micros, tally: Tally, observers: &'a mut [&'b mut dyn Observer]) -> Self {
        Self { at, tally, broken: None, observers }
    }

    /// Tells it to everybody; the first objection is kept.
    pub fn fact(&mut self, fact: &Fact<'_>) {
        self.tally.digest.fact(self.at, fact);
        self.count(fact);
        for observer in self.observers.iter_mut() {
            if let Err(violation) = observer.fact(self.at, fact) {
                self.broken.get_or_insert(violation);
            }
        }
    }

    /// The world itself objects.
    pub fn broken(&mut self, check: &'static str, what: String) {
        self.broken.get_or_insert(Violation { check, what });
    }

    fn count(&mut self, fact: &Fact<'_>) {
        let summary = &mut self.tally.summary;
        summary.facts += 1;
        match fact {
            Fact::Struck { fault, .. } => *summary.faults.entry(*fault).or_default() += 1,
            Fact::Invoked(_) => summary.operations += 1,
            Fact::Returned { outcome, .. } => match outcome {
                Outcome::Written { .. } | Outcome::Answered { .. } => {
                    summary.answered += 1;
                    summary.acknowledged += 1;
                }
                Outcome::Read { .. } | Outcome::Queried { .. } => {
                    summary.answered += 1;
                    summary.reads += 1;
                }
                Outcome::Done | Outcome::Opened(_) => summary.answered += 1,
                Outcome::Refused(_) | Outcome::Unknown(_) | Outcome::Gone => {}
            },
            Fact::Applied { given, .. } => summary.applied += given.len() as u64,
            Fact::SnapshotKept { received: false, .. } => summary.snapshots.0 += 1,
            Fact::SnapshotKept { received: true, .. } => summary.snapshots.1 += 1,
            _ => {}
        }
    }
}
