//! Looking into a log without taking part: for tools, also while a node runs on it, and after it was refused.

use std::path::{Path, PathBuf};

use d_engine_raft::{Configuration, GroupId, HardState, Index, LogId, Term};

use crate::directory::{holder, log_path, read_identity};
use crate::disk::DiskFiles;
use crate::error::WalError;
use crate::files::Files;
use crate::format::LOG_VERSION;
use crate::identity::Identity;
use crate::recover::Replay;
use crate::scan::{open_segments, scan};

/// A data directory.
#[derive(Debug)]
pub struct DirectoryReport {
    /// Where.
    pub path: PathBuf,
    /// Whether a node works in it, and may be writing.
    pub locked: bool,
    /// That node's process, if known.
    pub holder: Option<u32>,
    /// Whose it is; `None` if there is no identity file.
    pub identity: Result<Option<Identity>, WalError>,
    /// The log in it.
    pub log: LogReport,
}

/// A log.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    /// The format's version.
    pub version: u16,
    /// Cluster and group, if there is a batch.
    pub cluster: Option<(u128, GroupId)>,
    /// All segments, in the order of their epochs.
    pub segments: Vec<SegmentReport>,
    /// Term and vote.
    pub hard_state: HardState,
    /// The entry before the first one.
    pub purged: LogId,
    /// The last entry.
    pub last: LogId,
    /// The first index of every run of entries of one term.
    pub term_runs: Vec<(Index, Term)>,
    /// The configuration entries.
    pub configurations: Vec<(Index, Configuration)>,
    /// The last batch.
    pub sequence: u64,
    /// The last batch of which the log says that it was durable.
    pub synced_through: u64,
    /// What follows the log's end and was never durable: cut off at the next start.
    pub torn_tail: Option<TornTail>,
    /// What was durable and is damaged: the log will be refused.
    pub damage: Option<Damage>,
}

/// A file of the log.
#[derive(Clone, Debug, Default)]
pub struct SegmentReport {
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its size.
    pub bytes: u64,
    /// Of them, filled with good batches. 0: prepared, not in use.
    pub used: u64,
    /// The first and the last good batch.
    pub sequences: Option<(u64, u64)>,
    /// How many they are.
    pub batches: u64,
    /// How many of them are markers.
    pub markers: u64,
    /// Entries in them; some of them may have been dropped from the log since.
    pub entries: u64,
    /// The first and the last index among the entries.
    pub indexes: Option<(Index, Index)>,
    /// Batches that drop entries behind an index: (sequence, the last entry kept).
    pub truncations: Vec<(u64, LogId)>,
    /// Batches that reset the log: (sequence, the entry it begins behind).
    pub resets: Vec<(u64, LogId)>,
}

/// Bytes behind the log's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub segment: String,
    /// Where the log ends.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
    /// How many heads of later batches follow.
    pub heads: u64,
}

/// The first bad batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub segment: String,
    /// Where the batch begins in it.
    pub offset: u64,
    /// The first entry that is lost.
    pub index: Index,
    /// What does not fit.
    pub reason: String,
}

/// Looks into a data directory. Takes no lock and changes nothing; damage is part of the answer.
///
/// # Errors
/// What the disk says, or `Version`.
pub fn inspect(directory: &Path) -> Result<DirectoryReport, WalError> {
    let (locked, holder) = holder(directory);
    let log = log_path(directory);
    let log = if log.is_dir() {
        inspect_files(&DiskFiles::new(log))?
    } else if directory.is_dir() {
        LogReport { version: LOG_VERSION, ..LogReport::default() }
    } else {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(WalError::io("inspect", directory.display().to_string())(missing));
    };
    Ok(DirectoryReport { path: directory.to_owned(), locked, holder, identity: read_identity(directory), log })
}

