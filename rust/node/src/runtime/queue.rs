//! A queue that one or two threads of a node take from, in order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::park::lock;

struct State<T> {
    items: VecDeque<T>,
    /// Takers asleep.
    waiting: usize,
    /// A taker has the turn.
    held: bool,
    /// Nothing more comes; what is there is still taken.
    closed: bool,
}

/// Unbounded by itself: what goes in is bounded by the protocol's windows.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), waiting: 0, held: false, closed: false }),
            wake: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Appends; gives the items back if the queue is closed.
    pub fn push_all(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.items.extend(items);
        // Whoever has the turn wakes the next one when giving it up.
        let wake = state.waiting > 0 && !state.held && !state.items.is_empty();
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Appends one.
    pub fn push(&self, item: T) -> bool {
        self.push_all([item])
    }

    /// Waits for something, then lets `take` remove what it wants. `None`: closed and empty, or the time is over.
    pub fn take<R>(&self, limit: Option<Duration>, take: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
        let mut state = lock(&self.state);
        let mut limit = limit;
        while state.items.is_empty() {
            if state.closed || limit.is_some_and(|limit| limit.is_zero()) {
                return None;
            }
            state.waiting += 1;
            state = match limit {
                // One wait is enough: the caller looks at its clock and comes back.
                Some(span) => {
                    limit = Some(Duration::ZERO);
                    self.wake.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting -= 1;
        }
        Some(take(&mut state.items))
    }

    /// Waits until there is something to take, the queue is closed or the time is over, and nobody else has the turn.
    /// Takers that share a queue stay asleep while one of them keeps up with what comes.
    pub fn turn(&self, limit: Option<Duration>) -> Turn<'_, T> {
        let mut state = lock(&self.state);
        let mut over = false;
        while state.held || state.items.is_empty() && !state.closed && !over {
            state.waiting += 1;
            state = match limit {
                Some(span) if !over => {
                    over = true;
                    self.wake.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting -= 1;
        }
        state.held = true;
        Turn(self)
    }

    /// Takes one.
    pub fn pop(&self, limit: Option<Duration>) -> Option<T> {
        self.take(limit, VecDeque::pop_front).flatten()
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Lets takers finish what is there.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_all();
    }

    /// Throws away what is there, and closes.
    pub fn abandon(&self) -> VecDeque<T> {
        let mut state = lock(&self.state);
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        self.wake.notify_all();
        items
    }

    /// Looks at, and may change, everything that waits.
    pub fn visit<R>(&self, look: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        look(&mut lock(&self.state).items)
    }
}

/// Keeps other takers from their turn.
pub struct Turn<'a, T>(&'a Queue<T>);

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.held = false;
        let wake = state.waiting > 0 && (!state.items.is_empty() || state.closed);
        drop(state);
        if wake {
            self.0.wake.notify_one();
        }
    }
}
