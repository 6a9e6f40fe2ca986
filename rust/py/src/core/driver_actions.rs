//! From what a driver wants done to the records of Python.

use d_engine_node::driver::{Action, Failure, Piece, Unknown, Wanted};
use d_engine_raft::{Effect, Reply};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::driver_inputs::{DriverFace, Waiters};
use super::driver_records::DriverRecord;
use super::messages::give_refusal;
use super::records::{give, give_maybe, give_name};

impl DriverFace {
    pub fn give_action<'py>(&mut self, py: Python<'py>, action: Action<Waiters>) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match action {
            // What an action has in common with an effect is that same record.
            Action::Persist(persist) => self.core.give_effect(py, Effect::Persist(persist)),
            Action::Fetch { id, lo, hi, max_bytes } => {
                self.core.give_effect(py, Effect::Fetch { id, lo, hi, max_bytes })
            }
            Action::Purge(upto) => self.core.give_effect(py, Effect::Purge(upto)),
            Action::Send(message) => self.core.give_effect(py, Effect::Send(message)),
            Action::Restore(last) => self.core.give_effect(py, Effect::Restore(last)),
            Action::SendSnapshot { to, at_least } => self.core.give_effect(py, Effect::SendSnapshot { to, at_least }),
            Action::Event(event) => self.core.give_effect(py, Effect::Event(event)),
            Action::Closed => self.core.give_effect(py, Effect::Reply(Reply::Closed)),
            Action::Apply { entries, wanted } => {
                let entries = self.core.give_entries(py, &entries)?;
                let mut given = Vec::with_capacity(wanted.len());
                for one in wanted {
                    given.push(self.give_wanted(py, one)?);
                }
                records.make(py, DriverRecord::Apply, [entries, PyTuple::new(py, given)?.into_any()])
            }
            Action::Query { waiter, index } => {
                records.make(py, DriverRecord::Query, [waiter.into_bound(py), give(py, index)])
            }
            Action::TakeSnapshot => records.make(py, DriverRecord::TakeSnapshot, []),
            Action::FailProposal { id, waiter, failure } => {
                let fields = [give_maybe(py, id), waiter.into_bound(py), self.give_failure(py, failure)?];
                records.make(py, DriverRecord::FailProposal, fields)
            }
            Action::FailRead { waiter, failure } => {
                let fields = [waiter.into_bound(py), self.give_failure(py, failure)?];
                records.make(py, DriverRecord::FailRead, fields)
            }
            Action::EndSnapshot { waiter, result } => {
                let result = result.map_or_else(|why| self.give_failure(py, why), |index| Ok(give(py, index)))?;
                records.make(py, DriverRecord::EndSnapshot, [waiter.into_bound(py), result])
            }
            Action::EndChange { waiter, result } => {
                let result = match result {
                    Ok(configuration) => self.core.give_configuration(py, &configuration)?,
                    Err(why) => self.give_failure(py, why)?,
                };
                records.make(py, DriverRecord::EndChange, [waiter.into_bound(py), result])
            }
            Action::EndTransfer { waiter, result } => {
                let result = result.map_or_else(|why| self.give_failure(py, why), |to| Ok(give(py, to)))?;
                records.make(py, DriverRecord::EndTransfer, [waiter.into_bound(py), result])
            }
            Action::Forwarded { to, entries } => {
                records.make(py, DriverRecord::Forwarded, [give(py, to), give(py, entries as u64)])
            }
            Action::ReadRound => records.make(py, DriverRecord::ReadRound, []),
        }
    }

    fn give_wanted<'py>(&self, py: Python<'py>, wanted: Wanted<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let piece = match wanted.piece {
            Piece::More => self.records.make(py, DriverRecord::More, [])?,
            Piece::Last(waiter) => self.records.make(py, DriverRecord::Last, [waiter.into_bound(py)])?,
            Piece::Cut(waiter, failure) => {
                let fields = [waiter.into_bound(py), self.give_failure(py, failure)?];
                self.records.make(py, DriverRecord::Cut, fields)?
            }
        };
        let fields = [
            give(py, wanted.range.start as u64),
            give(py, wanted.range.end as u64),
            give(py, wanted.id),
            give_maybe(py, wanted.deadline),
            piece,
        ];
        self.records.make(py, DriverRecord::Wanted, fields)
    }

    fn give_failure<'py>(&self, py: Python<'py>, failure: Failure) -> PyResult<Bound<'py, PyAny>> {
        let records = self.records;
        match failure {
            Failure::NotLeader { leader, term } => {
                records.make(py, DriverRecord::NotLeader, [give_maybe(py, leader), give(py, term)])
            }
            Failure::Refused(why) => records.make(py, DriverRecord::Refused, [give_refusal(py, why)]),
            Failure::ChangeRefused(why) => {
                records.make(py, DriverRecord::ChangeRefused, [self.core.give_change_error(py, why)?])
            }
            Failure::Overwritten { at, by } => {
                records.make(py, DriverRecord::Overwritten, [self.core.give_id(py, at)?, give(py, by)])
            }
            Failure::TooLargeToForward { size, limit } => {
                let fields = [give(py, size as u64), give(py, limit as u64)];
                records.make(py, DriverRecord::TooLargeToForward, fields)
            }
            Failure::Unknown(why) => self.give_unknown(py, why),
            Failure::Deadline => Ok(give_name(py, "deadline")),
            Failure::ApplyStopped => Ok(give_name(py, "apply_stopped")),
            Failure::SnapshotFailed => Ok(give_name(py, "snapshot_failed")),
            Failure::Closed => Ok(give_name(py, "closed")),
            Failure::Removed => Ok(give_name(py, "removed")),
        }
    }

    fn give_unknown<'py>(&self, py: Python<'py>, why: Unknown) -> PyResult<Bound<'py, PyAny>> {
        let (name, at) = match why {
            Unknown::Timeout(at) => ("timeout", self.core.give_id(py, at)?),
            Unknown::Forwarded(to) => ("forwarded", give(py, to)),
            Unknown::Closed => ("closed", py.None().into_bound(py)),
            Unknown::Restored(last) => ("restored", self.core.give_id(py, last)?),
            Unknown::Applied(at) => ("applied", self.core.give_id(py, at)?),
        };
        self.records.make(py, DriverRecord::Unknown, [give_name(py, name), at])
    }
}
