//! Histories of a small cluster, told by hand: every step is one that nodes could have taken, unless a test says otherwise.

use d_engine_node::Consistency;
use d_engine_raft::{
    AppendReply, Body, Configuration, Entry, EntryKind, HardState, Incarnation, Index, LogId, Member, MemberRole,
    Message, Micros, NodeId, Persist, Role, Start, Term, Token,
};
use d_engine_sim::checks::{Checks, Options};
use d_engine_sim::fact::{
    End, Fact, Fault, Observer, Operation, Outcome, Phase, Platter, Position, Request, Violation,
};

pub type Told = Result<(), Violation>;

/// What is on a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub last: LogId,
}

impl Platter for Disk {
    fn hard_state(&self) -> Option<HardState> {
        Some(self.hard_state)
    }

    fn last(&self) -> Option<LogId> {
        Some(self.last)
    }
}

/// A node as the scene plays it.
#[derive(Clone, Debug)]
pub struct Actor {
    pub incarnation: Incarnation,
    pub position: Position,
    pub hard_state: HardState,
    pub log: Vec<Entry>,
    pub disk: Disk,
    pub members: Configuration,
    pub members_at: Index,
    pub snapshot: Option<LogId>,
    pub token: Token,
    pub state: u64,
}

pub struct Scene {
    checks: Checks,
    pub at: Micros,
    pub actors: Vec<Actor>,
    pub number: u64,
    pub call: u64,
}

pub fn options() -> Options {
    let mut options = Options { platter_every: 1, patience: 5_000_000, recovery: 10_000_000, ..Options::default() };
    options.settings.tail_bytes = 1_000;
    options.settings.max_inflight_bytes = 1_000;
    options.settings.max_append_bytes = 1_000;
    options.settings.max_uncommitted_bytes = 1_000;
    options
}

pub fn incarnation(node: NodeId) -> Incarnation {
    Incarnation(u128::from(node) * 1_000)
}

pub fn member(id: NodeId) -> Member {
    Member {
        id,
        address: format!("{id}:1"),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: false,
        incarnation: Some(incarnation(id)),
        leaving: false,
    }
}

pub fn members(ids: &[NodeId]) -> Configuration {
    let members = ids.iter().map(|&id| member(id)).collect();
    Configuration { members, outgoing: Vec::new(), min_election_timeout: 150_000 }
}

/// An entry whose time is its index.
pub fn entry(index: Index, term: Term, kind: EntryKind, number: (u64, u64), payload: &[u8]) -> Entry {
    Entry::new(LogId::new(index, term), kind, index, number.0, number.1, 0, payload)
}

pub fn write(key: u64, value: u64) -> Vec<u8> {
    d_engine_sim::machine::write_command(key, value, 0)
}

impl Scene {
    /// So many nodes that run and know each other.
    pub fn new(nodes: u64) -> Self {
        let ids: Vec<NodeId> = (1..=nodes).collect();
        let actor = |&id: &NodeId| Actor {
            incarnation: incarnation(id),
            position: Position::START,
            hard_state: HardState::default(),
            log: Vec::new(),
            disk: Disk::default(),
            members: members(&ids),
            members_at: 0,
            snapshot: None,
            token: 0,
            state: 0,
        };
        let actors = ids.iter().map(actor).collect();
        let mut scene = Self { checks: Checks::new(&options()), at: 1_000, actors, number: 0, call: 0 };
        for id in ids {
            scene.start(id).expect("a start breaks nothing");
        }
        scene
    }

    pub fn tell(&mut self, fact: &Fact<'_>) -> Told {
        self.at += 10;
        self.checks.fact(self.at, fact)
    }

    pub fn actor(&mut self, id: NodeId) -> &mut Actor {
        let place = usize::try_from(id - 1).expect("small");
        &mut self.actors[place]
    }

