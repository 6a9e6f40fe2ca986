//! The session table: which proposals of a session were applied, and what they gave (thesis 6.3, linearizable semantics).
//!
//! A function of the log and of the machine's results, and of nothing else: no clock but the time that leaders stamp on entries,
//! no limits but those that the log carries. It works in two halves, because a result comes after its entry was given to the
//! machine: `judge` says of one entry after the other whether it is applied, and `settle` puts the results in, in the same
//! order. The first half never looks at what the second one has; so where a batch ends makes no difference, neither in what is
//! applied nor in what is kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use d_engine_raft::{Entry, EntryKind, Index, Micros, WallMicros, mutants};

/// A session is known by the index of the entry that opened it.
pub type SessionId = Index;

/// What bounds the table. The entry that opens a session carries them, and the newest ones hold: all nodes decide alike, whatever
/// their own settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A session that is not used for longer, by the times of entries, is dropped.
    pub ttl: Micros,
    /// Sessions at once; the least recently used one makes room.
    pub max_sessions: u64,
    /// Bytes of results kept; the oldest ones are lost first.
    pub max_bytes: u64,
}

const LIMITS_VERSION: u8 = 1;

impl Limits {
    /// The payload of an entry that opens a session.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![LIMITS_VERSION];
        for number in [self.ttl, self.max_sessions, self.max_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut source = Source(payload);
        let version = source.byte().ok()?;
        let limits =
            Self { ttl: source.number().ok()?, max_sessions: source.number().ok()?, max_bytes: source.number().ok()? };
        (version == LIMITS_VERSION && source.0.is_empty()).then_some(limits)
    }
}

/// What becomes of an entry of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It opened the session that has its index.
    Opened,
    /// It goes to the machine, and `settle` wants its result.
    Apply,
    /// It was applied before, once; `settle` says what is left of its result.
    Repeat,
    /// Its session is not known: nothing is applied.
    Expired,
}

struct Session {
    /// Its newest entry, and that one's time.
    used: Index,
    time: WallMicros,
    /// Results below are no longer wanted.
    ack_below: u64,
    /// What was applied from there on.
    applied: BTreeSet<u64>,
}

/// What `settle` has to do, in log order.
enum Step {
    Keep { index: Index, session: SessionId, sequence: u64 },
    Repeat { index: Index, session: SessionId, sequence: u64 },
    Free { session: SessionId, below: u64 },
    Drop(SessionId),
    Bound(u64),
}

struct Kept {
    /// The entry that gave it.
    index: Index,
    result: Bytes,
}

#[derive(Default)]
struct Results {
    kept: BTreeMap<(SessionId, u64), Kept>,
    by_age: BTreeMap<Index, (SessionId, u64)>,
    bytes: u64,
}

/// All sessions of one log.
pub struct Sessions {
    limits: Limits,
    open: BTreeMap<SessionId, Session>,
    by_use: BTreeMap<Index, SessionId>,
    /// Numbers remembered, of all sessions.
    numbers: u64,
    steps: Vec<Step>,
    max_bytes: u64,
    results: Results,
}

/// What one remembered number, and one kept result beyond its own bytes, count for.
const OVERHEAD: u64 = 64;
const VERSION: u8 = 1;

impl Default for Sessions {
    fn default() -> Self {
        Self {
            limits: Limits { ttl: 0, max_sessions: 0, max_bytes: 0 },
            open: BTreeMap::new(),
            by_use: BTreeMap::new(),
            numbers: 0,
            steps: Vec::new(),
            max_bytes: 0,
            results: Results::default(),
        }
    }
}

impl Sessions {
    /// Sessions known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes that kept results count for.
    #[must_use]
    pub const fn result_bytes(&self) -> u64 {
        self.results.bytes
    }

