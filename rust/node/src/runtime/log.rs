//! The log threads: two that take turns on a log that can be written during a sync, one for any other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use d_engine_raft::{Entry, LogId, Persist, Token};

use super::Queue;
use super::inbox::{Inbox, Item};
use super::park::lock;
use super::shared::Shared;
use crate::config::micros;
use crate::driver::DriverInput;
use crate::error::{NodeError, StorageError};
use crate::metrics::{add, count, set};
use crate::traits::{LogStore, StateMachine};

/// One unit of storage work.
pub enum LogTask {
    Persist(Persist),
    Purge(LogId),
}

impl LogTask {
    fn bytes(&self) -> usize {
        match self {
            Self::Persist(persist) => persist.entries.iter().map(Entry::size).sum(),
            Self::Purge(_) => 0,
        }
    }
}

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

struct Batch {
    units: Vec<Persist>,
    purge: Option<LogId>,
}

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
        let Some(batch) = self.queue.take(Some(Duration::ZERO), |tasks| collect(tasks, limit)) else {
            return !self.queue.closed() && self.vouch();
        };
        if self.shared.is_stopped() {
            return false;
        }
        let Batch { units, purge } = batch;
        let newest = units.last().map(|unit| unit.token);
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

/// Everything that waits, up to a purge and bounded in bytes.
fn collect(tasks: &mut VecDeque<LogTask>, limit: usize) -> Batch {
    let (mut units, mut purge, mut bytes) = (Vec::with_capacity(tasks.len().min(64)), None, 0);
    while let Some(task) = tasks.pop_front() {
        bytes += task.bytes();
        match task {
            LogTask::Persist(_) if !units.is_empty() && bytes > limit => {
                tasks.push_front(task);
                break;
            }
            LogTask::Persist(persist) => units.push(persist),
            LogTask::Purge(upto) => {
                purge = Some(upto);
                break;
            }
        }
    }
    Batch { units, purge }
}
