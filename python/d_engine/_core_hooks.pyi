"""What `d_engine._core` calls of a user's plugins: plain callables that `d_engine._hooks` makes out of checked plugins. For type checkers only.

Hooks are called from native threads that keep their thread state and detach between calls. A hook's exception (any `BaseException`) never passes
through native frames: it is taken, and becomes the `cause` of one of our errors.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypedDict, type_check_only

from typing_extensions import Buffer

from ._core import Entries, Receive

RawPeer: TypeAlias = tuple[int, str, str | None, Literal["voter", "learner", "witness"], int, bool]
"""One member: id, address, client address, role, priority, auto_promote."""

RawMember: TypeAlias = tuple[RawPeer, str | None]
"""One member of a configuration, and its incarnation (32 hex digits) once it is recorded."""

@type_check_only
class Sink(Protocol):
    """Where a snapshot's user section goes. Valid during the call it is handed to; later calls raise `ValueError`."""

    def write(self, data: Buffer, /) -> int:
        """Takes all of `data`, and says how much that was. Raises `OSError` where the store fails."""

@type_check_only
class Source(Protocol):
    """Where a snapshot's user section comes from. Valid during the call it is handed to; later calls raise `ValueError`."""

    def read(self, limit: int, /) -> bytes:
        """At most `limit` bytes (`limit` > 0), b"" at the end. Checksums are verified. Raises `OSError` where the store fails."""

@type_check_only
class MachineHooks(Protocol):
    """A state machine. All on the apply thread, one at a time, except `write_view` (snapshot thread)."""

    @property
    def apply_batch(self) -> Callable[[Entries[Any]], tuple[Sequence[Any], BaseException | None, str]] | None:
        """Applies a batch; never raises. Returns (results, failure, name of the callback).

        Without a failure there is one result an entry (checked by the hook). With one, `results` are those of the entries before the one
        that failed: they were applied and their waiters get them; apply stops at the next entry, as `PluginError(callback)` with the
        failure as its cause. A `CommandError` *among the results* is that entry's result, raised to its proposer (`propose`, `submit`) or
        left in its place in the list (`propose_many`, `submit_many`). None for a durable machine.
        """

    @property
    def apply_durable(
        self,
    ) -> Callable[[Entries[Any], int, bytes], tuple[Sequence[Any], BaseException | None, str]] | None:
        """The same for a durable machine: (entries, last_index, sidecar). `entries` may be empty. None for other machines."""

    @property
    def applied(self) -> Callable[[], tuple[int, bytes]] | None:
        """A durable machine's (index, sidecar); (0, b"") for an empty one. Called once by `start()`, on the apply thread."""

    @property
    def snapshot(self) -> Callable[[Sink], None] | None:
        """Writes the whole state, between two batches, on the apply thread. None where `freeze` is there."""

    @property
    def freeze(self) -> Callable[[], Any] | None:
        """Returns a view of the state, quickly, on the apply thread."""

    @property
    def write_view(self) -> Callable[[Any, Sink], None] | None:
        """Writes a view, on the snapshot thread, while apply goes on."""

    @property
    def restore(self) -> Callable[[Source], None]:
        """Replaces the whole state, on the apply thread."""

    @property
    def dump_result(self) -> Callable[[Any], bytes] | None:
        """A result as bytes, for its repetition in a session. None: the native side's own encoding. Comes with `load_result`."""

    @property
    def load_result(self) -> Callable[[bytes], Any] | None:
        """The result from these bytes."""

