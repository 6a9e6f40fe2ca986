//! From the records of Python to what a core takes.

use d_engine_raft::{Configuration, Entry, Index, Input, LogId, Micros, NodeId, Term, WallMicros};
use pyo3::prelude::*;

use super::configuration::LIMIT;
use super::face::Face;
use super::records::{Given, Place, Record, bounded, number, pair};

/// Where an input stands, for messages.
const INPUT: Place = Place::new("step", "input");

/// A whole snapshot that came from a leader.
pub struct SnapshotReceived {
    pub from: NodeId,
    pub term: Term,
    pub last: LogId,
    pub time: WallMicros,
    pub configuration: (Index, Configuration),
}

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
            Record::Fetched => Input::Fetched { id: given.number(1)?, entries: self.read_fetched(&given, 2)? },
            Record::ApplyStopped => Input::ApplyStopped,
            Record::SnapshotTaken => Input::SnapshotTaken(self.read_bounded_id(&given, 1)?),
            Record::Purge => Input::Purge { upto: given.bounded(1, LIMIT)? },
            Record::SnapshotReceived => {
                let SnapshotReceived { from, term, last, time, configuration } =
                    self.read_snapshot_received(&given, 1)?;
                Input::SnapshotReceived { from, term, last, time, configuration }
            }
            Record::SnapshotSent => {
                Input::SnapshotSent { to: given.number(1)?, delivered: given.maybe_bounded(2, LIMIT)? }
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

    /// The answer to a `Fetch`: entries, if they were still there.
    pub fn read_fetched(&mut self, given: &Given<'_, '_>, at: usize) -> PyResult<Option<Vec<Entry>>> {
        if given.field(at)?.is_none() {
            return Ok(None);
        }
        let entries = self.read_entries(given, at)?;
        let reachable = entries.first().is_none_or(|first| first.index() < LIMIT);
        if !(reachable && entries.windows(2).all(|two| two[0].index() + 1 == two[1].index())) {
            return Err(given.place(at).wrong_value("entries follow each other without a gap"));
        }
        Ok(Some(entries))
    }

    /// A snapshot that has come, from its `sender` on.
    pub fn read_snapshot_received(&mut self, given: &Given<'_, '_>, sender: usize) -> PyResult<SnapshotReceived> {
        let place = given.place(sender + 4);
        let configuration = given.pair(sender + 4)?;
        let index = bounded(number(&*configuration.get_borrowed_item(0)?, place)?, LIMIT, place)?;
        Ok(SnapshotReceived {
            from: given.number(sender)?,
            term: given.bounded(sender + 1, LIMIT)?,
            last: self.read_bounded_id(given, sender + 2)?,
            time: given.number(sender + 3)?,
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
