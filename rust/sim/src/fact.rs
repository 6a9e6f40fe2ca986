//! What happens in a world, as those who watch it are told.

use bytes::Bytes;
use d_engine_node::Consistency;
use d_engine_raft::{
    Change, Configuration, Entry, HardState, Incarnation, Index, LogId, Message, Micros, NodeId, Persist, Role, Start,
    Term, Token,
};

/// Somebody who watches: a check, a trace, a counter. Told everything, in the order in which it happens.
pub trait Observer {
    /// Something happened at that moment of the world's own time, which no node's clock shows.
    ///
    /// # Errors
    /// What must not be has happened: the run ends.
    fn fact(&mut self, at: Micros, fact: &Fact<'_>) -> Result<(), Violation>;
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Violation {
    /// The check's name, such as `election-safety`.
    pub check: &'static str,
    /// What happened, with nodes, terms and indexes.
    pub what: String,
}

/// What a node is, after a step. Cheap to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it follows, itself included.
    pub leader: Option<NodeId>,
    /// Its commit index.
    pub commit: Index,
    /// The end of its log.
    pub last: LogId,
    /// What stands before its first entry.
    pub purged: LogId,
    /// Durable up to here, as it believes.
    pub durable: Index,
    /// Reported by its state machine.
    pub applied: Index,
    /// Until when its lease runs, on its own clock.
    pub lease_until: Option<Micros>,
    /// Calls that wait in its driver.
    pub waiting: usize,
    /// Bytes of entries in the core's memory.
    pub tail_bytes: usize,
}

impl Position {
    /// A node that has seen nothing yet.
    pub const START: Self = Self {
        role: Role::Follower,
        term: 0,
        leader: None,
        commit: 0,
        last: LogId::ZERO,
        purged: LogId::ZERO,
        durable: 0,
        applied: 0,
        lease_until: None,
        waiting: 0,
        tail_bytes: 0,
    };
}

/// What really is on a disk, read back by the log's own recovery from the platters alone: expensive, so asked for only when
/// something leaves that must not leave before.
pub trait Platter: std::fmt::Debug {
    /// Term and vote as they would be found after a power cut that loses everything unsynced; `None`: the log would be refused.
    fn hard_state(&self) -> Option<HardState>;
    /// The last entry that would be found.
    fn last(&self) -> Option<LogId>;
}

/// Why a node does not run any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The process was killed; the system keeps what was written.
    Crash,
    /// The power went; what was not synced is there or not.
    Power,
    /// It was closed.
    Closed,
    /// Its storage failed or was refused, for this reason.
    Storage(String),
    /// Its disk was exchanged.
    Wiped,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Set a register. `session`: (number, sequence) if the call belongs to one.
    Write {
        /// Which register.
        key: u64,
        /// What to put there: a number that no other write of the world puts anywhere.
        value: u64,
        /// Its session and sequence number.
        session: Option<(u64, u64)>,
    },
    /// A command of a machine that is not the built-in one.
    Command {
        /// Its bytes.
        payload: Bytes,
        /// Its session and sequence number.
        session: Option<(u64, u64)>,
    },
    /// Open a session.
    OpenSession,
    /// Read a register.
    Read {
        /// Which register.
        key: u64,
        /// How fresh.
        consistency: Consistency,
    },
    /// A query of a machine that is not the built-in one.
    Query {
        /// Its bytes.
        query: Bytes,
        /// How fresh.
        consistency: Consistency,
    },
    /// Change the membership.
    Change(Vec<Change>),
    /// Give leadership away.
    Transfer(Option<NodeId>),
    /// Take a snapshot.
    Snapshot,
    /// Close the node in order.
    Close,
}

/// One call of a client. A retry has a new id and the same session and sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number in this world, from 1.
    pub id: u64,
    /// Who asks.
    pub client: u64,
    /// Which node is asked.
    pub node: NodeId,
    /// What is asked.
    pub request: Request,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied at that index; `previous` is what the register held before, 0 for nothing.
    Written {
        /// Where it stands in the log.
        index: Index,
        /// The register's value before.
        previous: u64,
    },
    /// A command of another machine was applied at that index.
    Answered {
        /// Where it stands in the log.
        index: Index,
        /// What the machine gave.
        result: Bytes,
    },
    /// What another machine said to a query, after `applied` entries.
    Queried {
        /// Its answer.
        answer: Bytes,
        /// The index that the reader saw applied.
        applied: Index,
    },
    /// The session's number.
    Opened(u64),
    /// What the register held (0 for nothing), after `applied` entries.
    Read {
        /// Its value.
        value: u64,
        /// The index that the reader saw applied.
        applied: Index,
    },
    /// A change, transfer, snapshot or close that was made.
    Done,
    /// Certainly not applied, with the reason.
    Refused(String),
    /// Nobody knows whether it was or will be applied.
    Unknown(String),
    /// The node ended under the call: a client knows as much as with `Unknown`.
    Gone,
}

