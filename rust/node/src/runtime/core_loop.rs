//! The core thread: the event loop of a node.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use d_engine_raft::{Configuration, Core, Event, Micros, Role, Term};

use super::Queue;
use super::apply::{ApplyQueue, ApplyTask};
use super::calls::{RuntimeCalls, complete};
use super::clock;
use super::inbox::{Inbox, Item};
use super::park::lock;
use super::peers::Peers;
use super::reader::FetchTask;
use super::send::{Outbound, Outbox};
use super::shared::Shared;
use super::snapshots::SnapshotTask;
use super::watch::Watch;
use crate::apply::{RoleChange, role_change};
use crate::config::micros;
use crate::driver::{Action, Driver, DriverInput, Failure, Raft, Unknown};
use crate::error::{NodeError, PluginFailure};
use crate::metrics::{add, count};
use crate::status::{FollowerProgress, Status, Summary};
use crate::storage::LogTask;
use crate::traits::{Level, Park, StateMachine};
use crate::transfer::TransferInput;

/// The queues of the other threads.
pub struct Queues<S: StateMachine> {
    pub log: Arc<Queue<LogTask>>,
    pub reader: Arc<Queue<FetchTask>>,
    pub apply: Arc<ApplyQueue<S>>,
    pub snapshots: Arc<Queue<SnapshotTask>>,
    pub transfers: Arc<Queue<TransferInput>>,
}

impl<S: StateMachine> Queues<S> {
    /// Lets the other threads finish what they have.
    pub fn close(&self) {
        self.log.close();
        self.reader.close();
        self.apply.tasks.close();
        self.snapshots.close();
        self.transfers.close();
    }

    /// Lets them stop at once; whoever waits gets an answer.
    pub fn abandon(&self, shared: &Arc<Shared>) {
        drop(self.log.abandon());
        drop(self.reader.abandon());
        drop(self.snapshots.abandon());
        drop(self.transfers.abandon());
        self.apply.end(shared);
    }
}

/// For so many election timeouts a leader tries to tell a removed member of its removal.
const REMOVAL_PATIENCE: Micros = 4;

/// The thread's state.
pub struct CoreLoop<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub queues: Arc<Queues<S>>,
    pub driver: Driver<Core, RuntimeCalls<S>>,
    pub outbound: Outbound,
    pub park: Box<dyn Park>,
    pub watch: Watch,
    peers: Peers,
    outbox: Outbox,
    actions: Vec<Action<RuntimeCalls<S>>>,
    log: Vec<LogTask>,
    apply: Vec<ApplyTask<S>>,
    last_status: Arc<Mutex<Option<Status>>>,
    seen_term: Term,
    stop: bool,
}

impl<S: StateMachine> CoreLoop<S> {
    pub fn new(
        shared: Arc<Shared>,
        inbox: Arc<Inbox<S>>,
        queues: Arc<Queues<S>>,
        driver: Driver<Core, RuntimeCalls<S>>,
        outbound: Outbound,
        park: Box<dyn Park>,
        last_status: Arc<Mutex<Option<Status>>>,
    ) -> Self {
        let mut peers = Peers::new(REMOVAL_PATIENCE * micros(shared.config.election_timeout.1));
        peers.set(clock::now(), &shared.configuration().members);
        Self {
            shared,
            inbox,
            queues,
            driver,
            outbound,
            park,
            watch: Watch::default(),
            peers,
            outbox: Outbox::default(),
            actions: Vec::new(),
            log: Vec::new(),
            apply: Vec::new(),
            last_status,
            seen_term: 0,
            stop: false,
        }
    }

