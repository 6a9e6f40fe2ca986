//! Randomness: one stream for each purpose, so that a draw more for one purpose shifts nothing for the others.

use d_engine_raft::SplitMix64;

/// What numbers are drawn for. The discriminants are part of every seed's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The shape of the world: how many nodes, which faults at all.
    Shape = 1,
    /// Delays, losses and duplicates of messages.
    Network = 2,
    /// How long disks take.
    Disk = 3,
    /// What a disk forgets or changes.
    Damage = 4,
    /// When which fault strikes whom.
    Faults = 5,
    /// What clients ask, and when.
    Clients = 6,
    /// The seeds of the cores.
    Cores = 7,
    /// Clocks.
    Clocks = 8,
    /// How long the state machines take, and what goes wrong in them.
    Machines = 9,
    /// Incarnations.
    Identities = 10,
}

/// A stream for one purpose of one seed.
#[derive(Debug)]
pub struct Stream(SplitMix64);

impl Stream {
    /// The purpose's own stream.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        // The first number of a generator seeded with both: streams of neighbouring seeds share nothing.
        let mixed = SplitMix64::new(seed).next() ^ (purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(SplitMix64::new(SplitMix64::new(mixed).next()))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.number() % bound }
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True `parts` times in a million: no floats, so that every machine draws the same.
    pub fn happens(&mut self, parts_per_million: u64) -> bool {
        self.below(1_000_000) < parts_per_million
    }

    /// One of them; `None` if there is none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        all.get(at)
    }
}
