//! Proposals on their way: held until a leader is known, asked for, placed in the log, handed out with their entries.
//!
//! What may stand in some log is never asked again, because it could be applied twice, unless it belongs to a session: there the
//! session table answers a repetition with the first result. Once it was in doubt it stays so, until it has a result.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use d_engine_raft::{
    Draft, Entry, EntryKind, HEADER_BYTES, Index, LogId, Micros, NodeId, Refusal, RequestId, Term, mutants,
};

use super::digest::Digest;
use super::take_if;
use super::types::{Action, Calls, Failure, Piece, Unknown, Wanted};

/// Not stepped yet: not in any log, unless it is in doubt.
struct Held<P> {
    draft: Draft,
    waiter: P,
    deadline: Option<Micros>,
    /// Why an earlier attempt may stand in a log.
    doubt: Option<Unknown>,
}

/// Stepped, and no answer yet.
struct Asked<P> {
    /// Only of what may be passed on, and of sessions: what a leader certainly refused can be asked again.
    copy: Option<Bytes>,
    entries: usize,
    /// To whom, and in which term.
    forwarded: Option<(NodeId, Term)>,
    waiter: P,
    deadline: Option<Micros>,
    /// It belongs to a session.
    repeatable: bool,
    /// A repeatable one that was passed on is asked again by then.
    repeat_at: Option<Micros>,
    doubt: Option<Unknown>,
}

/// In the log, at the place of its key.
struct Placed<P> {
    id: RequestId,
    end: Index,
    /// Pieces have gone out.
    begun: bool,
    waiter: P,
    deadline: Option<Micros>,
    /// Only of sessions.
    copy: Option<Bytes>,
    doubt: Option<Unknown>,
}

impl<P> Placed<P> {
    /// A copy that may be asked again: one of which pieces have gone out is seen through as it is.
    fn repeatable(&mut self) -> Option<Draft> {
        let copy = self.copy.take().filter(|_| !self.begun)?;
        Draft::from_bytes(&copy).ok()
    }
}

/// Whether all entries open or belong to a session.
fn in_session(draft: &Draft) -> bool {
    if mutants::on("38-sent-twice") {
        return true;
    }
    let mut rest = draft.as_bytes();
    while let Some((header, payload)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if header[4] != EntryKind::Session as u8 && header[32..40] == [0; 8] {
            return false;
        }
        rest = payload.get(length..).unwrap_or_default();
    }
    true
}