    pub fn run(mut self) {
        let mut items = Vec::new();
        while !self.stop && !self.driver.closed() {
            self.inbox.drain(&self.shared, &mut items);
            // After draining: a lease or a timeout must never be judged by a time before what is about to be stepped.
            let (now, wall) = (clock::now(), clock::wall());
            for item in items.drain(..) {
                self.take(now, wall, item);
            }
            if self.stop {
                break;
            }
            self.driver.flush(now, wall, &mut self.actions);
            self.publish();
            self.carry_out();
            self.expire(now);
            let limit = if self.inbox.is_empty() { self.limit() } else { Some(Duration::ZERO) };
            if !self.stop && !self.driver.closed() {
                self.park.park(limit);
                add(&self.shared.counters.core_wakeups, 1);
            }
        }
        self.end();
    }

    fn take(&mut self, now: Micros, wall: u64, item: Item<S>) {
        match item {
            Item::Driver(input) => {
                add(&self.shared.counters.core_steps, 1);
                self.driver.handle(now, wall, input, &mut self.actions);
            }
            Item::Messages(messages) => {
                count(&self.shared.counters.core_steps, messages.len());
                for message in messages {
                    self.driver.handle(now, wall, DriverInput::Message(message), &mut self.actions);
                }
            }
            Item::Send(frames) => self.outbox.extend(frames),
            // The asker may have gone meanwhile.
            Item::Status(reply) => drop(reply.try_send(self.status(now))),
            Item::WaitReady(done, deadline) => self.watch.wait_ready(&self.shared, done, deadline),
            Item::NextChange(seen, done, deadline) => self.watch.next_change(&self.shared, seen, done, deadline),
            Item::Stop => self.stop = true,
        }
    }

    /// Before anything is carried out: who gets an answer must find a state that is not older.
    fn publish(&mut self) {
        let (role, term, leader) = self.driver.position();
        let commit = Raft::commit(self.driver.core());
        let (applied, ready) = (self.driver.applied().index, self.driver.ready());
        let summary = Summary { role, term, leader, commit, applied, ready };
        self.shared.set_summary(summary);
        self.watch.update(&self.shared, &summary);
    }

