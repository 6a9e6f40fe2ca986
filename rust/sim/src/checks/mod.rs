//! What must never be, whatever strikes: named checks that are told every fact and keep no more than they need.
//!
//! They share one book of what happened so far (logs, disks, calls, the ledger of applied entries), so that each fact is entered
//! once. A check sees the book as it was before the fact, and once more when a turn is over and everything that belongs to it has
//! been told.

mod apply;
mod book;
mod bounds;
mod calls;
mod commit;
mod disk;
mod election;
mod leases;
mod ledger;
mod log;
mod membership;
mod messages;
mod observed;
mod reads;
mod recovery;
mod snapshots;
mod view;
mod writes;

use d_engine_raft::{Micros, Settings};

use crate::fact::{Fact, Observer, Violation};
use book::Book;

/// What the promises depend on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The limits that the cores work with.
    pub settings: Settings,
    /// Whether commands are those of registers, so that values can be compared.
    pub registers: bool,
    /// A call's own timeout, and what it may take beyond that.
    pub patience: Micros,
    /// After healing has begun, a write is acknowledged within so long.
    pub recovery: Micros,
    /// Of so many acknowledgements of appends one is compared with the disk; votes and new terms always are. 0: none.
    pub platter_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Settings {
                heartbeat_interval: 50_000,
                election_timeout: (150_000, 300_000),
                drift_ppm: 50_000,
                storage_stall_timeout: 15_000_000,
                max_append_bytes: 1 << 20,
                max_inflight_messages: 8,
                max_inflight_bytes: 4 << 20,
                max_uncommitted_bytes: 64 << 20,
                tail_bytes: 8 << 20,
                max_applying_bytes: 4 << 20,
            },
            registers: true,
            patience: 10_000_000,
            recovery: 30_000_000,
            platter_every: 64,
        }
    }
}

/// What a check answers: why that must not be.
type Finding = Result<(), String>;

/// Ends a check with what it found, unless that holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;

/// One promise.
pub trait Check: std::fmt::Debug + Send {
    /// The promise in a word or three.
    fn name(&self) -> &'static str;

    /// That happened, after everything that stands in the book.
    ///
    /// # Errors
    /// What must not be.
    fn fact(&mut self, at: Micros, fact: &Fact<'_>, book: &Book) -> Finding;

    /// A turn of the node at that place of the book is over; the book holds all of it.
    ///
    /// # Errors
    /// What must not be.
    fn turned(&mut self, _at: Micros, _place: usize, _book: &Book) -> Finding {
        Ok(())
    }
}

/// All checks with the book that they share, as one observer.
#[derive(Debug)]
pub struct Checks {
    book: Book,
    checks: Vec<Box<dyn Check>>,
}

impl Checks {
    /// All of them, at the beginning of a world.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { book: Book::new(options.registers), checks: all(options) }
    }
}

impl Observer for Checks {
    fn fact(&mut self, at: Micros, fact: &Fact<'_>) -> Result<(), Violation> {
        if let Some(place) = self.book.ends_turn(fact) {
            for check in &mut self.checks {
                check.turned(at, place, &self.book).map_err(|what| Violation { check: check.name(), what })?;
            }
        }
        for check in &mut self.checks {
            check.fact(at, fact, &self.book).map_err(|what| Violation { check: check.name(), what })?;
        }
        self.book.take(at, fact);
        Ok(())
    }
}

