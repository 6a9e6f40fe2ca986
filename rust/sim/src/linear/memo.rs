//! Where a search has been: pairs of the calls that are done and the state.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Mixes a number so that all of its bits count in all bits of the result.
#[must_use]
pub fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A quick hasher without a random start: histories are no attackers, and the same history shall take the same time.
#[derive(Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mixed(self.0 ^ number);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A map with that hasher.
pub type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// The calls that are done, as bits: first those that returned, in the order of their invocation, then the open ones.
///
/// Everything before some call is done, and nothing after some other one; only the words between are told apart.
#[derive(Debug)]
pub struct Done {
    firm: Vec<u64>,
    open: Vec<u64>,
    /// All words before this one are full.
    low: usize,
    /// All words from this one on are empty.
    high: usize,
    /// The bits' own numbers, mixed and laid over each other.
    hash: u64,
}

impl Done {
    pub fn new(firm: usize, open: usize) -> Self {
        Self { firm: vec![0; firm.div_ceil(64)], open: vec![0; open.div_ceil(64)], low: 0, high: 0, hash: 0 }
    }

    pub fn set_firm(&mut self, at: usize) {
        self.firm[at / 64] |= 1 << (at % 64);
        self.hash ^= mixed(at as u64);
        self.high = self.high.max(at / 64 + 1);
        while self.firm.get(self.low) == Some(&u64::MAX) {
            self.low += 1;
        }
    }

    pub fn clear_firm(&mut self, at: usize) {
        self.firm[at / 64] &= !(1 << (at % 64));
        self.hash ^= mixed(at as u64);
        self.low = self.low.min(at / 64);
        while self.high > 0 && self.firm[self.high - 1] == 0 {
            self.high -= 1;
        }
    }

    pub fn set_open(&mut self, at: usize) {
        self.open[at / 64] |= 1 << (at % 64);
        self.hash ^= mixed(!(at as u64));
    }

    pub fn clear_open(&mut self, at: usize) {
        self.open[at / 64] &= !(1 << (at % 64));
        self.hash ^= mixed(!(at as u64));
    }

    pub fn has_open(&self, at: usize) -> bool {
        self.open[at / 64] & (1 << (at % 64)) != 0
    }

    /// The words that make this set different from others, after the number of the first of them.
    fn told_apart(&self) -> impl Iterator<Item = u64> + '_ {
        let low = self.low.min(self.high);
        std::iter::once(low as u64).chain(self.firm[low..self.high].iter().copied()).chain(self.open.iter().copied())
    }
}

/// One place where a search has been.
#[derive(Debug)]
struct Place {
    /// The words begin here, and end where those of the next place begin.
    words: usize,
    state: u32,
    /// An earlier place with the same hash, plus one.
    before: u32,
}

/// All places where a search has been. Exact: a hash only says where to look.
#[derive(Debug, Default)]
pub struct Memo {
    newest: QuickMap<u64, u32>,
    places: Vec<Place>,
    words: Vec<u64>,
}

impl Memo {
    /// Remembers the place; false if it is known.
    pub fn insert(&mut self, done: &Done, state: u32) -> bool {
        let hash = mixed(done.hash ^ mixed(u64::from(state) | 1 << 40));
        let newest = self.newest.entry(hash).or_default();
        let mut at = *newest;
        while at != 0 {
            let index = at as usize - 1;
            let place = &self.places[index];
            let end = self.places.get(index + 1).map_or(self.words.len(), |next| next.words);
            if place.state == state && done.told_apart().eq(self.words[place.words..end].iter().copied()) {
                return false;
            }
            at = place.before;
        }
        self.places.push(Place { words: self.words.len(), state, before: *newest });
        *newest = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.words.extend(done.told_apart());
        true
    }

    /// Roughly, in bytes.
    pub fn size(&self) -> usize {
        self.words.len() * 8 + self.places.len() * (size_of::<Place>() + 24)
    }

    /// Whether no more places can be numbered.
    pub fn full(&self) -> bool {
        self.places.len() >= u32::MAX as usize - 1
    }
}
