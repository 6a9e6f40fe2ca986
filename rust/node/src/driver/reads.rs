//! Reads on their way: waiting, asked for in rounds, ready once their index is handed out.

use std::collections::BTreeMap;

use d_engine_raft::{Index, Micros, RequestId, mutants};

use super::digest::Digest;
use super::take_if;
use super::types::{Action, Calls, Failure};

struct Reader<R> {
    waiter: R,
    deadline: Option<Micros>,
    /// A lease is as good as a quorum's answer.
    lease: bool,
}

struct Round<R> {
    readers: Vec<Reader<R>>,
    lease: bool,
    retry_at: Micros,
}

pub(super) struct Reads<R> {
    waiting: Vec<Reader<R>>,
    rounds: BTreeMap<RequestId, Round<R>>,
    ready: BTreeMap<Index, Vec<Reader<R>>>,
    paused_until: Micros,
    earliest: Micros,
}

impl<R> Default for Reads<R> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            rounds: BTreeMap::new(),
            ready: BTreeMap::new(),
            paused_until: 0,
            earliest: Micros::MAX,
        }
    }
}

/// Rounds of a kind under way at once; what comes meanwhile shares the next one.
const MAX_ROUNDS: usize = 4;
/// Scans for what has expired come at least this far apart.
const SCAN_INTERVAL: Micros = 10_000;

impl<R> Reads<R> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
            + self.rounds.values().map(|round| round.readers.len()).sum::<usize>()
            + self.ready.values().map(Vec::len).sum::<usize>()
    }

    pub(super) fn wait(&mut self, waiter: R, deadline: Option<Micros>, lease: bool) {
        self.earliest = self.earliest.min(deadline.unwrap_or(Micros::MAX));
        self.waiting.push(Reader { waiter, deadline, lease });
    }

    pub(super) fn can_ask(&self, now: Micros, lease: bool) -> bool {
        now >= self.paused_until && self.wants(lease)
    }

    fn wants(&self, lease: bool) -> bool {
        self.waiting.iter().any(|reader| reader.lease == lease)
            && self.rounds.values().filter(|round| round.lease == lease).count() < MAX_ROUNDS
    }

    /// All readers of a kind that wait become one round.
    pub(super) fn ask(&mut self, id: RequestId, lease: bool, retry_at: Micros) {
        let readers = self.waiting.extract_if(.., |reader| reader.lease == lease).collect();
        self.rounds.insert(id, Round { readers, lease, retry_at });
    }

    pub(super) fn deadline(&self, leader_known: bool) -> Option<Micros> {
        let ask = (leader_known && (self.wants(false) || self.wants(true))).then_some(self.paused_until);
        let retry = self.rounds.values().map(|round| round.retry_at).min();
        [ask, retry, (self.earliest != Micros::MAX).then_some(self.earliest)].into_iter().flatten().min()
    }

    /// Another leader: what was asked of the old one may never be answered, so it is asked again, under a new id.
    pub(super) fn leader_changed(&mut self) {
        self.paused_until = 0;
        self.ask_again(|_| true);
    }

    fn ask_again(&mut self, which: impl Fn(&Round<R>) -> bool) {
        for (_, round) in take_if(&mut self.rounds, which) {
            self.waiting.extend(round.readers);
        }
    }

    /// Whether the id was a read's.
    pub(super) fn refused(&mut self, id: RequestId, again: Micros) -> bool {
        let Some(round) = self.rounds.remove(&id) else { return false };
        self.waiting.extend(round.readers);
        self.paused_until = again;
        true
    }

    pub(super) fn ready<K: Calls<Read = R>>(
        &mut self,
        id: RequestId,
        index: Index,
        handed: Index,
        stopped: bool,
        out: &mut Vec<Action<K>>,
    ) {
        let Some(round) = self.rounds.remove(&id) else { return };
        if index <= handed || stopped || mutants::on("12-before-its-index") {
            out.extend(round.readers.into_iter().map(|reader| Action::Query { waiter: reader.waiter, index }));
        } else {
            self.ready.entry(index).or_default().extend(round.readers);
        }
    }

    /// Lets in those who waited for what is handed out now.
    pub(super) fn release<K: Calls<Read = R>>(&mut self, handed: Index, out: &mut Vec<Action<K>>) {
        while let Some(slot) = self.ready.first_entry() {
            let index = *slot.key();
            if index > handed {
                break;
            }
            out.extend(slot.remove().into_iter().map(|reader| Action::Query { waiter: reader.waiter, index }));
        }
    }

    pub(super) fn release_all<K: Calls<Read = R>>(&mut self, out: &mut Vec<Action<K>>) {
        self.release(Index::MAX, out);
    }

    pub(super) fn fail_waiting<K: Calls<Read = R>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        out.extend(self.waiting.drain(..).map(|reader| Action::FailRead { waiter: reader.waiter, failure: *failure }));
    }

    pub(super) fn fail_all<K: Calls<Read = R>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        self.ask_again(|_| true);
        for (_, readers) in std::mem::take(&mut self.ready) {
            self.waiting.extend(readers);
        }
        self.fail_waiting(failure, out);
    }

    pub(super) fn expire<K: Calls<Read = R>>(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        self.ask_again(|round| round.retry_at <= now);
        if now < self.earliest {
            return;
        }
        let due = |reader: &mut Reader<R>| reader.deadline.is_some_and(|deadline| deadline <= now);
        let lists = std::iter::once(&mut self.waiting)
            .chain(self.rounds.values_mut().map(|round| &mut round.readers))
            .chain(self.ready.values_mut());
        let mut next = Micros::MAX;
        for list in lists {
            if mutants::on("41-expired-kept") || mutants::on("41-never-given-up") {
                continue;
            }
            out.extend(
                list.extract_if(.., due)
                    .map(|reader| Action::FailRead { waiter: reader.waiter, failure: Failure::Deadline }),
            );
            next = list.iter().filter_map(|reader| reader.deadline).fold(next, Micros::min);
        }
        self.rounds.retain(|_, round| !round.readers.is_empty());
        self.ready.retain(|_, readers| !readers.is_empty());
        self.earliest = if next == Micros::MAX { next } else { next.max(now + SCAN_INTERVAL) };
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        let readers = |out: &mut Digest, readers: &[Reader<R>]| {
            out.list(readers.iter(), |out, reader| {
                out.maybe(reader.deadline);
                out.flag(reader.lease);
            });
        };
        readers(out, &self.waiting);
        out.list(self.rounds.iter(), |out, (&id, round)| {
            out.number(id);
            out.flag(round.lease);
            out.number(round.retry_at);
            readers(out, &round.readers);
        });
        out.list(self.ready.iter(), |out, (&index, ready)| {
            out.number(index);
            readers(out, ready);
        });
        out.number(self.paused_until);
        out.number(self.earliest);
    }
}
