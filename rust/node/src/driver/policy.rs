//! When a snapshot is made, and what may be purged.

use std::collections::BTreeMap;

use d_engine_raft::{Index, LogId, Micros, NodeId, mutants};

use super::digest::Digest;
use super::types::{Action, Calls, DriverSettings, DriverStart, Failure};

/// A transfer, and the log that its receiver will need afterwards.
struct Pin {
    /// Entries behind it stay.
    index: Index,
    /// Bytes applied before it began.
    begun_at: u64,
    /// When it arrived.
    delivered: Option<Micros>,
}

struct Waiter<N> {
    caller: N,
    deadline: Option<Micros>,
    /// The snapshot that was being made when it came is too old for it.
    after: u64,
}

pub(super) struct Policy<N> {
    every_entries: u64,
    every_bytes: u64,
    trailing: u64,
    pin_bytes: u64,
    pin_grace: Micros,
    /// The newest snapshot.
    newest: Index,
    /// Where the last attempt was made: a failing one is not repeated at once.
    tried: Index,
    tried_bytes: u64,
    running: bool,
    /// Snapshots begun.
    begun: u64,
    /// Bytes applied.
    bytes: u64,
    purged: Index,
    pins: BTreeMap<NodeId, Pin>,
    waiters: Vec<Waiter<N>>,
}

impl<N> Policy<N> {
    pub(super) fn new(settings: &DriverSettings, start: &DriverStart) -> Self {
        let newest = start.snapshot.map_or(0, |last| last.index);
        Self {
            every_entries: settings.snapshot_every_entries,
            every_bytes: settings.snapshot_every_bytes,
            trailing: settings.trailing_entries,
            pin_bytes: settings.snapshot_pin_bytes,
            pin_grace: settings.pin_grace,
            newest,
            tried: newest,
            tried_bytes: 0,
            running: false,
            begun: 0,
            bytes: 0,
            purged: start.purged.index,
            pins: BTreeMap::new(),
            waiters: Vec::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        let waiters = self.waiters.iter().filter_map(|waiter| waiter.deadline);
        waiters.chain(self.grace_ends()).min()
    }

    /// Until when delivered snapshots keep the log behind them.
    fn grace_ends(&self) -> impl Iterator<Item = Micros> {
        self.pins.values().filter_map(|pin| pin.delivered).map(|at| at + self.pin_grace)
    }

    /// Whether something keeps the log that may not keep it any longer.
    pub(super) fn grace_is_over(&self, now: Micros) -> bool {
        self.grace_ends().any(|end| end <= now)
    }

    pub(super) fn applied<K: Calls<Snapshot = N>>(
        &mut self,
        last: LogId,
        bytes: u64,
        stopped: bool,
        out: &mut Vec<Action<K>>,
    ) {
        self.bytes += bytes;
        if !self.running && !stopped && self.due(last.index) {
            self.begin(last.index, out);
        }
    }

    const fn due(&self, applied: Index) -> bool {
        let entries = applied.saturating_sub(self.tried);
        self.every_entries > 0 && entries >= self.every_entries
            || self.every_bytes > 0 && self.bytes - self.tried_bytes >= self.every_bytes
    }

    fn begin<K: Calls<Snapshot = N>>(&mut self, applied: Index, out: &mut Vec<Action<K>>) {
        self.running = true;
        self.begun += 1;
        self.tried = applied;
        self.tried_bytes = self.bytes;
        out.push(Action::TakeSnapshot);
    }

    pub(super) fn wanted<K: Calls<Snapshot = N>>(
        &mut self,
        waiter: N,
        deadline: Option<Micros>,
        applied: Index,
        out: &mut Vec<Action<K>>,
    ) {
        if applied <= self.newest {
            out.push(Action::EndSnapshot { waiter, result: Ok(self.newest) });
            return;
        }
        self.waiters.push(Waiter { caller: waiter, deadline, after: self.begun });
        if !self.running {
            self.begin(applied, out);
        }
    }

    pub(super) fn taken<K: Calls<Snapshot = N>>(&mut self, last: LogId, applied: LogId, out: &mut Vec<Action<K>>) {
        self.newest = if mutants::on("27-policy-goes-back") { last.index } else { self.newest.max(last.index) };
        self.tried = self.tried.max(last.index);
        self.end(Ok(last.index), applied, out);
    }

    pub(super) fn failed<K: Calls<Snapshot = N>>(&mut self, applied: LogId, out: &mut Vec<Action<K>>) {
        self.end(Err(Failure::SnapshotFailed), applied, out);
    }

    fn end<K: Calls<Snapshot = N>>(
        &mut self,
        result: Result<Index, Failure>,
        applied: LogId,
        out: &mut Vec<Action<K>>,
    ) {
        self.running = false;
        let begun = self.begun;
        let served = self.waiters.extract_if(.., |waiter| waiter.after < begun);
        out.extend(served.map(|waiter| Action::EndSnapshot { waiter: waiter.caller, result }));
        // What was applied meanwhile may be enough for the next one, and nothing more may come.
        if !self.waiters.is_empty() || self.due(applied.index) {
            self.begin(applied.index, out);
        }
    }

    pub(super) fn fail_waiting<K: Calls<Snapshot = N>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        let waiters = self.waiters.drain(..);
        out.extend(waiters.map(|waiter| Action::EndSnapshot { waiter: waiter.caller, result: Err(*failure) }));
    }

