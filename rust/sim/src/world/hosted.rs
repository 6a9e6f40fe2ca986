//! A machine as a node runs it, with the faults that it was given.

use std::io::{Read, Write};

use bytes::Bytes;
use d_engine_node::{Applied, Batch, PluginFailure, StateMachine};
use d_engine_raft::Index;

use crate::machine::{Machine, Results};

/// What a machine does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    pub apply_raises: bool,
    pub snapshot_raises: bool,
    pub restore_raises: bool,
}

/// One machine of one node's life.
pub struct Hosted {
    pub machine: Box<dyn Machine>,
    pub troubles: Troubles,
    /// What it was given with the last batch.
    pub given: Vec<Index>,
}

impl Hosted {
    pub fn new(machine: Box<dyn Machine>) -> Self {
        Self { machine, troubles: Troubles::default(), given: Vec::new() }
    }
}

impl StateMachine for Hosted {
    /// The results of a range's entries.
    type Output = Vec<Bytes>;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<Self::Output> {
        self.given.clear();
        if self.troubles.apply_raises && !batch.entries.is_empty() {
            let failure = PluginFailure::new("StateMachine.apply", "a planted exception");
            return Applied { failure: Some((0, failure)), ..Applied::all(Vec::new()) };
        }
        let Results { results, failure } = self.machine.apply(batch.entries);
        self.given.extend(batch.entries.iter().take(results.len()).map(d_engine_raft::Entry::index));
        let begun = batch.wanted.iter().filter(|range| failure.is_none() || range.start < results.len());
        let outputs = begun.map(|range| results[range.start..range.end.min(results.len())].to_vec()).collect();
        let kept = batch.keep.iter().filter_map(|&at| results.get(at)).map(|result| Some(result.clone())).collect();
        let failure = failure.map(|why| (results.len(), PluginFailure::new("StateMachine.apply", why.0)));
        Applied { outputs, kept, failure }
    }

    fn load(&mut self, kept: &Bytes) -> Option<Self::Output> {
        Some(vec![kept.clone()])
    }

    fn opened(&mut self, session: u64) -> Option<Self::Output> {
        Some(vec![Bytes::copy_from_slice(&session.to_le_bytes())])
    }

    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure> {
        let raised = |why: String| PluginFailure::new("StateMachine.snapshot", why);
        if self.troubles.snapshot_raises {
            return Err(raised("a planted exception".into()));
        }
        let state = self.machine.snapshot().map_err(|why| raised(why.0))?;
        out.write_all(&state).map_err(|error| raised(error.to_string()))
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        let raised = |why: String| PluginFailure::new("StateMachine.restore", why);
        if self.troubles.restore_raises {
            return Err(raised("a planted exception".into()));
        }
        let mut state = Vec::new();
        source.read_to_end(&mut state).map_err(|error| raised(error.to_string()))?;
        self.machine.restore(&state).map_err(|why| raised(why.0))
    }
}
