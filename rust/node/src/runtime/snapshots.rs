//! Making snapshots and restoring them: the apply thread's part, and the snapshot thread.

use std::io::{Read, Write};
use std::sync::Arc;

use d_engine_raft::LogId;

use super::Queue;
use super::applier::{Applier, Position};
use super::inbox::{Inbox, Item};
use super::shared::Shared;
use super::transfer::TransferInput;
use super::witness::{read_head, write_head};
use crate::driver::{DriverInput, Sessions};
use crate::error::{NodeError, PluginFailure, StorageError};
use crate::metrics::add;
use crate::snapshot::{Decoder, Encoder, Finished, SECTION_SESSIONS, SECTION_USER, SnapshotHead};
use crate::traits::{Batch, Level, SnapshotStore, StateMachine, View};

/// One thing for the snapshot thread.
pub enum SnapshotTask {
    /// Write sessions and a view, then commit.
    View(SnapshotHead, Vec<u8>, View),
    /// Commit what the apply thread wrote.
    Commit(Finished),
}

/// Why a snapshot was not made.
enum Trouble {
    Plugin(PluginFailure),
    Storage(StorageError),
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl Trouble {
    fn report<S: StateMachine>(self, shared: &Shared, inbox: &Inbox<S>) {
        let error = match self {
            Self::Plugin(failure) => NodeError::Plugin { node: shared.id, failure },
            Self::Storage(error) => NodeError::Storage { node: shared.id, error },
        };
        add(&shared.counters.snapshots_failed, 1);
        shared.record(Level::Error, "snapshot", || format!("no snapshot was made, the log stays longer: {error}"));
        shared.set_snapshot_failure(Some(error));
        inbox.report(DriverInput::SnapshotFailed);
    }
}

impl<S: StateMachine> Applier<S> {
    fn head(&self) -> SnapshotHead {
        let Position { last, time, configuration } = self.position.clone();
        let hello = &self.shared.hello;
        SnapshotHead {
            cluster_id: hello.cluster_id,
            group: hello.group,
            last,
            time,
            size: 0,
            digest: [0; 32],
            configuration,
        }
    }

    pub(super) fn take_snapshot(&mut self, machine: &mut S) {
        if self.stopped {
            // What stopped half-way through an entry is no state to keep.
            self.shared.set_snapshot_failure(None);
            self.inbox.report(DriverInput::SnapshotFailed);
            return;
        }
        let (head, sessions) = (self.head(), self.sessions.encode());
        if self.shared.is_witness() {
            match write_head(self.store.as_ref(), head) {
                Ok(finished) => drop(self.snapshots.push(SnapshotTask::Commit(finished))),
                Err(error) => Trouble::Storage(error).report(&self.shared, &self.inbox),
            }
            return;
        }
        let task = match machine.freeze() {
            Ok(Some(view)) => Ok(SnapshotTask::View(head, sessions, view)),
            Ok(None) => {
                write(self.store.as_ref(), head, &sessions, |out| machine.snapshot(out)).map(SnapshotTask::Commit)
            }
            Err(failure) => Err(Trouble::Plugin(failure)),
        };
        match task {
            Ok(task) => drop(self.snapshots.push(task)),
            Err(trouble) => trouble.report(&self.shared, &self.inbox),
        }
    }

    pub(super) fn restore(&mut self, machine: &mut S, last: LogId) {
        if self.stopped {
            return;
        }
        match self.read_back(machine, last) {
            Ok(()) => {
                add(&self.shared.counters.snapshots_installed, 1);
                self.inbox.report(DriverInput::Applied { last: self.position.last, bytes: 0 });
            }
            Err(Trouble::Plugin(failure)) => self.stop(failure),
            Err(Trouble::Storage(error)) => {
                self.stopped = true;
                self.shared.fail(NodeError::Storage { node: self.shared.id, error });
                drop(self.inbox.push(Item::Stop));
            }
        }
    }

    fn read_back(&mut self, machine: &mut S, last: LogId) -> Result<(), Trouble> {
        if self.shared.is_witness() {
            self.take_place(read_head(self.store.as_ref(), last)?);
            return Ok(());
        }
        let (head, sessions) = restore_newest(self.store.as_ref(), machine, |found| found.index >= last.index)?;
        self.sessions = sessions;
        self.shared.set_applied(head.last.index);
        self.position = Position { last: head.last, time: head.time, configuration: head.configuration };
        self.settle(machine).map_err(Trouble::Plugin)
    }

    /// Tells a durable machine where it stands after a restore.
    pub(super) fn settle(&self, machine: &mut S) -> Result<(), PluginFailure> {
        if self.durable {
            let sidecar = super::sidecar::encode(self.position.last, self.position.time, &self.sessions);
            let batch = Batch { entries: &[], last: self.position.last, sidecar: &sidecar, wanted: &[], keep: &[] };
            if let Some((_, failure)) = machine.apply(&batch).failure {
                return Err(failure);
            }
        }
        Ok(())
    }
}

/// Restores the newest snapshot of the store; used at start, too.
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

/// Restores before the node runs.
pub fn restore_at_start<S: StateMachine>(
    store: &dyn SnapshotStore,
    machine: &mut S,
    last: LogId,
) -> Result<(SnapshotHead, Sessions), StorageOrPlugin> {
    restore_newest(store, machine, |found| found == last).map_err(|trouble| match trouble {
        Trouble::Plugin(failure) => StorageOrPlugin::Plugin(failure),
        Trouble::Storage(error) => StorageOrPlugin::Storage(error),
    })
}

/// Whose fault it is.
pub enum StorageOrPlugin {
    Plugin(PluginFailure),
    Storage(StorageError),
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

/// The snapshot thread.
pub fn run<S: StateMachine>(
    shared: &Arc<Shared>,
    inbox: &Arc<Inbox<S>>,
    queue: &Queue<SnapshotTask>,
    store: &dyn SnapshotStore,
    transfers: &Queue<TransferInput>,
) {
    while let Some(task) = queue.pop(None) {
        if shared.is_stopped() {
            return;
        }
        let finished = match task {
            SnapshotTask::View(head, sessions, view) => write(store, head, &sessions, view),
            SnapshotTask::Commit(finished) => Ok(finished),
        };
        match finished.and_then(|finished| finished.commit().map_err(Trouble::from)) {
            Ok(head) => {
                add(&shared.counters.snapshots_taken, 1);
                let (last, size) = (head.last, head.size);
                shared.record_at(Level::Info, "snapshot", Some(last.term), Some(last.index), || {
                    format!("made a snapshot of {last}, {size} bytes")
                });
                inbox.report(DriverInput::SnapshotTaken(last));
                transfers.push(TransferInput::Tidy);
            }
            Err(trouble) => trouble.report(shared, inbox),
        }
    }
}
