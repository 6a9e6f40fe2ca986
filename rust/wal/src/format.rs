//! Bytes of a batch.
//!
//! A segment is a row of batches, each on a 4 KiB boundary: a head, the records as `d_engine_raft::Entry` has them one after
//! the other, and zeros up to the next boundary. What a head says about the log as a whole (hard state, purge point,
//! cluster) it says in every batch, so any segment may become the first one.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "d-engwal"
//!      8      2  format version
//!     10      2  flags: 1 first batch of its segment, 2 reset, 4 marker
//!     12      4  CRC32C of the head without these 4 bytes, seeded with epoch and salt
//!     16      8  epoch of the segment: never used twice in a log, so that what a recycled file held before is void
//!     24      8  salt: drawn once for a log, so that no payload can contain what looks like a batch of it
//!     32      8  sequence: 1 for the log's first batch, then one more each
//!     40      8  synced_through: this and all earlier sequences were durable when the head was written
//!     48      8  offset of the batch in its segment
//!     56      4  bytes of all records
//!     60      4  number of records
//!     64      4  CRC32C of bytes 0..60 of every record's header, seeded as above
//!     68      4  0
//!     72     16  hard state: term, vote (0: none)
//!     88     16  purge point: index, term
//!    104     16  the entry before this batch's records: index, term. Lower than the log's end: entries behind it are dropped
//!    120     16  cluster
//!    136      8  group
//!    144     16  0
//!    160         records
//! ```
//! A reset drops the whole log, which then begins behind "the entry before". A marker holds no records; it is there to say
//! `synced_through`. Integers are little-endian.

use bytes::Bytes;
use d_engine_raft::{Entry, GroupId, HEADER_BYTES, HardState, LogId};

/// Batches begin at multiples of this.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a head. It fits a disk sector, so that a power cut leaves all or nothing of it.
pub(crate) const HEAD_BYTES: usize = 160;
/// The format that this build writes, and the newest it reads.
pub const LOG_VERSION: u16 = 1;

pub(crate) const FLAG_FIRST: u16 = 1;
pub(crate) const FLAG_RESET: u16 = 2;
pub(crate) const FLAG_MARKER: u16 = 4;

const MAGIC: [u8; 8] = *b"d-engwal";

