//! What the book knows of one node and of one data directory.

use std::collections::VecDeque;
use std::sync::Arc;

use d_engine_raft::{
    Configuration, HardState, Incarnation, Index, LogId, Member, NodeId, Persist, Role, Start, Term, Token,
};

use super::view::LogView;
use crate::fact::{Fault, Position};

/// A data directory, which outlives the processes on it and, in the book, its own end.
#[derive(Debug)]
pub struct Directory {
    /// Which.
    pub incarnation: Incarnation,
    /// The log as the node wants it.
    pub log: LogView,
    /// Durable up to here, by what its log said of the units that it was given.
    pub durable: Index,
    /// Term and vote, durable in the same way.
    pub hard_state: HardState,
    /// The newest snapshot in its store.
    pub snapshot: Option<LogId>,
    /// The newest term that it has told anybody.
    pub revealed: Term,
    /// Its disk has lied: what it said is no proof.
    pub lied: bool,
    outstanding: VecDeque<Outstanding>,
}

#[derive(Debug)]
struct Outstanding {
    token: Token,
    upto: Index,
    hard_state: Option<HardState>,
}

impl Directory {
    fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            log: LogView::default(),
            durable: 0,
            hard_state: HardState::default(),
            snapshot: None,
            revealed: 0,
            lied: false,
            outstanding: VecDeque::new(),
        }
    }

    /// A process begins on it: whatever was found is durable.
    fn start(&mut self, start: &Start) {
        self.log = LogView::of(start);
        self.durable = start.last;
        self.hard_state = start.hard_state;
        self.snapshot = start.snapshot;
        self.outstanding.clear();
    }

    /// A unit of storage work is on its way.
    pub fn persist(&mut self, persist: &Persist) {
        if let Some(to) = persist.reset_to {
            // The snapshot that it is reset to covers everything up to there.
            self.durable = to.index;
            self.outstanding.iter_mut().for_each(|earlier| earlier.upto = to.index);
        }
        if let Some(from) = persist.truncate_from {
            let kept = from.saturating_sub(1);
            self.durable = self.durable.min(kept);
            self.outstanding.iter_mut().for_each(|earlier| earlier.upto = earlier.upto.min(kept));
        }
        self.log.persist(persist);
        let (token, hard_state) = (persist.token, persist.hard_state);
        self.outstanding.push_back(Outstanding { token, upto: self.log.last, hard_state });
    }

    /// Units up to that one are durable.
    pub fn made_durable(&mut self, token: Token) {
        while let Some(oldest) = self.outstanding.front() {
            if oldest.token > token {
                break;
            }
            self.durable = self.durable.max(oldest.upto);
            self.hard_state = oldest.hard_state.unwrap_or(self.hard_state);
            self.outstanding.pop_front();
        }
    }

    /// Whether that entry is durably here, or covered by what is.
    pub fn keeps(&self, id: LogId) -> bool {
        id.index <= self.durable.max(self.log.purged.index) && self.log.holds(id)
    }
}

/// A follower's answer, as it reached a leader.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Who.
    pub from: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// What it says that it holds.
    pub matched: Index,
}

/// A node: its process, if there is one, and the directory that it runs on.
#[derive(Debug)]
pub struct Node {
    /// Who.
    pub id: NodeId,
    /// Whether a process runs.
    pub running: bool,
    /// Where its directory stands in the book.
    pub directory: usize,
    /// What it was before the last turn, and what it is.
    pub before: Position,
    /// What it is.
    pub position: Position,
    /// Those that may be in force, ascending; the last one is.
    pub configurations: Vec<(Index, Arc<Configuration>)>,
    /// The one in force before the last turn.
    pub former: Option<Arc<Configuration>>,
    /// The term of `votes` and of `acks`.
    pub counting: Term,
    /// Who has granted it that term.
    pub votes: Vec<(NodeId, Incarnation)>,
    /// Who has acknowledged what in that term.
    pub acks: Vec<Ack>,
    /// What its state machine covers.
    pub machine: LogId,
    /// Calls that it was asked and that have not ended.
    pub calls: usize,
    /// Faults that last, by their numbers as bits.
    struck: u64,
}

