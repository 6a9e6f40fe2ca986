//! Starting a node: everything is taken, or nothing.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use d_engine_raft::{Core, LogId, Member, NodeId};

use super::applier::Applier;
use super::apply::ApplyQueue;
use super::core_loop::{CoreLoop, Queues};
use super::identify::{become_member, identify, random};
use super::inbox::{Inbox, Item, NodeInbound};
use super::log::LogWork;
use super::park::CondvarPark;
use super::send::{self, Outbound};
use super::threads::Threads;
use super::{Queue, Shared, clock, reader, snapshots, transfer};
use crate::apply::{AppliedState, is_witness, own_member};
use crate::config::NodeConfig;
use crate::driver::Driver;
use crate::error::NodeError;
use crate::node::{Join, NodeParts};
use crate::recover::{Recovered, recover};
use crate::status::Status;
use crate::traits::{
    LogSink, LogStore, Park, SnapshotStore, StateMachine, Storage, ThreadHooks, Transport, TransportStart,
};

/// A node that runs.
pub struct Running<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub queues: Arc<Queues<S>>,
    pub threads: Threads,
    pub core: Threads,
    pub storage: Option<Box<dyn Storage>>,
    pub last_status: Arc<Mutex<Option<Status>>>,
}

/// What takes part in a start that may fail half-way.
pub struct Taken {
    pub storage: Box<dyn Storage>,
    pub opened: bool,
    pub transport: Option<Box<dyn Transport>>,
    pub threads: Threads,
}

/// How long an undone start waits for its threads.
const UNDO: Duration = Duration::from_secs(5);

pub fn start<S: StateMachine>(parts: NodeParts<S>) -> Result<Running<S>, NodeError> {
    let NodeParts { id, config, members, join, storage, machine, transport, log, hooks } = parts;
    config.validate()?;
    let mut taken = Taken { storage, opened: false, transport: Some(transport), threads: Threads::default() };
    let queues = Arc::new(Queues::default());
    let started = assemble(&mut taken, &queues, id, config, members, join, machine, log, hooks);
    match started {
        Ok((shared, inbox, core, last_status)) => Ok(Running {
            shared,
            inbox,
            queues,
            threads: taken.threads,
            core,
            storage: Some(taken.storage),
            last_status,
        }),
        Err(error) => {
            queues.close();
            taken.threads.join(Instant::now() + UNDO);
            if let Some(transport) = &mut taken.transport {
                transport.close();
            }
            if taken.opened {
                // The error that ended the start is worth more than one that follows from it.
                let _ = taken.storage.close(true);
            }
            Err(error)
        }
    }
}

type Assembled<S> = (Arc<Shared>, Arc<Inbox<S>>, Threads, Arc<Mutex<Option<Status>>>);

