//! The log: writing, syncing, purging.

use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use d_engine_raft::{Entry, HardState, LogId, Persist, mutants};

use crate::batch::{Change, MAX_BATCH_BYTES, fill};
use crate::counters::{Counters, Counting};
use crate::error::WalError;
use crate::files::{File, Files, write_full};
use crate::format::{FLAG_FIRST, FLAG_MARKER, FLAG_RESET, Head, PAGE, RecordsCrc};
use crate::options::{Options, Recovered};
use crate::pool::Pool;
use crate::recover::{self, Opened};
use crate::state::{LogState, Segment};

/// Names a write, for the sync that makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    sequence: u64,
}

/// A durable log with its hard state. All methods may be called from any thread.
///
/// Two threads that take turns keep it two batches deep: one writes batch n + 1 while the other syncs n. Syncs never run
/// beside each other: a failure is reported once for an open file, so the second could hide the first one's.
pub struct Wal<F: Files> {
    shared: Arc<Shared<F>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) struct Shared<F: Files> {
    options: Options,
    salt: u64,
    writer: Mutex<Writer<F::File>>,
    state: RwLock<LogState<F::File>>,
    unsynced: Mutex<Unsynced<F::File>>,
    /// Held through a sync.
    turn: Mutex<()>,
    durable: AtomicU64,
    failure: OnceLock<String>,
    pool: Pool<F>,
    counting: Counting,
}

impl<F: Files> std::fmt::Debug for Wal<F> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shared = &self.shared;
        out.debug_struct("Wal")
            .field("options", &shared.options)
            .field("durable", &shared.durable)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Writer<T> {
    pub segment: Arc<Segment<T>>,
    pub position: u64,
    /// Of the last batch.
    pub sequence: u64,
    /// The last batch holds nothing that a marker could vouch for.
    pub quiet: bool,
    pub closed: bool,
}

struct Unsynced<T> {
    /// The last batch that is written completely.
    written: u64,
    /// Segments with batches that are not durable, and the last of those batches.
    segments: Vec<(Arc<Segment<T>>, u64)>,
}

impl<F: Files> Wal<F> {
    /// Opens the log in `files`, or makes one there. What has never been durable and is not whole is cut off; what is whole
    /// is made durable before this returns.
    ///
    /// # Errors
    /// `CorruptLog` if something that was durable is damaged: then nothing is changed. `WrongCluster`, `Version`, `Options`,
    /// or what the disk says.
    pub fn open(files: F, options: Options) -> Result<(Self, Recovered), WalError> {
        options.check()?;
        let files = Arc::new(files);
        let Opened { state, writer, salt, next_epoch, recovered } = recover::open(files.as_ref(), &options)?;
        let pool = Pool::new(files, options.full_capacity(), next_epoch);
        let durable = writer.sequence;
        let background = options.background;
        let shared = Arc::new(Shared {
            options,
            salt,
            writer: Mutex::new(writer),
            state: RwLock::new(state),
            unsynced: Mutex::new(Unsynced { written: durable, segments: Vec::new() }),
            turn: Mutex::new(()),
            durable: AtomicU64::new(durable),
            failure: OnceLock::new(),
            pool,
            counting: Counting::default(),
        });
        let mut thread = None;
        if background {
            let shared = Arc::clone(&shared);
            let spawned =
                std::thread::Builder::new().name("d-engine-segments".to_owned()).spawn(move || shared.pool.run());
            thread = Some(spawned.map_err(WalError::io("start", "the thread that prepares segments"))?);
        }
        Ok((Self { shared, thread: Mutex::new(thread) }, recovered))
    }

    /// Writes units, in their order, as one batch (several if they are large): hard state, then reset, then truncation, then
    /// entries of each. Durable only after `sync`; readable at once.
    ///
    /// # Errors
    /// `NotContiguous`, `TruncatesPurged`, `EntryTooLarge`: nothing was written, and the log goes on. Any other: the log takes
    /// no more writes.
    pub fn write(&self, units: &[Persist]) -> Result<Written, WalError> {
        self.shared.write(units)
    }

