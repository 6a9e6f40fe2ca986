//! Random schedules: messages lost, doubled and late, crashes that forget what was not synced, partitions, slow disks, clocks that
//! drift, snapshots and purges, and (`random_members.rs`) members that come, go and lose their disks. What must hold is checked after every step (`common/checks.rs`).
//!
//! `D_ENGINE_SEED=n` runs that seed alone; `D_ENGINE_FULL=1` runs a hundred times as many.

use crate::common::{Cluster, ELECTION, MS, Node, seen, settings, unseen};
use d_engine_raft::{Body, Core, Event, Input, NodeId, Reply, Settings, SplitMix64};

pub struct Chaos {
    pub random: SplitMix64,
    pub cluster: Cluster,
    /// Whether members come and go.
    pub reshaping: bool,
    /// Of a hundred messages: lost, doubled, late.
    rates: (u64, u64, u64),
    proposals: u64,
    acknowledged: Vec<(NodeId, u64)>,
    /// Disks that were lost.
    pub wiped: usize,
    /// The first voters are numbered up to this.
    pub founders: NodeId,
}

/// Tells the seed of a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with D_ENGINE_SEED={}", self.0);
        }
    }
}

impl Chaos {
    pub fn new(seed: u64, reshaping: bool) -> Self {
        let mut random = SplitMix64::new(seed);
        let nodes = match random.between(0, 5) {
            0 | 1 => 5,
            2 if reshaping => 2,
            _ => 3,
        };
        let settings = limits(&mut random);
        // Who joins learns the configuration from the log, where it stands once its members were seen.
        let initial = if reshaping || random.between(0, 3) == 0 { unseen(nodes) } else { seen(nodes) };
        let mut cluster = Cluster::with(nodes, &settings, &initial, seed);
        if reshaping {
            for id in nodes + 1..=nodes + 3 {
                cluster.join(id);
            }
        }
        if reshaping {
            // It forms first, for as long as nobody is known nobody can be changed.
            cluster.advance(4 * ELECTION.1);
        }
        for node in cluster.nodes.values_mut() {
            node.auto_persist = false;
            node.auto_apply = false;
            node.durable_machine = random.between(0, 2) == 0;
            // Any two of them drift apart by no more than the settings allow.
            let half = settings.drift_ppm / 2;
            node.drift = i128::from(random.between(0, 2 * half)) - i128::from(half);
        }
        let rates = match random.between(0, 3) {
            0 => (0, 0, 0),
            1 => (2, 2, 10),
            2 => (10, 10, 30),
            _ => (0, 20, 60),
        };
        Self { random, cluster, reshaping, rates, proposals: 0, acknowledged: Vec::new(), wiped: 0, founders: nodes }
    }

    pub fn any(&mut self) -> NodeId {
        self.random.between(1, self.cluster.nodes.len() as u64)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.random.between(1, 100) <= percent
    }

    fn act(&mut self) {
        if self.reshaping && self.chance(4) {
            return self.reshape();
        }
        match self.random.between(0, 999) {
            0..400 => self.deliver(),
            400..520 => {
                let id = self.any();
                self.cluster.persist(id);
            }
            520..600 => self.work(),
            600..700 => self.clock(),
            700..800 => self.propose(),
            800..850 => {
                let id = self.any();
                if self.cluster.nodes[&id].core.is_some() {
                    if self.chance(50) {
                        self.cluster.lease_read(id)
                    } else {
                        self.cluster.read(id)
                    };
                }
            }
            850..870 => self.snapshot(),
            870..890 => self.power(),
            890..900 => self.network(),
            900..905 => {
                let (id, to) = (self.any(), self.any());
                let to = self.chance(70).then_some(to);
                self.cluster.transfer(id, to);
            }
            905..908 => self.trouble(),
            908..915 => {
                let (id, peer) = (self.any(), self.any());
                self.cluster.step(id, Input::Unreachable(peer));
            }
            _ => self.flow(),
        }
    }

    /// What a node cannot go on from until it is started again.
    fn trouble(&mut self) {
        let id = self.any();
        let input = match self.random.between(0, 5) {
            0 => Input::PersistFailed(u64::MAX),
            1 => Input::Close { handover: false },
            2 | 3 => Input::Close { handover: true },
            _ => Input::ApplyStopped,
        };
        let failed = matches!(input, Input::PersistFailed(_));
        self.cluster.step(id, input);
        if failed {
            self.cluster.node(id).over = true;
            self.cluster.node(id).disk.crash(0);
        }
    }

