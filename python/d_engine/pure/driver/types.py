"""What goes into a driver and what comes out.

A deadline of None waits for ever. A waiter is the caller's end of a call, any object: opaque to the driver, and it comes out exactly once.
Actions that are effects of the core as they are, `Persist`, `Fetch`, `PurgeLog`, `Send`, `Restore`, `SendSnapshot`, `Closed` and all events,
are those same records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from d_engine.pure.change import Change as MemberChange
from d_engine.pure.change import ChangeError
from d_engine.pure.configuration import Configuration
from d_engine.pure.effect import Closed, Effect, Event, Fetch, Persist, PurgeLog, Restore, Send, SendSnapshot
from d_engine.pure.entry import Draft, Entry
from d_engine.pure.input import Input
from d_engine.pure.message import Message, Refusal
from d_engine.pure.types import FetchId, Index, LogId, Micros, NodeId, RequestId, Role, Term, Token, WallMicros

NEVER: Final = 2**64 - 1
"""A moment that does not come."""


class Raft(Protocol):
    """What a driver needs of a protocol core."""

    @property
    def role(self) -> Role:
        """Its role."""
        ...

    @property
    def term(self) -> Term:
        """Its term."""
        ...

    @property
    def leader(self) -> NodeId | None:
        """Whom it follows, itself included."""
        ...

    @property
    def commit(self) -> Index:
        """Its commit index."""
        ...

    def step(self, input: Input, /) -> Sequence[Effect]:  # noqa: A002  # what it is called in the core
        """Takes in one thing that happened, and says what is to be done."""
        ...

    def deadline(self) -> Micros | None:
        """When to step `Time` at the latest."""
        ...

    def matched(self, node: NodeId, /) -> Index | None:
        """On a leader: up to where that follower holds the log."""
        ...

    def digest(self) -> bytes:
        """Of its whole state."""
        ...


class DriverSettings(NamedTuple):
    """The driver's own settings. Spans in microseconds.

    Attributes:
        id: who this is.
        forward: whether proposals are passed on to the leader.
        max_forward_bytes: largest batch that is passed on: it travels in one frame.
        read_retry: after so long without an answer a read is asked again, with a new id.
        refusal_pause: after a refusal, calls wait so long, or for a change of leader.
        snapshot_every_entries: a snapshot after that many entries; 0: never.
        snapshot_every_bytes: a snapshot after that many bytes; 0: never.
        trailing_entries: entries kept behind the newest snapshot.
        snapshot_pin_bytes: bytes applied during a transfer after which it no longer keeps the log from being purged.
        pin_grace: how long a delivered snapshot keeps the log behind it for a follower that has not caught up.
    """

    id: NodeId
    forward: bool
    max_forward_bytes: int
    read_retry: Micros
    refusal_pause: Micros
    snapshot_every_entries: int
    snapshot_every_bytes: int
    trailing_entries: int
    snapshot_pin_bytes: int
    pin_grace: Micros


class DriverStart(NamedTuple):
    """Where a driver starts.

    Attributes:
        applied: the last entry in the state machine.
        snapshot: the newest snapshot.
        purged: the entry before the log's first.
        ids_after: requests are numbered from here: new at every start, so that a late answer to a request of before it
            answers none of after it.
    """

    applied: LogId = LogId(0, 0)
    snapshot: LogId | None = None
    purged: LogId = LogId(0, 0)
    ids_after: RequestId = 0


# --- inputs ----------------------------------------------------------------------------------------------------------------


class Receive(NamedTuple):
    """A member said something."""

    message: Message


class Propose(NamedTuple):
    """The local user proposes."""

    draft: Draft
    waiter: object
    deadline: Micros | None = None


Consistency: TypeAlias = Literal["linearizable", "lease", "eventual"]
"""How fresh a read is.

"linearizable": it sees everything acknowledged before the call, on any node; a quorum confirms that. "lease": the same, as long as clocks
keep within the drift bound: a leader's lease is as good as a quorum's answer. "eventual": it sees what this node has applied.
"""


class Read(NamedTuple):
    """The local user reads."""

    waiter: object
    deadline: Micros | None = None
    consistency: Consistency = "linearizable"


class Change(NamedTuple):
    """The local user changes the membership, all of `changes` together."""

    changes: tuple[MemberChange, ...]
    waiter: object
    deadline: Micros | None = None


class Transfer(NamedTuple):
    """The local user gives leadership away; None: to the best one."""

    to: NodeId | None
    waiter: object
    deadline: Micros | None = None


class Snapshot(NamedTuple):
    """The local user wants a snapshot. `applied`: what the user has seen applied; a report of it may still be under way."""

    waiter: object
    deadline: Micros | None = None
    applied: Index = 0


class Persisted(NamedTuple):
    """Durable up to that token."""

    token: Token


class PersistFailed(NamedTuple):
    """Storage failed."""

    token: Token


class Fetched(NamedTuple):
    """Entries read from the log; None: purged meanwhile."""

    id: FetchId
    entries: tuple[Entry, ...] | None


class Applied(NamedTuple):
    """The state machine has applied (or restored) everything up to `last`; `bytes` of entries since the last report."""

    last: LogId
    bytes: int


class ApplyStopped(NamedTuple):
    """The state machine failed."""


class SnapshotTaken(NamedTuple):
    """A snapshot is committed."""

    last: LogId


class SnapshotFailed(NamedTuple):
    """It could not be made."""


class SnapshotReceived(NamedTuple):
    """A leader's snapshot is committed here: from whom, in which term, what it covers, that entry's time, its configuration."""

    sender: NodeId
    term: Term
    last: LogId
    time: WallMicros
    configuration: tuple[Index, Configuration]


class SnapshotSent(NamedTuple):
    """A transfer has ended: up to where, if it arrived."""

    to: NodeId
    delivered: Index | None


class Unreachable(NamedTuple):
    """The connection to that node is lost."""

    node: NodeId


class Close(NamedTuple):
    """Refuse what is new, wait for what is under way until `drain_until`, hand leadership over if `handover`, stop."""

    handover: bool
    drain_until: Micros


DriverInput: TypeAlias = (
    Receive
    | Propose
    | Read
    | Change
    | Transfer
    | Snapshot
    | Persisted
    | PersistFailed
    | Fetched
    | Applied
    | ApplyStopped
    | SnapshotTaken
    | SnapshotFailed
    | SnapshotReceived
    | SnapshotSent
    | Unreachable
    | Close
)


# --- why a call ended without what it wanted -------------------------------------------------------------------------------


class NotLeader(NamedTuple):
    """Certainly not applied: no leader, or another one, and no forwarding."""

    leader: NodeId | None
    term: Term


class Refused(NamedTuple):
    """Certainly not applied: the leader said so."""

    why: Refusal


class ChangeRefused(NamedTuple):
    """Certainly not made: the rules of changes say so."""

    why: ChangeError


class Overwritten(NamedTuple):
    """Certainly not applied: another leader's entry, of the term `by`, was committed in its place."""

    at: LogId
    by: Term


