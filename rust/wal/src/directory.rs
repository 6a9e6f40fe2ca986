//! A node's data directory: the lock, the identity, and where the rest lives.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fs4::{FileExt, TryLockError};

use crate::disk::{DiskFiles, sync_directory};
use crate::error::WalError;
use crate::identity::{IDENTITY_VERSION, Identity, NoIdentity};
use crate::log::Wal;
use crate::options::{Options, Recovered};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
const LOG: &str = "log";

/// A data directory, held exclusively until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    // Holds the lock; the system lets go of it when the process ends, however it ends.
    _lock: fs::File,
}

impl Directory {
    /// Takes a directory, making it if need be.
    ///
    /// # Errors
    /// `DirectoryLocked` if somebody else has it, or what the disk says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, WalError> {
        let path = path.into();
        let name = path.display().to_string();
        make_directory(&path)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(WalError::io("open the lock of", name.as_str()))?;
        match FileExt::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(WalError::DirectoryLocked { holder: read_holder(&mut lock), directory: path });
            }
            Err(TryLockError::Error(error)) => return Err(WalError::io("lock", name)(error)),
        }
        // For the message of whoever comes next; nothing depends on it.
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(WalError::io("write the lock of", name))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stored identity; `None` in a new directory.
    ///
    /// # Errors
    /// `CorruptIdentity`, `Version`; `IdentityMissing` if there is a log all the same; or what the disk says.
    pub fn identity(&self) -> Result<Option<Identity>, WalError> {
        let identity = read_identity(&self.path)?;
        if identity.is_none() && has_log(&self.path)? {
            return Err(WalError::IdentityMissing { directory: self.path.clone() });
        }
        Ok(identity)
    }

    /// Stores `identity` in a new directory and gives it back; otherwise gives what is stored, which then holds.
    ///
    /// # Errors
    /// As `identity`, and what the disk says.
    pub fn open_identity(&self, identity: Identity) -> Result<Identity, WalError> {
        if let Some(stored) = self.identity()? {
            return Ok(stored);
        }
        self.store_identity(&identity)?;
        Ok(identity)
    }

    /// Replaces the identity: all of it or nothing, durable on return.
    ///
    /// # Errors
    /// What the disk says.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), WalError> {
        let path = self.path.join(IDENTITY_NEW);
        let name = path.display().to_string();
        let mut file = fs::File::create(&path).map_err(WalError::io("create", name.as_str()))?;
        file.write_all(&identity.encode()).map_err(WalError::io("write", name.as_str()))?;
        file.sync_all().map_err(WalError::io("sync", name.as_str()))?;
        drop(file);
        fs::rename(&path, self.path.join(IDENTITY)).map_err(WalError::io("rename", name))?;
        sync_directory(&self.path).map_err(WalError::io("sync", self.path.display().to_string()))
    }

    /// A directory inside this one, made and durable if need be; for snapshots, for example.
    ///
    /// # Errors
    /// What the disk says.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, WalError> {
        let path = self.path.join(name);
        make_directory(&path)?;
        Ok(path)
    }

    /// Opens the log in here.
    ///
    /// # Errors
    /// As `Wal::open`.
    pub fn open_log(&self, options: Options) -> Result<(Wal<DiskFiles>, Recovered), WalError> {
        Wal::open(DiskFiles::new(self.subdirectory(LOG)?), options)
    }
}

/// Makes a directory and everything above it, with durable names.
fn make_directory(path: &Path) -> Result<(), WalError> {
    if path.is_dir() {
        return Ok(());
    }
    let name = path.display().to_string();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists || !path.is_dir() => {
            return Err(WalError::io("create the directory", name)(error));
        }
        _ => {}
    }
    sync_directory(parent.unwrap_or_else(|| Path::new("."))).map_err(WalError::io("sync the directory above", name))
}

pub(crate) fn log_path(directory: &Path) -> PathBuf {
    directory.join(LOG)
}

fn has_log(directory: &Path) -> Result<bool, WalError> {
    let log = log_path(directory);
    if !log.is_dir() {
        return Ok(false);
    }
    let name = log.display().to_string();
    let mut names = fs::read_dir(&log).map_err(WalError::io("list", name.as_str()))?;
    names.next().transpose().map(|entry| entry.is_some()).map_err(WalError::io("list", name))
}

/// Reads the identity without taking the directory.
pub(crate) fn read_identity(directory: &Path) -> Result<Option<Identity>, WalError> {
    let path = directory.join(IDENTITY);
    let file = path.display().to_string();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WalError::io("read", file)(error)),
    };
    match Identity::decode(&bytes) {
        Ok(identity) => Ok(Some(identity)),
        Err(NoIdentity::Damaged(reason)) => Err(WalError::CorruptIdentity { file, reason }),
        Err(NoIdentity::Version(found)) => Err(WalError::Version { file, found, supported: IDENTITY_VERSION }),
    }
}

/// Who has the directory, if anybody has.
pub(crate) fn holder(directory: &Path) -> (bool, Option<u32>) {
    let Ok(mut lock) = fs::File::open(directory.join(LOCK)) else { return (false, None) };
    match FileExt::try_lock_shared(&lock) {
        Err(TryLockError::WouldBlock) => (true, read_holder(&mut lock)),
        _ => (false, None),
    }
}

fn read_holder(lock: &mut fs::File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
