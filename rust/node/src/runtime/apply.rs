//! The apply thread's queue, and what it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use d_engine_raft::{Entries, Entry, Index, LogId, Micros, RequestId};

use super::Queue;
use super::calls::{Proposal, Query};
use super::park::lock;
use super::shared::Shared;
use crate::driver::{Failure, Piece, Unknown, Wanted};
use crate::error::NodeError;
use crate::traits::StateMachine;

/// One thing for the apply thread.
pub enum ApplyTask<S: StateMachine> {
    Apply {
        entries: Entries,
        wanted: Vec<Wanted<Proposal<S::Output>>>,
    },
    Query {
        query: Query<S>,
        index: Index,
    },
    Restore(LogId),
    /// A proposal of which pieces were applied ends without the rest.
    Fail {
        id: RequestId,
        proposal: Proposal<S::Output>,
        failure: Failure,
    },
    TakeSnapshot,
}

impl<S: StateMachine> ApplyTask<S> {
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Apply { entries, .. } => (entries.len(), entries.iter().map(Entry::size).sum()),
            _ => (0, 0),
        }
    }
}

/// A proposal whose entries are in the state machine at this moment.
pub struct InHand<O> {
    pub deadline: Option<Micros>,
    /// Taken out when its time is over.
    pub proposal: Option<Proposal<O>>,
}

/// The queue, and the waiters that the apply thread holds while the machine runs: whoever hangs in there, the waiters get
/// their answers in time.
pub struct ApplyQueue<S: StateMachine> {
    pub tasks: Queue<ApplyTask<S>>,
    in_hand: Mutex<Vec<InHand<S::Output>>>,
    earliest: AtomicU64,
}

/// Scans for what has expired come at least this far apart.
const SCAN_INTERVAL: Micros = 10_000;

impl<S: StateMachine> Default for ApplyQueue<S> {
    fn default() -> Self {
        Self { tasks: Queue::default(), in_hand: Mutex::default(), earliest: AtomicU64::new(Micros::MAX) }
    }
}

impl<S: StateMachine> ApplyQueue<S> {
    pub fn push(&self, shared: &Arc<Shared>, tasks: &mut Vec<ApplyTask<S>>) {
        if tasks.is_empty() {
            return;
        }
        let earliest = tasks.iter().filter_map(earliest_of).min();
        if let Some(earliest) = earliest {
            self.earliest.fetch_min(earliest, Ordering::Relaxed);
        }
        if self.tasks.closed() {
            for task in tasks.drain(..) {
                end_task(shared, task);
            }
        } else {
            self.tasks.push_all(tasks.drain(..));
        }
    }

    /// Puts the waiters where others can reach them during a call of the machine.
    pub fn hold(&self, waiters: &mut Vec<InHand<S::Output>>) {
        std::mem::swap(&mut *lock(&self.in_hand), waiters);
    }

    /// Takes them back.
    pub fn release(&self, waiters: &mut Vec<InHand<S::Output>>) {
        std::mem::swap(&mut *lock(&self.in_hand), waiters);
    }

    /// When `expire` is worth a call.
    pub fn deadline(&self) -> Option<Micros> {
        let earliest = self.earliest.load(Ordering::Relaxed);
        (earliest != Micros::MAX).then_some(earliest)
    }

    /// Ends every wait whose time is over, in the queue and in the machine.
    pub fn expire(&self, shared: &Arc<Shared>, now: Micros) {
        if self.earliest.swap(Micros::MAX, Ordering::Relaxed) > now {
            return;
        }
        let due = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= now);
        let mut late = Vec::new();
        let mut next = Micros::MAX;
        for waiter in lock(&self.in_hand).iter_mut() {
            if due(waiter.deadline) {
                late.extend(waiter.proposal.take());
            } else if waiter.proposal.is_some() {
                next = next.min(waiter.deadline.unwrap_or(Micros::MAX));
            }
        }
        let (late_queries, next) = self.tasks.visit(|tasks| {
            take_late(tasks, now, &mut late);
            let (mut queries, mut kept) = (Vec::new(), VecDeque::with_capacity(tasks.len()));
            for task in tasks.drain(..) {
                match task {
                    ApplyTask::Query { query, .. } if due(query.deadline) => queries.push(query),
                    task => {
                        next = next.min(earliest_of(&task).unwrap_or(Micros::MAX));
                        kept.push_back(task);
                    }
                }
            }
            *tasks = kept;
            (queries, next)
        });
        if next != Micros::MAX {
            self.earliest.fetch_min(next.max(now + SCAN_INTERVAL), Ordering::Relaxed);
        }
        let error = NodeError::OutcomeUnknown {
            node: shared.id,
            why: "it is committed, and the state machine did not come to it in time".into(),
        };
        for proposal in late {
            crate::metrics::add(&shared.counters.expired, 1);
            proposal.finish(shared, Vec::new(), Some(error.clone()));
        }
        for query in late_queries {
            crate::metrics::add(&shared.counters.expired, 1);
            query.fail(shared, shared.late("a read"));
        }
    }

    /// Ends everything: the thread hangs, or is gone.
    pub fn end(&self, shared: &Arc<Shared>) {
        for task in self.tasks.abandon() {
            end_task(shared, task);
        }
        let held: Vec<_> = lock(&self.in_hand).iter_mut().filter_map(|waiter| waiter.proposal.take()).collect();
        for proposal in held {
            proposal.finish(shared, Vec::new(), Some(shared.describe(&Failure::Unknown(Unknown::Closed))));
        }
    }
}

fn earliest_of<S: StateMachine>(task: &ApplyTask<S>) -> Option<Micros> {
    match task {
        ApplyTask::Apply { wanted, .. } => wanted.iter().filter_map(|wanted| wanted.deadline).min(),
        ApplyTask::Query { query, .. } => query.deadline,
        _ => None,
    }
}

/// Takes late waiters out of queued batches; their entries stay, and their place, so that earlier pieces are tidied up.
fn take_late<S: StateMachine>(tasks: &mut VecDeque<ApplyTask<S>>, now: Micros, late: &mut Vec<Proposal<S::Output>>) {
    for task in tasks {
        let ApplyTask::Apply { wanted, .. } = task else { continue };
        for one in wanted.iter_mut().filter(|one| one.deadline.is_some_and(|deadline| deadline <= now)) {
            one.deadline = None;
            if let Piece::Last(proposal) | Piece::Cut(proposal, _) = &mut one.piece {
                late.push(proposal.take());
            }
        }
    }
}

/// Answers whoever waits for a task that will not be done.
pub fn end_task<S: StateMachine>(shared: &Arc<Shared>, task: ApplyTask<S>) {
    match task {
        ApplyTask::Apply { wanted, .. } => {
            for Wanted { piece, .. } in wanted {
                if let Piece::Last(proposal) | Piece::Cut(proposal, _) = piece {
                    proposal.finish(shared, Vec::new(), Some(shared.describe(&Failure::Unknown(Unknown::Closed))));
                }
            }
        }
        ApplyTask::Query { query, .. } => query.fail(shared, shared.closed()),
        ApplyTask::Fail { proposal, failure, .. } => {
            proposal.finish(shared, Vec::new(), Some(shared.describe(&failure)));
        }
        ApplyTask::Restore(_) | ApplyTask::TakeSnapshot => {}
    }
}