/// Every check, in the order in which they are asked: of several that a fact breaks, the first is named.
#[must_use]
pub fn all(options: &Options) -> Vec<Box<dyn Check>> {
    vec![
        // Messages and calls, as such.
        Box::<messages::Conservation>::default(),
        Box::<messages::SenderLives>::default(),
        Box::<calls::AnsweredOnce>::default(),
        Box::new(calls::NoWedgedWaiter::new(options)),
        // Terms and votes.
        Box::<election::TermMonotonic>::default(),
        Box::<election::VoteOnce>::default(),
        Box::<disk::VoteOnDisk>::default(),
        Box::<election::ElectionSafety>::default(),
        Box::<election::ElectedByQuorum>::default(),
        Box::<election::MemberLeads>::default(),
        Box::new(leases::LeaseOverlap::new(options)),
        // Logs.
        Box::<log::LogContiguous>::default(),
        Box::<log::LeaderAppendOnly>::default(),
        Box::<log::LogMatching>::default(),
        Box::new(disk::AckOnDisk::new(options)),
        Box::<disk::RestartKeeps>::default(),
        Box::<membership::QuorumsMeet>::default(),
        Box::<membership::JointPhase>::default(),
        // What is committed.
        Box::<commit::CommitMonotonic>::default(),
        Box::<commit::CommittedDurably>::default(),
        Box::<commit::CommittedByQuorum>::default(),
        Box::<commit::CommitAgrees>::default(),
        Box::<election::LeaderCompleteness>::default(),
        // What is applied.
        Box::<apply::AppliedMonotonic>::default(),
        Box::<apply::AppliedWithin>::default(),
        Box::<apply::StateMachineSafety>::default(),
        Box::<apply::TimeMonotonic>::default(),
        Box::new(apply::ExactlyOnce::new(options)),
        Box::<apply::StateAgrees>::default(),
        Box::<snapshots::SnapshotOrder>::default(),
        Box::<snapshots::SnapshotExact>::default(),
        Box::<snapshots::PurgeCovered>::default(),
        // What clients see.
        Box::new(writes::AcknowledgedKept::new(options)),
        Box::new(writes::RefusedNeverApplied::new(options)),
        Box::new(writes::SameResult::new(options)),
        Box::<reads::LinearizableReads>::default(),
        Box::new(reads::LeaseReads::new(options)),
        Box::<reads::EventualReads>::default(),
        Box::new(reads::ReadValues::new(options)),
        // Bounds, and an end.
        Box::new(bounds::BoundedMemory::new(options)),
        Box::<bounds::BoundedQueues>::default(),
        Box::new(bounds::BoundedWindow::new(options)),
        Box::new(recovery::ProgressAfterHealing::new(options)),
    ]
}

/// The names of all checks, in their order.
pub const NAMES: [&str; 43] = [
    messages::Conservation::NAME,
    messages::SenderLives::NAME,
    calls::AnsweredOnce::NAME,
    calls::NoWedgedWaiter::NAME,
    election::TermMonotonic::NAME,
    election::VoteOnce::NAME,
    disk::VoteOnDisk::NAME,
    election::ElectionSafety::NAME,
    election::ElectedByQuorum::NAME,
    election::MemberLeads::NAME,
    leases::LeaseOverlap::NAME,
    log::LogContiguous::NAME,
    log::LeaderAppendOnly::NAME,
    log::LogMatching::NAME,
    disk::AckOnDisk::NAME,
    disk::RestartKeeps::NAME,
    membership::QuorumsMeet::NAME,
    membership::JointPhase::NAME,
    commit::CommitMonotonic::NAME,
    commit::CommittedDurably::NAME,
    commit::CommittedByQuorum::NAME,
    commit::CommitAgrees::NAME,
    election::LeaderCompleteness::NAME,
    apply::AppliedMonotonic::NAME,
    apply::AppliedWithin::NAME,
    apply::StateMachineSafety::NAME,
    apply::TimeMonotonic::NAME,
    apply::ExactlyOnce::NAME,
    apply::StateAgrees::NAME,
    snapshots::SnapshotOrder::NAME,
    snapshots::SnapshotExact::NAME,
    snapshots::PurgeCovered::NAME,
    writes::AcknowledgedKept::NAME,
    writes::RefusedNeverApplied::NAME,
    writes::SameResult::NAME,
    reads::LinearizableReads::NAME,
    reads::LeaseReads::NAME,
    reads::EventualReads::NAME,
    reads::ReadValues::NAME,
    bounds::BoundedMemory::NAME,
    bounds::BoundedQueues::NAME,
    bounds::BoundedWindow::NAME,
    recovery::ProgressAfterHealing::NAME,
];
