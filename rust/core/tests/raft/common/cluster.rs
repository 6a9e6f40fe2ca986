//! The cluster itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use d_engine_raft::{
    Configuration, Core, CoreStatus, Effect, Entries, EntryKind, Event, FetchId, Incarnation, Index, Input, LogId,
    Message, Micros, NodeId, Reply, RequestId, Role, Settings, Term,
};

use super::checks::Checks;
use super::disk::{Disk, Machine, Snapshot, storage_job};
use super::make::{HEARTBEAT, incarnation, name, settings, unseen};

/// Work of a node's apply queue.
#[derive(Clone, Debug)]
pub enum Work {
    Apply(Entries),
    Restore(LogId),
}

#[allow(clippy::struct_excessive_bools)] // Switches of a test, each by itself.
/// One member with its disk, its state machine and its queues.
pub struct Node {
    pub id: NodeId,
    pub incarnation: Incarnation,
    pub settings: Settings,
    pub disk: Disk,
    pub core: Option<Core>,
    pub machine: Machine,
    /// Whether persists complete by themselves in `settle`.
    pub auto_persist: bool,
    /// Whether applies complete by themselves in `settle`.
    pub auto_apply: bool,
    /// Whether the state machine keeps what it has applied when the node goes down.
    pub durable_machine: bool,
    pub works: VecDeque<Work>,
    pub fetches: VecDeque<(FetchId, Index, Index, usize)>,
    pub sending: VecDeque<(NodeId, Index)>,
    pub replies: Vec<Reply>,
    pub events: Vec<Event>,
    pub starts: u64,
    /// How many parts per million its clock runs too fast.
    pub drift: i128,
    /// It has said that it is closed, or its storage has failed.
    pub over: bool,
}

impl Node {
    fn new(id: NodeId, settings: Settings, initial: Configuration) -> Self {
        Self {
            id,
            incarnation: incarnation(id),
            settings,
            disk: Disk::new(initial),
            core: None,
            machine: Machine::default(),
            auto_persist: true,
            auto_apply: true,
            durable_machine: false,
            works: VecDeque::new(),
            fetches: VecDeque::new(),
            sending: VecDeque::new(),
            replies: Vec::new(),
            events: Vec::new(),
            starts: 0,
            drift: 0,
            over: false,
        }
    }
}

/// Where clocks that drift agree.
const EPOCH: i128 = 1_000_000;
const MILLION: i128 = 1_000_000;

impl Node {
    /// What its clock shows at that moment.
    pub fn clock(&self, now: Micros) -> Micros {
        let now = i128::from(now);
        u64::try_from(now + (now - EPOCH) * self.drift / MILLION).unwrap()
    }

    /// The first moment at which its clock shows that.
    pub fn moment(&self, shown: Micros) -> Micros {
        let mut now = EPOCH + (i128::from(shown) - EPOCH) * MILLION / (MILLION + self.drift) - 2;
        while self.clock(u64::try_from(now).unwrap()) < shown {
            now += 1;
        }
        u64::try_from(now).unwrap()
    }

    /// When its core must be stepped at the latest.
    pub fn deadline(&self) -> Option<Micros> {
        self.core.as_ref().and_then(Core::deadline).map(|at| self.moment(at))
    }
}

pub struct Cluster {
    pub now: Micros,
    pub nodes: BTreeMap<NodeId, Node>,
    /// On their way, oldest first.
    pub wire: VecDeque<Message>,
    /// What one direction of a connection loses.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Messages for which it says no are lost when sent.
    pub filter: Box<dyn FnMut(&Message) -> bool>,
    /// Everything that was ever sent, in short; for tests that count.
    pub sent: Vec<(NodeId, NodeId, Term, &'static str)>,
    pub seed: u64,
    pub next_id: RequestId,
    pub checks: Checks,
}

impl Cluster {
    /// `nodes` members of a new cluster, started.
    pub fn new(nodes: u64) -> Self {
        Self::with(nodes, &settings(), &unseen(nodes), 7)
    }

