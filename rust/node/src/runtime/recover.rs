//! What a start makes of what storage holds: snapshot and log must fit together.

use d_engine_raft::{Configuration, HardState, Index, LogId, Persist, Term, WallMicros};

use super::applier::{Applier, Position};
use super::sidecar;
use super::snapshots::{StorageOrPlugin, restore_at_start};
use crate::error::{NodeError, PluginFailure, StorageError};
use crate::snapshot::SnapshotHead;
use crate::traits::{Hello, Loaded, LogStore, SnapshotStore, StateMachine};

/// Storage after the start's checks.
pub struct Recovered {
    pub log: Loaded,
    pub snapshot: Option<SnapshotHead>,
    /// Ascending, beginning with the one that holds at the log's beginning.
    pub configurations: Vec<(Index, Configuration)>,
}

impl Recovered {
    pub fn time(&self) -> WallMicros {
        self.log.last_time.max(self.snapshot.as_ref().map_or(0, |head| head.time))
    }

    pub fn snapshot_id(&self) -> Option<LogId> {
        self.snapshot.as_ref().map(|head| head.last)
    }

    /// The newest configuration at or before that entry.
    pub fn configuration_at(&self, index: Index) -> Option<(Index, Configuration)> {
        self.configurations.iter().rev().find(|(at, _)| *at <= index).cloned()
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        term_at(&self.log, index)
    }
}

fn term_at(log: &Loaded, index: Index) -> Option<Term> {
    if index == log.purged.index {
        return Some(log.purged.term);
    }
    if index < log.purged.index || index > log.last {
        return None;
    }
    log.term_runs.iter().rev().find(|(first, _)| *first <= index).map(|&(_, term)| term)
}

/// Compares the newest snapshot with the log; a log that does not hold the snapshot's last entry is reset to it.
pub fn recover(
    hello: &Hello,
    mut log: Loaded,
    store: &dyn LogStore,
    snapshots: &dyn SnapshotStore,
) -> Result<Recovered, StorageError> {
    let snapshot = newest(hello, snapshots)?;
    match &snapshot {
        None if log.purged.index > 0 => {
            return Err(StorageError::Inconsistent(format!(
                "the log begins behind {}, and no snapshot covers what came before: restore this node's snapshots, or \
                 its whole storage, from a copy",
                log.purged
            )));
        }
        Some(head) if head.last.index < log.purged.index => {
            return Err(StorageError::Inconsistent(format!(
                "the newest snapshot ends at {}, but the log begins behind {}: restore this node's snapshots from a copy",
                head.last, log.purged
            )));
        }
        Some(head) if term_at(&log, head.last.index) != Some(head.last.term) => reset(&mut log, store, head)?,
        _ => {}
    }
    let base = snapshot.as_ref().map_or_else(|| (0, hello.initial.clone()), |head| head.configuration.clone());
    let later = std::mem::take(&mut log.configurations).into_iter().filter(|(index, _)| *index > base.0);
    let configurations = std::iter::once(base.clone()).chain(later).collect();
    Ok(Recovered { log, snapshot, configurations })
}

fn newest(hello: &Hello, snapshots: &dyn SnapshotStore) -> Result<Option<SnapshotHead>, StorageError> {
    let Some(meta) = snapshots.latest()? else { return Ok(None) };
    let mut reader = snapshots.open(&meta)?;
    let (head, _) = SnapshotHead::read(reader.as_mut())?;
    if head.cluster_id != hello.cluster_id || head.group != hello.group {
        return Err(StorageError::WrongCluster {
            place: "the snapshot store".into(),
            expected: format!("{} ({:032x})", hello.cluster, hello.cluster_id),
            found: format!("{:032x}", head.cluster_id),
        });
    }
    if head.last != meta.last {
        return Err(StorageError::Inconsistent(format!(
            "the snapshot store calls a snapshot of {} one of {}",
            head.last, meta.last
        )));
    }
    Ok(Some(head))
}

/// A crash came between the snapshot's commit and the log's reset, or the snapshot's entries were never here.
fn reset(log: &mut Loaded, store: &dyn LogStore, head: &SnapshotHead) -> Result<(), StorageError> {
    let newer = head.last.term > log.hard_state.term;
    let hard_state = newer.then_some(HardState { term: head.last.term, vote: None });
    let unit = Persist { hard_state, reset_to: Some(head.last), ..Persist::default() };
    store.write(&[unit])?;
    store.sync()?;
    *log = Loaded {
        hard_state: hard_state.unwrap_or(log.hard_state),
        purged: head.last,
        last: head.last.index,
        term_runs: Vec::new(),
        last_time: head.time,
        configurations: Vec::new(),
    };
    Ok(())
}

impl<S: StateMachine> Applier<S> {
    /// Brings the machine to where the log goes on: its own position, or the snapshot's.
    pub(super) fn bring_up(&mut self, machine: &mut S, recovered: &Recovered) -> Result<LogId, NodeError> {
        if self.shared.is_witness() {
            return Ok(self.bring_up_witness(recovered));
        }
        let node = self.shared.id;
        let plugin = |failure| NodeError::Plugin { node, failure };
        let own = machine.applied().map_err(plugin)?;
        self.durable = own.is_some();
        let covered = recovered.snapshot_id().map_or(0, |last| last.index);
        if let Some((index, bytes)) = own.filter(|(index, _)| *index > 0 && *index >= covered) {
            let wrong = |why| plugin(PluginFailure::new("StateMachine.applied", why));
            let (term, time, sessions) = sidecar::decode(&bytes)
                .map_err(|why| wrong(format!("the sidecar that it gave back is not ours: {why}")))?;
            let last = LogId::new(index, term);
            check_own(recovered, last).map_err(wrong)?;
            let configuration =
                recovered.configuration_at(index).unwrap_or_else(|| self.position.configuration.clone());
            self.position = Position { last, time, configuration };
            self.sessions = sessions;
        } else if let Some(last) = recovered.snapshot_id() {
            let (head, sessions) =
                restore_at_start(self.store.as_ref(), machine, last).map_err(|error| match error {
                    StorageOrPlugin::Plugin(failure) => plugin(failure),
                    StorageOrPlugin::Storage(error) => NodeError::Storage { node, error },
                })?;
            self.position = Position { last: head.last, time: head.time, configuration: head.configuration };
            self.sessions = sessions;
            self.settle(machine).map_err(plugin)?;
        }
        self.shared.set_applied(self.position.last.index);
        Ok(self.position.last)
    }
}

/// A machine that knows entries which the log does not hold has somebody else's state.
fn check_own(recovered: &Recovered, own: LogId) -> Result<(), String> {
    let last = recovered.log.last;
    match recovered.term_at(own.index) {
        None if own.index > last => Err(format!(
            "the state machine has applied entry {own}, but this node's log ends at {last}: state machine and storage do \
             not belong together"
        )),
        Some(term) if term != own.term => Err(format!(
            "the state machine has applied entry {own}, but the log's entry there is of term {term}: state machine and \
             storage do not belong together"
        )),
        _ => Ok(()),
    }
}