/// Everything that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each says it by its name")]
#[repr(u8)]
pub enum Fault {
    Loss,
    Duplication,
    Reordering,
    Delay,
    OneWayCut,
    Partition,
    Isolation,
    Flapping,
    ClockDrift,
    ClockJump,
    WallJump,
    Crash,
    Pause,
    Wipe,
    PowerLoss,
    PowerLossOfAll,
    TornWrite,
    BitRot,
    MisdirectedWrite,
    LostWrite,
    WriteFails,
    SyncFails,
    DiskFull,
    DiskStall,
    SlowDisk,
    ApplyRaises,
    ApplyHangs,
    SlowApply,
    SnapshotRaises,
    SnapshotHangs,
    RestoreRaises,
    SendRaises,
    LostSnapshotChunk,
    MembershipChange,
    Transfer,
    Snapshot,
    Close,
}

/// The two phases of a seed, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Faults strike.
    Faults,
    /// They have ended; progress must come back.
    Healing,
    /// Everything is compared once more.
    Over,
}

/// Something that happened.
#[derive(Debug)]
pub enum Fact<'a> {
    /// A phase begins.
    Phase(Phase),
    /// A fault begins, or strikes once, at those nodes.
    Struck {
        /// What.
        fault: Fault,
        /// Whom.
        nodes: &'a [NodeId],
    },
    /// A fault that lasted has ended.
    Ended {
        /// What.
        fault: Fault,
        /// Whom.
        nodes: &'a [NodeId],
    },
    /// A node runs, with what its disk held.
    Started {
        /// Which.
        node: NodeId,
        /// Its data directory.
        incarnation: Incarnation,
        /// What its core begins with.
        start: &'a Start,
    },
    /// From now on a node's clock shows `shown` and runs `drift` parts per million fast.
    Clock {
        /// Which.
        node: NodeId,
        /// What it shows at this moment.
        shown: Micros,
        /// How fast it runs; below 0: slow.
        drift: i64,
    },
    /// A node runs no more.
    Stopped {
        /// Which.
        node: NodeId,
        /// Why.
        why: &'a End,
    },
    /// A turn of a node's driver is over; everything that it wanted done follows.
    Stepped {
        /// Which.
        node: NodeId,
        /// Its own clock.
        now: Micros,
        /// What came in: short words.
        input: &'static str,
        /// What it is now.
        position: &'a Position,
    },
    /// It wants this on its disk.
    Persist {
        /// Which.
        node: NodeId,
        /// What.
        persist: &'a Persist,
    },
    /// Its log says that everything up to that token is durable.
    Durable {
        /// Which.
        node: NodeId,
        /// Up to where.
        token: Token,
    },
    /// It has forgotten its log up to here.
    Purged {
        /// Which.
        node: NodeId,
        /// Up to where.
        upto: LogId,
    },
    /// Another configuration counts on it.
    Configured {
        /// Which.
        node: NodeId,
        /// The entry's index.
        index: Index,
        /// The members.
        configuration: &'a Configuration,
    },
    /// A message left a node.
    Sent {
        /// Its number in this world.
        number: u64,
        /// What.
        message: &'a Message,
        /// The sender's disk at this moment.
        platter: &'a dyn Platter,
    },
    /// A message reached a node. A duplicate has its original's number.
    Delivered {
        /// Its number.
        number: u64,
        /// What.
        message: &'a Message,
    },
    /// A message reached nobody.
    Lost {
        /// Its number.
        number: u64,
        /// What.
        message: &'a Message,
    },
    /// A state machine was given these commands (without repetitions of a session) and covers everything up to `last`.
    Applied {
        /// Which.
        node: NodeId,
        /// All committed entries of the batch, repetitions, configurations and no-ops included.
        entries: &'a [Entry],
        /// Indexes of those that the machine was given.
        given: &'a [Index],
        /// The machine's digest afterwards.
        state: u64,
    },
    /// A state machine was replaced by a snapshot.
    Restored {
        /// Which.
        node: NodeId,
        /// What it covers.
        last: LogId,
        /// The machine's digest afterwards.
        state: u64,
    },
    /// A snapshot was committed: made here, or received.
    SnapshotKept {
        /// Which.
        node: NodeId,
        /// What it covers.
        last: LogId,
        /// Bytes of the file.
        bytes: u64,
        /// From another node.
        received: bool,
    },
    /// A client calls.
    Invoked(&'a Operation),
    /// A call has ended.
    Returned {
        /// The call's number.
        id: u64,
        /// How.
        outcome: &'a Outcome,
    },
}
