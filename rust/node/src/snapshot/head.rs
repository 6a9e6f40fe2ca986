//! The header of a snapshot file.

use d_engine_raft::{Configuration, GroupId, Index, LogId, WallMicros};

use super::MAGIC;
use crate::error::StorageError;
use crate::traits::{SnapshotMeta, SnapshotReader};

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Of which cluster.
    pub cluster_id: u128,
    /// Of which log.
    pub group: GroupId,
    /// The last entry that it covers.
    pub last: LogId,
    /// That entry's time.
    pub time: WallMicros,
    /// Bytes of the file; 0 while it is being made.
    pub size: u64,
    /// Its content hash; zero while it is being made.
    pub digest: [u8; 32],
    /// The configuration in force at `last`, and the index of its entry.
    pub configuration: (Index, Configuration),
}

/// Magic, length of the body, checksum.
const START: usize = 16;
const FIXED: usize = 16 + 8 * 5 + 32 + 8 + 4;
const MAX_BODY: usize = 4 << 20;

impl SnapshotHead {
    /// What a store needs to know.
    #[must_use]
    pub const fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last: self.last, digest: Some(self.digest), size: self.size }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let configuration = self.configuration.1.encode();
        let mut body = Vec::with_capacity(FIXED + configuration.len());
        body.extend_from_slice(&self.cluster_id.to_le_bytes());
        for number in [self.group, self.last.index, self.last.term, self.time, self.size] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&self.digest);
        body.extend_from_slice(&self.configuration.0.to_le_bytes());
        body.extend_from_slice(&u32::try_from(configuration.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&configuration);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &body);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads a file's header; returns it with its length.
    ///
    /// # Errors
    /// It is cut off, damaged, or of a later format.
    pub fn read(reader: &mut dyn SnapshotReader) -> Result<(Self, u64), StorageError> {
        let mut bytes = read_exact(reader, 0, START)?;
        let needed = Self::needed(&bytes)?.unwrap_or(START);
        bytes.extend(read_exact(reader, START as u64, needed - START)?);
        Ok((Self::decode(&bytes)?, needed as u64))
    }

    /// The header's whole length, once its first bytes are there.
    pub(super) fn needed(start: &[u8]) -> Result<Option<usize>, StorageError> {
        let Some(start) = start.first_chunk::<START>() else { return Ok(None) };
        if start[..7] != MAGIC[..7] {
            return Err(damaged(0, "it does not begin like a snapshot"));
        }
        if start[7] != MAGIC[7] {
            return Err(damaged(7, "its format is of a later release"));
        }
        let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize;
        if !(FIXED..=MAX_BODY).contains(&length) {
            return Err(damaged(8, "the header's length is impossible"));
        }
        Ok(Some(START + length))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let Some((start, body)) = bytes.split_first_chunk::<START>() else {
            return Err(damaged(0, "its header is cut off"));
        };
        let crc = u32::from_le_bytes([start[12], start[13], start[14], start[15]]);
        if body.len() < FIXED || crc32c::crc32c_append(crc32c::crc32c(&start[..12]), body) != crc {
            return Err(damaged(12, "the header's checksum does not match"));
        }
        Self::parse(body)
    }

    fn parse(body: &[u8]) -> Result<Self, StorageError> {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&body[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (mut cluster, mut digest, mut length) = ([0; 16], [0; 32], [0; 4]);
        cluster.copy_from_slice(&body[..16]);
        digest.copy_from_slice(&body[56..88]);
        length.copy_from_slice(&body[96..100]);
        if body.len() != FIXED + u32::from_le_bytes(length) as usize {
            return Err(damaged(112, "the configuration's length does not fit"));
        }
        let configuration = Configuration::decode(&body[FIXED..]).map_err(|error| damaged(116, &error.to_string()))?;
        Ok(Self {
            cluster_id: u128::from_le_bytes(cluster),
            group: number(16),
            last: LogId::new(number(24), number(32)),
            time: number(40),
            size: number(48),
            digest,
            configuration: (number(88), configuration),
        })
    }
}

pub(super) fn damaged(offset: u64, why: &str) -> StorageError {
    StorageError::Corrupt { what: "a snapshot".into(), offset, index: None, why: why.into() }
}

pub(super) fn read_exact(reader: &mut dyn SnapshotReader, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        let piece = reader.read(offset + out.len() as u64, length - out.len())?;
        if piece.is_empty() || piece.len() > length - out.len() {
            return Err(damaged(offset + out.len() as u64, "it is cut off"));
        }
        out.extend_from_slice(&piece);
    }
    Ok(out)
}