    /// Makes that write, and all before it, durable. Needs no order among its callers.
    ///
    /// # Errors
    /// What the disk says. The log then takes no more writes and no more syncs: nobody knows what is on disk.
    pub fn sync(&self, written: Written) -> Result<(), WalError> {
        self.shared.sync(written)
    }

    /// Entries `lo..hi` (half open), of at most `max_bytes` of records, but at least one if the log holds `lo`. `None` if `lo`
    /// is purged; empty if it is behind the end. May run beside everything else.
    ///
    /// # Errors
    /// `CorruptLog` if the bytes are not those that were written, or what the disk says.
    pub fn read(&self, lo: u64, hi: u64, max_bytes: usize) -> Result<Option<Vec<Entry>>, WalError> {
        crate::read::read(&self.shared.state, lo, hi, max_bytes)
    }

    /// Forgets the log up to and with that entry. The point is stored with the next batch or marker, and segments that hold
    /// nothing else go once that is durable. A point behind the end, or where the log has another term, drops the whole log,
    /// which then begins behind it; that is durable on return.
    ///
    /// # Errors
    /// What the disk says, in the second case.
    pub fn purge(&self, point: LogId) -> Result<(), WalError> {
        self.shared.purge(point)
    }

    /// To be called once when nothing has been written for a while: stores that the last batch is durable, so that later damage
    /// to it is known as such. Answers whether there was something to do; a second call in a row does nothing.
    ///
    /// # Errors
    /// What the disk says; as with `write`.
    pub fn idle(&self) -> Result<bool, WalError> {
        self.shared.idle()
    }

    /// Makes everything durable, vouches for the last batch and ends the background thread. A second call does nothing.
    ///
    /// # Errors
    /// What the disk says, or `Poisoned`; the thread is ended all the same.
    pub fn close(&self) -> Result<(), WalError> {
        let done = self.shared.close();
        self.stop();
        done
    }

    /// The entry at the end of the log; the purge point if it is empty.
    #[must_use]
    pub fn last(&self) -> LogId {
        self.shared.state().last
    }

