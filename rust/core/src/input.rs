//! What a core is told.

use crate::change::Change;
use crate::configuration::Configuration;
use crate::entry::{Draft, Entry};
use crate::message::Message;
use crate::types::{
    FetchId, GroupId, HardState, Incarnation, Index, LogId, Micros, NodeId, RequestId, Term, Token, WallMicros,
};

/// The limits and spans a core works with. Spans in microseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two heartbeats.
    pub heartbeat_interval: Micros,
    /// An election timeout is drawn from here, both ends included.
    pub election_timeout: (Micros, Micros),
    /// How much a clock may run fast or slow, in parts per million.
    pub drift_ppm: u64,
    /// Age of the oldest outstanding token at which a leader gives up.
    pub storage_stall_timeout: Micros,
    /// Largest payload bytes (records) of one append message, unless a single entry is larger.
    pub max_append_bytes: usize,
    /// Append messages in flight to one follower.
    pub max_inflight_messages: usize,
    /// Bytes in flight to one follower.
    pub max_inflight_bytes: usize,
    /// Bytes a leader holds that no quorum has.
    pub max_uncommitted_bytes: usize,
    /// Entries kept in memory at the end of the log, beyond those that are not durable.
    pub tail_bytes: usize,
    /// Bytes handed to the state machine and not yet reported as applied.
    pub max_applying_bytes: usize,
}

/// What a core starts with: read from storage before anything else.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who this is.
    pub id: NodeId,
    /// The data directory it runs on.
    pub incarnation: Incarnation,
    /// Which log this is.
    pub group: GroupId,
    /// Seeds the election timeouts.
    pub seed: u64,
    /// As stored; the default on an empty disk.
    pub hard_state: HardState,
    /// The entry before the first one in the log: everything up to here is covered by a snapshot or was never there.
    pub purged: LogId,
    /// The last index; `purged.index` if the log is empty.
    pub last: Index,
    /// Ascending `(first index, term)` for every change of term after `purged`.
    pub term_runs: Vec<(Index, Term)>,
    /// Time of the newest entry or snapshot.
    pub last_time: WallMicros,
    /// Ascending: the configuration at the log's beginning (of the snapshot; the initial one at index 0), then every
    /// configuration entry of the log. Never empty, except on a node that joins.
    pub configurations: Vec<(Index, Configuration)>,
    /// The newest complete snapshot.
    pub snapshot: Option<LogId>,
    /// Known to be committed: the snapshot's index, or a durable state machine's applied index if that is newer.
    pub applied: Index,
}

/// One thing that happened. `now` comes beside it: microseconds of a clock that never goes back.
#[derive(Debug)]
pub enum Input {
    /// Time has passed; also carried by every other input. Fires what is due.
    Time {
        /// The wall clock, for nothing but the header of entries that a leader makes by itself.
        wall: WallMicros,
    },
    /// A member said something.
    Message {
        /// The wall clock, for nothing but the header of entries.
        wall: WallMicros,
        /// What it said.
        message: Message,
    },
    /// The local user proposes. Several waiting batches make one step, one persist and one append a follower.
    Propose {
        /// The wall clock, for nothing but the header of entries.
        wall: WallMicros,
        /// Batches, each answered by its own `Reply`.
        batches: Vec<(RequestId, Draft)>,
    },
    /// The local user asks for a linearizable read's index.
    Read {
        /// New on every retry.
        id: RequestId,
        /// A lease is as good as a quorum's answer.
        lease: bool,
    },
    /// The local user changes the membership.
    Change {
        /// The wall clock, for nothing but the header of entries.
        wall: WallMicros,
        /// New on every retry.
        id: RequestId,
        /// All to be made together.
        changes: Vec<Change>,
    },
    /// Give leadership to that voter (`None`: to the best one).
    Transfer {
        /// To be given back.
        id: RequestId,
        /// Who shall lead.
        to: Option<NodeId>,
    },
    /// All persist effects up to this one are durable.
    Persisted(Token),
    /// That one failed, and storage with it: the core stops taking part.
    PersistFailed(Token),
    /// The answer to a `Fetch`.
    Fetched {
        /// Which.
        id: FetchId,
        /// A non-empty run of entries that begins at `lo`; `None`: purged meanwhile.
        entries: Option<Vec<Entry>>,
    },
    /// The state machine has applied everything up to here.
    Applied(Index),
    /// The state machine raised something that is no answer (Law 7).
    ApplyStopped,
    /// The node has a complete snapshot of its own state machine, of an applied entry.
    SnapshotTaken(LogId),
    /// Storage may forget everything up to here (snapshot and purge policy, pins: the driver's business).
    Purge {
        /// Never beyond the newest snapshot.
        upto: Index,
    },
    /// A whole snapshot has come from a leader and is committed to the snapshot store.
    SnapshotReceived {
        /// From whom.
        from: NodeId,
        /// The sender's term.
        term: Term,
        /// What it covers.
        last: LogId,
        /// Time of that entry.
        time: WallMicros,
        /// The configuration it carries, and the index of the entry that brought it.
        configuration: (Index, Configuration),
    },
    /// Sending a snapshot to that follower has ended, well or badly.
    SnapshotSent {
        /// To whom.
        to: NodeId,
        /// Up to where, if it arrived (the follower's own answer decides what it holds).
        delivered: Option<Index>,
    },
    /// The transport has lost that member: what is in flight to it is lost.
    Unreachable(NodeId),
    /// Stop: give leadership away first.
    Close {
        /// `false`: at once.
        handover: bool,
    },
}
