//! Disks in trouble.

use d_engine_raft::NodeId;

use crate::fact::Fault;
use crate::world::{Standing, World};

impl World {
    /// A disk will fail at one of its next operations, or takes nothing more.
    pub(super) fn trouble_disk(&mut self, node: NodeId, fault: Fault, dice: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let files = &host.disk.files;
        host.disk.troubled = true;
        match fault {
            Fault::TornWrite => files.cut_after(dice % 12),
            Fault::WriteFails => files.fail_write(dice % 6),
            Fault::SyncFails => files.fail_sync(dice % 6),
            _ => files.set_capacity(Some(1)),
        }
    }

    /// There is room again.
    pub(super) fn relieve_disk(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.disk.files.set_capacity(None);
        }
    }

    /// Changes what stands on a disk, where it was durable and vouched for. `false`: there is nothing of that kind.
    pub(super) fn damage(&mut self, node: NodeId, fault: Fault, dice: u64) -> bool {
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let done = host.disk.damage(fault, dice);
        if done {
            host.standing = Standing::Damaged;
            host.disk.troubled = true;
        }
        done
    }
}
