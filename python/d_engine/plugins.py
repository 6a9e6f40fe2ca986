"""What a user may bring: protocols for state machine, storage and transport, and the values that pass through them.

Any object with the right methods will do; the classes here are there to inherit from, to check types against and to read. Objects are
checked when they are handed over: missing methods, other arguments and coroutine functions raise `PluginTypeError` there.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, NamedTuple, Protocol

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

from .errors import CommandError, PluginTypeError, StorageError

if TYPE_CHECKING:
    from ._core import Entries, Entry
    from .peers import Peer

__all__ = [
    "Batch",
    "DurableStateMachine",
    "HardState",
    "Identity",
    "LogBounds",
    "LogId",
    "LogStore",
    "MetaStore",
    "Outgoing",
    "Record",
    "SnapshotMeta",
    "SnapshotReader",
    "SnapshotStore",
    "SnapshotWriter",
    "StateMachine",
    "StorageEngine",
    "SupportsApply",
    "SupportsFreeze",
    "SupportsSnapshotStore",
    "Transport",
]

C = TypeVar("C", contravariant=True, default=bytes)
D = TypeVar("D", covariant=True, default=bytes)
R = TypeVar("R", covariant=True, default=Any)
V = TypeVar("V", default=Any)


# --- state machines ------------------------------------------------------------------------------------------------------


class SupportsApply(Protocol[C, R]):
    """The least a state machine has. `StateMachine` says what the methods promise."""

    @abstractmethod
    def apply(self, entry: Entry[C], /) -> R:
        """Carries out one command."""
        ...

    @abstractmethod
    def snapshot(self, out: BinaryIO, /) -> None:
        """Writes the whole state."""
        ...

    @abstractmethod
    def restore(self, src: BinaryIO, /) -> None:
        """Replaces the whole state."""
        ...


class StateMachine(SupportsApply[C, R], Protocol[C, R]):
    """What is replicated. Plain functions, called one at a time on the node's apply thread.

    Every node carries out the same entries in the same order and must come to the same state: use `entry.time`, never the
    clock, random numbers, `id()`, the order of sets, or I/O.

    An exception other than `CommandError` stops apply on that node (it shows in `status().apply_error`, the node gives
    leadership away and goes on replicating); after a restart it goes on with that entry.
    """

    @abstractmethod
    def apply(self, entry: Entry[C]) -> R:
        """Carries out one command; in log order, once for each entry since the last `restore` or the empty state.

        Args:
            entry: index (int), term (int), time (Unix seconds stamped by the leader, never going back) and data.

        Returns:
            What `propose` returns to the one who proposed it, if that was on this node.

        Raises:
            CommandError: a deterministic refusal of this entry; it is raised to the one who proposed it.
        """
        ...

    def apply_batch(self, entries: Entries[C]) -> Sequence[R | CommandError]:
        """Carries out many commands; this is what the node calls. The default loops over `apply`.

        Args:
            entries: a sequence that makes `Entry` objects when they are asked for; `entries.data` is all data as a list.

        Returns:
            One result an entry, in order; a `CommandError` in the place of a refused one.
        """
        results: list[R | CommandError] = []
        for entry in entries:
            try:
                results.append(self.apply(entry))
            except CommandError as error:
                results.append(error)
        return results

    @abstractmethod
    def snapshot(self, out: BinaryIO) -> None:
        """Writes the whole state to a binary file (not seekable), between two batches; apply waits for it."""
        ...

    @abstractmethod
    def restore(self, src: BinaryIO) -> None:
        """Reads what `snapshot` wrote from a binary file (not seekable) and replaces everything by it."""
        ...

    def query(self, request: Any) -> Any:
        """Optional: answers a read, on the apply thread between two batches. It must not change the state."""
        raise query_missing(self, request)


class SupportsFreeze(Protocol[V]):
    """For big machines, instead of `snapshot`: apply goes on while the snapshot is written."""

    @abstractmethod
    def freeze(self) -> V:
        """Returns a view of the state that later applies do not change: a copy, a checkpoint. Apply thread; be quick."""
        ...

    @abstractmethod
    def write_view(self, view: V, out: BinaryIO, /) -> None:
        """Writes that view to a binary file (not seekable). Snapshot thread, while apply goes on."""
        ...


@dataclasses.dataclass(frozen=True)
class Batch(Generic[D]):
    """What a durable machine applies in one transaction.

    Attributes:
        entries: the commands, in log order; may be empty.
        last_index: the applied position after this batch (int): beyond the last entry where the log holds other records.
        sidecar: opaque bytes of the node (bytes), to be stored with `last_index` in the same transaction.
    """

    entries: Entries[D]
    last_index: int
    sidecar: bytes


class DurableStateMachine(Protocol[C, R]):
    """A state machine that keeps its own state durable, with the position it has applied. Apply thread, one call at a time."""

    @abstractmethod
    def applied(self) -> tuple[int, bytes]:
        """The stored (last_index, sidecar); (0, b"") for an empty one. Called once, by `start()`."""
        ...

    @abstractmethod
    def apply_durable(self, batch: Batch[C]) -> Sequence[R | CommandError]:
        """Carries out `batch.entries` and stores `last_index` and `sidecar`, all in one transaction. One result an entry."""
        ...

    @abstractmethod
    def snapshot(self, out: BinaryIO) -> None:
        """As for `StateMachine`."""
        ...

    @abstractmethod
    def restore(self, src: BinaryIO) -> None:
        """As for `StateMachine`; the position that goes with it follows in an `apply_durable` without entries."""
        ...


def query_missing(machine: object, request: object) -> PluginTypeError:
    """For `query` on a machine without one."""
    name = type(machine).__name__
    return PluginTypeError(
        f"state machine {name} has no query method, and was asked {request!r}",
        callback="query",
        hint=f"Define 'def query(self, request)' in {name}, or use read(fn)",
    )


# --- storage ----------------------------------------------------------------------------------------------------------------

# `index` is the word of this field; that tuples have a method of that name is of no use here, hence the exceptions below.


class LogId(NamedTuple):
    """A position in the log with the term of the leader that filled it. (0, 0) stands before the first entry."""

    index: int  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: int


class LogBounds(NamedTuple):
    """What a log holds: everything after `purged` up to `last` (equal to `purged` where nothing follows)."""

    purged: LogId
    last: LogId


class Record(NamedTuple):
    """An encoded entry.

    Attributes:
        index: its position (int).
        term: its term (int).
        data: header and payload (bytes): opaque, to be given back byte for byte.
    """

    index: int  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: int
    data: bytes


class HardState(NamedTuple):
    """The newest term this node has seen, and whom it voted for in it (node id, or None)."""

    term: int
    vote: int | None


class Identity(NamedTuple):
    """Whom a storage belongs to.

    Attributes:
        node_id: the node (int).
        cluster: the cluster's name (str).
        cluster_id: hash of name and initial members (16 bytes).
        group: the log among many (int; 0).
        recovery_epoch: how often a lost quorum was recovered from (int).
        incarnation: random, drawn when the storage was first used (16 bytes).
        members: the encoded initial members (bytes), opaque.
    """

    node_id: int
    cluster: str
    cluster_id: bytes
    group: int
    recovery_epoch: int
    incarnation: bytes
    members: bytes

    def encode(self) -> bytes:
        """As bytes, for storages that want one value to store."""
        parts = [base64.b64encode(part).decode() if isinstance(part, bytes) else part for part in self]
        return json.dumps({"format": 1, **dict(zip(self._fields, parts, strict=True))}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Identity:
        """What `encode` made. Raises `StorageError` for anything else."""
        try:
            parts: dict[str, Any] = json.loads(data)
            if parts.pop("format") != 1:
                raise StorageError("the identity record is of a later release", hint="Use the release that wrote it")
            for name in ("cluster_id", "incarnation", "members"):
                parts[name] = base64.b64decode(parts[name], validate=True)
            return cls(**parts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(
                f"the identity record is damaged: {error}", hint="Restore the storage from a copy"
            ) from error


class LogStore(Protocol):
    """The log. One call at a time (meta store included), from the node's log and reader threads; while starting, from the starting thread.

    What it raises stops the node (`StorageError`).
    """

    @abstractmethod
    def bounds(self) -> LogBounds:
        """What it holds. After a crash: as after the last `append` or `purge` that returned, or a later one that had begun."""
        ...

    @abstractmethod
    def read(self, start: int, stop: int, max_bytes: int) -> Sequence[Record]:
        """The records from `start` to before `stop`, in order; fewer where together they exceed `max_bytes`, but at least one."""
        ...

    @abstractmethod
    def append(self, records: Sequence[Record], *, truncate_from: int | None) -> None:
        """Adds records at the end: durable on return.

        Args:
            records: without gaps; the first one follows the last held, or stands at `truncate_from`. May be empty.
            truncate_from: everything from this index on is dropped first, in the same unit; None: nothing.
        """
        ...

    @abstractmethod
    def purge(self, upto: LogId) -> None:
        """Drops everything up to that position and keeps (index, term) as `purged`.

        Where `upto` is beyond the last record, or the record there has another term, the log is reset to it: empty, and
        `purged` and `last` are `upto`. A position at or before `purged` is purged already, and changes nothing.
        """
        ...


class MetaStore(Protocol):
    """The hard state. Called like the log store."""

    @abstractmethod
    def load(self) -> HardState | None:
        """What was saved last; None where nothing was."""
        ...

    @abstractmethod
    def save(self, state: HardState) -> None:
        """Keeps it: durable on return."""
        ...


class SnapshotMeta(NamedTuple):
    """Which snapshot.

    Attributes:
        index: the last entry it holds (int).
        term: that entry's term (int).
        digest: hash of the content (32 bytes); b"" while it is being made here.
        size: length of the whole snapshot in bytes (int); 0 while it is being made.
    """

    index: int  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: int
    digest: bytes
    size: int


class SnapshotWriter(Protocol):
    """A snapshot that is being written, by one thread."""

    @abstractmethod
    def write(self, offset: int, data: bytes, /) -> None:
        """Puts bytes at an offset. Offsets rise without gaps; the beginning may be written once more at the end."""
        ...

    @abstractmethod
    def commit(self, meta: SnapshotMeta, /) -> None:
        """Makes it durable and the newest. `meta` now has digest and size: what `latest` returns from then on."""
        ...

    @abstractmethod
    def abort(self) -> None:
        """Forgets it."""
        ...


class SnapshotReader(Protocol):
    """A snapshot that is being read, by one thread."""

    @abstractmethod
    def read(self, offset: int, limit: int, /) -> bytes:
        """At most `limit` bytes from `offset`; b"" at the end."""
        ...


class SnapshotStore(Protocol):
    """Keeps snapshots. Called from the node's snapshot and transfer threads, also at the same time; while starting, from the starting thread."""

    @abstractmethod
    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        """Begins one: made here (no digest; what was begun before and not committed is dropped), or received.

        A received one goes on where a partial one of the same index, term and digest ended; it may be written again from 0.
        """
        ...

    @abstractmethod
    def latest(self) -> SnapshotMeta | None:
        """The newest committed one, with its `size`; None where there is none."""
        ...

    @abstractmethod
    def open(self, meta: SnapshotMeta) -> SnapshotReader:
        """Reads a committed one; it stays readable until the reader is dropped, even if `retain` lets it go."""
        ...

    @abstractmethod
    def partial(self) -> tuple[SnapshotMeta, int] | None:
        """A received one that is partly there, and how many bytes from its beginning; None where there is none."""
        ...

    @abstractmethod
    def retain(self, count: int) -> None:
        """Keeps the newest `count` committed ones."""
        ...


