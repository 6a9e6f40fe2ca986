//! `Settings` and `Start`: what a core is made of. Whatever is wrong with them is a `ConfigError`.

use d_engine_raft::{Configuration, HardState, Index, LogId, Micros, Settings, Start, Term};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::Report;

use super::configuration::LIMIT;
use super::face::Face;
use super::records::{Given, Place, Record, bounded, number, pair};

/// Two thousand years: a moment and several of these are still a moment.
pub const LONGEST_SPAN: Micros = 1 << 56;

impl Face {
    pub fn read_settings(&self, object: &Bound<'_, PyAny>) -> PyResult<Settings> {
        self.settings(object).map_err(|error| config_error(object.py(), error))
    }

    fn settings(&self, object: &Bound<'_, PyAny>) -> PyResult<Settings> {
        let given = self.records.expect(Record::Settings, object, Place::new("NativeCore", "settings"))?;
        let timeout = given.pair(1)?;
        let bound =
            |at| bounded(number(&*timeout.get_borrowed_item(at)?, given.place(1))?, LONGEST_SPAN, given.place(1));
        let election_timeout = (bound(0)?, bound(1)?);
        if election_timeout.0 == 0 || election_timeout.0 > election_timeout.1 {
            return Err(given.place(1).wrong_value("two spans above 0 are needed, the longer one last"));
        }
        let heartbeat_interval = given.bounded(0, LONGEST_SPAN)?;
        if heartbeat_interval == 0 {
            return Err(given.place(0).wrong_value("a span above 0 is needed"));
        }
        let drift_ppm = given.number(2)?;
        if drift_ppm > 1_000_000 {
            return Err(given.place(2).wrong_value("at most a million"));
        }
        let size = |at| {
            given.bounded(at, LIMIT)?;
            given.size(at)
        };
        Ok(Settings {
            heartbeat_interval,
            election_timeout,
            drift_ppm,
            storage_stall_timeout: given.bounded(3, LONGEST_SPAN)?,
            max_append_bytes: size(4)?,
            max_inflight_messages: size(5)?,
            max_inflight_bytes: size(6)?,
            max_uncommitted_bytes: size(7)?,
            tail_bytes: size(8)?,
            max_applying_bytes: size(9)?,
        })
    }

    pub fn read_start(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Start> {
        self.start(object).map_err(|error| config_error(object.py(), error))
    }

    fn start(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Start> {
        let given = self.records.expect(Record::Start, object, Place::new("NativeCore", "start"))?;
        let id = given.number(0)?;
        if id == 0 {
            return Err(given.place(0).wrong_value("0 is no node's number"));
        }
        let hard_state = given.field(4)?;
        let hard_state = self.records.expect(Record::HardState, &hard_state, given.place(4))?;
        let purged = self.read_bounded_id(&given, 5)?;
        let last = given.bounded(6, LIMIT)?;
        if last < purged.index {
            return Err(given.place(6).wrong_value("before what is purged"));
        }
        let snapshot = given.field(10)?;
        let snapshot = if snapshot.is_none() { None } else { Some(self.read_bounded_id(&given, 10)?) };
        Ok(Start {
            id,
            incarnation: self.read_incarnation(&*given.field(1)?, given.place(1))?,
            group: given.number(2)?,
            seed: given.number(3)?,
            hard_state: HardState { term: hard_state.bounded(0, LIMIT)?, vote: hard_state.maybe(1)? },
            purged,
            last,
            term_runs: read_runs(&given, purged, last)?,
            last_time: given.number(8)?,
            configurations: self.read_configurations(&given, last)?,
            snapshot,
            applied: given.bounded(11, LIMIT)?,
        })
    }

    fn read_configurations(&mut self, given: &Given<'_, '_>, last: Index) -> PyResult<Vec<(Index, Configuration)>> {
        let place = given.place(9);
        let mut configurations: Vec<(Index, Configuration)> = Vec::new();
        for found in given.items(9)?.iter_borrowed() {
            let found = pair(&found, place)?;
            let index = number(&*found.get_borrowed_item(0)?, place)?;
            if index > last || configurations.last().is_some_and(|&(before, _)| before >= index) {
                return Err(place.wrong_value("their indexes ascend and do not go beyond the log"));
            }
            configurations.push((index, self.read_configuration(&*found.get_borrowed_item(1)?, place)?));
        }
        Ok(configurations)
    }
}

fn read_runs(given: &Given<'_, '_>, purged: LogId, last: Index) -> PyResult<Vec<(Index, Term)>> {
    let place = given.place(7);
    let mut runs: Vec<(Index, Term)> = Vec::new();
    for run in given.items(7)?.iter_borrowed() {
        let run = pair(&run, place)?;
        let first = number(&*run.get_borrowed_item(0)?, place)?;
        let term = bounded(number(&*run.get_borrowed_item(1)?, place)?, LIMIT, place)?;
        let follows = match runs.last() {
            Some(&(before, older)) => first > before && term > older,
            None => first == purged.index + 1 && term >= purged.term,
        };
        if !follows || first > last {
            return Err(place.wrong_value("indexes and terms ascend, from the first entry to at most the last"));
        }
        runs.push((first, term));
    }
    if runs.is_empty() && last > purged.index {
        return Err(place.wrong_value("there are entries, and no term"));
    }
    Ok(runs)
}

/// What is wrong with the value of a setting has a name of its own; a wrong type is a wrong type.
pub fn config_error(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyValueError>(py) {
        Report::new("ConfigError", error.value(py).to_string()).raise(py)
    } else {
        error
    }
}
