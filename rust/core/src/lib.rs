//! The Raft protocol as a function: `step(now, input) -> effects`.
//!
//! Nothing here reads a clock, a disk or a socket, starts a thread, or depends on hash order: the same inputs give the same
//! effects. Sections without a name are those of the paper (Ongaro and Ousterhout 2014, extended version); "thesis" is
//! Ongaro 2014.
#![forbid(unsafe_code)]

mod change;
mod configuration;
mod configurations;
mod durability;
mod effect;
mod entries;
mod entry;
mod followers;
mod input;
mod log;
mod message;
pub mod mutants;
mod progress;
pub mod quorum;
mod raft;
mod reads;
mod rng;
mod tail;
mod types;

pub use change::{Change, ChangeError, change};
pub use configuration::{Configuration, ConfigurationError, Member, MemberRole};
pub use effect::{Effect, Event, Persist, Reply};
pub use entries::Entries;
pub use entry::{Draft, Entry, EntryKind, HEADER_BYTES, RECORD_VERSION, RecordError};
pub use input::{Input, Settings, Start};
pub use message::{AppendReply, Body, Message, Refusal};
pub use raft::{Core, CoreStatus, ProgressStatus};
pub use rng::SplitMix64;
pub use types::{
    FetchId, GroupId, HardState, Incarnation, Index, LogId, Micros, NodeId, RequestId, Role, Term, Token, WallMicros,
};
