//! From where a machine goes on.

use d_engine_raft::LogId;

use super::snapshots::Trouble;
use super::{AppliedState, Position, sidecar};
use crate::error::PluginFailure;
use crate::recover::Recovered;
use crate::traits::{SnapshotStore, StateMachine};

impl<O> AppliedState<O> {
    /// Brings the machine to where the log goes on: its own position, or the snapshot's.
    ///
    /// # Errors
    /// The node does not start.
    pub fn bring_up<S: StateMachine<Output = O>>(
        &mut self,
        machine: &mut S,
        store: &dyn SnapshotStore,
        recovered: &Recovered,
    ) -> Result<(), Trouble> {
        if self.witness {
            if let Some(head) = &recovered.snapshot {
                self.place(head.clone());
            }
            return Ok(());
        }
        let own = machine.applied().map_err(Trouble::Plugin)?;
        self.durable = own.is_some();
        let covered = recovered.snapshot_id().map_or(0, |last| last.index);
        if let Some((index, bytes)) = own.filter(|(index, _)| *index > 0 && *index >= covered) {
            let wrong = |why| Trouble::Plugin(PluginFailure::new("StateMachine.applied", why));
            let (term, time, sessions) = sidecar::decode(&bytes)
                .map_err(|why| wrong(format!("the sidecar that it gave back is not ours: {why}")))?;
            let last = LogId::new(index, term);
            check_own(recovered, last).map_err(wrong)?;
            let configuration =
                recovered.configuration_at(index).unwrap_or_else(|| self.position.configuration.clone());
            self.position = Position { last, time, configuration };
            self.sessions = sessions;
        } else if let Some(last) = recovered.snapshot_id() {
            self.take(machine, store, |found| found == last)?;
        }
        Ok(())
    }
}

/// A machine that knows entries which the log does not hold has somebody else's state.
fn check_own(recovered: &Recovered, own: LogId) -> Result<(), String> {
    let last = recovered.log.last;
    match recovered.term_at(own.index) {
        None if own.index > last => Err(format!(
            "the state machine has applied entry {own}, but this node's log ends at {last}: state machine and storage do \
             not belong together"
        )),
        Some(term) if term != own.term => Err(format!(
            "the state machine has applied entry {own}, but the log's entry there is of term {term}: state machine and \
             storage do not belong together"
        )),
        _ => Ok(()),
    }
}
