//! Reading entries.

use std::sync::{PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use d_engine_raft::{Entry, Index};

use crate::error::WalError;
use crate::files::{File, read_full};
use crate::format::{HEAD_BYTES, Head};
use crate::state::{Extent, ExtentKind, LogState};

pub(crate) fn read<T: File>(
    state: &RwLock<LogState<T>>,
    lo: Index,
    hi: Index,
    max_bytes: usize,
) -> Result<Option<Vec<Entry>>, WalError> {
    let mut want = Want { next: lo, hi, left: max_bytes, entries: Vec::new() };
    while want.open() {
        // One at a time, so that a log of any length costs a reader nothing; a purge or a truncation in between shows as the
        // log that it leaves.
        let extent = {
            let state = state.read().unwrap_or_else(PoisonError::into_inner);
            if lo <= state.purged.index {
                return Ok(None);
            }
            let at = state.extents.partition_point(|extent| extent.end <= want.next);
            match state.extents.get(at) {
                Some(extent) if extent.first <= want.next => extent.clone(),
                _ => break,
            }
        };
        let before = want.next;
        want.take(&extent)?;
        if want.next == before {
            break;
        }
    }
    Ok(Some(want.entries))
}

struct Want {
    next: Index,
    hi: Index,
    left: usize,
    entries: Vec<Entry>,
}

impl Want {
    const fn open(&self) -> bool {
        self.next < self.hi && (self.left > 0 || self.entries.is_empty())
    }

    /// Takes what is wanted from one extent.
    fn take<T: File>(&mut self, extent: &Extent<T>) -> Result<(), WalError> {
        let length = usize::try_from(extent.stop - extent.start).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(length);
        let segment = &extent.segment;
        let count =
            read_full(&segment.file, &mut buffer, extent.start).map_err(WalError::io("read", segment.name.as_str()))?;
        buffer.truncate(count);
        let bytes = buffer.freeze();
        if extent.kind == ExtentKind::Records {
            return self.records(bytes, extent).map_err(|reason| damaged(extent, extent.start, self.next, reason));
        }
        let mut at = 0;
        while at < length {
            let offset = extent.start + at as u64;
            let damaged = |next: Index, reason: &str| damaged(extent, offset, next, reason.to_owned());
            let head = bytes.get(at..).and_then(|rest| Head::decode(rest).ok());
            let Some(head) = head.filter(|head| head.epoch == segment.epoch && head.offset == offset) else {
                return Err(damaged(self.next, "its head is not that of a batch"));
            };
            let from = at + HEAD_BYTES;
            let to = from + head.record_bytes as usize;
            if to > bytes.len() {
                return Err(damaged(self.next, "its records are cut off"));
            }
            if head.previous.index + u64::from(head.record_count) >= self.next {
                self.records(bytes.slice(from..to), extent).map_err(|reason| damaged(self.next, &reason))?;
                if !self.open() || self.next >= extent.end {
                    return Ok(());
                }
            }
            at += usize::try_from(head.span()).unwrap_or(usize::MAX);
        }
        Ok(())
    }

    fn records(&mut self, mut bytes: Bytes, extent: &Extent<impl File>) -> Result<(), String> {
        while !bytes.is_empty() && self.next < self.hi.min(extent.end) {
            let length = Entry::record_len(&bytes).map_err(|error| error.to_string())?;
            let index = bytes[8..16].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            if index < self.next {
                bytes = bytes.slice(length.min(bytes.len())..);
                continue;
            }
            if !self.entries.is_empty() && length > self.left {
                self.left = 0;
                return Ok(());
            }
            let entry = Entry::decode(&mut bytes).map_err(|error| error.to_string())?;
            if entry.index() != self.next {
                return Err(format!("entry {} stands where entry {} belongs", entry.index(), self.next));
            }
            self.left = self.left.saturating_sub(length);
            self.next += 1;
            self.entries.push(entry);
        }
        Ok(())
    }
}

fn damaged<T>(extent: &Extent<T>, offset: u64, index: Index, reason: String) -> WalError {
    WalError::CorruptLog { segment: extent.segment.name.clone(), offset, index, reason }
}
