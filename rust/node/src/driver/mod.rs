//! Decides what waits for what, without threads, clocks or I/O: inputs in, actions out, the same for the same inputs.
//!
//! A runtime hands in everything that happened since its last turn, each with `handle`, then calls `flush` once: proposals and
//! reads that came together make one step of the core each, and what is due fires after what was queued. Actions are carried
//! out in their order and never waited for.

mod changes;
mod close;
mod core;
mod digest;
mod effects;
mod policy;
mod proposals;
mod reads;
mod sessions;
mod transfers;
mod types;

use std::collections::BTreeMap;

use d_engine_raft::{Effect, Index, Input, LogId, Micros, NodeId, RequestId, Role, Term, WallMicros, mutants};

use changes::Changes;
use close::Closing;
use policy::Policy;
use proposals::Proposals;
use reads::Reads;
use transfers::Transfers;

pub use sessions::{Limits, SessionId, Sessions, Verdict};
pub use types::{
    Action, Calls, Consistency, DriverInput, DriverSettings, DriverStart, Failure, Piece, Raft, Unknown, Wanted,
};

/// A core with everything that a node decides around it.
pub struct Driver<C, K: Calls> {
    core: C,
    settings: DriverSettings,
    proposals: Proposals<K::Proposal>,
    reads: Reads<K::Read>,
    policy: Policy<K::Snapshot>,
    changes: Changes<K::Change>,
    transfers: Transfers<K::Transfer>,
    closing: Closing,
    effects: Vec<Effect>,
    last_id: RequestId,
    /// The last index given out in an `Apply`, or covered by a `Restore`.
    handed: Index,
    /// What the state machine has reported.
    applied: LogId,
    apply_stopped: bool,
    failed: bool,
    /// This node is no member any more.
    removed: bool,
}

impl<C: Raft, K: Calls> Driver<C, K> {
    /// Around a core that was just made.
    pub fn new(core: C, settings: DriverSettings, start: &DriverStart) -> Self {
        let policy = Policy::new(&settings, start);
        Self {
            core,
            settings,
            proposals: Proposals::default(),
            reads: Reads::default(),
            policy,
            changes: Changes::default(),
            transfers: Transfers::default(),
            closing: Closing::default(),
            effects: Vec::new(),
            last_id: start.ids_after,
            handed: start.applied.index,
            applied: start.applied,
            apply_stopped: false,
            failed: false,
            removed: false,
        }
    }

    /// The core, for looking.
    pub const fn core(&self) -> &C {
        &self.core
    }

    /// The last entry that the state machine has applied.
    pub const fn applied(&self) -> LogId {
        self.applied
    }

    /// A leader is known, and an entry of its term is applied here.
    pub fn ready(&self) -> bool {
        self.core.leader().is_some() && self.applied.term == self.core.term()
    }

    /// Whether nothing is left to do.
    pub const fn closed(&self) -> bool {
        self.closing.done()
    }

