//! Segments that are ready to be written: zero-filled and synced ahead, or recycled.
//!
//! The first write to a page that the file system has only reserved changes metadata, and every sync would then write the
//! journal too. A page that once was written does not.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use d_engine_raft::mutants;

use crate::error::WalError;
use crate::files::{File, Files, write_full};
use crate::scan::segment_name;
use crate::state::Segment;

/// Recycled segments kept for later; more are removed.
const MOST_READY: usize = 2;
/// Zeros are synced in pieces: one large sync would keep the log's own waiting.
const ZEROS: usize = 1 << 20;
const SYNC_EVERY: u64 = 4 << 20;

pub(crate) struct Pool<F: Files> {
    files: Arc<F>,
    full_capacity: u64,
    inner: Mutex<Inner<F::File>>,
    changed: Condvar,
    pub(crate) made: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) removed: AtomicU64,
}

struct Inner<T> {
    ready: VecDeque<Arc<Segment<T>>>,
    /// In the order in which they have to go.
    retired: VecDeque<Arc<Segment<T>>>,
    next_epoch: u64,
    /// The newest one that is in use.
    taken_epoch: u64,
    /// The size of a segment that the writer will need soon.
    wanted: Option<u64>,
    making: bool,
    releasing: bool,
    stop: bool,
}

impl<T> Inner<T> {
    /// Puts a segment with those that are ready. Epochs have to be used in ascending order; where a newer one is in use already,
    /// this one has to get another.
    fn offer(&mut self, segment: Arc<Segment<T>>) {
        if segment.epoch < self.taken_epoch {
            self.retired.push_back(segment);
        } else {
            let at = self.ready.partition_point(|other| other.epoch < segment.epoch);
            self.ready.insert(at, segment);
        }
    }
}

impl<F: Files> Pool<F> {
    pub(crate) fn new(files: Arc<F>, full_capacity: u64, next_epoch: u64) -> Self {
        Self {
            files,
            full_capacity,
            inner: Mutex::new(Inner {
                ready: VecDeque::new(),
                retired: VecDeque::new(),
                next_epoch,
                taken_epoch: 0,
                wanted: None,
                making: false,
                releasing: false,
                stop: false,
            }),
            changed: Condvar::new(),
            made: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            removed: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<F::File>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner<F::File>>) -> MutexGuard<'a, Inner<F::File>> {
        self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a segment will be needed soon.
    pub(crate) fn want(&self, capacity: u64) {
        let mut inner = self.lock();
        if inner.wanted.is_none() && inner.ready.is_empty() && !inner.making {
            inner.wanted = Some(capacity);
            self.changed.notify_all();
        }
    }

    /// A segment of at least `needed` bytes: one that is ready, or a new one of `capacity`.
    pub(crate) fn take(&self, needed: u64, capacity: u64) -> Result<Arc<Segment<F::File>>, WalError> {
        let mut inner = self.lock();
        while inner.ready.is_empty() && inner.making {
            inner = self.wait(inner);
        }
        if inner.ready.is_empty() {
            inner.making = true;
            // From now on: what is recycled meanwhile has an older epoch.
            inner.taken_epoch = inner.next_epoch;
            let made = self.make(inner, capacity.max(needed));
            inner = self.lock();
            inner.making = false;
            self.changed.notify_all();
            drop(inner);
            return made;
        }
        let Some(segment) = inner.ready.pop_front() else { return Err(WalError::Closed) };
        inner.taken_epoch = segment.epoch;
        drop(inner);
        if segment.capacity >= needed {
            return Ok(segment);
        }
        self.zero(&segment.name, &segment.file, segment.capacity, needed)?;
        let file = self.files.open(&segment.name).map_err(WalError::io("open", segment.name.as_str()))?;
        Ok(Arc::new(Segment { epoch: segment.epoch, name: segment.name.clone(), file, capacity: needed }))
    }

    /// Makes a segment, with the lock given back meanwhile.
    fn make(
        &self,
        mut inner: MutexGuard<'_, Inner<F::File>>,
        capacity: u64,
    ) -> Result<Arc<Segment<F::File>>, WalError> {
        let epoch = inner.next_epoch;
        inner.next_epoch += 1;
        inner.wanted = None;
        drop(inner);
        let made = make_segment(&*self.files, epoch, capacity, || self.lock().stop)?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(made)
    }

    fn zero(&self, name: &str, file: &F::File, from: u64, to: u64) -> Result<(), WalError> {
        zero(name, file, from, to, || self.lock().stop)
    }

    /// Takes segments that the log does not need any more, oldest first. `release` sees to them.
    pub(crate) fn retire(&self, segments: Vec<Arc<Segment<F::File>>>) {
        self.lock().retired.extend(segments);
        self.changed.notify_all();
    }

    /// Sees to what is retired, on this thread.
    pub(crate) fn release_here(&self) -> Result<(), WalError> {
        self.release(self.lock())
    }

    /// Recycles or removes what is retired. One after the other, each made durable: the log must lose its segments from the
    /// beginning on, never from the middle.
    fn release<'a>(&'a self, mut inner: MutexGuard<'a, Inner<F::File>>) -> Result<(), WalError> {
        while !inner.releasing
            && let Some(segment) = inner.retired.front().map(Arc::clone)
        {
            inner.releasing = true;
            // A reader may still be in it (it holds a share beside the queue's and this one): never write over that.
            let recycle = inner.ready.len() < MOST_READY
                && segment.capacity == self.full_capacity
                && Arc::strong_count(&segment) == 2;
            let epoch = inner.next_epoch;
            inner.next_epoch += u64::from(recycle);
            drop(inner);
            let done =
                if recycle { self.recycle(&segment, epoch).map(Some) } else { self.remove(&segment).map(|()| None) };
            inner = self.lock();
            inner.releasing = false;
            let ready = done?;
            inner.retired.pop_front();
            if let Some(ready) = ready {
                inner.offer(ready);
                inner.wanted = None;
            }
            self.changed.notify_all();
        }
        Ok(())
    }

