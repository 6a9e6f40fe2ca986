//! The log threads: two that take turns on a log that can be written during a sync, one for any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use d_engine_raft::{Entry, Persist, Token};

use super::Queue;
use super::inbox::{Inbox, Item};
use super::park::lock;
use super::shared::Shared;
use crate::config::micros;
use crate::driver::DriverInput;
use crate::error::{NodeError, StorageError};
use crate::metrics::{add, count, set};
use crate::storage::{LogBatch, LogTask};
use crate::traits::{LogStore, StateMachine};

/// What the log threads share. The queue's turn is held from taking a batch until it is written, `syncing` from before the turn
/// is given up until the batch is reported: so batches are written, synced and reported in order, and two syncs never overlap.
/// The second thread wakes only for what comes while the first one syncs.
pub struct LogWork<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub queue: Arc<Queue<LogTask>>,
    pub store: Arc<dyn LogStore>,
    syncing: Mutex<()>,
    /// Something was written since `LogStore::idle`.
    unvouched: AtomicBool,
}

/// Without a write for so long, the last batch is vouched for.
const IDLE: Duration = Duration::from_millis(100);

impl<S: StateMachine> LogWork<S> {
    pub fn new(
        shared: Arc<Shared>,
        inbox: Arc<Inbox<S>>,
        queue: Arc<Queue<LogTask>>,
        store: Arc<dyn LogStore>,
    ) -> Self {
        Self { shared, inbox, queue, store, syncing: Mutex::new(()), unvouched: AtomicBool::new(false) }
    }

    pub fn run(&self) {
        while self.turn() {}
    }

    fn turn(&self) -> bool {
        let patience = self.unvouched.load(Ordering::Relaxed).then_some(IDLE);
        let turn = self.queue.turn(patience);
        let limit = self.shared.config.max_sync_bytes;
        let Some(batch) = self.queue.take(Some(Duration::ZERO), |tasks| LogBatch::collect(tasks, limit)) else {
            return !self.queue.closed() && self.vouch();
        };
        if self.shared.is_stopped() {
            return false;
        }
        let newest = batch.token();
        let LogBatch { units, purge } = batch;
        if let Some(token) = newest {
            self.count(&units);
            self.unvouched.store(true, Ordering::Relaxed);
            if let Err(error) = self.store.write(&units) {
                self.fail(token, error);
                return false;
            }
        }
        let syncing = lock(&self.syncing);
        // A purge changes files that a write uses: the next write waits for it.
        let turn = purge.is_some().then_some(turn);
        if let Some(token) = newest
            && let Err(error) = self.sync(token)
        {
            self.fail(token, error);
            return false;
        }
        if let Some(upto) = purge
            && let Err(error) = self.store.purge(upto)
        {
            self.fail(Token::MAX, error);
            return false;
        }
        drop((turn, syncing));
        true
    }

    /// Once, after a while without a write. The turn is held, so none comes in between.
    fn vouch(&self) -> bool {
        let _syncing = lock(&self.syncing);
        if self.shared.is_stopped() || !self.unvouched.swap(false, Ordering::Relaxed) {
            return !self.shared.is_stopped();
        }
        if let Err(error) = self.store.idle() {
            self.fail(Token::MAX, error);
            return false;
        }
        true
    }

    fn sync(&self, token: Token) -> Result<(), StorageError> {
        let begun = Instant::now();
        let waited = self.store.sync()?;
        if waited {
            add(&self.shared.counters.log_syncs, 1);
            add(&self.shared.counters.log_sync_micros, micros(begun.elapsed()));
        }
        self.inbox.report(DriverInput::Persisted(token));
        Ok(())
    }

    fn count(&self, units: &[Persist]) {
        let counters = &self.shared.counters;
        add(&counters.log_appends, 1);
        let entries = units.iter().map(|unit| unit.entries.len()).sum();
        count(&counters.log_append_entries, entries);
        let bytes = units.iter().flat_map(|unit| &unit.entries).map(Entry::size).sum();
        count(&counters.log_append_bytes, bytes);
        let left = self.queue.visit(|tasks| tasks.iter().map(LogTask::bytes).sum());
        set(&counters.log_queue_bytes, left);
    }

    /// What the disk holds is no longer known: the node stops, and nothing is written after it.
    fn fail(&self, token: Token, error: StorageError) {
        drop(self.queue.abandon());
        self.shared.fail(NodeError::Storage { node: self.shared.id, error });
        if token != Token::MAX {
            self.inbox.report(DriverInput::PersistFailed(token));
        }
        drop(self.inbox.push(Item::Stop));
    }
}
