//! Frames to bytes and back. Decoding is total: whatever the bytes are, it gives a frame that keeps the contract, or a named error.

mod change;
mod decode;
mod encode;
mod error;
mod snapshot;

pub(crate) use change::{error_to_wire, member_to_wire, open_error, open_member};
pub(crate) use decode::identity;
pub use decode::{decode, open, unseal};
pub(crate) use encode::identity_bytes;
pub use encode::{Encoded, Head, Sealed, encode, seal};
pub use error::CodecError;

/// The oldest frame format that this build reads.
pub const OLDEST_FORMAT: u32 = 1;
/// The newest frame format that this build reads, and the one that it writes.
pub const NEWEST_FORMAT: u32 = d_engine_node::PROTOCOL_VERSION;
/// Largest encoded frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