class TooLargeToForward(NamedTuple):
    """Certainly not applied: it does not fit into one frame. Both in bytes."""

    size: int
    limit: int


class Unknown(NamedTuple):
    """It may be applied, or may be later.

    Attributes:
        why: "timeout": it stands in the log (`at`: its place) and was not applied in time; "forwarded": it was passed on to
            the node `at`, and nothing came back in time; "closed": the node closed, or failed, before it was applied;
            "restored": the snapshot `at` covers it, applied or not, and its result is gone; "applied": it was applied before its
            place `at` was known, and its result is gone.
        at: see above.
    """

    why: Literal["timeout", "forwarded", "closed", "restored", "applied"]
    at: LogId | NodeId | None


Failure: TypeAlias = (
    NotLeader
    | Refused
    | ChangeRefused
    | Overwritten
    | TooLargeToForward
    | Unknown
    | Literal[
        "deadline",  # the call's time is over
        "apply_stopped",  # the state machine has stopped
        "snapshot_failed",  # the state could not be written
        "closed",  # the node is closed: certainly not applied
        "removed",  # this node is no member any more: certainly not applied
    ]
)


# --- actions ---------------------------------------------------------------------------------------------------------------


class More(NamedTuple):
    """More of the proposal follows, in a later `Apply` or as a `FailProposal` with the same id."""


class Last(NamedTuple):
    """With it the proposal is complete."""

    waiter: object


class Cut(NamedTuple):
    """The rest of the proposal was not accepted."""

    waiter: object
    failure: Failure


Piece: TypeAlias = More | Last | Cut


class Wanted(NamedTuple):
    """A part of a proposal's entries in an `Apply`.

    Attributes:
        start: position of the first in its entries.
        stop: one beyond the last.
        id: the proposal.
        deadline: until when it is waited for.
        piece: whether more comes.
    """

    start: int
    stop: int
    id: RequestId
    deadline: Micros | None
    piece: Piece


class Apply(NamedTuple):
    """Apply, answer `Applied`. Ordered with `Restore`, `Query`, `TakeSnapshot` and `FailProposal` with an id.

    Attributes:
        entries: contiguous.
        wanted: who waits for which of them; their ranges ascend and are disjoint.
    """

    entries: tuple[Entry, ...]
    wanted: tuple[Wanted, ...]


class Query(NamedTuple):
    """Let the reader in, provided that this index is applied."""

    waiter: object
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]


class TakeSnapshot(NamedTuple):
    """Make a snapshot, answer `SnapshotTaken` or `SnapshotFailed`."""


class FailProposal(NamedTuple):
    """A proposal has ended without, or after only a part of its results: `id` is set if pieces of it went out with `Apply` before."""

    id: RequestId | None
    waiter: object
    failure: Failure


class FailRead(NamedTuple):
    """A read has ended without an answer."""

    waiter: object
    failure: Failure


class EndSnapshot(NamedTuple):
    """A demand for a snapshot has ended: with the snapshot's index, or with why there is none."""

    waiter: object
    result: Index | Failure


class EndChange(NamedTuple):
    """A change of the membership has ended: with the members that it led to, committed, or with why it was not made."""

    waiter: object
    result: Configuration | Failure


class EndTransfer(NamedTuple):
    """A transfer of leadership has ended: with who leads now, or with why it was not made."""

    waiter: object
    result: NodeId | Failure


class Forwarded(NamedTuple):
    """So many entries were passed on to that node."""

    to: NodeId
    entries: int


class ReadRound(NamedTuple):
    """A read round begins; for counting."""


Action: TypeAlias = (
    Persist
    | Fetch
    | PurgeLog
    | Send
    | Apply
    | Restore
    | Query
    | TakeSnapshot
    | SendSnapshot
    | FailProposal
    | FailRead
    | EndSnapshot
    | EndChange
    | EndTransfer
    | Forwarded
    | ReadRound
    | Event
    | Closed
)
