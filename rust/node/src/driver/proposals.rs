//! Proposals on their way: held until a leader is known, asked for, placed in the log, handed out with their entries.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use d_engine_raft::{Draft, Entry, Index, LogId, Micros, NodeId, Refusal, RequestId, Term};

use super::digest::Digest;
use super::take_if;
use super::types::{Action, Calls, Failure, Piece, Unknown, Wanted};

/// Not stepped yet: certainly not in any log.
struct Held<P> {
    draft: Draft,
    waiter: P,
    deadline: Option<Micros>,
}

/// Stepped, and no answer yet.
struct Asked<P> {
    /// Only of what may be passed on: what a leader certainly refused can be asked again.
    copy: Option<Bytes>,
    entries: usize,
    /// To whom, and in which term.
    forwarded: Option<(NodeId, Term)>,
    waiter: P,
    deadline: Option<Micros>,
}

/// In the log, at the place of its key.
struct Placed<P> {
    id: RequestId,
    end: Index,
    /// Pieces have gone out.
    begun: bool,
    waiter: P,
    deadline: Option<Micros>,
}

pub(super) struct Proposals<P> {
    held: VecDeque<Held<P>>,
    /// Entries in `held`, and until when more may join them.
    held_entries: usize,
    gather_until: Micros,
    /// When the newest in `held` came.
    last_came: Micros,
    asked: BTreeMap<RequestId, Asked<P>>,
    placed: BTreeMap<(Index, Term), Placed<P>>,
    /// No asking before that, after a refusal.
    paused_until: Micros,
    /// No deadline is before that. A scan at the earliest one is cheaper than an ordered set, because most end in time.
    earliest: Micros,
}

impl<P> Default for Proposals<P> {
    fn default() -> Self {
        Self {
            held: VecDeque::new(),
            held_entries: 0,
            gather_until: 0,
            last_came: 0,
            asked: BTreeMap::new(),
            placed: BTreeMap::new(),
            paused_until: 0,
            earliest: Micros::MAX,
        }
    }
}

/// With that many entries under way, what comes is gathered: one batch for what would have been several, in the log, on the
/// way to the followers and in their logs. Whoever is alone, or nearly so, waits for nothing.
const BUSY_ENTRIES: u64 = 32;
/// Gathering ends with so many entries,
const GATHERED_ENTRIES: usize = 256;
/// or after so long,
const GATHER_SPAN: Micros = 4_000;
/// or, when those before them are through, with so many,
const GATHERED_IDLE: usize = 96;
/// or as soon as nothing has come for so long: callers who wait for each other's results all stand here by then.
const GATHER_PAUSE: Micros = 250;

/// Scans for what has expired come at least this far apart.
const SCAN_INTERVAL: Micros = 10_000;

impl<P> Proposals<P> {
    pub(super) fn len(&self) -> usize {
        self.held.len() + self.asked.len() + self.placed.len()
    }

    /// `applying`: entries that the state machine was given and has not reported.
    pub(super) fn hold(&mut self, now: Micros, applying: u64, draft: Draft, waiter: P, deadline: Option<Micros>) {
        if self.held.is_empty() {
            let busy = self.under_way(applying) >= BUSY_ENTRIES;
            (self.held_entries, self.gather_until) = (0, if busy { now + GATHER_SPAN } else { now });
        }
        self.held_entries += draft.len();
        self.last_came = now;
        self.earliest = self.earliest.min(deadline.unwrap_or(Micros::MAX));
        self.held.push_back(Held { draft, waiter, deadline });
    }

    fn under_way(&self, applying: u64) -> u64 {
        applying + (self.asked.len() + self.placed.len()) as u64
    }

    pub(super) fn can_ask(&self, now: Micros, applying: u64) -> bool {
        !self.held.is_empty() && now >= self.paused_until && now >= self.gathered_at(applying)
    }

    /// When gathering ends, as far as can be told now.
    fn gathered_at(&self, applying: u64) -> Micros {
        let idle = self.under_way(applying) < BUSY_ENTRIES;
        let enough = if idle { GATHERED_IDLE } else { GATHERED_ENTRIES };
        match (self.held_entries >= enough, idle) {
            (true, _) => 0,
            (false, true) => self.gather_until.min(self.last_came + GATHER_PAUSE),
            (false, false) => self.gather_until,
        }
    }

    pub(super) fn leader_changed(&mut self, term: Term, answer_by: Micros) {
        self.paused_until = 0;
        for asked in self.asked.values_mut().filter(|asked| asked.forwarded.is_some_and(|(_, before)| before < term)) {
            asked.deadline = Some(asked.deadline.map_or(answer_by, |deadline| deadline.min(answer_by)));
            self.earliest = self.earliest.min(answer_by);
        }
    }

