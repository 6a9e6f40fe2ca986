//! How members reach each other, and where the core thread waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use d_engine_raft::{Configuration, GroupId, Incarnation, LogId, Member, Message, NodeId, Term};

use crate::error::TransportError;
use crate::traits::SnapshotMeta;

/// The node-to-node protocol of this build.
pub const PROTOCOL_VERSION: u32 = 1;

/// What a frame competes with: a full lane delays only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Votes, heartbeats, reads: small, never behind data.
    Control = 0,
    /// Entries, forwarded proposals and their answers.
    Data = 1,
    /// Snapshots.
    Bulk = 2,
}

/// What travels between two nodes. Frames of one lane to one node keep their order, or get lost.
#[derive(Debug)]
pub struct Frame {
    /// Which cluster it belongs to.
    pub cluster_id: u128,
    /// Which log.
    pub group: GroupId,
    /// Which life of the cluster.
    pub recovery_epoch: u64,
    /// The sender's protocol version.
    pub version: u32,
    /// Who sent it.
    pub from: NodeId,
    /// The data directory that the sender runs on.
    pub incarnation: Incarnation,
    /// Whom it is for.
    pub to: NodeId,
    /// Its lane.
    pub lane: Lane,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Debug)]
pub enum Payload {
    /// Messages of the core, in order; their `from`, `to` and `incarnation` are the frame's.
    Messages(Vec<Message>),
    /// A piece of a snapshot transfer.
    Snapshot(SnapshotFrame),
}

/// Snapshot transfer: offer, accept, chunks and acks, done. The receiver decides where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFrame {
    /// Leader: I have this one for you.
    Offer {
        /// The leader's number for the transfer.
        transfer: u64,
        /// The leader's term.
        term: Term,
        /// What it is; the digest is always there.
        meta: SnapshotMeta,
    },
    /// Follower: send from here on (what came before is here already).
    Accept {
        /// The transfer.
        transfer: u64,
        /// First byte to send.
        offset: u64,
    },
    /// Leader: bytes of the file.
    Chunk {
        /// The transfer.
        transfer: u64,
        /// Where they begin.
        offset: u64,
        /// CRC32C of `data`.
        crc: u32,
        /// The bytes.
        data: Bytes,
    },
    /// Follower: everything before this offset is here.
    Ack {
        /// The transfer.
        transfer: u64,
        /// First missing byte.
        offset: u64,
    },
    /// Follower: it is complete and committed, or the transfer is over without it.
    Done {
        /// The transfer.
        transfer: u64,
        /// Up to where the follower now holds a snapshot; `None`: it failed, or was not wanted.
        installed: Option<LogId>,
    },
}

/// Why a frame was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Of another cluster.
    #[error("it belongs to cluster {found:032x}, this is {expected:032x}")]
    Cluster {
        /// Ours.
        expected: u128,
        /// The frame's.
        found: u128,
    },
    /// Of another log.
    #[error("it belongs to group {0}")]
    Group(GroupId),
    /// Of another life of the cluster.
    #[error("its recovery epoch is {found}, ours is {expected}")]
    Epoch {
        /// Ours.
        expected: u64,
        /// The frame's.
        found: u64,
    },
    /// Of another release.
    #[error("it speaks protocol {0}, this build speaks {PROTOCOL_VERSION}")]
    Version(u32),
    /// For another node.
    #[error("it is for node {found}, this is node {expected}")]
    Recipient {
        /// Ours.
        expected: NodeId,
        /// The frame's.
        found: NodeId,
    },
    /// Its messages do not fit the frame that carries them.
    #[error("a message in it names another sender or recipient than the frame")]
    Envelope,
    /// The node is full: the frame is dropped, as if lost.
    #[error("the node's inbox is full")]
    Full,
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

/// What a node says of itself when a connection opens.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Its number.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id.
    pub cluster_id: u128,
    /// Which log.
    pub group: GroupId,
    /// Which life of the cluster.
    pub recovery_epoch: u64,
    /// Protocol version.
    pub version: u32,
    /// The initial members, for the message that refuses a stranger.
    pub initial: Configuration,
}

/// The node, as its transport sees it. Thread-safe; nothing here blocks.
pub trait Inbound: Send + Sync {
    /// Takes a frame, after checking it.
    ///
    /// # Errors
    /// It was dropped and counted; for a full node that is all, a wrong one is worth an answer on connect.
    fn deliver(&self, frame: Frame) -> Result<(), FrameError>;

    /// Bytes came that are no frame: counts and logs them.
    fn invalid(&self, from: &str, why: &str);

    /// The connection to that node is lost: what is in flight to it is lost.
    fn unreachable(&self, node: NodeId);

    /// Frames that could not be sent.
    fn lost(&self, frames: u64);

    /// Something else worth a line in the log.
    fn warn(&self, message: String);
}

/// What a transport starts with.
#[derive(Clone)]
pub struct TransportStart {
    /// Who we are.
    pub hello: Hello,
    /// The own address in the initial members; a transport without a `listen` of its own binds it.
    pub address: String,
    /// Where received frames go.
    pub inbound: Arc<dyn Inbound>,
}

/// Wakes the core thread from its `Park`. Thread-safe, cheap, remembered if the core thread is not parked.
pub trait Unpark: Send + Sync {
    /// Wakes it.
    fn unpark(&self);
}

/// Where the core thread waits, and does a transport's I/O meanwhile. Used by the core thread only (made on the starting one).
pub trait Park: Send {
    /// What wakes it.
    fn unparker(&self) -> Arc<dyn Unpark>;

    /// Waits until woken, or until `limit` has passed (`None`: no limit). With `Some(ZERO)` it does the I/O that is ready and
    /// returns: what was sent must leave even if the core thread never idles. Returning early is fine.
    fn park(&mut self, limit: Option<Duration>);
}

/// Carries frames. `start` and the first `set_peers` run on the thread that starts the node; everything else on the core
/// thread, or on a send thread of its own if `blocking`.
pub trait Transport: Send {
    /// Whether `send` may take long (a plugin): it then gets a thread of its own.
    fn blocking(&self) -> bool {
        false
    }

    /// Binds and begins to receive. May bring the place where the core thread waits.
    ///
    /// # Errors
    /// The node does not start.
    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError>;

    /// The members from now on, the own node included.
    ///
    /// # Errors
    /// The node does not start; later it is logged.
    fn set_peers(&mut self, members: &[Member]) -> Result<(), TransportError>;

    /// Takes all frames out of `frames`; never waits for a peer: what cannot be sent is lost.
    fn send(&mut self, frames: &mut Vec<Frame>);

    /// Stops; nothing is delivered afterwards. Called once, also when the start failed later on.
    fn close(&mut self);
}
