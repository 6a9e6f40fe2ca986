//! Opening a log: what is there, what is cut off, what is refused.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use d_engine_raft::{Configuration, Entry, EntryKind, GroupId, Index, LogId, WallMicros, mutants};

use crate::error::WalError;
use crate::files::{File, Files, read_full, write_full};
use crate::format::{FLAG_FIRST, Head, PAGE, RecordsCrc};
use crate::log::Writer;
use crate::options::{Cut, Options, Recovered};
use crate::pool::make_segment;
use crate::scan::{Batch, Scan, open_segments, scan};
use crate::state::{LogState, Segment};

pub(crate) struct Opened<T> {
    pub state: LogState<T>,
    pub writer: Writer<T>,
    pub salt: u64,
    pub next_epoch: u64,
    pub recovered: Recovered,
}

/// What a log says, collected batch by batch.
pub(crate) struct Replay<T> {
    pub state: LogState<T>,
    pub cluster: Option<(u128, GroupId)>,
    configurations: Vec<(Index, Bytes)>,
    last_time: Option<(Index, WallMicros)>,
    started: bool,
}

impl<T: File> Replay<T> {
    pub(crate) fn new() -> Self {
        Self { state: LogState::new(), cluster: None, configurations: Vec::new(), last_time: None, started: false }
    }

    /// # Errors
    /// The batch does not continue those before it.
    pub(crate) fn visit(&mut self, batch: &Batch<'_, T>) -> Result<(), String> {
        let head = batch.head;
        let cluster = (head.cluster_id, head.group);
        if *self.cluster.get_or_insert(cluster) != cluster {
            return Err("it is of another cluster than the batches before it".to_owned());
        }
        if !self.started {
            self.started = true;
            (self.state.base, self.state.last) = (head.previous, head.previous);
        }
        let entries: Vec<&Entry> = batch.entries.iter().collect();
        self.state.take(batch.segment, head, &entries)?;
        // Only `finish` drops what lies before the purge point: until then it is needed to tell whether the log is whole.
        self.state.purged = head.purged;
        if head.is_reset() {
            self.configurations.clear();
        }
        self.configurations.retain(|&(index, _)| index <= head.previous.index);
        for entry in batch.entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration) {
            self.configurations.push((entry.index(), Bytes::copy_from_slice(&entry.payload())));
        }
        if let Some(entry) = batch.entries.last() {
            self.last_time = Some((entry.index(), entry.time()));
        }
        Ok(())
    }

    /// Draws the sum. `scan` is how the log ended.
    ///
    /// # Errors
    /// Entries are missing between the purge point and the first segment, or a configuration cannot be read.
    pub(crate) fn finish(&mut self, scan: &Scan<T>) -> Result<Recovered, WalError> {
        let corrupt = |index: Index, reason: String| WalError::CorruptLog {
            segment: scan.segments.first().map(|segment| segment.name.clone()).unwrap_or_default(),
            offset: 0,
            index,
            reason,
        };
        let state = &mut self.state;
        if state.base.index > state.purged.index {
            let reason = format!("the segments that hold what follows the purge point {} are missing", state.purged);
            return Err(corrupt(state.purged.index + 1, reason));
        }
        state.purge(state.purged);
        let mut configurations = Vec::new();
        for (index, payload) in &self.configurations {
            if *index > state.purged.index {
                let configuration =
                    Configuration::decode(payload).map_err(|error| corrupt(*index, error.to_string()))?;
                configurations.push((*index, configuration));
            }
        }
        let cut = scan.tail.as_ref().map(|tail| Cut {
            segment: scan.segments[tail.place.0].name.clone(),
            offset: tail.place.1,
            reason: tail.reason.clone(),
        });
        Ok(Recovered {
            hard_state: state.hard_state,
            purged: state.purged,
            last: state.last,
            term_runs: state.runs.clone(),
            last_time: 0,
            configurations,
            cut,
        })
    }
}

