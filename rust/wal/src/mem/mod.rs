//! A disk for tests: it forgets what was not synced.
//!
//! Contents are kept twice: as the operating system shows them, and as they are on the platter. A write reaches the platter
//! with a sync; at a power cut every 512-byte sector written since then is kept or lost by itself (of several versions of a
//! sector any one may be the one that stayed), and so is every name that was made, changed or removed since the directory was
//! synced. Which ones is drawn from a seed: the same seed, the same disk. Other accidents can be arranged: failing reads, writes
//! and syncs, writes that get lost or go astray although the disk says that all is well, bits that rot, a full disk.

mod accidents;
mod disk;
mod files;
mod inode;
mod random;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use accidents::Rotten;
use disk::{Disk, is_in};
pub use files::MemFile;
use random::Random;

/// One directory of a disk. Clones are the same disk: keep one to pull its plug.
#[derive(Clone, Debug, Default)]
pub struct MemFiles {
    disk: Arc<Mutex<Disk>>,
    /// What stands before the names of its files.
    directory: String,
}

/// How often a disk was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reads of files.
    pub reads: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of the directory.
    pub directory_syncs: u64,
    /// Files made, renamed and removed.
    pub names: u64,
}

impl MemFiles {
    /// An empty disk whose accidents are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let files = Self::default();
        files.lock().random = Random(seed);
        files
    }

    fn around(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), directory: String::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.directory)
    }

    fn names(&self, disk: &Disk) -> Vec<String> {
        let here = disk.names.keys().filter(|name| is_in(name, &self.directory));
        here.map(|name| name[self.directory.len()..].to_owned()).collect()
    }

    /// A directory inside this one, on the same disk; it need not be made, and its own name is durable.
    #[must_use]
    pub fn directory(&self, name: &str) -> Self {
        Self { disk: Arc::clone(&self.disk), directory: format!("{}{name}/", self.directory) }
    }

    /// Pulls the plug now, and plugs it in again: what was not synced is there or not, as `seed` has it. Files that were open
    /// fail from now on.
    pub fn power_cut(&self, seed: u64) {
        let mut disk = self.lock();
        disk.random = Random(seed);
        disk.cut();
    }

    /// Whether the power that `cut_after` takes is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// A disk of its own, as this one would be after `power_cut(seed)`: every seed draws another. Cheap: what the images of a
    /// disk have in common is there once.
    #[must_use]
    pub fn crash_image(&self, seed: u64) -> Self {
        Self { directory: self.directory.clone(), ..Self::around(self.lock().after_cut(&mut Random(seed))) }
    }

    /// A disk of its own with what is durable here, and nothing else. Cheap, too.
    #[must_use]
    pub fn platter(&self) -> Self {
        Self { directory: self.directory.clone(), ..Self::around(self.lock().platter()) }
    }

    /// A number that differs whenever `platter` may.
    #[must_use]
    pub fn platter_version(&self) -> u64 {
        self.lock().version
    }

    /// What the operating system shows of a file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().inode_mut(&self.full(name)).map(|inode| inode.shown.to_vec())
    }

    /// Puts a durable file there.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.lock().put(&self.full(name), bytes);
    }

    /// A disk of its own with what this one shows, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut copy = Disk::default();
        let disk = self.lock();
        for (name, number) in &disk.names {
            if let Some(inode) = disk.inodes.get(number) {
                copy.put(name, &inode.shown);
            }
        }
        drop(disk);
        Self { directory: self.directory.clone(), ..Self::around(copy) }
    }

    /// How often the disk was asked for what.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.lock().operations
    }
}
