//! The apply thread: everything committed in as few calls as possible, readers between them, results with one wake-up.

use std::sync::Arc;

use d_engine_raft::{Entry, Index, LogId};

use super::Queue;
use super::apply::{ApplyQueue, ApplyTask, InHand, end_task};
use super::calls::{Proposal, Query};
use super::inbox::{Inbox, Item};
use super::shared::Shared;
use super::snapshots::SnapshotTask;
use crate::apply::{AppliedState, Ended, Slot, Trouble, Why};
use crate::driver::{DriverInput, Wanted};
use crate::error::{NodeError, PluginFailure};
use crate::metrics::{add, count, set};
use crate::recover::Recovered;
use crate::traits::{Applied, Batch, Level, SnapshotStore, StateMachine};

/// The apply thread: the rule, and what it is connected with.
pub struct Applier<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub queue: Arc<ApplyQueue<S>>,
    pub snapshots: Arc<Queue<SnapshotTask>>,
    pub store: Arc<dyn SnapshotStore>,
    pub state: AppliedState<S::Output>,
    pub in_hand: Vec<InHand<S::Output>>,
}

impl<S: StateMachine> Applier<S> {
    pub fn run(mut self, mut machine: S) {
        let bounds = (self.shared.config.max_apply_entries, self.shared.config.max_apply_bytes);
        loop {
            let taken = self.queue.tasks.take(None, |tasks| {
                let (mut entries, mut bytes, mut round) = (0, 0, Vec::with_capacity(tasks.len().min(256)));
                while let Some(task) = tasks.front() {
                    let size = task.size();
                    if entries > 0 && (entries + size.0 > bounds.0 || bytes + size.1 > bounds.1) {
                        break;
                    }
                    entries += size.0;
                    bytes += size.1;
                    round.extend(tasks.pop_front());
                }
                set(&self.shared.counters.apply_queue, tasks.len());
                round
            });
            let Some(round) = taken else { return };
            if self.shared.is_stopped() {
                for task in round {
                    end_task(&self.shared, task);
                }
                self.queue.end(&self.shared);
                return;
            }
            let mut round = Some(round);
            machine.round(&mut |machine| self.round(machine, round.take().unwrap_or_default()));
        }
    }

    /// Brings the machine to where the log goes on.
    pub fn bring_up(&mut self, machine: &mut S, recovered: &Recovered) -> Result<LogId, NodeError> {
        self.state.set_witness(self.shared.is_witness());
        let node = self.shared.id;
        self.state.bring_up(machine, self.store.as_ref(), recovered).map_err(|trouble| trouble.at(node))?;
        self.shared.set_applied(self.state.last().index);
        Ok(self.state.last())
    }

    fn round(&mut self, machine: &mut S, round: Vec<ApplyTask<S>>) {
        let (mut entries, mut slots) = (Vec::new(), Vec::new());
        for task in round {
            match task {
                ApplyTask::Apply { entries: more, wanted } => {
                    let shift = entries.len();
                    entries.extend(more);
                    slots.extend(wanted.into_iter().map(|one| self.take(one, shift)));
                }
                other => {
                    self.apply(machine, &entries, std::mem::take(&mut slots));
                    entries.clear();
                    self.other(machine, other);
                }
            }
        }
        self.apply(machine, &entries, slots);
    }

    /// Puts a waiter where it can be reached meanwhile.
    fn take(&mut self, wanted: Wanted<Proposal<S::Output>>, shift: usize) -> Slot {
        let deadline = wanted.deadline;
        let (slot, proposal) = Slot::of(wanted, shift);
        self.in_hand.push(InHand { deadline, proposal });
        slot
    }

    fn other(&mut self, machine: &mut S, task: ApplyTask<S>) {
        self.state.set_witness(self.shared.is_witness());
        match task {
            ApplyTask::Query { query, index } => self.query(machine, query, index),
            ApplyTask::Restore(last) => self.restore(machine, last),
            ApplyTask::Fail { id, proposal, failure } => {
                let ended = self.state.fail(id, failure);
                self.finish(proposal, ended);
            }
            ApplyTask::TakeSnapshot => self.take_snapshot(machine),
            ApplyTask::Apply { .. } => {}
        }
    }

