//! How a run ends: with figures, or with a promise that was broken.

use std::collections::BTreeMap;
use std::fmt;

use d_engine_raft::Micros;

use crate::fact::{Fault, Violation};
use crate::options::Options;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All facts, hashed in their order: equal for equal worlds.
    pub digest: u64,
    /// Facts told.
    pub facts: u64,
    /// Things that happened.
    pub events: u64,
    /// Inputs that cores were given.
    pub inputs: u64,
    /// Time that passed in the world.
    pub simulated: Micros,
    /// That time, for every node while it was up: what `inputs` spread over.
    pub node_time: Micros,
    /// Calls of clients.
    pub operations: u64,
    /// Those of them that were answered.
    pub answered: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were answered, of every tier.
    pub reads: u64,
    /// Entries that state machines were given.
    pub applied: u64,
    /// Times that each fault struck.
    pub faults: BTreeMap<Fault, u64>,
    /// Times that a log was opened on what a power cut had left, or could have left.
    pub crash_images: u64,
    /// Times that a log was opened.
    pub logs_opened: u64,
    /// Snapshots committed: made, received.
    pub snapshots: (u64, u64),
    /// Leaders that were elected.
    pub elections: u64,
    /// How long it took until everything worked again.
    pub healed_after: Micros,
}

impl Summary {
    /// Adds another run's figures; digests are combined so that the order of runs makes no difference.
    pub fn add(&mut self, other: &Self) {
        self.digest = self.digest.wrapping_add(other.digest.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for (sum, more) in [
            (&mut self.facts, other.facts),
            (&mut self.events, other.events),
            (&mut self.inputs, other.inputs),
            (&mut self.simulated, other.simulated),
            (&mut self.node_time, other.node_time),
            (&mut self.operations, other.operations),
            (&mut self.answered, other.answered),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.reads, other.reads),
            (&mut self.applied, other.applied),
            (&mut self.crash_images, other.crash_images),
            (&mut self.logs_opened, other.logs_opened),
            (&mut self.snapshots.0, other.snapshots.0),
            (&mut self.snapshots.1, other.snapshots.1),
            (&mut self.elections, other.elections),
        ] {
            *sum += more;
        }
        for (&fault, hits) in &other.faults {
            *self.faults.entry(fault).or_default() += hits;
        }
        self.healed_after = self.healed_after.max(other.healed_after);
    }
}

/// A run that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which, and how.
    pub violation: Violation,
    /// All that the run depends on, the seed among it.
    pub options: Box<Options>,
    /// When, in the world's time.
    pub at: Micros,
    /// After so many events.
    pub events: u64,
}

impl Failure {
    /// The one command that shows it again.
    #[must_use]
    pub fn command(&self) -> String {
        format!("d-engine-sim {}", self.options)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.violation)?;
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        writeln!(out, "at {seconds}.{micros:06} s of the world, event {}", self.events)?;
        write!(out, "replay: {}", self.command())
    }
}

impl std::error::Error for Failure {}
