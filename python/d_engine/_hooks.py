"""Makes out of checked plugins the plain callables that native code calls (`MachineHooks`, `StorageHooks`, … in `_core.pyi`)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from . import _checks as checks
from ._text import shown
from .errors import CommandError, PluginTypeError
from .peers import Peer
from .plugins import (
    Batch,
    HardState,
    Identity,
    LogId,
    LogStore,
    Outgoing,
    Record,
    SnapshotMeta,
    SnapshotStore,
    StateMachine,
    Transport,
    query_missing,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core import Entries, Receive
    from ._core_hooks import RawPeer, Sink, Source
    from .plugins import SnapshotWriter

Outcome = tuple[Sequence[Any], BaseException | None, str]
_BUFFER: Final = 256 * 1024


# --- state machine ---------------------------------------------------------------------------------------------------------


class Machine:
    """`MachineHooks` of one state machine. `query` and `target` are for the Python side."""

    def __init__(self, machine: Any) -> None:
        what = "state_machine"
        self.target: Final = machine
        self.apply_batch: Callable[[Entries[Any]], Outcome] | None = None
        self.apply_durable: Callable[[Entries[Any], int, bytes], Outcome] | None = None
        self.applied: Callable[[], tuple[int, bytes]] | None = None
        self.snapshot: Callable[[Sink], None] | None = None
        self.freeze: Callable[[], Any] | None = None
        self.write_view: Callable[[Any, Sink], None] | None = None
        if callable(getattr(machine, "apply_durable", None)):
            checks.check(what, machine, checks.DURABLE)
            self.apply_durable = _durable(machine.apply_durable)
            self.applied = machine.applied
        else:
            checks.check(what, machine, checks.STATE_MACHINE)
            own = _overridden(machine, "apply_batch")
            self.apply_batch = _one_by_one(machine.apply) if own is None else _whole(own)
        if callable(getattr(machine, "freeze", None)):
            checks.check(what, machine, checks.FREEZE)
            self.freeze = machine.freeze
            self.write_view = _view_writer(machine.write_view)
        else:
            checks.check(what, machine, checks.SNAPSHOT)
            self.snapshot = _snapshot_writer(machine.snapshot)
        self.restore: Callable[[Source], None] = _restorer(machine.restore)
        self.dump_result: Callable[[Any], bytes] | None = None
        self.load_result: Callable[[bytes], Any] | None = None
        if callable(getattr(machine, "dump_result", None)) or callable(getattr(machine, "load_result", None)):
            checks.check(what, machine, checks.RESULTS)
            self.dump_result, self.load_result = machine.dump_result, machine.load_result
        query = _overridden(machine, "query")
        self.query: Callable[[Any], Any] = query if query is not None else _no_query(machine)


def _overridden(machine: Any, name: str) -> Callable[..., Any] | None:
    """The machine's own method of that name; None where it has none, or only what `StateMachine` gives."""
    if getattr(cast("object", machine.__class__), name, None) is getattr(StateMachine, name) and name not in getattr(
        machine, "__dict__", {}
    ):
        return None
    method: Callable[..., Any] | None = getattr(machine, name, None)
    return method


def _no_query(machine: Any) -> Callable[[Any], Any]:
    def query(request: Any) -> Any:
        raise query_missing(machine, request)

    return query


def _one_by_one(apply: Callable[[Any], Any]) -> Callable[[Entries[Any]], Outcome]:
    def apply_batch(entries: Entries[Any]) -> Outcome:
        results: list[Any] = []
        append = results.append
        try:
            for entry in entries:
                try:
                    append(apply(entry))
                except CommandError as refusal:
                    append(refusal)
        except BaseException as failure:  # noqa: BLE001 (an exception of a plugin is an answer, whatever it is)
            return results, failure, "apply"
        return results, None, "apply"

    return apply_batch


def _whole(method: Callable[[Any], Any]) -> Callable[[Entries[Any]], Outcome]:
    def apply_batch(entries: Entries[Any]) -> Outcome:
        try:
            return _counted(method(entries), len(entries), "apply_batch")
        except BaseException as failure:  # noqa: BLE001
            return [], failure, "apply_batch"

    return apply_batch


def _durable(method: Callable[[Batch], Any]) -> Callable[[Entries[Any], int, bytes], Outcome]:
    def apply_durable(entries: Entries[Any], last_index: int, sidecar: bytes) -> Outcome:
        try:
            return _counted(method(Batch(entries, last_index, sidecar)), len(entries), "apply_durable")
        except BaseException as failure:  # noqa: BLE001
            return [], failure, "apply_durable"

    return apply_durable


def _counted(results: Any, expected: int, callback: str) -> Outcome:
    """The results of a batch, if they are as many as its entries. Raises `PluginTypeError`."""
    if not _is_list(results):
        if expected == 0 and not results:
            return [], None, callback
        raise PluginTypeError(
            f"{callback} returned {shown(results)}, not a sequence",
            hint=f"Return a list with one result for each of the {expected} entries",
        )
    if len(results) != expected:
        raise PluginTypeError(
            f"{callback} returned {len(results)} results for {expected} entries",
            hint="Return one result an entry, in order",
        )
    return results, None, callback


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))


