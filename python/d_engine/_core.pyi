"""The native core. Private: `d_engine` re-exports what is meant for users, and wraps the rest.

Rules of this module, for both of its sides:

* **Errors.** Native code makes no exception classes. It imports `d_engine.errors` once, lazily, and calls
  `d_engine.errors.from_native(name, message, attributes, cause)`, which returns the exception to raise or to hand over; the
  attributes of each class stand at its definition. `attributes` always has `node` where a node is concerned. Wrong argument types
  (no buffer, no callable) are plain `TypeError`s and change nothing.
* **Blocking calls** convert their arguments, then detach from the interpreter, then touch the node; they look for signals every 100
  ms, so that Ctrl-C ends them (the waiter is withdrawn, the entry is not).
* **Completion form.** `x_to(queue, key, ...)` never blocks: it returns a number for `Node.withdraw`, and later `(key, value, None)` or
  `(key, None, error)` comes out of `queue`, exactly once. Refusals of the node (not leader, overloaded, too large, closed) come out of the
  queue too. `key` is any object; it is only passed through.
* **Hooks** are called from native threads that keep their thread state and detach between calls. A hook's exception (any
  `BaseException`) never passes through native frames: it is taken, and becomes the `cause` of one of our errors.
* Durations are seconds as floats unless a name says `_micros`; `math.inf` waits for ever. Sizes are bytes.
* After `fork`, a child never joins, locks or frees what its parent's threads own: dropping an object there forgets it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, TypedDict, final, overload, type_check_only

from typing_extensions import Buffer, TypeVar

from ._core_hooks import Identity, MachineHooks, RawMember, RawPeer, StorageHooks, TransportHooks
from ._cores import NativeCore, NativeDriver, change, committed_index, vote_result

__all__ = [
    "Completions",
    "Entries",
    "Entry",
    "GrpcTransport",
    "LocalTransport",
    "NativeCore",
    "NativeDriver",
    "NativeStorage",
    "Node",
    "Receive",
    "__version__",
    "change",
    "committed_index",
    "features",
    "linear_check",
    "log_inspect",
    "log_level",
    "log_take",
    "log_verify",
    "log_wake",
    "vote_result",
]

_C_co = TypeVar("_C_co", covariant=True, default=bytes)

__version__: str
"""The version of the crate; `d_engine.__version__` is the same."""

def features() -> list[str]:
    """What this build has: "grpc", "abi3", …; for `doctor`."""

# --- what the state machine is given -------------------------------------------------------------------------------------------------

@final
class Entry(Generic[_C_co]):
    """One committed command. Immutable. Can be made by hand, for tests of a state machine."""

    def __new__(cls, index: int, term: int, time: float, data: bytes) -> Entry[bytes]: ...
    @property
    def index(self) -> int:
        """Its position in the log, from 1."""

    @property
    def term(self) -> int:
        """The term of the leader that appended it."""

    @property
    def time(self) -> float:
        """Unix seconds, stamped by the leader; the same on every node, and never going back from one entry to the next."""

    @property
    def data(self) -> _C_co:
        """What was proposed."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __class_getitem__(cls, key: Any) -> Any: ...