    pub fn with(nodes: u64, settings: &Settings, initial: &Configuration, seed: u64) -> Self {
        let mut cluster = Self::idle(nodes, settings, initial, seed);
        for id in 1..=nodes {
            cluster.start(id);
        }
        cluster
    }

    /// Members that are not started.
    pub fn idle(nodes: u64, settings: &Settings, initial: &Configuration, seed: u64) -> Self {
        let members = (1..=nodes).map(|id| (id, Node::new(id, settings.clone(), initial.clone()))).collect();
        Self {
            now: 1_000_000,
            nodes: members,
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            filter: Box::new(|_| true),
            sent: Vec::new(),
            seed,
            next_id: 1,
            checks: Checks::default(),
        }
    }

    /// Three members with that leader, everything settled.
    pub fn led_by(nodes: u64, leader: NodeId) -> Self {
        let mut cluster = Self::new(nodes);
        cluster.elect(leader);
        cluster
    }

    /// That many voters, led by 1; all is known and committed.
    pub fn settled(nodes: u64) -> Self {
        let mut cluster = Self::led_by(nodes, 1);
        cluster.advance(2 * HEARTBEAT);
        cluster
    }

    pub fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    pub fn core(&self, id: NodeId) -> &Core {
        self.nodes[&id].core.as_ref().unwrap()
    }

    pub fn status(&self, id: NodeId) -> CoreStatus {
        self.core(id).status()
    }

    pub fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&Node| node.core.as_ref().is_some_and(|core| core.role() == Role::Leader);
        self.nodes.values().filter(leads).max_by_key(|node| node.core.as_ref().unwrap().term()).map(|node| node.id)
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    // --- life

    pub fn start(&mut self, id: NodeId) {
        let (now, seed) = (self.now, self.seed);
        let node = self.node(id);
        assert!(node.core.is_none(), "node {id} runs");
        node.starts += 1;
        node.over = false;
        let mut start = node.disk.start(id, node.incarnation, seed.wrapping_mul(31) ^ (id << 8) ^ node.starts);
        let restored = node.disk.snapshot.as_ref().map_or_else(Machine::default, |snapshot| snapshot.machine);
        if !node.durable_machine || node.machine.applied < restored.applied {
            node.machine = restored;
        }
        start.applied = node.machine.applied.index;
        node.core = Some(Core::new(node.clock(now), node.settings.clone(), start));
        self.checks.restarted(id);
        self.step(id, Input::Time { wall: now });
    }

    /// Power is lost at that node; the first `kept` of its unsynced jobs survive.
    pub fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.node(id);
        node.core = None;
        node.disk.crash(kept);
        node.works.clear();
        node.fetches.clear();
        node.sending.clear();
        self.wire.retain(|message| message.to != id);
    }

    pub fn restart(&mut self, id: NodeId) {
        self.crash(id, 0);
        self.start(id);
    }

    /// The disk is gone, and a new one has another incarnation.
    pub fn wipe(&mut self, id: NodeId) {
        self.crash(id, 0);
        let node = self.node(id);
        let initial = node.disk.initial.clone();
        node.disk = Disk::new(initial);
        node.machine = Machine::default();
        node.incarnation = Incarnation(node.incarnation.0 + 1);
    }

    /// A new machine with an empty disk, that knows nobody.
    pub fn join(&mut self, id: NodeId) {
        let settings = self.nodes.values().next().unwrap().settings.clone();
        let nobody = Configuration { members: Vec::new(), outgoing: Vec::new(), min_election_timeout: 0 };
        assert!(self.nodes.insert(id, Node::new(id, settings, nobody)).is_none());
        self.start(id);
    }

    // --- steps