impl Node {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            running: false,
            directory: 0,
            before: Position::START,
            position: Position::START,
            configurations: Vec::new(),
            former: None,
            counting: 0,
            votes: Vec::new(),
            acks: Vec::new(),
            machine: LogId::ZERO,
            calls: 0,
            struck: 0,
        }
    }

    /// Whether the last turn made it a leader.
    pub fn was_elected(&self) -> bool {
        let before = (self.before.role, self.before.term);
        self.position.role == Role::Leader && before != (Role::Leader, self.position.term)
    }

    /// Whether it led through the whole of the last turn.
    pub fn went_on_leading(&self) -> bool {
        self.position.role == Role::Leader && !self.was_elected()
    }

    /// Whether it led before the last turn, and stayed in its term: it may have committed, and then given way.
    pub fn has_led(&self) -> bool {
        self.before.role == Role::Leader && self.before.term == self.position.term
    }

    /// The configuration in force.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configurations.last().map(|(_, configuration)| configuration.as_ref())
    }

    /// Whether one of those faults lasts here.
    pub fn is_struck(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|&fault| self.struck & bit(fault) != 0)
    }

    fn start(&mut self, directory: usize, start: &Start) {
        let covered = start.snapshot.map_or(0, |snapshot| snapshot.index).max(start.applied);
        self.running = true;
        self.directory = directory;
        self.position = Position {
            term: start.hard_state.term,
            commit: covered.max(start.purged.index).min(start.last),
            last: LogId::new(start.last, 0),
            purged: start.purged,
            durable: start.last,
            applied: start.applied,
            ..Position::START
        };
        self.before = self.position;
        self.configurations = start.configurations.iter().map(|(at, one)| (*at, Arc::new(one.clone()))).collect();
        self.former = None;
        (self.counting, self.machine) = (0, LogId::new(start.applied, 0));
        self.votes.clear();
        self.acks.clear();
    }

    pub(super) fn stepped(&mut self, position: &Position) {
        (self.before, self.position) = (self.position, *position);
        self.former = self.configurations.last().map(|(_, configuration)| configuration.clone());
    }

    pub(super) fn configured(&mut self, index: Index, configuration: &Configuration) {
        while self.configurations.last().is_some_and(|(last, _)| *last >= index) {
            self.configurations.pop();
        }
        self.configurations.push((index, Arc::new(configuration.clone())));
        let settled = self.configurations.partition_point(|(at, _)| *at <= self.position.commit);
        self.configurations.drain(..settled.saturating_sub(1));
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        self.struck |= bit(fault);
    }

    pub(super) fn recover(&mut self, fault: Fault) {
        self.struck &= !bit(fault);
    }

    /// It counts from now on for that term, if it is a newer one.
    pub(super) fn counts(&mut self, term: Term) -> bool {
        if term > self.counting {
            self.counting = term;
            self.votes.clear();
            self.acks.clear();
        }
        term == self.counting
    }

    pub(super) fn acknowledged(&mut self, from: NodeId, incarnation: Incarnation, matched: Index) {
        match self.acks.iter_mut().find(|ack| ack.from == from && ack.incarnation == incarnation) {
            Some(ack) => ack.matched = ack.matched.max(matched),
            None => self.acks.push(Ack { from, incarnation, matched }),
        }
    }
}

fn bit(fault: Fault) -> u64 {
    1 << fault as u64
}

/// Every node and every directory that there ever was: few, so that looking through them costs nothing.
#[derive(Debug, Default)]
pub struct Observed {
    /// By first start.
    pub nodes: Vec<Node>,
    /// By first start.
    pub directories: Vec<Directory>,
}

impl Observed {
    /// Where a node stands in `nodes`.
    pub fn place(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// The node, if it was ever started.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    /// The directory that a node runs on.
    pub fn directory(&self, id: NodeId) -> Option<&Directory> {
        self.node(id).and_then(|node| self.directories.get(node.directory))
    }

    pub(super) fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        let place = self.node(id)?.directory;
        self.directories.get_mut(place)
    }

    /// The directory that a configuration has recorded for a member.
    pub fn recorded(&self, member: &Member) -> Option<&Directory> {
        let incarnation = member.incarnation?;
        self.directories.iter().find(|directory| directory.incarnation == incarnation)
    }

    pub(super) fn started(&mut self, id: NodeId, incarnation: Incarnation, start: &Start) {
        let known = self.directories.iter().position(|directory| directory.incarnation == incarnation);
        let directory = known.unwrap_or_else(|| {
            self.directories.push(Directory::new(incarnation));
            self.directories.len() - 1
        });
        self.directories[directory].start(start);
        let place = self.place(id).unwrap_or_else(|| {
            self.nodes.push(Node::new(id));
            self.nodes.len() - 1
        });
        self.nodes[place].start(directory, start);
    }
}