    fn carry_out(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.carry(action);
        }
        self.actions = actions;
        // The disk first: it takes longest.
        if !self.log.is_empty() {
            self.queues.log.push_all(self.log.drain(..));
        }
        let frames = self.outbox.take(&self.shared);
        self.outbound.send(&self.shared, frames);
        self.queues.apply.push(&self.shared, &mut self.apply);
    }

    fn carry(&mut self, action: Action<RuntimeCalls<S>>) {
        let counters = &self.shared.counters;
        match action {
            // A node that stops like this says and writes nothing more.
            Action::Persist(_)
            | Action::Purge(_)
            | Action::Fetch { .. }
            | Action::Send(_)
            | Action::Restore(_)
            | Action::TakeSnapshot
            | Action::SendSnapshot { .. }
                if self.stop => {}
            Action::Persist(persist) => self.log.push(LogTask::Persist(persist)),
            Action::Purge(upto) => self.log.push(LogTask::Purge(upto)),
            Action::Fetch { id, lo, hi, max_bytes } => {
                self.queues.reader.push(FetchTask { id, lo, hi, max_bytes });
            }
            Action::Send(message) => self.outbox.push(&self.shared, message),
            Action::Apply { entries, wanted } => self.apply.push(ApplyTask::Apply { entries, wanted }),
            Action::Restore(last) => self.apply.push(ApplyTask::Restore(last)),
            Action::Query { waiter, index } => self.apply.push(ApplyTask::Query { query: waiter, index }),
            Action::TakeSnapshot => self.apply.push(ApplyTask::TakeSnapshot),
            Action::SendSnapshot { to, at_least } => {
                let (_, term, _) = self.driver.position();
                self.queues.transfers.push(TransferInput::Send { to, at_least, term });
            }
            Action::FailProposal { id, waiter, failure } => {
                if matches!(failure, Failure::Unknown(Unknown::Timeout(_) | Unknown::Forwarded(_))) {
                    add(&counters.expired, 1);
                }
                match id {
                    Some(id) => self.apply.push(ApplyTask::Fail { id, proposal: waiter, failure }),
                    None => waiter.finish(&self.shared, Vec::new(), Some(self.shared.describe(&failure))),
                }
            }
            Action::FailRead { waiter, failure } => {
                if failure == Failure::Deadline {
                    add(&counters.expired, 1);
                }
                waiter.fail(&self.shared, self.shared.describe(&failure));
            }
            Action::EndSnapshot { waiter, result } => {
                complete(&self.shared, waiter, result.map_err(|failure| self.shared.describe(&failure)));
            }
            Action::EndChange { waiter, result } => {
                complete(&self.shared, waiter, result.map_err(|failure| self.shared.describe(&failure)));
            }
            Action::EndTransfer { waiter, result } => {
                complete(&self.shared, waiter, result.map_err(|failure| self.shared.describe_transfer(&failure)));
            }
            Action::Forwarded { entries, .. } => count(&counters.forwarded_entries, entries),
            Action::ReadRound => add(&counters.read_rounds, 1),
            Action::Event(event) => self.event(&event),
            Action::Closed => {}
        }
    }

    fn event(&mut self, event: &Event) {
        let counters = &self.shared.counters;
        match event {
            Event::Changed { role, term, leader } => {
                if std::mem::replace(&mut self.seen_term, *term) != *term {
                    add(&counters.term_changes, 1);
                }
                match role {
                    Role::Candidate => add(&counters.elections, 1),
                    Role::Leader => add(&counters.leaderships, 1),
                    Role::Follower | Role::PreCandidate => {}
                }
                self.shared.record_at(Level::Info, "core", Some(*term), None, || match leader {
                    Some(leader) => format!("{role:?} in term {term}; node {leader} leads"),
                    None => format!("{role:?} in term {term}; no leader is known"),
                });
            }
            Event::Configured { index, configuration } => {
                self.shared
                    .record_at(Level::Info, "core", None, Some(*index), || format!("the members are {configuration}"));
                self.check_own(configuration);
                self.check_role(configuration);
                self.shared.set_configuration(Arc::clone(configuration));
                let peers = self.peers.set(clock::now(), &configuration.members);
                self.outbound.set_peers(&self.shared, &peers);
            }
            Event::WipedMember { id, expected, found } => {
                self.shared.record(Level::Error, "core", || {
                    format!(
                        "node {id} runs on storage {found}, the cluster knows it by {expected}: its disk was wiped or \
                         exchanged, so neither its votes nor its acknowledgements count until it is added anew"
                    )
                });
            }
            Event::StorageStalled(stalled) => {
                self.shared.record(Level::Warning, "core", || {
                    if *stalled {
                        "storage has not answered for storage_stall_timeout: this node does not lead".to_owned()
                    } else {
                        "storage answers again".to_owned()
                    }
                });
            }
            Event::StaleSnapshot(last) => {
                self.shared
                    .record(Level::Debug, "core", || format!("a snapshot of {last} is older than the state here"));
            }
            Event::NotCatchingUp(id) => {
                self.shared.record(Level::Warning, "core", || {
                    format!("node {id} is not promoted: it does not catch up with what is written meanwhile")
                });
            }
            Event::Removed => {
                self.shared.record(Level::Warning, "core", || {
                    "this node has been removed from the cluster: it takes no more calls, and can be closed".to_owned()
                });
            }
        }
    }

    /// A wiped node learns of it from the configuration.
    fn check_own(&self, configuration: &Configuration) {
        let (node, found) = (self.shared.id, self.shared.hello.incarnation);
        if self.shared.hello.initial.members.is_empty() {
            // It has joined, and what it reads on its way to the present is of the past.
            return;
        }
        let known = configuration.member(node).and_then(|member| member.incarnation);
        if let Some(expected) = known.filter(|known| *known != found) {
            let error = NodeError::WipedMember { node, expected, found };
            self.shared.record(Level::Error, "core", || error.to_string());
        }
    }

    /// A member that becomes a witness needs no state any more; one that has been a witness has none.
    fn check_role(&self, configuration: &Configuration) {
        let (id, incarnation) = (self.shared.id, self.shared.hello.incarnation);
        match role_change(configuration, id, incarnation, self.shared.is_witness()) {
            Some(RoleChange::BecomesWitness) => {
                self.shared.set_witness(true);
                self.shared.record(Level::Info, "node", || "this node is a witness from now on".to_owned());
            }
            Some(RoleChange::LacksState) if self.shared.apply_failure().is_none() => {
                let why = "this node has been a witness until now and has no state: start it again".to_owned();
                self.shared.stop_applying(PluginFailure::new("StateMachine.apply", why));
                self.inbox.report(DriverInput::ApplyStopped);
            }
            _ => {}
        }
    }

    fn expire(&mut self, now: Micros) {
        if let Some(peers) = self.peers.expire(now) {
            self.outbound.set_peers(&self.shared, &peers);
        }
        if self.queues.apply.deadline().is_some_and(|due| due <= now) {
            self.queues.apply.expire(&self.shared, now);
        }
        if self.watch.deadline().is_some_and(|due| due <= now) {
            let driver = &self.driver;
            self.watch.expire(&self.shared, now, || driver.core().status().missing);
        }
    }

    fn limit(&self) -> Option<Duration> {
        let due = [self.driver.deadline(), self.queues.apply.deadline(), self.watch.deadline(), self.peers.deadline()];
        due.into_iter().flatten().min().map(|due| clock::until(clock::now(), due))
    }

    fn status(&self, now: Micros) -> Status {
        let core = self.driver.core().status();
        let active = micros(self.shared.config.election_timeout.1);
        let progress = core.progress.iter().map(|one| FollowerProgress {
            id: one.id,
            matched: one.matched,
            next: one.next,
            state: one.state,
            active: one.heard.is_some_and(|heard| now.saturating_sub(heard) < active),
        });
        Status {
            id: core.id,
            role: core.role,
            term: core.term,
            leader: core.leader,
            commit: core.commit,
            applied: self.shared.applied(),
            last: core.last,
            durable: core.durable,
            purged: core.purged,
            snapshot: core.snapshot,
            configuration_index: core.configuration_index,
            configuration: Arc::clone(&core.configuration),
            missing: core.missing.clone(),
            apply_error: self.shared.apply_failure(),
            storage_stalled: core.storage_stalled,
            progress: (core.role == Role::Leader).then(|| progress.collect()),
        }
    }

    /// Every waiter is answered, and the other threads are told.
    fn end(mut self) {
        self.shared.closing.store(true, Ordering::Release);
        *lock(&self.last_status) = Some(self.status(clock::now()));
        self.driver.fail_everything(&mut self.actions);
        self.carry_out();
        self.watch.end(&self.shared);
        if self.stop {
            self.shared.stopped.store(true, Ordering::Release);
            self.queues.abandon(&self.shared);
        } else {
            // Let what the transport took leave, a handover among it.
            self.park.park(Some(Duration::ZERO));
            self.queues.close();
        }
        self.outbound.close();
        for item in self.inbox.end() {
            end_item(&self.shared, item);
        }
    }
}

/// Answers whoever waits for an item that nobody takes.
pub fn end_item<S: StateMachine>(shared: &Arc<Shared>, item: Item<S>) {
    match item {
        Item::Driver(DriverInput::Propose { waiter, .. }) => {
            waiter.finish(shared, Vec::new(), Some(shared.closed()));
        }
        Item::Driver(DriverInput::Read { waiter, .. }) => waiter.fail(shared, shared.closed()),
        Item::Driver(DriverInput::Snapshot { waiter, .. } | DriverInput::Transfer { waiter, .. }) => {
            complete(shared, waiter, Err(shared.closed()));
        }
        Item::Driver(DriverInput::Change { waiter, .. }) => complete(shared, waiter, Err(shared.closed())),
        Item::WaitReady(done, _) => complete(shared, done, Err(shared.closed())),
        Item::NextChange(_, done, _) => complete(shared, done, Err(shared.closed())),
        _ => {}
    }
}
