//! Wake-ups, kept back until a round of the apply thread is over: who is woken needs the interpreter that the round holds.

use std::cell::RefCell;
use std::sync::Arc;

/// Somebody who may be waiting.
pub trait Wake: Send + Sync {
    /// Wakes it. Cheap, does not attach, holds no lock afterwards.
    fn wake(&self);
}

thread_local! {
    static KEPT: RefCell<Option<Vec<Arc<dyn Wake>>>> = const { RefCell::new(None) };
}

/// Wakes `target`: at once, or at the end of the round that this thread is in.
pub fn wake(target: Arc<dyn Wake>) {
    let at_once = KEPT.with_borrow_mut(|kept| match kept {
        Some(kept) => {
            kept.push(target);
            None
        }
        None => Some(target),
    });
    if let Some(target) = at_once {
        target.wake();
    }
}

/// Runs a round and then wakes everybody who got something in it.
pub fn round<R>(body: impl FnOnce() -> R) -> R {
    KEPT.with_borrow_mut(|kept| {
        kept.get_or_insert_default();
    });
    let _end = End;
    body()
}

/// Wakes those who wait now: before something that may take long.
pub fn flush() {
    let due = KEPT.with_borrow_mut(|kept| kept.as_mut().map(std::mem::take));
    for target in due.into_iter().flatten() {
        target.wake();
    }
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        for target in KEPT.take().into_iter().flatten() {
            target.wake();
        }
    }
}
