//! The handle of a running node.

use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use d_engine_raft::{Change, Configuration, Draft, Index, LogId, Member, NodeId};
use sha2::{Digest, Sha256};

use crate::config::{NodeConfig, micros};
use crate::driver::{Consistency, DriverInput};
use crate::error::NodeError;
use crate::metrics::{Metrics, add, count};
use crate::runtime::park::lock;
use crate::runtime::{
    ApplyTask, Inbox, Item, Proposal, Query, Queues, Running, Shared, Threads, clock, end_item, start,
};
use crate::status::{self, Status, Summary};
use crate::traits::{Hello, Level, LogSink, Reading, StateMachine, Storage, ThreadHooks, Transport};

/// Called once with the result of a call. Runs on the core or apply thread: it must not block, and on the core thread it must
/// not wait for an interpreter. Panics in it are taken and logged.
pub type Completion<T> = Box<dyn FnOnce(Result<T, NodeError>) + Send>;

/// What became of a proposal: outputs of the part that was applied here, in order (one piece, seldom more), and why the rest
/// has none.
#[derive(Debug)]
pub struct Outcome<O> {
    /// Pieces of the batch's results, contiguous from its first entry.
    pub outputs: Vec<O>,
    /// Set unless the outputs cover the whole batch. What it says holds for the entries without an output.
    pub error: Option<NodeError>,
}

/// Called once with what became of a proposal, normally on the apply thread, inside `StateMachine::round`; on the core thread
/// (or the proposing one) with a mere error.
pub type ProposeDone<O> = Box<dyn FnOnce(Outcome<O>) + Send>;

/// Called once: on the apply thread with the machine, or with an error, as `ProposeDone`.
pub type QueryDone<S> = Box<dyn FnOnce(Result<Reading<'_, S>, NodeError>) + Send>;

/// How a node becomes a member of a running cluster.
#[derive(Clone, Debug)]
pub struct Join {
    /// Where members are asked, one after the other.
    pub addresses: Vec<String>,
    /// What the node shall be, and where it is reached.
    pub member: Member,
}

/// What a node is made of.
pub struct NodeParts<S: StateMachine> {
    /// Its number.
    pub id: NodeId,
    /// Its settings.
    pub config: NodeConfig,
    /// The initial members; used only while the storage is empty.
    pub members: Vec<Member>,
    /// Whom it asks while it does not know a single member.
    pub join: Option<Join>,
    /// Where it keeps log and snapshots.
    pub storage: Box<dyn Storage>,
    /// What it applies entries to.
    pub machine: S,
    /// How it reaches the others.
    pub transport: Box<dyn Transport>,
    /// Where log records go.
    pub log: Arc<dyn LogSink>,
    /// Told of each thread that may call plugins.
    pub hooks: Arc<dyn ThreadHooks>,
}

/// How a close went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Threads that hung in a plugin and were left behind.
    pub left_behind: Vec<String>,
}

