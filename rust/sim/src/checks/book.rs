//! What has happened so far, entered once for all checks.

use std::collections::VecDeque;

use d_engine_raft::{AppendReply, Body, Index, LogId, Message, Micros, NodeId, Role, Term};

use super::ledger::Ledger;
use super::observed::Observed;
use crate::fact::{Fact, Fault, Operation, Phase, Request};

/// A call under way.
#[derive(Debug)]
pub struct Call {
    /// Who is asked.
    pub node: NodeId,
    /// What.
    pub request: Request,
    /// When.
    pub at: Micros,
    /// What was committed then, as far as any leader knew.
    pub committed: Index,
}

/// Everything that more than one check asks for.
#[derive(Debug)]
pub struct Book {
    /// Nodes and directories.
    pub observed: Observed,
    /// What is applied.
    pub ledger: Ledger,
    /// What leaders have committed: the term at each index; nothing at 0.
    committed: Vec<Term>,
    /// Calls by number; the first one's is `first_call`.
    calls: VecDeque<Option<Call>>,
    first_call: u64,
    /// The phase, and since when.
    pub phase: (Phase, Micros),
    /// Whose turn is being told.
    turn: Option<usize>,
    registers: bool,
}

impl Book {
    pub(super) fn new(registers: bool) -> Self {
        Self {
            observed: Observed::default(),
            ledger: Ledger::default(),
            committed: vec![0],
            calls: VecDeque::new(),
            first_call: 1,
            phase: (Phase::Faults, 0),
            turn: None,
            registers,
        }
    }

    /// The last index that any leader has committed.
    pub fn committed(&self) -> Index {
        self.committed.len() as Index - 1
    }

    /// The entry that was committed there.
    pub fn committed_at(&self, index: Index) -> Option<LogId> {
        let place = usize::try_from(index).ok()?;
        self.committed.get(place).map(|&term| LogId::new(index, term))
    }

    /// A call that has not ended.
    pub fn call(&self, id: u64) -> Option<&Call> {
        let place = usize::try_from(id.checked_sub(self.first_call)?).ok()?;
        self.calls.get(place)?.as_ref()
    }

    /// Whether a turn that was being told is over by this fact: whose.
    pub(super) fn ends_turn(&mut self, fact: &Fact<'_>) -> Option<usize> {
        let belongs = matches!(
            fact,
            Fact::Persist { .. }
                | Fact::Configured { .. }
                | Fact::Sent { .. }
                | Fact::Lost { .. }
                | Fact::Returned { .. }
                | Fact::Purged { .. }
        );
        if belongs {
            return None;
        }
        let place = self.turn.take()?;
        self.commit(place);
        Some(place)
    }

    /// What a leader commits is committed.
    fn commit(&mut self, place: usize) {
        let node = &self.observed.nodes[place];
        let upto = node.position.commit;
        if !(node.has_led() || node.position.role == Role::Leader) || upto <= self.committed() {
            return;
        }
        let log = &self.observed.directories[node.directory].log;
        for (end, term) in log.runs(self.committed() + 1, upto) {
            let missing = end.saturating_sub(self.committed.len() as Index - 1);
            self.committed.extend((0..missing).map(|_| term));
            if end >= upto {
                break;
            }
        }
    }

    /// Enters a fact.
    pub(super) fn take(&mut self, at: Micros, fact: &Fact<'_>) {
        match fact {
            Fact::Stepped { node, position, .. } => {
                self.turn = self.observed.place(*node);
                if let Some(place) = self.turn {
                    self.observed.nodes[place].stepped(position);
                }
            }
            Fact::Delivered { message, .. } => self.delivered(message),
            Fact::Sent { message, .. } => self.sent(message),
            Fact::Persist { node, persist } => {
                if let Some(directory) = self.observed.directory_mut(*node) {
                    directory.persist(persist);
                }
            }
            Fact::Durable { node, token } => {
                if let Some(directory) = self.observed.directory_mut(*node) {
                    directory.made_durable(*token);
                }
            }
            Fact::Applied { node, entries, given, state } => {
                self.ledger.apply(entries, given, *state, self.registers);
                if let (Some(node), Some(last)) = (self.observed.node_mut(*node), entries.last()) {
                    node.machine = last.id();
                }
            }
            Fact::Invoked(operation) => self.invoked(at, operation),
            Fact::Returned { id, .. } => self.returned(*id),
            Fact::Phase(phase) => self.phase = (*phase, at),
            _ => self.rarer(fact),
        }
    }

