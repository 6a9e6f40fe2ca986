//! The transfer thread: snapshots to followers, and one from a leader.

use std::sync::Arc;
use std::time::Duration;

use super::inbox::{Inbox, Item};
use super::shared::Shared;
use super::{Queue, clock};
use crate::driver::DriverInput;
use crate::metrics::add;
use crate::traits::{Frame, Lane, PROTOCOL_VERSION, Payload, SnapshotFrame, SnapshotStore, StateMachine};
use crate::transfer::{TransferAction, TransferInput, Transfers};

/// The transfer thread.
pub fn run<S: StateMachine>(
    shared: &Shared,
    inbox: &Inbox<S>,
    store: Arc<dyn SnapshotStore>,
    queue: &Queue<TransferInput>,
) {
    let pace = shared.config.snapshot_bytes_per_second;
    let mut transfers = Transfers::new(clock::now(), shared.hello.clone(), store, pace, clock::wall());
    let mut actions = Vec::new();
    loop {
        let limit = transfers.deadline().map(|due| clock::until(clock::now(), due));
        let input = if limit == Some(Duration::ZERO) { None } else { queue.pop(limit) };
        if shared.is_stopped() || queue.closed() {
            return;
        }
        transfers.handle(clock::now(), input, &mut actions);
        for action in actions.drain(..) {
            carry_out(shared, inbox, action);
        }
    }
}

fn carry_out<S: StateMachine>(shared: &Shared, inbox: &Inbox<S>, action: TransferAction) {
    match action {
        TransferAction::Send(to, frame) => {
            if let SnapshotFrame::Chunk { data, .. } = &frame {
                add(&shared.counters.bytes_sent, data.len() as u64);
                add(&shared.counters.bytes_sent_bulk, data.len() as u64);
            }
            let hello = &shared.hello;
            let frame = Frame {
                cluster_id: hello.cluster_id,
                group: hello.group,
                recovery_epoch: hello.recovery_epoch,
                version: PROTOCOL_VERSION,
                from: hello.node,
                incarnation: hello.incarnation,
                to,
                lane: Lane::Bulk,
                payload: Payload::Snapshot(frame),
            };
            drop(inbox.push(Item::Send(vec![frame])));
        }
        TransferAction::Sent { to, delivered } => {
            if delivered.is_some() {
                add(&shared.counters.snapshots_sent, 1);
            }
            inbox.report(DriverInput::SnapshotSent { to, delivered });
        }
        TransferAction::Received { from, term, last, time, configuration } => {
            inbox.report(DriverInput::SnapshotReceived { from, term, last, time, configuration });
        }
        TransferAction::Log { level, at, message } => {
            shared.record_at(level, "snapshot", at.map(|(term, _)| term), at.map(|(_, index)| index), || message);
        }
    }
}
