//! What the log sees of such a disk.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, MemFiles};
use crate::files::{File, Files};

/// A file on such a disk.
#[derive(Debug)]
pub struct MemFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    /// Power cuts that the disk has seen when it was opened: a process does not outlive one.
    boot: u64,
    writable: bool,
}

impl Files for MemFiles {
    type File = MemFile;

    fn create(&self, name: &str) -> io::Result<MemFile> {
        let mut disk = self.lock();
        let inode = disk.create(self.full(name))?;
        Ok(MemFile { disk: Arc::clone(&self.disk), inode, boot: disk.boot, writable: true })
    }

    fn open(&self, name: &str) -> io::Result<MemFile> {
        let disk = self.lock();
        disk.check_power()?;
        let inode = *disk.names.get(&self.full(name)).ok_or(io::ErrorKind::NotFound)?;
        Ok(MemFile { disk: Arc::clone(&self.disk), inode, boot: disk.boot, writable: true })
    }

    fn open_read(&self, name: &str) -> io::Result<MemFile> {
        self.open(name).map(|file| MemFile { writable: false, ..file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().rename(self.full(from), self.full(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(self.full(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.lock().sync_directory(&self.directory)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.lock();
        disk.check_power()?;
        Ok(self.names(&disk))
    }
}

impl MemFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.check_power()?;
        if disk.boot == self.boot { Ok(disk) } else { Err(io::Error::other("opened before the power cut")) }
    }

    fn lock_to_write(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.lock()?;
        if self.writable { Ok(disk) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock()?.inodes.get(&self.inode).map_or(0, |inode| inode.shown.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.lock_to_write()?;
        disk.changes()?;
        disk.operations.writes += 1;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(inode) = disk.inodes.get_mut(&self.inode) {
            inode.set_len(length);
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.lock()?;
        disk.operations.reads += 1;
        if disk.accidents.read_fails() {
            return Err(io::Error::other("a read failed, as the test wants it"));
        }
        let Some(inode) = disk.inodes.get(&self.inode) else { return Ok(0) };
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.shown.len());
        let count = buffer.len().min(inode.shown.len() - at);
        buffer[..count].copy_from_slice(&inode.shown[at..at + count]);
        Ok(count)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.lock_to_write()?;
        let mut bytes = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
        for buffer in buffers {
            bytes.extend_from_slice(buffer);
        }
        let power_goes = disk.power_goes()?;
        let fails = disk.accidents.write_fails();
        if power_goes || fails {
            let some = disk.random.below(bytes.len() + 1);
            bytes.truncate(some);
        }
        disk.operations.writes += 1;
        let used = if disk.accidents.capacity.is_some() { disk.used() } else { 0 };
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let Disk { inodes, accidents, random, .. } = &mut *disk;
        let Some(inode) = inodes.get_mut(&self.inode) else { return Ok(0) };
        let grows = (at + bytes.len()).saturating_sub(inode.shown.len()) as u64;
        if accidents.capacity.is_some_and(|capacity| used + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = inode.shown.len().max(at + bytes.len());
        inode.write(at, &bytes, accidents.aim(length, random));
        match (power_goes, fails) {
            (true, _) => Disk::no_power(),
            (_, true) => Err(io::Error::other("a write failed, as the test wants it")),
            _ => Ok(bytes.len()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock()?;
        disk.changes()?;
        disk.operations.syncs += 1;
        disk.version += 1;
        let fails = disk.accidents.sync_fails();
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