@final
class Entries(Generic[_C_co]):
    """A batch of committed commands, in log order: a sequence that makes its `Entry` objects when they are asked for.

    Indexes rise, but with gaps where the log holds entries that are not for the state machine.
    """

    def __new__(cls, entries: Sequence[Entry[Any]]) -> Entries[bytes]: ...
    @property
    def data(self) -> list[_C_co]:
        """The data of all entries, in one go. A new list each time."""

    @property
    def indexes(self) -> list[int]:
        """The positions of all entries. A new list each time."""

    @property
    def times(self) -> list[float]:
        """The leaders' stamps of all entries, Unix seconds. A new list each time."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Entry[_C_co]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Entry[_C_co]]: ...
    def __iter__(self) -> Iterator[Entry[_C_co]]: ...
    def __class_getitem__(cls, key: Any) -> Any: ...

@final
class Receive:
    """Hands one received frame to the node. Thread-safe, never blocks, drops (and counts) when the node is full or closed.

    Raises `InvalidMessageError` (node) for bytes that are no frame of ours, `WrongClusterError` for one of another cluster, `TypeError`.
    """

    def __call__(self, data: Buffer, /) -> None: ...

# --- built-in storages and transports -------------------------------------------------------------------------------------------------

@final
class GrpcTransport:
    """gRPC between the members, served on the core thread. One object serves one node at a time. Making one does no I/O."""

    def __new__(cls) -> GrpcTransport: ...

@final
class LocalTransport:
    """Passes messages between nodes of one process. One object is the whole network: give the same one to every node."""

    def __new__(cls) -> LocalTransport: ...

# --- completions -------------------------------------------------------------------------------------------------------------------------

@final
class Completions:
    """Where finished calls wait to be taken, for one event loop or one thread. Any number of nodes may put in."""

    def __new__(cls, notify: Callable[[], object] | None = None) -> Completions:
        """`notify`, if given, is called from a native thread when the queue has become non-empty since the last `drain` (armed once, not
        once a call): for event loops without `add_reader`. Its exceptions are ignored. Raises `OSError` if no eventfd or pipe can be had."""

    def fileno(self) -> int:
        """A descriptor that is readable while something waits (eventfd on Linux, else a pipe; made when first asked for)."""

    def drain(self) -> list[tuple[Any, Any, BaseException | None]]:
        """Takes all (key, value, error) that wait; empties the descriptor first. Never blocks."""

    def wait(self, timeout: float) -> list[tuple[Any, Any, BaseException | None]] | None:
        """The same, but waits (detached, no signal checks: for a thread of our own) until there is something. [] at the timeout, None once
        the queue is closed and empty."""

    def close(self) -> None:
        """Wakes `wait`; closes the descriptor; later completions are dropped. Idempotent."""

# --- the node ------------------------------------------------------------------------------------------------------------------------------

@type_check_only
class Settings(TypedDict):
    """`d_engine.Config` in whole numbers. Already validated."""

    cluster: str
    heartbeat_interval_micros: int
    election_timeout_min_micros: int
    election_timeout_max_micros: int
    drift_ppm: int
    request_timeout_micros: int
    storage_stall_timeout_micros: int
    forward: bool
    insecure: bool
    max_entry_bytes: int
    max_inflight_messages: int
    max_inflight_bytes: int
    max_uncommitted_bytes: int
    snapshot_every_entries: int
    snapshot_every_bytes: int
    trailing_entries: int
    snapshot_pin_bytes: int
    snapshot_bytes_per_second: int  # 0: no limit
    max_sessions: int
    session_ttl_micros: int
    segment_bytes: int

@type_check_only
class Progress(TypedDict):
    id: int
    matched: int
    next: int
    state: Literal["probe", "replicate", "snapshot"]
    active: bool  # heard from within an election timeout

@type_check_only
class RawStatus(TypedDict):
    id: int
    role: Literal["follower", "precandidate", "candidate", "leader"]
    term: int
    leader: int | None
    commit: int
    applied: int
    last: tuple[int, int]  # index, term
    durable: int
    purged: tuple[int, int]
    snapshot: tuple[int, int] | None
    members: list[RawMember]
    missing: list[int]  # voters whose incarnation is awaited
    apply_error: BaseException | None  # a PluginError
    storage_stalled: bool
    progress: list[Progress] | None  # on a leader

@final
class Node:
    """One Raft node. Every method may be called from any thread, also at the same time, also from within hooks; a blocking call from within
    a hook of the same node that waits for that very hook ends at its timeout."""

    def __new__(
        cls,
        node_id: int,
        settings: Settings,
        peers: Sequence[RawPeer] | None,
        join: tuple[Sequence[str], RawPeer] | None,
        listen: str | None,
        storage: str | StorageHooks,
        machine: MachineHooks,
        transport: GrpcTransport | LocalTransport | TransportHooks,
    ) -> Node:
        """Keeps what it is given; no I/O, no threads. `storage` as a string is a directory with the native log. `peers` are the initial
        members in ascending order, `join` are addresses of members to ask instead and what this node shall be, `listen` is where a
        native network transport binds (None: the own address)."""

    def start(self) -> None:
        """Takes directory, port and threads; undoes all of it if one fails. Once only.

        Raises `DirectoryLockedError`, `WrongNodeError` (directory of another node), `WrongClusterError`, `CorruptLogError`, `StorageError`,
        `ConfigError` (an address that cannot be bound; empty storage without peers; the cluster refuses the new member), `PluginError` (open,
        start, set_peers, …), `DeadlineError` (no member answers the request to join), `ClosedError`.
        """

    def close(self, handover: bool, timeout: float) -> None:
        """Hands leadership over (if asked to, and if this leads), drains and stops, all within `timeout`; what hangs in a hook after that is
        left behind with a logged warning, and every outstanding call gets its error. Idempotent; a second caller waits for the first."""

    def crash(self) -> None:
        """Stops as `kill -9` would: nothing is flushed, handed over or answered on the network. Frees directory, port and threads, calls
        neither `StorageHooks.close` nor vouches for the log's end. Outstanding calls get `OutcomeUnknownError` or `ClosedError`."""

    @property
    def closed(self) -> bool:
        """Whether `close` or `crash` was called or the node stopped by itself."""

    def failure(self) -> BaseException | None:
        """Why the node stopped by itself (a `StorageError`), if it did. Calls then raise `ClosedError` with it as cause."""

    def propose(self, data: Buffer, timeout: float, session: tuple[int, int, int] | None = None) -> Any:
        """What apply returned for this entry here. Raises `NotLeaderError`, `OverloadedError`, `TooLargeError`, `OutcomeUnknownError`,
        `CommandError`, `PluginError`, `ClosedError`. `session`: (id, sequence, ack_below); with it also `SessionExpiredError`, `ResultLostError`."""

    def propose_to(
        self,
        queue: Completions,
        key: object,
        data: Buffer,
        timeout: float,
        session: tuple[int, int, int] | None = None,
    ) -> int: ...
    def propose_many(
        self, items: Sequence[Buffer], timeout: float, session: tuple[int, int, int] | None = None
    ) -> list[Any]:
        """The results of contiguous entries; `CommandError`s stand in their places. Every other error gets the attribute `results`: those
        of the prefix that is certain. An empty sequence gives []. One item above the limit refuses all, and nothing changed. `session`: the
        sequence is the first item's, the others follow it."""

    def propose_many_to(
        self,
        queue: Completions,
        key: object,
        items: Sequence[Buffer],
        timeout: float,
        session: tuple[int, int, int] | None = None,
    ) -> int: ...
    def open_session(self, timeout: float) -> int:
        """Opens a session with the limits of the settings; its id. Raises as `propose`, except that a repetition opens another one."""

    def open_session_to(self, queue: Completions, key: object, timeout: float) -> int: ...
    def read(
        self,
        fn: Callable[[Any], Any],
        argument: Any,
        callback: str,
        consistency: Literal["linearizable", "lease", "eventual"],
        timeout: float,
    ) -> Any:
        """`fn(argument)` on the apply thread between two batches, fresh as asked. `callback` names it in errors. A `CommandError` raised by it
        comes back as it is, any other exception as `PluginError(callback)` with its cause. Raises `DeadlineError`, `ClosedError`. Works on a
        node whose apply has stopped only as far as it has applied."""

    def read_to(
        self,
        queue: Completions,
        key: object,
        fn: Callable[[Any], Any],
        argument: Any,
        callback: str,
        consistency: Literal["linearizable", "lease", "eventual"],
        timeout: float,
    ) -> int: ...
    def read_barrier(self, consistency: Literal["linearizable", "lease", "eventual"], timeout: float) -> int:
        """Waits until the state machine holds everything acknowledged before the call; returns the applied index. `DeadlineError`, `ClosedError`."""

    def read_barrier_to(
        self, queue: Completions, key: object, consistency: Literal["linearizable", "lease", "eventual"], timeout: float
    ) -> int: ...
    def change(
        self,
        add: Sequence[RawPeer],
        remove: Sequence[int],
        promote: Sequence[int],
        demote: Sequence[int],
        timeout: float,
    ) -> list[RawMember]:
        """Changes the members, all of it or nothing; returns them once the change is committed. `ConfigError` or `NotAcceptedError` with
        `reason`, `NotLeaderError`, `OverloadedError`, `OutcomeUnknownError`, `PluginError` (apply has stopped here), `ClosedError`."""

    def change_to(
        self,
        queue: Completions,
        key: object,
        add: Sequence[RawPeer],
        remove: Sequence[int],
        promote: Sequence[int],
        demote: Sequence[int],
        timeout: float,
    ) -> int: ...
    def transfer(self, to: int | None, timeout: float) -> int:
        """Gives leadership to that voter (None: to the best one); returns who leads then. `NotLeaderError`, `ConfigError` or
        `NotAcceptedError` with `reason`, `DeadlineError`, `ClosedError`."""

    def transfer_to(self, queue: Completions, key: object, to: int | None, timeout: float) -> int: ...
    def wait_ready(self, timeout: float) -> None:
        """Until a leader is known and the first entry of its term is applied here. `DeadlineError` (says who is missing), `ClosedError`."""

    def wait_ready_to(self, queue: Completions, key: object, timeout: float) -> int: ...
    def snapshot(self, timeout: float) -> int:
        """Makes a snapshot now (also where nothing new was applied: then the newest one's); returns its index once it is committed.
        `PluginError` (snapshot, freeze, write_view), `StorageError`, `DeadlineError`, `ClosedError`."""

    def snapshot_to(self, queue: Completions, key: object, timeout: float) -> int: ...
    def next_change(self, seen: int, timeout: float) -> tuple[int, str, int, int | None] | None:
        """(version, role, term, leader) as soon as version > `seen` (0: at once); versions in between may be skipped. None at the timeout.
        `ClosedError` once the node is closed."""

    def next_change_to(self, queue: Completions, key: object, seen: int, timeout: float) -> int: ...
    def withdraw(self, call: int) -> None:
        """Gives up waiting for a `*_to` call: its completion may still come out, or not. Unknown numbers are fine."""

    def leader(self) -> int | None:
        """Whom this node follows, itself included. Cheap: reads a cell."""

    def summary(self) -> tuple[str, int, int | None, int, int]:
        """(role, term, leader, commit, applied), for `repr`. Cheap, works on every node, never blocks."""

    def status(self) -> RawStatus:
        """Everything, as the core last published it; never waits for disk, peers or hooks. Also after close (the last values)."""

    def metrics(self) -> dict[str, int]:
        """Counters since start, by the names of the node's `Metrics::pairs`. Among them: proposals, proposed_entries, forwarded_entries,
        apply_batches, applied_entries, log_appends (writes or `LogStore.append` calls), log_append_entries, log_append_bytes, log_syncs,
        reads, read_rounds, elections, messages_sent, messages_received, messages_dropped, invalid_messages, send_errors, snapshots_taken,
        snapshots_sent, snapshots_installed. `Receive` counts what it refuses in invalid_messages too. Also after close."""

    def listen_address(self) -> str | None:
        """Where a native network transport is bound (port 0 resolved); None before start and without one."""