    /// Takes in the next entry that opens a session or belongs to one.
    pub fn judge(&mut self, entry: &Entry) -> Verdict {
        self.drop_expired(entry.time());
        if entry.kind() == EntryKind::Session {
            return self.open(entry);
        }
        let (id, sequence) = (entry.session(), entry.sequence());
        let Some(session) = self.open.get_mut(&id) else { return Verdict::Expired };
        self.by_use.remove(&session.used);
        (session.used, session.time) = (entry.index(), entry.time());
        self.by_use.insert(entry.index(), id);
        // Nobody gives up what is still under way: a number never acknowledges itself.
        let below = entry.ack_below().min(sequence);
        if below > session.ack_below {
            let before = session.applied.len();
            session.ack_below = below;
            session.applied = session.applied.split_off(&below);
            self.numbers -= (before - session.applied.len()) as u64;
            self.steps.push(Step::Free { session: id, below });
        }
        let repeats = sequence < session.ack_below || !session.applied.insert(sequence);
        if repeats && !mutants::on("38-applied-again") {
            self.steps.push(Step::Repeat { index: entry.index(), session: id, sequence });
            return Verdict::Repeat;
        }
        self.numbers += 1;
        self.bound_numbers();
        if !self.open.contains_key(&id) {
            return Verdict::Expired;
        }
        self.steps.push(Step::Keep { index: entry.index(), session: id, sequence });
        Verdict::Apply
    }

    /// Puts in the results of what was judged since the last call: `result` is asked for each entry that was to be applied, in log
    /// order; `None` is not kept. Returns what is left for the repetitions among them; `None`: the result is lost.
    pub fn settle(&mut self, mut result: impl FnMut(Index) -> Option<Bytes>) -> BTreeMap<Index, Option<Bytes>> {
        let mut answers = BTreeMap::new();
        for step in std::mem::take(&mut self.steps) {
            match step {
                Step::Keep { index, session, sequence } => {
                    if let Some(result) = result(index) {
                        self.results.keep(session, sequence, Kept { index, result }, self.max_bytes);
                    }
                }
                Step::Repeat { index, session, sequence } => {
                    let mut kept = self.results.kept.get(&(session, sequence)).map(|kept| kept.result.clone());
                    if mutants::on("38-another-result") {
                        kept = self.results.kept.values().next_back().map(|kept| kept.result.clone());
                    }
                    answers.insert(index, kept);
                }
                Step::Free { session, below } => self.results.free(session, below),
                Step::Drop(session) => self.results.free(session, u64::MAX),
                Step::Bound(max_bytes) => {
                    self.max_bytes = max_bytes;
                    self.results.bound(max_bytes);
                }
            }
        }
        answers
    }

    fn open(&mut self, entry: &Entry) -> Verdict {
        let Some(limits) = Limits::decode(&entry.payload()) else { return Verdict::Expired };
        self.limits = limits;
        self.steps.push(Step::Bound(limits.max_bytes));
        // What was enough room before may be too much now, the time included.
        self.drop_expired(entry.time());
        let id = entry.index();
        let session = Session { used: id, time: entry.time(), ack_below: 0, applied: BTreeSet::new() };
        self.open.insert(id, session);
        self.by_use.insert(id, id);
        while self.open.len() as u64 > limits.max_sessions.max(1) {
            let Some((_, &oldest)) = self.by_use.first_key_value() else { break };
            self.forget(oldest);
        }
        self.bound_numbers();
        Verdict::Opened
    }

    fn drop_expired(&mut self, now: WallMicros) {
        while let Some((_, &id)) = self.by_use.first_key_value() {
            let alive = self.open.get(&id).is_some_and(|session| session.time.saturating_add(self.limits.ttl) >= now);
            if alive {
                return;
            }
            self.forget(id);
        }
    }

    /// Whoever acknowledges nothing makes all nodes remember every number: the worst one goes.
    fn bound_numbers(&mut self) {
        while self.numbers.saturating_mul(OVERHEAD) > self.limits.max_bytes {
            let most = self.open.iter().max_by_key(|(id, session)| (session.applied.len(), u64::MAX - **id));
            let Some((&id, _)) = most.filter(|(_, session)| session.applied.len() > 1) else { return };
            self.forget(id);
        }
    }

    fn forget(&mut self, id: SessionId) {
        if let Some(session) = self.open.remove(&id) {
            self.by_use.remove(&session.used);
            self.numbers -= session.applied.len() as u64;
            self.steps.push(Step::Drop(id));
        }
    }

