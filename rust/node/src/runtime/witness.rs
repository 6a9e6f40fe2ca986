//! The apply thread of a witness: it votes and keeps the log, and has no state. What is committed is passed over, and its
//! snapshots are a head and nothing else: enough to purge the log behind them.

use d_engine_raft::{Entry, LogId};

use super::applier::{Applier, Position};
use super::calls::Proposal;
use super::recover::Recovered;
use crate::driver::{DriverInput, Piece, Wanted};
use crate::error::{NodeError, StorageError};
use crate::snapshot::{Encoder, Finished, SnapshotHead};
use crate::traits::{SnapshotStore, StateMachine};

impl<S: StateMachine> Applier<S> {
    /// Whoever waits asked before this node was a witness.
    pub(super) fn pass_over(&mut self, entries: &[Entry], wanted: Vec<Wanted<Proposal<S::Output>>>) {
        let why = "this node has become a witness and gives no results".to_owned();
        let error = NodeError::OutcomeUnknown { node: self.shared.id, why };
        for Wanted { id, piece, .. } in wanted {
            self.partial.remove(&id);
            if let Piece::Last(proposal) | Piece::Cut(proposal, _) = piece {
                proposal.finish(&self.shared, Vec::new(), Some(error.clone()));
            }
        }
        self.advance(entries);
        let bytes: usize = entries.iter().map(Entry::size).sum();
        self.inbox.report(DriverInput::Applied { last: self.position.last, bytes: bytes as u64 });
    }

    /// Takes a snapshot's place in the log, and nothing of its state.
    pub(super) fn take_place(&mut self, head: SnapshotHead) {
        self.shared.set_applied(head.last.index);
        self.position = Position { last: head.last, time: head.time, configuration: head.configuration };
    }

    pub(super) fn bring_up_witness(&mut self, recovered: &Recovered) -> LogId {
        if let Some(head) = &recovered.snapshot {
            self.take_place(head.clone());
        }
        self.position.last
    }
}

/// A snapshot without any section.
pub fn write_head(store: &dyn SnapshotStore, head: SnapshotHead) -> Result<Finished, StorageError> {
    Encoder::begin(store, head)?.finish()
}

/// Reads the head of the newest snapshot, which must cover that entry.
pub fn read_head(store: &dyn SnapshotStore, last: LogId) -> Result<SnapshotHead, StorageError> {
    let meta = store
        .latest()?
        .filter(|meta| meta.last.index >= last.index)
        .ok_or_else(|| StorageError::Inconsistent("the snapshot to take is not in the snapshot store".into()))?;
    let mut reader = store.open(&meta)?;
    SnapshotHead::read(reader.as_mut()).map(|(head, _)| head)
}