    pub fn step(&mut self, id: NodeId, input: Input) {
        let node = self.nodes.get_mut(&id).unwrap();
        let now = node.clock(self.now);
        let Some(core) = &mut node.core else { return };
        let mut effects = Vec::new();
        core.step(now, input, &mut effects);
        for effect in effects {
            self.check_effect(id, &effect);
            self.carry_out(id, effect);
        }
        self.check_step(id);
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        let node = self.nodes.get_mut(&id).unwrap();
        match storage_job(effect) {
            Ok(job) => node.disk.queue.push_back(job),
            Err(Effect::Send(message)) => {
                assert_eq!(message.from, id);
                assert_ne!(message.to, id, "nobody sends to itself");
                self.sent.push((id, message.to, message.term, name(&message.body)));
                if (self.filter)(&message) {
                    self.wire.push_back(message);
                }
            }
            Err(Effect::Apply(entries)) => node.works.push_back(Work::Apply(entries)),
            Err(Effect::Restore(last)) => node.works.push_back(Work::Restore(last)),
            Err(Effect::Fetch { id, lo, hi, max_bytes }) => node.fetches.push_back((id, lo, hi, max_bytes)),
            Err(Effect::SendSnapshot { to, at_least }) => node.sending.push_back((to, at_least)),
            Err(Effect::Reply(reply)) => {
                self.checks.replies(&reply);
                node.over |= reply == Reply::Closed;
                node.replies.push(reply);
            }
            Err(Effect::Event(event)) => node.events.push(event),
            Err(Effect::Persist(_) | Effect::Purge(_)) => unreachable!("storage jobs"),
        }
    }

    /// Completes the node's oldest storage job; `false` if there is none.
    pub fn persist(&mut self, id: NodeId) -> bool {
        let node = self.node(id);
        if node.core.is_none() || node.disk.queue.is_empty() {
            return false;
        }
        if let Some(token) = node.disk.work() {
            self.step(id, Input::Persisted(token));
        }
        true
    }

    pub fn persist_all(&mut self, id: NodeId) {
        while self.persist(id) {}
    }

    /// Carries out the node's oldest apply work; `false` if there is none.
    pub fn apply(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(work) = node.works.pop_front() else { return false };
        match work {
            Work::Apply(entries) => {
                for entry in &entries {
                    node.machine.apply(entry);
                    self.checks.applies(entry);
                }
            }
            Work::Restore(last) => {
                let snapshot = node.disk.snapshot.as_ref().expect("restored from a committed snapshot");
                assert!(snapshot.last() >= last);
                node.machine = snapshot.machine;
            }
        }
        let applied = node.machine.applied.index;
        self.step(id, Input::Applied(applied));
        true
    }

    /// Answers the node's oldest fetch; `false` if there is none.
    pub fn answer_fetch(&mut self, id: NodeId) -> bool {
        let node = self.node(id);
        let Some((fetch, lo, hi, max_bytes)) = node.fetches.pop_front() else { return false };
        let entries = node.disk.fetch(lo, hi, max_bytes);
        self.step(id, Input::Fetched { id: fetch, entries });
        true
    }

    /// Delivers the node's oldest snapshot transfer; `false` if there is none.
    pub fn transfer_snapshot(&mut self, from: NodeId) -> bool {
        let node = self.node(from);
        let Some((to, at_least)) = node.sending.pop_front() else { return false };
        let snapshot = node.disk.snapshot.clone().expect("a snapshot to send");
        assert!(snapshot.last().index >= at_least, "the newest snapshot covers what the follower needs");
        let term = self.core(from).term();
        if self.cut.contains(&(from, to)) || self.nodes[&to].core.is_none() {
            self.step(from, Input::SnapshotSent { to, delivered: None });
            return true;
        }
        self.receive_snapshot(to, from, term, &snapshot);
        self.step(from, Input::SnapshotSent { to, delivered: Some(snapshot.last().index) });
        true
    }

    pub fn receive_snapshot(&mut self, to: NodeId, from: NodeId, term: Term, snapshot: &Snapshot) {
        let disk = &mut self.node(to).disk;
        if disk.snapshot.as_ref().is_none_or(|before| before.last() < snapshot.last()) {
            disk.snapshot = Some(snapshot.clone());
        }
        let (last, time, configuration) = (snapshot.last(), snapshot.time, snapshot.configuration.clone());
        self.step(to, Input::SnapshotReceived { from, term, last, time, configuration });
    }

