//! The callers' ends of calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;

use d_engine_raft::{Configuration, Index, Micros, NodeId};

use super::shared::{Admission, Shared};
use super::threads::panic_message;
use crate::driver::Calls;
use crate::error::NodeError;
use crate::node::{Completion, Outcome, ProposeDone, QueryDone};
use crate::status::Status;
use crate::traits::{Level, Reading, StateMachine};

/// Names the waiters' types for the driver.
pub struct RuntimeCalls<S>(std::marker::PhantomData<fn(S)>);

impl<S: StateMachine> Calls for RuntimeCalls<S> {
    type Proposal = Proposal<S::Output>;
    type Read = Query<S>;
    type Snapshot = Completion<Index>;
    type Change = Completion<Configuration>;
    type Transfer = Completion<NodeId>;
}

/// Where a status goes.
pub type StatusReply = SyncSender<Status>;

/// Who waits for a proposal.
pub struct Proposal<O>(Option<(ProposeDone<O>, Admission)>);

impl<O> Proposal<O> {
    pub fn new(done: ProposeDone<O>, admission: Admission) -> Self {
        Self(Some((done, admission)))
    }

    /// Takes the waiter out: what is left has nobody to tell.
    pub const fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub fn finish(self, shared: &Shared, outputs: Vec<O>, error: Option<NodeError>) {
        if let Some((done, admission)) = self.0 {
            // The room is free before the caller learns of it: it may come again at once.
            drop(admission);
            guarded(shared, move || done(Outcome { outputs, error }));
        }
    }
}

/// Who waits for a read.
pub struct Query<S> {
    pub done: QueryDone<S>,
    pub admission: Admission,
    pub deadline: Option<Micros>,
}

impl<S> Query<S> {
    pub fn run(self, shared: &Shared, machine: &mut S, applied: Index) {
        let (done, admission) = (self.done, self.admission);
        drop(admission);
        guarded(shared, move || done(Ok(Reading { machine, applied })));
    }

    pub fn fail(self, shared: &Shared, error: NodeError) {
        drop(self.admission);
        let done = self.done;
        guarded(shared, move || done(Err(error)));
    }
}

/// Runs a caller's function: its panic is its own.
pub fn guarded(shared: &Shared, call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        let message = panic_message(panic.as_ref());
        shared.record(Level::Error, "node", || format!("a completion panicked: {message}"));
    }
}

/// Completes a call.
pub fn complete<T>(shared: &Shared, done: Completion<T>, result: Result<T, NodeError>) {
    guarded(shared, move || done(result));
}
