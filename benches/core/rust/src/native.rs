//! Our cores: every effect is carried out at once, in memory, and acknowledged through the public inputs.

use std::collections::VecDeque;

use d_engine_raft::{
    Configuration, Core, Draft, Effect, Entries, EntryKind, HEADER_BYTES, HardState, Incarnation, Input, LogId, Member,
    MemberRole, Micros, Persist, RequestId, Role, Settings, Start,
};

use crate::cluster::{Applied, Cluster, KEPT, MEMBERS, PAYLOAD, Proposals};

/// One member: its core, its log and its state machine.
struct Node {
    core: Core,
    log: VecDeque<Entries>,
    kept: usize,
    applied: Applied,
}

/// Three members under one virtual clock.
pub struct Native {
    nodes: [Node; MEMBERS],
    /// What has happened to each and was not stepped yet.
    inboxes: [VecDeque<Input>; MEMBERS],
    leader: usize,
    now: Micros,
    effects: Vec<Effect>,
    request: RequestId,
    calls: u64,
}

impl Native {
    /// A cluster with a leader.
    pub fn elected() -> Self {
        let nodes = std::array::from_fn(|at| Node::new(at as u64 + 1));
        let inboxes = Default::default();
        let mut cluster = Self { nodes, inboxes, leader: 0, now: 0, effects: Vec::new(), request: 0, calls: 0 };
        while !cluster.settled() {
            cluster.pass_time();
        }
        cluster
    }

    /// Whether there is a leader whose first entry all hold.
    fn settled(&mut self) -> bool {
        let leader = self.nodes.iter().position(|node| node.core.role() == Role::Leader);
        self.leader = leader.unwrap_or(0);
        leader.is_some() && self.nodes.iter().all(|node| node.core.commit() > 0)
    }

    /// Steps until nothing waits any more: all that waits for one member, then the next one.
    fn run(&mut self) {
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for (at, node) in self.nodes.iter_mut().enumerate() {
                while let Some(input) = self.inboxes[at].pop_front() {
                    self.calls += 1;
                    node.core.step(self.now, input, &mut self.effects);
                    for effect in self.effects.drain(..) {
                        node.carry_out(at, effect, self.now, &mut self.inboxes);
                    }
                }
            }
        }
    }

    /// Nothing happens any more until the next deadline: so it is now.
    fn pass_time(&mut self) {
        let deadlines: [_; MEMBERS] = std::array::from_fn(|at| self.nodes[at].core.deadline().unwrap_or(Micros::MAX));
        self.now = deadlines.iter().fold(Micros::MAX, |next, &deadline| next.min(deadline)).max(self.now);
        for (inbox, deadline) in self.inboxes.iter_mut().zip(deadlines) {
            if deadline <= self.now {
                inbox.push_back(Input::Time { wall: self.now });
            }
        }
        self.run();
    }
}

impl Cluster for Native {
    fn commit(&mut self, proposals: &mut Proposals, batch: usize) {
        let mut draft = Draft::with_capacity(batch, batch * PAYLOAD);
        for _ in 0..batch {
            draft.push(EntryKind::Command, proposals.next());
        }
        self.request += 1;
        let propose = Input::Propose { wall: self.now, batches: vec![(self.request, draft)] };
        self.inboxes[self.leader].push_back(propose);
        self.run();
        while self.nodes.iter().any(|node| node.applied.count() < proposals.made()) {
            self.pass_time();
        }
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    fn applied(&self) -> [Applied; MEMBERS] {
        std::array::from_fn(|at| self.nodes[at].applied)
    }
}

impl Node {
    fn new(id: u64) -> Self {
        let member = |id: u64| Member {
            id,
            address: format!("member-{id}:1"),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: true,
            incarnation: None,
            leaving: false,
        };
        let configuration = Configuration {
            members: (1..=MEMBERS as u64).map(member).collect(),
            outgoing: Vec::new(),
            min_election_timeout: 1_000_000,
        };
        let start = Start {
            id,
            incarnation: Incarnation(u128::from(id)),
            group: 0,
            seed: id,
            hard_state: HardState::default(),
            purged: LogId::ZERO,
            last: 0,
            term_runs: Vec::new(),
            last_time: 0,
            configurations: vec![(0, configuration)],
            snapshot: None,
            applied: 0,
        };
        Self { core: Core::new(0, settings(), start), log: VecDeque::new(), kept: 0, applied: Applied::default() }
    }

    fn carry_out(&mut self, at: usize, effect: Effect, now: Micros, inboxes: &mut [VecDeque<Input>; MEMBERS]) {
        match effect {
            Effect::Send(message) => {
                inboxes[message.to as usize - 1].push_back(Input::Message { wall: now, message });
            }
            Effect::Persist(persist) => {
                inboxes[at].push_back(Input::Persisted(persist.token));
                self.keep(persist);
            }
            Effect::Apply(entries) => {
                for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Command) {
                    self.applied.apply(&entry.record()[HEADER_BYTES..]);
                }
                inboxes[at].extend(entries.last().map(|last| Input::Applied(last.index())));
            }
            Effect::Fetch { .. } | Effect::Restore(_) | Effect::Purge(_) | Effect::SendSnapshot { .. } => {
                unreachable!("the tail in memory is as long as what is under way")
            }
            Effect::Reply(_) | Effect::Event(_) => {}
        }
    }

    fn keep(&mut self, persist: Persist) {
        assert!(persist.truncate_from.is_none(), "one leader, so nothing is ever cut");
        self.kept += persist.entries.len();
        self.log.push_back(persist.entries);
        while let Some(oldest) = self.log.front().filter(|oldest| self.kept - oldest.len() >= KEPT) {
            self.kept -= oldest.len();
            self.log.pop_front();
        }
    }
}

fn settings() -> Settings {
    Settings {
        heartbeat_interval: 100_000,
        election_timeout: (1_000_000, 2_000_000),
        drift_ppm: 20_000,
        storage_stall_timeout: 15_000_000,
        max_append_bytes: 1 << 20,
        max_inflight_messages: 256,
        max_inflight_bytes: 16 << 20,
        max_uncommitted_bytes: 64 << 20,
        tail_bytes: KEPT * (HEADER_BYTES + PAYLOAD),
        max_applying_bytes: 16 << 20,
    }
}