/// The cluster's id: its name, and its initial members' numbers, roles and addresses as they were written, hashed.
#[must_use]
pub fn cluster_id(name: &str, initial: &Configuration) -> u128 {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(b"d-engine cluster 1");
    field(name.as_bytes());
    for member in &initial.members {
        field(&member.id.to_le_bytes());
        field(&[member.role as u8]);
        field(member.address.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..16].iter().fold(0, |id, &byte| id << 8 | u128::from(byte))
}

/// A running node. All methods may be called from any thread, also at once.
pub struct Node<S: StateMachine> {
    shared: Arc<Shared>,
    inbox: Arc<Inbox<S>>,
    queues: Arc<Queues<S>>,
    last_status: Arc<Mutex<Option<Status>>>,
    running: Mutex<Option<Running<S>>>,
    report: Mutex<Option<CloseReport>>,
}

/// A status is asked of the core thread, which waits for nothing; only a machine under heavy load needs longer.
const STATUS_PATIENCE: Duration = Duration::from_millis(250);
/// A close for ever: what can be added to a clock.
const LONGEST_CLOSE: Duration = Duration::from_secs(365 * 24 * 3600);
/// What threads of a crashed node are waited for.
const CRASH_PATIENCE: Duration = Duration::from_secs(5);

impl<S: StateMachine> Node<S> {
    /// Takes storage, transport and threads; undoes all of it if one fails. Plugins are called on this thread (`open`, `load`,
    /// `start`, `set_peers`) and on the apply thread (`applied`, `restore`), which is waited for.
    ///
    /// # Errors
    /// What failed first.
    pub fn start(parts: NodeParts<S>) -> Result<Self, NodeError> {
        let running = start(parts)?;
        Ok(Self {
            shared: Arc::clone(&running.shared),
            inbox: Arc::clone(&running.inbox),
            queues: Arc::clone(&running.queues),
            last_status: Arc::clone(&running.last_status),
            running: Mutex::new(Some(running)),
            report: Mutex::new(None),
        })
    }

    /// Its number.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Its settings.
    pub fn config(&self) -> &NodeConfig {
        &self.shared.config
    }

    /// Who it is to others.
    pub fn hello(&self) -> &Hello {
        &self.shared.hello
    }

    /// The members in force.
    pub fn configuration(&self) -> Arc<Configuration> {
        self.shared.configuration()
    }

    /// Proposes a batch; never blocks. `timeout` of `None` waits for ever. Each entry is checked against `max_entry_bytes` by the
    /// caller, with `check_entry`.
    pub fn propose(&self, draft: Draft, timeout: Option<Duration>, done: ProposeDone<S::Output>) {
        add(&self.shared.counters.proposals, 1);
        count(&self.shared.counters.proposed_entries, draft.len());
        let refused = |done: ProposeDone<S::Output>, error| done(Outcome { outputs: Vec::new(), error: Some(error) });
        if draft.is_empty() {
            done(Outcome { outputs: Vec::new(), error: None });
            return;
        }
        if self.is_closed() {
            refused(done, self.shared.closed());
            return;
        }
        if self.shared.is_witness() {
            refused(done, self.shared.witness());
            return;
        }
        let admission = match self.shared.admit(draft.size()) {
            Ok(admission) => admission,
            Err(error) => {
                refused(done, error);
                return;
            }
        };
        let waiter = Proposal::new(done, admission);
        let input = DriverInput::Propose { draft, waiter, deadline: clock::deadline(timeout) };
        self.push(Item::Driver(input));
    }

    /// Whether one entry's payload is within bounds.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn check_entry(&self, size: usize) -> Result<(), NodeError> {
        let limit = self.shared.config.max_entry_bytes;
        if size > limit { Err(NodeError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Runs `done` with the machine, between two batches; never blocks.
    pub fn query(&self, consistency: Consistency, timeout: Option<Duration>, done: QueryDone<S>) {
        add(&self.shared.counters.reads, 1);
        if self.is_closed() {
            done(Err(self.shared.closed()));
            return;
        }
        if self.shared.is_witness() {
            done(Err(self.shared.witness()));
            return;
        }
        let admission = match self.shared.admit(0) {
            Ok(admission) => admission,
            Err(error) => {
                done(Err(error));
                return;
            }
        };
        let deadline = clock::deadline(timeout);
        let query = Query { done, admission, deadline };
        match consistency {
            Consistency::Linearizable | Consistency::Lease => {
                self.push(Item::Driver(DriverInput::Read { waiter: query, deadline, consistency }));
            }
            // What is here is here: the core thread need not hear of it.
            Consistency::Eventual => {
                self.queues.apply.push(&self.shared, &mut vec![ApplyTask::Query { query, index: 0 }]);
            }
        }
    }

    /// Makes a snapshot now, unless nothing was applied since the newest one; gives its index.
    pub fn snapshot(&self, timeout: Option<Duration>, done: Completion<Index>) {
        let applied = self.shared.applied();
        let input = DriverInput::Snapshot { waiter: done, deadline: clock::deadline(timeout), applied };
        self.push(Item::Driver(input));
    }

    /// Changes the membership; gives the members that it led to, once they are committed. All of it is made, or nothing.
    pub fn change(&self, changes: Vec<Change>, timeout: Option<Duration>, done: Completion<Configuration>) {
        self.push(Item::Driver(DriverInput::Change { changes, waiter: done, deadline: clock::deadline(timeout) }));
    }

    /// Gives leadership to that voter (`None`: to the best one), and tells who leads then. Not passed on: ask the leader.
    pub fn transfer(&self, to: Option<NodeId>, timeout: Option<Duration>, done: Completion<NodeId>) {
        self.push(Item::Driver(DriverInput::Transfer { to, waiter: done, deadline: clock::deadline(timeout) }));
    }

    /// Waits until a leader is known and the first entry of its term is applied here.
    pub fn wait_ready(&self, timeout: Option<Duration>, done: Completion<()>) {
        self.push(Item::WaitReady(done, clock::deadline(timeout)));
    }

    /// Waits for a change of role, term or leader with a version beyond `seen` (0: tells at once).
    pub fn next_change(&self, seen: u64, timeout: Option<Duration>, done: Completion<status::Change>) {
        self.push(Item::NextChange(seen, done, clock::deadline(timeout)));
    }

    fn push(&self, item: Item<S>) {
        if let Err(item) = self.inbox.push(item) {
            end_item(&self.shared, item);
        }
    }

    /// Role, term, leader, commit and applied: a cell, never waits.
    pub fn summary(&self) -> Summary {
        self.shared.summary()
    }

    /// Everything; after a close the last values.
    pub fn status(&self) -> Status {
        let (reply, answer) = sync_channel(1);
        drop(self.inbox.push(Item::Status(reply)));
        let fresh = answer.recv_timeout(STATUS_PATIENCE).ok();
        if let Some(status) = fresh {
            *lock(&self.last_status) = Some(status.clone());
            return status;
        }
        let last = lock(&self.last_status).clone();
        last.unwrap_or_else(|| {
            let Summary { role, term, leader, commit, applied, .. } = self.summary();
            Status {
                id: self.shared.id,
                role,
                term,
                leader,
                commit,
                applied,
                last: LogId::ZERO,
                durable: 0,
                purged: LogId::ZERO,
                snapshot: None,
                configuration_index: 0,
                configuration: self.configuration(),
                missing: Vec::new(),
                apply_error: self.shared.apply_failure(),
                storage_stalled: false,
                progress: None,
            }
        })
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.read()
    }

    /// Whether `close` or `crash` was called, or the node stopped by itself.
    pub fn is_closed(&self) -> bool {
        self.shared.closing.load(Ordering::Acquire)
    }

    /// Why the node stopped by itself, if it did.
    pub fn failure(&self) -> Option<NodeError> {
        self.shared.failure()
    }

    /// Refuses new calls, waits for those under way, hands leadership over if asked to, and stops, all within `timeout`. What
    /// hangs in a plugin is left behind. Idempotent; a second caller waits for the first.
    pub fn close(&self, handover: bool, timeout: Duration) -> CloseReport {
        let (begun, timeout) = (Instant::now(), timeout.min(LONGEST_CLOSE));
        self.shared.closing.store(true, Ordering::Release);
        let mut running = lock(&self.running);
        let Some(mut parts) = running.take() else { return lock(&self.report).clone().unwrap_or_default() };
        let drain_until = clock::now().saturating_add(micros(timeout / 3));
        self.push(Item::Driver(DriverInput::Close { handover, drain_until }));
        parts.core.wait(begun + timeout.mul_f64(0.7));
        if !parts.core.ended() {
            drop(self.inbox.push(Item::Stop));
        }
        let report = self.finish(&mut parts, begun + timeout, true);
        *lock(&self.report) = Some(report.clone());
        report
    }

    /// Stops as `kill -9` would: nothing is flushed or handed over.
    pub fn crash(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.stopped.store(true, Ordering::Release);
        drop(self.inbox.push(Item::Stop));
        let mut running = lock(&self.running);
        let Some(mut parts) = running.take() else { return };
        let report = self.finish(&mut parts, Instant::now() + CRASH_PATIENCE, false);
        *lock(&self.report) = Some(report);
    }

    fn finish(&self, parts: &mut Running<S>, deadline: Instant, clean: bool) -> CloseReport {
        let mut left_behind = parts.core.join(deadline);
        left_behind.extend(parts.threads.join(deadline));
        // Whatever hangs: nobody waits for it any longer.
        self.shared.stopped.store(true, Ordering::Release);
        self.queues.abandon(&self.shared);
        if let Some(storage) = parts.storage.take() {
            left_behind.extend(self.close_storage(storage, deadline, clean && left_behind.is_empty()));
        }
        if !left_behind.is_empty() {
            self.shared.record(Level::Warning, "node", || {
                format!("the node is closed, but these threads hang in a plugin and were left behind: {left_behind:?}")
            });
        }
        CloseReport { left_behind }
    }

    /// On a thread of its own, because a plugin's `close` may hang.
    fn close_storage(&self, mut storage: Box<dyn Storage>, deadline: Instant, clean: bool) -> Vec<String> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            shared.hooks.started("close");
            if let Err(error) = storage.close(clean) {
                shared.record(Level::Error, "node", || format!("storage did not close cleanly: {error}"));
            }
            drop(storage);
            shared.hooks.ending("close");
        };
        let shared = Arc::clone(&self.shared);
        let mut closer = Threads::default();
        let spawned = closer.spawn(self.shared.id, "close", work, move |message| {
            shared.record(Level::Error, "node", || format!("closing the storage failed: {message}"));
        });
        if let Err(error) = spawned {
            self.shared.record(Level::Error, "node", || error.to_string());
        }
        // A little beyond the deadline, so that a close that used it up elsewhere still frees its directory.
        closer.join(deadline.max(Instant::now() + Duration::from_millis(500)))
    }
}

impl<S: StateMachine> Drop for Node<S> {
    fn drop(&mut self) {
        if lock(&self.running).is_some() {
            self.crash();
        }
    }
}
