//! The transfer thread: snapshots to followers, and one from a leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use d_engine_raft::{Index, NodeId, Term};

use super::Queue;
use super::inbox::{Inbox, Item};
use super::pace::Pace;
use super::receive::Incoming;
use super::shared::Shared;
use crate::driver::DriverInput;
use crate::error::StorageError;
use crate::metrics::add;
use crate::snapshot::SnapshotHead;
use crate::traits::{
    Frame, Lane, Level, PROTOCOL_VERSION, Payload, SnapshotFrame, SnapshotMeta, SnapshotReader, SnapshotStore,
    StateMachine,
};

/// One thing for the transfer thread.
pub enum TransferInput {
    /// Send the newest snapshot.
    Send { to: NodeId, at_least: Index, term: Term },
    /// A frame came.
    Frame(NodeId, SnapshotFrame),
    /// A snapshot was committed: older ones may go.
    Tidy,
}

pub const CHUNK_BYTES: usize = 256 << 10;
/// Bytes under way to one follower.
const WINDOW: u64 = 4 * CHUNK_BYTES as u64;
/// Without progress for so long, the snapshot is offered again: what was under way may be lost. The offer comes behind it, so
/// that the answer says exactly where to go on; nothing that arrived is sent again. Each offer that is not answered doubles it.
const PATIENCE: Duration = Duration::from_millis(250);
const LONGEST_PATIENCE: Duration = Duration::from_secs(2);
/// Without progress for so long, the transfer is given up; the core asks for another when the follower is heard.
const GIVE_UP: Duration = Duration::from_secs(10);

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
    moved: Instant,
    patience: Duration,
    due: Instant,
}

/// The thread's state.
pub struct Transfers<S: StateMachine> {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<S>>,
    pub(super) store: Arc<dyn SnapshotStore>,
    pub(super) incoming: Option<Incoming>,
    queue: Arc<Queue<TransferInput>>,
    outgoing: BTreeMap<u64, Outgoing>,
    pace: Pace,
    /// The transfer that sent last.
    served: u64,
    last_id: u64,
    tidy: bool,
}

impl<S: StateMachine> Transfers<S> {
    pub fn new(
        shared: Arc<Shared>,
        inbox: Arc<Inbox<S>>,
        store: Arc<dyn SnapshotStore>,
        queue: Arc<Queue<TransferInput>>,
    ) -> Self {
        // Numbers differ from those before a restart, so that a late answer is not taken for a new one.
        let last_id = super::clock::wall();
        let pace = Pace::new(shared.config.snapshot_bytes_per_second);
        Self {
            shared,
            inbox,
            store,
            incoming: None,
            queue,
            outgoing: BTreeMap::new(),
            pace,
            served: 0,
            last_id,
            tidy: false,
        }
    }

    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            let due = self.outgoing.values().map(|one| one.due).chain(self.pace.waits()).min();
            let limit = due.map(|due| due.saturating_duration_since(now));
            let input = if limit == Some(Duration::ZERO) { None } else { self.queue.pop(limit) };
            if self.shared.is_stopped() || self.queue.closed() {
                return;
            }
            match input {
                Some(TransferInput::Send { to, at_least, term }) => self.begin(to, at_least, term),
                Some(TransferInput::Frame(from, frame)) => self.frame(from, frame),
                Some(TransferInput::Tidy) => self.tidy = true,
                None => {}
            }
            if self.pace.is_due() {
                self.pump_all();
            }
            self.offer_again();
            self.retain();
        }
    }

    pub(super) fn send(&self, to: NodeId, frame: SnapshotFrame) {
        let hello = &self.shared.hello;
        if let SnapshotFrame::Chunk { data, .. } = &frame {
            add(&self.shared.counters.bytes_sent, data.len() as u64);
            add(&self.shared.counters.bytes_sent_bulk, data.len() as u64);
        }
        let frame = Frame {
            cluster_id: hello.cluster_id,
            group: hello.group,
            recovery_epoch: hello.recovery_epoch,
            version: PROTOCOL_VERSION,
            from: hello.node,
            incarnation: hello.incarnation,
            to,
            lane: Lane::Bulk,
            payload: Payload::Snapshot(frame),
        };
        drop(self.inbox.push(Item::Send(vec![frame])));
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
                let now = Instant::now();
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
                self.shared.record_at(Level::Info, "snapshot", Some(term), Some(meta.last.index), || {
                    format!("sending the snapshot of {} ({} bytes) to node {to}", meta.last, meta.size)
                });
                self.outgoing.insert(self.last_id, one);
            }
            Err(error) => {
                self.shared
                    .record(Level::Error, "snapshot", || format!("no snapshot can be sent to node {to}: {error}"));
                self.inbox.report(DriverInput::SnapshotSent { to, delivered: None });
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
        let now = Instant::now();
        let due: Vec<u64> = self.outgoing.iter().filter(|(_, one)| one.due <= now).map(|(&id, _)| id).collect();
        for transfer in due {
            let Some(one) = self.outgoing.get_mut(&transfer) else { continue };
            if now.saturating_duration_since(one.moved) >= GIVE_UP {
                let to = one.to;
                self.shared.record(Level::Warning, "snapshot", || format!("node {to} does not take its snapshot"));
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
        let now = Instant::now();
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
            if !self.pace.allows() {
                // Nothing is lost: this waits for its turn.
                one.due = one.due.max(Instant::now() + one.patience);
                return;
            }
            let (to, offset) = (one.to, one.next);
            match one.reader.read(offset, self.pace.chunk()) {
                Ok(data) if !data.is_empty() => {
                    self.pace.spend(data.len());
                    self.served = transfer;
                    one.next += data.len() as u64;
                    self.send(to, SnapshotFrame::Chunk { transfer, offset, crc: crc32c::crc32c(&data), data });
                }
                read => {
                    let why = read.err().map_or_else(|| "it is cut off".to_owned(), |error| error.to_string());
                    self.shared.record(Level::Error, "snapshot", || format!("a snapshot cannot be read: {why}"));
                    self.end(transfer, None);
                    return;
                }
            }
        }
    }

    fn end(&mut self, transfer: u64, delivered: Option<Index>) {
        if let Some(one) = self.outgoing.remove(&transfer) {
            if delivered.is_some() {
                add(&self.shared.counters.snapshots_sent, 1);
            }
            self.inbox.report(DriverInput::SnapshotSent { to: one.to, delivered });
        }
    }

    /// A running transfer pins its file.
    fn retain(&mut self) {
        if self.tidy && self.outgoing.is_empty() {
            self.tidy = false;
            if let Err(error) = self.store.retain(1) {
                self.shared.record(Level::Warning, "snapshot", || format!("old snapshots cannot be removed: {error}"));
            }
        }
    }
}