    /// This node is no member any more: what it waits for comes soon, if at all.
    pub(super) fn removed(&mut self, answer_by: Micros) {
        let asked = self.asked.values_mut().map(|one| &mut one.deadline);
        for deadline in asked.chain(self.placed.values_mut().map(|one| &mut one.deadline)) {
            *deadline = Some(deadline.map_or(answer_by, |deadline| deadline.min(answer_by)));
            self.earliest = self.earliest.min(answer_by);
        }
    }

    pub(super) fn deadline(&self, leader_known: bool, applying: u64) -> Option<Micros> {
        let asking = leader_known && !self.held.is_empty();
        let retry = asking.then(|| self.paused_until.max(self.gathered_at(applying)));
        [retry, (self.earliest != Micros::MAX).then_some(self.earliest)].into_iter().flatten().min()
    }

    /// Everything that is held, as batches for one step.
    pub(super) fn ask<K: Calls<Proposal = P>>(
        &mut self,
        last_id: &mut RequestId,
        here: bool,
        limit: usize,
        out: &mut Vec<Action<K>>,
    ) -> Vec<(RequestId, Draft)> {
        let mut batches = Vec::with_capacity(self.held.len());
        for Held { draft, waiter, deadline } in self.held.drain(..) {
            if draft.size() > limit {
                let failure = Failure::TooLargeToForward { size: draft.size(), limit };
                out.push(Action::FailProposal { id: None, waiter, failure });
                continue;
            }
            *last_id += 1;
            let copy = (!here).then(|| Bytes::copy_from_slice(draft.as_bytes()));
            self.asked.insert(*last_id, Asked { copy, entries: draft.len(), forwarded: None, waiter, deadline });
            batches.push((*last_id, draft));
        }
        batches
    }

    pub(super) fn forwarded(&mut self, id: RequestId, to: NodeId, term: Term) -> Option<usize> {
        let asked = self.asked.get_mut(&id)?;
        asked.forwarded = Some((to, term));
        Some(asked.entries)
    }

    pub(super) fn place(&mut self, id: RequestId, at: LogId) {
        if let Some(Asked { entries, waiter, deadline, .. }) = self.asked.remove(&id) {
            let end = at.index + entries as u64;
            self.placed.insert((at.index, at.term), Placed { id, end, begun: false, waiter, deadline });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of them plain facts about one refusal")]
    pub(super) fn refused<K: Calls<Proposal = P>>(
        &mut self,
        id: RequestId,
        why: Refusal,
        leader: Option<NodeId>,
        term: Term,
        again: Micros,
        closing: bool,
        out: &mut Vec<Action<K>>,
    ) {
        let Some(Asked { copy, waiter, deadline, .. }) = self.asked.remove(&id) else { return };
        let moving = matches!(why, Refusal::NotLeader | Refusal::Transferring);
        let copied = copy.filter(|_| moving && !closing).and_then(|bytes| Draft::from_bytes(&bytes).ok());
        if let Some(draft) = copied {
            self.paused_until = again;
            // Long since come: it waits out the pause, and gathers nothing.
            self.hold(0, 0, draft, waiter, deadline);
            return;
        }
        let failure =
            if why == Refusal::NotLeader { Failure::NotLeader { leader, term } } else { Failure::Refused(why) };
        out.push(Action::FailProposal { id: None, waiter, failure });
    }

    pub(super) fn fail<K: Calls<Proposal = P>>(&mut self, id: RequestId, failure: Failure, out: &mut Vec<Action<K>>) {
        if let Some(Asked { waiter, .. }) = self.asked.remove(&id) {
            out.push(Action::FailProposal { id: None, waiter, failure });
        }
    }

    /// Finds who waits for which of `entries`, and fails those in whose place something else stands.
    pub(super) fn hand_out<K: Calls<Proposal = P>>(
        &mut self,
        entries: &[Entry],
        out: &mut Vec<Action<K>>,
    ) -> Vec<Wanted<P>> {
        let mut wanted = Vec::new();
        let (Some(first), Some(last)) = (entries.first().map(Entry::index), entries.last().map(Entry::index)) else {
            return wanted;
        };
        while let Some(slot) = self.placed.first_entry() {
            let &(index, term) = slot.key();
            if index > last {
                break;
            }
            let mut placed = slot.remove();
            if index < first {
                // Nothing is handed out twice or left out, so this cannot be; a caller without an answer would be worse.
                let failure = Failure::Unknown(Unknown::Applied(LogId::new(index, term)));
                let id = placed.begun.then_some(placed.id);
                out.push(Action::FailProposal { id, waiter: placed.waiter, failure });
                continue;
            }
            let start = usize::try_from(index - first).unwrap_or(usize::MAX);
            let stop = usize::try_from(placed.end.min(last + 1) - first).unwrap_or(usize::MAX);
            let ours = entries[start..stop].iter().take_while(|entry| entry.term() == term).count();
            let (id, deadline, range) = (placed.id, placed.deadline, start..start + ours);
            if start + ours < stop {
                let at = LogId::new(index + ours as u64, term);
                let failure = Failure::Overwritten { at, by: entries[start + ours].term() };
                if ours == 0 {
                    let id = placed.begun.then_some(id);
                    out.push(Action::FailProposal { id, waiter: placed.waiter, failure });
                } else {
                    wanted.push(Wanted { range, id, deadline, piece: Piece::Cut(placed.waiter, failure) });
                }
            } else if placed.end <= last + 1 {
                wanted.push(Wanted { range, id, deadline, piece: Piece::Last(placed.waiter) });
            } else {
                wanted.push(Wanted { range, id, deadline, piece: Piece::More });
                placed.begun = true;
                self.placed.insert((last + 1, term), placed);
            }
        }
        wanted
    }

    /// What a snapshot covers has no result here.
    pub(super) fn restored<K: Calls<Proposal = P>>(&mut self, last: LogId, out: &mut Vec<Action<K>>) {
        let behind = self.placed.split_off(&(last.index + 1, 0));
        for Placed { id, begun, waiter, .. } in std::mem::replace(&mut self.placed, behind).into_values() {
            let failure = Failure::Unknown(Unknown::Restored(last));
            out.push(Action::FailProposal { id: begun.then_some(id), waiter, failure });
        }
    }

    pub(super) fn fail_held<K: Calls<Proposal = P>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        for Held { waiter, .. } in self.held.drain(..) {
            out.push(Action::FailProposal { id: None, waiter, failure: *failure });
        }
    }

    /// Fails what may stand in a log.
    pub(super) fn fail_placed<K: Calls<Proposal = P>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        for Asked { waiter, .. } in std::mem::take(&mut self.asked).into_values() {
            out.push(Action::FailProposal { id: None, waiter, failure: *failure });
        }
        for Placed { id, begun, waiter, .. } in std::mem::take(&mut self.placed).into_values() {
            out.push(Action::FailProposal { id: begun.then_some(id), waiter, failure: *failure });
        }
    }

