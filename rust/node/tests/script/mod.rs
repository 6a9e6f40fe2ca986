//! A driver around a core that says what the test wants: no threads, no time but what is given.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use d_engine_node::driver::{
    Action, Calls, Consistency, Driver, DriverInput, DriverSettings, DriverStart, Failure, Piece, Raft,
};
use d_engine_raft::{
    Change, Configuration, Draft, Effect, Entry, EntryKind, Event, Index, Input, LogId, Micros, NodeId, Reply,
    RequestId, Role, Term,
};

#[derive(Default)]
pub struct State {
    pub leader: Option<NodeId>,
    pub term: Term,
    pub deadline: Option<Micros>,
    pub inputs: Vec<Input>,
    pub next: Vec<Effect>,
    pub matched: BTreeMap<NodeId, Index>,
}

/// Answers every step with the effects prepared for it.
#[derive(Clone, Default)]
pub struct Script(pub Rc<RefCell<State>>);

impl Raft for Script {
    fn step(&mut self, _now: Micros, input: Input, out: &mut Vec<Effect>) {
        let mut state = self.0.borrow_mut();
        state.inputs.push(input);
        out.append(&mut state.next);
    }

    fn deadline(&self) -> Option<Micros> {
        self.0.borrow().deadline
    }

    fn role(&self) -> Role {
        Role::Follower
    }

    fn term(&self) -> Term {
        self.0.borrow().term
    }

    fn leader(&self) -> Option<NodeId> {
        self.0.borrow().leader
    }

    fn commit(&self) -> Index {
        0
    }

    fn matched(&self, node: NodeId) -> Option<Index> {
        self.0.borrow().matched.get(&node).copied()
    }
}

/// Callers are known by a name.
pub struct Names;

impl Calls for Names {
    type Proposal = &'static str;
    type Read = &'static str;
    type Snapshot = &'static str;
    type Change = &'static str;
    type Transfer = &'static str;
}

pub struct World {
    pub script: Script,
    pub driver: Driver<Script, Names>,
    pub out: Vec<Action<Names>>,
    pub now: Micros,
}

pub fn settings() -> DriverSettings {
    DriverSettings {
        id: 1,
        forward: true,
        max_forward_bytes: 1_000,
        read_retry: 1_000,
        refusal_pause: 100,
        snapshot_every_entries: 10,
        snapshot_every_bytes: 0,
        trailing_entries: 2,
        snapshot_pin_bytes: 1_000,
        pin_grace: 10_000,
    }
}

impl World {
    pub fn new(leader: Option<NodeId>) -> Self {
        Self::with(leader, settings())
    }

    pub fn with(leader: Option<NodeId>, settings: DriverSettings) -> Self {
        let script = Script::default();
        script.0.borrow_mut().leader = leader;
        script.0.borrow_mut().term = 3;
        let driver = Driver::new(script.clone(), settings, &DriverStart::default());
        Self { script, driver, out: Vec::new(), now: 1_000_000 }
    }

    pub fn prepare(&self, effects: Vec<Effect>) {
        self.script.0.borrow_mut().next = effects;
    }

    /// One input whose step has these effects.
    pub fn feed(&mut self, effects: Vec<Effect>) {
        self.prepare(effects);
        self.driver.handle(self.now, 0, DriverInput::Unreachable(9), &mut self.out);
    }

    pub fn handle(&mut self, input: DriverInput<Names>) {
        self.driver.handle(self.now, 0, input, &mut self.out);
    }

    pub fn flush(&mut self) {
        self.driver.flush(self.now, 0, &mut self.out);
    }

    pub fn propose(&mut self, waiter: &'static str, entries: usize, deadline: Option<Micros>) {
        let mut draft = Draft::default();
        for _ in 0..entries {
            draft.push(EntryKind::Command, b"x");
        }
        let deadline = deadline.map(|span| self.now + span);
        self.handle(DriverInput::Propose { draft, waiter, deadline });
    }

