//! Files on a real disk.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::files::{File, Files};

/// The files of a directory of the operating system.
#[derive(Clone, Debug)]
pub struct DiskFiles {
    directory: PathBuf,
}

impl DiskFiles {
    /// Takes up a directory that exists.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// A file on a real disk.
#[derive(Debug)]
pub struct DiskFile(fs::File);

impl Files for DiskFiles {
    type File = DiskFile;

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.directory.join(name)).map(DiskFile)
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        OpenOptions::new().read(true).write(true).open(self.directory.join(name)).map(DiskFile)
    }

    fn open_read(&self, name: &str) -> io::Result<DiskFile> {
        fs::File::open(self.directory.join(name)).map(DiskFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Windows has no such call: NTFS journals its names, and a directory cannot be opened as a file.
    if cfg!(windows) { Ok(()) } else { fs::File::open(directory)?.sync_all() }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, buffers, offset)?)
    }

    // Where there is no vectored write at a position: one buffer at a time, small ones joined so that a batch of small
    // records is not one call each.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        const JOINED: usize = 1 << 18;
        let mut joined = Vec::new();
        for buffer in buffers {
            if !joined.is_empty() && joined.len() + buffer.len() > JOINED {
                break;
            }
            joined.extend_from_slice(buffer);
        }
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(&self.0, &joined, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(&self.0, &joined, offset);
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync; F_FULLFSYNC on Apple's systems, where fsync does not reach the platter; FlushFileBuffers on Windows.
        self.0.sync_data()
    }
}
