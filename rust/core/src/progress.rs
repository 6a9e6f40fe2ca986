//! What a leader knows of one follower, and how much it has in flight to it.

use std::collections::VecDeque;

use crate::mutants;
use crate::raft::Digest;
use crate::types::{FetchId, Incarnation, Index, Micros};

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It is not known where its log and ours part: one message at a time.
    Probe {
        /// One is under way, so wait for its answer.
        waiting: bool,
    },
    /// Its log matches ours: messages follow each other without waiting, within the window.
    Replicate,
    /// It needs entries that are purged: a snapshot is under way.
    Snapshot,
}

/// Bounds on what is in flight to one follower.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Append messages.
    pub messages: usize,
    /// Bytes of records.
    pub bytes: usize,
}

/// A node that is no member any more, and shall hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The configuration without it.
    pub index: Index,
    /// After this nobody waits for it.
    pub until: Micros,
    /// The round that told it that this configuration is committed.
    pub told: Option<u64>,
}

/// A learner on its way to be a voter (thesis 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// What it must hold to end this round: the end of the log when the round began.
    pub target: Index,
    /// When the round began.
    pub since: Micros,
    /// Which round this is, from 1 on.
    pub rounds: u64,
}

/// A leader's view of one follower.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The data directory that all of this is about. What is not recorded in the configuration does not count.
    pub known: Option<Incarnation>,
    /// It holds our log, durably, up to here.
    pub matched: Index,
    /// The first entry to send next.
    pub next: Index,
    /// How entries are sent.
    pub flow: Flow,
    /// The newest heartbeat round it has answered.
    pub round: u64,
    /// When it last answered anything in this term; `None`: not yet.
    pub heard: Option<Micros>,
    /// Its state machine has stopped on an error.
    pub apply_stopped: bool,
    /// The newest commit index that it was told.
    pub commit_told: Index,
    /// It has a user who waits for this index: tell it of the commit at once.
    pub awaited: Index,
    /// A log read on its behalf.
    pub fetch: Option<FetchId>,
    /// The end of its log in its heartbeat replies, and since when, while something sent is not acknowledged.
    quiet: Option<(Index, Micros)>,
    /// The transport has lost it, and it has not been heard since.
    unreachable: bool,
    inflight: VecDeque<(Index, usize)>,
    inflight_bytes: usize,
    /// It is no member any more.
    pub leaving: Option<Leaving>,
    /// Its round of catching up.
    pub catch_up: Option<CatchUp>,
    /// Before this moment no round of catching up begins.
    pub pause_until: Micros,
}

impl Progress {
    /// A follower of a leader that has just been elected.
    #[must_use]
    pub const fn new(next: Index, known: Option<Incarnation>) -> Self {
        Self {
            known,
            matched: 0,
            next,
            flow: Flow::Probe { waiting: false },
            round: 0,
            heard: None,
            apply_stopped: false,
            commit_told: 0,
            awaited: 0,
            fetch: None,
            quiet: None,
            unreachable: false,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            leaving: None,
            catch_up: None,
            pause_until: 0,
        }
    }

    /// What it holds, as far as that counts in a quorum.
    #[must_use]
    pub fn counted_match(&self) -> Index {
        if self.known.is_some() || mutants::on("26-unrecorded-counts") { self.matched } else { 0 }
    }

    /// The round it has answered, as far as that counts in a quorum.
    #[must_use]
    pub fn counted_round(&self) -> u64 {
        if self.known.is_some() { self.round } else { 0 }
    }

    /// Whether another append may leave now.
    #[must_use]
    pub fn ready(&self, window: Window) -> bool {
        self.fetch.is_none()
            && match self.flow {
                Flow::Probe { waiting } => !waiting,
                Flow::Replicate if mutants::on("46-no-window") => true,
                Flow::Replicate => self.inflight.len() < window.messages && self.inflight_bytes < window.bytes,
                Flow::Snapshot => false,
            }
    }

    /// An append that ends at `last` has left.
    pub fn sent(&mut self, last: Index, bytes: usize) {
        match &mut self.flow {
            Flow::Probe { waiting } => *waiting = true,
            Flow::Replicate if last >= self.next => {
                self.next = last + 1;
                self.inflight.push_back((last, bytes));
                self.inflight_bytes += bytes;
            }
            Flow::Replicate | Flow::Snapshot => {}
        }
    }