    /// A process begins with what the disk holds.
    pub fn start(&mut self, id: NodeId) -> Told {
        let actor = self.actor(id);
        let last = actor.disk.last.index;
        actor.log.truncate(usize::try_from(last).expect("small"));
        actor.hard_state = actor.disk.hard_state;
        let mut runs: Vec<(Index, Term)> = Vec::new();
        for entry in &actor.log {
            if runs.last().is_none_or(|&(_, term)| term != entry.term()) {
                runs.push((entry.index(), entry.term()));
            }
        }
        let start = Start {
            id,
            incarnation: actor.incarnation,
            group: 0,
            seed: id,
            hard_state: actor.hard_state,
            purged: LogId::ZERO,
            last,
            term_runs: runs,
            last_time: 0,
            configurations: vec![(actor.members_at, actor.members.clone())],
            snapshot: actor.snapshot,
            applied: actor.snapshot.map_or(0, |snapshot| snapshot.index),
        };
        let position =
            Position { term: start.hard_state.term, commit: start.applied, applied: start.applied, ..Position::START };
        actor.position = Position { last: actor.disk.last, durable: last, ..position };
        let incarnation = actor.incarnation;
        self.tell(&Fact::Started { node: id, incarnation, start: &start })?;
        let shown = self.at + 10 + 1_000_000 * id;
        self.tell(&Fact::Clock { node: id, shown, drift: 0 })
    }

    pub fn stop(&mut self, id: NodeId) -> Told {
        self.tell(&Fact::Stopped { node: id, why: &End::Crash })
    }

    /// Its own clock.
    pub fn now(&self, id: NodeId) -> Micros {
        self.at + 1_000_000 * id
    }

    /// A turn of that node leaves it so.
    pub fn step(&mut self, id: NodeId, change: impl FnOnce(&mut Position)) -> Told {
        let now = self.now(id);
        let actor = self.actor(id);
        actor.position.last = actor.log.last().map_or(LogId::ZERO, Entry::id);
        change(&mut actor.position);
        let position = actor.position;
        self.tell(&Fact::Stepped { node: id, now, input: "test", position: &position })
    }

    pub fn persist(&mut self, id: NodeId, persist: Persist) -> Told {
        let actor = self.actor(id);
        actor.token += 1;
        if let Some(from) = persist.truncate_from {
            actor.log.retain(|entry| entry.index() < from);
        }
        actor.log.extend(persist.entries.iter().cloned());
        actor.hard_state = persist.hard_state.unwrap_or(actor.hard_state);
        let persist = Persist { token: actor.token, ..persist };
        self.tell(&Fact::Persist { node: id, persist: &persist })
    }

    /// Everything that it wanted is on its disk.
    pub fn sync(&mut self, id: NodeId) -> Told {
        let actor = self.actor(id);
        actor.disk = Disk { hard_state: actor.hard_state, last: actor.log.last().map_or(LogId::ZERO, Entry::id) };
        let (token, durable) = (actor.token, actor.disk.last.index);
        self.tell(&Fact::Durable { node: id, token })?;
        self.step(id, |position| position.durable = durable)
    }

    pub fn message(&mut self, from: NodeId, to: NodeId, body: Body) -> Message {
        let actor = self.actor(from);
        Message { from, incarnation: actor.incarnation, to, term: actor.position.term, body }
    }

    pub fn send(&mut self, from: NodeId, to: NodeId, body: Body) -> Result<(u64, Message), Violation> {
        let message = self.message(from, to, body);
        self.send_message(&message).map(|number| (number, message))
    }

    pub fn send_message(&mut self, message: &Message) -> Result<u64, Violation> {
        self.number += 1;
        let (number, disk) = (self.number, self.actor(message.from).disk);
        self.tell(&Fact::Sent { number, message, platter: &disk })?;
        Ok(number)
    }

    pub fn deliver(&mut self, (number, message): &(u64, Message)) -> Told {
        self.tell(&Fact::Delivered { number: *number, message })
    }

    pub fn pass(&mut self, from: NodeId, to: NodeId, body: Body) -> Told {
        let sent = self.send(from, to, body)?;
        self.deliver(&sent)
    }

