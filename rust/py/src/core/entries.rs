//! `Entry` and `Proposal`, both ways.

use d_engine_raft::{Draft, Entry, EntryKind, LogId};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::face::Face;
use super::records::{Given, Place, Record, bytes, give, items};

/// Entries that are remembered, by index.
const REMEMBERED: usize = 2048;
/// Longer ones are not, so that little memory is held by it.
const LONGEST: usize = 4096;

/// The same entry on both sides: it is converted once, though it comes and goes with several effects and inputs.
pub struct EntryPairs(Vec<Option<(Entry, Py<PyAny>)>>);

impl EntryPairs {
    pub fn new() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(REMEMBERED, || None);
        Self(slots)
    }

    fn slot(&mut self, index: u64) -> &mut Option<(Entry, Py<PyAny>)> {
        // The remainder is below the length.
        &mut self.0[usize::try_from(index % REMEMBERED as u64).unwrap_or_default()]
    }

    fn remember(&mut self, entry: &Entry, object: &Bound<'_, PyAny>) {
        if entry.size() <= LONGEST {
            *self.slot(entry.index()) = Some((entry.clone(), object.clone().unbind()));
        }
    }
}

impl Face {
    /// Entries on their way to Python.
    pub fn give_entries<'py>(&mut self, py: Python<'py>, entries: &[Entry]) -> PyResult<Bound<'py, PyAny>> {
        let mut given = Vec::with_capacity(entries.len());
        for entry in entries {
            given.push(self.give_entry(py, entry)?);
        }
        Ok(PyTuple::new(py, given)?.into_any())
    }

    fn give_entry<'py>(&mut self, py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyAny>> {
        if let Some((known, object)) = self.entries.slot(entry.index())
            // The very same bytes, not only the same place: in a test two leaders may have put different things there.
            && known.record().as_ptr() == entry.record().as_ptr()
            && known.size() == entry.size()
        {
            return Ok(object.bind(py).clone());
        }
        let fields = [
            give(py, entry.index()),
            give(py, entry.term()),
            self.kinds[entry.kind() as usize].bind(py).clone().into_any(),
            give(py, entry.time()),
            give(py, entry.session()),
            give(py, entry.sequence()),
            give(py, entry.ack_below()),
            PyBytes::new(py, &entry.record()[d_engine_raft::HEADER_BYTES..]).into_any(),
        ];
        let object = self.records.make(py, Record::Entry, fields)?;
        self.entries.remember(entry, &object);
        Ok(object)
    }

    /// Entries that Python gave.
    pub fn read_entries(&mut self, given: &Given<'_, '_>, at: usize) -> PyResult<Vec<Entry>> {
        let tuple = given.items(at)?;
        let mut entries = Vec::with_capacity(tuple.len());
        for object in tuple.iter_borrowed() {
            entries.push(self.read_entry(&object, given.place(at))?);
        }
        Ok(entries)
    }

    fn read_entry(&mut self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Entry> {
        let given = self.records.expect(Record::Entry, object, place)?;
        let index = given.number(0)?;
        if let Some((entry, known)) = self.entries.slot(index)
            && known.as_ptr() == object.as_ptr()
        {
            return Ok(entry.clone());
        }
        let id = LogId::new(index, given.number(1)?);
        let kind = given.name(2, kind)?;
        let (time, session) = (given.number(3)?, given.number(4)?);
        let (sequence, ack_below) = (given.number(5)?, given.number(6)?);
        let data = given.field(7)?;
        let payload = payload(&data, given.place(7))?;
        let entry = Entry::new(id, kind, time, session, sequence, ack_below, payload);
        self.entries.remember(&entry, object);
        Ok(entry)
    }

    /// A batch of proposals on its way to Python.
    pub fn give_draft<'py>(&self, py: Python<'py>, draft: Draft) -> PyResult<Bound<'py, PyAny>> {
        // Only a place makes entries of them, whichever.
        let mut entries = Vec::with_capacity(draft.len());
        draft.stamp(0, 0, 0, &mut entries);
        let mut given = Vec::with_capacity(entries.len());
        for entry in &entries {
            let fields = [
                self.kinds[entry.kind() as usize].bind(py).clone().into_any(),
                give(py, entry.session()),
                give(py, entry.sequence()),
                give(py, entry.ack_below()),
                PyBytes::new(py, &entry.record()[d_engine_raft::HEADER_BYTES..]).into_any(),
            ];
            given.push(self.records.make(py, Record::Proposal, fields)?);
        }
        Ok(PyTuple::new(py, given)?.into_any())
    }

    /// A batch of proposals that Python gave.
    pub fn read_draft(&self, object: &Bound<'_, PyAny>, place: Place) -> PyResult<Draft> {
        let tuple = items(object, place)?;
        let mut draft = Draft::with_capacity(tuple.len(), 0);
        for object in tuple.iter_borrowed() {
            let given = self.records.expect(Record::Proposal, &object, place)?;
            let kind = given.name(0, kind)?;
            if !matches!(kind, EntryKind::Command | EntryKind::Session) {
                return Err(given.place(0).wrong_value("only commands and sessions are proposed"));
            }
            let data = given.field(4)?;
            let payload = payload(&data, given.place(4))?;
            draft.push_in_session(kind, payload, given.number(1)?, given.number(2)?, given.number(3)?);
        }
        Ok(draft)
    }
}

/// The names of the kinds, each at its number.
pub const KINDS: [&str; 4] = ["noop", "command", "configuration", "session"];

fn kind(name: &str) -> Option<EntryKind> {
    match name {
        "noop" => Some(EntryKind::Noop),
        "command" => Some(EntryKind::Command),
        "configuration" => Some(EntryKind::Configuration),
        "session" => Some(EntryKind::Session),
        _ => None,
    }
}

fn payload<'a>(data: &'a Bound<'_, PyAny>, place: Place) -> PyResult<&'a [u8]> {
    let payload = bytes(data, place)?;
    if u32::try_from(payload.len()).is_err() {
        return Err(place.wrong_value("an entry is below 4 GiB"));
    }
    Ok(payload)
}
