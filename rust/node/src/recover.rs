//! What a start makes of what storage holds: snapshot and log must fit together.

use d_engine_raft::{Configuration, HardState, Index, LogId, Persist, Start, Term, WallMicros, mutants};

use crate::driver::DriverStart;
use crate::error::StorageError;
use crate::snapshot::SnapshotHead;
use crate::traits::{Hello, Loaded, LogStore, SnapshotStore};

/// Storage after the start's checks.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// What the log holds.
    pub log: Loaded,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotHead>,
    /// Ascending, beginning with the one that holds at the log's beginning.
    pub configurations: Vec<(Index, Configuration)>,
}

impl Recovered {
    /// The newest time of an entry that is known here.
    #[must_use]
    pub fn time(&self) -> WallMicros {
        self.log.last_time.max(self.snapshot.as_ref().map_or(0, |head| head.time))
    }

    /// What the newest snapshot covers.
    #[must_use]
    pub fn snapshot_id(&self) -> Option<LogId> {
        self.snapshot.as_ref().map(|head| head.last)
    }

    /// The newest configuration at or before that entry.
    #[must_use]
    pub fn configuration_at(&self, index: Index) -> Option<(Index, Configuration)> {
        self.configurations.iter().rev().find(|(at, _)| *at <= index).cloned()
    }

    /// The term of the entry there, if the log knows it.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        term_at(&self.log, index)
    }

    /// What a core begins with, beside a machine that has applied everything up to `applied`.
    #[must_use]
    pub fn core_start(&self, hello: &Hello, seed: u64, applied: LogId) -> Start {
        Start {
            id: hello.node,
            incarnation: hello.incarnation,
            group: hello.group,
            seed,
            hard_state: self.log.hard_state,
            purged: self.log.purged,
            last: self.log.last,
            term_runs: self.log.term_runs.clone(),
            last_time: self.time(),
            configurations: self.configurations.clone(),
            snapshot: self.snapshot_id(),
            applied: applied.index,
        }
    }

    /// What the driver around it begins with; the same seed.
    #[must_use]
    pub fn driver_start(&self, seed: u64, applied: LogId) -> DriverStart {
        DriverStart { applied, snapshot: self.snapshot_id(), purged: self.log.purged, ids_after: seed >> 1 }
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
///
/// # Errors
/// They do not fit together, or belong to another cluster, or cannot be read.
pub fn recover(
    hello: &Hello,
    mut log: Loaded,
    store: &dyn LogStore,
    snapshots: &dyn SnapshotStore,
) -> Result<Recovered, StorageError> {
    if mutants::on("01-forgotten-at-start") {
        log.hard_state = HardState::default();
    }
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
        Some(head) if term_at(&log, head.last.index) != Some(head.last.term) && !mutants::on("28-never-reset") => {
            reset(&mut log, store, head)?;
        }
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
