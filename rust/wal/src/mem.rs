//! A disk for tests: it forgets what was not synced.
//!
//! Contents are kept twice: as the operating system shows them, and as they are on the platter. A write reaches the platter
//! with a sync; at a power cut every 512-byte sector written since then is kept or lost by itself (of several versions of a
//! sector any one may be the one that stayed), and so is every name that was made, changed or removed since the directory was
//! synced. Which ones is drawn from a seed: the same seed, the same disk.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{File, Files};

const SECTOR: usize = 512;

/// One disk with one directory. Clones are the same disk: keep one to pull its plug.
#[derive(Clone, Debug, Default)]
pub struct MemFiles {
    disk: Arc<Mutex<Disk>>,
}

/// A file on such a disk.
#[derive(Debug)]
pub struct MemFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    /// Power cuts that the disk has seen when it was opened: a process does not outlive one.
    boot: u64,
    writable: bool,
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

#[derive(Debug, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Change>,
    operations: Operations,
    boot: u64,
    random: Random,
    /// Changing operations left until the power goes.
    power_left: Option<u64>,
    dead: bool,
    failing_syncs: Option<u64>,
    failing_writes: Option<u64>,
    capacity: Option<u64>,
}

#[derive(Debug, Default)]
struct Inode {
    shown: Vec<u8>,
    platter: Vec<u8>,
    /// What was written to a sector since the last sync, oldest first.
    unsynced: BTreeMap<usize, Vec<[u8; SECTOR]>>,
}

#[derive(Debug)]
enum Change {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// `SplitMix64`.
#[derive(Debug, Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }
}

impl MemFiles {
    /// An empty disk whose accidents are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let files = Self::default();
        files.lock().random = Random(seed);
        files
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pulls the plug now, and plugs it in again: what was not synced is there or not, as `seed` has it. Files that were open
    /// fail from now on.
    pub fn power_cut(&self, seed: u64) {
        let mut disk = self.lock();
        disk.random = Random(seed);
        disk.cut();
    }

    /// Lets the power go in the middle of the changing operation (write, sync, name) after the next `operations` ones: it and
    /// everything after it fails, until `power_cut`.
    pub fn cut_after(&self, operations: u64) {
        self.lock().power_left = Some(operations);
    }

    /// Whether the power that `cut_after` takes is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Lets one sync of a file fail, after `after` more that work. As on Linux, what it should have written is then taken for
    /// clean: it is shown, later syncs succeed, and the platter may never get it.
    pub fn fail_sync(&self, after: u64) {
        self.lock().failing_syncs = Some(after);
    }

    /// Lets one write to a file fail in its middle, after `after` more that work.
    pub fn fail_write(&self, after: u64) {
        self.lock().failing_writes = Some(after);
    }

    /// Calls off the accidents that `cut_after`, `fail_sync` and `fail_write` have arranged.
    pub fn calm(&self) {
        let mut disk = self.lock();
        (disk.power_left, disk.failing_syncs, disk.failing_writes) = (None, None, None);
    }

    /// Lets the disk be full at so many bytes in all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Flips bits of one byte, on the platter too. Answers whether the file has that byte.
    #[must_use]
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut disk = self.lock();
        let (Some(inode), Ok(at)) = (disk.inode_mut(name), usize::try_from(offset)) else { return false };
        let Some(byte) = inode.shown.get_mut(at) else { return false };
        *byte ^= mask;
        if let Some(byte) = inode.platter.get_mut(at) {
            *byte ^= mask;
        }
        true
    }

    /// Cuts a file off, on the platter too.
    pub fn truncate(&self, name: &str, length: u64) {
        let mut disk = self.lock();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(inode) = disk.inode_mut(name) {
            inode.shown.truncate(length);
            inode.platter.truncate(length);
            inode.unsynced.retain(|&sector, _| sector * SECTOR < length);
        }
    }

    /// What the operating system shows of a file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().inode_mut(name).map(|inode| inode.shown.clone())
    }

    /// Puts a durable file there.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.lock();
        let number = disk.next_inode;
        disk.next_inode += 1;
        let inode = Inode { shown: bytes.to_vec(), platter: bytes.to_vec(), unsynced: BTreeMap::new() };
        disk.inodes.insert(number, inode);
        disk.names.insert(name.to_owned(), number);
        disk.durable_names.insert(name.to_owned(), number);
    }

    /// A disk of its own with what this one shows, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(0);
        let disk = self.lock();
        for (name, number) in &disk.names {
            if let Some(inode) = disk.inodes.get(number) {
                copy.put(name, &inode.shown);
            }
        }
        drop(disk);
        copy
    }

    /// How often it was asked for what.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.lock().operations
    }
}

impl Disk {
    fn inode_mut(&mut self, name: &str) -> Option<&mut Inode> {
        let number = self.names.get(name)?;
        self.inodes.get_mut(number)
    }

