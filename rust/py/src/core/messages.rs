//! `Message` and its bodies, both ways.

use d_engine_raft::{AppendReply, Body, LogId, Message, NodeId, Refusal};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::Report;

use super::configuration::read_change_error;
use super::face::Face;
use super::records::{Given, Place, Record, give, give_flag, give_name, named};

impl Face {
    pub fn give_message<'py>(&mut self, py: Python<'py>, message: Message) -> PyResult<Bound<'py, PyAny>> {
        let Message { from, incarnation, to, term, body } = message;
        let fields = [
            give(py, from),
            self.give_incarnation(py, incarnation)?,
            give(py, to),
            give(py, term),
            self.give_body(py, body)?,
        ];
        self.records.make(py, Record::Message, fields)
    }

    fn give_body<'py>(&mut self, py: Python<'py>, body: Body) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match body {
            Body::PreVote { last } => records.make(py, Record::PreVote, [self.give_id(py, last)?]),
            Body::PreVoteReply { granted } => records.make(py, Record::PreVoteReply, [give_flag(py, granted)]),
            Body::Vote { last, transfer } => {
                records.make(py, Record::Vote, [self.give_id(py, last)?, give_flag(py, transfer)])
            }
            Body::VoteReply { granted } => records.make(py, Record::VoteReply, [give_flag(py, granted)]),
            Body::Append { prev, commit, entries } => {
                let fields = [self.give_id(py, prev)?, give(py, commit), self.give_entries(py, &entries)?];
                records.make(py, Record::Append, fields)
            }
            Body::AppendReply(AppendReply::Accepted { matched }) => {
                records.make(py, Record::Accepted, [give(py, matched)])
            }
            Body::AppendReply(AppendReply::Rejected { prev, hint }) => {
                records.make(py, Record::Rejected, [give(py, prev), self.give_id(py, hint)?])
            }
            Body::Heartbeat { round, commit } => {
                records.make(py, Record::Heartbeat, [give(py, round), give(py, commit)])
            }
            Body::HeartbeatReply { round, last, apply_stopped } => {
                let fields = [give(py, round), give(py, last), give_flag(py, apply_stopped)];
                records.make(py, Record::HeartbeatReply, fields)
            }
            Body::SnapshotReply { matched } => records.make(py, Record::SnapshotReply, [give(py, matched)]),
            Body::TimeoutNow { target } => records.make(py, Record::TimeoutNow, [self.give_incarnation(py, target)?]),
            Body::Propose { id, entries } => {
                records.make(py, Record::ForwardedPropose, [give(py, id), self.give_draft(py, entries)?])
            }
            Body::ProposeReply { id, result } => {
                let result = result.map_or_else(|why| Ok(give_refusal(py, why)), |at| self.give_id(py, at))?;
                records.make(py, Record::ProposeReply, [give(py, id), result])
            }
            Body::ReadIndex { id, lease } => records.make(py, Record::ReadIndex, [give(py, id), give_flag(py, lease)]),
            Body::ReadIndexReply { id, result } => {
                let result = result.map_or_else(|why| give_refusal(py, why), |index| give(py, index));
                records.make(py, Record::ReadIndexReply, [give(py, id), result])
            }
            Body::Change { id, changes } => {
                records.make(py, Record::ForwardedChange, [give(py, id), self.give_changes(py, &changes)?])
            }
            Body::ChangeReply { id, result } => {
                let result = result.map_or_else(|why| self.give_change_error(py, why), |at| self.give_id(py, at))?;
                records.make(py, Record::ChangeReply, [give(py, id), result])
            }
        }
    }

    /// Where an entry stands, on its way to Python.
    pub fn give_id<'py>(&self, py: Python<'py>, id: LogId) -> PyResult<Bound<'py, PyAny>> {
        self.records.make(py, Record::LogId, [give(py, id.term), give(py, id.index)])
    }

    pub fn give_maybe_id<'py>(&self, py: Python<'py>, id: Option<LogId>) -> PyResult<Bound<'py, PyAny>> {
        id.map_or_else(|| Ok(py.None().into_bound(py)), |id| self.give_id(py, id))
    }

    /// A message that Python gave. What no message can hold is an `InvalidMessageError`; what one can hold and no member would
    /// say is the core's to drop.
    pub fn read_message(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Message> {
        let py = object.py();
        self.read_parts(object, place).map_err(|error| {
            if error.is_instance_of::<PyValueError>(py) {
                Report::new("InvalidMessageError", error.value(py).to_string()).raise(py)
            } else {
                error
            }
        })
    }

    fn read_parts(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Message> {
        let given = self.records.expect(Record::Message, object, place)?;
        let body = given.field(4)?;
        let Some((kind, said)) = self.records.read(&body) else {
            return Err(given.place(4).wrong_type("the body of a message", &body));
        };
        Ok(Message {
            from: given.number(0)?,
            incarnation: self.read_incarnation(&*given.field(1)?, given.place(1))?,
            to: given.number(2)?,
            term: given.number(3)?,
            body: match self.read_body(kind, &said)? {
                Some(said) => said,
                None => return Err(given.place(4).wrong_type("the body of a message", &body)),
            },
        })
    }

    fn read_body(&mut self, kind: Record, given: &Given<'_, '_>) -> PyResult<Option<Body>> {
        Ok(Some(match kind {
            Record::PreVote => Body::PreVote { last: self.read_id(given, 0)? },
            Record::PreVoteReply => Body::PreVoteReply { granted: given.flag(0)? },
            Record::Vote => Body::Vote { last: self.read_id(given, 0)?, transfer: given.flag(1)? },
            Record::VoteReply => Body::VoteReply { granted: given.flag(0)? },
            Record::Append => Body::Append {
                prev: self.read_id(given, 0)?,
                commit: given.number(1)?,
                entries: self.read_entries(given, 2)?.into(),
            },
            Record::Accepted => Body::AppendReply(AppendReply::Accepted { matched: given.number(0)? }),
            Record::Rejected => {
                Body::AppendReply(AppendReply::Rejected { prev: given.number(0)?, hint: self.read_id(given, 1)? })
            }
            Record::Heartbeat => Body::Heartbeat { round: given.number(0)?, commit: given.number(1)? },
            Record::HeartbeatReply => {
                Body::HeartbeatReply { round: given.number(0)?, last: given.number(1)?, apply_stopped: given.flag(2)? }
            }
            Record::SnapshotReply => Body::SnapshotReply { matched: given.number(0)? },
            Record::TimeoutNow => {
                Body::TimeoutNow { target: self.read_incarnation(&*given.field(0)?, given.place(0))? }
            }
            Record::ForwardedPropose => {
                Body::Propose { id: given.number(0)?, entries: self.read_draft(&*given.field(1)?, given.place(1))? }
            }
            Record::ProposeReply => Body::ProposeReply {
                id: given.number(0)?,
                result: match read_refusal(given, 1)? {
                    Some(why) => Err(why),
                    None => Ok(self.read_id(given, 1)?),
                },
            },
            Record::ReadIndex => Body::ReadIndex { id: given.number(0)?, lease: given.flag(1)? },
            Record::ReadIndexReply => Body::ReadIndexReply {
                id: given.number(0)?,
                result: match read_refusal(given, 1)? {
                    Some(why) => Err(why),
                    None => Ok(given.number(1)?),
                },
            },
            Record::ForwardedChange => {
                Body::Change { id: given.number(0)?, changes: self.read_changes(&*given.field(1)?, given.place(1))? }
            }
            Record::ChangeReply => {
                let result = given.field(1)?;
                let result = match self.records.read(&result) {
                    Some((Record::ChangeError, why)) => Err(read_change_error(&why)?),
                    _ => Ok(self.read_id(given, 1)?),
                };
                Body::ChangeReply { id: given.number(0)?, result }
            }
            _ => return Ok(None),
        }))
    }

    /// Where an entry stands, as Python gave it.
    pub fn read_id(&self, given: &Given<'_, '_>, at: usize) -> PyResult<LogId> {
        let value = given.field(at)?;
        let id = self.records.expect(Record::LogId, &value, given.place(at))?;
        Ok(LogId::new(id.number(1)?, id.number(0)?))
    }
}

fn read_refusal(given: &Given<'_, '_>, at: usize) -> PyResult<Option<Refusal>> {
    let value = given.field(at)?;
    if value.is_instance_of::<PyString>() { named(&value, given.place(at), refusal).map(Some) } else { Ok(None) }
}

/// Who leads now, or why not.
pub fn give_transferred(py: Python<'_>, to: Result<NodeId, Refusal>) -> Bound<'_, PyAny> {
    to.map_or_else(|why| give_refusal(py, why), |to| give(py, to))
}

pub fn give_refusal(py: Python<'_>, why: Refusal) -> Bound<'_, PyAny> {
    give_name(py, refusal_name(why))
}

const fn refusal_name(why: Refusal) -> &'static str {
    match why {
        Refusal::NotLeader => "not_leader",
        Refusal::Transferring => "transferring",
        Refusal::Overloaded => "overloaded",
        Refusal::StorageStalled => "storage_stalled",
        Refusal::ApplyStopped => "apply_stopped",
        Refusal::NoSuccessor => "no_successor",
        Refusal::Closing => "closing",
        Refusal::UnknownMember => "unknown_member",
        Refusal::NotAVoter => "not_a_voter",
        Refusal::TooFarBehind => "too_far_behind",
    }
}

fn refusal(name: &str) -> Option<Refusal> {
    Some(match name {
        "not_leader" => Refusal::NotLeader,
        "transferring" => Refusal::Transferring,
        "overloaded" => Refusal::Overloaded,
        "storage_stalled" => Refusal::StorageStalled,
        "apply_stopped" => Refusal::ApplyStopped,
        "no_successor" => Refusal::NoSuccessor,
        "closing" => Refusal::Closing,
        "unknown_member" => Refusal::UnknownMember,
        "not_a_voter" => Refusal::NotAVoter,
        "too_far_behind" => Refusal::TooFarBehind,
        _ => return None,
    })
}
