//! Snapshots on their way to other nodes: a lane of their own.

use std::sync::Arc;

use d_engine_node::driver::DriverInput;
use d_engine_node::transfer::{TransferAction, TransferInput, Transfers};
use d_engine_node::{Hello, NodeConfig, SnapshotFrame, SnapshotStore};
use d_engine_raft::{Index, Micros, NodeId};

use super::host::{Item, Process};
use super::{Event, Tell, World};
use crate::fact::Fact;

/// The transfer thread.
pub struct Lane {
    transfers: Transfers,
    /// When it looks at the time again.
    planned: Option<Micros>,
}

impl Lane {
    pub fn new(now: Micros, config: &NodeConfig, hello: &Hello, store: &Arc<dyn SnapshotStore>, seed: u64) -> Self {
        let pace = config.snapshot_bytes_per_second;
        Self { transfers: Transfers::new(now, hello.clone(), Arc::clone(store), pace, seed >> 1), planned: None }
    }
}

impl World {
    /// A follower needs the newest snapshot.
    pub(super) fn begin_transfer(
        &mut self,
        node: NodeId,
        process: &mut Process,
        to: NodeId,
        at_least: Index,
        tell: &mut Tell<'_, '_>,
    ) {
        let term = process.driver.position().term;
        self.transfers(node, process, Some(TransferInput::Send { to, at_least, term }), tell);
    }

    /// A frame of a transfer comes.
    pub(super) fn take_frame(&mut self, from: NodeId, to: NodeId, frame: SnapshotFrame, tell: &mut Tell<'_, '_>) {
        let Some(process) =
            self.hosts.get_mut(&to).filter(|host| host.paused == 0).and_then(|host| host.process.take())
        else {
            return;
        };
        self.work_on_transfers(to, process, Some(TransferInput::Frame(from, frame)), tell);
    }

    /// A snapshot was committed: older ones may go.
    pub(super) fn tidy_snapshots(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        if let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.take()) {
            self.work_on_transfers(node, process, Some(TransferInput::Tidy), tell);
        }
    }

    /// The deadline of a transfer.
    pub(super) fn transfer(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(mut process) = self.take_process(node, life, || Event::Transfer { node, life }) else { return };
        process.transfers.planned = None;
        self.work_on_transfers(node, process, None, tell);
    }

    fn work_on_transfers(
        &mut self,
        node: NodeId,
        mut process: Box<Process>,
        input: Option<TransferInput>,
        tell: &mut Tell<'_, '_>,
    ) {
        self.transfers(node, &mut process, input, tell);
        let reported = !process.inbox.is_empty();
        self.put_back(node, process);
        if reported {
            self.plan_turn(node);
        }
        self.check_power(node, tell);
    }

    fn transfers(
        &mut self,
        node: NodeId,
        process: &mut Process,
        input: Option<TransferInput>,
        tell: &mut Tell<'_, '_>,
    ) {
        let Some(host) = self.hosts.get(&node) else { return };
        let (now, life) = (host.now(self.now), host.life);
        let mut actions = Vec::new();
        process.transfers.transfers.handle(now, input, &mut actions);
        let due = process.transfers.transfers.deadline().map(|due| host.clock.world(due).max(self.now + 1));
        if let Some(at) = due.filter(|&at| process.transfers.planned.is_none_or(|planned| at < planned)) {
            process.transfers.planned = Some(at);
            self.agenda.add(at, Event::Transfer { node, life });
        }
        for action in actions {
            match action {
                TransferAction::Send(to, frame) => self.send_snapshot(node, to, &frame),
                TransferAction::Sent { to, delivered } => {
                    process.inbox.push(Item::Input("snapshot sent", DriverInput::SnapshotSent { to, delivered }));
                }
                TransferAction::Received { from, term, last, time, configuration } => {
                    let size = process.snapshots.latest().ok().flatten().map_or(0, |meta| meta.size);
                    tell.fact(&Fact::SnapshotKept { node, last, bytes: size, received: true });
                    let input = DriverInput::SnapshotReceived { from, term, last, time, configuration };
                    process.inbox.push(Item::Input("snapshot received", input));
                }
                TransferAction::Log { .. } => {}
            }
        }
    }
}
