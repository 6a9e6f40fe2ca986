//! The configurations of the log, newest last, so that a truncated one falls back to the one before (canonical/raft #354).

use std::sync::Arc;

use crate::configuration::Configuration;
use crate::mutants;
use crate::raft::Digest;
use crate::types::{Index, NodeId};

/// All configurations that may still be in force.
#[derive(Debug)]
pub struct Configurations {
    stack: Vec<(Index, Arc<Configuration>)>,
    /// Of the newest one, so that arithmetic allocates nothing.
    voters: Vec<NodeId>,
}

impl Configurations {
    /// As found in snapshot and log, ascending.
    #[must_use]
    pub fn new(found: Vec<(Index, Configuration)>) -> Self {
        let mut configurations = Self {
            stack: found.into_iter().map(|(index, configuration)| (index, Arc::new(configuration))).collect(),
            voters: Vec::new(),
        };
        if configurations.stack.is_empty() {
            // A node that joins knows nobody: it never campaigns and grants what it is asked.
            let nobody = Configuration { members: Vec::new(), outgoing: Vec::new(), min_election_timeout: 0 };
            configurations.stack.push((0, Arc::new(nobody)));
        }
        configurations.changed();
        configurations
    }

    /// The one in force: the newest, committed or not (section 6).
    #[must_use]
    pub fn current(&self) -> &Arc<Configuration> {
        &self.newest().1
    }

    /// The index of its entry.
    #[must_use]
    pub fn index(&self) -> Index {
        self.newest().0
    }

    /// All that may still be in force: the newest one that is committed, and those after it.
    pub fn in_force(&self) -> impl Iterator<Item = &Configuration> {
        self.stack.iter().map(|(_, configuration)| configuration.as_ref())
    }

    /// The voters of the incoming half, ascending.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The voters of the outgoing half, ascending.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.current().outgoing
    }

    /// A configuration entry was appended.
    pub fn push(&mut self, index: Index, configuration: Configuration) {
        self.stack.push((index, Arc::new(configuration)));
        self.changed();
    }

    /// Entries from `from` on are gone. Says whether another configuration is in force now.
    pub fn truncate(&mut self, from: Index) -> bool {
        let before = self.stack.len();
        while self.stack.len() > 1 && self.newest().0 >= from && !mutants::on("22-no-way-back") {
            self.stack.pop();
        }
        self.changed();
        self.stack.len() != before
    }

    /// A snapshot replaces the log.
    pub fn reset(&mut self, index: Index, configuration: Configuration) {
        self.stack = vec![(index, Arc::new(configuration))];
        self.changed();
    }

    /// What is committed can no longer fall back.
    pub fn committed(&mut self, commit: Index) {
        let settled = self.stack.partition_point(|&(index, _)| index <= commit);
        self.stack.drain(..settled.saturating_sub(1));
    }

    /// Those that may still be in force.
    pub(crate) fn digest(&self, out: &mut Digest) {
        out.list(self.stack.iter(), |out, (index, configuration)| {
            out.number(*index);
            out.bytes(&configuration.encode());
        });
    }

    fn newest(&self) -> &(Index, Arc<Configuration>) {
        // `new` and `reset` leave one, `truncate` and `committed` keep one.
        &self.stack[self.stack.len() - 1]
    }

    fn changed(&mut self) {
        self.voters = self.current().voters().collect();
    }
}