/// Looks into a data directory and refuses what a node would refuse.
///
/// # Errors
/// `CorruptLog`, `CorruptIdentity`, `Version`, `WrongCluster` where identity and log do not belong together, or what the disk
/// says.
pub fn verify(directory: &Path) -> Result<DirectoryReport, WalError> {
    let mut report = inspect(directory)?;
    refuse(&report.log)?;
    match std::mem::replace(&mut report.identity, Ok(None)) {
        Err(error) => return Err(error),
        Ok(None) if report.log.cluster.is_some() => {
            return Err(WalError::IdentityMissing { directory: directory.to_owned() });
        }
        Ok(identity) => {
            if let (Some(identity), Some((cluster, group))) = (&identity, report.log.cluster)
                && (identity.cluster_id, identity.group) != (cluster, group)
            {
                return Err(WalError::WrongCluster {
                    segment: report.log.segments.first().map(|segment| segment.name.clone()).unwrap_or_default(),
                    cluster: identity.cluster_id,
                    group: identity.group,
                    found_cluster: cluster,
                    found_group: group,
                });
            }
            report.identity = Ok(identity);
        }
    }
    Ok(report)
}

/// Looks into a log. Changes nothing; damage is part of the answer.
///
/// # Errors
/// What the disk says, or `Version`.
pub fn inspect_files<F: Files>(files: &F) -> Result<LogReport, WalError> {
    let mut before = None;
    // A log that grows while it is looked through may seem to lack what was written behind the reader's back. Damage stays
    // where it is.
    loop {
        let report = look(files)?;
        if report.damage.is_none() || report.damage == before {
            return Ok(report);
        }
        before = report.damage;
    }
}

fn look<F: Files>(files: &F) -> Result<LogReport, WalError> {
    let segments = open_segments(files, false)?;
    let mut reports: Vec<SegmentReport> = segments
        .iter()
        .map(|segment| SegmentReport {
            name: segment.name.clone(),
            epoch: segment.epoch,
            bytes: segment.capacity,
            ..SegmentReport::default()
        })
        .collect();
    let mut replay = Replay::new();
    let mut at = 0;
    let scan = scan(segments, |batch| {
        let before = replay.state.last;
        replay.visit(batch)?;
        let head = batch.head;
        while reports.get(at).is_some_and(|report| report.epoch != head.epoch) {
            at += 1;
        }
        let Some(report) = reports.get_mut(at) else { return Ok(()) };
        report.used = head.offset + head.span();
        report.sequences = Some((report.sequences.map_or(head.sequence, |(first, _)| first), head.sequence));
        report.batches += 1;
        report.markers += u64::from(head.is_marker());
        report.entries += batch.entries.len() as u64;
        for entry in batch.entries {
            let (low, high) = report.indexes.unwrap_or((entry.index(), entry.index()));
            report.indexes = Some((low.min(entry.index()), high.max(entry.index())));
        }
        if head.is_reset() {
            report.resets.push((head.sequence, head.previous));
        } else if head.previous.index < before.index {
            report.truncations.push((head.sequence, head.previous));
        }
        Ok(())
    })?;
    let mut report = LogReport {
        version: LOG_VERSION,
        cluster: replay.cluster,
        segments: reports,
        sequence: scan.last.map_or(0, |head| head.sequence),
        synced_through: scan.synced_through,
        ..LogReport::default()
    };
    let lost = replay.state.last.index + 1;
    match replay.finish(&scan) {
        Ok(recovered) => {
            report.hard_state = recovered.hard_state;
            report.purged = recovered.purged;
            report.last = recovered.last;
            report.term_runs = recovered.term_runs;
            report.configurations = recovered.configurations;
        }
        Err(WalError::CorruptLog { segment, offset, index, reason }) => {
            report.damage = Some(Damage { segment, offset, index, reason });
        }
        Err(error) => return Err(error),
    }
    match scan.damage(lost) {
        Some(WalError::CorruptLog { segment, offset, index, reason }) => {
            report.damage = Some(Damage { segment, offset, index, reason });
        }
        Some(error) => return Err(error),
        None => {
            report.torn_tail = scan.tail.map(|tail| TornTail {
                segment: scan.segments[tail.place.0].name.clone(),
                offset: tail.place.1,
                reason: tail.reason,
                heads: tail.heads,
            });
        }
    }
    Ok(report)
}

/// Looks into a log and refuses what a node would refuse.
///
/// # Errors
/// `CorruptLog`, `Version`, or what the disk says.
pub fn verify_files<F: Files>(files: &F) -> Result<LogReport, WalError> {
    let report = inspect_files(files)?;
    refuse(&report)?;
    Ok(report)
}

fn refuse(report: &LogReport) -> Result<(), WalError> {
    let Some(Damage { segment, offset, index, reason }) = report.damage.clone() else { return Ok(()) };
    Err(WalError::CorruptLog { segment, offset, index, reason })
}
