//! A disk that keeps what was synced, and a state machine that sums up what it was given.

use std::collections::VecDeque;

use d_engine_raft::{
    Configuration, Effect, Entry, EntryKind, HardState, Incarnation, Index, LogId, NodeId, Persist, Start, Term, Token,
    WallMicros,
};

/// A state machine: where it is, and a sum over everything it was given, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub applied: LogId,
    pub sum: u64,
}

impl Machine {
    pub fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.index(), self.applied.index + 1, "applied in order, without gaps");
        self.applied = entry.id();
        let crc = u64::from(crc32c::crc32c(entry.record()));
        self.sum = (self.sum ^ crc).wrapping_mul(0x100_0000_01b3);
    }
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub machine: Machine,
    pub time: WallMicros,
    pub configuration: (Index, Configuration),
}

impl Snapshot {
    pub fn last(&self) -> LogId {
        self.machine.applied
    }
}

/// Work of the storage queue, in its order.
#[derive(Clone, Debug)]
pub enum Job {
    Persist(Persist),
    Purge(LogId),
}

/// What survives a crash, and what does not yet.
#[derive(Clone, Debug)]
pub struct Disk {
    pub hard_state: HardState,
    pub purged: LogId,
    pub entries: VecDeque<Entry>,
    pub initial: Configuration,
    pub snapshot: Option<Snapshot>,
    pub queue: VecDeque<Job>,
}

impl Disk {
    pub fn new(initial: Configuration) -> Self {
        Self {
            hard_state: HardState::default(),
            purged: LogId::ZERO,
            entries: VecDeque::new(),
            initial,
            snapshot: None,
            queue: VecDeque::new(),
        }
    }

    pub fn last(&self) -> LogId {
        self.entries.back().map_or(self.purged, Entry::id)
    }

    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        self.get(index).map(Entry::term)
    }

    pub fn get(&self, index: Index) -> Option<&Entry> {
        let at = index.checked_sub(self.purged.index + 1)?;
        self.entries.get(usize::try_from(at).unwrap())
    }

    /// The term at an index once all jobs are done.
    pub fn view(&self, index: Index) -> Option<Term> {
        for job in self.queue.iter().rev() {
            let Job::Persist(persist) = job else { continue };
            if let Some(entry) = persist.entries.iter().find(|entry| entry.index() == index) {
                return Some(entry.term());
            }
            if persist.truncate_from.is_some_and(|from| from <= index) {
                return None;
            }
            if let Some(to) = persist.reset_to {
                return (to.index == index).then_some(to.term);
            }
        }
        self.term(index)
    }

    /// Before which entry the log begins once all jobs are done.
    pub fn begins(&self) -> LogId {
        let begin = |job: &Job| match job {
            Job::Persist(persist) => persist.reset_to,
            Job::Purge(upto) => Some(*upto),
        };
        self.queue.iter().rev().find_map(begin).unwrap_or(self.purged)
    }

    /// Carries out the oldest job. Gives back the token to report.
    pub fn work(&mut self) -> Option<Token> {
        match self.queue.pop_front()? {
            Job::Persist(persist) => {
                let token = persist.token;
                self.store(persist);
                Some(token)
            }
            Job::Purge(upto) => {
                self.purge(upto);
                None
            }
        }
    }

    fn store(&mut self, persist: Persist) {
        if let Some(state) = persist.hard_state {
            assert!(state.term >= self.hard_state.term, "terms never go back");
            if state.term == self.hard_state.term && self.hard_state.vote.is_some() {
                assert_eq!(state.vote, self.hard_state.vote, "a vote is never changed");
            }
            self.hard_state = state;
        }
        if let Some(to) = persist.reset_to {
            let covered = self.snapshot.as_ref().map(Snapshot::last);
            assert!(covered >= Some(to), "a log is reset only to a committed snapshot");
            self.reset(to);
        }
        if let Some(from) = persist.truncate_from {
            assert!(from > self.purged.index, "what is purged is never truncated");
            self.entries.truncate(usize::try_from(from - self.purged.index - 1).unwrap());
        }
        for entry in persist.entries {
            assert_eq!(entry.index(), self.last().index + 1, "appends are contiguous");
            assert!(entry.term() >= self.last().term, "terms never go back in a log");
            self.entries.push_back(entry);
        }
    }

    fn reset(&mut self, to: LogId) {
        self.entries.clear();
        self.purged = to;
    }

    fn purge(&mut self, upto: LogId) {
        let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last().index);
        assert!(upto.index <= covered, "only what a snapshot covers is purged");
        assert_eq!(self.term(upto.index), Some(upto.term), "purged is what stands there");
        while self.entries.front().is_some_and(|entry| entry.index() <= upto.index) {
            self.entries.pop_front();
        }
        self.purged = upto;
    }

    /// Power is lost: of what was not synced, only the first `kept` jobs made it.
    pub fn crash(&mut self, kept: usize) {
        for _ in 0..kept {
            self.work();
        }
        self.queue.clear();
    }

    /// What a core starts with.
    pub fn start(&mut self, id: NodeId, incarnation: Incarnation, seed: u64) -> Start {
        if let Some(snapshot) = &self.snapshot {
            let last = snapshot.last();
            if last.index > self.purged.index && self.term(last.index) != Some(last.term) {
                self.reset(last);
            }
        }
        let mut configurations = match &self.snapshot {
            Some(snapshot) => vec![snapshot.configuration.clone()],
            // A node that joins knows nobody.
            None if self.initial.members.is_empty() => Vec::new(),
            None => vec![(0, self.initial.clone())],
        };
        let mut term_runs: Vec<(Index, Term)> = Vec::new();
        let mut last_time = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.time);
        for entry in &self.entries {
            if term_runs.last().is_none_or(|&(_, term)| term != entry.term()) {
                term_runs.push((entry.index(), entry.term()));
            }
            last_time = last_time.max(entry.time());
            let covered = configurations.first().map_or(0, |(index, _)| *index);
            if entry.kind() == EntryKind::Configuration && entry.index() > covered {
                configurations.push((entry.index(), Configuration::decode(&entry.payload()).unwrap()));
            }
        }
        Start {
            id,
            incarnation,
            group: 0,
            seed,
            hard_state: self.hard_state,
            purged: self.purged,
            last: self.last().index,
            term_runs,
            last_time,
            configurations,
            snapshot: self.snapshot.as_ref().map(Snapshot::last),
            applied: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last().index),
        }
    }

    /// The answer to a fetch.
    pub fn fetch(&self, lo: Index, hi: Index, max_bytes: usize) -> Option<Vec<Entry>> {
        if lo <= self.purged.index {
            return None;
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        for index in lo..hi {
            // Cut off since it was asked for: an old leader's wish.
            let Some(entry) = self.get(index) else { break };
            bytes += entry.size();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        (!entries.is_empty()).then_some(entries)
    }
}

/// Whether an effect belongs to the storage queue; those do not come back.
#[allow(clippy::result_large_err)] // Not an error: what is no job is handed back.
pub fn storage_job(effect: Effect) -> Result<Job, Effect> {
    match effect {
        Effect::Persist(persist) => Ok(Job::Persist(persist)),
        Effect::Purge(upto) => Ok(Job::Purge(upto)),
        other => Err(other),
    }
}
