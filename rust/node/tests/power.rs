//! The power of all three nodes goes at once, at random moments, again and again: the real driver, core and log over disks
//! that forget any subset of what was not synced. Nothing that was acknowledged may be lost (Law 5), on any node.
//!
//! `D_ENGINE_FULL=1` makes all 10,000 cuts, otherwise it is a tenth. A failure prints its seed; `D_ENGINE_SEED=n` replays it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};

use d_engine_node::NodeConfig;
use d_engine_node::driver::{Action, Calls, Driver, DriverInput, DriverSettings, DriverStart, Piece};
use d_engine_raft::{
    Configuration, Core, Draft, Entry, EntryKind, Incarnation, Index, LogId, Member, MemberRole, Message, Micros,
    NodeId, Persist, Role, SplitMix64, Start, Token,
};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Options, Recovered, Wal, WalError, Written};

const NODES: [NodeId; 3] = [1, 2, 3];
/// Cuts in the life of one cluster.
const LIVES: u64 = 20;
const FULL_CLUSTERS: u64 = 500;
const QUICK_CLUSTERS: u64 = 50;

/// A proposal is known by the number in its payload.
struct Numbers;

impl Calls for Numbers {
    type Proposal = u64;
    type Read = ();
    type Snapshot = ();
    type Change = ();
    type Transfer = ();
}

struct Machine {
    id: NodeId,
    files: MemFiles,
    wal: Wal<MemFiles>,
    driver: Driver<Core, Numbers>,
    /// Given to the log thread and not written.
    to_write: Vec<Persist>,
    /// Written and not synced: up to two batches, as the two log threads have it.
    to_sync: VecDeque<(Written, Token)>,
    /// What the state machine holds: the number of every command, by index.
    applied: BTreeMap<Index, u64>,
    actions: Vec<Action<Numbers>>,
}

struct World {
    random: SplitMix64,
    now: Micros,
    members: Vec<Machine>,
    network: BTreeMap<(NodeId, NodeId), VecDeque<Message>>,
    next_number: u64,
    /// Every acknowledged number, and the index at which it was applied.
    acknowledged: BTreeMap<u64, Index>,
    cuts: u64,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_of_all_nodes_goes_at_once() {
    let full = std::env::var_os("D_ENGINE_FULL").is_some_and(|value| value != "0");
    let chosen: Option<u64> = std::env::var("D_ENGINE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let clusters = if full { FULL_CLUSTERS } else { QUICK_CLUSTERS };
    let seeds = chosen.map_or(0..clusters, |seed| seed..seed + 1);
    let (mut cuts, mut acknowledged) = (0, 0);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..LIVES {
                world.work();
                world.cut_all();
                world.heal();
            }
            (world.cuts, world.acknowledged.len())
        });
        let Ok((made, kept)) = run else {
            panic!("seed {seed}: replay with D_ENGINE_SEED={seed} cargo test -p d-engine-node --test power");
        };
        cuts += made;
        acknowledged += kept;
    }
    println!("{cuts} power cuts of all three nodes, {acknowledged} acknowledged entries, 0 lost");
    assert!(acknowledged as u64 > cuts, "the load is real: {acknowledged} acknowledgements in {cuts} cuts");
}

fn options(id: NodeId) -> Options {
    Options { segment_bytes: 256 << 10, cluster_id: 7, group: 0, salt: id, background: false }
}

fn initial() -> Configuration {
    let member = |id| Member {
        id,
        address: format!("node-{id}:1"),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    };
    Configuration { members: NODES.map(member).to_vec(), outgoing: Vec::new(), min_election_timeout: 250_000 }
}

impl Machine {
    fn start(id: NodeId, files: MemFiles, now: Micros, seed: u64) -> Self {
        let (wal, found) = Wal::open(files.clone(), options(id)).expect("a log opens after a power cut");
        let driver = Self::driver(id, found, now, seed);
        let (to_write, to_sync, actions) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { id, files, wal, driver, to_write, to_sync, applied: BTreeMap::new(), actions }
    }

