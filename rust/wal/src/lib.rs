//! The durable log of a node, and its data directory.
//!
//! A log is a row of batches, one for every `Wal::write`; `Wal::sync` makes them durable. What was durable is never lost
//! silently: at the next start a torn tail, which nobody has acknowledged, is cut off, and a damaged middle is refused by
//! name. `format` in the sources has the bytes.
#![forbid(unsafe_code)]

mod batch;
mod counters;
mod directory;
mod disk;
mod error;
mod files;
mod format;
mod identity;
mod inspect;
mod log;
pub mod mem;
mod options;
mod pool;
mod read;
mod recover;
mod scan;
mod state;

pub use counters::Counters;
pub use directory::Directory;
pub use disk::{DiskFile, DiskFiles};
pub use error::WalError;
pub use files::{File, Files, MAX_BUFFERS, read_full, write_full};
pub use format::LOG_VERSION;
pub use identity::{IDENTITY_VERSION, Identity};
pub use inspect::{
    Damage, DirectoryReport, LogReport, SegmentReport, TornTail, inspect, inspect_files, verify, verify_files,
};
pub use log::{Wal, Written};
pub use options::{Cut, DEFAULT_SEGMENT_BYTES, Options, Recovered};
