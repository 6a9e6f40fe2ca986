//! Snapshots on their way to other nodes: a lane of their own.

use std::sync::Arc;

use d_engine_node::driver::DriverInput;
use d_engine_node::{Hello, NodeConfig, SnapshotFrame, SnapshotStore};
use d_engine_raft::{Index, Micros, NodeId};

use super::host::{Item, Process};
use super::{Tell, World};

/// The transfer thread.
pub struct Lane;

impl Lane {
    pub const fn new(_: Micros, _: &NodeConfig, _: &Hello, _: &Arc<dyn SnapshotStore>, _: u64) -> Self {
        Self
    }
}

impl World {
    pub(super) fn begin_transfer(
        &mut self,
        _node: NodeId,
        process: &mut Process,
        to: NodeId,
        _at_least: Index,
        _tell: &mut Tell<'_, '_>,
    ) {
        process.inbox.push(Item::Input("snapshot sent", DriverInput::SnapshotSent { to, delivered: None }));
    }

    pub(super) fn take_frame(&mut self, _: NodeId, _: NodeId, _: SnapshotFrame, _: &mut Tell<'_, '_>) {}

    pub(super) fn transfer(&mut self, _: NodeId, _: u32, _: &mut Tell<'_, '_>) {}

    pub(super) fn tidy_snapshots(&mut self, _: NodeId, _: &mut Tell<'_, '_>) {}
}
