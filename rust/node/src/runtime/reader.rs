//! The reader thread: old entries for slow followers and for apply, without making the core wait.

use std::sync::Arc;

use d_engine_raft::{FetchId, Index};

use super::Queue;
use super::inbox::{Inbox, Item};
use super::shared::Shared;
use crate::driver::DriverInput;
use crate::error::NodeError;
use crate::metrics::add;
use crate::traits::{LogStore, StateMachine};

/// One read of the log.
pub struct FetchTask {
    pub id: FetchId,
    pub lo: Index,
    pub hi: Index,
    pub max_bytes: usize,
}

pub fn run<S: StateMachine>(shared: &Shared, inbox: &Inbox<S>, queue: &Queue<FetchTask>, store: &Arc<dyn LogStore>) {
    while let Some(FetchTask { id, lo, hi, max_bytes }) = queue.pop(None) {
        if shared.is_stopped() {
            return;
        }
        add(&shared.counters.log_reads, 1);
        match store.read(lo, hi, max_bytes) {
            Ok(entries) => inbox.report(DriverInput::Fetched { id, entries }),
            Err(error) => {
                shared.fail(NodeError::Storage { node: shared.id, error });
                drop(inbox.push(Item::Stop));
                return;
            }
        }
    }
}
