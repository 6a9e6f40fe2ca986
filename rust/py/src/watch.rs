//! Ends the wait for a read whose function hangs on the apply thread: the node cannot, it has handed the call over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use d_engine_node::NodeError;
use d_engine_raft::NodeId;

use crate::answer::Answer;
use crate::calls::Recipient;

/// How exact the deadline of a function that runs is.
const TICK: Duration = Duration::from_millis(50);

#[derive(Default)]
struct State {
    /// What runs at this moment: one apply thread, one read.
    read: Option<Read>,
    /// A read has begun since the last look.
    busy: bool,
    /// The thread sleeps without a limit.
    parked: bool,
    closed: bool,
    thread: Option<JoinHandle<()>>,
}

struct Read {
    deadline: Option<Instant>,
    recipient: Recipient,
    name: String,
}

/// Watches the reads of one node. Its thread begins with the first read and sleeps while there are none.
pub struct Watch {
    node: NodeId,
    state: Mutex<State>,
    changed: Condvar,
}

/// A read that runs; over when it is dropped.
pub struct Watched<'a>(&'a Watch);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let read = self.0.lock().read.take();
        drop(read);
    }
}

impl Watch {
    pub fn new(node: NodeId) -> Self {
        Self { node, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A function begins to run for `recipient`.
    pub fn begin(self: &Arc<Self>, recipient: Recipient, name: &str, deadline: Option<Instant>) -> Watched<'_> {
        let mut state = self.lock();
        state.read = Some(Read { deadline, recipient, name: name.to_owned() });
        state.busy = true;
        if state.thread.is_none() && !state.closed {
            let watch = Arc::clone(self);
            // Without a thread a read that hangs is not ended in time; everything else goes on.
            state.thread =
                thread::Builder::new().name(format!("raft-{}-watch", self.node)).spawn(move || watch.run()).ok();
        }
        let wake = state.parked;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        Watched(self)
    }

    /// The node is closed: a read that still runs gets its error, and the thread ends.
    pub fn close(&self) {
        let (read, thread) = {
            let mut state = self.lock();
            state.closed = true;
            (state.read.take(), state.thread.take())
        };
        self.changed.notify_all();
        if let Some(read) = read {
            read.recipient.put(Answer::Failed(NodeError::Closed { node: self.node }));
        }
        if let Some(thread) = thread {
            // It cannot panic in a way that matters here, and it ends at once.
            let _ = thread.join();
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            let deadline = state.read.as_ref().and_then(|read| read.deadline);
            if deadline.is_some_and(|deadline| deadline <= now) {
                let late = state.read.take();
                drop(state);
                if let Some(Read { recipient, name, .. }) = late {
                    let what = format!("{name} runs on the apply thread and");
                    recipient.put(Answer::Failed(NodeError::Deadline { node: self.node, what }));
                }
                state = self.lock();
            } else if deadline.is_some() || std::mem::take(&mut state.busy) {
                state = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state.parked = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.parked = false;
            }
        }
    }
}
