//! The little that log and snapshots ask of a file system, so that a test can put a forgetful one in its place.

use std::io::{self, IoSlice};

/// The files of one flat directory.
pub trait Files: Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Makes a new file, for reading and writing. It may vanish at a power cut until `sync_directory`.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading only, beside whoever writes it.
    ///
    /// # Errors
    /// As the system says.
    fn open_read(&self, name: &str) -> io::Result<Self::File>;

    /// Renames a file, replacing what has the new name. May be undone by a power cut until `sync_directory`.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. May be undone by a power cut until `sync_directory`.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// The names of all files, in ascending order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;
}

/// An open file. Positions are explicit, so that reads and writes may run beside each other.
pub trait File: Send + Sync + 'static {
    /// Bytes in it.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes it that long: cuts it off, or fills it up with zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Reads some bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the buffers' bytes, in their order, at `offset`; at most `MAX_BUFFERS` buffers are given.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes everything that was written durable, and of the metadata what is needed to read it.
    ///
    /// # Errors
    /// As the system says. What is on disk is then unknown.
    fn sync(&self) -> io::Result<()>;
}

/// The most buffers that one call of `File::write_at` gets: the bound of Linux and the BSDs (`IOV_MAX`).
pub const MAX_BUFFERS: usize = 1024;

/// Reads until `buffer` is full or the file ends; answers how much there was.
///
/// # Errors
/// As the system says.
pub fn read_full<T: File>(file: &T, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of the buffers, in calls of at most `MAX_BUFFERS` each.
///
/// # Errors
/// As the system says.
pub fn write_full<T: File>(file: &T, mut buffers: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut buffers, 0);
    while !buffers.is_empty() {
        let some = &buffers[..buffers.len().min(MAX_BUFFERS)];
        match file.write_at(some, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut buffers, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
