//! What happened, to be read by a person: kept by an observer, written as text, as JSON and as a page.
//!
//! A trace keeps the last facts. What falls out of it is added up, so that the state of every node is known at its beginning.

mod json;
mod page;
mod seen;
mod text;
mod told;
mod words;

use std::collections::{BTreeMap, VecDeque};

use d_engine_raft::{Micros, NodeId};

pub use json::json;
pub use page::page;
pub use seen::{NodeSeen, Seen};
pub use text::text;
pub use told::{Begun, Told, Way};

use crate::fact::{Fact, Observer, Position, Violation};

/// A fact and when it happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// The world's own time.
    pub at: Micros,
    /// What happened.
    pub told: Told,
}

/// What a trace is of; stands above it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// A heading: which world, which seed.
    pub title: String,
    /// Names and values: options, counters, whatever explains the run.
    pub options: Vec<(String, String)>,
    /// The command that runs it again; empty if there is none.
    pub command: String,
    /// Why the run ended, and when.
    pub violation: Option<(Micros, Violation)>,
}

/// Keeps the last facts. Stands first among the observers: it then also has the fact that another one refuses.
#[derive(Debug)]
pub struct Trace {
    room: usize,
    before: Seen,
    records: VecDeque<Record>,
    left_out: u64,
    quiet: u64,
    newest: BTreeMap<NodeId, Position>,
}

impl Trace {
    /// Room for so many facts.
    #[must_use]
    pub fn last(facts: usize) -> Self {
        Self {
            room: facts.max(1),
            before: Seen::default(),
            records: VecDeque::new(),
            left_out: 0,
            quiet: 0,
            newest: BTreeMap::new(),
        }
    }

    /// What is kept, the oldest first.
    #[must_use]
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> + '_ {
        self.records.iter()
    }

    /// What the facts before the first record add up to.
    #[must_use]
    pub const fn before(&self) -> &Seen {
        &self.before
    }

    /// Facts before the first record.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Steps that changed nothing, and are not kept anywhere in the trace.
    #[must_use]
    pub const fn quiet(&self) -> u64 {
        self.quiet
    }

    /// Everybody who ever ran.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.before.nodes.keys().copied().collect();
        nodes.extend(self.records.iter().filter_map(|record| match &record.told {
            Told::Started { node, .. } => Some(*node),
            _ => None,
        }));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether a step left everything as it was that a reader would want to know.
    fn is_quiet(&mut self, fact: &Fact<'_>) -> bool {
        match fact {
            Fact::Stepped { node, position, .. } => {
                let shown = Position { waiting: 0, tail_bytes: 0, ..**position };
                self.newest.insert(*node, shown) == Some(shown)
            }
            Fact::Started { node, .. } => {
                self.newest.remove(node);
                false
            }
            _ => false,
        }
    }
}

impl Observer for Trace {
    fn fact(&mut self, at: Micros, fact: &Fact<'_>) -> Result<(), Violation> {
        if self.is_quiet(fact) {
            self.quiet += 1;
            return Ok(());
        }
        if self.records.len() == self.room
            && let Some(oldest) = self.records.pop_front()
        {
            self.before.add(&oldest.told);
            self.left_out += 1;
        }
        self.records.push_back(Record { at, told: fact.into() });
        Ok(())
    }
}
