//! From what a core wants done to the records of Python.

use d_engine_raft::{Effect, Event, HardState, Persist, Reply, Role};
use pyo3::prelude::*;

use super::face::Face;
use super::messages::{give_refusal, give_transferred};
use super::records::{Record, give, give_flag, give_maybe, give_name};

impl Face {
    pub fn give_effect<'py>(&mut self, py: Python<'py>, effect: Effect) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match effect {
            Effect::Persist(persist) => self.give_persist(py, &persist),
            Effect::Fetch { id, lo, hi, max_bytes } => {
                let fields = [give(py, id), give(py, lo), give(py, hi), give(py, max_bytes as u64)];
                records.make(py, Record::Fetch, fields)
            }
            Effect::Send(message) => records.make(py, Record::Send, [self.give_message(py, message)?]),
            Effect::Apply(entries) => records.make(py, Record::Apply, [self.give_entries(py, &entries)?]),
            Effect::Restore(last) => records.make(py, Record::Restore, [self.give_id(py, last)?]),
            Effect::Purge(upto) => records.make(py, Record::PurgeLog, [self.give_id(py, upto)?]),
            Effect::SendSnapshot { to, at_least } => {
                records.make(py, Record::SendSnapshot, [give(py, to), give(py, at_least)])
            }
            Effect::Reply(reply) => self.give_reply(py, reply),
            Effect::Event(event) => self.give_event(py, &event),
        }
    }

    pub fn give_persist<'py>(&mut self, py: Python<'py>, persist: &Persist) -> PyResult<Bound<'py, PyAny>> {
        let hard_state = match persist.hard_state {
            Some(HardState { term, vote }) => {
                self.records.make(py, Record::HardState, [give(py, term), give_maybe(py, vote)])?
            }
            None => py.None().into_bound(py),
        };
        let fields = [
            give(py, persist.token),
            hard_state,
            self.give_maybe_id(py, persist.reset_to)?,
            give_maybe(py, persist.truncate_from),
            self.give_entries(py, &persist.entries)?,
        ];
        self.records.make(py, Record::Persist, fields)
    }

    fn give_reply<'py>(&self, py: Python<'py>, reply: Reply) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match reply {
            Reply::Proposed { id, at } => records.make(py, Record::Proposed, [give(py, id), self.give_id(py, at)?]),
            Reply::Forwarded { id, to } => records.make(py, Record::Forwarded, [give(py, id), give(py, to)]),
            Reply::Refused { id, why } => records.make(py, Record::Refused, [give(py, id), give_refusal(py, why)]),
            Reply::ReadReady { id, index } => records.make(py, Record::ReadReady, [give(py, id), give(py, index)]),
            Reply::Transferred { id, to } => {
                records.make(py, Record::Transferred, [give(py, id), give_transferred(py, to)])
            }
            Reply::Changing { id, at } => records.make(py, Record::Changing, [give(py, id), self.give_id(py, at)?]),
            Reply::ChangeRefused { id, why } => {
                records.make(py, Record::ChangeRefused, [give(py, id), self.give_change_error(py, why)?])
            }
            Reply::Closed => records.make(py, Record::Closed, []),
        }
    }

    pub fn give_event<'py>(&mut self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match event {
            Event::Changed { role, term, leader } => {
                let fields = [give_role(py, *role), give(py, *term), give_maybe(py, *leader)];
                records.make(py, Record::Changed, fields)
            }
            Event::Configured { index, configuration } => {
                let fields = [give(py, *index), self.give_configuration(py, configuration)?];
                records.make(py, Record::Configured, fields)
            }
            Event::WipedMember { id, expected, found } => {
                let fields = [give(py, *id), self.give_incarnation(py, *expected)?, self.give_incarnation(py, *found)?];
                records.make(py, Record::WipedMember, fields)
            }
            Event::StorageStalled(stalled) => records.make(py, Record::StorageStalled, [give_flag(py, *stalled)]),
            Event::StaleSnapshot(last) => records.make(py, Record::StaleSnapshot, [self.give_id(py, *last)?]),
            Event::NotCatchingUp(id) => records.make(py, Record::NotCatchingUp, [give(py, *id)]),
            Event::Removed => records.make(py, Record::Removed, []),
        }
    }
}

pub fn give_role(py: Python<'_>, role: Role) -> Bound<'_, PyAny> {
    let name = match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre_candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    give_name(py, name)
}
