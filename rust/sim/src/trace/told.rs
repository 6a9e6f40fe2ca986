//! Facts that are kept: the same as `Fact`, with everything owned.

use d_engine_raft::{
    Configuration, HardState, Incarnation, Index, LogId, Message, Micros, NodeId, Persist, Start, Term, Token,
};

use crate::fact::{End, Fact, Fault, Operation, Outcome, Phase, Position};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It left its sender.
    Sent,
    /// It reached its receiver.
    Delivered,
    /// It reached nobody.
    Lost,
}

/// What a node began with.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Term and vote.
    pub hard_state: HardState,
    /// What stands before its first entry.
    pub purged: LogId,
    /// Its last index.
    pub last: Index,
    /// `(first index, term)` for every change of term after `purged`.
    pub runs: Vec<(Index, Term)>,
    /// Its newest snapshot.
    pub snapshot: Option<LogId>,
    /// Known to be committed.
    pub applied: Index,
    /// The configuration that counts.
    pub configuration: Option<(Index, Configuration)>,
}

impl From<&Start> for Begun {
    fn from(start: &Start) -> Self {
        Self {
            incarnation: start.incarnation,
            hard_state: start.hard_state,
            purged: start.purged,
            last: start.last,
            runs: start.term_runs.clone(),
            snapshot: start.snapshot,
            applied: start.applied,
            configuration: start.configurations.last().cloned(),
        }
    }
}

/// A fact that is kept. The fields are those of `Fact`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`Fact` says what each field is")]
pub enum Told {
    /// `Fact::Phase`.
    Phase(Phase),
    /// `Fact::Struck`.
    Struck { fault: Fault, nodes: Box<[NodeId]> },
    /// `Fact::Ended`.
    Ended { fault: Fault, nodes: Box<[NodeId]> },
    /// `Fact::Started`.
    Started { node: NodeId, begun: Box<Begun> },
    /// `Fact::Clock`.
    Clock { node: NodeId, shown: Micros, drift: i64 },
    /// `Fact::Stopped`.
    Stopped { node: NodeId, why: End },
    /// `Fact::Stepped`.
    Stepped { node: NodeId, now: Micros, input: &'static str, position: Position },
    /// `Fact::Persist`.
    Persist { node: NodeId, persist: Persist },
    /// `Fact::Durable`.
    Durable { node: NodeId, token: Token },
    /// `Fact::Purged`.
    Purged { node: NodeId, upto: LogId },
    /// `Fact::Configured`.
    Configured { node: NodeId, index: Index, configuration: Box<Configuration> },
    /// `Fact::Sent`, `Fact::Delivered`, `Fact::Lost`.
    Message { way: Way, number: u64, message: Message },
    /// `Fact::Applied`; of the entries, only where they stand.
    Applied { node: NodeId, first: Index, last: LogId, given: usize, state: u64 },
    /// `Fact::Restored`.
    Restored { node: NodeId, last: LogId, state: u64 },
    /// `Fact::SnapshotKept`.
    SnapshotKept { node: NodeId, last: LogId, bytes: u64, received: bool },
    /// `Fact::Invoked`.
    Invoked(Box<Operation>),
    /// `Fact::Returned`.
    Returned { id: u64, outcome: Outcome },
}

impl From<&Fact<'_>> for Told {
    fn from(fact: &Fact<'_>) -> Self {
        let message =
            |way, number: &u64, message: &Message| Self::Message { way, number: *number, message: message.clone() };
        match fact {
            Fact::Phase(phase) => Self::Phase(*phase),
            Fact::Struck { fault, nodes } => Self::Struck { fault: *fault, nodes: (*nodes).into() },
            Fact::Ended { fault, nodes } => Self::Ended { fault: *fault, nodes: (*nodes).into() },
            Fact::Started { node, start, .. } => Self::Started { node: *node, begun: Box::new((*start).into()) },
            Fact::Clock { node, shown, drift } => Self::Clock { node: *node, shown: *shown, drift: *drift },
            Fact::Stopped { node, why } => Self::Stopped { node: *node, why: (*why).clone() },
            Fact::Stepped { node, now, input, position } => {
                Self::Stepped { node: *node, now: *now, input, position: **position }
            }
            Fact::Persist { node, persist } => Self::Persist { node: *node, persist: (*persist).clone() },
            Fact::Durable { node, token } => Self::Durable { node: *node, token: *token },
            Fact::Purged { node, upto } => Self::Purged { node: *node, upto: *upto },
            Fact::Configured { node, index, configuration } => {
                Self::Configured { node: *node, index: *index, configuration: Box::new((*configuration).clone()) }
            }
            Fact::Sent { number, message: sent, .. } => message(Way::Sent, number, sent),
            Fact::Delivered { number, message: delivered } => message(Way::Delivered, number, delivered),
            Fact::Lost { number, message: lost } => message(Way::Lost, number, lost),
            Fact::Applied { node, entries, given, state } => Self::Applied {
                node: *node,
                first: entries.first().map_or(0, d_engine_raft::Entry::index),
                last: entries.last().map_or(LogId::ZERO, d_engine_raft::Entry::id),
                given: given.len(),
                state: *state,
            },
            Fact::Restored { node, last, state } => Self::Restored { node: *node, last: *last, state: *state },
            Fact::SnapshotKept { node, last, bytes, received } => {
                Self::SnapshotKept { node: *node, last: *last, bytes: *bytes, received: *received }
            }
            Fact::Invoked(operation) => Self::Invoked(Box::new((*operation).clone())),
            Fact::Returned { id, outcome } => Self::Returned { id: *id, outcome: (*outcome).clone() },
        }
    }
}

impl Told {
    /// The node in whose column it stands: the one it happens at.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Started { node, .. }
            | Self::Clock { node, .. }
            | Self::Stopped { node, .. }
            | Self::Stepped { node, .. }
            | Self::Persist { node, .. }
            | Self::Durable { node, .. }
            | Self::Purged { node, .. }
            | Self::Configured { node, .. }
            | Self::Applied { node, .. }
            | Self::Restored { node, .. }
            | Self::SnapshotKept { node, .. } => Some(*node),
            Self::Message { way: Way::Sent, message, .. } => Some(message.from),
            Self::Message { message, .. } => Some(message.to),
            Self::Invoked(operation) => Some(operation.node),
            Self::Phase(_) | Self::Struck { .. } | Self::Ended { .. } | Self::Returned { .. } => None,
        }
    }
}
