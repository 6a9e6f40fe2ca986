//! The contents of one file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::random::Random;

pub(super) const SECTOR: usize = 512;

type Version = [u8; SECTOR];

/// Shared with the images of the disk until somebody writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub shown: Arc<Vec<u8>>,
    pub platter: Arc<Vec<u8>>,
    /// What was written to a sector since the last sync, oldest first.
    unsynced: BTreeMap<usize, Vec<Version>>,
    /// It was cut off there since the last sync: nothing of before comes back behind it.
    cut_off: Option<usize>,
}

/// Where on the platter a write ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Where it should.
    True,
    /// Nowhere.
    Lost,
    /// So many sectors further on in the file, around its end.
    Beside(usize),
}

impl Inode {
    pub(super) fn durable(bytes: &[u8]) -> Self {
        let platter = Arc::new(bytes.to_vec());
        Self { shown: Arc::clone(&platter), platter, ..Self::default() }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8], aim: Aim) {
        let shown = Arc::make_mut(&mut self.shown);
        if shown.len() < at + bytes.len() {
            shown.resize(at + bytes.len(), 0);
        }
        shown[at..at + bytes.len()].copy_from_slice(bytes);
        if bytes.is_empty() || aim == Aim::Lost {
            return;
        }
        let sectors = shown.len().div_ceil(SECTOR);
        for sector in at / SECTOR..=(at + bytes.len() - 1) / SECTOR {
            let mut version = [0; SECTOR];
            let from = sector * SECTOR;
            let to = shown.len().min(from + SECTOR);
            version[..to - from].copy_from_slice(&shown[from..to]);
            let place = if let Aim::Beside(shift) = aim { (sector + shift) % sectors } else { sector };
            self.unsynced.entry(place).or_default().push(version);
        }
    }

    pub(super) fn set_len(&mut self, length: usize) {
        if length < self.shown.len() {
            self.cut_off = Some(self.cut_off.map_or(length, |before| before.min(length)));
        }
        Arc::make_mut(&mut self.shown).resize(length, 0);
        self.unsynced.retain(|&sector, _| sector * SECTOR < length);
        if let Some((&sector, versions)) = self.unsynced.last_key_value()
            && (sector + 1) * SECTOR > length
        {
            let mut version = versions.last().copied().unwrap_or([0; SECTOR]);
            version[length - sector * SECTOR..].fill(0);
            self.unsynced.entry(sector).or_default().push(version);
        }
    }

    pub(super) fn sync(&mut self) {
        let length = self.shown.len();
        let platter = Arc::make_mut(&mut self.platter);
        platter.truncate(self.cut_off.take().unwrap_or(usize::MAX));
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(version) = versions.last() {
                keep(platter, sector, version, length);
            }
        }
        platter.resize(length, 0);
    }

    /// Some sectors reach the platter, the others are forgotten although they go on being shown.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        let length = self.shown.len();
        let platter = Arc::make_mut(&mut self.platter);
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let (Some(version), 0) = (versions.last(), random.below(2)) {
                keep(platter, sector, version, length);
            }
        }
    }

    /// What a power cut leaves of it. `torn`: a sector may also hold the beginning of one version and the end of another.
    pub(super) fn after_cut(&self, random: &mut Random, torn: bool) -> Self {
        // The length is metadata of its own: it may lag behind.
        let length = if random.below(2) == 0 { self.platter.len() } else { self.shown.len() };
        let mut platter = Arc::clone(&self.platter);
        if !self.unsynced.is_empty() || length != platter.len() {
            let platter = Arc::make_mut(&mut platter);
            for (&sector, versions) in &self.unsynced {
                let choice = random.below(versions.len() + 1);
                if let Some(version) = choice.checked_sub(1).and_then(|choice| versions.get(choice)) {
                    let whole = if torn && random.below(8) == 0 { random.below(SECTOR) } else { SECTOR };
                    keep(platter, sector, &version[..whole], length);
                }
            }
            platter.resize(length, 0);
        }
        Self { shown: Arc::clone(&platter), platter, ..Self::default() }
    }

    /// What is on the platter alone.
    pub(super) fn on_platter(&self) -> Self {
        let platter = Arc::clone(&self.platter);
        Self { shown: Arc::clone(&platter), platter, ..Self::default() }
    }

    /// Flips bits of one byte, shown and on the platter. Answers whether it has that byte.
    pub(super) fn flip(&mut self, at: usize, mask: u8) -> bool {
        if at >= self.shown.len() {
            return false;
        }
        Arc::make_mut(&mut self.shown)[at] ^= mask;
        if at < self.platter.len() {
            Arc::make_mut(&mut self.platter)[at] ^= mask;
        }
        true
    }

    pub(super) fn truncate(&mut self, length: usize) {
        Arc::make_mut(&mut self.shown).truncate(length);
        Arc::make_mut(&mut self.platter).truncate(length);
        self.unsynced.retain(|&sector, _| sector * SECTOR < length);
    }
}

/// Puts (the beginning of) a sector on a platter that is to have `length` bytes.
fn keep(platter: &mut Vec<u8>, sector: usize, version: &[u8], length: usize) {
    let from = sector * SECTOR;
    let to = length.min(from + version.len());
    if from >= to {
        return;
    }
    if platter.len() < to {
        platter.resize(to, 0);
    }
    platter[from..to].copy_from_slice(&version[..to - from]);
}