    /// It enters a term, with that vote in it.
    pub fn enter(&mut self, id: NodeId, term: Term, role: Role, vote: Option<NodeId>) -> Told {
        self.step(id, |position| {
            (position.term, position.role, position.leader, position.lease_until) = (term, role, None, None);
        })?;
        let hard_state = Some(HardState { term, vote });
        self.persist(id, Persist { hard_state, ..Persist::default() })?;
        self.sync(id)
    }

    /// It asks for votes and gets those.
    pub fn campaign(&mut self, id: NodeId, term: Term, voters: &[NodeId]) -> Told {
        self.enter(id, term, Role::Candidate, Some(id))?;
        for &voter in voters {
            let last = self.actor(id).position.last;
            self.pass(id, voter, Body::Vote { last, transfer: false })?;
            self.enter(voter, term, Role::Follower, Some(id))?;
            self.pass(voter, id, Body::VoteReply { granted: true })?;
        }
        Ok(())
    }

    /// It is elected by those and itself, and appends its first entry.
    pub fn elect(&mut self, id: NodeId, term: Term, voters: &[NodeId]) -> Told {
        self.campaign(id, term, voters)?;
        self.lead(id)
    }

    pub fn lead(&mut self, id: NodeId) -> Told {
        self.append(id, EntryKind::Noop, (0, 0), &[])
    }

    /// A turn in which it leads and appends an entry.
    pub fn append(&mut self, id: NodeId, kind: EntryKind, number: (u64, u64), payload: &[u8]) -> Told {
        let actor = self.actor(id);
        let entry = entry(actor.log.len() as u64 + 1, actor.position.term, kind, number, payload);
        self.step(id, |position| {
            (position.role, position.leader, position.last) = (Role::Leader, Some(id), entry.id());
        })?;
        self.persist(id, Persist { entries: vec![entry.clone()].into(), ..Persist::default() })?;
        if kind == EntryKind::Configuration {
            self.configured(id, &entry)?;
        }
        self.sync(id)
    }

    fn configured(&mut self, id: NodeId, entry: &Entry) -> Told {
        let configuration = Configuration::decode(&entry.payload()).expect("a configuration");
        let (members, index) = (configuration.clone(), entry.index());
        let actor = self.actor(id);
        (actor.members, actor.members_at) = (members, index);
        self.tell(&Fact::Configured { node: id, index, configuration: &configuration })
    }

    pub fn reconfigure(&mut self, id: NodeId, configuration: &Configuration) -> Told {
        self.append(id, EntryKind::Configuration, (0, 0), &configuration.encode())
    }

    /// The leader's log comes to that follower, which answers.
    pub fn replicate(&mut self, leader: NodeId, to: NodeId) -> Told {
        self.bring(leader, to)?;
        let last = self.actor(to).log.len() as u64;
        self.acknowledge(to, leader, last)
    }