    fn check_power(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a changing operation; answers whether the power goes in its middle.
    fn power_goes(&mut self) -> io::Result<bool> {
        self.check_power()?;
        match &mut self.power_left {
            Some(0) => {
                self.dead = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn no_power<T>() -> io::Result<T> {
        Err(io::Error::other("the power has gone"))
    }

    fn cut(&mut self) {
        let Self { inodes, random, .. } = self;
        for inode in inodes.values_mut() {
            inode.cut(random);
        }
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.random.below(2) == 0 {
                continue;
            }
            match change {
                Change::Create(name, inode) => {
                    self.durable_names.insert(name, inode);
                }
                Change::Rename(from, to) => {
                    if let Some(inode) = self.durable_names.remove(&from) {
                        self.durable_names.insert(to, inode);
                    }
                }
                Change::Remove(name) => {
                    self.durable_names.remove(&name);
                }
            }
        }
        self.names.clone_from(&self.durable_names);
        let kept: Vec<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, _| kept.contains(number));
        self.boot += 1;
        (self.dead, self.power_left, self.failing_syncs, self.failing_writes) = (false, None, None, None);
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|inode| inode.shown.len() as u64).sum()
    }
}

fn fails(countdown: &mut Option<u64>) -> bool {
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

impl Inode {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        if self.shown.len() < at + bytes.len() {
            self.shown.resize(at + bytes.len(), 0);
        }
        self.shown[at..at + bytes.len()].copy_from_slice(bytes);
        if bytes.is_empty() {
            return;
        }
        for sector in at / SECTOR..=(at + bytes.len() - 1) / SECTOR {
            let mut version = [0; SECTOR];
            let from = sector * SECTOR;
            let to = self.shown.len().min(from + SECTOR);
            version[..to - from].copy_from_slice(&self.shown[from..to]);
            self.unsynced.entry(sector).or_default().push(version);
        }
    }

    fn keep(&mut self, sector: usize, version: &[u8; SECTOR], length: usize) {
        let from = sector * SECTOR;
        if from >= length {
            return;
        }
        let to = length.min(from + SECTOR);
        if self.platter.len() < to {
            self.platter.resize(to, 0);
        }
        self.platter[from..to].copy_from_slice(&version[..to - from]);
    }

    fn sync(&mut self) {
        let length = self.shown.len();
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(version) = versions.last() {
                self.keep(sector, version, length);
            }
        }
        self.platter.resize(length, 0);
    }

    fn cut(&mut self, random: &mut Random) {
        // The length is metadata of its own: it may lag behind.
        let length = if random.below(2) == 0 { self.platter.len() } else { self.shown.len() };
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            let choice = random.below(versions.len() + 1);
            if let Some(version) = choice.checked_sub(1).and_then(|choice| versions.get(choice)) {
                self.keep(sector, version, length);
            }
        }
        self.platter.resize(length, 0);
        self.shown.clone_from(&self.platter);
    }

    /// Some sectors reach the platter, the others are forgotten although they go on being shown.
    fn fail_sync(&mut self, random: &mut Random) {
        let length = self.shown.len();
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let (Some(version), 0) = (versions.last(), random.below(2)) {
                self.keep(sector, version, length);
            }
        }
    }
}

impl Files for MemFiles {
    type File = MemFile;

    fn create(&self, name: &str) -> io::Result<MemFile> {
        let mut disk = self.lock();
        if disk.power_goes()? {
            return Disk::no_power();
        }
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.operations.names += 1;
        let inode = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(inode, Inode::default());
        disk.names.insert(name.to_owned(), inode);
        disk.unsynced_names.push(Change::Create(name.to_owned(), inode));
        Ok(MemFile { disk: Arc::clone(&self.disk), inode, boot: disk.boot, writable: true })
    }

    fn open(&self, name: &str) -> io::Result<MemFile> {
        let disk = self.lock();
        disk.check_power()?;
        let inode = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(MemFile { disk: Arc::clone(&self.disk), inode, boot: disk.boot, writable: true })
    }

    fn open_read(&self, name: &str) -> io::Result<MemFile> {
        self.open(name).map(|file| MemFile { writable: false, ..file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.power_goes()? {
            return Disk::no_power();
        }
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.operations.names += 1;
        disk.names.insert(to.to_owned(), inode);
        disk.unsynced_names.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.power_goes()? {
            return Disk::no_power();
        }
        disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.operations.names += 1;
        disk.unsynced_names.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.power_goes()? {
            return Disk::no_power();
        }
        disk.operations.directory_syncs += 1;
        disk.unsynced_names.clear();
        disk.durable_names = disk.names.clone();
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.lock();
        disk.check_power()?;
        Ok(disk.names.keys().cloned().collect())
    }
}

impl MemFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.check_power()?;
        if disk.boot == self.boot { Ok(disk) } else { Err(io::Error::other("opened before the power cut")) }
    }
}

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock()?.inodes.get(&self.inode).map_or(0, |inode| inode.shown.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.lock()?;
        disk.operations.reads += 1;
        let Some(inode) = disk.inodes.get(&self.inode) else { return Ok(0) };
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.shown.len());
        let count = buffer.len().min(inode.shown.len() - at);
        buffer[..count].copy_from_slice(&inode.shown[at..at + count]);
        Ok(count)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.lock()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let power_goes = disk.power_goes()?;
        let fails = fails(&mut disk.failing_writes);
        if power_goes || fails {
            let some = disk.random.below(bytes.len() + 1);
            bytes.truncate(some);
        }
        disk.operations.writes += 1;
        let used = disk.used();
        let capacity = disk.capacity;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(inode) = disk.inodes.get_mut(&self.inode) else { return Ok(0) };
        let grows = (at + bytes.len()).saturating_sub(inode.shown.len()) as u64;
        if capacity.is_some_and(|capacity| used + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.write(at, &bytes);
        match (power_goes, fails) {
            (true, _) => Disk::no_power(),
            (_, true) => Err(io::Error::other("a write failed, as the test wants it")),
            _ => Ok(bytes.len()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock()?;
        if disk.power_goes()? {
            return Disk::no_power();
        }
        disk.operations.syncs += 1;
        let fails = fails(&mut disk.failing_syncs);
        let Disk { inodes, random, .. } = &mut *disk;
        let Some(inode) = inodes.get_mut(&self.inode) else { return Ok(()) };
        if fails {
            inode.fail_sync(random);
            return Err(io::Error::other("a sync failed, as the test wants it"));
        }
        inode.sync();
        Ok(())
    }
}