    /// It holds our log up to `matched`. Says whether that is news.
    pub fn accepted(&mut self, matched: Index) -> bool {
        while let Some(&(last, bytes)) = self.inflight.front() {
            if last > matched {
                break;
            }
            self.inflight.pop_front();
            self.inflight_bytes -= bytes;
        }
        self.quiet = None;
        // Never backwards: an old answer may come late (CCF #5324).
        let news = matched > self.matched;
        self.matched = if mutants::on("07-match-back") { matched } else { self.matched.max(matched) };
        self.next = self.next.max(self.matched + 1);
        match self.flow {
            Flow::Probe { .. } => {
                // What it confirmed is our log up to `matched`, so whatever was guessed beyond can be forgotten.
                self.next = self.matched + 1;
                self.flow = Flow::Replicate;
            }
            Flow::Snapshot if news => self.probe(self.matched + 1),
            Flow::Replicate | Flow::Snapshot => {}
        }
        news
    }

    /// It does not hold what stands at `prev`; `retry` is the newest position where the logs can still agree.
    pub fn rejected(&mut self, prev: Index, retry: Index) -> bool {
        let stale = match self.flow {
            // An answer to something older than what it has confirmed since.
            Flow::Replicate => prev <= self.matched,
            // Only the answer to the one probe under way counts.
            Flow::Probe { .. } => prev + 1 != self.next,
            Flow::Snapshot => true,
        };
        if stale {
            return false;
        }
        self.probe(retry.min(prev.saturating_sub(1)).max(self.matched) + 1);
        true
    }

    /// Back to one message at a time, from `next`.
    pub fn probe(&mut self, next: Index) {
        self.flow = Flow::Probe { waiting: false };
        self.next = next.max(self.matched + 1);
        self.fetch = None;
        self.quiet = None;
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// Its entries are purged here.
    pub fn needs_snapshot(&mut self) {
        self.probe(self.next);
        self.flow = Flow::Snapshot;
    }

    /// What is in flight is lost. Nothing more is sent until it answers a heartbeat.
    pub fn lost(&mut self) {
        if self.flow != Flow::Snapshot {
            self.probe(self.matched + 1);
            self.flow = Flow::Probe { waiting: true };
        }
        self.unreachable = true;
    }

    /// Sending it a snapshot has ended. One that arrived is followed by the log; else the next heartbeats decide.
    pub fn snapshot_ended(&mut self, delivered: Option<Index>) {
        if self.flow == Flow::Snapshot {
            self.probe(delivered.map_or(self.next, |index| index + 1));
            self.flow = Flow::Probe { waiting: delivered.is_none() };
        }
    }

    /// Its log ends at `end`, says a heartbeat reply. If nothing has come of what was sent for `patience`, it was lost:
    /// heartbeats may overtake appends, but not for so long. `true`: the log is there, so the answer was lost (or waits
    /// for its disk); an append without entries asks for it again.
    pub fn heard_end(&mut self, end: Index, now: Micros, patience: Micros) -> bool {
        if std::mem::take(&mut self.unreachable) && self.flow != Flow::Snapshot {
            self.probe(self.matched + 1);
            return false;
        }
        let waits = match self.flow {
            Flow::Replicate => self.next > self.matched + 1,
            Flow::Probe { waiting } => waiting,
            Flow::Snapshot => false,
        };
        match self.quiet.filter(|&(before, _)| waits && before == end) {
            None => self.quiet = waits.then_some((end, now)),
            Some((_, since)) if now < since + patience => {}
            Some(_) if self.flow == Flow::Replicate && end + 1 >= self.next => {
                self.quiet = Some((end, now));
                return true;
            }
            Some(_) => self.probe(self.matched.max(end.min(self.next - 1)) + 1),
        }
        false
    }

    /// All of it, in the order of the fields.
    pub(crate) fn digest(&self, out: &mut Digest) {
        out.option(self.known, Digest::incarnation);
        out.number(self.matched);
        out.number(self.next);
        out.number(match self.flow {
            Flow::Probe { waiting: false } => 0,
            Flow::Probe { waiting: true } => 1,
            Flow::Replicate => 2,
            Flow::Snapshot => 3,
        });
        out.number(self.round);
        out.maybe(self.heard);
        out.flag(self.apply_stopped);
        out.number(self.commit_told);
        out.number(self.awaited);
        out.maybe(self.fetch);
        out.option(self.quiet, |out, (end, since)| {
            out.number(end);
            out.number(since);
        });
        out.flag(self.unreachable);
        out.list(self.inflight.iter(), |out, &(last, bytes)| {
            out.number(last);
            out.size(bytes);
        });
        out.option(self.leaving, |out, leaving| {
            out.number(leaving.index);
            out.number(leaving.until);
            out.maybe(leaving.told);
        });
        out.option(self.catch_up, |out, catch_up| {
            out.number(catch_up.target);
            out.number(catch_up.since);
            out.number(catch_up.rounds);
        });
        out.number(self.pause_until);
    }

    /// Append messages under way.
    #[must_use]
    pub fn inflight(&self) -> usize {
        self.inflight.len()
    }
}