/// The first bytes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub flags: u16,
    pub epoch: u64,
    pub salt: u64,
    pub sequence: u64,
    pub synced_through: u64,
    pub offset: u64,
    pub record_bytes: u32,
    pub record_count: u32,
    pub records_crc: u32,
    pub hard_state: HardState,
    pub purged: LogId,
    pub previous: LogId,
    pub cluster_id: u128,
    pub group: GroupId,
}

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// Something else, or damaged.
    Invalid,
    /// A head of a later format.
    Version(u16),
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &LOG_VERSION.to_le_bytes());
        put(10, &self.flags.to_le_bytes());
        put(16, &self.epoch.to_le_bytes());
        put(24, &self.salt.to_le_bytes());
        put(32, &self.sequence.to_le_bytes());
        put(40, &self.synced_through.to_le_bytes());
        put(48, &self.offset.to_le_bytes());
        put(56, &self.record_bytes.to_le_bytes());
        put(60, &self.record_count.to_le_bytes());
        put(64, &self.records_crc.to_le_bytes());
        put(72, &self.hard_state.term.to_le_bytes());
        put(80, &self.hard_state.vote.unwrap_or(0).to_le_bytes());
        put(88, &self.purged.index.to_le_bytes());
        put(96, &self.purged.term.to_le_bytes());
        put(104, &self.previous.index.to_le_bytes());
        put(112, &self.previous.term.to_le_bytes());
        put(120, &self.cluster_id.to_le_bytes());
        put(136, &self.group.to_le_bytes());
        let crc = head_crc(&out, self.epoch, self.salt);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, NoHead> {
        let Some(bytes) = bytes.first_chunk::<HEAD_BYTES>() else { return Err(NoHead::Invalid) };
        if bytes[..8] != MAGIC {
            return Err(NoHead::Invalid);
        }
        let (epoch, salt) = (get_u64(bytes, 16), get_u64(bytes, 24));
        if head_crc(bytes, epoch, salt) != get_u32(bytes, 12) {
            return Err(NoHead::Invalid);
        }
        // Later formats keep the head's size and checksum, so that a flipped bit is not taken for one of them.
        let version = get_u16(bytes, 8);
        if version != LOG_VERSION {
            return Err(NoHead::Version(version));
        }
        let id = |at: usize| LogId::new(get_u64(bytes, at), get_u64(bytes, at + 8));
        Ok(Self {
            flags: get_u16(bytes, 10),
            epoch,
            salt,
            sequence: get_u64(bytes, 32),
            synced_through: get_u64(bytes, 40),
            offset: get_u64(bytes, 48),
            record_bytes: get_u32(bytes, 56),
            record_count: get_u32(bytes, 60),
            records_crc: get_u32(bytes, 64),
            hard_state: HardState {
                term: get_u64(bytes, 72),
                vote: Some(get_u64(bytes, 80)).filter(|&vote| vote != 0),
            },
            purged: id(88),
            previous: id(104),
            cluster_id: u128::from(get_u64(bytes, 120)) | u128::from(get_u64(bytes, 128)) << 64,
            group: get_u64(bytes, 136),
        })
    }

    /// Bytes of head and records.
    pub(crate) const fn used(&self) -> u64 {
        HEAD_BYTES as u64 + self.record_bytes as u64
    }

    /// Bytes up to the next batch.
    pub(crate) const fn span(&self) -> u64 {
        round_up(self.used())
    }

    pub(crate) const fn is_first(&self) -> bool {
        self.flags & FLAG_FIRST != 0
    }

    pub(crate) const fn is_reset(&self) -> bool {
        self.flags & FLAG_RESET != 0
    }

    pub(crate) const fn is_marker(&self) -> bool {
        self.flags & FLAG_MARKER != 0
    }
}

/// The next 4 KiB boundary.
pub(crate) const fn round_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

fn seed(epoch: u64, salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&epoch.to_le_bytes()), &salt.to_le_bytes())
}

fn head_crc(head: &[u8; HEAD_BYTES], epoch: u64, salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed(epoch, salt), &head[..12]), &head[16..])
}

/// The checksum of a batch's records, over their headers: those hold the payloads' checksums, so every payload byte is
/// covered without a second pass over it. A header's own checksum is left out: CRC over data followed by its CRC is the same
/// for all data, and the sum would say nothing.
pub(crate) struct RecordsCrc(u32);

impl RecordsCrc {
    pub(crate) fn new(epoch: u64, salt: u64) -> Self {
        Self(seed(epoch, salt))
    }

    pub(crate) fn add(&mut self, record: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, &record[..HEADER_BYTES - 4]);
    }

    pub(crate) const fn value(&self) -> u32 {
        self.0
    }
}

/// Reads and checks the records of a batch. `body` begins behind the head and holds the padding too.
pub(crate) fn decode_records(head: &Head, body: &Bytes) -> Result<Vec<Entry>, String> {
    let length = head.record_bytes as usize;
    if body.len() < length {
        return Err(format!("its records need {length} bytes, {} are there", body.len()));
    }
    let entries = Entry::decode_all(body.slice(..length)).map_err(|error| error.to_string())?;
    if entries.len() != head.record_count as usize {
        return Err(format!("it holds {} records, its head says {}", entries.len(), head.record_count));
    }
    let mut crc = RecordsCrc::new(head.epoch, head.salt);
    for (entry, index) in entries.iter().zip(head.previous.index + 1..) {
        if entry.index() != index {
            return Err(format!("entry {} stands where entry {index} belongs", entry.index()));
        }
        crc.add(entry.record());
    }
    if crc.value() != head.records_crc {
        return Err("its records are not those it was written with".to_owned());
    }
    if body[length..].iter().fold(0, |all, byte| all | byte) != 0 {
        return Err("the zeros behind its records are damaged".to_owned());
    }
    Ok(entries)
}

fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(get_u32(bytes, at)) | u64::from(get_u32(bytes, at + 4)) << 32
}