    /// The node takes a snapshot of its machine and purges all but `behind` entries of what it covers.
    pub fn snapshot(&mut self, id: NodeId, behind: u64) {
        let node = self.node(id);
        let machine = node.machine;
        let covered = |index: Index| index <= machine.applied.index;
        let mut configuration =
            node.disk.snapshot.as_ref().map_or((0, node.disk.initial.clone()), |s| s.configuration.clone());
        for entry in node.disk.entries.iter().filter(|entry| covered(entry.index())) {
            if entry.kind() == EntryKind::Configuration {
                configuration = (entry.index(), Configuration::decode(&entry.payload()).unwrap());
            }
        }
        if node.disk.snapshot.as_ref().is_some_and(|before| before.last() >= machine.applied) {
            return;
        }
        node.disk.snapshot = Some(Snapshot { machine, time: machine.applied.index, configuration });
        self.step(id, Input::SnapshotTaken(machine.applied));
        self.step(id, Input::Purge { upto: machine.applied.index.saturating_sub(behind) });
    }

    /// Delivers the oldest message on the wire; `false` if there is none.
    pub fn deliver(&mut self) -> bool {
        let Some(message) = self.wire.pop_front() else { return false };
        self.hand_over(message);
        true
    }

    pub fn hand_over(&mut self, message: Message) {
        if !self.cut.contains(&(message.from, message.to)) && self.nodes.contains_key(&message.to) {
            let (to, wall) = (message.to, self.now);
            self.step(to, Input::Message { wall, message });
        }
    }

    /// Does everything that can be done while the clock stands.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let mut busy = self.deliver();
            for id in self.ids() {
                if self.nodes[&id].core.is_none() {
                    continue;
                }
                busy |= self.nodes[&id].auto_persist && self.persist(id);
                busy |= self.nodes[&id].auto_apply && self.apply(id);
                busy |= self.answer_fetch(id);
                busy |= self.transfer_snapshot(id);
            }
            if !busy {
                return;
            }
        }
        panic!("the cluster does not come to rest: {:?}", &self.sent[self.sent.len() - 30..]);
    }

    // --- time

    /// Lets that much time pass; every deadline is met exactly.
    pub fn advance(&mut self, span: Micros) {
        let end = self.now + span;
        loop {
            self.settle();
            let next = self.nodes.values().filter_map(Node::deadline).min();
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            for id in self.ids() {
                if self.nodes[&id].deadline().is_some_and(|at| at <= self.now) {
                    self.time(id);
                }
            }
        }
        self.now = end;
    }

    pub fn time(&mut self, id: NodeId) {
        let wall = self.now;
        self.step(id, Input::Time { wall });
    }

    /// Moves the clock to that node's deadline and fires nobody else's timers.
    pub fn due(&mut self, id: NodeId) {
        let deadline = self.nodes[&id].deadline().expect("a deadline");
        self.now = self.now.max(deadline);
        self.time(id);
    }

    /// Makes that node the leader.
    pub fn elect(&mut self, id: NodeId) {
        for _ in 0..20 {
            if self.core(id).role() == Role::Leader {
                break;
            }
            self.due(id);
            self.settle();
        }
        assert_eq!(self.core(id).role(), Role::Leader, "node {id} was not elected: {:?}", self.status(id));
    }

    // --- faults

    pub fn isolate(&mut self, id: NodeId) {
        for other in self.ids() {
            if other != id {
                self.cut.insert((id, other));
                self.cut.insert((other, id));
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Hands one message to a node, as if it had come over the wire.
    pub fn tell(&mut self, message: Message) {
        self.hand_over(message);
    }

    /// How many messages of that kind were sent by that node since the log was cleared.
    pub fn count(&self, from: NodeId, kind: &str) -> usize {
        self.sent.iter().filter(|(sender, _, _, body)| *sender == from && *body == kind).count()
    }

    /// All nodes hold and have applied the same.
    pub fn assert_equal(&self) {
        let machines: Vec<Machine> = self.nodes.values().map(|node| node.machine).collect();
        assert!(machines.windows(2).all(|pair| pair[0] == pair[1]), "machines differ: {machines:?}");
    }
}
