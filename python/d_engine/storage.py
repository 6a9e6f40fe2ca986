"""The storages that come with the package, except SQLite's."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ._text import shown
from .errors import ConfigError, StorageError
from .plugins import (
    HardState,
    Identity,
    LogBounds,
    LogId,
    LogStore,
    MetaStore,
    Record,
    SnapshotMeta,
    SnapshotReader,
    SnapshotStore,
    SnapshotWriter,
)

__all__ = ["FileStorage", "MemoryStorage"]


class FileStorage:
    """The native log in a directory of its own: what you want, unless you know better.

    Written and synced by native threads; no entry passes through Python. `Raft` takes it in the place of a `StorageEngine`.

    Args:
        directory: made at `start()` if it is missing; its parent has to exist. One node each; locked while it is open.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = checked_path("FileStorage: directory", directory, "data")

    @property
    def directory(self) -> Path:
        """Where the data lies."""
        return self._directory

    def __repr__(self) -> str:
        return f"FileStorage({str(self._directory)!r})"


class MemoryStorage:
    """Keeps everything in this object: for tests, and for learning how a storage is written. Nothing outlives the process.

    A node that is closed and started again with the same object finds what was there.
    """

    def __init__(self) -> None:
        self.log_store: LogStore = _MemoryLog()
        self.meta_store: MetaStore = _MemoryMeta()
        self.snapshot_store: SnapshotStore = _MemorySnapshots()
        self._identity: Identity | None = None
        self._lock = threading.Lock()

    def open(self, identity: Identity) -> Identity:
        """Keeps the first identity it is given."""
        with self._lock:
            if self._identity is None:
                self._identity = identity
            return self._identity

    def close(self) -> None:
        """Nothing to do."""


def checked_path(what: str, path: object, example: str) -> Path:
    """A path that a user gave. Raises `ConfigError`."""
    text = (
        path
        if isinstance(path, str)
        else os.fspath(cast("os.PathLike[str]", path))
        if hasattr(path, "__fspath__")
        else ""
    )
    if not isinstance(cast("object", text), str) or not text or "\0" in text:
        raise ConfigError(f"{what} is {shown(path)}: a path such as {example!r} is needed")
    return Path(text)


class _MemoryLog(LogStore):
    def __init__(self) -> None:
        self._purged = LogId(0, 0)
        self._records: list[Record] = []  # the first one stands at purged.index + 1

    def bounds(self) -> LogBounds:
        last = LogId(*self._records[-1][:2]) if self._records else self._purged
        return LogBounds(self._purged, last)

    def read(self, start: int, stop: int, max_bytes: int) -> Sequence[Record]:
        first = self._purged.index + 1
        if not first <= start < stop <= first + len(self._records):
            raise StorageError(
                f"records {start} to {stop - 1} are asked for, {first} to {first + len(self._records) - 1} are held"
            )
        found: list[Record] = []
        size = 0
        for record in self._records[start - first : stop - first]:
            size += len(record.data)
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    def append(self, records: Sequence[Record], *, truncate_from: int | None) -> None:
        first = self._purged.index + 1
        keep = len(self._records) if truncate_from is None else max(0, min(len(self._records), truncate_from - first))
        if records and records[0].index != first + keep:
            raise StorageError(f"record {records[0].index} would leave a gap: {first + keep} is next")
        del self._records[keep:]
        self._records.extend(records)

    def purge(self, upto: LogId) -> None:
        first = self._purged.index + 1
        count = upto.index - first + 1
        if count < 0 or upto == self._purged:
            return  # purged before
        held = 0 < count <= len(self._records) and self._records[count - 1].term == upto.term
        if held:
            del self._records[:count]
        else:
            self._records.clear()
        self._purged = upto


class _MemoryMeta(MetaStore):
    def __init__(self) -> None:
        self._state: HardState | None = None

    def load(self) -> HardState | None:
        return self._state

    def save(self, state: HardState) -> None:
        self._state = state


class _MemorySnapshots(SnapshotStore):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._committed: list[tuple[SnapshotMeta, bytes]] = []
        self._partial: _MemoryWriter | None = None

    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        with self._lock:
            partial = self._partial
            if meta.digest and partial is not None and partial.meta[:3] == meta[:3]:
                return partial
            writer = _MemoryWriter(self, meta)
            if meta.digest:
                self._partial = writer
            return writer

    def latest(self) -> SnapshotMeta | None:
        with self._lock:
            return self._committed[-1][0] if self._committed else None

    def open(self, meta: SnapshotMeta) -> SnapshotReader:
        with self._lock:
            for held, data in self._committed:
                if held[:2] == meta[:2]:
                    return _MemoryReader(data)
        raise StorageError(f"there is no snapshot of index {meta.index}", index=meta.index)

    def partial(self) -> tuple[SnapshotMeta, int] | None:
        with self._lock:
            return None if self._partial is None else (self._partial.meta, len(self._partial.data))

    def retain(self, count: int) -> None:
        with self._lock:
            del self._committed[: max(0, len(self._committed) - count)]

    def finish(self, writer: _MemoryWriter, meta: SnapshotMeta | None) -> None:
        """Ends a writer: with a meta it is committed, without one forgotten."""
        with self._lock:
            if self._partial is writer:
                self._partial = None
            if meta is None:
                return
            self._committed = [held for held in self._committed if held[0].index != meta.index]
            self._committed.append((meta, bytes(writer.data)))
            self._committed.sort(key=lambda held: held[0].index)


class _MemoryWriter(SnapshotWriter):
    def __init__(self, store: _MemorySnapshots, meta: SnapshotMeta) -> None:
        self._store = store
        self.meta = meta
        self.data = bytearray()

    def write(self, offset: int, data: bytes, /) -> None:
        if offset > len(self.data):
            raise StorageError(f"a snapshot's bytes at {offset} would leave a gap: {len(self.data)} is next")
        self.data[offset : offset + len(data)] = data

    def commit(self, meta: SnapshotMeta, /) -> None:
        self._store.finish(self, meta)

    def abort(self) -> None:
        self._store.finish(self, None)


class _MemoryReader(SnapshotReader):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, limit: int, /) -> bytes:
        return self._data[offset : offset + limit]