    fn query(&self, machine: &mut S, query: Query<S>, index: Index) {
        match self.state.check_read(index) {
            Ok(()) => query.run(&self.shared, machine, self.state.last().index),
            Err(why) => query.fail(&self.shared, self.describe(&why)),
        }
    }

    fn apply(&mut self, machine: &mut S, entries: &[Entry], slots: Vec<Slot>) {
        if entries.is_empty() {
            return;
        }
        self.state.set_witness(self.shared.is_witness());
        let (queue, shared, in_hand) = (&self.queue, &self.shared, &mut self.in_hand);
        let call = |machine: &mut S, batch: &Batch<'_>| call(queue, shared, in_hand, machine, batch);
        let done = self.state.apply(machine, entries, slots, call);
        set(&self.shared.counters.sessions, self.state.sessions().len());
        add(&self.shared.counters.repeated_entries, done.repeated);
        if let Some((index, why)) = done.unreadable {
            self.shared.record_at(Level::Error, "apply", None, Some(index), || {
                format!("the committed configuration cannot be read: {why}")
            });
        }
        // Before anybody hears of a result, and of why there is none.
        self.shared.set_applied(self.state.last().index);
        let stopped = done.failure.is_some();
        if let Some(failure) = done.failure {
            self.shared.stop_applying(failure);
        }
        let mut waiters = std::mem::take(&mut self.in_hand);
        for (waiter, ended) in waiters.drain(..).zip(done.ended) {
            if let (Some(proposal), Some(ended)) = (waiter.proposal, ended) {
                self.finish(proposal, ended);
            }
        }
        self.in_hand = waiters;
        if let Some((last, bytes)) = done.applied {
            self.inbox.report(DriverInput::Applied { last, bytes });
        }
        if stopped {
            self.inbox.report(DriverInput::ApplyStopped);
        }
    }

    fn finish(&self, proposal: Proposal<S::Output>, ended: Ended<S::Output>) {
        proposal.finish(&self.shared, ended.outputs, ended.why.map(|why| self.describe(&why)));
    }

    fn describe(&self, why: &Why) -> NodeError {
        let node = self.shared.id;
        match *why {
            Why::Failure(failure) => self.shared.describe(&failure),
            Why::ResultLost { session, sequence } => NodeError::ResultLost { node, session, sequence },
            Why::Expired { session } => NodeError::SessionExpired { node, session },
            Why::Passed => {
                let why = "this node has become a witness and gives no results".to_owned();
                NodeError::OutcomeUnknown { node, why }
            }
            Why::Witness => self.shared.witness(),
        }
    }

    fn restore(&mut self, machine: &mut S, last: LogId) {
        let restored = self.state.restore(machine, self.store.as_ref(), last);
        self.shared.set_applied(self.state.last().index);
        match restored {
            Ok(false) => {}
            Ok(true) => {
                add(&self.shared.counters.snapshots_installed, 1);
                self.inbox.report(DriverInput::Applied { last: self.state.last(), bytes: 0 });
            }
            Err(Trouble::Plugin(failure)) => self.stop(failure),
            Err(Trouble::Storage(error)) => {
                self.shared.fail(NodeError::Storage { node: self.shared.id, error });
                drop(self.inbox.push(Item::Stop));
            }
        }
    }

    /// Ends apply for good: reported once.
    fn stop(&self, failure: PluginFailure) {
        self.shared.stop_applying(failure);
        self.inbox.report(DriverInput::ApplyStopped);
    }
}

/// Calls the machine, with the waiters where others can reach them.
fn call<S: StateMachine>(
    queue: &ApplyQueue<S>,
    shared: &Shared,
    in_hand: &mut Vec<InHand<S::Output>>,
    machine: &mut S,
    batch: &Batch<'_>,
) -> Applied<S::Output> {
    queue.hold(in_hand);
    let applied = machine.apply(batch);
    queue.release(in_hand);
    add(&shared.counters.apply_batches, 1);
    count(&shared.counters.applied_entries, batch.entries.len());
    count(&shared.counters.applied_bytes, batch.entries.iter().map(Entry::size).sum());
    applied
}