    fn rarer(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Started { node, incarnation, start } => self.observed.started(*node, *incarnation, start),
            Fact::Stopped { node, .. } => {
                if let Some(node) = self.observed.node_mut(*node) {
                    node.running = false;
                    node.before = node.position;
                    node.position.role = Role::Follower;
                    node.position.lease_until = None;
                }
            }
            Fact::Struck { fault, nodes } => nodes.iter().for_each(|&id| self.struck(*fault, id)),
            Fact::Ended { fault, nodes } => {
                for &id in *nodes {
                    if let Some(node) = self.observed.node_mut(id) {
                        node.recover(*fault);
                    }
                }
            }
            Fact::Purged { node, upto } => {
                if let Some(directory) = self.observed.directory_mut(*node) {
                    directory.log.purge(*upto);
                }
            }
            Fact::Configured { node, index, configuration } => {
                if let Some(node) = self.observed.node_mut(*node) {
                    node.configured(*index, configuration);
                }
            }
            Fact::Restored { node, last, .. } => {
                if let Some(node) = self.observed.node_mut(*node) {
                    node.machine = *last;
                }
            }
            Fact::SnapshotKept { node, last, .. } => {
                if let Some(directory) = self.observed.directory_mut(*node) {
                    directory.snapshot = directory.snapshot.max(Some(*last));
                }
            }
            _ => {}
        }
    }

    fn struck(&mut self, fault: Fault, id: NodeId) {
        if let Some(node) = self.observed.node_mut(id) {
            node.strike(fault);
        }
        let lies = matches!(fault, Fault::LostWrite | Fault::MisdirectedWrite | Fault::BitRot);
        if let (true, Some(directory)) = (lies, self.observed.directory_mut(id)) {
            directory.lied = true;
        }
    }

    fn delivered(&mut self, message: &Message) {
        let (from, incarnation) = (message.from, message.incarnation);
        match message.body {
            Body::VoteReply { granted: true } => {
                if let Some(node) = self.observed.node_mut(message.to)
                    && node.counts(message.term)
                    && !node.votes.contains(&(from, incarnation))
                {
                    node.votes.push((from, incarnation));
                }
            }
            Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => {
                if let Some(node) = self.observed.node_mut(message.to)
                    && node.counts(message.term)
                {
                    node.acknowledged(from, incarnation, matched);
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, message: &Message) {
        // A pre-vote speaks of a term that nobody has entered.
        if matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { .. }) {
            return;
        }
        if let Some(directory) = self.observed.directory_mut(message.from) {
            directory.revealed = directory.revealed.max(message.term);
        }
    }

    fn invoked(&mut self, at: Micros, operation: &Operation) {
        if self.calls.is_empty() {
            self.first_call = operation.id;
        }
        let next = self.first_call + self.calls.len() as u64;
        self.calls.extend((next..operation.id).map(|_| None));
        let (node, request, committed) = (operation.node, operation.request.clone(), self.committed());
        self.calls.push_back(Some(Call { node, request, at, committed }));
        if let Some(node) = self.observed.node_mut(node) {
            node.calls += 1;
        }
    }

    fn returned(&mut self, id: u64) {
        let place = id.checked_sub(self.first_call).and_then(|place| usize::try_from(place).ok());
        let call = place.and_then(|place| self.calls.get_mut(place)).and_then(Option::take);
        if let Some(node) = call.and_then(|call| self.observed.node_mut(call.node)) {
            node.calls = node.calls.saturating_sub(1);
        }
        while self.calls.front().is_some_and(Option::is_none) {
            self.calls.pop_front();
            self.first_call += 1;
        }
    }
}