#[expect(clippy::too_many_arguments, reason = "the parts of a node, taken apart")]
fn assemble<S: StateMachine>(
    taken: &mut Taken,
    queues: &Arc<Queues<S>>,
    id: NodeId,
    config: NodeConfig,
    members: Vec<Member>,
    join: Option<Join>,
    machine: S,
    log: Arc<dyn LogSink>,
    hooks: Arc<dyn ThreadHooks>,
) -> Result<Assembled<S>, NodeError> {
    let hello = identify(taken, id, &config, members, join.as_ref(), log.as_ref())?;
    let storage_failed = |error| NodeError::Storage { node: id, error };
    let loaded = taken.storage.load().map_err(storage_failed)?;
    let store = taken.storage.log().map_err(storage_failed)?;
    let snapshots = taken.storage.snapshots().map_err(storage_failed)?;
    let recovered = Arc::new(recover(&hello, loaded, store.as_ref(), snapshots.as_ref()).map_err(storage_failed)?);
    let configuration = recovered.configurations.last().map_or_else(|| hello.initial.clone(), |(_, last)| last.clone());
    // A node that nobody has told who the members are begins with those that took it in.
    let peers = if configuration.members.is_empty() {
        become_member(taken, id, &config, &hello, join.as_ref())?
    } else {
        configuration.members.clone()
    };
    let own = own_member(&configuration, &peers, &hello).or_else(|| join.map(|join| join.member));
    let address = own.as_ref().map(|member| member.address.clone()).unwrap_or_default();
    let shared = Arc::new(Shared::new(config, hello, configuration, log, hooks));
    shared.set_witness(own.as_ref().is_some_and(is_witness));
    let inbox = Arc::new(Inbox::default());
    let mut spawner = Spawner { shared: &shared, inbox: &inbox, threads: &mut taken.threads };

    let position = start_apply(&mut spawner, queues, machine, &recovered, &snapshots)?;
    let inbound = NodeInbound {
        shared: Arc::clone(&shared),
        inbox: Arc::clone(&inbox),
        transfers: Arc::clone(&queues.transfers),
    };
    let transport_failed = |error| NodeError::Transport { node: id, error };
    let Some(transport) = &mut taken.transport else { return Err(shared.closed()) };
    let begin = TransportStart { hello: shared.hello.clone(), address, inbound: Arc::new(inbound) };
    let park = transport.start(begin).map_err(transport_failed)?;
    transport.set_peers(&peers).map_err(transport_failed)?;
    let park: Box<dyn Park> = park.unwrap_or_else(|| Box::new(CondvarPark::default()));
    inbox.set_unpark(park.unparker());

    start_workers(&mut spawner, queues, &store, &snapshots)?;
    let outbound = if transport.blocking() {
        let queue = Arc::new(Queue::default());
        let (taken_by_thread, shared_by_thread) = (Arc::clone(&queue), Arc::clone(&shared));
        let Some(transport) = taken.transport.take() else { return Err(shared.closed()) };
        spawner.spawn("send", move || send::run(&shared_by_thread, &taken_by_thread, transport))?;
        Outbound::Thread(queue)
    } else {
        let Some(transport) = taken.transport.take() else { return Err(shared.closed()) };
        Outbound::Here(transport)
    };
    let driver = make_driver(&shared, &recovered, position)?;
    let last_status = Arc::new(Mutex::new(None));
    let core_loop = CoreLoop::new(
        Arc::clone(&shared),
        Arc::clone(&inbox),
        Arc::clone(queues),
        driver,
        outbound,
        park,
        Arc::clone(&last_status),
    );
    let mut core = Threads::default();
    let (panicked, left) = (Arc::clone(&shared), (Arc::clone(queues), Arc::clone(&inbox)));
    core.spawn(
        id,
        "core",
        move || core_loop.run(),
        move |message| {
            panicked.fail(NodeError::Panic { node: panicked.id, thread: "core".into(), message });
            panicked.stopped.store(true, std::sync::atomic::Ordering::Release);
            left.0.abandon(&panicked);
            for item in left.1.end() {
                super::end_item(&panicked, item);
            }
        },
    )?;
    Ok((shared, inbox, core, last_status))
}

/// Starts threads whose panic stops the node.
struct Spawner<'a, S: StateMachine> {
    shared: &'a Arc<Shared>,
    inbox: &'a Arc<Inbox<S>>,
    threads: &'a mut Threads,
}

impl<S: StateMachine> Spawner<'_, S> {
    fn spawn(&mut self, name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), NodeError> {
        let hooked = Arc::clone(&self.shared.hooks);
        let (shared, inbox) = (Arc::clone(self.shared), Arc::clone(self.inbox));
        let run = move || {
            hooked.started(name);
            let ending = Ending(&*hooked, name);
            work();
            drop(ending);
        };
        self.threads.spawn(self.shared.id, name, run, move |message| {
            shared.fail(NodeError::Panic { node: shared.id, thread: name.into(), message });
            drop(inbox.push(Item::Stop));
        })
    }
}

/// Says that a thread ends, however it does.
struct Ending<'a>(&'a dyn ThreadHooks, &'static str);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ending(self.1);
    }
}

