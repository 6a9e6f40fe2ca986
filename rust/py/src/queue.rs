//! The queue behind `Completions`: filled on threads of the node, without attaching; emptied by an event loop or a thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::answer::Answer;
use crate::node::Running;
use crate::wake::{self, Wake};

/// A finished call.
pub struct Item {
    pub key: Py<PyAny>,
    pub answer: Answer,
    pub origin: Weak<Running>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Somebody was, or is about to be, woken since the last `take`: one wake-up for many items.
    signalled: bool,
    /// The notifier has a call to make.
    notify: bool,
    closed: bool,
    bell: Option<Bell>,
}

/// Finished calls that wait to be taken.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a finished call in. Never blocks; dropped if the queue is closed.
    pub fn push(self: &Arc<Self>, item: Item) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(item); // not under the lock: it may run Python code where the thread is attached
            return;
        }
        state.items.push_back(item);
        let first = !std::mem::replace(&mut state.signalled, true);
        drop(state);
        if first {
            wake::wake(Arc::clone(self) as Arc<dyn Wake>);
        }
    }

    /// Takes everything, and silences the descriptor first.
    pub fn take(&self) -> VecDeque<Item> {
        let mut state = self.lock();
        Self::take_all(&mut state)
    }

    fn take_all(state: &mut State) -> VecDeque<Item> {
        if state.signalled {
            state.signalled = false;
            if let Some(bell) = &state.bell {
                bell.silence();
            }
        }
        std::mem::take(&mut state.items)
    }

    /// Waits until there is something. Empty at the timeout; `None` once the queue is closed and empty.
    pub fn wait(&self, limit: Option<Duration>) -> Option<VecDeque<Item>> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.lock();
        loop {
            if !state.items.is_empty() {
                return Some(Self::take_all(&mut state));
            }
            if state.closed {
                return None;
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Some(VecDeque::new());
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// For the notifier: waits until a call is due. `false`: the queue is closed.
    pub fn wait_notify(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            if std::mem::take(&mut state.notify) {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The descriptor that is readable while something waits; made when first asked for.
    pub fn descriptor(&self) -> io::Result<RawFd> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the completions are closed"));
        }
        if let Some(bell) = &state.bell {
            return Ok(bell.descriptor());
        }
        let bell = Bell::new()?;
        if state.signalled {
            bell.ring();
        }
        let descriptor = bell.descriptor();
        state.bell = Some(bell);
        Ok(descriptor)
    }

    /// Lets nothing in any more, wakes everybody, closes the descriptor. What waits can still be taken.
    pub fn close(&self) {
        let bell = {
            let mut state = self.lock();
            state.closed = true;
            state.bell.take()
        };
        drop(bell);
        self.changed.notify_all();
    }
}

impl Wake for Queue {
    fn wake(&self) {
        let mut state = self.lock();
        state.notify = true;
        if let Some(bell) = &state.bell {
            bell.ring();
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// A descriptor that can be made readable and unreadable: an eventfd, or a pipe where there is none.
struct Bell {
    reader: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    writer: OwnedFd,
}

impl Bell {
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self { reader: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
        let (reader, writer) = rustix::pipe::pipe()?;
        for end in [&reader, &writer] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
            ioctl_fionbio(end, true)?;
        }
        Ok(Self { reader, writer })
    }

    fn descriptor(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// A full pipe, or a counter at its end, is readable already: errors change nothing.
    fn ring(&self) {
        #[cfg(target_os = "linux")]
        let writer = &self.reader;
        #[cfg(not(target_os = "linux"))]
        let writer = &self.writer;
        let _ = rustix::io::write(writer, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.reader, &mut bytes), Ok(count) if count == bytes.len()) {}
    }
}
