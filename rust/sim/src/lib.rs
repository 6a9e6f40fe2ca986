//! A deterministic world for nodes: clocks, network, disks, processes and clients, all from one seed.
//!
//! It drives `d-engine-node`'s driver and `d-engine-wal` over files of its own and has no rule of theirs: what is persisted,
//! applied or kept is decided by the code that also runs in production. Whoever wants to know what happens is an `Observer` and
//! is told `Fact`s, one after the other: the checks, the trace, the counters.
#![forbid(unsafe_code)]

pub mod agenda;
pub mod checks;
mod clients;
pub mod clock;
pub mod digest;
pub mod driver;
pub mod fact;
mod faults;
pub mod linear;
pub mod machine;
mod nemesis;
pub mod network;
pub mod options;
pub mod outcome;
pub mod random;

pub mod runner;
pub mod shrink;
pub mod trace;
pub mod world;
