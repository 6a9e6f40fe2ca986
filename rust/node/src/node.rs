//! The handle of a running node.

use std::sync::Arc;

use d_engine_raft::{Configuration, Member, NodeId};
use sha2::{Digest, Sha256};

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::traits::{LogSink, Reading, StateMachine, Storage, ThreadHooks, Transport};

/// Called once with the result of a call. Runs on the core or apply thread: it must not block, and on the core thread it must
/// not wait for an interpreter. Panics in it are taken and logged.
pub type Completion<T> = Box<dyn FnOnce(Result<T, NodeError>) + Send>;

/// What became of a proposal: outputs of the part that was applied here, in order (one piece, seldom more), and why the rest
/// has none.
#[derive(Debug)]
pub struct Outcome<O> {
    /// Pieces of the batch's results, contiguous from its first entry.
    pub outputs: Vec<O>,
    /// Set unless the outputs cover the whole batch. What it says holds for the entries without an output.
    pub error: Option<NodeError>,
}

/// Called once with what became of a proposal, normally on the apply thread, inside `StateMachine::round`; on the core thread
/// (or the proposing one) with a mere error.
pub type ProposeDone<O> = Box<dyn FnOnce(Outcome<O>) + Send>;

/// Called once: on the apply thread with the machine, or with an error, as `ProposeDone`.
pub type QueryDone<S> = Box<dyn FnOnce(Result<Reading<'_, S>, NodeError>) + Send>;

/// How fresh a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees everything acknowledged before the call, on any node.
    Linearizable,
    /// It sees what this node has applied.
    Eventual,
}

/// What a node is made of.
pub struct NodeParts<S: StateMachine> {
    /// Its number.
    pub id: NodeId,
    /// Its settings.
    pub config: NodeConfig,
    /// The initial members; used only while the storage is empty.
    pub members: Vec<Member>,
    /// Where it keeps log and snapshots.
    pub storage: Box<dyn Storage>,
    /// What it applies entries to.
    pub machine: S,
    /// How it reaches the others.
    pub transport: Box<dyn Transport>,
    /// Where log records go.
    pub log: Arc<dyn LogSink>,
    /// Told of each thread that may call plugins.
    pub hooks: Arc<dyn ThreadHooks>,
}

/// How a close went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Threads that hung in a plugin and were left behind.
    pub left_behind: Vec<String>,
}

/// The cluster's id: its name, and its initial members' numbers, roles and addresses as they were written, hashed.
#[must_use]
pub fn cluster_id(name: &str, initial: &Configuration) -> u128 {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(b"d-engine cluster 1");
    field(name.as_bytes());
    for member in &initial.members {
        field(&member.id.to_le_bytes());
        field(&[member.role as u8]);
        field(member.address.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..16].iter().fold(0, |id, &byte| id << 8 | u128::from(byte))
}
