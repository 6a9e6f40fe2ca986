//! Entries and their encoding: one record, the same bytes on disk, on the wire and in memory.
//!
//! ```text
//! offset  bytes
//!      0      4  payload length
//!      4      1  kind
//!      5      1  flags (none defined: 0)
//!      6      2  format version
//!      8      8  index
//!     16      8  term
//!     24      8  time: leader's Unix microseconds, never going back
//!     32      8  session            (0: none)
//!     40      8  sequence
//!     48      8  ack_below
//!     56      4  CRC32C of the payload
//!     60      4  CRC32C of bytes 0..60
//!     64         payload
//! ```
//! Integers are little-endian.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::entries::Entries;
use crate::types::{Index, LogId, Term, WallMicros};

/// Bytes before a record's payload.
pub const HEADER_BYTES: usize = 64;
/// The format that this build writes, and the newest it reads.
pub const RECORD_VERSION: u16 = 1;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A new leader's first entry: lets it commit what earlier terms left (section 8).
    Noop = 0,
    /// The user's bytes, for the state machine.
    Command = 1,
    /// A membership: takes effect when appended (section 6).
    Configuration = 2,
    /// Opens a session of the user's; proposed, forwarded and replicated like a command.
    Session = 3,
}

impl EntryKind {
    /// The kind of that number.
    const fn from_byte(kind: u8) -> Option<Self> {
        match kind {
            0 => Some(Self::Noop),
            1 => Some(Self::Command),
            2 => Some(Self::Configuration),
            3 => Some(Self::Session),
            _ => None,
        }
    }

    /// Whether users may propose it. The other kinds are made by leaders only, and never for somebody else.
    const fn is_users(self) -> bool {
        matches!(self, Self::Command | Self::Session)
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside the header or the payload.
    #[error("a record needs {needed} bytes, {found} are there")]
    Truncated {
        /// Bytes of the whole record, as far as its header tells.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// The header's checksum does not fit it.
    #[error("a record header's checksum does not match")]
    Header,
    /// The payload's checksum does not fit it.
    #[error("the payload checksum of the record at index {index} does not match")]
    Payload {
        /// Where the record says that it stands.
        index: Index,
    },
    /// A format of a later release.
    #[error("the record at index {index} has format {version}; this build reads up to {RECORD_VERSION}")]
    Version {
        /// Where the record says that it stands.
        index: Index,
        /// Its format.
        version: u16,
    },
    /// A kind that no release has written.
    #[error("the record at index {index} has an unknown kind {kind}")]
    Kind {
        /// Where the record says that it stands.
        index: Index,
        /// Its kind.
        kind: u8,
    },
}

/// An entry with its place in the log. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    index: Index,
    term: Term,
    kind: EntryKind,
    record: Bytes,
}

impl Entry {
    /// Its position.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.index
    }

    /// The term of the leader that appended it.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Position and term.
    #[must_use]
    pub const fn id(&self) -> LogId {
        LogId::new(self.index, self.term)
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        self.kind
    }

    /// When its leader appended it, by that leader's wall clock.
    #[must_use]
    pub fn time(&self) -> WallMicros {
        get_u64(&self.record, 24)
    }

    /// The session that proposed it; 0 for none.
    #[must_use]
    pub fn session(&self) -> u64 {
        get_u64(&self.record, 32)
    }