# --- logging ----------------------------------------------------------------------------------------------------------------------------------

def log_level(level: int) -> None:
    """Records below this `logging` level are not made. An atomic; 100 turns all off (the default)."""

def log_take(timeout: float) -> tuple[list[tuple[int, float, str, str, int | None, int | None, int | None]], int]:
    """Waits (detached) until records are there, the timeout, or `log_wake`. Returns them, at most 1,024, and how many were dropped since the
    last call because the queue (8,192) was full: (level, Unix seconds, logger suffix such as "core" or "wal", message, node, term, index)."""

def log_wake() -> None:
    """Ends a `log_take` that waits."""

# --- looking inside a directory ----------------------------------------------------------------------------------------------------------------

@type_check_only
class SegmentReport(TypedDict):
    name: str
    bytes: int
    epoch: int
    first: int | None
    last: int | None
    batches: int
    entries: int

@type_check_only
class LogReport(TypedDict):
    directory: str
    node_id: int
    cluster: str
    cluster_id: str  # hex
    incarnation: str  # hex
    term: int
    vote: int | None
    purged: tuple[int, int]
    last: tuple[int, int]
    synced_through: int
    segments: list[SegmentReport]
    terms: list[tuple[int, int, int]]  # term, first index, last index
    configurations: list[tuple[int, str]]  # index, as text
    snapshots: list[tuple[int, int, int]]  # index, term, bytes
    torn_tail: tuple[str, int, int] | None  # segment, offset, bytes that a start would cut
    damage: tuple[str, int, int | None, str] | None  # segment, first bad offset, index, what is wrong