    pub(super) fn expire<K: Calls<Proposal = P>>(&mut self, now: Micros, term: Term, out: &mut Vec<Action<K>>) {
        if now < self.earliest {
            return;
        }
        let due = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= now);
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { break };
            if due(held.deadline) {
                let failure = Failure::NotLeader { leader: None, term };
                out.push(Action::FailProposal { id: None, waiter: held.waiter, failure });
            } else {
                self.held.push_back(held);
            }
        }
        for (_, Asked { waiter, forwarded, .. }) in take_if(&mut self.asked, |asked| due(asked.deadline)) {
            let why = forwarded.map_or(Unknown::Closed, |(to, _)| Unknown::Forwarded(to));
            out.push(Action::FailProposal { id: None, waiter, failure: Failure::Unknown(why) });
        }
        for ((index, term), Placed { id, begun, waiter, .. }) in
            take_if(&mut self.placed, |placed| due(placed.deadline))
        {
            let failure = Failure::Unknown(Unknown::Timeout(LogId::new(index, term)));
            out.push(Action::FailProposal { id: begun.then_some(id), waiter, failure });
        }
        let held = self.held.iter().filter_map(|held| held.deadline);
        let asked = self.asked.values().filter_map(|asked| asked.deadline);
        let placed = self.placed.values().filter_map(|placed| placed.deadline);
        self.earliest = held.chain(asked).chain(placed).min().map_or(Micros::MAX, |next| next.max(now + SCAN_INTERVAL));
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.list(self.held.iter(), |out, held| {
            out.size(held.draft.len());
            out.size(held.draft.size());
            out.maybe(held.deadline);
        });
        out.size(self.held_entries);
        out.number(self.gather_until);
        out.number(self.last_came);
        out.list(self.asked.iter(), |out, (&id, asked)| {
            out.number(id);
            out.flag(asked.copy.is_some());
            out.size(asked.entries);
            out.forwarded(asked.forwarded);
            out.maybe(asked.deadline);
        });
        out.list(self.placed.iter(), |out, (&(index, term), placed)| {
            out.number(index);
            out.number(term);
            out.number(placed.id);
            out.number(placed.end);
            out.flag(placed.begun);
            out.maybe(placed.deadline);
        });
        out.number(self.paused_until);
        out.number(self.earliest);
    }
}
