//! Taking a snapshot from a leader.

use d_engine_raft::{NodeId, Term, mutants};

use super::{TransferAction, Transfers};
use crate::error::StorageError;
use crate::snapshot::{SnapshotHead, Verifier};
use crate::traits::{Level, SnapshotFrame, SnapshotMeta, SnapshotWriter};

/// The one that is coming in.
pub(super) struct Incoming {
    from: NodeId,
    transfer: u64,
    term: Term,
    meta: SnapshotMeta,
    writer: Box<dyn SnapshotWriter>,
    verifier: Verifier,
}

const READ_BACK_BYTES: usize = 1 << 20;
/// A size beyond that is taken for garbage.
const MAX_BYTES: u64 = 1 << 50;

impl Transfers {
    pub(super) fn offered(&mut self, from: NodeId, transfer: u64, term: Term, meta: SnapshotMeta) {
        if let Some(now) = &mut self.incoming
            && now.meta == meta
        {
            // The same bytes: from whom they come makes no difference.
            (now.from, now.transfer, now.term) = (from, transfer, now.term.max(term));
            let offset = now.verifier.taken();
            self.send(from, SnapshotFrame::Accept { transfer, offset });
            return;
        }
        if meta.digest.is_none() || meta.size == 0 || meta.size > MAX_BYTES {
            self.log(Level::Warning, format!("node {from} offers no proper snapshot"));
            self.send(from, SnapshotFrame::Done { transfer, installed: None });
            return;
        }
        if self.incoming.as_ref().is_some_and(|now| now.term > term) {
            return;
        }
        match self.accept(from, transfer, term, meta) {
            Ok(()) => {}
            Err(error) => {
                self.log(Level::Error, format!("a snapshot cannot be received: {error}"));
                self.send(from, SnapshotFrame::Done { transfer, installed: None });
            }
        }
    }

    fn accept(&mut self, from: NodeId, transfer: u64, term: Term, meta: SnapshotMeta) -> Result<(), StorageError> {
        if let Some(here) = self.store.latest()?
            && here.last.index >= meta.last.index
        {
            // Committed before, as it seems, and the answer was lost: the core knows what to make of it.
            let mut reader = self.store.open(&here)?;
            let (head, _) = SnapshotHead::read(reader.as_mut())?;
            self.send(from, SnapshotFrame::Done { transfer, installed: Some(head.last) });
            self.report(from, term, head);
            return Ok(());
        }
        // One that another leader offers instead: its predecessor is dropped by the store.
        self.incoming = None;
        let partial = self.store.partial()?.filter(|(known, _)| *known == meta).map_or(0, |(_, bytes)| bytes);
        let mut writer = self.store.create(&meta)?;
        let verifier = match read_again(writer.as_mut(), meta, partial) {
            Ok(verifier) => verifier,
            // What is there cannot be used: it is written again from its beginning.
            Err(_) => Verifier::new(meta),
        };
        let offset = verifier.taken();
        let (last, size) = (meta.last, meta.size);
        let text = format!("receiving the snapshot of {last} ({size} bytes) from node {from}, from byte {offset} on");
        self.log_at(Level::Info, term, last.index, text);
        self.incoming = Some(Incoming { from, transfer, term, meta, writer, verifier });
        if offset == meta.size {
            self.complete();
        } else {
            self.send(from, SnapshotFrame::Accept { transfer, offset });
        }
        Ok(())
    }

    pub(super) fn chunk(&mut self, from: NodeId, transfer: u64, offset: u64, crc: u32, data: &[u8]) {
        let Some(now) = &mut self.incoming else { return };
        if now.from != from || now.transfer != transfer {
            return;
        }
        let here = now.verifier.taken();
        if offset != here || crc32c::crc32c(data) != crc {
            // Lost or doubled on the way: the leader learns where to go on.
            self.send(from, SnapshotFrame::Ack { transfer, offset: here });
            return;
        }
        let taken = now.verifier.push(data).and_then(|()| now.writer.write(offset, data));
        let (here, size) = (now.verifier.taken(), now.meta.size);
        match taken {
            Ok(()) if here == size => self.complete(),
            Ok(()) => self.send(from, SnapshotFrame::Ack { transfer, offset: here }),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &StorageError) {
        let Some(now) = self.incoming.take() else { return };
        self.log(Level::Error, format!("the snapshot from node {} is dropped: {error}", now.from));
        if let Err(error) = now.writer.abort() {
            self.log(Level::Warning, format!("its file stays behind: {error}"));
        }
        self.send(now.from, SnapshotFrame::Done { transfer: now.transfer, installed: None });
    }

    fn complete(&mut self) {
        let Some(Incoming { from, transfer, term, meta, writer, verifier }) = self.incoming.take() else { return };
        let hello = &self.hello;
        let sound = verifier.finish().and_then(|head| {
            let ours = head.cluster_id == hello.cluster_id && head.group == hello.group;
            if ours || mutants::on("26-foreign-snapshot") {
                Ok(head)
            } else {
                Err(StorageError::Inconsistent("it belongs to another cluster".into()))
            }
        });
        let committed = match sound {
            Ok(head) => writer.commit(&meta).map(|()| head),
            Err(error) => writer.abort().and(Err(error)),
        };
        match committed {
            Ok(head) => {
                self.send(from, SnapshotFrame::Done { transfer, installed: Some(head.last) });
                self.report(from, term, head);
            }
            Err(error) => {
                self.log(Level::Error, format!("the snapshot from node {from} is not taken: {error}"));
                self.send(from, SnapshotFrame::Done { transfer, installed: None });
            }
        }
    }

    fn report(&mut self, from: NodeId, term: Term, head: SnapshotHead) {
        let SnapshotHead { last, time, configuration, .. } = head;
        self.out.push(TransferAction::Received { from, term, last, time, configuration });
    }
}

fn read_again(writer: &mut dyn SnapshotWriter, meta: SnapshotMeta, bytes: u64) -> Result<Verifier, StorageError> {
    let mut verifier = Verifier::new(meta);
    while verifier.taken() < bytes {
        let limit = usize::try_from(bytes - verifier.taken()).unwrap_or(usize::MAX).min(READ_BACK_BYTES);
        match writer.read_back(verifier.taken(), limit)? {
            Some(piece) if !piece.is_empty() => verifier.push(&piece)?,
            _ => return Ok(Verifier::new(meta)),
        }
    }
    Ok(verifier)
}
