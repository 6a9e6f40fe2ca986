//! What goes into a driver and what comes out.

use std::ops::Range;

use d_engine_raft::{
    Change, ChangeError, Configuration, Draft, Effect, Entries, Entry, Event, FetchId, Index, Input, LogId, Message,
    Micros, NodeId, Persist, Refusal, RequestId, Role, Term, Token, WallMicros,
};

/// What a driver needs of a protocol core.
pub trait Raft {
    /// Takes in one thing that happened, and appends what is to be done.
    fn step(&mut self, now: Micros, input: Input, out: &mut Vec<Effect>);
    /// When to step `Input::Time` at the latest.
    fn deadline(&self) -> Option<Micros>;
    /// Its role.
    fn role(&self) -> Role;
    /// Its term.
    fn term(&self) -> Term;
    /// Whom it follows, itself included.
    fn leader(&self) -> Option<NodeId>;
    /// Its commit index.
    fn commit(&self) -> Index;
    /// On a leader: up to where that follower holds the log.
    fn matched(&self, node: NodeId) -> Option<Index>;
}

/// The callers' ends of calls, opaque to the driver: each comes out exactly once.
pub trait Calls {
    /// Of a proposal.
    type Proposal;
    /// Of a read.
    type Read;
    /// Of a demand for a snapshot.
    type Snapshot;
    /// Of a change of the membership.
    type Change;
    /// Of a transfer of leadership.
    type Transfer;
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees everything acknowledged before the call, on any node; a quorum confirms that.
    Linearizable,
    /// The same, as long as clocks keep within the drift bound: a leader's lease is as good as a quorum's answer.
    Lease,
    /// It sees what this node has applied.
    Eventual,
}

/// The driver's own settings. Spans in microseconds.
#[derive(Clone, Debug)]
pub struct DriverSettings {
    /// Who this is.
    pub id: NodeId,
    /// Whether proposals are passed on to the leader.
    pub forward: bool,
    /// Largest batch that is passed on: it travels in one frame.
    pub max_forward_bytes: usize,
    /// After so long without an answer a read is asked again, with a new id.
    pub read_retry: Micros,
    /// After a refusal, calls wait so long, or for a change of leader.
    pub refusal_pause: Micros,
    /// A snapshot after that many entries; 0: never.
    pub snapshot_every_entries: u64,
    /// A snapshot after that many bytes; 0: never.
    pub snapshot_every_bytes: u64,
    /// Entries kept behind the newest snapshot.
    pub trailing_entries: u64,
    /// Bytes applied during a transfer after which it no longer keeps the log from being purged.
    pub snapshot_pin_bytes: u64,
    /// How long a delivered snapshot keeps the log behind it for a follower that has not caught up.
    pub pin_grace: Micros,
}

/// Where a driver starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverStart {
    /// The last entry in the state machine.
    pub applied: LogId,
    /// The newest snapshot.
    pub snapshot: Option<LogId>,
    /// The entry before the log's first.
    pub purged: LogId,
    /// Requests are numbered from here: new at every start, so that a late answer to a request of before it answers none
    /// of after it.
    pub ids_after: RequestId,
}

/// One thing that happened.
pub enum DriverInput<K: Calls> {
    /// A member said something.
    Message(Message),
    /// The local user proposes.
    Propose {
        /// The entries.
        draft: Draft,
        /// Who waits.
        waiter: K::Proposal,
        /// Until when.
        deadline: Option<Micros>,
    },
    /// The local user reads.
    Read {
        /// Who waits.
        waiter: K::Read,
        /// Until when.
        deadline: Option<Micros>,
        /// How fresh it must be.
        consistency: Consistency,
    },
    /// The local user changes the membership.
    Change {
        /// All to be made together.
        changes: Vec<Change>,
        /// Who waits.
        waiter: K::Change,
        /// Until when.
        deadline: Option<Micros>,
    },
    /// The local user gives leadership away.
    Transfer {
        /// To whom; `None`: to the best one.
        to: Option<NodeId>,
        /// Who waits.
        waiter: K::Transfer,
        /// Until when.
        deadline: Option<Micros>,
    },
    /// The local user wants a snapshot.
    Snapshot {
        /// Who waits.
        waiter: K::Snapshot,
        /// Until when.
        deadline: Option<Micros>,
        /// What the user has seen applied: a report of it may still be under way.
        applied: Index,
    },
    /// Durable up to that token.
    Persisted(Token),
    /// Storage failed.
    PersistFailed(Token),
    /// Entries read from the log.
    Fetched {
        /// Which read.
        id: FetchId,
        /// `None`: purged meanwhile.
        entries: Option<Vec<Entry>>,
    },
    /// The state machine has applied (or restored) everything up to here.
    Applied {
        /// The last one.
        last: LogId,
        /// Bytes of the entries since the last report.
        bytes: u64,
    },
    /// The state machine failed.
    ApplyStopped,
    /// A snapshot is committed.
    SnapshotTaken(LogId),
    /// It could not be made.
    SnapshotFailed,
    /// A leader's snapshot is committed here.
    SnapshotReceived {
        /// From whom.
        from: NodeId,
        /// The sender's term.
        term: Term,
        /// What it covers.
        last: LogId,
        /// That entry's time.
        time: WallMicros,
        /// The configuration in it.
        configuration: (Index, Configuration),
    },
    /// A transfer has ended.
    SnapshotSent {
        /// To whom.
        to: NodeId,
        /// Up to where, if it arrived.
        delivered: Option<Index>,
    },
    /// The connection to that node is lost.
    Unreachable(NodeId),
    /// Refuse what is new, wait for what is under way, hand over, stop.
    Close {
        /// Whether to give leadership away.
        handover: bool,
        /// How long to wait for what is under way.
        drain_until: Micros,
    },
}

