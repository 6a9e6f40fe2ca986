//! The apply thread: everything committed in as few calls as possible, readers between them, results with one wake-up.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use d_engine_raft::{Configuration, Entry, EntryKind, Index, LogId, RequestId, WallMicros};

use super::apply::{ApplyQueue, ApplyTask, InHand, end_task};
use super::calls::{Proposal, Query};
use super::division::{Division, From, Part, Parts};
use super::inbox::Inbox;
use super::shared::Shared;
use super::snapshots::SnapshotTask;
use super::{Queue, sidecar};
use crate::driver::{DriverInput, Piece, Sessions, Wanted};
use crate::error::{NodeError, PluginFailure};
use crate::metrics::{add, count, set};
use crate::traits::{Applied, Batch, Level, SnapshotStore, StateMachine};

/// What the state machine holds.
#[derive(Clone, Debug)]
pub struct Position {
    pub last: LogId,
    pub time: WallMicros,
    pub configuration: (Index, Configuration),
}

/// Everything of the apply thread but the machine.
pub struct Applier<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub queue: Arc<ApplyQueue<S>>,
    pub snapshots: Arc<Queue<SnapshotTask>>,
    pub store: Arc<dyn SnapshotStore>,
    pub position: Position,
    pub sessions: Sessions,
    /// The machine keeps its own position.
    pub durable: bool,
    pub stopped: bool,
    /// Proposals whose rest is still to come.
    pub partial: HashMap<RequestId, Pieces<S::Output>>,
    pub in_hand: Vec<InHand<S::Output>>,
}

/// What a waiter has so far: outputs from its first entry on, and why there are no more.
pub struct Pieces<O> {
    outputs: Vec<O>,
    error: Option<NodeError>,
}

impl<O> Default for Pieces<O> {
    fn default() -> Self {
        Self { outputs: Vec::new(), error: None }
    }
}

/// How a waiter's range ends.
enum End {
    More,
    Last,
    Cut(NodeError),
}

struct Slot {
    id: RequestId,
    /// One beyond the last position in the batch.
    stop: usize,
    end: End,
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

    fn round(&mut self, machine: &mut S, round: Vec<ApplyTask<S>>) {
        let mut entries = Vec::new();
        let mut wanted: Vec<Wanted<Proposal<S::Output>>> = Vec::new();
        for task in round {
            match task {
                ApplyTask::Apply { entries: more, wanted: waiters } => {
                    let shift = entries.len();
                    entries.extend(more);
                    wanted.extend(
                        waiters
                            .into_iter()
                            .map(|one| Wanted { range: one.range.start + shift..one.range.end + shift, ..one }),
                    );
                }
                other => {
                    self.apply(machine, &entries, std::mem::take(&mut wanted));
                    entries.clear();
                    self.other(machine, other);
                }
            }
        }
        self.apply(machine, &entries, wanted);
    }

    fn other(&mut self, machine: &mut S, task: ApplyTask<S>) {
        match task {
            ApplyTask::Query { query, index } => self.query(machine, query, index),
            ApplyTask::Restore(last) => self.restore(machine, last),
            ApplyTask::Fail { id, proposal, error } => {
                let pieces = self.partial.remove(&id).unwrap_or_default();
                proposal.finish(&self.shared, pieces.outputs, pieces.error.or(Some(error)));
            }
            ApplyTask::TakeSnapshot => self.take_snapshot(machine),
            ApplyTask::Apply { .. } => {}
        }
    }

    fn query(&self, machine: &mut S, query: Query<S>, index: Index) {
        if self.shared.is_witness() {
            query.fail(&self.shared, self.shared.witness());
        } else if self.position.last.index >= index {
            query.run(&self.shared, machine, self.position.last.index);
        } else {
            query.fail(&self.shared, self.shared.apply_stopped());
        }
    }

    fn apply(&mut self, machine: &mut S, entries: &[Entry], wanted: Vec<Wanted<Proposal<S::Output>>>) {
        let Some(last) = entries.last() else { return };
        let (last, last_time) = (last.id(), last.time());
        if self.stopped {
            self.refuse(wanted);
            return;
        }
        if self.shared.is_witness() {
            self.pass_over(entries, wanted);
            return;
        }
        let bytes: usize = entries.iter().map(Entry::size).sum();
        let (ranges, slots) = self.sort(wanted);
        let division = Division::new(entries, ranges, &mut self.sessions);
        let mut applied = self.call(machine, division.commands(entries), last, last_time, &division);
        let through =
            applied.failure.as_ref().map_or(entries.len(), |(applied, _)| division.through(entries, *applied));
        let answers = division.settle(std::mem::take(&mut applied.kept), entries, &mut self.sessions);
        set(&self.shared.counters.sessions, self.sessions.len());
        self.advance(&entries[..through]);
        self.finish(machine, applied, slots, division.parts, &answers, through, entries);
        let done = entries[..through].iter().map(Entry::size).sum::<usize>().min(bytes);
        self.inbox.report(DriverInput::Applied { last: self.position.last, bytes: done as u64 });
        if self.stopped {
            self.inbox.report(DriverInput::ApplyStopped);
        }
    }

