//! Where the core thread waits: in a single-threaded runtime that carries the peer streams meanwhile.

use std::future::{self, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use d_engine_node::{Park, Unpark};
use tokio::runtime::Runtime;

/// The core thread is busy, and nobody has called.
const RUNNING: u8 = 0;
/// Somebody has called: the next wait does not wait.
const NOTIFIED: u8 = 1;
/// The core thread waits, or is about to.
const PARKED: u8 = 2;

/// How often a visit that must not wait lets the ready tasks run. The first turn writes what was sent and looks for what can
/// be read, the second reads it.
const TURNS: u8 = 2;

/// Everything below keeps its invariants at every step, so that a lock whose holder panicked is as good as any other.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls the core thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: AtomicU8,
    /// Wakes the future that the core thread blocks on.
    waiting: Mutex<Option<Waker>>,
    /// Wakes the core thread where it waits without a runtime (after `close`).
    thread: Mutex<Option<Thread>>,
    /// Tasks that the core thread has given something to send. They are woken inside the runtime: woken from outside, each would
    /// cost a system call.
    senders: Mutex<Vec<Waker>>,
}

impl Bell {
    /// Lets that task run when the core thread waits next. For the core thread's own tasks and calls.
    pub(crate) fn run_on_park(&self, sender: Waker) {
        lock(&self.senders).push(sender);
    }

    fn wake_senders(&self) {
        // Taken out first: a waker may run anything, also what locks this again.
        let senders = std::mem::take(&mut *lock(&self.senders));
        senders.into_iter().for_each(Waker::wake);
    }

    /// Waits until called, at most `limit`. Runs as the main future of the core thread's runtime.
    async fn wait(&self, limit: Option<Duration>) {
        self.wake_senders();
        if limit == Some(Duration::ZERO) || !self.wait_for_call(limit).await {
            turns(TURNS).await;
        }
        self.state.store(RUNNING, Ordering::Release);
    }

    /// `false`: somebody had called before.
    async fn wait_for_call(&self, limit: Option<Duration>) -> bool {
        let mut waited = false;
        let called = future::poll_fn(|context| {
            // The waker stands before the state says that it is needed.
            let mut waiting = lock(&self.waiting);
            if !waiting.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waiting = Some(context.waker().clone());
            }
            drop(waiting);
            let state = self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire);
            if state == Err(NOTIFIED) {
                return Poll::Ready(());
            }
            waited = true;
            Poll::Pending
        });
        match limit {
            None => called.await,
            Some(limit) => {
                let mut called = pin!(called);
                let mut over = pin!(tokio::time::sleep(limit));
                future::poll_fn(|context| {
                    if called.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { over.as_mut().poll(context) }
                })
                .await;
            }
        }
        waited
    }

    /// Waits without a runtime.
    fn wait_plainly(&self, limit: Option<Duration>) {
        *lock(&self.thread) = Some(thread::current());
        if self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            match limit {
                Some(limit) => thread::park_timeout(limit),
                None => thread::park(),
            }
        }
        self.state.store(RUNNING, Ordering::Release);
    }
}

impl Unpark for Bell {
    fn unpark(&self) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            if let Some(waker) = &*lock(&self.waiting) {
                waker.wake_by_ref();
            }
            if let Some(thread) = &*lock(&self.thread) {
                thread.unpark();
            }
        }
    }
}

/// Lets the tasks that are ready run, and the sockets be looked at, that often.
async fn turns(count: u8) {
    let mut left = count;
    future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The runtime of the core thread; gone once the transport is closed.
pub(crate) type CoreRuntime = Arc<Mutex<Option<Runtime>>>;

/// Blocks the core thread in the runtime of its transport.
pub(crate) struct RuntimePark {
    bell: Arc<Bell>,
    runtime: CoreRuntime,
}

impl RuntimePark {
    pub(crate) const fn new(bell: Arc<Bell>, runtime: CoreRuntime) -> Self {
        Self { bell, runtime }
    }
}

impl Park for RuntimePark {
    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.bell) as Arc<dyn Unpark>
    }

    fn park(&mut self, limit: Option<Duration>) {
        let runtime = lock(&self.runtime);
        if let Some(runtime) = &*runtime {
            runtime.block_on(self.bell.wait(limit));
        } else {
            drop(runtime);
            self.bell.wait_plainly(limit);
        }
    }
}
