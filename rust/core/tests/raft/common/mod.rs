//! A cluster of cores on one thread: a queue for a network, disks that forget, and a clock that stands until it is moved.

pub mod checks;
pub mod cluster;
pub mod disk;
pub mod make;
pub mod requests;
pub mod solo;

pub use cluster::{Cluster, Node, Work};
pub use disk::{Job, Machine, Snapshot};
pub use make::*;
pub use solo::{Solo, kinds};
