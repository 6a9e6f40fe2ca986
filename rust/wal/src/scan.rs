//! Going through a log from its beginning to its end, and telling a torn tail from a damaged middle. Changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use d_engine_raft::{Entry, Index, mutants};

use crate::error::WalError;
use crate::files::{File, Files, read_full};
use crate::format::{HEAD_BYTES, Head, LOG_VERSION, NoHead, PAGE, decode_records, round_up};
use crate::state::Segment;

/// Read in pieces of this size, unless a batch is larger.
const WINDOW: u64 = 1 << 20;
const PREFIX: &str = "log-";

pub(crate) fn segment_name(epoch: u64) -> String {
    format!("{PREFIX}{epoch:016x}")
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    // Exactly what `segment_name` makes: `from_str_radix` alone would take a sign or capitals.
    u64::from_str_radix(digits, 16).ok().filter(|&epoch| segment_name(epoch) == name)
}

/// A batch that stood the test.
pub(crate) struct Batch<'a, T> {
    pub segment: &'a Arc<Segment<T>>,
    pub head: &'a Head,
    pub entries: &'a [Entry],
}

/// A batch that is whole but that nothing says was ever synced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loose {
    pub segment: usize,
    pub offset: u64,
    pub span: u64,
    pub sequence: u64,
}

/// How a scan ended.
pub(crate) struct Scan<T> {
    pub segments: Vec<Arc<Segment<T>>>,
    /// Segments without any batch: prepared and not in use. Not among `segments`.
    pub unused: Vec<Arc<Segment<T>>>,
    /// The segment in which the log ends, as a position in `segments`.
    pub at: usize,
    /// Where in it the log ends.
    pub position: u64,
    /// The last good batch; `None` if there is none at all.
    pub last: Option<Head>,
    /// The highest sequence known to have been durable.
    pub synced_through: u64,
    pub loose: VecDeque<Loose>,
    /// What follows the end, unless it is nothing.
    pub tail: Option<Tail>,
}

pub(crate) struct Tail {
    /// Where something is wrong: a position in `Scan::segments`, and the offset.
    pub place: (usize, u64),
    pub reason: String,
    /// Heads of batches of this log were found behind the end: what stands there must not be built upon.
    pub heads: u64,
    /// One of them says that the batch at the end had been durable: it is not a torn tail but damage.
    pub damage: bool,
}

impl<T> Scan<T> {
    /// The error that a damaged log is refused with.
    pub(crate) fn damage(&self, first_lost: Index) -> Option<WalError> {
        let tail = self.tail.as_ref().filter(|tail| tail.damage)?;
        Some(WalError::CorruptLog {
            segment: self.segments[tail.place.0].name.clone(),
            offset: tail.place.1,
            index: first_lost,
            reason: tail.reason.clone(),
        })
    }
}

/// Opens all segments, in the order of their epochs.
pub(crate) fn open_segments<F: Files>(files: &F, write: bool) -> Result<Vec<Arc<Segment<F::File>>>, WalError> {
    let mut segments = Vec::new();
    for name in files.list().map_err(WalError::io("list", "the log directory"))? {
        let Some(epoch) = parse_name(&name) else { continue };
        let file = if write { files.open(&name) } else { files.open_read(&name) };
        let file = match file {
            // Its writer has just given it up.
            Err(error) if !write && error.kind() == std::io::ErrorKind::NotFound => continue,
            file => file.map_err(WalError::io("open", name.as_str()))?,
        };
        let length = file.len().map_err(WalError::io("measure", name.as_str()))?;
        segments.push(Arc::new(Segment { epoch, name, file, capacity: length / PAGE * PAGE }));
    }
    segments.sort_unstable_by_key(|segment| segment.epoch);
    Ok(segments)
}

