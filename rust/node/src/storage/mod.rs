//! Storages: the native log in a directory, memory, and what makes one of a plugin.

mod directory;
mod file;
mod fold;
mod memory;
mod plugin;

pub use directory::DirectorySnapshots;
pub use file::FileStorage;
pub use memory::MemoryStorage;
pub use plugin::{PluginStorage, StorageOwner};

use crate::error::StorageError;

pub(crate) fn not_open() -> StorageError {
    StorageError::Inconsistent("the storage is not open".into())
}
