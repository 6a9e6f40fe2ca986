"""What a core is told. Every input begins with `now`: microseconds of a clock that never goes back."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .change import Change
from .configuration import Configuration
from .entry import Draft, Entry
from .message import Message
from .types import (
    FetchId,
    GroupId,
    HardState,
    Incarnation,
    Index,
    LogId,
    Micros,
    NodeId,
    RequestId,
    Term,
    Token,
    WallMicros,
)

__all__ = [
    "Applied",
    "ApplyStopped",
    "ChangeMembers",
    "Close",
    "Fetched",
    "Input",
    "PersistFailed",
    "Persisted",
    "Propose",
    "Purge",
    "Read",
    "Receive",
    "Settings",
    "SnapshotReceived",
    "SnapshotSent",
    "SnapshotTaken",
    "Start",
    "Time",
    "Transfer",
    "Unreachable",
]


class Settings(NamedTuple):
    """The limits and spans a core works with. Spans in microseconds, sizes in bytes."""

    heartbeat_interval: Micros
    """Between two heartbeats."""
    election_timeout: tuple[Micros, Micros]
    """An election timeout is drawn from here, both ends included."""
    drift_ppm: int
    """How much a clock may run fast or slow, in parts per million."""
    storage_stall_timeout: Micros
    """Age of the oldest outstanding token at which a leader gives up."""
    max_append_bytes: int
    """Largest payload bytes (records) of one append message, unless a single entry is larger."""
    max_inflight_messages: int
    """Append messages in flight to one follower."""
    max_inflight_bytes: int
    """Bytes in flight to one follower."""
    max_uncommitted_bytes: int
    """Bytes a leader holds that no quorum has."""
    tail_bytes: int
    """Entries kept in memory at the end of the log, beyond those that are not durable."""
    max_applying_bytes: int
    """Bytes handed to the state machine and not yet reported as applied."""


class Start(NamedTuple):
    """What a core starts with: read from storage before anything else."""

    id: NodeId
    """Who this is."""
    incarnation: Incarnation
    """The data directory it runs on."""
    group: GroupId
    """Which log this is."""
    seed: int
    """Seeds the election timeouts."""
    hard_state: HardState
    """As stored; the default on an empty disk."""
    purged: LogId
    """The entry before the first one in the log: everything up to here is covered by a snapshot or was never there."""
    last: Index
    """The last index; `purged.index` if the log is empty."""
    term_runs: tuple[tuple[Index, Term], ...]
    """Ascending `(first index, term)` for every change of term after `purged`."""
    last_time: WallMicros
    """Time of the newest entry or snapshot."""
    configurations: tuple[tuple[Index, Configuration], ...]
    """Ascending: the configuration at the log's beginning (of the snapshot; the initial one at index 0), then every configuration entry of
    the log. Never empty, except on a node that joins."""
    snapshot: LogId | None
    """The newest complete snapshot."""
    applied: Index
    """Known to be committed: the snapshot's index, or a durable state machine's applied index if that is newer."""


class Time(NamedTuple):
    """Time has passed; also carried by every other input. Fires what is due.

    `wall` is the wall clock, for nothing but the header of entries that a leader makes by itself.
    """

    now: Micros
    wall: WallMicros


class Receive(NamedTuple):
    """A member said something."""

    now: Micros
    wall: WallMicros
    message: Message


class Propose(NamedTuple):
    """The local user proposes. Several waiting batches make one step, one persist and one append a follower; each is answered by itself."""

    now: Micros
    wall: WallMicros
    batches: tuple[tuple[RequestId, Draft], ...]


class Read(NamedTuple):
    """The local user asks for a linearizable read's index. `id` is new on every retry; `lease`: the leader's lease is enough."""

    now: Micros
    id: RequestId
    lease: bool = False


class Transfer(NamedTuple):
    """Give leadership to that voter (`None`: to the one that suits best)."""

    now: Micros
    id: RequestId
    to: NodeId | None


class ChangeMembers(NamedTuple):
    """The local user changes the membership."""

    now: Micros
    wall: WallMicros
    id: RequestId
    changes: tuple[Change, ...]


class Persisted(NamedTuple):
    """All persist effects up to this one are durable."""

    now: Micros
    token: Token


class PersistFailed(NamedTuple):
    """That one failed, and storage with it: the core stops taking part."""

    now: Micros
    token: Token


class Fetched(NamedTuple):
    """The answer to a `Fetch`: a non-empty run of entries that begins at `lo`; `None`: purged meanwhile."""

    now: Micros
    id: FetchId
    entries: tuple[Entry, ...] | None


class Applied(NamedTuple):
    """The state machine has applied everything up to here."""

    now: Micros
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]


class ApplyStopped(NamedTuple):
    """The state machine raised something that is no answer."""

    now: Micros


class SnapshotTaken(NamedTuple):
    """The node has a complete snapshot of its own state machine, of an applied entry."""

    now: Micros
    last: LogId


class Purge(NamedTuple):
    """Storage may forget everything up to here, which is never beyond the newest snapshot (policy and pins: the driver's business)."""

    now: Micros
    upto: Index


class SnapshotReceived(NamedTuple):
    """A whole snapshot has come from a leader and is committed to the snapshot store.

    `term` is the sender's, `last` is what the snapshot covers, `time` is that entry's; `configuration` is the one it carries, behind the
    index of the entry that brought it.
    """

    now: Micros
    sender: NodeId
    term: Term
    last: LogId
    time: WallMicros
    configuration: tuple[Index, Configuration]


class SnapshotSent(NamedTuple):
    """Sending a snapshot to that follower has ended: well, up to `delivered` (the follower's own answer decides what it holds), or badly."""

    now: Micros
    to: NodeId
    delivered: Index | None


class Unreachable(NamedTuple):
    """The transport has lost that member: what is in flight to it is lost."""

    now: Micros
    node: NodeId


class Close(NamedTuple):
    """Stop: give leadership away first, unless `handover` is false."""

    now: Micros
    handover: bool


Input: TypeAlias = (
    Time
    | Receive
    | Propose
    | Read
    | Transfer
    | ChangeMembers
    | Persisted
    | PersistFailed
    | Fetched
    | Applied
    | ApplyStopped
    | SnapshotTaken
    | Purge
    | SnapshotReceived
    | SnapshotSent
    | Unreachable
    | Close
)
"""One thing that happened."""