def log_inspect(directory: str) -> LogReport:
    """Reads headers; changes nothing, takes no lock (a running node's log may look torn). Raises `StorageError` where there is no log."""

def log_verify(directory: str) -> LogReport:
    """The same, but checks every payload's checksum."""

# --- testing -----------------------------------------------------------------------------------------------------------------------------------

@final
class NativeStorage:
    """The native log in a directory with the calls of a Python storage, one by one, in plain tuples: for the conformance suite.

    Records have to be whole ones, as a node makes them. Raises what a node would raise.
    """

    def __new__(cls, directory: str) -> NativeStorage: ...
    def open(self, identity: Identity) -> Identity: ...
    def close(self) -> None: ...
    def bounds(self) -> tuple[int, int, int, int]: ...
    def read(self, start: int, stop: int, max_bytes: int) -> list[tuple[int, int, bytes]]: ...
    def append(self, records: Sequence[tuple[int, int, bytes]], truncate_from: int | None) -> None: ...
    def purge(self, index: int, term: int) -> None: ...
    def load(self) -> tuple[int, int | None] | None: ...
    def save(self, term: int, vote: int | None) -> None: ...

def linear_check(
    model: str
    | tuple[
        Callable[[], Any],
        Callable[[Any, Any, Any], tuple[bool, Any]],
        Callable[[Any], Any] | None,
        Callable[[Any], Any] | None,
        object,
    ],
    initial: object,
    operations: Sequence[tuple[Any, Any, bool, int, int]],
    max_moves: int,
    max_bytes: int,
    timeout: float,
) -> (
    tuple[Literal["ok"], list[list[int]]]
    | tuple[Literal["violation"], list[int], int, list[int], list[Any], list[int]]
    | tuple[Literal["undecided"], list[int], Literal["moves", "memory", "time"]]
):
    """Looks for an order of the operations (call, result, known, invoked, returned) that the model allows; detached, where the model is native.

    `model` is a name, or (init, step, partition, reads, what a step is given for an unknown result). Answers name operations by their places:
    ("ok", an order of each part), ("violation", the part, the operation that no order lets return, an order up to there, the states by then, a small
    window that contradicts itself), ("undecided", the part, what was used up). `TypeError` for calls that the model does not take,
    `OverflowError` where a step of a native model cannot be judged; what a Python model raises comes through.
    """