/// What was in doubt before is not certain again by a later refusal.
fn doubtful(doubt: Option<Unknown>, failure: Failure) -> Failure {
    match (doubt, failure) {
        (Some(why), failure) if failure != Failure::ApplyStopped && !mutants::on("38-doubt-forgotten") => {
            Failure::Unknown(why)
        }
        (_, failure) => failure,
    }
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

/// A proposal of a session that was passed on, and of which nothing is heard for so long, is asked again.
const REPEAT_SPAN: Micros = 2_000_000;

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
        self.held.push_back(Held { draft, waiter, deadline, doubt: None });
    }

    /// Holds what was under way before: it gathers nothing, and goes before what came later.
    fn hold_again(&mut self, draft: Draft, waiter: P, deadline: Option<Micros>, doubt: Option<Unknown>) {
        if self.held.is_empty() {
            (self.held_entries, self.gather_until, self.last_came) = (0, 0, 0);
        }
        self.held_entries += draft.len();
        self.earliest = self.earliest.min(deadline.unwrap_or(Micros::MAX));
        self.held.push_front(Held { draft, waiter, deadline, doubt });
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

    /// Another leader: of what the old one was given nothing may be heard any more.
    pub(super) fn leader_changed(&mut self, term: Term, answer_by: Micros) {
        self.paused_until = 0;
        let repeatable = |one: &Asked<P>| one.repeatable && one.forwarded.is_some_and(|(_, before)| before < term);
        for (_, one) in take_if(&mut self.asked, repeatable).into_iter().rev() {
            self.ask_again(one);
        }
        for asked in self.asked.values_mut().filter(|asked| asked.forwarded.is_some_and(|(_, before)| before < term)) {
            asked.deadline = Some(asked.deadline.map_or(answer_by, |deadline| deadline.min(answer_by)));
            self.earliest = self.earliest.min(answer_by);
        }
        let before: Vec<_> = self.placed.iter().filter(|((_, then), one)| *then < term && one.copy.is_some()).collect();
        let places: Vec<_> = before.into_iter().map(|(&place, _)| place).rev().collect();
        for place in places {
            if let Some(one) = self.placed.remove(&place) {
                self.repeat(place, one, Some(Unknown::Timeout(LogId::new(place.0, place.1))));
            }
        }
    }

    fn ask_again(&mut self, one: Asked<P>) {
        let doubt = one.forwarded.map(|(to, _)| Unknown::Forwarded(to)).or(one.doubt);
        if let Some(draft) = one.copy.and_then(|copy| Draft::from_bytes(&copy).ok()) {
            self.hold_again(draft, one.waiter, one.deadline, doubt);
        }
    }

    /// Asks again for what is placed, or leaves it where it is.
    fn repeat(&mut self, place: (Index, Term), mut one: Placed<P>, doubt: Option<Unknown>) -> bool {
        let Some(draft) = one.repeatable() else {
            self.placed.insert(place, one);
            return false;
        };
        self.hold_again(draft, one.waiter, one.deadline, doubt.or(one.doubt));
        true
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
        for Held { draft, waiter, deadline, doubt } in self.held.drain(..) {
            if draft.size() > limit {
                let failure = doubtful(doubt, Failure::TooLargeToForward { size: draft.size(), limit });
                out.push(Action::FailProposal { id: None, waiter, failure });
                continue;
            }
            *last_id += 1;
            let (entries, repeatable) = (draft.len(), in_session(&draft));
            let copy = (!here || repeatable).then(|| Bytes::copy_from_slice(draft.as_bytes()));
            let (forwarded, repeat_at) = (None, None);
            let asked = Asked { copy, entries, forwarded, waiter, deadline, repeatable, repeat_at, doubt };
            self.asked.insert(*last_id, asked);
            batches.push((*last_id, draft));
        }
        batches
    }

    pub(super) fn forwarded(&mut self, id: RequestId, to: NodeId, term: Term, now: Micros) -> Option<usize> {
        let asked = self.asked.get_mut(&id)?;
        asked.forwarded = Some((to, term));
        if asked.repeatable {
            asked.repeat_at = Some(now + REPEAT_SPAN);
            self.earliest = self.earliest.min(now + REPEAT_SPAN);
        }
        Some(asked.entries)
    }

    pub(super) fn place(&mut self, id: RequestId, at: LogId) {
        if let Some(Asked { entries, waiter, deadline, copy, repeatable, doubt, .. }) = self.asked.remove(&id) {
            let end = at.index + entries as u64;
            let copy = copy.filter(|_| repeatable);
            self.placed.insert((at.index, at.term), Placed { id, end, begun: false, waiter, deadline, copy, doubt });
        }
    }

    /// Its place is known too late: that is handed out already.
    pub(super) fn passed<K: Calls<Proposal = P>>(&mut self, id: RequestId, at: LogId, out: &mut Vec<Action<K>>) {
        match self.asked.remove(&id) {
            Some(one) if one.repeatable => self.ask_again(one),
            Some(Asked { waiter, .. }) => {
                let failure = Failure::Unknown(Unknown::Applied(at));
                out.push(Action::FailProposal { id: None, waiter, failure });
            }
            None => {}
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
        let Some(Asked { copy, waiter, deadline, doubt, .. }) = self.asked.remove(&id) else { return };
        let moving = matches!(why, Refusal::NotLeader | Refusal::Transferring);
        let copied = copy.filter(|_| moving && !closing).and_then(|bytes| Draft::from_bytes(&bytes).ok());
        if let Some(draft) = copied {
            // Long since come: it waits out the pause.
            self.paused_until = again;
            self.hold_again(draft, waiter, deadline, doubt);
            return;
        }
        let failure =
            if why == Refusal::NotLeader { Failure::NotLeader { leader, term } } else { Failure::Refused(why) };
        out.push(Action::FailProposal { id: None, waiter, failure: doubtful(doubt, failure) });
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
            let start = if mutants::on("41-a-neighbours-result") { start.saturating_sub(1) } else { start };
            let stop = usize::try_from(placed.end.min(last + 1) - first).unwrap_or(usize::MAX);
            let same = |entry: &&Entry| entry.term() == term || mutants::on("37-result-of-another");
            let ours = entries[start..stop].iter().take_while(same).count();
            let (id, deadline, range) = (placed.id, placed.deadline, start..start + ours);
            if start + ours < stop {
                let doubt = (ours > 0).then_some(Unknown::Applied(LogId::new(index, term)));
                if let Some(draft) = placed.repeatable() {
                    self.hold_again(draft, placed.waiter, deadline, doubt.or(placed.doubt));
                    continue;
                }
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
        let mut again = Vec::new();
        let failure = Failure::Unknown(Unknown::Restored(last));
        for mut placed in std::mem::replace(&mut self.placed, behind).into_values() {
            if let Some(draft) = placed.repeatable() {
                again.push((draft, placed));
                continue;
            }
            let Placed { id, begun, waiter, .. } = placed;
            if !mutants::on("41-covered-forgotten") {
                out.push(Action::FailProposal { id: begun.then_some(id), waiter, failure });
            }
        }
        // The snapshot's sessions know them.
        for (draft, Placed { waiter, deadline, .. }) in again.into_iter().rev() {
            self.hold_again(draft, waiter, deadline, Some(Unknown::Restored(last)));
        }
    }

    pub(super) fn fail_held<K: Calls<Proposal = P>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        for Held { waiter, doubt, .. } in self.held.drain(..) {
            out.push(Action::FailProposal { id: None, waiter, failure: doubtful(doubt, *failure) });
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
                let failure = doubtful(held.doubt, Failure::NotLeader { leader: None, term });
                out.push(Action::FailProposal { id: None, waiter: held.waiter, failure });
            } else {
                self.held.push_back(held);
            }
        }
        for (_, Asked { waiter, forwarded, .. }) in take_if(&mut self.asked, |asked| due(asked.deadline)) {
            let why = forwarded.map_or(Unknown::Closed, |(to, _)| Unknown::Forwarded(to));
            out.push(Action::FailProposal { id: None, waiter, failure: Failure::Unknown(why) });
        }
        let silent = |one: &Asked<P>| one.repeat_at.is_some_and(|at| at <= now);
        for (_, one) in take_if(&mut self.asked, silent).into_iter().rev() {
            self.ask_again(one);
        }
        for ((index, term), Placed { id, begun, waiter, .. }) in
            take_if(&mut self.placed, |placed| due(placed.deadline))
        {
            let failure = Failure::Unknown(Unknown::Timeout(LogId::new(index, term)));
            out.push(Action::FailProposal { id: begun.then_some(id), waiter, failure });
        }
        let held = self.held.iter().filter_map(|held| held.deadline);
        let asked = self.asked.values().flat_map(|asked| [asked.deadline, asked.repeat_at]).flatten();
        let placed = self.placed.values().filter_map(|placed| placed.deadline);
        self.earliest = held.chain(asked).chain(placed).min().map_or(Micros::MAX, |next| next.max(now + SCAN_INTERVAL));
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.list(self.held.iter(), |out, held| {
            out.size(held.draft.len());
            out.size(held.draft.size());
            out.maybe(held.deadline);
            out.doubt(held.doubt);
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
            out.flag(asked.repeatable);
            out.maybe(asked.repeat_at);
            out.doubt(asked.doubt);
        });
        out.list(self.placed.iter(), |out, (&(index, term), placed)| {
            out.number(index);
            out.number(term);
            out.number(placed.id);
            out.number(placed.end);
            out.flag(placed.begun);
            out.maybe(placed.deadline);
            out.flag(placed.copy.is_some());
            out.doubt(placed.doubt);
        });
        out.number(self.paused_until);
        out.number(self.earliest);
    }
}
