//! Calls on a running node: each verb once, for both ways of waiting.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use d_engine_node::{Consistency, NodeError, Outcome, Reading};
use d_engine_raft::{Change, Configuration, Draft, NodeId};
use pyo3::prelude::*;

use crate::answer::Answer;
use crate::errors;
use crate::machine::Machine;
use crate::node::Running;
use crate::queue::{Item, Queue};
use crate::slot::Slot;
use crate::wake;

/// How much later than the node's own deadline a blocking call gives up by itself: the apply thread may hang in a plugin.
const GRACE: Duration = Duration::from_millis(250);

/// Calls in completion form that are under way, by number.
#[derive(Default)]
pub struct Registry {
    next: AtomicU64,
    calls: Mutex<HashMap<u64, Weak<Ticket>>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Ticket>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up waiting for that call.
    pub fn withdraw(&self, number: u64) {
        let ticket = self.lock().remove(&number);
        if let Some(ticket) = ticket.and_then(|ticket| ticket.upgrade()) {
            let key = ticket.take_key();
            drop(key);
        }
    }
}

/// A call whose answer goes into a queue, unless it is withdrawn.
pub struct Ticket {
    number: u64,
    key: Mutex<Option<Py<PyAny>>>,
    queue: Arc<Queue>,
    origin: Weak<Running>,
}

impl Ticket {
    /// Registers a call. Attached: `key` is a Python object.
    pub fn new(running: &Arc<Running>, queue: Arc<Queue>, key: Py<PyAny>) -> Arc<Self> {
        let registry = &running.calls;
        let number = registry.next.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = Arc::new(Self { number, key: Mutex::new(Some(key)), queue, origin: Arc::downgrade(running) });
        registry.lock().insert(number, Arc::downgrade(&ticket));
        ticket
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    fn take_key(&self) -> Option<Py<PyAny>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn withdrawn(&self) -> bool {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn put(&self, answer: Answer) {
        if let Some(running) = self.origin.upgrade() {
            running.calls.lock().remove(&self.number);
        }
        if let Some(key) = self.take_key() {
            self.queue.push(Item { key, answer, origin: Weak::clone(&self.origin) });
        }
    }
}

/// Where an answer goes. Exactly one is given: if the node drops the call, an error.
pub struct Reply {
    to: Option<Recipient>,
    node: NodeId,
    proposal: bool,
}

/// Who waits.
#[derive(Clone)]
pub enum Recipient {
    Slot(Arc<Slot<Answer>>),
    Ticket(Arc<Ticket>),
}

impl Reply {
    fn put(mut self, answer: Answer) {
        if let Some(to) = self.to.take() {
            to.put(answer);
        }
    }

    fn withdrawn(&self) -> bool {
        matches!(&self.to, Some(Recipient::Ticket(ticket)) if ticket.withdrawn())
    }
}

impl Recipient {
    /// Only the first answer counts.
    pub fn put(self, answer: Answer) {
        match self {
            Self::Slot(slot) => slot.put(answer),
            Self::Ticket(ticket) => ticket.put(answer),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let node = self.node;
            to.put(Answer::Failed(if self.proposal {
                NodeError::OutcomeUnknown { node, why: "the node was closed meanwhile".into() }
            } else {
                NodeError::Closed { node }
            }));
        }
    }
}

/// One call, with what it needs from Python already converted.
pub enum Call {
    Propose(Draft),
    ProposeMany(Draft),
    Read { function: Py<PyAny>, argument: Py<PyAny>, callback: String, consistency: Consistency },
    Barrier(Consistency),
    Change(Vec<Change>),
    Transfer(Option<NodeId>),
    WaitReady,
    Snapshot,
    NextChange(u64),
}

impl Call {
    const fn is_proposal(&self) -> bool {
        matches!(self, Self::Propose(_) | Self::ProposeMany(_) | Self::Change(_))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Propose(_) | Self::ProposeMany(_) => "a proposal",
            Self::Read { .. } => "a read",
            Self::Barrier(_) => "a read barrier",
            Self::Change(_) => "a change of the members",
            Self::Transfer(_) => "a transfer of leadership",
            Self::WaitReady => "waiting for a leader",
            Self::Snapshot => "a snapshot",
            Self::NextChange(_) => "waiting for a change",
        }
    }

    /// Gives the call to the node. Detached; never blocks.
    fn submit(self, running: &Running, timeout: Option<Duration>, reply: Reply) {
        let node = &running.node;
        match self {
            Self::Propose(draft) => {
                node.propose(draft, timeout, Box::new(move |outcome| reply.put(Answer::One(outcome))));
            }
            Self::ProposeMany(draft) if draft.is_empty() => {
                reply.put(Answer::Many(Outcome { outputs: Vec::new(), error: None }));
            }
            Self::ProposeMany(draft) => {
                node.propose(draft, timeout, Box::new(move |outcome| reply.put(Answer::Many(outcome))));
            }
            Self::Read { function, argument, callback, consistency } => {
                let (id, watch) = (running.id, Arc::clone(&running.watch));
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                let done = move |reading: Result<Reading<'_, Machine>, NodeError>| match (reading, reply.to.clone()) {
                    (Err(error), _) => reply.put(Answer::Failed(error)),
                    (Ok(_), Some(recipient)) if !reply.withdrawn() => {
                        let watched = watch.begin(recipient, &callback, deadline);
                        let answer = read(id, &function, &argument, &callback);
                        drop(watched);
                        reply.put(answer);
                    }
                    (Ok(_), _) => {}
                };
                node.query(consistency, timeout, Box::new(done));
            }
            Self::Barrier(consistency) => node.query(
                consistency,
                timeout,
                Box::new(move |reading| {
                    reply.put(reading.map_or_else(Answer::Failed, |reading| Answer::Index(reading.applied)));
                }),
            ),
            Self::Change(changes) => {
                let done = move |result: Result<Configuration, NodeError>| {
                    reply.put(result.map_or_else(Answer::Failed, |found| Answer::Members(found.members)));
                };
                node.change(changes, timeout, Box::new(done));
            }
            Self::Transfer(to) => node.transfer(
                to,
                timeout,
                Box::new(move |leader| reply.put(leader.map_or_else(Answer::Failed, Answer::Index))),
            ),
            Self::WaitReady => node.wait_ready(
                timeout,
                Box::new(move |ready| reply.put(ready.map_or_else(Answer::Failed, |()| Answer::Nothing))),
            ),
            Self::Snapshot => node
                .snapshot(timeout, Box::new(move |index| reply.put(index.map_or_else(Answer::Failed, Answer::Index)))),
            Self::NextChange(seen) => node.next_change(
                seen,
                timeout,
                Box::new(move |change| {
                    reply.put(match change {
                        Ok(change) => Answer::Change(change),
                        Err(NodeError::Deadline { .. }) => Answer::Nothing,
                        Err(error) => Answer::Failed(error),
                    });
                }),
            ),
        }
    }