    /// A stretch in which things work, so that there is progress to endanger.
    fn flow(&mut self) {
        for _ in 0..20 {
            self.deliver();
            let id = self.any();
            self.cluster.persist(id);
            self.work();
        }
    }

    fn deliver(&mut self) {
        let waiting = self.cluster.wire.len();
        if waiting == 0 {
            return;
        }
        let (lost, doubled, late) = self.rates;
        let at =
            if self.chance(late) { usize::try_from(self.random.between(0, waiting as u64 - 1)).unwrap() } else { 0 };
        let message = self.cluster.wire.remove(at).unwrap();
        // A proposal that comes twice is two proposals: transports do not double it.
        if self.chance(doubled) && !matches!(message.body, Body::Propose { .. } | Body::Change { .. }) {
            self.cluster.wire.push_back(message.clone());
        }
        if !self.chance(lost) {
            self.cluster.hand_over(message);
        }
    }

    fn work(&mut self) {
        let id = self.any();
        match self.random.between(0, 3) {
            0 => _ = self.cluster.answer_fetch(id),
            1 if self.chance(30) => {
                if let Some((to, _)) = self.cluster.node(id).sending.pop_front() {
                    self.cluster.step(id, Input::SnapshotSent { to, delivered: None });
                }
            }
            1 => _ = self.cluster.transfer_snapshot(id),
            _ => _ = self.cluster.apply(id),
        }
    }

    fn clock(&mut self) {
        if self.chance(40) {
            let deadlines = self.cluster.nodes.values().filter_map(Node::deadline);
            self.cluster.now = deadlines.min().map_or(self.cluster.now, |at| at.max(self.cluster.now));
        } else {
            self.cluster.now += self.random.between(0, 30 * MS);
        }
        for id in self.cluster.ids() {
            let due = self.cluster.nodes[&id].deadline();
            if due.is_some_and(|at| at <= self.cluster.now) && self.chance(70) {
                self.cluster.time(id);
            }
        }
    }

    fn propose(&mut self) {
        let id = self.any();
        if self.cluster.nodes[&id].core.is_some() {
            self.proposals += 1;
            let mut payload = format!("{:08}", self.proposals).into_bytes();
            payload.resize(8 + usize::try_from(self.random.between(0, 300)).unwrap(), b'.');
            let request = self.cluster.propose(id, &payload);
            self.acknowledged.push((id, request));
        }
    }

    fn snapshot(&mut self) {
        let (id, behind) = (self.any(), self.random.between(0, 6));
        if self.cluster.nodes[&id].core.is_some() && self.cluster.nodes[&id].machine.applied.index > 0 {
            self.cluster.snapshot(id, behind);
        }
    }

    fn power(&mut self) {
        let id = self.any();
        if self.cluster.nodes[&id].core.is_none() {
            self.cluster.start(id);
        } else if self.cluster.nodes[&id].over {
            self.crash(id);
        } else if self.chance(10) {
            for id in self.cluster.ids() {
                self.crash(id);
            }
        } else {
            self.crash(id);
        }
    }

    fn crash(&mut self, id: NodeId) {
        let unsynced = self.cluster.nodes[&id].disk.queue.len() as u64;
        let kept = usize::try_from(self.random.between(0, unsynced)).unwrap();
        self.cluster.crash(id, kept);
        if self.chance(50) {
            self.cluster.start(id);
        }
    }

    fn network(&mut self) {
        self.cluster.heal();
        if self.chance(60) {
            let one_way = self.chance(30);
            let side: Vec<bool> = self.cluster.ids().iter().map(|_| self.random.between(0, 1) == 0).collect();
            for from in self.cluster.ids() {
                for to in self.cluster.ids() {
                    let (a, b) = (side[usize::try_from(from - 1).unwrap()], side[usize::try_from(to - 1).unwrap()]);
                    if a != b && (!one_way || a) {
                        self.cluster.cut.insert((from, to));
                    }
                }
            }
        }
    }

    /// Everything works again: a leader is found, a write goes through, and all hold the same.
    pub fn heal(&mut self) {
        self.cluster.heal();
        self.revive();
        // A close that waited for a successor ends in this time.
        self.cluster.advance(2 * ELECTION.1);
        self.revive();
        self.cluster.advance(12 * ELECTION.1);
        let leader = self.cluster.leader().expect("a leader after healing");
        let request = self.cluster.propose(leader, b"at last");
        self.cluster.advance(12 * ELECTION.0);
        let at = self.cluster.placed(leader, request).expect("placed after healing");
        assert!(self.cluster.nodes[&leader].machine.applied >= at, "applied after healing");
        self.cluster.assert_equal();
        self.cluster.check_logs();
        self.cluster.checks.exactly_once();
        self.kept();
    }

