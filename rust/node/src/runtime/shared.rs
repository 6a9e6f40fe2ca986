//! What all threads of a node share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use d_engine_raft::{ChangeError, Configuration, Index, Micros, NodeId, Refusal, Term};

use super::clock;
use super::park::lock;
use crate::config::{NodeConfig, micros};
use crate::driver::{Failure, Unknown};
use crate::error::{NodeError, PluginFailure};
use crate::metrics::Counters;
use crate::status::Summary;
use crate::traits::{Hello, Level, LogRecord, LogSink, ThreadHooks};

/// Cells and counters; no queue is in here.
pub struct Shared {
    pub id: NodeId,
    pub config: NodeConfig,
    pub hello: Hello,
    pub counters: Counters,
    pub log: Arc<dyn LogSink>,
    pub hooks: Arc<dyn ThreadHooks>,
    summary: Mutex<Summary>,
    configuration: Mutex<Arc<Configuration>>,
    /// This node votes and keeps the log, and has no state machine.
    witness: AtomicBool,
    /// New calls are refused.
    pub closing: AtomicBool,
    /// Threads end without finishing what they have.
    pub stopped: AtomicBool,
    failure: OnceLock<NodeError>,
    apply_failure: OnceLock<PluginFailure>,
    snapshot_failure: Mutex<Option<NodeError>>,
    /// Set by the apply thread before it tells anybody of a result: nobody sees an older one afterwards.
    applied: AtomicU64,
    waiting_calls: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// How long the call waited that ended last.
    last_wait: AtomicU64,
    last_end: AtomicU64,
    /// Beyond that a crowd gets no longer.
    longest_wait: Micros,
}

/// As many calls, or bytes, may wait however long it takes: enough to keep everything busy. What comes beyond that while calls
/// wait long is refused at once: it would only wait longer, and time out in the end though the node worked on it.
const CROWD_CALLS: usize = 1_024;
const CROWD_BYTES: usize = 4 << 20;

impl Shared {
    pub fn new(
        config: NodeConfig,
        hello: Hello,
        configuration: Configuration,
        log: Arc<dyn LogSink>,
        hooks: Arc<dyn ThreadHooks>,
    ) -> Self {
        let longest_wait = micros(config.request_timeout) / 16;
        Self {
            id: hello.node,
            config,
            hello,
            counters: Counters::default(),
            log,
            hooks,
            summary: Mutex::default(),
            configuration: Mutex::new(Arc::new(configuration)),
            witness: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            failure: OnceLock::new(),
            apply_failure: OnceLock::new(),
            snapshot_failure: Mutex::default(),
            applied: AtomicU64::new(0),
            waiting_calls: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            last_wait: AtomicU64::new(0),
            last_end: AtomicU64::new(clock::now()),
            longest_wait,
        }
    }

    pub fn summary(&self) -> Summary {
        let summary = *lock(&self.summary);
        let applied = self.applied();
        Summary { applied, commit: summary.commit.max(applied), ..summary }
    }

    pub fn applied(&self) -> Index {
        self.applied.load(Ordering::Acquire)
    }

    pub fn set_applied(&self, index: Index) {
        self.applied.store(index, Ordering::Release);
    }

    pub fn set_summary(&self, summary: Summary) {
        *lock(&self.summary) = summary;
    }

    pub fn configuration(&self) -> Arc<Configuration> {
        Arc::clone(&lock(&self.configuration))
    }

    pub fn set_configuration(&self, configuration: Arc<Configuration>) {
        *lock(&self.configuration) = configuration;
    }

    pub fn is_witness(&self) -> bool {
        self.witness.load(Ordering::Acquire)
    }

    pub fn set_witness(&self, witness: bool) {
        self.witness.store(witness, Ordering::Release);
    }

