//! What a snapshot holds, and how a machine is replaced by one.

use std::io::{Read, Write};

use d_engine_raft::{LogId, NodeId};

use super::{AppliedState, Position, sidecar};
use crate::driver::Sessions;
use crate::error::{NodeError, PluginFailure, StorageError};
use crate::snapshot::{Decoder, Encoder, Finished, SECTION_SESSIONS, SECTION_USER, SnapshotHead};
use crate::traits::{Batch, Hello, SnapshotStore, StateMachine, View};

/// Why a snapshot was not made or not restored: whose fault it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// The machine's.
    #[error(transparent)]
    Plugin(PluginFailure),
    /// The storage's.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Trouble {
    /// As that node says it.
    #[must_use]
    pub fn at(self, node: NodeId) -> NodeError {
        match self {
            Self::Plugin(failure) => NodeError::Plugin { node, failure },
            Self::Storage(error) => NodeError::Storage { node, error },
        }
    }
}

/// A snapshot that is being made, while apply goes on.
pub struct Making(Stage);

enum Stage {
    /// Sessions and a view are still to be written.
    View(SnapshotHead, Vec<u8>, View),
    /// Written, and still to be committed.
    Whole(Finished),
}

impl Making {
    /// Writes what is still to be written and makes the snapshot the newest one, durably.
    ///
    /// # Errors
    /// There is none; what was written of it is removed.
    pub fn finish(self, store: &dyn SnapshotStore) -> Result<SnapshotHead, Trouble> {
        let finished = match self.0 {
            Stage::View(head, sessions, view) => write(store, head, &sessions, view)?,
            Stage::Whole(finished) => finished,
        };
        Ok(finished.commit()?)
    }
}

impl<O> AppliedState<O> {
    fn head(&self, hello: &Hello) -> SnapshotHead {
        let Position { last, time, configuration } = self.position.clone();
        let (cluster_id, group) = (hello.cluster_id, hello.group);
        SnapshotHead { cluster_id, group, last, time, size: 0, digest: [0; 32], configuration }
    }

    /// Begins a snapshot of the machine as it is now. `None`: apply has stopped, and what stopped half-way through an entry is no
    /// state to keep.
    ///
    /// # Errors
    /// There will be none.
    pub fn snapshot<S: StateMachine<Output = O>>(
        &self,
        machine: &mut S,
        store: &dyn SnapshotStore,
        hello: &Hello,
    ) -> Result<Option<Making>, Trouble> {
        if self.stopped {
            return Ok(None);
        }
        let head = self.head(hello);
        if self.witness {
            // A head, and no section.
            return Ok(Some(Making(Stage::Whole(Encoder::begin(store, head)?.finish()?))));
        }
        let sessions = self.sessions.encode();
        let stage = match machine.freeze().map_err(Trouble::Plugin)? {
            Some(view) => Stage::View(head, sessions, view),
            None => Stage::Whole(write(store, head, &sessions, |out| machine.snapshot(out))?),
        };
        Ok(Some(Making(stage)))
    }

    /// Replaces the machine by the newest snapshot, which must cover `last`. Nothing happens where apply has stopped: answers
    /// whether it did.
    ///
    /// # Errors
    /// Apply has stopped now.
    pub fn restore<S: StateMachine<Output = O>>(
        &mut self,
        machine: &mut S,
        store: &dyn SnapshotStore,
        last: LogId,
    ) -> Result<bool, Trouble> {
        if self.stopped {
            return Ok(false);
        }
        let restored = self.take(machine, store, |found| found.index >= last.index);
        self.stopped = restored.is_err();
        restored.map(|()| true)
    }

    /// Takes the newest snapshot's place, if that one `fits`.
    pub(super) fn take<S: StateMachine<Output = O>>(
        &mut self,
        machine: &mut S,
        store: &dyn SnapshotStore,
        fits: impl Fn(LogId) -> bool,
    ) -> Result<(), Trouble> {
        if self.witness {
            // Its place in the log, and nothing of its state.
            let head = read_head(store, fits)?;
            self.place(head);
            return Ok(());
        }
        let (head, sessions) = restore_newest(store, machine, fits)?;
        self.sessions = sessions;
        self.place(head);
        self.settle(machine).map_err(Trouble::Plugin)
    }

