//! Making snapshots: the apply thread's part, and the snapshot thread.

use std::sync::Arc;

use super::Queue;
use super::applier::Applier;
use super::inbox::Inbox;
use super::shared::Shared;
use crate::apply::{Making, Trouble};
use crate::driver::DriverInput;
use crate::metrics::add;
use crate::traits::{Level, SnapshotStore, StateMachine};
use crate::transfer::TransferInput;

/// One snapshot for the snapshot thread to finish.
pub struct SnapshotTask(Making);

fn report<S: StateMachine>(trouble: Trouble, shared: &Shared, inbox: &Inbox<S>) {
    let error = trouble.at(shared.id);
    add(&shared.counters.snapshots_failed, 1);
    shared.record(Level::Error, "snapshot", || format!("no snapshot was made, the log stays longer: {error}"));
    shared.set_snapshot_failure(Some(error));
    inbox.report(DriverInput::SnapshotFailed);
}

impl<S: StateMachine> Applier<S> {
    pub(super) fn take_snapshot(&mut self, machine: &mut S) {
        match self.state.snapshot(machine, self.store.as_ref(), &self.shared.hello) {
            Ok(Some(making)) => drop(self.snapshots.push(SnapshotTask(making))),
            Ok(None) => {
                self.shared.set_snapshot_failure(None);
                self.inbox.report(DriverInput::SnapshotFailed);
            }
            Err(trouble) => report(trouble, &self.shared, &self.inbox),
        }
    }
}

/// The snapshot thread.
pub fn run<S: StateMachine>(
    shared: &Arc<Shared>,
    inbox: &Arc<Inbox<S>>,
    queue: &Queue<SnapshotTask>,
    store: &dyn SnapshotStore,
    transfers: &Queue<TransferInput>,
) {
    while let Some(SnapshotTask(making)) = queue.pop(None) {
        if shared.is_stopped() {
            return;
        }
        match making.finish(store) {
            Ok(head) => {
                add(&shared.counters.snapshots_taken, 1);
                let (last, size) = (head.last, head.size);
                shared.record_at(Level::Info, "snapshot", Some(last.term), Some(last.index), || {
                    format!("made a snapshot of {last}, {size} bytes")
                });
                inbox.report(DriverInput::SnapshotTaken(last));
                transfers.push(TransferInput::Tidy);
            }
            Err(trouble) => report(trouble, shared, inbox),
        }
    }
}
