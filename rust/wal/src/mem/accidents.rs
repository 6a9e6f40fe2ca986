//! Accidents that are arranged to happen.

use std::sync::Arc;

use super::inode::{Aim, SECTOR};
use super::random::Random;
use super::{Disk, MemFiles};

/// What is arranged. Counts are of operations that still work.
#[derive(Debug, Default)]
pub(super) struct Accidents {
    /// Changing operations left until the power goes.
    power: Option<u64>,
    syncs: Option<u64>,
    writes: Option<u64>,
    reads: Option<u64>,
    lost: Option<u64>,
    misdirected: Option<u64>,
    pub capacity: Option<u64>,
    pub torn_sectors: bool,
}

/// Counts an operation; answers whether this is the one.
fn strikes(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Accidents {
    pub(super) fn power_goes(&mut self) -> bool {
        strikes(&mut self.power)
    }

    pub(super) fn sync_fails(&mut self) -> bool {
        strikes(&mut self.syncs)
    }

    pub(super) fn write_fails(&mut self) -> bool {
        strikes(&mut self.writes)
    }

    pub(super) fn read_fails(&mut self) -> bool {
        strikes(&mut self.reads)
    }

    /// Where a write of a file of `length` bytes goes.
    pub(super) fn aim(&mut self, length: usize, random: &mut Random) -> Aim {
        if strikes(&mut self.lost) {
            return Aim::Lost;
        }
        let sectors = length.div_ceil(SECTOR);
        if sectors > 1 && strikes(&mut self.misdirected) {
            return Aim::Beside(1 + random.below(sectors - 1));
        }
        Aim::True
    }

    /// What was arranged for a process ends with it.
    pub(super) fn power_is_back(&mut self) {
        *self = Self { capacity: self.capacity, torn_sectors: self.torn_sectors, ..Self::default() };
    }
}

/// Where damage was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotten {
    /// The file.
    pub file: String,
    /// The byte.
    pub offset: u64,
}

impl MemFiles {
    fn arrange(&self, arrange: impl FnOnce(&mut Accidents)) {
        arrange(&mut self.lock().accidents);
    }

    /// Lets the power go in the middle of the changing operation (write, sync, name) after the next `operations` ones: it and
    /// everything after it fails, until `power_cut`.
    pub fn cut_after(&self, operations: u64) {
        self.arrange(|accidents| accidents.power = Some(operations));
    }

    /// Lets one sync of a file fail, after `after` more that work. As on Linux, what it should have written is then taken for
    /// clean: it is shown, later syncs succeed, and the platter may never get it.
    pub fn fail_sync(&self, after: u64) {
        self.arrange(|accidents| accidents.syncs = Some(after));
    }

    /// Lets one write to a file fail in its middle, after `after` more that work.
    pub fn fail_write(&self, after: u64) {
        self.arrange(|accidents| accidents.writes = Some(after));
    }

    /// Lets one read of a file fail, after `after` more that work.
    pub fn fail_read(&self, after: u64) {
        self.arrange(|accidents| accidents.reads = Some(after));
    }

    /// Lets one write be lost, after `after` more that are not: it is shown, the sync succeeds, and the platter never gets it.
    /// Nobody can notice before the power goes.
    pub fn lose_write(&self, after: u64) {
        self.arrange(|accidents| accidents.lost = Some(after));
    }

    /// Lets one write go to another place in its file, after `after` more that do not: the platter holds it there, over what was
    /// there, and not where it should be; what is shown is right until the power goes.
    pub fn misdirect_write(&self, after: u64) {
        self.arrange(|accidents| accidents.misdirected = Some(after));
    }

    /// Whether a power cut may also leave a sector that holds the beginning of one version and the end of another.
    pub fn tear_sectors(&self, tear: bool) {
        self.arrange(|accidents| accidents.torn_sectors = tear);
    }

    /// Lets the disk be full at so many bytes in all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.arrange(|accidents| accidents.capacity = bytes);
    }

    /// Calls off everything that is arranged for one operation.
    pub fn calm(&self) {
        self.arrange(Accidents::power_is_back);
    }

    /// Flips bits of one byte, on the platter too. Answers whether the file has that byte.
    #[must_use]
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut disk = self.lock();
        disk.version += 1;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        disk.inode_mut(&self.full(name)).is_some_and(|inode| inode.flip(at, mask))
    }

    /// Lets one bit rot somewhere in what the files of this directory hold (zeros are left alone, as long as there is something
    /// else). `None` if they hold nothing.
    #[must_use]
    pub fn rot(&self, seed: u64) -> Option<Rotten> {
        let mut random = Random(seed);
        let mut disk = self.lock();
        let rotten = self.choose(&disk, &mut random)?;
        disk.version += 1;
        let at = usize::try_from(rotten.offset).unwrap_or(usize::MAX);
        disk.inode_mut(&self.full(&rotten.file))?.flip(at, 1 << random.below(8)).then_some(rotten)
    }

    fn choose(&self, disk: &Disk, random: &mut Random) -> Option<Rotten> {
        const TRIES: usize = 16;
        let names = self.names(disk);
        let mut chosen = None;
        for _ in 0..TRIES {
            let name = names.get(random.below(names.len()))?;
            let bytes = Arc::clone(&disk.inodes.get(disk.names.get(&self.full(name))?)?.platter);
            let from = random.below(bytes.len().div_ceil(SECTOR)) * SECTOR;
            let sector = bytes.get(from..bytes.len().min(from + SECTOR)).unwrap_or_default();
            if sector.is_empty() {
                continue;
            }
            let offset = (from + random.below(sector.len())) as u64;
            chosen = Some(Rotten { file: name.clone(), offset });
            if sector.iter().any(|&byte| byte != 0) {
                break;
            }
        }
        chosen
    }

    /// Cuts a file off, on the platter too.
    pub fn truncate(&self, name: &str, length: u64) {
        let mut disk = self.lock();
        disk.version += 1;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(inode) = disk.inode_mut(&self.full(name)) {
            inode.truncate(length);
        }
    }
}
