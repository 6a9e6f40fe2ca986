//! Snapshots from node to node, without threads: what is offered, sent, resumed and committed, and in which order. The transfer
//! thread and the simulator both follow it.

mod pace;
mod receive;

use std::collections::BTreeMap;
use std::sync::Arc;

use d_engine_raft::{Configuration, Index, LogId, Micros, NodeId, Term, WallMicros};

use crate::error::StorageError;
use crate::snapshot::SnapshotHead;
use crate::traits::{Hello, Level, SnapshotFrame, SnapshotMeta, SnapshotReader, SnapshotStore};
use pace::Pace;
use receive::Incoming;

/// One thing that happened.
#[derive(Debug)]
pub enum TransferInput {
    /// Send the newest snapshot.
    Send {
        /// To whom.
        to: NodeId,
        /// It must cover this.
        at_least: Index,
        /// The own term.
        term: Term,
    },
    /// A frame came.
    Frame(NodeId, SnapshotFrame),
    /// A snapshot was committed: older ones may go.
    Tidy,
}

/// One thing to do.
#[derive(Debug)]
pub enum TransferAction {
    /// Hand to the transport.
    Send(NodeId, SnapshotFrame),
    /// Report to the driver that a transfer has ended.
    Sent {
        /// To whom.
        to: NodeId,
        /// Up to where, if it arrived.
        delivered: Option<Index>,
    },
    /// Report to the driver that a leader's snapshot is committed here.
    Received {
        /// From whom.
        from: NodeId,
        /// The sender's term.
        term: Term,
        /// What it covers.
        last: LogId,
        /// That entry's time.
        time: WallMicros,
        /// The configuration in it.
        configuration: (Index, Configuration),
    },
    /// Worth a line in the log.
    Log {
        /// How grave.
        level: Level,
        /// Term and index, where there are any.
        at: Option<(Term, Index)>,
        /// What happened.
        message: String,
    },
}

const CHUNK_BYTES: usize = 256 << 10;
/// Bytes under way to one follower.
const WINDOW: u64 = 4 * CHUNK_BYTES as u64;
/// Without progress for so long, the snapshot is offered again: what was under way may be lost. The offer comes behind it, so
/// that the answer says exactly where to go on; nothing that arrived is sent again. Each offer that is not answered doubles it.
const PATIENCE: Micros = 250_000;
const LONGEST_PATIENCE: Micros = 2_000_000;
/// Without progress for so long, the transfer is given up; the core asks for another when the follower is heard.
const GIVE_UP: Micros = 10_000_000;

struct Outgoing {
    to: NodeId,
    term: Term,
    meta: SnapshotMeta,
    reader: Box<dyn SnapshotReader>,
    acked: u64,
    next: u64,
    /// The follower has accepted.
    streaming: bool,
    /// When there was progress, and how long the next is waited for.
    moved: Micros,
    patience: Micros,
    due: Micros,
}

/// All transfers of one node: to followers, and one from a leader.
pub struct Transfers {
    hello: Hello,
    store: Arc<dyn SnapshotStore>,
    incoming: Option<Incoming>,
    outgoing: BTreeMap<u64, Outgoing>,
    pace: Pace,
    /// The transfer that sent last.
    served: u64,
    last_id: u64,
    tidy: bool,
    now: Micros,
    out: Vec<TransferAction>,
}

impl Transfers {
    /// `bytes_per_second` bounds what leaves (0: no bound). Transfers are numbered from `ids_after`, which has to differ from
    /// every number before a restart, so that a late answer is not taken for a new one.
    #[must_use]
    pub fn new(
        now: Micros,
        hello: Hello,
        store: Arc<dyn SnapshotStore>,
        bytes_per_second: u64,
        ids_after: u64,
    ) -> Self {
        Self {
            hello,
            store,
            incoming: None,
            outgoing: BTreeMap::new(),
            pace: Pace::new(bytes_per_second, now),
            served: 0,
            last_id: ids_after,
            tidy: false,
            now,
            out: Vec::new(),
        }
    }

    /// Takes in one thing that happened, or that nothing did until the deadline, and appends what is to be done.
    pub fn handle(&mut self, now: Micros, input: Option<TransferInput>, out: &mut Vec<TransferAction>) {
        self.now = now;
        match input {
            Some(TransferInput::Send { to, at_least, term }) => self.begin(to, at_least, term),
            Some(TransferInput::Frame(from, frame)) => self.frame(from, frame),
            Some(TransferInput::Tidy) => self.tidy = true,
            None => {}
        }
        if self.pace.is_due(now) {
            self.pump_all();
        }
        self.offer_again();
        self.retain();
        out.append(&mut self.out);
    }

