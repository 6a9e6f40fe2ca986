//! A host's disk: the log and the snapshots of its node, and what happens to them behind the node's back.

use std::cell::Cell;
use std::sync::Arc;

use d_engine_node::storage::{DirectorySnapshots, WalLog};
use d_engine_node::{Loaded, LogStore, SnapshotStore, StorageError};
use d_engine_raft::{HardState, LogId};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Options, SegmentReport, Wal, WalError, inspect_files};

use crate::fact::{Fault, Platter};

/// Small segments, so that a log has several.
const SEGMENT_BYTES: u64 = 64 << 10;
const PAGE: usize = 4096;
/// Looked at when the power goes, beside the one that the node then finds.
pub const IMAGES: u64 = 2;

/// What stands on a platter: term and vote, and the last entry; `None`: the log would be refused.
type Found = Option<(HardState, LogId)>;

pub struct Disk {
    pub files: MemFiles,
    /// The power has gone since the log was last opened.
    pub cut: bool,
    /// It was given a reason to fail.
    pub troubled: bool,
    /// The log was damaged where it says that batches up to this one were durable: it is refused, or still holds them.
    damaged: Option<u64>,
    /// What the platters hold, at that version of them.
    found: Cell<Option<(u64, Found)>>,
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        let files = MemFiles::new(seed);
        files.tear_sectors(seed & 1 == 1);
        Self { files, cut: false, troubled: false, damaged: None, found: Cell::new(None) }
    }

    fn log(&self) -> MemFiles {
        self.files.directory("log")
    }

    /// Other things that a power cut at this moment could leave: each opens, with every batch that is on the platter and maybe
    /// more. A log that is damaged already is no measure. Answers how many were looked at.
    pub fn images(&self, cluster_id: u128, seed: u64) -> Result<u64, String> {
        let (log, said) = (self.log(), |error: WalError| error.to_string());
        let Ok(durable) = inspect_files(&log.platter()) else { return Ok(0) };
        if durable.damage.is_some() {
            return Ok(0);
        }
        for image in 1..=IMAGES {
            let image = log.crash_image(seed ^ image);
            let found = inspect_files(&image).map_err(said)?;
            let (batch, least) = (found.sequence, durable.sequence);
            if batch < least || found.hard_state.term < durable.hard_state.term {
                return Err(format!("a power cut may leave batch {batch} as the last one, and {least} is durable"));
            }
            let (_, opened) = Wal::open(image, options(cluster_id, 0)).map_err(said)?;
            if (opened.last, opened.hard_state) != (found.last, found.hard_state) {
                return Err(format!("a start makes {} of a log that ends at {}", opened.last, found.last));
            }
        }
        Ok(IMAGES)
    }

    pub fn open(&mut self, cluster_id: u128, salt: u64) -> Result<(Arc<dyn LogStore>, Loaded), StorageError> {
        let (log, loaded) = WalLog::open(self.log(), options(cluster_id, salt))?;
        self.cut = false;
        Ok((Arc::new(log), loaded))
    }

    pub fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(DirectorySnapshots::over(self.files.directory("snapshots"), "snapshots"))
    }

    /// To be asked after `open`: damage that was planted has made the log shorter, and nobody refused it.
    pub fn shortened(&mut self) -> Option<String> {
        let least = self.damaged.take()?;
        let end = inspect_files(&self.log()).map_or(0, |found| found.sequence);
        (end < least).then(|| format!("it ends at batch {end}, and said of {least} that it was durable"))
    }

    pub fn power_cut(&mut self, seed: u64) {
        self.files.power_cut(seed);
        self.cut = true;
    }

    /// Changes what stands in the log, where it was durable and later batches vouch for it: beyond that no log could tell.
    /// `false`: there is no such place.
    pub fn damage(&mut self, fault: Fault, dice: u64) -> bool {
        let log = self.log();
        let Ok(report) = inspect_files(&log) else { return false };
        if report.damage.is_some() {
            return false;
        }
        let vouched = |segment: &&SegmentReport| {
            segment.used > 0 && segment.sequences.is_some_and(|(_, last)| last < report.synced_through)
        };
        let segments: Vec<&SegmentReport> = report.segments.iter().rev().skip(1).filter(vouched).collect();
        let Some(segment) =
            usize::try_from(dice % 1_000).ok().and_then(|dice| segments.get(dice % segments.len().max(1)))
        else {
            return false;
        };
        let offset = (dice >> 10) % segment.used;
        self.damaged = self.damaged.max(Some(report.synced_through));
        if fault == Fault::BitRot {
            return log.flip(&segment.name, offset, 1 << (dice >> 40 & 7));
        }
        let Some(mut bytes) = log.contents(&segment.name) else { return false };
        let page = usize::try_from(offset).unwrap_or(0) / PAGE * PAGE;
        let other = usize::try_from((dice >> 20) % segment.used).unwrap_or(0) / PAGE * PAGE;
        if page + PAGE > bytes.len() || other + PAGE > bytes.len() || page == other {
            return false;
        }
        if fault == Fault::LostWrite {
            bytes[page..page + PAGE].fill(0);
        } else {
            bytes.copy_within(page..page + PAGE, other);
        }
        log.put(&segment.name, &bytes);
        true
    }

    /// What would be found after a power cut that loses everything unsynced: read back by the log's own recovery.
    fn found(&self) -> Found {
        let version = self.files.platter_version();
        if let Some((of, found)) = self.found.get()
            && of == version
        {
            return found;
        }
        let report = inspect_files(&self.log().platter()).ok().filter(|report| report.damage.is_none());
        let found = report.map(|report| (report.hard_state, report.last));
        self.found.set(Some((version, found)));
        found
    }
}

const fn options(cluster_id: u128, salt: u64) -> Options {
    Options { segment_bytes: SEGMENT_BYTES, cluster_id, group: 0, salt, background: false }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Disk").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl Platter for Disk {
    fn hard_state(&self) -> Option<HardState> {
        self.found().map(|(hard_state, _)| hard_state)
    }

    fn last(&self) -> Option<LogId> {
        self.found().map(|(_, last)| last)
    }
}