    /// Calls that wait in here.
    pub fn waiting(&self) -> usize {
        self.proposals.len() + self.reads.len() + self.changes.len() + self.transfers.len()
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Micros, wall: WallMicros, input: DriverInput<K>, out: &mut Vec<Action<K>>) {
        match input {
            DriverInput::Message(message) => self.step(now, Input::Message { wall, message }, out),
            DriverInput::Propose { draft, waiter, deadline } => {
                if let Some(failure) = self.refuses() {
                    out.push(Action::FailProposal { id: None, waiter, failure });
                } else {
                    self.proposals.hold(now, self.applying(), draft, waiter, deadline);
                }
            }
            DriverInput::Read { waiter, consistency: Consistency::Eventual, .. } => {
                out.push(Action::Query { waiter, index: 0 });
            }
            DriverInput::Read { waiter, deadline, consistency } => {
                if let Some(failure) = self.refuses() {
                    out.push(Action::FailRead { waiter, failure });
                } else {
                    self.reads.wait(waiter, deadline, consistency == Consistency::Lease);
                }
            }
            DriverInput::Change { changes, waiter, deadline } => {
                if let Some(failure) = self.refuses() {
                    out.push(Action::EndChange { waiter, result: Err(failure) });
                } else {
                    self.changes.hold(changes, waiter, deadline);
                }
            }
            DriverInput::Transfer { to, waiter, deadline } => self.transfer(now, to, waiter, deadline, out),
            DriverInput::Snapshot { waiter, deadline, applied } => {
                if self.closing.refuses() {
                    out.push(Action::EndSnapshot { waiter, result: Err(Failure::Closed) });
                } else {
                    self.policy.wanted(waiter, deadline, applied.max(self.applied.index), out);
                }
            }
            DriverInput::Persisted(token) => self.step(now, Input::Persisted(token), out),
            DriverInput::PersistFailed(token) => {
                self.failed = true;
                self.step(now, Input::PersistFailed(token), out);
            }
            DriverInput::Fetched { id, entries } => self.step(now, Input::Fetched { id, entries }, out),
            DriverInput::Applied { last, bytes } => {
                self.applied = last;
                self.policy.applied(last, bytes, self.apply_stopped, out);
                self.step(now, Input::Applied(last.index), out);
            }
            DriverInput::ApplyStopped => self.stop_applying(now, out),
            DriverInput::SnapshotTaken(last) => {
                self.policy.taken(last, self.applied, out);
                self.step(now, Input::SnapshotTaken(last), out);
                self.purge(now, out);
            }
            DriverInput::SnapshotFailed => self.policy.failed(self.applied, out),
            DriverInput::SnapshotReceived { from, term, last, time, configuration } => {
                self.step(now, Input::SnapshotReceived { from, term, last, time, configuration }, out);
            }
            DriverInput::SnapshotSent { to, delivered } => {
                self.policy.sent(now, to, delivered);
                self.step(now, Input::SnapshotSent { to, delivered }, out);
                self.purge(now, out);
            }
            DriverInput::Unreachable(node) => self.step(now, Input::Unreachable(node), out),
            DriverInput::Close { handover, drain_until } => {
                self.closing.begin(handover, drain_until);
                self.proposals.fail_held(&Failure::Closed, out);
                self.reads.fail_waiting(&Failure::Closed, out);
                self.policy.fail_waiting(&Failure::Closed, out);
                self.changes.fail_held(&Failure::Closed, out);
            }
        }
    }

    /// Why nothing new is taken in, if so.
    fn refuses(&self) -> Option<Failure> {
        match (self.closing.refuses(), self.removed) {
            (true, _) => Some(Failure::Closed),
            (false, true) => Some(Failure::Removed),
            (false, false) => None,
        }
    }

    /// Ends a turn: steps what has been collected, then fires what is due.
    pub fn flush(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<K>>) {
        self.ask(now, wall, out);
        if self.core.deadline().is_some_and(|due| due <= now) {
            self.step(now, Input::Time { wall }, out);
            // A timer may have made this node a leader, and what waits for one must not wait for the next wake-up.
            self.ask(now, wall, out);
        }
        self.expire(now, out);
        self.close_when_drained(now, out);
    }

    fn ask(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<K>>) {
        self.propose(now, wall, out);
        self.ask_changes(now, wall, out);
        self.ask_reads(now, false, out);
        self.ask_reads(now, true, out);
    }

    /// When `flush` must be called at the latest.
    pub fn deadline(&self) -> Option<Micros> {
        let own = [
            self.core.deadline(),
            self.proposals.deadline(self.core.leader().is_some() && !self.giving_away(), self.applying()),
            self.reads.deadline(self.core.leader().is_some()),
            self.policy.deadline(),
            self.changes.deadline(self.core.leader().is_some()),
            self.transfers.deadline(),
            self.closing.deadline(),
        ];
        own.into_iter().flatten().min()
    }

    /// Entries that the state machine was given and has not reported.
    const fn applying(&self) -> u64 {
        self.handed.saturating_sub(self.applied.index)
    }

    fn next_id(&mut self) -> RequestId {
        if !mutants::on("13-same-id") || self.last_id == 0 {
            self.last_id += 1;
        }
        self.last_id
    }