class _SinkFile(io.RawIOBase):
    """A snapshot's section as a raw file: what plugins get is a buffered writer around it."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        return self._sink.write(data)


class _SourceFile(io.RawIOBase):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._source.read(len(view)) if len(view) else b""
        view[: len(data)] = data
        return len(data)


def _snapshot_writer(method: Callable[[BinaryIO], None]) -> Callable[[Sink], None]:
    def snapshot(sink: Sink) -> None:
        with io.BufferedWriter(_SinkFile(sink), _BUFFER) as out:
            method(out)

    return snapshot


def _view_writer(method: Callable[[Any, BinaryIO], None]) -> Callable[[Any, Sink], None]:
    def write_view(view: Any, sink: Sink) -> None:
        with io.BufferedWriter(_SinkFile(sink), _BUFFER) as out:
            method(view, out)

    return write_view


def _restorer(method: Callable[[BinaryIO], None]) -> Callable[[Source], None]:
    def restore(source: Source) -> None:
        with io.BufferedReader(_SourceFile(source), _BUFFER) as src:
            method(src)

    return restore


# --- storage ------------------------------------------------------------------------------------------------------------------


class Storage:
    """`StorageHooks` of one storage."""

    def __init__(self, storage: Any) -> None:
        checks.check("storage", storage, checks.STORAGE)
        log: LogStore = _part(storage, "log_store")
        meta = _part(storage, "meta_store")
        checks.check("storage.log_store", log, checks.LOG_STORE)
        checks.check("storage.meta_store", meta, checks.META_STORE)
        make_record = Record._make

        def open_storage(identity: Any) -> dict[str, Any]:
            found = storage.open(Identity(**identity))
            if not isinstance(found, Identity):
                raise PluginTypeError(
                    f"{type(storage).__name__}.open returned {type(found).__name__}, not an Identity",
                    callback="open",
                    hint="Return the stored Identity (Identity.decode makes it from bytes)",
                )
            return found._asdict()

        def bounds() -> tuple[int, int, int, int]:
            (purged_index, purged_term), (last_index, last_term) = log.bounds()
            return purged_index, purged_term, last_index, last_term

        def append(records: list[tuple[int, int, bytes]], truncate_from: int | None) -> None:
            log.append(list(map(make_record, records)), truncate_from=truncate_from)

        self.open = open_storage
        self.close: Callable[[], None] = storage.close
        self.bounds = bounds
        self.read: Callable[[int, int, int], Sequence[tuple[int, int, bytes]]] = log.read
        self.append = append
        self.purge: Callable[[int, int], None] = lambda index, term: log.purge(LogId(index, term))
        self.load: Callable[[], tuple[int, int | None] | None] = meta.load
        self.save: Callable[[int, int | None], None] = lambda term, vote: meta.save(HardState(term, vote))
        store = getattr(storage, "snapshot_store", None)
        self.snapshots: Snapshots | None = None if store is None else Snapshots(store)
        directory = getattr(storage, "snapshot_directory", None)
        self.snapshot_directory = os.fspath(Path("d-engine-snapshots") if directory is None else directory)


def _part(storage: Any, name: str) -> Any:
    part = getattr(storage, name, None)
    if part is None:
        raise PluginTypeError(
            f"storage: {type(storage).__name__}.{name} is missing",
            callback=name,
            hint="A storage has log_store, meta_store, open(identity) and close()",
        )
    return part


class Snapshots:
    """`SnapshotHooks` of one snapshot store."""

    def __init__(self, store: SnapshotStore) -> None:
        checks.check("storage.snapshot_store", store, checks.SNAPSHOT_STORE)

        def create(meta: tuple[int, int, bytes, int]) -> Writer:
            return Writer(store.create(SnapshotMeta._make(meta)))

        def open_reader(meta: tuple[int, int, bytes, int]) -> Callable[[int, int], bytes]:
            return store.open(SnapshotMeta._make(meta)).read

        self.create = create
        self.open = open_reader
        self.latest: Callable[[], SnapshotMeta | None] = store.latest
        self.partial: Callable[[], tuple[SnapshotMeta, int] | None] = store.partial
        self.retain: Callable[[int], None] = store.retain


class Writer:
    """`SnapshotWriterHooks` of one snapshot."""

    def __init__(self, writer: SnapshotWriter) -> None:
        self.write: Callable[[int, bytes], None] = writer.write
        self.commit: Callable[[tuple[int, int, bytes, int]], None] = lambda meta: writer.commit(
            SnapshotMeta._make(meta)
        )
        self.abort: Callable[[], None] = writer.abort


# --- transport ------------------------------------------------------------------------------------------------------------------


class Carrier:
    """`TransportHooks` of one transport."""

    def __init__(self, transport: Transport) -> None:
        checks.check("transport", transport, checks.TRANSPORT)
        make = Outgoing._make

        def set_peers(table: list[RawPeer]) -> None:
            transport.set_peers(
                {
                    node: Peer(address, role, priority, auto_promote, client)
                    for node, address, client, role, priority, auto_promote in table
                }
            )

        def send(batch: list[tuple[int, Any, bytes]]) -> None:
            transport.send(list(map(make, batch)))

        self.start: Callable[[int, Receive], None] = transport.start
        self.set_peers = set_peers
        self.send = send
        self.close: Callable[[], None] = transport.close