    /// The entry before the first one.
    #[must_use]
    pub fn purged(&self) -> LogId {
        self.shared.state().purged
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counting, pool) = (&self.shared.counting, &self.shared.pool);
        Counters {
            syncs: get(&counting.syncs),
            batches: get(&counting.batches),
            bytes: get(&counting.bytes),
            records: get(&counting.records),
            segments_made: get(&pool.made),
            segments_recycled: get(&pool.recycled),
            segments_removed: get(&pool.removed),
        }
    }

    fn stop(&self) {
        self.shared.pool.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends without a result; one that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

impl<F: Files> Drop for Wal<F> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a batch says that brings no term and vote: those of before.
fn kept(before: HardState) -> HardState {
    if mutants::on("01-forgotten") { HardState::default() } else { before }
}

impl<F: Files> Shared<F> {
    fn state(&self) -> RwLockReadGuard<'_, LogState<F::File>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, LogState<F::File>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer<F::File>>, WalError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        if writer.closed { Err(WalError::Closed) } else { Ok(writer) }
    }

    fn check(&self) -> Result<(), WalError> {
        match self.failure.get() {
            Some(reason) => Err(WalError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Keeps the first failure for ever.
    fn poison(&self, error: WalError) -> WalError {
        let _ = self.failure.set(error.to_string());
        error
    }

    fn write(&self, units: &[Persist]) -> Result<Written, WalError> {
        let mut writer = self.writer()?;
        let change = {
            let state = self.state();
            let change = Change::merge(units, state.last.index)?;
            let purged = change.reset_to.unwrap_or(state.purged);
            if let Some(from) = change.truncate_from
                && from <= purged.index
            {
                return Err(WalError::TruncatesPurged { from, purged });
            }
            change
        };
        if !change.is_empty() {
            self.put(&mut writer, &change).map_err(|error| self.poison(error))?;
        }
        Ok(Written { sequence: writer.sequence })
    }

    fn put(&self, writer: &mut Writer<F::File>, change: &Change<'_>) -> Result<(), WalError> {
        let mut head = self.head(change);
        let limit = MAX_BATCH_BYTES.min(self.options.first_capacity() - PAGE);
        let mut rest = change.entries.as_slice();
        loop {
            let (some, later) = rest.split_at(fill(rest, limit));
            self.put_batch(writer, head, some)?;
            rest = later;
            let (Some(last), false) = (some.last(), rest.is_empty()) else { return Ok(()) };
            head.flags = 0;
            head.previous = last.id();
        }
    }

    /// The head of a change's first batch, as far as it is known before the batch has a place.
    fn head(&self, change: &Change<'_>) -> Head {
        let state = self.state();
        let mut head = Head {
            salt: self.salt,
            hard_state: change.hard_state.unwrap_or_else(|| kept(state.hard_state)),
            purged: state.purged,
            previous: state.last,
            cluster_id: self.options.cluster_id,
            group: self.options.group,
            ..Head::default()
        };
        if mutants::on("02-halves") {
            head.hard_state = HardState { vote: state.hard_state.vote, ..head.hard_state };
        }
        if let Some(to) = change.reset_to {
            head.flags |= FLAG_RESET;
            (head.purged, head.previous) = (to, to);
        }
        if let Some(from) = change.truncate_from {
            let index = from - 1;
            // Not below the purge point, so the log knows the term (an index of 0 has none).
            head.previous = LogId::new(index, state.term_at(index).unwrap_or(0));
        }
        head
    }

    fn put_batch(&self, writer: &mut Writer<F::File>, mut head: Head, entries: &[&Entry]) -> Result<(), WalError> {
        let record_bytes: usize = entries.iter().map(|entry| entry.size()).sum();
        head.record_bytes = u32::try_from(record_bytes).unwrap_or(u32::MAX);
        head.record_count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut position = writer.position;
        let mut segment = Arc::clone(&writer.segment);
        if position + head.span() > segment.capacity {
            segment = self.pool.take(head.span(), self.options.next_capacity(segment.capacity))?;
            position = 0;
        }
        if position == 0 {
            head.flags |= FLAG_FIRST;
        }
        head.epoch = segment.epoch;
        head.offset = position;
        head.sequence = writer.sequence + 1;
        if !mutants::on("36-nothing-vouched") {
            head.synced_through = self.durable.load(Ordering::Acquire);
        }
        let mut crc = RecordsCrc::new(head.epoch, head.salt);
        for entry in entries {
            crc.add(entry.record());
        }
        head.records_crc = crc.value();

        let encoded = head.encode();
        // Whole pages, so that the system need not read what a recycled one held before.
        let zeros = [0; 4096];
        let padding = usize::try_from(head.span() - head.used()).unwrap_or(0);
        let mut buffers = Vec::with_capacity(entries.len() + 2);
        buffers.push(IoSlice::new(&encoded));
        buffers.extend(entries.iter().map(|entry| IoSlice::new(entry.record())));
        if padding > 0 {
            buffers.push(IoSlice::new(&zeros[..padding]));
        }
        write_full(&segment.file, &mut buffers, position).map_err(WalError::io("write", segment.name.as_str()))?;

        {
            let mut state = self.state_mut();
            if state.purge_pending {
                (state.purge_pending, state.purge_sequence) = (false, head.sequence);
            }
            state.take(&segment, &head, entries).map_err(|reason| WalError::CorruptLog {
                segment: segment.name.clone(),
                offset: position,
                index: head.previous.index + 1,
                reason,
            })?;
        }
        writer.position = position + head.span();
        writer.sequence = head.sequence;
        writer.quiet = head.is_marker();
        if writer.position > segment.capacity / 2 {
            self.want(segment.capacity);
        }
        writer.segment = Arc::clone(&segment);
        self.note(segment, head.sequence);
        Counting::add(&self.counting.batches, 1);
        Counting::add(&self.counting.bytes, head.span());
        Counting::add(&self.counting.records, entries.len() as u64);
        Ok(())
    }

    fn want(&self, capacity: u64) {
        if self.options.background {
            self.pool.want(self.options.next_capacity(capacity));
        }
    }

    fn note(&self, segment: Arc<Segment<F::File>>, sequence: u64) {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.written = sequence;
        match unsynced.segments.last_mut() {
            Some((last, newest)) if last.epoch == segment.epoch => *newest = sequence,
            _ => unsynced.segments.push((segment, sequence)),
        }
    }

    fn sync(&self, written: Written) -> Result<(), WalError> {
        if self.durable.load(Ordering::Acquire) >= written.sequence {
            return Ok(());
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        if self.durable.load(Ordering::Acquire) >= written.sequence {
            return Ok(());
        }
        let (target, segments) = {
            let unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            let segments: Vec<_> = unsynced.segments.iter().map(|(segment, _)| Arc::clone(segment)).collect();
            (unsynced.written, segments)
        };
        // In their order: a batch counts only if everything before it is durable.
        for segment in &segments {
            Counting::add(&self.counting.syncs, 1);
            if mutants::on("34-no-sync") {
                continue;
            }
            let failed = |error| WalError::io("sync", segment.name.as_str())(error);
            if mutants::on("35-retried") {
                segment.file.sync().map_err(failed)?;
                continue;
            }
            segment.file.sync().map_err(|error| self.poison(failed(error)))?;
        }
        drop(segments);
        let target = if mutants::on("34-beyond-the-sync") {
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).written
        } else {
            target
        };
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).segments.retain(|&(_, newest)| newest > target);
        self.durable.store(target, Ordering::Release);
        drop(turn);
        if self.state().releasable(target) {
            {
                // Handed over with the state locked: two threads must not swap what they have taken out.
                let mut state = self.state_mut();
                self.pool.retire(state.release(target));
            }
            if !self.options.background {
                self.pool.release_here().map_err(|error| self.poison(error))?;
            }
        }
        Ok(())
    }

    fn purge(&self, point: LogId) -> Result<(), WalError> {
        let mut writer = self.writer()?;
        let (inside, known) = {
            let state = self.state();
            if point.index <= state.purged.index {
                return Ok(());
            }
            (point.index <= state.last.index, state.term_at(point.index))
        };
        if inside && known == Some(point.term) {
            let mut state = self.state_mut();
            state.purge(point);
            state.purge_pending = true;
            return Ok(());
        }
        let change = Change { reset_to: Some(point), ..Change::default() };
        self.put(&mut writer, &change).map_err(|error| self.poison(error))?;
        let written = Written { sequence: writer.sequence };
        drop(writer);
        self.sync(written)
    }

    fn idle(&self) -> Result<bool, WalError> {
        let mut writer = self.writer()?;
        if self.durable.load(Ordering::Acquire) < writer.sequence {
            // Somebody is about to sync: not idle.
            return Ok(false);
        }
        if writer.quiet && !self.state().purge_pending {
            return Ok(false);
        }
        let mut head = self.head(&Change::default());
        head.flags = FLAG_MARKER;
        self.put_batch(&mut writer, head, &[]).map_err(|error| self.poison(error))?;
        let written = Written { sequence: writer.sequence };
        drop(writer);
        self.sync(written)?;
        Ok(true)
    }

    fn close(&self) -> Result<(), WalError> {
        let written = match self.writer() {
            Ok(writer) => Written { sequence: writer.sequence },
            Err(WalError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.sync(written)?;
        self.idle()?;
        self.writer()?.closed = true;
        Ok(())
    }
}