    /// The leader's log comes to that follower.
    pub fn bring(&mut self, leader: NodeId, to: NodeId) -> Told {
        let held = self.actor(to).log.len();
        let (log, term) = (self.actor(leader).log.clone(), self.actor(leader).position.term);
        let common = log.iter().zip(&self.actor(to).log).take_while(|(one, other)| one.id() == other.id()).count();
        let entries: Vec<Entry> = log[common..].to_vec();
        let prev = common.checked_sub(1).map_or(LogId::ZERO, |at| log[at].id());
        let commit = self.actor(leader).position.commit;
        self.pass(leader, to, Body::Append { prev, commit, entries: entries.clone().into() })?;
        let (last, before) = (log.last().map_or(LogId::ZERO, Entry::id), self.actor(to).position.term);
        self.step(to, |position| {
            (position.term, position.role, position.leader, position.last) = (term, Role::Follower, Some(leader), last);
        })?;
        let truncate_from = (held > common).then_some(common as u64 + 1);
        let hard_state = (before < term).then_some(HardState { term, vote: None });
        self.persist(to, Persist { hard_state, truncate_from, entries: entries.clone().into(), ..Persist::default() })?;
        for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration) {
            self.configured(to, entry)?;
        }
        self.sync(to)
    }

    pub fn acknowledge(&mut self, from: NodeId, to: NodeId, matched: Index) -> Told {
        self.pass(from, to, Body::AppendReply(AppendReply::Accepted { matched }))
    }

    pub fn commit(&mut self, id: NodeId, commit: Index) -> Told {
        self.step(id, |position| position.commit = commit)
    }

    /// A leader with everything that it holds on those followers, committed everywhere.
    pub fn settle(&mut self, leader: NodeId, followers: &[NodeId]) -> Told {
        for &follower in followers {
            self.replicate(leader, follower)?;
        }
        let last = self.actor(leader).log.len() as u64;
        self.commit(leader, last)?;
        for &follower in followers {
            self.commit(follower, last)?;
        }
        Ok(())
    }

    /// Everything of its log from what its machine covers up to there, as machines must be given it.
    pub fn apply(&mut self, id: NodeId, upto: Index) -> Told {
        let actor = self.actor(id);
        let from = usize::try_from(actor.position.applied).expect("small");
        let entries: Vec<Entry> = actor.log[from..usize::try_from(upto).expect("small")].to_vec();
        let commands = entries.iter().filter(|entry| entry.kind() == EntryKind::Command);
        let given: Vec<Index> = commands.map(Entry::index).collect();
        self.apply_as(id, &entries, &given)
    }

    pub fn apply_as(&mut self, id: NodeId, entries: &[Entry], given: &[Index]) -> Told {
        let actor = self.actor(id);
        for index in given {
            actor.state = actor.state.wrapping_mul(31).wrapping_add(*index);
        }
        let (state, last) = (actor.state, entries.last().map_or(0, Entry::index));
        self.tell(&Fact::Applied { node: id, entries, given, state })?;
        self.step(id, |position| position.applied = position.applied.max(last))
    }

    pub fn invoke(&mut self, node: NodeId, request: Request) -> Result<u64, Violation> {
        self.call += 1;
        let operation = Operation { id: self.call, client: 1, node, request };
        self.tell(&Fact::Invoked(&operation)).map(|()| operation.id)
    }

    pub fn ask_write(&mut self, node: NodeId, key: u64, value: u64) -> Result<u64, Violation> {
        self.invoke(node, Request::Write { key, value, session: None })
    }

    pub fn ask_read(&mut self, node: NodeId, consistency: Consistency) -> Result<u64, Violation> {
        self.invoke(node, Request::Read { key: 7, consistency })
    }

    pub fn answer(&mut self, id: u64, outcome: &Outcome) -> Told {
        self.tell(&Fact::Returned { id, outcome })
    }

    /// A write of that value into register 7, from the call to its result: on one node of a cluster whose leader it is.
    pub fn written(&mut self, leader: NodeId, followers: &[NodeId], value: u64, previous: u64) -> Told {
        let id = self.ask_write(leader, 7, value)?;
        self.append(leader, EntryKind::Command, (0, 0), &write(7, value))?;
        self.settle(leader, followers)?;
        let last = self.actor(leader).log.len() as u64;
        self.apply(leader, last)?;
        self.answer(id, &Outcome::Written { index: last, previous })
    }

    pub fn phase(&mut self, phase: Phase) -> Told {
        self.tell(&Fact::Phase(phase))
    }

    pub fn struck(&mut self, fault: Fault, node: NodeId) -> Told {
        self.tell(&Fact::Struck { fault, nodes: &[node] })
    }

    pub fn snapshot(&mut self, node: NodeId, last: LogId) -> Told {
        self.actor(node).snapshot = Some(last);
        self.tell(&Fact::SnapshotKept { node, last, bytes: 10, received: false })
    }

    /// Node 1 leads term 1 of three and has committed and applied its first entry and a write of 1 into register 7.
    pub fn begun() -> Self {
        let mut scene = Self::new(3);
        let mut begin = || {
            scene.elect(1, 1, &[2, 3])?;
            scene.written(1, &[2, 3], 1, 0)?;
            scene.apply(2, 2)
        };
        begin().expect("the beginning breaks nothing");
        scene
    }
}