    /// When `handle` has to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.outgoing.values().map(|one| one.due).chain(self.pace.waits()).min()
    }

    fn send(&mut self, to: NodeId, frame: SnapshotFrame) {
        self.out.push(TransferAction::Send(to, frame));
    }

    fn log(&mut self, level: Level, message: String) {
        self.out.push(TransferAction::Log { level, at: None, message });
    }

    fn log_at(&mut self, level: Level, term: Term, index: Index, message: String) {
        self.out.push(TransferAction::Log { level, at: Some((term, index)), message });
    }

    fn frame(&mut self, from: NodeId, frame: SnapshotFrame) {
        match frame {
            SnapshotFrame::Offer { transfer, term, meta } => self.offered(from, transfer, term, meta),
            SnapshotFrame::Chunk { transfer, offset, crc, data } => self.chunk(from, transfer, offset, crc, &data),
            SnapshotFrame::Accept { transfer, offset } => self.progress(from, transfer, offset, true),
            SnapshotFrame::Ack { transfer, offset } => self.progress(from, transfer, offset, false),
            SnapshotFrame::Done { transfer, installed } => {
                if self.outgoing.get(&transfer).is_some_and(|one| one.to == from) {
                    self.end(transfer, installed.map(|last| last.index));
                }
            }
        }
    }

    fn begin(&mut self, to: NodeId, at_least: Index, term: Term) {
        // A newer snapshot does not replace a transfer that is under way; one of an older term has no receiver any more.
        if self.outgoing.values().any(|one| one.to == to && one.term == term) {
            return;
        }
        self.outgoing.retain(|_, one| one.to != to);
        match self.open(at_least) {
            Ok((meta, reader)) => {
                self.last_id += 1;
                let now = self.now;
                let one = Outgoing {
                    to,
                    term,
                    meta,
                    reader,
                    acked: 0,
                    next: 0,
                    streaming: false,
                    moved: now,
                    patience: PATIENCE,
                    due: now,
                };
                let text = format!("sending the snapshot of {} ({} bytes) to node {to}", meta.last, meta.size);
                self.log_at(Level::Info, term, meta.last.index, text);
                self.outgoing.insert(self.last_id, one);
            }
            Err(error) => {
                self.log(Level::Error, format!("no snapshot can be sent to node {to}: {error}"));
                self.out.push(TransferAction::Sent { to, delivered: None });
            }
        }
    }

    fn open(&self, at_least: Index) -> Result<(SnapshotMeta, Box<dyn SnapshotReader>), StorageError> {
        let newest = self.store.latest()?.filter(|meta| meta.last.index >= at_least);
        let Some(meta) = newest else {
            return Err(StorageError::Inconsistent(format!("the store has none that covers entry {at_least}")));
        };
        let mut reader = self.store.open(&meta)?;
        // The file itself is what counts: a store need not know hash and size.
        let (head, _) = SnapshotHead::read(reader.as_mut())?;
        Ok((head.meta(), reader))
    }

    fn offer_again(&mut self) {
        let now = self.now;
        let due: Vec<u64> = self.outgoing.iter().filter(|(_, one)| one.due <= now).map(|(&id, _)| id).collect();
        for transfer in due {
            let Some(one) = self.outgoing.get_mut(&transfer) else { continue };
            if now.saturating_sub(one.moved) >= GIVE_UP {
                let to = one.to;
                self.log(Level::Warning, format!("node {to} does not take its snapshot"));
                self.end(transfer, None);
                continue;
            }
            one.streaming = false;
            one.due = now + one.patience;
            one.patience = (one.patience * 2).min(LONGEST_PATIENCE);
            let (to, offer) = (one.to, SnapshotFrame::Offer { transfer, term: one.term, meta: one.meta });
            self.send(to, offer);
        }
    }

    fn progress(&mut self, from: NodeId, transfer: u64, offset: u64, accepted: bool) {
        let Some(one) = self.outgoing.get_mut(&transfer) else { return };
        if one.to != from || offset > one.meta.size {
            return;
        }
        let now = self.now;
        if offset > one.acked {
            (one.moved, one.patience) = (now, PATIENCE);
        }
        // While it streams, an answer to an earlier offer says no more than an acknowledgement.
        if accepted && !one.streaming {
            one.streaming = true;
            one.acked = offset;
            one.next = offset;
        } else if offset > one.acked {
            one.acked = offset;
            one.next = one.next.max(offset);
        } else {
            return;
        }
        one.due = now + one.patience;
        self.pump(transfer);
    }

    /// Lets everybody go on who waits for the pace, in turn.
    fn pump_all(&mut self) {
        let behind = self.outgoing.range(self.served + 1..).chain(self.outgoing.range(..=self.served));
        let turn: Vec<u64> = behind.map(|(&transfer, _)| transfer).collect();
        for transfer in turn {
            self.pump(transfer);
        }
    }

    fn pump(&mut self, transfer: u64) {
        loop {
            let Some(one) = self.outgoing.get_mut(&transfer) else { return };
            if !one.streaming || one.next >= one.meta.size || one.next - one.acked >= WINDOW {
                return;
            }
            if !self.pace.allows(self.now) {
                // Nothing is lost: this waits for its turn.
                one.due = one.due.max(self.now + one.patience);
                return;
            }
            let (to, offset) = (one.to, one.next);
            match one.reader.read(offset, self.pace.chunk()) {
                Ok(data) if !data.is_empty() => {
                    self.pace.spend(self.now, data.len());
                    self.served = transfer;
                    one.next += data.len() as u64;
                    self.send(to, SnapshotFrame::Chunk { transfer, offset, crc: crc32c::crc32c(&data), data });
                }
                read => {
                    let why = read.err().map_or_else(|| "it is cut off".to_owned(), |error| error.to_string());
                    self.log(Level::Error, format!("a snapshot cannot be read: {why}"));
                    self.end(transfer, None);
                    return;
                }
            }
        }
    }

    fn end(&mut self, transfer: u64, delivered: Option<Index>) {
        if let Some(one) = self.outgoing.remove(&transfer) {
            self.out.push(TransferAction::Sent { to: one.to, delivered });
        }
    }

    /// A running transfer pins its file.
    fn retain(&mut self) {
        if self.tidy && self.outgoing.is_empty() {
            self.tidy = false;
            if let Err(error) = self.store.retain(1) {
                self.log(Level::Warning, format!("old snapshots cannot be removed: {error}"));
            }
        }
    }
}