    /// Waits for the answer, and looks for signals meanwhile.
    pub fn wait(self, py: Python<'_>, running: &Arc<Running>, timeout: Option<Duration>) -> PyResult<Py<PyAny>> {
        let (proposal, name) = (self.is_proposal(), self.name());
        let change = matches!(self, Self::NextChange(_));
        let slot = Slot::new();
        let reply = Reply { to: Some(Recipient::Slot(Arc::clone(&slot))), node: running.id, proposal };
        py.detach(|| self.submit(running, timeout, reply));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout + GRACE));
        let answer = slot.wait(py, deadline)?.unwrap_or_else(|| {
            let (node, seconds) = (running.id, timeout.unwrap_or_default().as_secs_f64());
            if change {
                return Answer::Nothing; // as when the node itself says that nothing changed in time
            }
            Answer::Failed(if proposal {
                NodeError::OutcomeUnknown { node, why: format!("there was no answer within {seconds} s") }
            } else {
                NodeError::Deadline { node, what: format!("{name} (allowed: {seconds} s)") }
            })
        });
        answer.finish(py, &Arc::downgrade(running))
    }

    /// Lets the answer come out of `queue` with `key`; returns the call's number.
    pub fn into_queue(
        self,
        py: Python<'_>,
        running: &Arc<Running>,
        timeout: Option<Duration>,
        queue: Arc<Queue>,
        key: Py<PyAny>,
    ) -> u64 {
        let ticket = Ticket::new(running, queue, key);
        let number = ticket.number();
        let reply = Reply { to: Some(Recipient::Ticket(ticket)), node: running.id, proposal: self.is_proposal() };
        py.detach(|| self.submit(running, timeout, reply));
        number
    }
}

/// Runs a user's function between two batches, on the apply thread, inside its round.
fn read(node: NodeId, function: &Py<PyAny>, argument: &Py<PyAny>, callback: &str) -> Answer {
    wake::flush();
    Python::try_attach(|py| match function.bind(py).call1((argument,)) {
        Ok(result) => Answer::Object(result.unbind()),
        Err(error) if errors::is_command_error(error.value(py).as_any()) => Answer::Raised(error),
        Err(error) => Answer::Raised(errors::plugin_named(py, node, callback, error)),
    })
    .unwrap_or(Answer::Failed(NodeError::Closed { node }))
}
