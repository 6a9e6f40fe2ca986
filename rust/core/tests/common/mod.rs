//! A cluster of cores on one thread: a queue for a network, disks that forget, and a clock that stands until it is moved.
// Every test file uses another part of it; a test may unwrap.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]
#![allow(clippy::must_use_candidate)]

pub mod checks;
pub mod cluster;
pub mod disk;
pub mod make;
pub mod solo;

pub use cluster::{Cluster, Node, Work};
pub use disk::{Disk, Job, Machine, Snapshot};
pub use make::*;
pub use solo::{Solo, kinds};
