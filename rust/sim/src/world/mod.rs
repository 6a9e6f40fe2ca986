//! The world: hosts, their connections, clients, and what befalls them, one thing after the other.

mod apply;
mod calls;
mod disk;
mod host;
mod hosted;
mod life;
mod log;
mod mail;
mod tell;
mod transfers;
mod turn;

use std::collections::BTreeMap;

use d_engine_node::NodeConfig;
use d_engine_raft::{Configuration, Member, MemberRole, Micros, NodeId, Settings};

use crate::agenda::Agenda;
use crate::checks;
use crate::clients::Clients;
use crate::driver::{Drivers, NativeDrivers};
use crate::fact::{Fact, Observer, Outcome, Phase, Request, Violation};
use crate::machine::Machines;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::options::Options;
use crate::outcome::{Failure, Summary};
use crate::random::{Purpose, Stream};

pub(crate) use apply::SESSION_IS_GONE;
pub(crate) use calls::Call;
pub(crate) use host::{Host, Standing};
pub(crate) use hosted::Troubles;
pub(crate) use tell::{Tally, Tell};

/// What may happen next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A core thread takes its inbox.
    Turn { node: NodeId, life: u32 },
    /// A driver's deadline.
    Wake { node: NodeId, life: u32 },
    /// A letter arrives.
    Mail(u32),
    /// A batch is written.
    Written { node: NodeId, life: u32 },
    /// A batch is durable.
    Synced { node: NodeId, life: u32 },
    /// Nothing was written for a while.
    Idle { node: NodeId, life: u32 },
    /// A read of the log is done.
    Fetched { node: NodeId, life: u32, id: u64, range: (u64, u64), max_bytes: usize },
    /// A round of the state machine is over.
    Applied { node: NodeId, life: u32 },
    /// A snapshot is written.
    Made { node: NodeId, life: u32 },
    /// The transfers of snapshots have something to do.
    Transfer { node: NodeId, life: u32 },
    /// A host's process starts.
    Start { node: NodeId, life: u32 },
    /// A client calls.
    Client(u64),
    /// A caller waits no longer.
    GiveUp(u64),
    /// A fault of the plan.
    Strike(usize),
    /// It ends, or goes on to its next part.
    Cease(usize),
    /// The repair of the cluster goes on.
    Repair,
    /// A phase ends.
    Phase,
}

/// Random numbers by purpose.
pub(crate) struct Streams {
    pub disk: Stream,
    pub damage: Stream,
    pub cores: Stream,
    pub clocks: Stream,
    pub machines: Stream,
    pub identities: Stream,
}

/// All of it.
pub struct World {
    pub(crate) options: Options,
    pub(crate) config: NodeConfig,
    settings: Settings,
    pub(crate) initial: Configuration,
    pub(crate) cluster_id: u128,
    pub(crate) now: Micros,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) network: Network,
    pub(crate) mail: mail::Post,
    pub(crate) calls: calls::Calls,
    pub(crate) clients: Clients,
    pub(crate) nemesis: Nemesis,
    pub(crate) streams: Streams,
    pub(crate) phase: Phase,
    machines: Box<dyn Machines>,
    drivers: Box<dyn Drivers>,
    tally: Tally,
    events: u64,
    over: bool,
}

/// A call is answered or given up by then.
const LONGEST_CALL: Micros = 4_000_000;
/// The world's wall clocks begin around here.
const EPOCH: Micros = 1_700_000_000_000_000;