    pub fn read(&mut self, waiter: &'static str, span: Micros) {
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Read { waiter, deadline, consistency: Consistency::Linearizable });
    }

    pub fn lease_read(&mut self, waiter: &'static str, span: Micros) {
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Read { waiter, deadline, consistency: Consistency::Lease });
    }

    pub fn change(&mut self, waiter: &'static str, span: Micros) {
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Change { changes: vec![Change::Remove(3)], waiter, deadline });
    }

    pub fn transfer(&mut self, waiter: &'static str, to: Option<NodeId>, span: Micros) {
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Transfer { to, waiter, deadline });
    }

    pub fn change_leader(&mut self, leader: Option<NodeId>) {
        self.script.0.borrow_mut().leader = leader;
        self.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term: 3, leader })]);
    }

    /// What the core was told, since the last look.
    pub fn inputs(&self) -> Vec<String> {
        let taken = std::mem::take(&mut self.script.0.borrow_mut().inputs);
        taken
            .iter()
            .filter_map(|input| match input {
                Input::Propose { batches, .. } => Some(format!(
                    "propose {:?}",
                    batches.iter().map(|(id, draft)| (*id, draft.len())).collect::<Vec<_>>()
                )),
                Input::Read { id, lease: false } => Some(format!("read {id}")),
                Input::Read { id, lease: true } => Some(format!("lease read {id}")),
                Input::Change { id, changes, .. } => Some(format!("change {id} {changes:?}")),
                Input::Transfer { id, to } => Some(format!("transfer {id} {to:?}")),
                Input::Purge { upto } => Some(format!("purge {upto}")),
                Input::Close { handover } => Some(format!("close {handover}")),
                Input::SnapshotTaken(last) => Some(format!("taken {last}")),
                Input::Time { .. } => Some("time".to_owned()),
                _ => None,
            })
            .collect()
    }

    pub fn said(&mut self) -> Vec<String> {
        let failed = |waiter, failure: Failure| format!("{waiter}: {failure:?}");
        std::mem::take(&mut self.out)
            .into_iter()
            .filter_map(|action| match action {
                Action::Apply { entries, wanted } => {
                    let pieces: Vec<_> = wanted
                        .into_iter()
                        .map(|one| match one.piece {
                            Piece::More => format!("{:?} more of {}", one.range, one.id),
                            Piece::Last(waiter) => format!("{:?} {waiter}", one.range),
                            Piece::Cut(waiter, failure) => format!("{:?} {}", one.range, failed(waiter, failure)),
                        })
                        .collect();
                    Some(format!("apply {} [{}]", entries.len(), pieces.join(", ")))
                }
                Action::FailProposal { id, waiter, failure } => {
                    let begun = if id.is_some() { "after a part, " } else { "" };
                    Some(format!("{begun}{}", failed(waiter, failure)))
                }
                Action::FailRead { waiter, failure } => Some(failed(waiter, failure)),
                Action::Query { waiter, index } => Some(format!("query {waiter} at {index}")),
                Action::EndSnapshot { waiter, result } => Some(format!("snapshot {waiter}: {result:?}")),
                Action::EndChange { waiter, result } => {
                    let result = result.map(|found| found.to_string());
                    Some(format!("change {waiter}: {result:?}"))
                }
                Action::EndTransfer { waiter, result } => Some(format!("transfer {waiter}: {result:?}")),
                Action::TakeSnapshot => Some("take a snapshot".to_owned()),
                Action::Restore(last) => Some(format!("restore {last}")),
                Action::Closed => Some("closed".to_owned()),
                _ => None,
            })
            .collect()
    }
}

pub fn entries(first: Index, count: u64, term: Term) -> Vec<Entry> {
    let mut draft = Draft::default();
    for _ in 0..count {
        draft.push(EntryKind::Command, b"x");
    }
    let mut out = Vec::new();
    draft.stamp(first, term, 1, &mut out);
    out
}

/// An entry that changes the members; joint with `outgoing`.
pub fn configured(index: Index, term: Term, outgoing: Vec<NodeId>) -> Entry {
    let configuration = Configuration { members: Vec::new(), outgoing, min_election_timeout: 0 };
    let mut draft = Draft::default();
    draft.push(EntryKind::Configuration, &configuration.encode());
    let mut out = Vec::new();
    draft.stamp(index, term, 1, &mut out);
    out.remove(0)
}

pub fn proposed(id: RequestId, index: Index, term: Term) -> Effect {
    Effect::Reply(Reply::Proposed { id, at: LogId::new(index, term) })
}