    /// The proposal's number in its session.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        get_u64(&self.record, 40)
    }

    /// Results of this session below this number are no longer wanted.
    #[must_use]
    pub fn ack_below(&self) -> u64 {
        get_u64(&self.record, 48)
    }

    /// The user's bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.record.slice(HEADER_BYTES..)
    }

    /// The checksum of the user's bytes.
    #[must_use]
    pub fn payload_crc(&self) -> u32 {
        get_u32(&self.record, 56)
    }

    /// Header and payload, as they stand on disk and on the wire.
    #[must_use]
    pub const fn record(&self) -> &Bytes {
        &self.record
    }

    /// Bytes of the record.
    #[must_use]
    pub fn size(&self) -> usize {
        self.record.len()
    }

    /// An entry from its parts, for those who keep entries in another form than as records. A payload is below 4 GiB.
    #[must_use]
    pub fn new(
        id: LogId,
        kind: EntryKind,
        time: WallMicros,
        session: u64,
        sequence: u64,
        ack_below: u64,
        payload: &[u8],
    ) -> Self {
        let mut record = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        put_record(&mut record, kind, payload, session, sequence, ack_below);
        stamp_header(&mut record[..HEADER_BYTES], id, time);
        Self { index: id.index, term: id.term, kind, record: record.freeze() }
    }

    /// Reads the first record of `source` without copying it, checks both checksums, and leaves `source` behind it.
    ///
    /// # Errors
    /// Says what is wrong; `source` is then unchanged.
    pub fn decode(source: &mut Bytes) -> Result<Self, RecordError> {
        let (entry, length) = Self::check(source)?;
        let record = source.split_to(length);
        Ok(Self { record, ..entry })
    }

    /// Reads a run of records that fills `source`.
    ///
    /// # Errors
    /// The first record that is not one.
    pub fn decode_all(mut source: Bytes) -> Result<Vec<Self>, RecordError> {
        let mut entries = Vec::new();
        while !source.is_empty() {
            entries.push(Self::decode(&mut source)?);
        }
        Ok(entries)
    }

    /// The record's whole length, from a header whose checksum fits.
    ///
    /// # Errors
    /// The header is cut off or damaged.
    pub fn record_len(header: &[u8]) -> Result<usize, RecordError> {
        if header.len() < HEADER_BYTES {
            return Err(RecordError::Truncated { needed: HEADER_BYTES, found: header.len() });
        }
        if crc32c::crc32c(&header[..60]) != get_u32(header, 60) {
            return Err(RecordError::Header);
        }
        Ok(HEADER_BYTES + get_u32(header, 0) as usize)
    }

    fn check(source: &[u8]) -> Result<(Self, usize), RecordError> {
        let length = Self::record_len(source)?;
        let (index, term) = (get_u64(source, 8), get_u64(source, 16));
        check_version(source, index)?;
        let kind = EntryKind::from_byte(source[4]).ok_or(RecordError::Kind { index, kind: source[4] })?;
        if source.len() < length {
            return Err(RecordError::Truncated { needed: length, found: source.len() });
        }
        if crc32c::crc32c(&source[HEADER_BYTES..length]) != get_u32(source, 56) {
            return Err(RecordError::Payload { index });
        }
        Ok((Self { index, term, kind, record: Bytes::new() }, length))
    }
}

/// Entries that are not in a log: records whose index, term and time the leader still has to stamp. One buffer for the
/// whole batch, written once, on the thread that proposes.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    buffer: BytesMut,
    starts: Vec<usize>,
}