def _assignable(declared: property) -> property:
    """At run time a class that inherits a protocol's property may also assign it, as it would any attribute."""
    name = declared.fget.__name__ if declared.fget is not None else ""

    def get(self: object) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            ) from None

    def set_(self: object, value: object) -> None:
        self.__dict__[name] = value

    return property(get, set_, doc=declared.__doc__)


class StorageEngine(Protocol):
    """Where a node keeps its log, its hard state and its snapshots.

    A `snapshot_store` is optional (`SupportsSnapshotStore`): without one snapshots are files, in the storage's attribute
    `snapshot_directory` if it has one, else in `d-engine-snapshots` in the working directory.

    `log_store` and `meta_store` may be properties or plain attributes (a class that inherits from this one and is checked
    for types has to make them properties).
    """

    @property
    def log_store(self) -> LogStore:
        """The log."""
        ...

    @property
    def meta_store(self) -> MetaStore:
        """The hard state."""
        ...

    if not TYPE_CHECKING:
        log_store = _assignable(log_store)
        meta_store = _assignable(meta_store)

    @abstractmethod
    def open(self, identity: Identity) -> Identity:
        """First call of all, on the thread that runs `start()`.

        An empty storage stores `identity` durably and returns it; another one returns the one it has, which then holds: the
        node compares and raises. A storage that is in use elsewhere raises `DirectoryLockedError`.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Last call of all; `open` may follow again. Not called when the process is killed."""
        ...


