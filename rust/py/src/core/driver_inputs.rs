//! From the records of Python to what a driver takes.

use d_engine_node::Consistency;
use d_engine_node::driver::{Calls, DriverInput, DriverSettings, DriverStart};
use d_engine_raft::{LogId, Micros};
use pyo3::prelude::*;

use super::configuration::LIMIT;
use super::driver_records::DriverRecord;
use super::face::Face;
use super::inputs::SnapshotReceived;
use super::records::{Classes, Given, Place};
use super::start::{LONGEST_SPAN, config_error};

/// Waiters are any objects: they come out as they went in.
pub struct Waiters;

impl Calls for Waiters {
    type Proposal = Py<PyAny>;
    type Read = Py<PyAny>;
    type Snapshot = Py<PyAny>;
    type Change = Py<PyAny>;
    type Transfer = Py<PyAny>;
}

/// Bytes of the entries between two reports of the state machine: their sum stays a number.
const MOST_BYTES: u64 = 1 << 48;
/// Where an input stands, for messages.
const INPUT: Place = Place::new("handle", "input");

/// Both directions between the records of Python and the driver.
pub struct DriverFace {
    pub core: Face,
    pub records: &'static Classes<DriverRecord>,
}

impl DriverFace {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { core: Face::new(py)?, records: Classes::get(py)? })
    }

    /// What happened. Nothing of it is taken if any of it is wrong.
    pub fn read_input(&mut self, object: &Bound<'_, PyAny>) -> PyResult<DriverInput<Waiters>> {
        let wrong = || INPUT.wrong_type("an input of d_engine.pure.driver", object);
        let (kind, given) = self.records.read(object).ok_or_else(wrong)?;
        Ok(match kind {
            DriverRecord::Receive => DriverInput::Message(self.core.read_message(&*given.field(0)?, given.place(0))?),
            DriverRecord::Propose => DriverInput::Propose {
                draft: self.core.read_draft(&*given.field(0)?, given.place(0))?,
                waiter: waiter(&given, 1)?,
                deadline: given.maybe(2)?,
            },
            DriverRecord::Read => DriverInput::Read {
                waiter: waiter(&given, 0)?,
                deadline: given.maybe(1)?,
                consistency: given.name(2, consistency)?,
            },
            DriverRecord::Change => DriverInput::Change {
                changes: self.core.read_changes(&*given.field(0)?, given.place(0))?,
                waiter: waiter(&given, 1)?,
                deadline: given.maybe(2)?,
            },
            DriverRecord::Transfer => {
                DriverInput::Transfer { to: given.maybe(0)?, waiter: waiter(&given, 1)?, deadline: given.maybe(2)? }
            }
            DriverRecord::Snapshot => DriverInput::Snapshot {
                waiter: waiter(&given, 0)?,
                deadline: given.maybe(1)?,
                applied: given.bounded(2, LIMIT)?,
            },
            DriverRecord::Persisted => DriverInput::Persisted(given.number(0)?),
            DriverRecord::PersistFailed => DriverInput::PersistFailed(given.number(0)?),
            DriverRecord::Fetched => {
                DriverInput::Fetched { id: given.number(0)?, entries: self.core.read_fetched(&given, 1)? }
            }
            DriverRecord::Applied => DriverInput::Applied {
                last: self.core.read_bounded_id(&given, 0)?,
                bytes: given.bounded(1, MOST_BYTES)?,
            },
            DriverRecord::ApplyStopped => DriverInput::ApplyStopped,
            DriverRecord::SnapshotTaken => DriverInput::SnapshotTaken(self.core.read_bounded_id(&given, 0)?),
            DriverRecord::SnapshotFailed => DriverInput::SnapshotFailed,
            DriverRecord::SnapshotReceived => {
                let SnapshotReceived { from, term, last, time, configuration } =
                    self.core.read_snapshot_received(&given, 0)?;
                DriverInput::SnapshotReceived { from, term, last, time, configuration }
            }
            DriverRecord::SnapshotSent => {
                DriverInput::SnapshotSent { to: given.number(0)?, delivered: given.maybe_bounded(1, LIMIT)? }
            }
            DriverRecord::Unreachable => DriverInput::Unreachable(given.number(0)?),
            DriverRecord::Close => DriverInput::Close { handover: given.flag(0)?, drain_until: given.number(1)? },
            _ => return Err(wrong()),
        })
    }

    pub fn read_settings(&self, object: &Bound<'_, PyAny>) -> PyResult<DriverSettings> {
        self.settings(object).map_err(|error| config_error(object.py(), error))
    }

    fn settings(&self, object: &Bound<'_, PyAny>) -> PyResult<DriverSettings> {
        let place = Place::new("NativeDriver", "driver_settings");
        let given = self.records.expect(DriverRecord::DriverSettings, object, place)?;
        let span = |at| -> PyResult<Micros> { given.bounded(at, LONGEST_SPAN) };
        Ok(DriverSettings {
            id: given.number(0)?,
            forward: given.flag(1)?,
            max_forward_bytes: given.size(2)?,
            read_retry: span(3)?,
            refusal_pause: span(4)?,
            snapshot_every_entries: given.number(5)?,
            snapshot_every_bytes: given.number(6)?,
            trailing_entries: given.number(7)?,
            snapshot_pin_bytes: given.number(8)?,
            pin_grace: span(9)?,
        })
    }

    pub fn read_start(&self, object: &Bound<'_, PyAny>) -> PyResult<DriverStart> {
        self.start(object).map_err(|error| config_error(object.py(), error))
    }

    fn start(&self, object: &Bound<'_, PyAny>) -> PyResult<DriverStart> {
        let given =
            self.records.expect(DriverRecord::DriverStart, object, Place::new("NativeDriver", "driver_start"))?;
        let id = |at| -> PyResult<LogId> { self.core.read_bounded_id(&given, at) };
        let snapshot = if given.field(1)?.is_none() { None } else { Some(id(1)?) };
        Ok(DriverStart { applied: id(0)?, snapshot, purged: id(2)?, ids_after: given.bounded(3, LIMIT)? })
    }
}

fn waiter(given: &Given<'_, '_>, at: usize) -> PyResult<Py<PyAny>> {
    Ok(given.field(at)?.to_owned().unbind())
}

fn consistency(name: &str) -> Option<Consistency> {
    match name {
        "linearizable" => Some(Consistency::Linearizable),
        "lease" => Some(Consistency::Lease),
        "eventual" => Some(Consistency::Eventual),
        _ => None,
    }
}