    /// Everybody runs, with a disk and a state machine that work.
    pub fn revive(&mut self) {
        for id in self.cluster.ids() {
            let node = self.cluster.node(id);
            (node.auto_persist, node.auto_apply) = (true, true);
            let core = node.core.as_ref().map(Core::status);
            if core.is_some_and(|core| node.over || core.apply_stopped) {
                self.cluster.crash(id, 0);
            }
            if self.cluster.nodes[&id].core.is_none() {
                self.cluster.start(id);
            }
        }
    }

    /// What was placed in the log and applied there in that term is what everybody has applied.
    pub fn kept(&self) {
        for &(id, request) in &self.acknowledged {
            let Some(at) = self.cluster.placed(id, request) else { continue };
            let entry = self.cluster.checks.applied.get(&at.index);
            if let Some(entry) = entry.filter(|entry| entry.term() == at.term) {
                let payload = &self.cluster.checks.proposals[&request];
                assert_eq!(entry.payload(), payload, "another proposal stands where {request} was acknowledged");
            }
        }
    }
}

fn limits(random: &mut SplitMix64) -> Settings {
    let mut settings = settings();
    let mut pick = |low: u64, high: u64| usize::try_from(random.between(low, high)).unwrap();
    settings.storage_stall_timeout = pick(300, 4_000) as u64 * MS;
    settings.max_append_bytes = pick(100, 2_000);
    settings.max_inflight_messages = pick(1, 6);
    settings.max_inflight_bytes = pick(200, 4_000);
    settings.max_uncommitted_bytes = pick(2_000, 20_000);
    settings.tail_bytes = pick(0, 3_000);
    settings.max_applying_bytes = pick(100, 3_000);
    settings
}

/// What happened in schedules: a run in which nothing does proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub schedules: usize,
    pub terms: usize,
    pub writes: usize,
    pub reads: usize,
    pub changes: usize,
    pub joint: usize,
    pub wiped: usize,
    /// Nobody could be elected in the end: too many had lost their disks, or had left.
    pub dead: usize,
}

fn run(seed: u64, steps: u64, reshaping: bool, tally: &mut Tally) {
    let tell = Seed(seed);
    let mut chaos = Chaos::new(seed, reshaping);
    for step in 0..steps {
        chaos.act();
        if step % 64 == 0 {
            chaos.cluster.check_logs();
        }
    }
    if reshaping {
        tally.dead += usize::from(!chaos.heal_members());
    } else {
        chaos.heal();
    }
    tally.schedules += 1;
    tally.terms += chaos.cluster.checks.leaders.len();
    tally.reads += chaos.cluster.checks.answered;
    tally.wiped += chaos.wiped;
    for reply in chaos.cluster.nodes.values().flat_map(|node| &node.replies) {
        tally.writes += usize::from(matches!(reply, Reply::Proposed { .. }));
        tally.changes += usize::from(matches!(reply, Reply::Changing { .. }));
    }
    let joint = |event: &&Event| matches!(event, Event::Configured { configuration, .. } if configuration.is_joint());
    tally.joint += chaos.cluster.nodes.values().map(|node| node.events.iter().filter(joint).count()).sum::<usize>();
    drop(tell);
}

/// Many of them, or the one that `D_ENGINE_SEED` names.
pub fn run_all(few: u64, steps: u64, reshaping: bool) -> Tally {
    let mut tally = Tally::default();
    let one = std::env::var("D_ENGINE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = one {
        run(seed, steps, reshaping, &mut tally);
        return tally;
    }
    let seeds = if std::env::var("D_ENGINE_FULL").is_ok_and(|full| full == "1") { 100 * few } else { few };
    for seed in 0..seeds {
        run(seed, steps, reshaping, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.terms > 2 * tally.schedules, "{tally:?}");
    assert!(tally.writes > 10 * tally.schedules, "{tally:?}");
    assert!(tally.reads > 5 * tally.schedules, "{tally:?}");
    tally
}

#[test]
fn nothing_breaks_under_random_schedules() {
    run_all(2_000, 800, false);
}