    fn recycle(&self, old: &Segment<F::File>, epoch: u64) -> Result<Arc<Segment<F::File>>, WalError> {
        let name = segment_name(epoch);
        self.files.rename(&old.name, &name).map_err(WalError::io("recycle", old.name.as_str()))?;
        self.files.sync_directory().map_err(WalError::io("sync", "the log directory"))?;
        let file = self.files.open(&name).map_err(WalError::io("open", name.as_str()))?;
        self.recycled.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Segment { epoch, name, file, capacity: old.capacity }))
    }

    fn remove(&self, old: &Segment<F::File>) -> Result<(), WalError> {
        self.files.remove(&old.name).map_err(WalError::io("remove", old.name.as_str()))?;
        self.files.sync_directory().map_err(WalError::io("sync", "the log directory"))?;
        self.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The background thread: until `stop`.
    pub(crate) fn run(&self) {
        loop {
            let mut inner = self.lock();
            while !inner.stop && inner.wanted.is_none() && inner.retired.is_empty() {
                inner = self.wait(inner);
            }
            if inner.stop {
                return;
            }
            if !inner.retired.is_empty() {
                if self.release(inner).is_err() {
                    // Nothing is lost by keeping old segments; the next purge tries again. Without a pause in between, so do
                    // not spin on it.
                    let mut inner = self.lock();
                    let stuck = inner.retired.len();
                    while !inner.stop && inner.wanted.is_none() && inner.retired.len() == stuck {
                        inner = self.wait(inner);
                    }
                }
                continue;
            }
            let Some(capacity) = inner.wanted.take() else { continue };
            if inner.making {
                continue;
            }
            inner.making = true;
            let made = self.make(inner, capacity);
            let mut inner = self.lock();
            inner.making = false;
            // A failure shows when the writer needs the segment and tries by itself.
            if let Ok(segment) = made {
                inner.offer(segment);
            }
            self.changed.notify_all();
        }
    }

    /// Ends the background thread.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }
}

/// Makes a segment of zeros, durable with its name.
pub(crate) fn make_segment<F: Files>(
    files: &F,
    epoch: u64,
    capacity: u64,
    stop: impl Fn() -> bool,
) -> Result<Arc<Segment<F::File>>, WalError> {
    let name = segment_name(epoch);
    let file = files.create(&name).map_err(WalError::io("create", name.as_str()))?;
    zero(&name, &file, 0, capacity, stop)?;
    if !mutants::on("34-name-not-durable") {
        files.sync_directory().map_err(WalError::io("sync", "the log directory"))?;
    }
    Ok(Arc::new(Segment { epoch, name, file, capacity }))
}

fn zero<T: File>(name: &str, file: &T, from: u64, to: u64, stop: impl Fn() -> bool) -> Result<(), WalError> {
    let zeros = vec![0; ZEROS];
    let (mut at, mut synced) = (from, from);
    while at < to {
        if stop() {
            return Err(WalError::Closed);
        }
        let length = usize::try_from(to - at).unwrap_or(ZEROS).min(ZEROS);
        write_full(file, &mut [IoSlice::new(&zeros[..length])], at).map_err(WalError::io("fill", name))?;
        at += length as u64;
        if at - synced >= SYNC_EVERY || at == to {
            file.sync().map_err(WalError::io("sync", name))?;
            synced = at;
        }
    }
    Ok(())
}
