//! The apply thread of a node, and its snapshots.

use bytes::Bytes;
use d_engine_node::apply::{Ended, Slot, Trouble, Why};
use d_engine_node::driver::DriverInput;
use d_engine_raft::{Entry, Index, Micros, NodeId, mutants};

use super::calls::failed;
use super::host::{ApplyTask, Item, Process};
use super::{Event, Tell, World};
use crate::fact::{End, Fact, Outcome};

/// One round, and each entry of it.
const ROUND: (Micros, Micros) = (5, 40);
const ENTRY: Micros = 2;
const SNAPSHOT: (Micros, Micros) = (300, 8_000);
const MAX_ENTRIES: usize = 8_192;
/// What a caller hears whose session has expired.
pub(crate) const SESSION_IS_GONE: &str = "the session is not known";

impl World {
    /// Begins a round, if something waits and the thread is free.
    pub(super) fn kick_apply(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.apply_hangs || host.paused > 0 {
            return;
        }
        let (life, pace) = (host.life, host.apply_pace);
        let Some(process) = host.process.as_mut() else { return };
        let lane = &mut process.apply_lane;
        if lane.busy || lane.tasks.is_empty() {
            return;
        }
        let mut entries = 0;
        while entries < MAX_ENTRIES
            && let Some(task) = lane.tasks.pop_front()
        {
            if let ApplyTask::Apply { entries: more, .. } = &task {
                entries += more.len();
            }
            lane.round.push(task);
        }
        lane.busy = true;
        let time = self.streams.machines.between(ROUND.0, ROUND.1) + ENTRY * entries as u64;
        self.agenda.add(self.now + time * pace, Event::Applied { node, life });
    }

    /// A round is over: what it did is seen now.
    pub(super) fn applied(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        if let Some(host) = self.hosts.get_mut(&node)
            && host.life == life
            && host.apply_hangs
        {
            host.deferred.push(Event::Applied { node, life });
            return;
        }
        let Some(mut process) = self.take_process(node, life, || Event::Applied { node, life }) else { return };
        process.machine.troubles = self.hosts.get(&node).map(|host| host.troubles).unwrap_or_default();
        process.apply_lane.busy = false;
        let round = std::mem::take(&mut process.apply_lane.round);
        let ended = self.round(node, &mut process, round, tell);
        self.put_back(node, process);
        match ended {
            Ok(()) => {
                self.plan_turn(node);
                self.kick_apply(node);
                self.check_power(node, tell);
            }
            Err(why) => self.end_process(node, &End::Storage(why), tell),
        }
    }

    fn round(
        &mut self,
        node: NodeId,
        process: &mut Process,
        round: Vec<ApplyTask>,
        tell: &mut Tell<'_, '_>,
    ) -> Result<(), String> {
        let mut batch = Batch::default();
        for task in round {
            if let ApplyTask::Apply { entries, wanted } = task {
                let shift = batch.entries.len();
                batch.entries.extend(entries);
                for one in wanted {
                    let first = batch.entries.get(one.range.start + shift).map_or(0, Entry::index);
                    let (slot, waiter) = Slot::of(one, shift);
                    batch.slots.push(slot);
                    batch.waiters.push((waiter, first));
                }
                continue;
            }
            self.apply_batch(node, process, std::mem::take(&mut batch), tell);
            self.other(node, process, &task, tell)?;
        }
        self.apply_batch(node, process, batch, tell);
        Ok(())
    }

    fn apply_batch(&mut self, node: NodeId, process: &mut Process, batch: Batch, tell: &mut Tell<'_, '_>) {
        let Batch { entries, slots, waiters } = batch;
        if entries.is_empty() {
            return;
        }
        process.machine.given.clear();
        let done = process.state.apply(&mut process.machine, &entries, slots, d_engine_node::StateMachine::apply);
        if let Some((last, bytes)) = done.applied {
            let through = entries.iter().take_while(|entry| entry.index() <= last.index).count();
            let state = process.machine.machine.digest();
            let given = &process.machine.given;
            tell.fact(&Fact::Applied { node, entries: &entries[..through], given, state });
            process.inbox.push(Item::Input("applied", DriverInput::Applied { last, bytes }));
        }
        if done.failure.is_some() {
            process.inbox.push(Item::Input("apply stopped", DriverInput::ApplyStopped));
        }
        for ((waiter, index), ended) in waiters.into_iter().zip(done.ended) {
            if let (Some(call), Some(ended)) = (waiter, ended) {
                self.complete_applied(call, index, ended, tell);
            }
        }
    }

