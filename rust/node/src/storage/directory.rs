//! Snapshots as files of one directory.
//!
//! `INDEX-TERM.snap` is committed, `making.tmp` is being made here, `coming-….tmp` is being received. Files get their name when
//! they are whole and on disk.

use std::fs;
use std::io::{self, ErrorKind, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use d_engine_raft::{LogId, mutants};
use d_engine_wal::{DiskFiles, File, Files, read_full, write_full};

use crate::error::StorageError;
use crate::snapshot::SnapshotHead;
use crate::traits::{SnapshotMeta, SnapshotReader, SnapshotStore, SnapshotWriter};

/// A directory of snapshots.
pub struct DirectorySnapshots<F: Files = DiskFiles>(Arc<Place<F>>);

struct Place<F> {
    files: F,
    /// What to call the directory in errors.
    name: String,
}

const COMMITTED: &str = ".snap";
const MAKING: &str = "making.tmp";
const COMING: &str = "coming-";

impl DirectorySnapshots {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let path: PathBuf = path.into();
        let name = path.display().to_string();
        if !path.is_dir() {
            fs::create_dir_all(&path).map_err(|error| StorageError::io(format!("making {name}"), error))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let above = Place { files: DiskFiles::new(parent), name: parent.display().to_string() };
                above.sync()?;
            }
        }
        Ok(Self::over(DiskFiles::new(path), name))
    }
}

impl<F: Files> DirectorySnapshots<F> {
    /// Takes up a directory that exists; `name` is what errors call it.
    pub fn over(files: F, name: impl Into<String>) -> Self {
        Self(Arc::new(Place { files, name: name.into() }))
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let name = &self.0.name;
        self.0.files.list().map_err(|error| StorageError::io(format!("listing {name}"), error))
    }

    fn committed(&self) -> Result<Vec<LogId>, StorageError> {
        let mut all: Vec<LogId> = self.names()?.iter().filter_map(|name| parse_committed(name)).collect();
        all.sort_unstable_by_key(|last| (last.index, last.term));
        Ok(all)
    }

    fn read(&self, name: String) -> Result<Reader<F>, StorageError> {
        let file = self.0.files.open_read(&name).map_err(self.0.failed("opening", &name))?;
        Ok(Reader { place: Arc::clone(&self.0), file, name })
    }
}

impl<F: Files> Place<F> {
    fn failed<'a>(&'a self, what: &'a str, file: &'a str) -> impl FnOnce(io::Error) -> StorageError + 'a {
        move |error| StorageError::io(format!("{what} {}/{file}", self.name), error)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let name = &self.name;
        self.files.sync_directory().map_err(|error| StorageError::io(format!("syncing {name}"), error))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.files.remove(name).map_err(self.failed("removing", name))
    }

    /// A file for writing, there before or not.
    fn make(&self, name: &str) -> Result<F::File, StorageError> {
        let made = match self.files.create(name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.files.open(name),
            made => made,
        };
        made.map_err(self.failed("making", name))
    }

    fn read_at(&self, file: &F::File, name: &str, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
        let mut buffer = vec![0; limit];
        let length = read_full(file, &mut buffer, offset).map_err(self.failed("reading", name))?;
        buffer.truncate(length);
        Ok(buffer.into())
    }
}

fn committed_name(last: LogId) -> String {
    format!("{:020}-{:020}{COMMITTED}", last.index, last.term)
}

fn coming_name(meta: &SnapshotMeta) -> String {
    let mut name = format!("{COMING}{}-{}-{}-", meta.last.index, meta.last.term, meta.size);
    for byte in meta.digest.unwrap_or_default() {
        name.extend(char::from_digit(u32::from(byte >> 4), 16));
        name.extend(char::from_digit(u32::from(byte & 15), 16));
    }
    name.push_str(".tmp");
    name
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

impl<F: Files> SnapshotStore for DirectorySnapshots<F> {
    fn create(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let received = meta.digest.is_some();
        let name = if received { coming_name(meta) } else { MAKING.to_owned() };
        if received {
            for old in self.names()?.iter().filter(|old| old.starts_with(COMING) && **old != name) {
                self.0.remove(old)?;
            }
        }
        let file = self.0.make(&name)?;
        if !received {
            file.set_len(0).map_err(self.0.failed("making", &name))?;
        }
        Ok(Box::new(Writer { place: Arc::clone(&self.0), file, name }))
    }

    fn latest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let Some(last) = self.committed()?.pop() else { return Ok(None) };
        let mut reader = self.read(committed_name(last))?;
        let (head, _) = SnapshotHead::read(&mut reader)?;
        Ok(Some(head.meta()))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotReader>, StorageError> {
        Ok(Box::new(self.read(committed_name(meta.last))?))
    }

    fn partial(&self) -> Result<Option<(SnapshotMeta, u64)>, StorageError> {
        for name in self.names()? {
            if let Some(meta) = parse_coming(&name) {
                let file = self.0.files.open_read(&name).map_err(self.0.failed("looking at", &name))?;
                let length = file.len().map_err(self.0.failed("looking at", &name))?;
                return Ok(Some((meta, length.min(meta.size))));
            }
        }
        Ok(None)
    }

    fn retain(&self, count: usize) -> Result<(), StorageError> {
        let all = self.committed()?;
        for &last in all.iter().rev().skip(count) {
            self.0.remove(&committed_name(last))?;
        }
        Ok(())
    }
}

struct Writer<F: Files> {
    place: Arc<Place<F>>,
    file: F::File,
    name: String,
}

impl<F: Files> SnapshotWriter for Writer<F> {
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        write_full(&self.file, &mut [IoSlice::new(data)], offset).map_err(self.place.failed("writing", &self.name))
    }

    fn commit(self: Box<Self>, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let Self { place, file, name } = *self;
        // A partial one may have been longer than what is known of it.
        file.set_len(meta.size).map_err(place.failed("writing", &name))?;
        if !mutants::on("29-snapshot-not-synced") {
            file.sync().map_err(place.failed("syncing", &name))?;
        }
        place.files.rename(&name, &committed_name(meta.last)).map_err(place.failed("renaming", &name))?;
        if mutants::on("29-snapshot-name") { Ok(()) } else { place.sync() }
    }

    fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.place.remove(&self.name)
    }

    fn read_back(&mut self, offset: u64, limit: usize) -> Result<Option<Bytes>, StorageError> {
        self.place.read_at(&self.file, &self.name, offset, limit).map(Some)
    }
}

struct Reader<F: Files> {
    place: Arc<Place<F>>,
    file: F::File,
    name: String,
}

impl<F: Files> SnapshotReader for Reader<F> {
    fn read(&mut self, offset: u64, limit: usize) -> Result<Bytes, StorageError> {
        self.place.read_at(&self.file, &self.name, offset, limit)
    }
}
