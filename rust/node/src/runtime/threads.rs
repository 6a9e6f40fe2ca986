//! A node's threads: named, counted, joined within a deadline, and never silently gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::park::lock;
use crate::error::NodeError;

#[derive(Default)]
struct Ended {
    done: Mutex<bool>,
    wake: Condvar,
}

struct Thread {
    name: &'static str,
    handle: JoinHandle<()>,
    ended: Arc<Ended>,
}

/// All of them.
#[derive(Default)]
pub struct Threads {
    threads: Vec<Thread>,
}

/// The text of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

impl Threads {
    /// Starts one. A panic in `work` is given to `panicked`, on the same thread.
    pub fn spawn(
        &mut self,
        node: u64,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
        panicked: impl FnOnce(String) + Send + 'static,
    ) -> Result<(), NodeError> {
        let ended = Arc::new(Ended::default());
        let at_end = Arc::clone(&ended);
        let run = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                let message = panic_message(panic.as_ref());
                // What it reports to may be what panicked; then the join at the end tells.
                let _ = catch_unwind(AssertUnwindSafe(|| panicked(message)));
            }
            *lock(&at_end.done) = true;
            at_end.wake.notify_all();
        };
        let handle = Builder::new().name(format!("raft-{node}-{name}")).spawn(run).map_err(|error| {
            NodeError::Panic { node, thread: name.to_owned(), message: format!("it could not be started: {error}") }
        })?;
        self.threads.push(Thread { name, handle, ended });
        Ok(())
    }

    /// Waits for all of them, at most until `deadline`.
    pub fn wait(&self, deadline: Instant) {
        for thread in &self.threads {
            wait(&thread.ended, deadline);
        }
    }

    /// Whether all of them have ended.
    pub fn ended(&self) -> bool {
        self.threads.iter().all(|thread| *lock(&thread.ended.done))
    }

    /// Waits for all of them, at most until `deadline`; returns the names of those left behind. A thread that joins itself
    /// (a plugin that closes its own node) is left behind too.
    pub fn join(&mut self, deadline: Instant) -> Vec<String> {
        let mut left = Vec::new();
        for thread in self.threads.drain(..) {
            let own = thread.handle.thread().id() == std::thread::current().id();
            if !own && wait(&thread.ended, deadline) {
                // It ended by its last statement; a panic was caught and reported before.
                let _ = thread.handle.join();
            } else {
                left.push(thread.name.to_owned());
            }
        }
        left
    }
}

fn wait(ended: &Ended, deadline: Instant) -> bool {
    let mut done = lock(&ended.done);
    while !*done {
        let span = deadline.saturating_duration_since(Instant::now());
        if span == Duration::ZERO {
            return false;
        }
        done = ended.wake.wait_timeout(done, span).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}
