//! The log threads of a node: two batches deep, one being written while the other is synced.

use d_engine_node::driver::DriverInput;
use d_engine_node::storage::LogBatch;
use d_engine_raft::{Entry, EntryKind, Micros, NodeId, mutants};

use super::host::Process;
use super::{Event, Tell, World};
use crate::fact::{End, Fact};

const WRITE: (Micros, Micros) = (10, 60);
const SYNC: (Micros, Micros) = (60, 500);
/// Without a write for so long, the last batch is vouched for.
const IDLE: Micros = 100_000;

impl World {
    fn disk_time(&mut self, node: NodeId, (shortest, longest): (Micros, Micros)) -> Micros {
        let pace = self.hosts.get(&node).map_or(1, |host| host.disk_pace);
        self.streams.disk.between(shortest, longest) * pace
    }

    /// Begins to write what waits, if the threads are free to.
    pub(crate) fn kick_log(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.disk_stalled || host.paused > 0 {
            return;
        }
        let life = host.life;
        let Some(process) = host.process.as_mut() else { return };
        let lane = &mut process.log_lane;
        // A purge changes files that a write uses: the next write waits for it.
        let purging = lane.syncing.as_ref().is_some_and(|batch| batch.purge.is_some());
        if lane.tasks.is_empty() || lane.writing.is_some() || lane.written.is_some() || purging {
            return;
        }
        let batch = LogBatch::collect(&mut lane.tasks, self.config.max_sync_bytes);
        lane.last_write = self.now;
        if !batch.units.is_empty() {
            lane.unvouched = true;
            if let Err(error) = process.log.write(&batch.units) {
                return self.storage_failed(node, &error.to_string(), tell);
            }
        }
        process.log_lane.writing = Some(batch);
        self.plan_idle(node);
        let time = self.disk_time(node, WRITE);
        self.agenda.add(self.now + time, Event::Written { node, life });
    }

    pub(super) fn written(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(mut process) = self.take_process(node, life, || Event::Written { node, life }) else { return };
        process.log_lane.written = process.log_lane.writing.take();
        self.put_back(node, process);
        self.kick_sync(node, tell);
    }

    /// Begins to sync what is written, if nothing is being synced.
    pub(crate) fn kick_sync(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node).filter(|host| !host.disk_stalled && host.paused == 0) else {
            return;
        };
        let life = host.life;
        let Some(process) = host.process.as_mut() else { return };
        let lane = &mut process.log_lane;
        if lane.syncing.is_none() && lane.written.is_some() {
            lane.syncing = lane.written.take();
            let time = self.disk_time(node, SYNC);
            self.agenda.add(self.now + time, Event::Synced { node, life });
        }
        self.kick_log(node, tell);
    }

    pub(super) fn synced(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(mut process) = self.take_process(node, life, || Event::Synced { node, life }) else { return };
        let batch = process.log_lane.syncing.take();
        let done = batch.map_or(Ok(()), |batch| self.finish_batch(node, &mut process, &batch, tell));
        self.put_back(node, process);
        if let Err(error) = done {
            return self.storage_failed(node, &error, tell);
        }
        self.plan_turn(node);
        self.kick_sync(node, tell);
    }

    fn finish_batch(
        &mut self,
        node: NodeId,
        process: &mut Process,
        batch: &LogBatch,
        tell: &mut Tell<'_, '_>,
    ) -> Result<(), String> {
        if let Some(token) = batch.token() {
            process.log.sync().map_err(|error| error.to_string())?;
            tell.fact(&Fact::Durable { node, token });
            let input = DriverInput::Persisted(token);
            process.inbox.push(super::host::Item::Input("persisted", input));
        }
        if let Some(upto) = batch.purge {
            process.log.purge(upto).map_err(|error| error.to_string())?;
            tell.fact(&Fact::Purged { node, upto });
        }
        process.log_lane.last_write = self.now;
        Ok(())
    }

    fn plan_idle(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let life = host.life;
        let Some(process) = host.process.as_mut() else { return };
        if !process.log_lane.idle_planned {
            process.log_lane.idle_planned = true;
            // A disk that hangs is looked after now and then.
            let at = (process.log_lane.last_write + IDLE).max(self.now + IDLE / 4);
            self.agenda.add(at, Event::Idle { node, life });
        }
    }

    /// Vouches for the last batch, if nothing was written since.
    pub(super) fn idle(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(mut process) = self.take_process(node, life, || Event::Idle { node, life }) else { return };
        let lane = &mut process.log_lane;
        lane.idle_planned = false;
        let busy = lane.writing.is_some() || lane.written.is_some() || lane.syncing.is_some() || !lane.tasks.is_empty();
        let mut failed = None;
        if busy || lane.last_write + IDLE > self.now {
            self.put_back(node, process);
            return self.plan_idle(node);
        }
        if std::mem::take(&mut lane.unvouched)
            && let Err(error) = process.log.idle()
        {
            failed = Some(error.to_string());
        }
        self.put_back(node, process);
        if let Some(error) = failed {
            self.storage_failed(node, &error, tell);
        }
    }

    pub(super) fn fetched(
        &mut self,
        node: NodeId,
        life: u32,
        id: u64,
        (lo, hi): (u64, u64),
        max_bytes: usize,
        tell: &mut Tell<'_, '_>,
    ) {
        let again = || Event::Fetched { node, life, id, range: (lo, hi), max_bytes };
        let Some(process) = self.take_process(node, life, again) else { return };
        let read = process.log.read(lo, hi, max_bytes);
        self.put_back(node, process);
        match read {
            Ok(Some(entries)) if mutants::on("33-another-entry") => {
                let another = |entry: &Entry| match entry.kind() {
                    EntryKind::Command => Entry::new(
                        entry.id(),
                        entry.kind(),
                        entry.time(),
                        entry.session(),
                        entry.sequence(),
                        0,
                        &[0; 16],
                    ),
                    _ => entry.clone(),
                };
                let entries = Some(entries.iter().map(another).collect());
                self.report(node, "fetched", DriverInput::Fetched { id, entries });
            }
            Ok(entries) => self.report(node, "fetched", DriverInput::Fetched { id, entries }),
            Err(error) => self.storage_failed(node, &error.to_string(), tell),
        }
    }

    /// The power may have gone in the middle of what was done with files just now.
    pub(crate) fn check_power(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        if self.hosts.get(&node).is_some_and(|host| host.disk.files.is_dead()) {
            self.lose_power(node, tell);
        }
    }

    /// What the disk holds is no longer known: the node stops.
    pub(super) fn storage_failed(&mut self, node: NodeId, error: &str, tell: &mut Tell<'_, '_>) {
        let dead = self.hosts.get(&node).is_some_and(|host| host.disk.files.is_dead());
        if dead {
            // The disk is not to blame: the power has gone in the middle of its work.
            return self.lose_power(node, tell);
        }
        self.end_process(node, &End::Storage(error.to_owned()), tell);
    }
}