    pub(super) fn place(&mut self, head: SnapshotHead) {
        self.position = Position { last: head.last, time: head.time, configuration: head.configuration };
    }

    /// Tells a durable machine where it stands after a restore.
    fn settle<S: StateMachine<Output = O>>(&self, machine: &mut S) -> Result<(), PluginFailure> {
        if self.durable {
            let sidecar = sidecar::encode(self.position.last, self.position.time, &self.sessions);
            let batch = Batch { entries: &[], last: self.position.last, sidecar: &sidecar, wanted: &[], keep: &[] };
            if let Some((_, failure)) = machine.apply(&batch).failure {
                return Err(failure);
            }
        }
        Ok(())
    }
}

/// Reads the head of the newest snapshot.
fn read_head(store: &dyn SnapshotStore, fits: impl Fn(LogId) -> bool) -> Result<SnapshotHead, StorageError> {
    let meta = store
        .latest()?
        .filter(|meta| fits(meta.last))
        .ok_or_else(|| StorageError::Inconsistent("the snapshot to take is not in the snapshot store".into()))?;
    let mut reader = store.open(&meta)?;
    SnapshotHead::read(reader.as_mut()).map(|(head, _)| head)
}

/// Restores the newest snapshot of the store.
fn restore_newest<S: StateMachine>(
    store: &dyn SnapshotStore,
    machine: &mut S,
    fits: impl Fn(LogId) -> bool,
) -> Result<(SnapshotHead, Sessions), Trouble> {
    let meta = store
        .latest()?
        .filter(|meta| fits(meta.last))
        .ok_or_else(|| StorageError::Inconsistent("the snapshot to restore is not in the snapshot store".into()))?;
    let (head, mut decoder) = Decoder::open(store.open(&meta)?)?;
    let mut sessions = Sessions::default();
    while let Some(section) = decoder.next_section()? {
        if section == SECTION_SESSIONS {
            sessions = read_sessions(&mut decoder, head.last)?;
            continue;
        }
        if section != SECTION_USER {
            continue;
        }
        let restored = machine.restore(&mut decoder);
        if let Some(error) = decoder.take_error() {
            return Err(error.into());
        }
        return restored.map(|()| (head, sessions)).map_err(Trouble::Plugin);
    }
    Err(StorageError::Inconsistent(format!(
        "the snapshot of {} holds no state, because a witness made it: a witness becomes another member with an empty storage \
         only (remove it, then join)",
        head.last
    ))
    .into())
}

/// What the section of the sessions holds.
fn read_sessions(decoder: &mut Decoder, last: LogId) -> Result<Sessions, StorageError> {
    let mut bytes = Vec::new();
    let read = decoder.read_to_end(&mut bytes);
    if let Some(error) = decoder.take_error() {
        return Err(error);
    }
    let table = read.map_err(|error| error.to_string()).and_then(|_| Sessions::decode(&bytes).map_err(str::to_owned));
    table.map_err(|why| {
        StorageError::Inconsistent(format!("the sessions in the snapshot of {last} cannot be read: {why}"))
    })
}

fn write(
    store: &dyn SnapshotStore,
    head: SnapshotHead,
    sessions: &[u8],
    user: impl FnOnce(&mut dyn Write) -> Result<(), PluginFailure>,
) -> Result<Finished, Trouble> {
    let mut encoder = Encoder::begin(store, head)?;
    let written = fill(&mut encoder, sessions, user);
    match written {
        Ok(()) => Ok(encoder.finish()?),
        Err(trouble) => {
            encoder.abort()?;
            Err(trouble)
        }
    }
}

fn fill(
    encoder: &mut Encoder,
    sessions: &[u8],
    user: impl FnOnce(&mut dyn Write) -> Result<(), PluginFailure>,
) -> Result<(), Trouble> {
    encoder.section(SECTION_SESSIONS)?;
    let written = encoder.write_all(sessions);
    if let Some(error) = encoder.take_error() {
        return Err(error.into());
    }
    written.map_err(|error| StorageError::io("writing the sessions", error))?;
    encoder.end_section()?;
    encoder.section(SECTION_USER)?;
    let result = user(encoder);
    if let Some(error) = encoder.take_error() {
        return Err(error.into());
    }
    result.map_err(Trouble::Plugin)?;
    Ok(encoder.end_section()?)
}
