//! Writing a snapshot file.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::head::SnapshotHead;
use super::{BLOCK_BYTES, TAG_BLOCK, TAG_SECTION, TAG_SECTION_END, TAG_TRAILER, TRAILER_BYTES};
use crate::error::StorageError;
use crate::traits::{SnapshotMeta, SnapshotStore, SnapshotWriter};

/// Writes one file: sections, each through `Write`, then `finish`.
pub(crate) struct Encoder {
    writer: Box<dyn SnapshotWriter>,
    head: SnapshotHead,
    head_bytes: u64,
    offset: u64,
    hash: Sha256,
    block: Vec<u8>,
    error: Option<StorageError>,
}

/// A complete file that is not committed yet.
pub(crate) struct Finished {
    writer: Box<dyn SnapshotWriter>,
    pub(crate) head: SnapshotHead,
}

impl Finished {
    pub(crate) fn commit(self) -> Result<SnapshotHead, StorageError> {
        self.writer.commit(&self.head.meta())?;
        Ok(self.head)
    }
}

impl Encoder {
    pub(crate) fn begin(store: &dyn SnapshotStore, head: SnapshotHead) -> Result<Self, StorageError> {
        let mut writer = store.create(&SnapshotMeta { last: head.last, digest: None, size: 0 })?;
        let bytes = head.encode();
        let head_bytes = bytes.len() as u64;
        if let Err(error) = writer.write(0, &bytes) {
            writer.abort()?;
            return Err(error);
        }
        Ok(Self { writer, head, head_bytes, offset: head_bytes, hash: Sha256::new(), block: Vec::new(), error: None })
    }

    pub(crate) fn section(&mut self, name: &str) -> Result<(), StorageError> {
        let mut bytes = vec![TAG_SECTION, u8::try_from(name.len()).unwrap_or(u8::MAX)];
        bytes.extend_from_slice(name.as_bytes());
        self.put(&bytes)
    }

    pub(crate) fn end_section(&mut self) -> Result<(), StorageError> {
        self.flush_block()?;
        self.put(&[TAG_SECTION_END])
    }

    /// The error of the store that made a `write` fail, if one did: the writer's caller saw only a copy of it.
    pub(crate) fn take_error(&mut self) -> Option<StorageError> {
        self.error.take()
    }

    pub(crate) fn finish(mut self) -> Result<Finished, StorageError> {
        match self.seal() {
            Ok(()) => Ok(Finished { writer: self.writer, head: self.head }),
            Err(error) => {
                self.writer.abort()?;
                Err(error)
            }
        }
    }

    pub(crate) fn abort(self) -> Result<(), StorageError> {
        self.writer.abort()
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        let content = self.offset - self.head_bytes;
        self.head.digest = std::mem::take(&mut self.hash).finalize().into();
        self.head.size = self.offset + TRAILER_BYTES as u64;
        let mut trailer = vec![TAG_TRAILER];
        trailer.extend_from_slice(&content.to_le_bytes());
        trailer.extend_from_slice(&self.head.digest);
        let crc = crc32c::crc32c(&trailer);
        trailer.extend_from_slice(&crc.to_le_bytes());
        self.writer.write(self.offset, &trailer)?;
        self.writer.write(0, &self.head.encode())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.hash.update(bytes);
        self.writer.write(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn flush_block(&mut self) -> Result<(), StorageError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.block);
        let mut bytes = Vec::with_capacity(data.len() + 9);
        bytes.push(TAG_BLOCK);
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&data).to_le_bytes());
        bytes.extend_from_slice(&data);
        self.block = data;
        self.block.clear();
        self.put(&bytes)
    }
}

impl Write for Encoder {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for piece in data.chunks(BLOCK_BYTES) {
            self.block.extend_from_slice(piece);
            if self.block.len() >= BLOCK_BYTES
                && let Err(error) = self.flush_block()
            {
                let copy = io::Error::other(error.to_string());
                self.error = Some(error);
                return Err(copy);
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
