//! From the records of Python to what a core takes.

use d_engine_raft::{Input, LogId, Micros};
use pyo3::prelude::*;

use super::configuration::LIMIT;
use super::face::Face;
use super::records::{Given, Place, Record, bounded, number, pair};

/// Where an input stands, for messages.
const INPUT: Place = Place::new("step", "input");

impl Face {
    /// A moment and what happened then. Nothing of it is taken if any of it is wrong.
    pub fn read_input(&mut self, object: &Bound<'_, PyAny>) -> PyResult<(Micros, Input)> {
        let Some((kind, given)) = self.records.read(object) else {
            return Err(INPUT.wrong_type("an input of d_engine.pure", object));
        };
        let input = match kind {
            Record::Receive => Input::Message {
                wall: given.number(1)?,
                message: self.read_message(&*given.field(2)?, given.place(2))?,
            },
            Record::Persisted => Input::Persisted(given.number(1)?),
            Record::Applied => Input::Applied(given.bounded(1, LIMIT)?),
            Record::Time => Input::Time { wall: given.number(1)? },
            Record::Propose => self.read_propose(&given)?,
            Record::Read => Input::Read { id: given.number(1)?, lease: given.flag(2)? },
            Record::Transfer => Input::Transfer { id: given.number(1)?, to: given.maybe(2)? },
            Record::ChangeMembers => Input::Change {
                wall: given.number(1)?,
                id: given.number(2)?,
                changes: self.read_changes(&*given.field(3)?, given.place(3))?,
            },
            Record::PersistFailed => Input::PersistFailed(given.number(1)?),
            Record::Fetched => self.read_fetched(&given)?,
            Record::ApplyStopped => Input::ApplyStopped,
            Record::SnapshotTaken => Input::SnapshotTaken(self.read_bounded_id(&given, 1)?),
            Record::Purge => Input::Purge { upto: given.bounded(1, LIMIT)? },
            Record::SnapshotReceived => self.read_snapshot_received(&given)?,
            Record::SnapshotSent => {
                let delivered = given.maybe(2)?.map(|index| bounded(index, LIMIT, given.place(2))).transpose()?;
                Input::SnapshotSent { to: given.number(1)?, delivered }
            }
            Record::Unreachable => Input::Unreachable(given.number(1)?),
            Record::Close => Input::Close { handover: given.flag(1)? },
            _ => return Err(INPUT.wrong_type("an input of d_engine.pure", object)),
        };
        // All of them begin with it.
        Ok((given.bounded(0, LIMIT)?, input))
    }

    fn read_propose(&self, given: &Given<'_, '_>) -> PyResult<Input> {
        let place = given.place(2);
        let tuple = given.items(2)?;
        let mut batches = Vec::with_capacity(tuple.len());
        for batch in tuple.iter_borrowed() {
            let batch = pair(&batch, place)?;
            let id = number(&*batch.get_borrowed_item(0)?, place)?;
            batches.push((id, self.read_draft(&*batch.get_borrowed_item(1)?, place)?));
        }
        Ok(Input::Propose { wall: given.number(1)?, batches })
    }

    fn read_fetched(&mut self, given: &Given<'_, '_>) -> PyResult<Input> {
        let entries = if given.field(2)?.is_none() { None } else { Some(self.read_entries(given, 2)?) };
        let in_order = |entries: &Vec<d_engine_raft::Entry>| {
            entries.first().is_none_or(|first| first.index() < LIMIT)
                && entries.windows(2).all(|two| two[0].index() + 1 == two[1].index())
        };
        if !entries.as_ref().is_none_or(in_order) {
            return Err(given.place(2).wrong_value("entries follow each other without a gap"));
        }
        Ok(Input::Fetched { id: given.number(1)?, entries })
    }

    fn read_snapshot_received(&mut self, given: &Given<'_, '_>) -> PyResult<Input> {
        let place = given.place(5);
        let configuration = given.pair(5)?;
        let index = bounded(number(&*configuration.get_borrowed_item(0)?, place)?, LIMIT, place)?;
        Ok(Input::SnapshotReceived {
            from: given.number(1)?,
            term: given.bounded(2, LIMIT)?,
            last: self.read_bounded_id(given, 3)?,
            time: given.number(4)?,
            configuration: (index, self.read_configuration(&*configuration.get_borrowed_item(1)?, place)?),
        })
    }

    /// Where an entry stands, and it can stand there.
    pub fn read_bounded_id(&self, given: &Given<'_, '_>, at: usize) -> PyResult<LogId> {
        let id = self.read_id(given, at)?;
        bounded(id.term.max(id.index), LIMIT, given.place(at))?;
        Ok(id)
    }
}
