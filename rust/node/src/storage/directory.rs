//! Snapshots as files of one directory.
//!
//! `INDEX-TERM.snap` is committed, `making.tmp` is being made here, `coming-….tmp` is being received. Files get their name when
//! they are whole and on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use d_engine_raft::LogId;

use crate::error::StorageError;
use crate::snapshot::SnapshotHead;
use crate::traits::{SnapshotMeta, SnapshotReader, SnapshotStore, SnapshotWriter};

/// A directory of snapshots.
pub struct DirectorySnapshots {
    path: PathBuf,
}

const COMMITTED: &str = ".snap";
const MAKING: &str = "making.tmp";
const COMING: &str = "coming-";

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |error| StorageError::io(format!("{what} {}", path.display()), error)
}

fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("syncing", path))
}

impl DirectorySnapshots {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let path = path.into();
        if !path.is_dir() {
            fs::create_dir_all(&path).map_err(failed("making", &path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        Ok(Self { path })
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed("listing", &self.path))? {
            let entry = entry.map_err(failed("listing", &self.path))?;
            names.extend(entry.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn committed(&self) -> Result<Vec<LogId>, StorageError> {
        let mut all: Vec<LogId> = self.names()?.iter().filter_map(|name| parse_committed(name)).collect();
        all.sort_unstable_by_key(|last| (last.index, last.term));
        Ok(all)
    }

    fn file(&self, last: LogId) -> PathBuf {
        self.path.join(format!("{:020}-{:020}{COMMITTED}", last.index, last.term))
    }

    fn coming(&self, meta: &SnapshotMeta) -> PathBuf {
        let mut name = format!("{COMING}{}-{}-{}-", meta.last.index, meta.last.term, meta.size);
        for byte in meta.digest.unwrap_or_default() {
            name.extend(char::from_digit(u32::from(byte >> 4), 16));
            name.extend(char::from_digit(u32::from(byte & 15), 16));
        }
        name.push_str(".tmp");
        self.path.join(name)
    }
}

fn parse_committed(name: &str) -> Option<LogId> {
    let (index, term) = name.strip_suffix(COMMITTED)?.split_once('-')?;
    Some(LogId::new(index.parse().ok()?, term.parse().ok()?))
}

fn parse_coming(name: &str) -> Option<SnapshotMeta> {
    let mut parts = name.strip_prefix(COMING)?.strip_suffix(".tmp")?.split('-');
    let (index, term) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (size, hex) = (parts.next()?.parse().ok()?, parts.next()?);
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(SnapshotMeta { last: LogId::new(index, term), digest: Some(digest), size })
}

impl SnapshotStore for DirectorySnapshots {
    fn create(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let received = meta.digest.is_some();
        let path = if received { self.coming(meta) } else { self.path.join(MAKING) };
        if received {
            let keep = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            for name in self.names()?.iter().filter(|name| name.starts_with(COMING) && **name != keep) {
                let old = self.path.join(name);
                fs::remove_file(&old).map_err(failed("removing", &old))?;
            }
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!received)
            .open(&path)
            .map_err(failed("making", &path))?;
        Ok(Box::new(Writer { file, path, target: self.file(meta.last), directory: self.path.clone() }))
    }

    fn latest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let Some(last) = self.committed()?.pop() else { return Ok(None) };
        let path = self.file(last);
        let mut reader = Reader { file: File::open(&path).map_err(failed("opening", &path))?, path };
        let (head, _) = SnapshotHead::read(&mut reader)?;
        Ok(Some(head.meta()))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotReader>, StorageError> {
        let path = self.file(meta.last);
        let file = File::open(&path).map_err(failed("opening", &path))?;
        Ok(Box::new(Reader { file, path }))
    }

    fn partial(&self) -> Result<Option<(SnapshotMeta, u64)>, StorageError> {
        for name in self.names()? {
            if let Some(meta) = parse_coming(&name) {
                let path = self.path.join(&name);
                let length = fs::metadata(&path).map_err(failed("looking at", &path))?.len();
                return Ok(Some((meta, length.min(meta.size))));
            }
        }
        Ok(None)
    }

    fn retain(&self, count: usize) -> Result<(), StorageError> {
        let all = self.committed()?;
        for &last in all.iter().rev().skip(count) {
            let path = self.file(last);
            fs::remove_file(&path).map_err(failed("removing", &path))?;
        }
        Ok(())
    }
}

struct Writer {
    file: File,
    path: PathBuf,
    target: PathBuf,
    directory: PathBuf,
}

impl SnapshotWriter for Writer {
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.file.write_all_at(data, offset).map_err(failed("writing", &self.path))
    }

    fn commit(self: Box<Self>, meta: &SnapshotMeta) -> Result<(), StorageError> {
        // A partial one may have been longer than what is known of it.
        self.file.set_len(meta.size).map_err(failed("writing", &self.path))?;
        self.file.sync_all().map_err(failed("syncing", &self.path))?;
        fs::rename(&self.path, &self.target).map_err(failed("renaming", &self.path))?;
        sync_directory(&self.directory)
    }

    fn abort(self: Box<Self>) -> Result<(), StorageError> {
        fs::remove_file(&self.path).map_err(failed("removing", &self.path))
    }

    fn read_back(&mut self, offset: u64, limit: usize) -> Result<Option<Bytes>, StorageError> {
        read_at(&self.file, &self.path, offset, limit).map(Some)
    }
}

struct Reader {
    file: File,
    path: PathBuf,
}

impl SnapshotReader for Reader {
    fn read(&mut self, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
        read_at(&self.file, &self.path, offset, limit)
    }
}

fn read_at(file: &File, path: &Path, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
    let mut buffer = vec![0; limit];
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer.into());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("reading", path)(error)),
        }
    }
}