class SupportsSnapshotStore(Protocol):
    """A storage with a snapshot store of its own."""

    @property
    def snapshot_store(self) -> SnapshotStore:
        """The snapshots."""
        ...

    if not TYPE_CHECKING:
        snapshot_store = _assignable(snapshot_store)


# --- transport --------------------------------------------------------------------------------------------------------------


class Outgoing(NamedTuple):
    """A frame for another node.

    Attributes:
        to: its id (int).
        lane: "control" (small, urgent), "data" (entries), "bulk" (snapshots): lanes may be carried apart and overtake one another.
        data: the frame (bytes), at most 1 MiB; checked at the other end.
    """

    to: int
    lane: Literal["control", "data", "bulk"]
    data: bytes


class Transport(Protocol):
    """Carries frames between nodes. May lose, repeat and reorder them; must not hold them back for long."""

    @abstractmethod
    def start(self, node_id: int, receive: Callable[[bytes], None]) -> None:
        """Begins, on the thread that runs `start()`.

        Args:
            node_id: whom it serves.
            receive: to be called with each frame that arrives; thread-safe, never blocks, drops when the node is full. It
                raises `InvalidMessageError` or `WrongClusterError` for a frame that is refused: drop the connection then.
        """
        ...

    @abstractmethod
    def set_peers(self, peers: Mapping[int, Peer]) -> None:
        """All members by id, this node included. Right after `start`, and whenever membership changes."""
        ...

    @abstractmethod
    def send(self, batch: Sequence[Outgoing]) -> None:
        """Sends, in order, on a thread of the node's own. What cannot be sent soon is dropped; an exception loses the batch."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Last call."""
        ...
