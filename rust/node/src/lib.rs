//! Runs Raft cores. `driver` decides, without threads or I/O, what waits for what; `runtime` has the threads. The traits in
//! `traits` are the parts that a user may own: storage, state machine, transport.
#![forbid(unsafe_code)]

pub mod apply;
mod config;
pub mod driver;
mod error;
mod local;
mod metrics;
mod node;
pub mod recover;
mod runtime;
mod snapshot;
mod status;
pub mod storage;
pub mod traits;
pub mod transfer;

pub use config::{MAX_ENTRY_BYTES, NodeConfig, micros};
pub use driver::Consistency;
pub use error::{NodeError, PluginFailure, StorageError, TransportError, passes};
pub use local::{LocalNetwork, LocalTransport};
pub use metrics::Metrics;
pub use node::{CloseReport, Completion, Join, Node, NodeParts, Outcome, ProposeDone, QueryDone, cluster_id};
pub use snapshot::SnapshotHead;
pub use status::{Change, FollowerProgress, Status, Summary};
pub use traits::*;