/// Starts the apply thread, which first brings the machine to where the log goes on.
fn start_apply<S: StateMachine>(
    spawner: &mut Spawner<'_, S>,
    queues: &Queues<S>,
    mut machine: S,
    recovered: &Arc<Recovered>,
    store: &Arc<dyn SnapshotStore>,
) -> Result<LogId, NodeError> {
    let (answer, answered) = sync_channel(1);
    let initial = || (0, spawner.shared.hello.initial.clone());
    let mut applier = Applier {
        shared: Arc::clone(spawner.shared),
        inbox: Arc::clone(spawner.inbox),
        queue: Arc::clone(&queues.apply),
        snapshots: Arc::clone(&queues.snapshots),
        store: Arc::clone(store),
        state: AppliedState::new(recovered.configurations.first().cloned().unwrap_or_else(initial)),
        in_hand: Vec::new(),
    };
    let recovered = Arc::clone(recovered);
    spawner.spawn("apply", move || {
        let outcome = applier.bring_up(&mut machine, &recovered);
        drop(recovered);
        let fine = outcome.is_ok();
        // Without somebody who waits for the answer, the start was given up.
        if answer.send(outcome).is_ok() && fine {
            applier.run(machine);
        }
    })?;
    answered.recv().unwrap_or_else(|_| {
        // It panicked, and says so as its last act.
        spawner.threads.join(Instant::now() + UNDO);
        Err(spawner.shared.failure().unwrap_or_else(|| spawner.shared.closed()))
    })
}

fn start_workers<S: StateMachine>(
    spawner: &mut Spawner<'_, S>,
    queues: &Arc<Queues<S>>,
    store: &Arc<dyn LogStore>,
    snapshot_store: &Arc<dyn SnapshotStore>,
) -> Result<(), NodeError> {
    let work = Arc::new(LogWork::new(
        Arc::clone(spawner.shared),
        Arc::clone(spawner.inbox),
        Arc::clone(&queues.log),
        Arc::clone(store),
    ));
    let names: &[&'static str] = if store.pipelined() { &["log", "log-2"] } else { &["log"] };
    for name in names {
        let work = Arc::clone(&work);
        spawner.spawn(name, move || work.run())?;
    }
    let (shared, inbox) = (Arc::clone(spawner.shared), Arc::clone(spawner.inbox));
    let (queue, log) = (Arc::clone(&queues.reader), Arc::clone(store));
    spawner.spawn("reader", move || reader::run(&shared, &inbox, &queue, &log))?;

    let (shared, inbox) = (Arc::clone(spawner.shared), Arc::clone(spawner.inbox));
    let (queue, transfers) = (Arc::clone(&queues.snapshots), Arc::clone(&queues.transfers));
    let files = Arc::clone(snapshot_store);
    spawner.spawn("snapshot", move || snapshots::run(&shared, &inbox, &queue, files.as_ref(), &transfers))?;

    let (shared, inbox) = (Arc::clone(spawner.shared), Arc::clone(spawner.inbox));
    let (queue, files) = (Arc::clone(&queues.transfers), Arc::clone(snapshot_store));
    spawner.spawn("transfer", move || transfer::run(&shared, &inbox, files, &queue))
}

fn make_driver<S: StateMachine>(
    shared: &Shared,
    recovered: &Recovered,
    applied: LogId,
) -> Result<Driver<Core, super::calls::RuntimeCalls<S>>, NodeError> {
    #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
    let seed = random(shared.id)? as u64;
    let start = recovered.core_start(&shared.hello, seed, applied);
    let core = Core::new(clock::now(), shared.config.settings(), start);
    let settings = shared.config.driver_settings(shared.id);
    Ok(Driver::new(core, settings, &recovered.driver_start(seed, applied)))
}

impl<S: StateMachine> Default for Queues<S> {
    fn default() -> Self {
        Self {
            log: Arc::default(),
            reader: Arc::default(),
            apply: Arc::new(ApplyQueue::default()),
            snapshots: Arc::default(),
            transfers: Arc::default(),
        }
    }
}
