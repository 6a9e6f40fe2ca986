//! The protocol's promises, one file a topic, in one program (twelve would be linked twelve times).
//!
//! `class_NN_...` are the classes of bugs that other Raft systems had, by their number in the project's list.
// A test may unwrap.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

mod basics;
mod change;
mod codecs;
mod commit;
mod digest;
mod elections;
mod garbage;
mod gated;
mod identity;
mod leases;
mod membership;
mod priority;
mod promotion;
mod quorum;
mod random;
mod random_members;
mod reads;
mod removal;
mod replication;
mod snapshots;
mod transfer;
mod words;