    pub(super) fn expire<K: Calls<Snapshot = N>>(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        let due = |waiter: &mut Waiter<N>| waiter.deadline.is_some_and(|deadline| deadline <= now);
        let late = self.waiters.extract_if(.., due);
        out.extend(late.map(|waiter| Action::EndSnapshot { waiter: waiter.caller, result: Err(Failure::Deadline) }));
    }

    /// A received snapshot replaces what is here, the log included.
    pub(super) fn restored(&mut self, last: LogId) {
        self.newest = self.newest.max(last.index);
        self.tried = self.tried.max(last.index);
        self.tried_bytes = self.bytes;
        self.purged = self.purged.max(last.index);
    }

    pub(super) fn sending(&mut self, to: NodeId, at_least: Index) {
        // The store may hold a newer one than `newest` says for a moment; the pin is then stricter than needed.
        let index = self.newest.max(at_least);
        self.pins.insert(to, Pin { index, begun_at: self.bytes, delivered: None });
    }

    pub(super) fn sent(&mut self, now: Micros, to: NodeId, delivered: Option<Index>) {
        match (delivered, self.pins.get_mut(&to)) {
            (Some(_), Some(pin)) => pin.delivered = Some(now),
            (None, Some(_)) => {
                self.pins.remove(&to);
            }
            (_, None) => {}
        }
    }

    /// Up to where the log is not needed any more, if that is further than before.
    pub(super) fn purge(&mut self, now: Micros, matched: impl Fn(NodeId) -> Option<Index>) -> Option<Index> {
        let covered = if mutants::on("29-purged-early") { self.tried } else { self.newest };
        let wish = covered.saturating_sub(self.trailing);
        let (bytes, bound, grace) = (self.bytes, self.pin_bytes, self.pin_grace);
        self.pins.retain(|&node, pin| {
            let within = bytes - pin.begun_at <= bound;
            let needed =
                pin.delivered.is_none_or(|at| now < at + grace && matched(node).is_some_and(|matched| matched < wish));
            within && needed && !mutants::on("30-purged-under-a-transfer")
        });
        let upto = self.pins.values().map(|pin| pin.index).fold(wish, Index::min);
        if upto <= self.purged {
            return None;
        }
        self.purged = upto;
        Some(upto)
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.number(self.newest);
        out.number(self.tried);
        out.number(self.tried_bytes);
        out.flag(self.running);
        out.number(self.begun);
        out.number(self.bytes);
        out.number(self.purged);
        out.list(self.pins.iter(), |out, (&node, pin)| {
            out.number(node);
            out.number(pin.index);
            out.number(pin.begun_at);
            out.maybe(pin.delivered);
        });
        out.list(self.waiters.iter(), |out, waiter| {
            out.maybe(waiter.deadline);
            out.number(waiter.after);
        });
    }
}