    /// The table as bytes, the same on every node that has applied the same entries. What was judged and not settled counts as
    /// applied with its result lost.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// The same with the newest results only, of together at most `max_bytes`: the others are written as lost.
    #[must_use]
    pub fn encode_within(&self, max_bytes: u64) -> Vec<u8> {
        let mut bytes = 0;
        let newest = self.results.by_age.iter().rev().take_while(|(_, place)| {
            bytes += self.results.kept.get(place).map_or(0, Kept::cost);
            bytes <= max_bytes
        });
        let from = newest.last().map_or(Index::MAX, |(&index, _)| index);
        self.encode_from(from)
    }

    fn encode_from(&self, oldest: Index) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut out = vec![VERSION];
        let number = |out: &mut Vec<u8>, value: u64| out.extend_from_slice(&value.to_le_bytes());
        for value in [self.limits.ttl, self.limits.max_sessions, self.limits.max_bytes, self.open.len() as u64] {
            number(&mut out, value);
        }
        for (&id, session) in &self.open {
            for value in [id, session.used, session.time, session.ack_below, session.applied.len() as u64] {
                number(&mut out, value);
            }
            for &sequence in &session.applied {
                number(&mut out, sequence);
                match self.results.kept.get(&(id, sequence)).filter(|kept| kept.index >= oldest) {
                    None => out.push(0),
                    Some(kept) => {
                        out.push(1);
                        number(&mut out, kept.index);
                        number(&mut out, kept.result.len() as u64);
                        out.extend_from_slice(&kept.result);
                    }
                }
            }
        }
        out
    }

    /// Reads what `encode` wrote; nothing at all is an empty table.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut table = Self::default();
        let mut source = Source(bytes);
        if bytes.is_empty() {
            return Ok(table);
        }
        if source.byte()? != VERSION {
            return Err("its format is unknown");
        }
        table.limits = Limits { ttl: source.number()?, max_sessions: source.number()?, max_bytes: source.number()? };
        table.max_bytes = table.limits.max_bytes;
        for _ in 0..source.number()? {
            let (id, used, time) = (source.number()?, source.number()?, source.number()?);
            let (ack_below, count) = (source.number()?, source.number()?);
            let mut session = Session { used, time, ack_below, applied: BTreeSet::new() };
            for _ in 0..count {
                let sequence = source.number()?;
                session.applied.insert(sequence);
                if source.byte()? == 1 {
                    let index = source.number()?;
                    let result = Bytes::copy_from_slice(source.bytes()?);
                    table.results.keep(id, sequence, Kept { index, result }, u64::MAX);
                }
            }
            table.numbers += session.applied.len() as u64;
            if session.applied.len() as u64 != count
                || table.by_use.insert(used, id).is_some()
                || table.open.insert(id, session).is_some()
            {
                return Err("something stands in it twice");
            }
        }
        if source.0.is_empty() { Ok(table) } else { Err("bytes follow its end") }
    }
}

impl Kept {
    fn cost(&self) -> u64 {
        OVERHEAD + self.result.len() as u64
    }
}

impl Results {
    fn keep(&mut self, session: SessionId, sequence: u64, kept: Kept, max_bytes: u64) {
        if kept.cost() > max_bytes {
            return;
        }
        self.bytes += kept.cost();
        self.by_age.insert(kept.index, (session, sequence));
        self.kept.insert((session, sequence), kept);
        self.bound(max_bytes);
    }

    fn bound(&mut self, max_bytes: u64) {
        while self.bytes > max_bytes {
            let Some((_, place)) = self.by_age.pop_first() else { return };
            self.bytes -= self.kept.remove(&place).map_or(0, |kept| kept.cost());
        }
    }

    fn free(&mut self, session: SessionId, below: u64) {
        let places: Vec<_> = self.kept.range((session, 0)..(session, below)).map(|(&place, _)| place).collect();
        for place in places {
            if let Some(kept) = self.kept.remove(&place) {
                self.by_age.remove(&kept.index);
                self.bytes -= kept.cost();
            }
        }
    }
}

/// Bytes that are taken from the front.
struct Source<'a>(&'a [u8]);

const CUT_OFF: &str = "it is cut off";

impl<'a> Source<'a> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&byte, rest) = self.0.split_first().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.number()?).map_err(|_| CUT_OFF)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(bytes)
    }
}