    fn propose(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<K>>) {
        if !self.proposals.can_ask(now, self.applying()) {
            return;
        }
        let Some(leader) = self.core.leader() else { return };
        let here = leader == self.settings.id;
        if self.giving_away() {
            // It would be refused; who leads then takes it.
            return;
        }
        if self.apply_stopped && here {
            // Its own result could never be given; the core refuses for everybody else by itself.
            self.proposals.fail_held(&Failure::ApplyStopped, out);
            return;
        }
        if !here && !self.settings.forward {
            self.proposals.fail_held(&Failure::NotLeader { leader: Some(leader), term: self.core.term() }, out);
            return;
        }
        let limit = if here { usize::MAX } else { self.settings.max_forward_bytes };
        let mut last_id = self.last_id;
        let batches = self.proposals.ask(&mut last_id, here, limit, out);
        self.last_id = last_id;
        if !batches.is_empty() {
            self.step(now, Input::Propose { wall, batches }, out);
        }
    }

    /// The user gives leadership away just now.
    fn giving_away(&self) -> bool {
        self.transfers.len() > 0 && self.core.leader() == Some(self.settings.id)
    }

    fn ask_changes(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<K>>) {
        while self.changes.can_ask(now) {
            let Some(leader) = self.core.leader() else { return };
            if self.apply_stopped {
                // Nobody here would see the change through.
                return self.changes.fail_held(&Failure::ApplyStopped, out);
            }
            if leader != self.settings.id && !self.settings.forward {
                let failure = Failure::NotLeader { leader: Some(leader), term: self.core.term() };
                return self.changes.fail_held(&failure, out);
            }
            let id = self.next_id();
            let Some(changes) = self.changes.ask(id) else { return };
            self.step(now, Input::Change { wall, id, changes }, out);
        }
    }

    fn transfer(
        &mut self,
        now: Micros,
        to: Option<NodeId>,
        waiter: K::Transfer,
        deadline: Option<Micros>,
        out: &mut Vec<Action<K>>,
    ) {
        if let Some(failure) = self.refuses() {
            out.push(Action::EndTransfer { waiter, result: Err(failure) });
        } else if to == Some(self.settings.id) && self.core.leader() == to {
            out.push(Action::EndTransfer { waiter, result: Ok(self.settings.id) });
        } else {
            let id = self.next_id();
            self.transfers.ask(id, waiter, deadline);
            self.step(now, Input::Transfer { id, to }, out);
        }
    }

    fn ask_reads(&mut self, now: Micros, lease: bool, out: &mut Vec<Action<K>>) {
        if self.core.leader().is_some() && self.reads.can_ask(now, lease) {
            let id = self.next_id();
            self.reads.ask(id, lease, now + self.settings.read_retry);
            out.push(Action::ReadRound);
            self.step(now, Input::Read { id, lease }, out);
        }
    }

    fn expire(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        self.proposals.expire(now, self.core.term(), out);
        self.reads.expire(now, out);
        self.policy.expire(now, out);
        self.changes.expire(now, self.core.term(), out);
        self.transfers.expire(now, out);
        if self.policy.grace_is_over(now) {
            self.purge(now, out);
        }
    }

    fn stop_applying(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        self.apply_stopped = true;
        if !mutants::on("41-waiters-forgotten") {
            self.proposals.fail_placed(&Failure::ApplyStopped, out);
        }
        self.policy.fail_waiting(&Failure::ApplyStopped, out);
        self.changes.fail_placed(&Failure::ApplyStopped, out);
        // The apply thread knows how far it came, and answers each by that.
        self.reads.release_all(out);
        self.step(now, Input::ApplyStopped, out);
    }

    fn purge(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        let core = &self.core;
        if let Some(upto) = self.policy.purge(now, |node| core.matched(node)) {
            self.step(now, Input::Purge { upto }, out);
        }
    }

    /// What this node is, its term, and whom it follows.
    pub fn position(&self) -> (Role, Term, Option<NodeId>) {
        (self.core.role(), self.core.term(), self.core.leader())
    }
}

/// Removes and returns, in order, the values that `which` picks.
fn take_if<I: Copy + Ord, V>(map: &mut BTreeMap<I, V>, which: impl Fn(&V) -> bool) -> Vec<(I, V)> {
    let keys: Vec<I> = map.iter().filter(|(_, value)| which(value)).map(|(&key, _)| key).collect();
    keys.into_iter().filter_map(|key| map.remove(&key).map(|value| (key, value))).collect()
}