/// What the nodes of a world are set to.
fn node_config(options: &Options, shape: &mut Stream) -> NodeConfig {
    let mut config = NodeConfig::default();
    let every = [0, 40, 120, 400][usize::try_from(shape.below(4)).unwrap_or(0)];
    config.snapshot_every_entries = if options.snapshot_every == 0 { every } else { options.snapshot_every };
    config.trailing_entries = [0, 10, 100][usize::try_from(shape.below(3)).unwrap_or(0)];
    config.storage_stall_timeout = std::time::Duration::from_millis(shape.between(1_500, 4_000));
    config.session_ttl = std::time::Duration::from_secs(20);
    config.max_sessions = usize::try_from(shape.between(3, 40)).unwrap_or(3);
    config.max_session_bytes = shape.between(2_000, 100_000);
    config.segment_bytes = 64 << 10;
    let mut one_of = |values: [u64; 4]| values[usize::try_from(shape.below(4)).unwrap_or(0)];
    config.snapshot_bytes_per_second = one_of([0, 0, 64 << 10, 512 << 10]);
    // Small limits, so that windows fill, frames are cut, and logs are read back.
    config.max_append_bytes = size(one_of([1 << 10, 16 << 10, 256 << 10, 256 << 10]));
    config.max_inflight_messages = size(one_of([1, 2, 16, 16]));
    config.max_inflight_bytes = size(one_of([4 << 10, 64 << 10, 4 << 20, 4 << 20]));
    config
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// What the cores are set to: what the configuration says, with less memory in some worlds.
fn core_settings(config: &NodeConfig, shape: &mut Stream) -> Settings {
    let mut settings = config.settings();
    let mut one_of = |values: [u64; 4]| size(values[usize::try_from(shape.below(4)).unwrap_or(0)]);
    settings.tail_bytes = one_of([2 << 10, 64 << 10, 32 << 20, 32 << 20]);
    settings.max_applying_bytes = one_of([4 << 10, 64 << 10, 16 << 20, 16 << 20]);
    settings.max_uncommitted_bytes = one_of([32 << 10, 256 << 10, 64 << 20, 64 << 20]);
    settings
}

pub(crate) fn voter(id: NodeId) -> Member {
    Member {
        id,
        address: format!("node-{id}:1"),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    }
}

impl World {
    /// A world before its first event, on native cores.
    #[must_use]
    pub fn new(options: &Options, machines: Box<dyn Machines>) -> Self {
        Self::with_drivers(options, machines, Box::new(NativeDrivers))
    }

    /// The same on cores and drivers of the caller's choice.
    #[must_use]
    pub fn with_drivers(options: &Options, mut machines: Box<dyn Machines>, drivers: Box<dyn Drivers>) -> Self {
        let seed = options.seed;
        let stream = |purpose| Stream::new(seed, purpose);
        let mut shape = stream(Purpose::Shape);
        let config = node_config(options, &mut shape);
        let settings = core_settings(&config, &mut shape);
        // Three most of the time: the smallest cluster in which everything can happen.
        let drawn = [3, 3, 3, 3, 3, 5, 3, 4, 3, 5][usize::try_from(shape.below(10)).unwrap_or(0)];
        let nodes = if options.nodes == 0 { drawn } else { options.nodes.min(7) };
        let initial = Configuration {
            members: (1..=nodes).map(voter).collect(),
            outgoing: Vec::new(),
            min_election_timeout: d_engine_node::micros(config.election_timeout.0),
        };
        let cluster_id = d_engine_node::cluster_id(&config.cluster, &initial);
        let workload = machines.workload();
        let mut world = Self {
            clients: Clients::new(options, workload),
            nemesis: Nemesis::new(options, nodes),
            options: options.clone(),
            config,
            settings,
            initial,
            cluster_id,
            now: 0,
            agenda: Agenda::default(),
            hosts: BTreeMap::new(),
            network: Network::new(seed),
            mail: mail::Post::default(),
            calls: calls::Calls::default(),
            streams: Streams {
                disk: stream(Purpose::Disk),
                damage: stream(Purpose::Damage),
                cores: stream(Purpose::Cores),
                clocks: stream(Purpose::Clocks),
                machines: stream(Purpose::Machines),
                identities: stream(Purpose::Identities),
            },
            phase: Phase::Faults,
            machines,
            drivers,
            tally: Tally::default(),
            events: 0,
            over: false,
        };
        world.populate(nodes);
        world
    }

    /// Hosts for all who may ever be members, of whom the voters start now.
    fn populate(&mut self, nodes: u64) {
        for id in 1..=nodes + 2 {
            let host = self.new_host(id, id <= nodes);
            self.hosts.insert(id, host);
            if id <= nodes {
                let at = self.streams.clocks.below(50_000);
                self.agenda.add(at, Event::Start { node: id, life: 0 });
            }
        }
        for client in self.clients.all() {
            self.agenda.add(300_000 + 7_000 * client, Event::Client(client));
        }
        for (number, at) in self.nemesis.plan() {
            self.agenda.add(at, Event::Strike(number));
        }
        if self.options.faults_for < Micros::MAX {
            self.agenda.add(500_000, Event::Repair);
            self.agenda.add(self.options.faults_for, Event::Phase);
        }
    }

    /// Lets everything happen until the end.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn run(&mut self, observers: &mut [&mut dyn Observer]) -> Result<Summary, Failure> {
        let mut tell = Tell::new(self.now, std::mem::take(&mut self.tally), observers);
        if self.events == 0 {
            tell.fact(&Fact::Phase(Phase::Faults));
        }
        while self.one(&mut tell) {}
        self.finish(tell)?;
        Ok(self.summary())
    }

    /// Lets the next thing happen. `false`: it was the last one.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn step(&mut self, observers: &mut [&mut dyn Observer]) -> Result<bool, Failure> {
        self.with(observers, Self::one)
    }

    /// Lets everything happen that happens before that moment, and goes there.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn run_until(&mut self, at: Micros, observers: &mut [&mut dyn Observer]) -> Result<(), Failure> {
        self.with(observers, |world, tell| {
            while world.agenda.next_at().is_some_and(|next| next <= at) && world.one(tell) {}
            world.now = world.now.max(at);
        })
    }

    /// Does something by hand, told to those observers.
    ///
    /// # Errors
    /// A promise was broken.
    pub(crate) fn with<T>(
        &mut self,
        observers: &mut [&mut dyn Observer],
        work: impl FnOnce(&mut Self, &mut Tell<'_, '_>) -> T,
    ) -> Result<T, Failure> {
        let mut tell = Tell::new(self.now, std::mem::take(&mut self.tally), observers);
        let done = work(self, &mut tell);
        self.finish(tell)?;
        Ok(done)
    }

    fn finish(&mut self, tell: Tell<'_, '_>) -> Result<(), Failure> {
        let Tell { tally, broken, .. } = tell;
        self.tally = tally;
        match broken {
            Some(violation) => Err(self.failure(violation)),
            None => Ok(()),
        }
    }

    fn failure(&self, violation: Violation) -> Failure {
        Failure { violation, options: Box::new(self.options.clone()), at: self.now, events: self.events }
    }

    /// Asks a node by hand; `outcome` tells how it ended.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn call(
        &mut self,
        node: NodeId,
        request: Request,
        observers: &mut [&mut dyn Observer],
    ) -> Result<u64, Failure> {
        self.with(observers, |world, tell| world.ask(node, request, tell))
    }

    /// What has happened so far, in figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.tally.summary.clone();
        let running = self.hosts.values().filter_map(|host| host.process.as_ref());
        for process in running {
            summary.inputs += process.inputs;
            summary.node_time += self.now - process.started;
        }
        summary.digest = self.tally.digest.value();
        summary.events = self.events;
        summary.simulated = self.now;
        summary
    }

    /// Whether the run has come to its end.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Faults that the plan has.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        self.nemesis.strikes.len() as u64
    }

    /// The world's own time.
    #[must_use]
    pub const fn now(&self) -> Micros {
        self.now
    }

    fn one(&mut self, tell: &mut Tell<'_, '_>) -> bool {
        if self.over || tell.broken.is_some() {
            return false;
        }
        let Some((at, event)) = self.agenda.take() else { return false };
        self.now = self.now.max(at);
        tell.at = self.now;
        self.events += 1;
        if self.events > self.options.max_events {
            let what = format!("{} events, and no end: something goes round in circles", self.events);
            tell.broken("event-storm", what);
            return false;
        }
        self.happen(event, tell);
        !self.over && tell.broken.is_none()
    }

    fn happen(&mut self, event: Event, tell: &mut Tell<'_, '_>) {
        match event {
            Event::Turn { node, life } => self.turn(node, life, tell),
            Event::Wake { node, life } => self.wake(node, life, tell),
            Event::Mail(letter) => self.arrive(letter, tell),
            Event::Written { node, life } => self.written(node, life, tell),
            Event::Synced { node, life } => self.synced(node, life, tell),
            Event::Idle { node, life } => self.idle(node, life, tell),
            Event::Fetched { node, life, id, range, max_bytes } => {
                self.fetched(node, life, id, range, max_bytes, tell);
            }
            Event::Applied { node, life } => self.applied(node, life, tell),
            Event::Made { node, life } => self.made(node, life, tell),
            Event::Transfer { node, life } => self.transfer(node, life, tell),
            Event::Start { node, life } => self.start_planned(node, life, tell),
            Event::Client(client) => self.client(client, tell),
            Event::GiveUp(call) => self.give_up(call, tell),
            Event::Strike(number) => self.strike(number, tell),
            Event::Cease(number) => self.cease(number, tell),
            Event::Repair => self.repair(tell),
            Event::Phase => self.next_phase(tell),
        }
    }

    /// What the checks need to know of this world.
    #[must_use]
    pub fn checks_options(&self) -> checks::Options {
        checks::Options {
            settings: self.settings.clone(),
            registers: !self.clients.has_workload(),
            patience: LONGEST_CALL,
            recovery: self.options.heal_within * 9 / 10,
            ..checks::Options::default()
        }
    }

    /// Nothing happens any more.
    pub(crate) const fn end(&mut self) {
        self.over = true;
    }

    /// How a call ended that was made by hand, if it has.
    #[must_use]
    pub fn outcome(&self, call: u64) -> Option<&Outcome> {
        self.calls.kept(call)
    }
}