    fn complete_applied(&mut self, call: u64, index: Index, ended: Ended<Vec<Bytes>>, tell: &mut Tell<'_, '_>) {
        let Some(open) = self.calls.get(call) else { return };
        let result = ended.outputs.into_iter().flatten().next();
        let outcome = match (result, ended.why) {
            (Some(result), None) => open.outcome(index, result),
            (_, Some(why)) => refused(why),
            (None, None) => Outcome::Unknown("no result".into()),
        };
        self.complete(call, outcome, tell);
    }

    fn other(
        &mut self,
        node: NodeId,
        process: &mut Process,
        task: &ApplyTask,
        tell: &mut Tell<'_, '_>,
    ) -> Result<(), String> {
        match *task {
            ApplyTask::Query { id, index } => {
                let outcome = match process.state.check_read(index) {
                    Ok(()) => self.calls.read(id, process.machine.machine.as_mut(), process.state.last().index),
                    Err(why) => refused(why),
                };
                self.complete(id, outcome, tell);
            }
            ApplyTask::Restore(last) => {
                match process.state.restore(&mut process.machine, process.snapshots.as_ref(), last) {
                    Ok(true) => {
                        let last = process.state.last();
                        let state = process.machine.machine.digest();
                        tell.fact(&Fact::Restored { node, last, state });
                        process.inbox.push(Item::Input("restored", DriverInput::Applied { last, bytes: 0 }));
                    }
                    Ok(false) => {}
                    Err(Trouble::Plugin(_)) => {
                        process.inbox.push(Item::Input("apply stopped", DriverInput::ApplyStopped));
                    }
                    Err(Trouble::Storage(error)) => return Err(error.to_string()),
                }
            }
            ApplyTask::Fail { id, waiter, failure } => {
                let ended = process.state.fail(id, failure);
                self.complete(waiter, ended.why.map_or_else(|| failed(&failure), refused), tell);
            }
            ApplyTask::TakeSnapshot => self.take_snapshot(node, process),
            ApplyTask::Apply { .. } => {}
        }
        Ok(())
    }

    fn take_snapshot(&mut self, node: NodeId, process: &mut Process) {
        let Some(host) = self.hosts.get(&node) else { return };
        let Some(hello) = &host.hello else { return };
        match process.state.snapshot(&mut process.machine, process.snapshots.as_ref(), hello) {
            Ok(Some(making)) => {
                process.making = Some(making);
                let time = self.streams.machines.between(SNAPSHOT.0, SNAPSHOT.1) * host.disk_pace;
                self.agenda.add(self.now + time, Event::Made { node, life: host.life });
            }
            Ok(None) | Err(_) => process.inbox.push(Item::Input("no snapshot", DriverInput::SnapshotFailed)),
        }
    }

    /// A snapshot is written: it is committed now.
    pub(super) fn made(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        if let Some(host) = self.hosts.get_mut(&node)
            && host.life == life
            && host.snapshot_hangs
        {
            host.deferred.push(Event::Made { node, life });
            return;
        }
        let Some(mut process) = self.take_process(node, life, || Event::Made { node, life }) else { return };
        let finished = process.making.take().map(|making| making.finish(process.snapshots.as_ref()));
        match finished {
            Some(Ok(head)) => {
                let (last, bytes) = (head.last, head.size);
                tell.fact(&Fact::SnapshotKept { node, last, bytes, received: false });
                if mutants::on("27-older-restored") {
                    let state = process.machine.machine.digest();
                    tell.fact(&Fact::Restored { node, last, state });
                }
                process.inbox.push(Item::Input("snapshot", DriverInput::SnapshotTaken(last)));
            }
            Some(Err(_)) => process.inbox.push(Item::Input("no snapshot", DriverInput::SnapshotFailed)),
            None => {}
        }
        self.put_back(node, process);
        self.plan_turn(node);
        self.tidy_snapshots(node, tell);
    }
}

/// Entries that are applied in one call, and who waits for which.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    slots: Vec<Slot>,
    waiters: Vec<(Option<u64>, Index)>,
}

fn refused(why: Why) -> Outcome {
    match why {
        Why::Failure(failure) => failed(&failure),
        // This entry was not applied, but an earlier attempt may have been, before the session was dropped.
        Why::Expired { .. } => Outcome::Unknown(SESSION_IS_GONE.into()),
        Why::ResultLost { .. } => Outcome::Unknown("applied before, and its result is lost".into()),
        Why::Passed => Outcome::Unknown("a witness gives no results".into()),
        Why::Witness => Outcome::Refused("a witness has no state".into()),
    }
}
