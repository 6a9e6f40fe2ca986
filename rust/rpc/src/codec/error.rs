//! What can be wrong with bytes that claim to be a frame.

use d_engine_raft::{ConfigurationError, Index, RecordError};

use super::{MAX_FRAME_BYTES, NEWEST_FORMAT, OLDEST_FORMAT};

/// Why bytes are not a frame, or a frame cannot become bytes. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CodecError {
    /// Over the bound.
    #[error(
        "a frame of {size} bytes is over the bound of {MAX_FRAME_BYTES}: lower max_entry_bytes or send fewer entries at once"
    )]
    Oversized {
        /// Its size.
        size: usize,
    },
    /// Not protobuf, or cut off.
    #[error("the bytes are not a frame, or only a part of one: {0}")]
    Garbage(#[from] prost::DecodeError),
    /// The outer checksum does not fit.
    #[error("the frame's checksum is {stored:08x}, its bytes give {computed:08x}: it was damaged on its way")]
    Checksum {
        /// What it says.
        stored: u32,
        /// What it should say.
        computed: u32,
    },
    /// Another release's format.
    #[error("the frame has format {found}; this build reads {OLDEST_FORMAT} to {NEWEST_FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part has a value that it cannot have.
    #[error("{field} cannot be {found}")]
    Value {
        /// Which part.
        field: &'static str,
        /// What it says.
        found: u64,
    },
    /// A part has a length that it cannot have.
    #[error("{field} has {found} bytes, it must have {expected}")]
    Length {
        /// Which part.
        field: &'static str,
        /// Its bytes.
        found: u64,
        /// What they should be.
        expected: u64,
    },
    /// A record is damaged.
    #[error("an entry of the frame is damaged: {0}")]
    Record(#[from] RecordError),
    /// Entries that no leader's log can hold.
    #[error(
        "the entry at index {index} with term {term} cannot follow index {after} with term {after_term} in an append of term {message_term}"
    )]
    Order {
        /// Its index.
        index: Index,
        /// Its term.
        term: u64,
        /// The index before it.
        after: Index,
        /// The term before it.
        after_term: u64,
        /// The message's term.
        message_term: u64,
    },
    /// A configuration entry that holds none.
    #[error("the entry at index {index} says that it is a configuration: {source}")]
    Configuration {
        /// Its index.
        index: Index,
        /// What is wrong.
        source: ConfigurationError,
    },
    /// The frame's records and what its messages say of them disagree.
    #[error("the messages claim {claimed} bytes of records, the frame holds {found}")]
    Records {
        /// By the messages.
        claimed: u64,
        /// In the frame.
        found: usize,
    },
    /// Raft messages and a snapshot message in one frame.
    #[error("a snapshot message shares its frame with others")]
    Mixed,
    /// The piece of a snapshot is damaged.
    #[error("the checksum of the snapshot chunk at offset {offset} does not match")]
    Chunk {
        /// Where it begins.
        offset: u64,
    },
}
