//! Calls of clients: made, answered, or given up.

use std::collections::BTreeMap;

use bytes::Bytes;
use d_engine_node::driver::{DriverInput, Failure};
use d_engine_raft::{Draft, EntryKind, Index, Micros, NodeId, mutants};

use super::{Event, Tell, World};
use crate::driver::SimCalls;
use crate::fact::{Fact, Operation, Outcome, Request};
use crate::machine::{Machine, number, write_command};

/// How much longer than the node itself a caller waits.
const GRACE: Micros = 400_000;
/// Who calls by hand.
pub(crate) const BY_HAND: u64 = 0;

/// A call that is not answered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub client: u64,
    pub node: NodeId,
    pub request: Request,
}

impl Call {
    /// What a command's result means.
    pub fn outcome(&self, index: Index, result: Bytes) -> Outcome {
        match self.request {
            Request::Write { .. } => Outcome::Written { index, previous: number(&result) },
            Request::OpenSession => Outcome::Opened(number(&result)),
            _ => Outcome::Answered { index, result },
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: BTreeMap<u64, Call>,
    kept: BTreeMap<u64, Outcome>,
    last: u64,
}

impl Calls {
    pub fn get(&self, call: u64) -> Option<&Call> {
        self.open.get(&call)
    }

    /// The outcome of a call that was made by hand.
    pub fn kept(&self, call: u64) -> Option<&Outcome> {
        self.kept.get(&call)
    }

    /// Calls that wait at that node.
    pub fn of(&self, node: NodeId, which: impl Fn(&Request) -> bool) -> Vec<u64> {
        let here = self.open.iter().filter(|(_, call)| call.node == node && which(&call.request));
        here.map(|(&id, _)| id).collect()
    }

    /// What the reader sees, who has been let in.
    pub fn read(&self, call: u64, machine: &mut dyn Machine, applied: Index) -> Outcome {
        let read = |machine: &mut dyn Machine, query: &[u8]| machine.read(query).map_err(|why| Outcome::Refused(why.0));
        let ahead = u64::from(mutants::on("14-ahead-of-apply"));
        match self.open.get(&call).map(|open| &open.request) {
            Some(Request::Read { key, .. }) => read(machine, &key.to_le_bytes()).map_or_else(
                |refused| refused,
                |answer| Outcome::Read { value: number(&answer), applied: applied + ahead },
            ),
            Some(Request::Query { query, .. }) => {
                read(machine, query).map_or_else(|refused| refused, |answer| Outcome::Queried { answer, applied })
            }
            _ => Outcome::Unknown("given up before".into()),
        }
    }
}

/// What a caller learns from a failure.
pub(super) fn failed(failure: &Failure) -> Outcome {
    match failure {
        Failure::Unknown(_) if mutants::on("41-doubt-forgotten") => Outcome::Refused(format!("{failure:?}")),
        Failure::Unknown(_) | Failure::Deadline | Failure::ApplyStopped => Outcome::Unknown(format!("{failure:?}")),
        certain => Outcome::Refused(format!("{certain:?}")),
    }
}

impl World {
    /// A client asks a node; `padding` more bytes make a write larger. Gives the call's number.
    pub(crate) fn invoke(
        &mut self,
        client: u64,
        node: NodeId,
        request: Request,
        padding: usize,
        patience: Micros,
        tell: &mut Tell<'_, '_>,
    ) -> u64 {
        self.calls.last += 1;
        let id = self.calls.last;
        let operation = Operation { id, client, node, request: request.clone() };
        tell.fact(&Fact::Invoked(&operation));
        self.calls.open.insert(id, Call { client, node, request: request.clone() });
        let Some(host) = self.hosts.get(&node).filter(|host| host.process.is_some()) else {
            self.complete(id, Outcome::Refused("the node is down".into()), tell);
            return id;
        };
        let now = host.now(self.now);
        let input = self.input(id, request, padding, now, patience);
        self.report(node, "call", input);
        self.agenda.add(self.now + patience + GRACE, Event::GiveUp(id));
        id
    }

    fn input(&self, id: u64, request: Request, padding: usize, now: Micros, patience: Micros) -> DriverInput<SimCalls> {
        let deadline = Some(now + patience);
        let propose = |payload: &[u8], session: Option<(u64, u64)>| {
            let mut draft = Draft::default();
            match session {
                None => draft.push(EntryKind::Command, payload),
                Some((session, sequence)) => {
                    draft.push_in_session(EntryKind::Command, payload, session, sequence, sequence);
                }
            }
            DriverInput::Propose { draft, waiter: id, deadline }
        };
        match request {
            Request::Write { key, value, session } => propose(&write_command(key, value, padding), session),
            Request::Command { payload, session } => propose(&payload, session),
            Request::OpenSession => DriverInput::Propose { draft: self.config.session_draft(), waiter: id, deadline },
            Request::Read { consistency, .. } | Request::Query { consistency, .. } => {
                DriverInput::Read { waiter: id, deadline, consistency }
            }
            Request::Change(changes) => DriverInput::Change { changes, waiter: id, deadline },
            Request::Transfer(to) => DriverInput::Transfer { to, waiter: id, deadline },
            Request::Snapshot => DriverInput::Snapshot { waiter: id, deadline, applied: 0 },
            Request::Close => DriverInput::Close { handover: true, drain_until: now + 500_000 },
        }
    }

    /// A call has ended, unless it was given up before.
    pub(crate) fn complete(&mut self, id: u64, outcome: Outcome, tell: &mut Tell<'_, '_>) {
        let Some(call) = self.calls.open.remove(&id) else { return };
        tell.fact(&Fact::Returned { id, outcome: &outcome });
        if mutants::on("41-answered-twice") {
            tell.fact(&Fact::Returned { id, outcome: &outcome });
        }
        if call.client == BY_HAND {
            self.calls.kept.insert(id, outcome);
        } else {
            self.returned(&call, &outcome);
        }
    }

    /// Nothing was heard: the caller goes on without.
    pub(super) fn give_up(&mut self, id: u64, tell: &mut Tell<'_, '_>) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let node = call.node;
        if mutants::on("41-never-given-up") {
            return;
        }
        let close = call.request == Request::Close || mutants::on("41-expired-kept");
        let host = self.hosts.get(&node);
        let hangs = host.is_none_or(|host| host.hinders_calls(self.now));
        if !hangs && !close {
            let what =
                format!("call {id} ({:?}) at node {node} has no answer, and nothing hinders that node", call.request);
            tell.broken("wedged-waiter", what);
        }
        self.complete(id, Outcome::Unknown("no answer".into()), tell);
    }

    /// The node is gone, and with it everybody who waited there.
    pub(super) fn calls_are_gone(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        for call in self.calls.of(node, |_| true) {
            self.complete(call, Outcome::Gone, tell);
        }
    }

    /// Asks a node by hand; the outcome is kept for `outcome`.
    pub(crate) fn ask(&mut self, node: NodeId, request: Request, tell: &mut Tell<'_, '_>) -> u64 {
        self.invoke(BY_HAND, node, request, 0, 3_000_000, tell)
    }
}