/// One thing to do.
pub enum Action<K: Calls> {
    /// Write, sync, answer `Persisted`. Ordered with `Purge`.
    Persist(Persist),
    /// Read, answer `Fetched`.
    Fetch {
        /// To be given back.
        id: FetchId,
        /// First index.
        lo: Index,
        /// One beyond the last.
        hi: Index,
        /// Bound on the bytes.
        max_bytes: usize,
    },
    /// Forget the log up to here.
    Purge(LogId),
    /// Hand to the transport.
    Send(Message),
    /// Apply, answer `Applied`. Ordered with `Restore`, `Query`, `TakeSnapshot` and `FailProposal` with an id.
    Apply {
        /// Contiguous.
        entries: Entries,
        /// Who waits for which of them; ranges ascend and are disjoint.
        wanted: Vec<Wanted<K::Proposal>>,
    },
    /// Replace the state by the snapshot received.
    Restore(LogId),
    /// Let the reader in, provided that this index is applied.
    Query {
        /// Who reads.
        waiter: K::Read,
        /// What must be applied.
        index: Index,
    },
    /// Make a snapshot, answer `SnapshotTaken` or `SnapshotFailed`.
    TakeSnapshot,
    /// Send the newest snapshot, answer `SnapshotSent`.
    SendSnapshot {
        /// To whom.
        to: NodeId,
        /// It must cover this.
        at_least: Index,
    },
    /// A proposal has ended without, or after only a part of its results.
    FailProposal {
        /// Set if pieces of it went out with `Apply` before.
        id: Option<RequestId>,
        /// Who waits.
        waiter: K::Proposal,
        /// Why.
        failure: Failure,
    },
    /// A read has ended without an answer.
    FailRead {
        /// Who waits.
        waiter: K::Read,
        /// Why.
        failure: Failure,
    },
    /// A demand for a snapshot has ended.
    EndSnapshot {
        /// Who waits.
        waiter: K::Snapshot,
        /// The snapshot's index, or why there is none.
        result: Result<Index, Failure>,
    },
    /// A change of the membership has ended.
    EndChange {
        /// Who waits.
        waiter: K::Change,
        /// The members that it led to, committed, or why it was not made.
        result: Result<Configuration, Failure>,
    },
    /// A transfer of leadership has ended.
    EndTransfer {
        /// Who waits.
        waiter: K::Transfer,
        /// Who leads now, or why it was not made.
        result: Result<NodeId, Failure>,
    },
    /// Entries were passed on to that node.
    Forwarded {
        /// To whom.
        to: NodeId,
        /// How many.
        entries: usize,
    },
    /// A read round begins; for counting.
    ReadRound,
    /// Something worth knowing.
    Event(Event),
    /// All is done.
    Closed,
}

/// A part of a proposal's entries in an `Apply`.
#[derive(Debug)]
pub struct Wanted<P> {
    /// Positions in the entries.
    pub range: Range<usize>,
    /// The proposal.
    pub id: RequestId,
    /// Until when it is waited for.
    pub deadline: Option<Micros>,
    /// Whether more comes.
    pub piece: Piece<P>,
}

/// How a piece of a proposal relates to the rest of it.
#[derive(Debug)]
pub enum Piece<P> {
    /// More follows, in a later `Apply` or as a `FailProposal` with the same id.
    More,
    /// With it the proposal is complete.
    Last(P),
    /// The rest was not accepted.
    Cut(P, Failure),
}

/// Why a call ended without what it wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Certainly not applied: no leader, or another one, and no forwarding.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
        /// In which term.
        term: Term,
    },
    /// Certainly not applied: the leader said so.
    Refused(Refusal),
    /// Certainly not made: the rules of changes say so.
    ChangeRefused(ChangeError),
    /// Certainly not applied: this node is no member any more.
    Removed,
    /// Certainly not applied: another leader's entry was committed in its place.
    Overwritten {
        /// The place it had.
        at: LogId,
        /// The term of what stands there.
        by: Term,
    },
    /// Certainly not applied: it does not fit into one frame.
    TooLargeToForward {
        /// Its bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It may be applied, or may be later.
    Unknown(Unknown),
    /// The read's time is over.
    Deadline,
    /// The state machine has stopped.
    ApplyStopped,
    /// The state could not be written.
    SnapshotFailed,
    /// The node is closed: certainly not applied.
    Closed,
}

/// Why nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It stands in the log, and was not applied in time.
    Timeout(LogId),
    /// It was passed on, and nothing came back in time.
    Forwarded(NodeId),
    /// The node closed, or failed, before it was applied.
    Closed,
    /// A snapshot covers it: applied or not, its result is gone.
    Restored(LogId),
    /// It was applied before its place was known: its result is gone.
    Applied(LogId),
}