    /// Why a witness gives no results.
    pub fn witness(&self) -> NodeError {
        let Summary { leader, term, .. } = self.summary();
        NodeError::Witness { node: self.id, leader, address: self.address_of(leader), term }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Why the node stopped by itself.
    pub fn failure(&self) -> Option<NodeError> {
        self.failure.get().cloned()
    }

    /// The first failure counts; later ones follow from it.
    pub fn fail(&self, error: NodeError) {
        self.record(Level::Error, "node", || format!("the node stops: {error}"));
        // Set once: what a second failure says is in the log.
        let _ = self.failure.set(error);
        self.closing.store(true, Ordering::Release);
    }

    /// Why apply stopped.
    pub fn apply_failure(&self) -> Option<PluginFailure> {
        self.apply_failure.get().cloned()
    }

    /// Why the newest snapshot was not made, for those who wait for it. `None`: because apply has stopped.
    pub fn set_snapshot_failure(&self, failure: Option<NodeError>) {
        *lock(&self.snapshot_failure) = failure;
    }

    pub fn stop_applying(&self, failure: PluginFailure) {
        self.record(Level::Error, "apply", || {
            format!("apply stops on this node until it is restarted; it goes on voting and replicating: {failure}")
        });
        // Set once: nothing is applied after it.
        let _ = self.apply_failure.set(failure);
    }

    /// Makes and hands over a log record, if anybody wants it.
    pub fn record(&self, level: Level, part: &'static str, message: impl FnOnce() -> String) {
        self.record_at(level, part, None, None, message);
    }

    pub fn record_at(
        &self,
        level: Level,
        part: &'static str,
        term: Option<Term>,
        index: Option<Index>,
        message: impl FnOnce() -> String,
    ) {
        if self.log.enabled(level) {
            self.log.log(LogRecord { level, part, message: message(), node: self.id, term, index });
        }
    }

    /// A failure of the driver in the user's words.
    pub fn describe(&self, failure: &Failure) -> NodeError {
        let node = self.id;
        let not_accepted = |why: String| NodeError::NotAccepted { node, why };
        let unknown = |why: String| NodeError::OutcomeUnknown { node, why };
        match failure {
            Failure::NotLeader { leader, term } => {
                NodeError::NotLeader { node, leader: *leader, address: self.address_of(*leader), term: *term }
            }
            Failure::ChangeRefused(ChangeError::NotLeader) => self.not_leader(),
            Failure::Refused(Refusal::Overloaded) | Failure::ChangeRefused(ChangeError::Overloaded) => {
                NodeError::Overloaded { node, why: "too many bytes wait for a quorum (max_uncommitted_bytes)".into() }
            }
            Failure::ChangeRefused(why) => NodeError::ChangeRefused { node, why: *why },
            Failure::Removed => NodeError::Removed { node },
            Failure::Refused(Refusal::Closing) | Failure::Closed => self.closed(),
            Failure::Refused(why) => not_accepted(why.to_string()),
            Failure::Overwritten { at, by } => {
                not_accepted(format!("its place {at} in the log went to another leader's entry, of term {by}"))
            }
            Failure::TooLargeToForward { size, limit } => not_accepted(format!(
                "a batch of {size} bytes cannot be passed on to the leader in one frame (limit {limit}): propose it in \
                 smaller batches, or on the leader"
            )),
            Failure::Unknown(Unknown::Timeout(at)) => unknown(format!("it stands at {at} and was not applied in time")),
            Failure::Unknown(Unknown::Forwarded(to)) => {
                unknown(format!("it was passed on to node {to}, which did not answer in time"))
            }
            Failure::Unknown(Unknown::Closed) => unknown("the node closed before it was applied here".into()),
            Failure::Unknown(Unknown::Restored(last)) => unknown(format!(
                "this node got a snapshot up to {last} instead of the entry; its result is not known here"
            )),
            Failure::Unknown(Unknown::Applied(at)) => {
                unknown(format!("it was applied at {at} before this node knew of its place; its result was not kept"))
            }
            Failure::Deadline => self.late("the call"),
            Failure::ApplyStopped => self.apply_stopped(),
            Failure::SnapshotFailed => {
                let failure = lock(&self.snapshot_failure).clone();
                failure.unwrap_or_else(|| self.apply_stopped())
            }
        }
    }

    /// The same, where leadership was to be given away.
    pub fn describe_transfer(&self, failure: &Failure) -> NodeError {
        match failure {
            Failure::Refused(why) => NodeError::TransferRefused { node: self.id, why: *why },
            Failure::Deadline => self.late("a transfer of leadership"),
            other => self.describe(other),
        }
    }

    fn not_leader(&self) -> NodeError {
        let Summary { leader, term, .. } = self.summary();
        NodeError::NotLeader { node: self.id, leader, address: self.address_of(leader), term }
    }

    fn address_of(&self, node: Option<NodeId>) -> Option<String> {
        node.and_then(|id| self.configuration().member(id).map(|member| member.address.clone()))
    }

    pub fn late(&self, what: &str) -> NodeError {
        NodeError::Deadline { node: self.id, what: format!("{what} was not served before its timeout") }
    }

    pub fn apply_stopped(&self) -> NodeError {
        let failure = self
            .apply_failure()
            .unwrap_or_else(|| PluginFailure::new("StateMachine.apply", "apply has stopped on this node"));
        NodeError::Plugin { node: self.id, failure }
    }

    pub fn closed(&self) -> NodeError {
        NodeError::Closed { node: self.id }
    }

    fn leave(&self, bytes: usize) {
        self.waiting_calls.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Room for one more call, given back when the guard is dropped.
    pub fn admit(self: &Arc<Self>, bytes: usize) -> Result<Admission, NodeError> {
        let calls = self.waiting_calls.fetch_add(1, Ordering::Relaxed);
        let held = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = clock::now();
        // Of the call that ended last, or since then: where everything stands still, nothing ends.
        let silence = now.saturating_sub(self.last_end.load(Ordering::Relaxed));
        let wait = self.last_wait.load(Ordering::Relaxed).max(silence);
        let crowded = calls >= CROWD_CALLS || held >= CROWD_BYTES;
        if !crowded {
            // What was before says nothing of a crowd that is still to come.
            self.last_wait.store(0, Ordering::Relaxed);
            self.last_end.store(now, Ordering::Relaxed);
        }
        let why = if calls >= self.config.max_waiting_calls {
            format!("{calls} calls are waiting (max_waiting_calls)")
        } else if held > 0 && held + bytes > self.config.max_waiting_bytes {
            format!("{held} bytes are waiting (max_waiting_bytes)")
        } else if crowded && wait > self.longest_wait {
            let millis = wait / 1_000;
            format!("{calls} calls are waiting, {millis} ms by now: more than a sixteenth of request_timeout")
        } else {
            return Ok(Admission { shared: Arc::clone(self), bytes, begun: now });
        };
        self.leave(bytes);
        crate::metrics::add(&self.counters.overloaded, 1);
        Err(NodeError::Overloaded { node: self.id, why })
    }
}

/// One call's share of the bounds.
pub struct Admission {
    shared: Arc<Shared>,
    bytes: usize,
    begun: Micros,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.leave(self.bytes);
        let now = clock::now();
        self.shared.last_wait.store(now.saturating_sub(self.begun), Ordering::Relaxed);
        self.shared.last_end.store(now, Ordering::Relaxed);
    }
}
