//! How members reach each other, and where the core thread waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use d_engine_raft::{ChangeError, Configuration, GroupId, Incarnation, LogId, Member, Message, NodeId, Term};

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

/// What a node says that wants to become a member of a running cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The name of the cluster that it wants.
    pub cluster: String,
    /// Which log.
    pub group: GroupId,
    /// What it shall be. Without an incarnation it only asks which cluster it is.
    pub member: Member,
}

/// What it needs to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id.
    pub cluster_id: u128,
    /// Which log.
    pub group: GroupId,
    /// Which life of the cluster.
    pub recovery_epoch: u64,
    /// The members, the new one among them if it was to be taken in.
    pub configuration: Configuration,
}

/// Why a node was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The member that was asked belongs to another cluster.
    #[error(
        "cluster {expected:?} was asked for, this is a member of {found:?}: check the address and the cluster's name"
    )]
    WrongCluster {
        /// The cluster that was wanted.
        expected: String,
        /// The member's.
        found: String,
    },
    /// The member that was asked has that number itself.
    #[error("the member that was asked is node {0} itself: every node needs its own id")]
    SameNode(NodeId),
    /// The rules of changes say no, certainly.
    #[error(transparent)]
    Refused(ChangeError),
    /// No answer that settles it: another attempt may work, and does nothing twice.
    #[error("no member took it in: {0}")]
    Unanswered(String),
    /// This transport cannot ask.
    #[error("this transport has no way to ask for admission: use GrpcTransport or LocalTransport")]
    Unsupported,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Called once with what became of a request to join; on the core thread: it must not block.
pub type JoinDone = Box<dyn FnOnce(Result<Admission, JoinError>) + Send>;

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

    /// A node wants to become a member.
    fn join(&self, _request: JoinRequest, _timeout: Duration, done: JoinDone) {
        done(Err(JoinError::Unsupported));
    }
}

/// What a transport starts with.
#[derive(Clone)]
pub struct TransportStart {
    /// Who we are.
    pub hello: Hello,
    /// The own address among the members (of a node that joins: as it was given); a transport without a `listen` of its own
    /// binds it.
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

    /// Asks the member at that address to take this node in; before `start`, on the same thread, which it blocks.
    ///
    /// # Errors
    /// Why not; after `limit` at the latest.
    fn join(&mut self, _address: &str, _request: &JoinRequest, _limit: Duration) -> Result<Admission, JoinError> {
        Err(JoinError::Unsupported)
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