/// Goes through all batches; `visit` may refuse one that does not fit those before it.
pub(crate) fn scan<T: File>(
    segments: Vec<Arc<Segment<T>>>,
    mut visit: impl FnMut(&Batch<'_, T>) -> Result<(), String>,
) -> Result<Scan<T>, WalError> {
    let (mut used, mut unused, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
    for segment in segments {
        let first = first_head(&segment)?;
        if first.is_some() || has_heads(&segment)? {
            used.push(segment);
            firsts.push(first);
        } else {
            unused.push(segment);
        }
    }
    let salt = firsts.iter().flatten().next().map(|head| head.salt);
    // Without the first head nobody knows the number of the batch it belonged to. A segment becomes the first one only after
    // that head was durable, except in a log that has never been opened to the end: its number is 1.
    let mut expected = firsts.first().and_then(Option::as_ref).map_or(1, |head| head.sequence);
    let mut scan = Scan {
        segments: used,
        unused,
        at: 0,
        position: 0,
        last: None,
        synced_through: 0,
        loose: VecDeque::new(),
        tail: None,
    };
    let mut reason = String::new();
    for number in 0..scan.segments.len() {
        let segment = Arc::clone(&scan.segments[number]);
        let next = firsts.get(number + 1).and_then(Option::as_ref).map(|head| head.sequence);
        (scan.at, scan.position) = (number, 0);
        let mut window = Window::new(&segment);
        loop {
            // A segment ends where the next one begins, even if something stands behind (a tail that was cut off once).
            if number + 1 < scan.segments.len() && next == Some(expected) {
                break;
            }
            match good_batch(&mut window, scan.position, salt, expected) {
                Ok((head, entries)) => {
                    if let Err(why) = visit(&Batch { segment: &segment, head: &head, entries: &entries }) {
                        reason = why;
                        break;
                    }
                    scan.accept(number, &head);
                    expected += 1;
                }
                Err(Bad::Io(error)) => return Err(error),
                Err(Bad::Batch(why)) => {
                    reason = why;
                    break;
                }
            }
        }
        if next != Some(expected) {
            break;
        }
    }
    scan.search(salt, expected, reason)?;
    Ok(scan)
}

impl<T: File> Scan<T> {
    fn accept(&mut self, number: usize, head: &Head) {
        self.synced_through = self.synced_through.max(head.synced_through);
        let loose = Loose { segment: number, offset: head.offset, span: head.span(), sequence: head.sequence };
        self.loose.push_back(loose);
        while self.loose.front().is_some_and(|loose| loose.sequence <= self.synced_through) {
            self.loose.pop_front();
        }
        self.position += head.span();
        self.last = Some(*head);
    }

    /// Looks on every boundary behind the end for what a later batch says about the one that should stand there.
    fn search(&mut self, salt: Option<u64>, expected: u64, reason: String) -> Result<(), WalError> {
        let (mut heads, mut synced) = (0, self.synced_through);
        let mut place = (self.at, self.position);
        for (number, segment) in self.segments.iter().enumerate().skip(self.at) {
            let from = if number == self.at { self.position } else { 0 };
            heads_in(segment, from, |head| {
                if salt.is_none_or(|salt| head.salt == salt) && head.sequence >= expected {
                    if heads == 0 && reason.is_empty() {
                        // The segment before simply ended: it is this one that does not begin as it should.
                        place = (number, from);
                    }
                    heads += 1;
                    synced = synced.max(head.synced_through);
                }
            })?;
        }
        let damage = match () {
            () if mutants::on("36-middle-cut") => false,
            () if mutants::on("36-tail-refused") => heads > 0 || !reason.is_empty(),
            () => synced >= expected,
        };
        self.synced_through = synced;
        if heads > 0 || !reason.is_empty() {
            let reason = if reason.is_empty() { format!("batch {expected} is missing") } else { reason };
            self.tail = Some(Tail { place, reason, heads, damage });
        }
        Ok(())
    }
}

fn first_head<T: File>(segment: &Segment<T>) -> Result<Option<Head>, WalError> {
    let mut bytes = [0; HEAD_BYTES];
    let count = read_full(&segment.file, &mut bytes, 0).map_err(WalError::io("read", segment.name.as_str()))?;
    match Head::decode(&bytes[..count]) {
        Ok(head) if head.epoch == segment.epoch && head.offset == 0 && head.is_first() => Ok(Some(head)),
        Err(NoHead::Version(found)) => {
            Err(WalError::Version { file: segment.name.clone(), found, supported: LOG_VERSION })
        }
        _ => Ok(None),
    }
}

/// All heads that stand where they say, from a boundary on.
fn heads_in<T: File>(segment: &Segment<T>, from: u64, mut visit: impl FnMut(&Head)) -> Result<(), WalError> {
    let mut window = Window::new(segment);
    let mut at = from;
    while at < segment.capacity {
        let bytes = window.get(at, HEAD_BYTES as u64)?;
        if let Ok(head) = Head::decode(&bytes)
            && head.epoch == segment.epoch
            && head.offset == at
        {
            visit(&head);
        }
        at += PAGE;
    }
    Ok(())
}

fn has_heads<T: File>(segment: &Segment<T>) -> Result<bool, WalError> {
    let mut found = false;
    heads_in(segment, 0, |_| found = true)?;
    Ok(found)
}

enum Bad {
    Io(WalError),
    /// Nothing to say about it if empty: there is no batch.
    Batch(String),
}

fn good_batch<T: File>(
    window: &mut Window<'_, T>,
    at: u64,
    salt: Option<u64>,
    expected: u64,
) -> Result<(Head, Vec<Entry>), Bad> {
    let segment = window.segment;
    let bytes = window.get(at, HEAD_BYTES as u64).map_err(Bad::Io)?;
    let head = match Head::decode(&bytes) {
        Ok(head) => head,
        Err(NoHead::Version(found)) => {
            return Err(Bad::Io(WalError::Version { file: segment.name.clone(), found, supported: LOG_VERSION }));
        }
        Err(NoHead::Invalid) if bytes.iter().all(|&byte| byte == 0) => return Err(Bad::Batch(String::new())),
        Err(NoHead::Invalid) => return Err(Bad::Batch("its head is not that of a batch".to_owned())),
    };
    let recycled = head.epoch != segment.epoch && !mutants::on("36-recycled-counts");
    if recycled || salt.is_some_and(|salt| head.salt != salt) {
        // What the file held before it was recycled.
        return Err(Bad::Batch(String::new()));
    }
    if head.offset != at || head.sequence != expected || head.is_first() != (at == 0) {
        return Err(Bad::Batch(format!("batch {} stands where batch {expected} belongs", head.sequence)));
    }
    let body = window.get(at, head.span()).map_err(Bad::Io)?;
    let body = body.slice(HEAD_BYTES.min(body.len())..);
    let entries = decode_records(&head, &body).map_err(Bad::Batch)?;
    Ok((head, entries))
}

/// Reads a file forward in large pieces.
struct Window<'a, T> {
    segment: &'a Segment<T>,
    start: u64,
    bytes: Bytes,
}

impl<'a, T: File> Window<'a, T> {
    fn new(segment: &'a Segment<T>) -> Self {
        Self { segment, start: 0, bytes: Bytes::new() }
    }

    /// The bytes from `at` on; fewer at the end of the file.
    fn get(&mut self, at: u64, length: u64) -> Result<Bytes, WalError> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at + length > end {
            // A damaged length must not reserve memory that no file fills. The last page may be cut off.
            let limit = (self.segment.capacity + PAGE).saturating_sub(at);
            let wanted = round_up(length).max(WINDOW).min(limit);
            let mut buffer = BytesMut::zeroed(usize::try_from(wanted).unwrap_or(usize::MAX));
            let count = read_full(&self.segment.file, &mut buffer, at)
                .map_err(WalError::io("read", self.segment.name.as_str()))?;
            buffer.truncate(count);
            (self.start, self.bytes) = (at, buffer.freeze());
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        let to = from.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(self.bytes.len());
        Ok(self.bytes.slice(from..to))
    }
}