/// # Errors
/// The log is refused, and unchanged; or what the disk says.
pub(crate) fn open<F: Files>(files: &F, options: &Options) -> Result<Opened<F::File>, WalError> {
    let mut replay = Replay::new();
    let segments = open_segments(files, true)?;
    let next_epoch = segments.last().map_or(0, |segment| segment.epoch) + 1;
    let scan = scan(segments, |batch| replay.visit(batch))?;
    if let Some((found_cluster, found_group)) = replay.cluster
        && (found_cluster, found_group) != (options.cluster_id, options.group)
    {
        return Err(WalError::WrongCluster {
            segment: scan.segments[0].name.clone(),
            cluster: options.cluster_id,
            group: options.group,
            found_cluster,
            found_group,
        });
    }
    if let Some(error) = scan.damage(replay.state.last.index + 1) {
        return Err(error);
    }
    let Some(last) = scan.last else {
        let cut = scan.tail.as_ref().map(|tail| Cut {
            segment: scan.segments.first().map(|segment| segment.name.clone()).unwrap_or_default(),
            offset: 0,
            reason: tail.reason.clone(),
        });
        remove_segments(files, &scan.segments)?;
        remove_segments(files, &scan.unused)?;
        return create(files, options, next_epoch, cut);
    };
    let mut recovered = replay.finish(&scan)?;
    let mut state = replay.state;
    vouch(files, &scan)?;
    // A segment whose first batch is bad has no part in the log: if it stayed, it would stand between the segment before it
    // and the one that takes its place.
    let end = if scan.position == 0 { scan.at.saturating_sub(1) } else { scan.at };
    remove_segments(files, &scan.segments[end + 1..])?;
    remove_segments(files, &scan.unused)?;
    let segment = Arc::clone(&scan.segments[end]);
    recovered.last_time = last_time(&mut state, recovered.last)?;
    // Batches behind the end could be taken for the log's own once the gap before them is filled: leave that space alone.
    let heads = scan.tail.as_ref().is_some_and(|tail| tail.heads > 0) && !mutants::on("36-behind-the-tail");
    let abandoned = end < scan.at || heads;
    let position = if abandoned { segment.capacity } else { scan.position };
    let writer = Writer { segment, position, sequence: last.sequence, quiet: last.is_marker(), closed: false };
    Ok(Opened { state, writer, salt: last.salt, next_epoch, recovered })
}

fn last_time<T: File>(state: &mut LogState<T>, last: LogId) -> Result<WallMicros, WalError> {
    let lock = std::sync::RwLock::new(std::mem::replace(state, LogState::new()));
    let entries = crate::read::read(&lock, last.index, last.index + 1, 0);
    *state = lock.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(entries?.and_then(|entries| entries.first().map(Entry::time)).unwrap_or(0))
}

/// Makes durable what is whole but may never have been. Written again first: after a failed sync the system may hold pages
/// for clean that never reached the disk, and another sync would not write them.
fn vouch<F: Files>(files: &F, scan: &Scan<F::File>) -> Result<(), WalError> {
    let mut touched = Vec::new();
    for loose in &scan.loose {
        let segment = &scan.segments[loose.segment];
        let mut bytes = vec![0; usize::try_from(loose.span).unwrap_or(0)];
        read_full(&segment.file, &mut bytes, loose.offset).map_err(WalError::io("read", segment.name.as_str()))?;
        if !mutants::on("35-taken-for-clean") {
            write_full(&segment.file, &mut [IoSlice::new(&bytes)], loose.offset)
                .map_err(WalError::io("write", segment.name.as_str()))?;
        }
        if touched.last() != Some(&loose.segment) {
            touched.push(loose.segment);
        }
    }
    for number in touched {
        let segment = &scan.segments[number];
        segment.file.sync().map_err(WalError::io("sync", segment.name.as_str()))?;
    }
    files.sync_directory().map_err(WalError::io("sync", "the log directory"))
}

/// Segments behind the end: prepared and never used, or of a tail that is cut off.
fn remove_segments<F: Files>(files: &F, segments: &[Arc<Segment<F::File>>]) -> Result<(), WalError> {
    for segment in segments.iter().rev() {
        files.remove(&segment.name).map_err(WalError::io("remove", segment.name.as_str()))?;
        files.sync_directory().map_err(WalError::io("sync", "the log directory"))?;
    }
    Ok(())
}

fn create<F: Files>(files: &F, options: &Options, epoch: u64, cut: Option<Cut>) -> Result<Opened<F::File>, WalError> {
    let capacity = options.first_capacity();
    let segment = make_segment(files, epoch, capacity, || false)?;
    let head = Head {
        flags: FLAG_FIRST,
        epoch,
        salt: options.salt,
        sequence: 1,
        records_crc: RecordsCrc::new(epoch, options.salt).value(),
        cluster_id: options.cluster_id,
        group: options.group,
        ..Head::default()
    };
    let mut page = vec![0; usize::try_from(PAGE).unwrap_or(0)];
    page[..crate::format::HEAD_BYTES].copy_from_slice(&head.encode());
    write_full(&segment.file, &mut [IoSlice::new(&page)], 0).map_err(WalError::io("write", segment.name.as_str()))?;
    segment.file.sync().map_err(WalError::io("sync", segment.name.as_str()))?;
    let mut state = LogState::new();
    let continues = |reason| WalError::CorruptLog { segment: segment.name.clone(), offset: 0, index: 1, reason };
    state.take(&segment, &head, &[]).map_err(continues)?;
    let writer = Writer { segment, position: PAGE, sequence: 1, quiet: true, closed: false };
    let recovered = Recovered { cut, ..Recovered::default() };
    Ok(Opened { state, writer, salt: options.salt, next_epoch: epoch + 1, recovered })
}
