//! Snapshot files.
//!
//! ```text
//! header   8  magic and format version
//!          4  length of the body
//!          4  CRC32C of magic, length and body
//!             body: cluster id 16, group 8, index 8, term 8, time 8, size of the file 8, content hash 32,
//!                   index of the configuration 8, its length 4, the configuration
//! content     sections: 1, length of the name (1), name; blocks: 2, length 4, CRC32C 4, bytes; end of the section: 3
//! trailer     4, length of the content 8, content hash 32, CRC32C 4 of these
//! ```
//! Integers are little-endian; the content hash is the SHA-256 of the content. Size and hash are zero in the header until the
//! file is complete. Sections today: `sessions` (`driver::Sessions`, nothing in the first release), then `user`.

mod decode;
mod encode;
mod head;
#[cfg(test)]
mod tests;

pub(crate) use decode::{Decoder, Verifier};
pub(crate) use encode::{Encoder, Finished};
pub use head::SnapshotHead;

pub(crate) const SECTION_SESSIONS: &str = "sessions";
pub(crate) const SECTION_USER: &str = "user";

const MAGIC: &[u8; 8] = b"DESNAP\0\x01";
const TAG_SECTION: u8 = 1;
const TAG_BLOCK: u8 = 2;
const TAG_SECTION_END: u8 = 3;
const TAG_TRAILER: u8 = 4;
const BLOCK_BYTES: usize = 128 << 10;
/// A reader refuses blocks beyond that: the length is not covered by the block's own checksum.
const MAX_BLOCK_BYTES: usize = 16 << 20;
const TRAILER_BYTES: usize = 1 + 8 + 32 + 4;