impl Draft {
    /// Room for `entries` payloads of together `bytes`.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes + entries * HEADER_BYTES), starts: Vec::with_capacity(entries) }
    }

    /// A batch of one user entry.
    #[must_use]
    pub fn command(payload: &[u8]) -> Self {
        let mut draft = Self::with_capacity(1, payload.len());
        draft.push(EntryKind::Command, payload);
        draft
    }

    /// Adds an entry without a session.
    pub fn push(&mut self, kind: EntryKind, payload: &[u8]) {
        self.push_in_session(kind, payload, 0, 0, 0);
    }

    /// Adds an entry. A payload is below 4 GiB: callers bound entries far lower.
    pub fn push_in_session(&mut self, kind: EntryKind, payload: &[u8], session: u64, sequence: u64, ack_below: u64) {
        self.starts.push(self.buffer.len());
        put_record(&mut self.buffer, kind, payload, session, sequence, ack_below);
    }

    /// Entries in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of all records together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// The unstamped records one after the other, as a forwarded proposal carries them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes up records that `as_bytes` gave on another node; payloads are checked.
    ///
    /// # Errors
    /// The first record that is not one.
    pub fn from_bytes(source: &[u8]) -> Result<Self, RecordError> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < source.len() {
            let rest = &source[at..];
            if rest.len() < HEADER_BYTES {
                return Err(RecordError::Truncated { needed: HEADER_BYTES, found: rest.len() });
            }
            let length = HEADER_BYTES + get_u32(rest, 0) as usize;
            if rest.len() < length {
                return Err(RecordError::Truncated { needed: length, found: rest.len() });
            }
            check_version(rest, 0)?;
            if !EntryKind::from_byte(rest[4]).is_some_and(EntryKind::is_users) {
                return Err(RecordError::Kind { index: 0, kind: rest[4] });
            }
            if crc32c::crc32c(&rest[HEADER_BYTES..length]) != get_u32(rest, 56) {
                return Err(RecordError::Payload { index: 0 });
            }
            starts.push(at);
            at += length;
        }
        Ok(Self { buffer: BytesMut::from(source), starts })
    }

    /// Gives every record its place and time, in order, and appends the entries to `into`.
    pub fn stamp(self, first: Index, term: Term, time: WallMicros, into: &mut Vec<Entry>) {
        let entries = self.stamped(LogId::new(first, term), time);
        into.extend_from_slice(&entries);
    }

    /// Gives every record its place and time, in order.
    #[must_use]
    pub fn stamped(mut self, first: LogId, time: WallMicros) -> Entries {
        for (&start, index) in self.starts.iter().zip(first.index..) {
            stamp_header(&mut self.buffer[start..start + HEADER_BYTES], LogId::new(index, first.term), time);
        }
        let (block, starts) = (self.buffer.freeze(), self.starts);
        let bytes = block.len();
        let entry = |at: usize, record: Bytes| {
            // Written by `push_in_session` or checked by `from_bytes`: always one of them.
            let kind = EntryKind::from_byte(record[4]).unwrap_or(EntryKind::Noop);
            Entry { index: first.index + at as u64, term: first.term, kind, record }
        };
        if starts.len() == 1 {
            // Nobody to share the block with.
            return Entries::new(Arc::new([entry(0, block)]), bytes);
        }
        let end = |at: usize| starts.get(at + 1).copied().unwrap_or(bytes);
        let entries = (0..starts.len()).map(|at| entry(at, block.slice(starts[at]..end(at))));
        Entries::new(entries.collect(), bytes)
    }
}

/// A record that has no place in a log yet.
fn put_record(into: &mut BytesMut, kind: EntryKind, payload: &[u8], session: u64, sequence: u64, ack_below: u64) {
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    header[4] = kind as u8;
    header[6..8].copy_from_slice(&RECORD_VERSION.to_le_bytes());
    header[32..40].copy_from_slice(&session.to_le_bytes());
    header[40..48].copy_from_slice(&sequence.to_le_bytes());
    header[48..56].copy_from_slice(&ack_below.to_le_bytes());
    header[56..60].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    into.extend_from_slice(&header);
    into.extend_from_slice(payload);
}

/// Gives a record its place and time.
fn stamp_header(header: &mut [u8], id: LogId, time: WallMicros) {
    header[8..16].copy_from_slice(&id.index.to_le_bytes());
    header[16..24].copy_from_slice(&id.term.to_le_bytes());
    header[24..32].copy_from_slice(&time.to_le_bytes());
    let crc = crc32c::crc32c(&header[..60]);
    header[60..64].copy_from_slice(&crc.to_le_bytes());
}

fn check_version(header: &[u8], index: Index) -> Result<(), RecordError> {
    let version = u16::from_le_bytes([header[6], header[7]]);
    if version == 0 || version > RECORD_VERSION { Err(RecordError::Version { index, version }) } else { Ok(()) }
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes([
        bytes[at],
        bytes[at + 1],
        bytes[at + 2],
        bytes[at + 3],
        bytes[at + 4],
        bytes[at + 5],
        bytes[at + 6],
        bytes[at + 7],
    ])
}