    fn driver(id: NodeId, found: Recovered, now: Micros, seed: u64) -> Driver<Core, Numbers> {
        let config = NodeConfig::default();
        let mut configurations = vec![(0, initial())];
        configurations.extend(found.configurations);
        let start = Start {
            id,
            incarnation: Incarnation(u128::from(id)),
            group: 0,
            seed,
            hard_state: found.hard_state,
            purged: found.purged,
            last: found.last.index,
            term_runs: found.term_runs,
            last_time: found.last_time,
            configurations,
            snapshot: None,
            applied: 0,
        };
        let settings = DriverSettings {
            id,
            forward: true,
            max_forward_bytes: 1 << 20,
            read_retry: 250_000,
            refusal_pause: 50_000,
            snapshot_every_entries: 0,
            snapshot_every_bytes: 0,
            trailing_entries: 0,
            snapshot_pin_bytes: 0,
            pin_grace: 0,
        };
        Driver::new(
            Core::new(now, config.settings(), start),
            settings,
            &DriverStart { ids_after: seed >> 1, ..DriverStart::default() },
        )
    }

    /// Takes everything that waits, as a log thread does: one batch.
    fn write(&mut self) -> Result<(), WalError> {
        if self.to_write.is_empty() || self.to_sync.len() == 2 {
            return Ok(());
        }
        let units = std::mem::take(&mut self.to_write);
        let written = self.wal.write(&units)?;
        self.to_sync.push_back((written, units.last().expect("not empty").token));
        Ok(())
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let members =
            NODES.map(|id| Machine::start(id, MemFiles::new(random.next()), 0, random.next())).into_iter().collect();
        let mut world = Self {
            random,
            now: 0,
            members,
            network: BTreeMap::new(),
            next_number: 0,
            acknowledged: BTreeMap::new(),
            cuts: 0,
        };
        world.heal();
        world
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.random.next() % bound).unwrap()
    }

    /// Load on all nodes until the power goes: between two operations of a disk, or in the middle of one.
    fn work(&mut self) {
        let steps = 20 + self.below(1_000);
        if self.below(2) == 0 {
            let victim = self.below(3);
            let operations = self.random.next() % 40;
            self.members[victim].files.cut_after(operations);
        }
        for _ in 0..steps {
            let node = self.below(3);
            match self.below(10) {
                0..=2 => self.propose(node),
                3 => self.now += self.random.next() % 5_000,
                _ => {}
            }
            self.turn();
            if self.members.iter().any(|member| member.files.is_dead()) {
                return;
            }
        }
    }

    fn cut_all(&mut self) {
        self.cuts += 1;
        self.network.clear();
        let seeds: Vec<(u64, u64)> = NODES.iter().map(|_| (self.random.next(), self.random.next())).collect();
        let now = self.now;
        for (member, (disk, seed)) in self.members.iter_mut().zip(seeds) {
            member.files.power_cut(disk);
            *member = Machine::start(member.id, member.files.clone(), now, seed);
        }
    }

    /// No faults: soon every node has applied everything that was ever acknowledged, in one order.
    fn heal(&mut self) {
        let highest = self.acknowledged.values().max().copied().unwrap_or(0);
        for round in 0.. {
            assert!(round < 100_000, "no progress after a power cut: {:?}", self.roles());
            let settled = self.members.iter().all(|member| {
                member.driver.ready() && member.applied.last_key_value().is_none_or(|(&last, _)| last >= highest)
            });
            if settled && (highest == 0 || self.members.iter().all(|member| member.applied.contains_key(&highest))) {
                break;
            }
            self.turn();
        }
        for member in &self.members {
            for (number, index) in &self.acknowledged {
                assert_eq!(
                    member.applied.get(index),
                    Some(number),
                    "node {} lost acknowledged entry {number} at {index}",
                    member.id
                );
            }
        }
    }

    fn roles(&self) -> Vec<(Role, u64, Option<NodeId>)> {
        self.members.iter().map(|member| member.driver.position()).collect()
    }

    fn propose(&mut self, node: usize) {
        let count = 1 + self.random.next() % 3;
        for _ in 0..count {
            self.next_number += 1;
            let number = self.next_number;
            let mut payload = number.to_le_bytes().to_vec();
            let padding = match self.below(20) {
                0 => 20_000,
                _ => 300,
            };
            payload.resize(8 + self.below(padding), 0xa5);
            let deadline = Some(self.now + 2_000_000);
            let input = DriverInput::Propose { draft: Draft::command(&payload), waiter: number, deadline };
            self.handle(node, input);
        }
    }

    /// One of the things that can happen next; time passes only when there is nothing else.
    fn turn(&mut self) {
        let node = self.below(3);
        let choice = self.below(3);
        let mut done = false;
        match choice {
            0 => done = self.deliver(node),
            // A dead disk answers with an error, and its process is as good as gone.
            1 => {
                done = !self.members[node].to_write.is_empty() && self.members[node].to_sync.len() < 2;
                if self.members[node].write().is_err() {
                    return;
                }
            }
            _ => {
                if let Some((written, token)) = self.members[node].to_sync.pop_front() {
                    done = true;
                    if self.members[node].wal.sync(written).is_err() {
                        return;
                    }
                    self.handle(node, DriverInput::Persisted(token));
                }
            }
        }
        if done {
            self.flush(node);
        } else if self.idle() {
            let due = self.members.iter().filter_map(|member| member.driver.deadline()).min();
            self.now = due.unwrap_or(self.now).max(self.now + 1);
            for node in 0..3 {
                self.flush(node);
            }
        }
    }

    fn idle(&self) -> bool {
        self.network.values().all(VecDeque::is_empty)
            && self.members.iter().all(|member| member.to_write.is_empty() && member.to_sync.is_empty())
    }

    fn deliver(&mut self, node: usize) -> bool {
        let to = NODES[node];
        let start = self.below(3);
        for turn in 0..3 {
            let from = NODES[(start + turn) % 3];
            if let Some(message) = self.network.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
                self.handle(node, DriverInput::Message(message));
                return true;
            }
        }
        false
    }

    fn handle(&mut self, node: usize, input: DriverInput<Numbers>) {
        let member = &mut self.members[node];
        member.driver.handle(self.now, self.now, input, &mut member.actions);
        self.flush(node);
    }

    fn flush(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.driver.flush(self.now, self.now, &mut member.actions);
        while !self.members[node].actions.is_empty() {
            let actions = std::mem::take(&mut self.members[node].actions);
            for action in actions {
                self.carry(node, action);
            }
        }
    }

    fn carry(&mut self, node: usize, action: Action<Numbers>) {
        let member = &mut self.members[node];
        match action {
            Action::Persist(persist) => member.to_write.push(persist),
            Action::Send(message) => {
                self.network.entry((message.from, message.to)).or_default().push_back(message);
            }
            Action::Fetch { id, lo, hi, max_bytes } => {
                let Ok(entries) = member.wal.read(lo, hi, max_bytes) else { return };
                member.driver.handle(self.now, self.now, DriverInput::Fetched { id, entries }, &mut member.actions);
            }
            Action::Apply { entries, wanted } => {
                let Some(last) = entries.last().map(Entry::id) else { return };
                for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Command) {
                    member.applied.insert(entry.index(), number_of(entry));
                }
                for one in wanted {
                    if let Piece::Last(number) = one.piece {
                        let at = entries[one.range.start].index();
                        assert_eq!(member.applied.get(&at), Some(&number), "the right caller gets the answer");
                        self.acknowledged.insert(number, at);
                    }
                }
                let input = DriverInput::Applied { last: LogId::new(last.index, last.term), bytes: 0 };
                member.driver.handle(self.now, self.now, input, &mut member.actions);
            }
            _ => {}
        }
    }
}

fn number_of(entry: &Entry) -> u64 {
    u64::from_le_bytes(entry.payload()[..8].try_into().expect("a number"))
}