    /// Puts the waiters where they can be reached meanwhile, and keeps what tells how to answer them.
    fn sort(&mut self, wanted: Vec<Wanted<Proposal<S::Output>>>) -> (Vec<Range<usize>>, Vec<Slot>) {
        let (mut ranges, mut slots) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len()));
        self.in_hand.clear();
        for Wanted { range, id, deadline, piece } in wanted {
            let (proposal, end) = match piece {
                Piece::More => (None, End::More),
                Piece::Last(proposal) => (Some(proposal), End::Last),
                Piece::Cut(proposal, failure) => (Some(proposal), End::Cut(self.shared.describe(&failure))),
            };
            slots.push(Slot { id, stop: range.end, end });
            ranges.push(range);
            self.in_hand.push(InHand { deadline, proposal });
        }
        (ranges, slots)
    }

    fn call(
        &mut self,
        machine: &mut S,
        commands: &[Entry],
        last: LogId,
        time: WallMicros,
        division: &Division,
    ) -> Applied<S::Output> {
        if commands.is_empty() && !self.durable {
            return Applied::all(Vec::new());
        }
        let sidecar = if self.durable { sidecar::encode(last, time, &self.sessions) } else { Vec::new() };
        let (wanted, keep) = (&division.ranges, &division.keep);
        let batch = Batch { entries: commands, last, sidecar: &sidecar, wanted, keep };
        self.queue.hold(&mut self.in_hand);
        let applied = machine.apply(&batch);
        self.queue.release(&mut self.in_hand);
        add(&self.shared.counters.apply_batches, 1);
        count(&self.shared.counters.applied_entries, commands.len());
        count(&self.shared.counters.applied_bytes, commands.iter().map(Entry::size).sum());
        applied
    }

    pub(super) fn advance(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration) {
            match Configuration::decode(&entry.payload()) {
                Ok(configuration) => self.position.configuration = (entry.index(), configuration),
                Err(error) => self.shared.record_at(Level::Error, "apply", None, Some(entry.index()), || {
                    format!("the committed configuration cannot be read: {error}")
                }),
            }
        }
        if let Some(entry) = entries.last() {
            self.position.last = entry.id();
            self.position.time = entry.time();
            self.shared.set_applied(entry.index());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what came of one batch, taken apart")]
    fn finish(
        &mut self,
        machine: &mut S,
        applied: Applied<S::Output>,
        slots: Vec<Slot>,
        parts: Vec<Parts>,
        answers: &BTreeMap<Index, Option<Bytes>>,
        through: usize,
        entries: &[Entry],
    ) {
        let failure = applied.failure.map(|(_, failure)| match entries.get(through) {
            Some(entry) => failure.at(entry.index()),
            None => failure,
        });
        if let Some(failure) = failure {
            self.stopped = true;
            self.shared.stop_applying(failure);
        }
        let mut outputs = applied.outputs.into_iter();
        let mut waiters = std::mem::take(&mut self.in_hand);
        for ((slot, parts), waiter) in slots.into_iter().zip(parts).zip(waiters.drain(..)) {
            let mut pieces = self.partial.remove(&slot.id).unwrap_or_default();
            match parts {
                Parts::Whole => {
                    let complete = slot.stop <= through;
                    self.add(&mut pieces, outputs.next().ok_or_else(|| self.shared.apply_stopped()), complete);
                }
                Parts::Several(parts) => {
                    for Part { stop, from } in parts {
                        let output = match from {
                            From::Machine => outputs.next().ok_or_else(|| self.shared.apply_stopped()),
                            from => self.answer(machine, from, answers),
                        };
                        self.add(&mut pieces, output, stop <= through);
                    }
                }
            }
            let error = match slot.end {
                End::More => {
                    self.partial.insert(slot.id, pieces);
                    continue;
                }
                End::Cut(error) => Some(error),
                End::Last => None,
            };
            if let Some(proposal) = waiter.proposal {
                proposal.finish(&self.shared, pieces.outputs, pieces.error.or(error));
            }
        }
        self.in_hand = waiters;
    }

    /// Adds the next output, unless there is a gap before it.
    fn add(&self, pieces: &mut Pieces<S::Output>, output: Result<S::Output, NodeError>, complete: bool) {
        if pieces.error.is_some() {
            return;
        }
        match output {
            Ok(output) => {
                pieces.outputs.push(output);
                pieces.error = (!complete).then(|| self.shared.apply_stopped());
            }
            Err(error) => pieces.error = Some(error),
        }
    }

    /// What an entry that the machine was not given has for an answer.
    fn answer(
        &self,
        machine: &mut S,
        from: From,
        answers: &BTreeMap<Index, Option<Bytes>>,
    ) -> Result<S::Output, NodeError> {
        let node = self.shared.id;
        match from {
            From::Table { index, session, sequence } => {
                add(&self.shared.counters.repeated_entries, 1);
                let kept = answers.get(&index).and_then(Option::as_ref);
                kept.and_then(|kept| machine.load(kept)).ok_or(NodeError::ResultLost { node, session, sequence })
            }
            From::Opened(session) => {
                machine.opened(session).ok_or(NodeError::ResultLost { node, session, sequence: 0 })
            }
            From::Expired(session) => Err(NodeError::SessionExpired { node, session }),
            From::Machine => Err(self.shared.apply_stopped()),
        }
    }

    fn refuse(&mut self, wanted: Vec<Wanted<Proposal<S::Output>>>) {
        for Wanted { id, piece, .. } in wanted {
            if let Piece::Last(proposal) | Piece::Cut(proposal, _) = piece {
                let pieces = self.partial.remove(&id).unwrap_or_default();
                proposal.finish(&self.shared, pieces.outputs, Some(self.shared.apply_stopped()));
            }
        }
    }

    /// Ends apply for good: reported once.
    pub(super) fn stop(&mut self, failure: PluginFailure) {
        self.stopped = true;
        self.shared.stop_applying(failure);
        self.inbox.report(DriverInput::ApplyStopped);
    }
}
