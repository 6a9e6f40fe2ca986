//! Reading and checking a snapshot file.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::head::{SnapshotHead, damaged, read_exact};
use super::{MAX_BLOCK_BYTES, TAG_BLOCK, TAG_SECTION, TAG_SECTION_END, TAG_TRAILER, TRAILER_BYTES};
use crate::error::StorageError;
use crate::traits::{SnapshotMeta, SnapshotReader};

/// Reads one section after the other; checks every block.
pub(crate) struct Decoder {
    reader: Box<dyn SnapshotReader>,
    offset: u64,
    block: Vec<u8>,
    taken: usize,
    in_section: bool,
    error: Option<StorageError>,
}

impl Decoder {
    pub(crate) fn open(mut reader: Box<dyn SnapshotReader>) -> Result<(SnapshotHead, Self), StorageError> {
        let (head, offset) = SnapshotHead::read(reader.as_mut())?;
        let decoder = Self { reader, offset, block: Vec::new(), taken: 0, in_section: false, error: None };
        Ok((head, decoder))
    }

    /// Goes to the next section and returns its name; `None` at the end.
    pub(crate) fn next_section(&mut self) -> Result<Option<String>, StorageError> {
        while self.in_section {
            self.next_block()?;
        }
        match self.byte()? {
            TAG_SECTION => {
                let length = usize::from(self.byte()?);
                let name = read_exact(self.reader.as_mut(), self.offset, length)?;
                self.offset += length as u64;
                self.in_section = true;
                String::from_utf8(name).map(Some).map_err(|_| damaged(self.offset, "a section's name is not UTF-8"))
            }
            TAG_TRAILER => Ok(None),
            _ => Err(damaged(self.offset - 1, "neither a section nor the end begins here")),
        }
    }

    /// The error of the store that made a `read` fail, if one did.
    pub(crate) fn take_error(&mut self) -> Option<StorageError> {
        self.error.take()
    }

    fn byte(&mut self) -> Result<u8, StorageError> {
        let byte = read_exact(self.reader.as_mut(), self.offset, 1)?[0];
        self.offset += 1;
        Ok(byte)
    }

    fn next_block(&mut self) -> Result<(), StorageError> {
        self.block.clear();
        self.taken = 0;
        match self.byte()? {
            TAG_BLOCK => {}
            TAG_SECTION_END => {
                self.in_section = false;
                return Ok(());
            }
            _ => return Err(damaged(self.offset - 1, "neither a block nor the section's end begins here")),
        }
        let head = read_exact(self.reader.as_mut(), self.offset, 8)?;
        let (mut length, mut crc) = ([0; 4], [0; 4]);
        length.copy_from_slice(&head[..4]);
        crc.copy_from_slice(&head[4..]);
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_BLOCK_BYTES {
            return Err(damaged(self.offset, "a block's length is impossible"));
        }
        self.block = read_exact(self.reader.as_mut(), self.offset + 8, length)?;
        if crc32c::crc32c(&self.block) != u32::from_le_bytes(crc) {
            return Err(damaged(self.offset, "a block's checksum does not match"));
        }
        self.offset += 8 + length as u64;
        Ok(())
    }
}

impl Read for Decoder {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.in_section && self.taken == self.block.len() {
            if let Err(error) = self.next_block() {
                let copy = io::Error::other(error.to_string());
                self.error = Some(error);
                self.in_section = false;
                return Err(copy);
            }
        }
        let length = out.len().min(self.block.len() - self.taken);
        out[..length].copy_from_slice(&self.block[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

/// Checks a file whose bytes come in order, without reading any of them twice.
pub(crate) struct Verifier {
    meta: SnapshotMeta,
    seen: u64,
    start: Vec<u8>,
    head: Option<(SnapshotHead, u64)>,
    hash: Sha256,
    trailer: Vec<u8>,
}

impl Verifier {
    pub(crate) fn new(meta: SnapshotMeta) -> Self {
        Self { meta, seen: 0, start: Vec::new(), head: None, hash: Sha256::new(), trailer: Vec::new() }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let end = self.meta.size.saturating_sub(TRAILER_BYTES as u64);
        if self.seen + bytes.len() as u64 > self.meta.size {
            return Err(damaged(self.meta.size, "bytes follow its end"));
        }
        if self.head.is_some() {
            self.body(bytes, end);
            return Ok(());
        }
        self.start.extend_from_slice(bytes);
        if let Some(needed) = SnapshotHead::needed(&self.start)?
            && self.start.len() >= needed
        {
            let start = std::mem::take(&mut self.start);
            let head = SnapshotHead::decode(&start[..needed])?;
            if head.last != self.meta.last || Some(head.digest) != self.meta.digest || head.size != self.meta.size {
                return Err(damaged(0, "it is not the snapshot that was offered"));
            }
            self.head = Some((head, needed as u64));
            self.seen += needed as u64;
            self.body(&start[needed..], end);
            return Ok(());
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8], end: u64) {
        let content = usize::try_from(end.saturating_sub(self.seen)).unwrap_or(usize::MAX).min(bytes.len());
        self.hash.update(&bytes[..content]);
        self.trailer.extend_from_slice(&bytes[content..]);
        self.seen += bytes.len() as u64;
    }

    /// Bytes taken, those of an unfinished header included.
    pub(crate) const fn taken(&self) -> u64 {
        self.seen + self.start.len() as u64
    }

    /// What it is, once all bytes have come.
    pub(crate) fn finish(self) -> Result<SnapshotHead, StorageError> {
        let Some((head, start)) = self.head else { return Err(damaged(0, "it has no header")) };
        let end = self.meta.size.saturating_sub(TRAILER_BYTES as u64);
        let digest: [u8; 32] = self.hash.finalize().into();
        let Some((body, crc)) = self.trailer.split_last_chunk::<4>() else {
            return Err(damaged(end, "its trailer is cut off"));
        };
        let sound = self.seen == self.meta.size
            && body.len() == TRAILER_BYTES - 4
            && body[0] == TAG_TRAILER
            && body[1..9] == end.saturating_sub(start).to_le_bytes()
            && body[9..] == digest
            && crc32c::crc32c(body) == u32::from_le_bytes(*crc);
        if sound && digest == head.digest {
            Ok(head)
        } else {
            Err(damaged(end, "its content does not have the hash that it names"))
        }
    }
}