@type_check_only
class StorageHooks(Protocol):
    """A storage that is a Python object. Calls of log and meta store come one at a time, from log and reader thread (`start()`: its caller)."""

    @property
    def open(self) -> Callable[[Identity], Identity]:
        """Called first, on the thread that runs `start()`. Stores the identity if the storage is empty; returns the one that is stored."""

    @property
    def close(self) -> Callable[[], None]:
        """Called last, after every other call has returned; also when `start()` fails after `open`. Not called by `crash()`."""

    @property
    def bounds(self) -> Callable[[], tuple[int, int, int, int]]:
        """(purged index, purged term, last index, last term)."""

    @property
    def read(self) -> Callable[[int, int, int], Sequence[tuple[int, int, bytes]]]:
        """(start, stop, max_bytes) → (index, term, record) of at least `start`; fewer than asked is fine. Checked by the native side."""

    @property
    def append(self) -> Callable[[list[tuple[int, int, bytes]], int | None], None]:
        """([(index, term, record)], truncate_from): durable on return. One call for all batches that wait. May be an empty list."""

    @property
    def purge(self) -> Callable[[int, int], None]:
        """(index, term): drops everything up to there; a position the log does not hold resets the log to it."""

    @property
    def load(self) -> Callable[[], tuple[int, int | None] | None]:
        """(term, vote), or None if nothing was saved."""

    @property
    def save(self) -> Callable[[int, int | None], None]:
        """(term, vote): durable on return."""

    @property
    def snapshots(self) -> SnapshotHooks | None:
        """The snapshot store, or None: then snapshots are files in `snapshot_directory`."""

    @property
    def snapshot_directory(self) -> str:
        """Used without `snapshots`. The native side makes and uses the folder named by the incarnation (32 hex digits) in it."""

@type_check_only
class SnapshotHooks(Protocol):
    """A snapshot store that is a Python object. Calls from the snapshot and the transfer thread (`start()`: from its caller); may overlap."""

    @property
    def create(self) -> Callable[[SnapshotMeta], SnapshotWriterHooks]:
        """Begins a snapshot. A received one (`digest` not empty) that is partly there goes on where it was."""

    @property
    def latest(self) -> Callable[[], SnapshotMeta | None]:
        """The newest committed snapshot. `size` is its length."""

    @property
    def open(self) -> Callable[[SnapshotMeta], Callable[[int, int], bytes]]:
        """A reader: (offset, limit) → bytes, b"" at the end. The native side drops it when it is done."""

    @property
    def partial(self) -> Callable[[], tuple[SnapshotMeta, int] | None]:
        """A received snapshot that was neither committed nor aborted, and how many of its bytes, from 0, are there."""

    @property
    def retain(self) -> Callable[[int], None]:
        """Keeps the newest n committed snapshots."""

@type_check_only
class SnapshotWriterHooks(Protocol):
    """One snapshot that is being written."""

    @property
    def write(self) -> Callable[[int, bytes], None]:
        """(offset, data). Offsets rise without gaps, except that the header at 0 is written again at the end of a local snapshot."""

    @property
    def commit(self) -> Callable[[SnapshotMeta], None]:
        """(complete meta): durable and newest on return."""

    @property
    def abort(self) -> Callable[[], None]:
        """Forgets it."""

@type_check_only
class TransportHooks(Protocol):
    """A transport that is a Python object."""

    @property
    def start(self) -> Callable[[int, Receive], None]:
        """(node id, receive), on the thread that runs `start()`."""

    @property
    def set_peers(self) -> Callable[[list[RawPeer]], None]:
        """All members, the own one included; one that was removed is among them for a little longer. First on the thread that runs
        `start()`, right after `start`; then on the send thread, whenever the configuration changes."""

    @property
    def send(self) -> Callable[[list[tuple[int, Literal["control", "data", "bulk"], bytes]]], None]:
        """[(to, lane, frame)]: everything that waits, in order, on the node's send thread. An exception counts the batch as lost."""

    @property
    def close(self) -> Callable[[], None]:
        """After the last `send`; also when `start()` fails after `start`."""

@type_check_only
class Identity(TypedDict):
    node_id: int
    cluster: str
    cluster_id: bytes  # 16 bytes
    group: int
    recovery_epoch: int
    incarnation: bytes  # 16 bytes
    members: bytes  # the encoded initial configuration, opaque

@type_check_only
class SnapshotMeta(NamedTuple):
    """Goes both ways as a plain tuple."""

    index: int  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: int
    digest: bytes  # content hash; b"" while a local one is being made
    size: int  # bytes of the whole file; 0 while unknown
