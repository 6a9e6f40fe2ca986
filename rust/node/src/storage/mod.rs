//! Storages: the native log in a directory, memory, and what makes one of a plugin. Log and snapshots of the native one stand on
//! `d_engine_wal::Files`, so that a simulated disk can take the directory's place.

mod batch;
mod directory;
mod file;
mod fold;
mod log;
mod memory;
mod plugin;

pub use batch::{LogBatch, LogTask};
pub use directory::DirectorySnapshots;
pub use file::FileStorage;
pub use log::WalLog;
pub use memory::MemoryStorage;
pub use plugin::{PluginStorage, StorageOwner};

use crate::error::StorageError;

pub(crate) fn not_open() -> StorageError {
    StorageError::Inconsistent("the storage is not open".into())
}
