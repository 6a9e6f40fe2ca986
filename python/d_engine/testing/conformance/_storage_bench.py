"""The bench that a storage is put on, and the records that go in and out."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from d_engine.plugins import Identity, LogBounds, LogId, LogStore, MetaStore, Record, SnapshotMeta, SnapshotStore
from d_engine.pure.configuration import Configuration, Member
from d_engine.pure.configuration import encode as encode_members
from d_engine.pure.entry import Entry, encode

from ._case import equal, fail, shown, skip

if TYPE_CHECKING:
    from d_engine.plugins import StorageEngine

__all__ = ["EVERYTHING", "IDENTITY", "Bench", "StorageFace", "on_thread", "record", "records"]

_T = TypeVar("_T")

MEMBERS = encode_members(Configuration((Member(1, "zürich:1"), Member(2, "local:2"))))
IDENTITY = Identity(1, "conformance", bytes(range(16)), 0, 0, bytes(range(100, 116)), MEMBERS)
EVERYTHING = 10**9
"""More bytes than any case reads."""


@lru_cache(maxsize=4096)
def record(index: int, term: int = 1, payload: bytes | None = None) -> Record:
    """A record as a node hands it over: header and payload. Each index and term has another payload."""
    if payload is None:
        payload = random.Random(f"{index} {term}").randbytes(24) + b"."  # noqa: S311 (the same in every run)
    return Record(index, term, encode(Entry(index, term, "command", 1_700_000_000_000_000 + index, 0, 0, 0, payload)))


def records(first: int, last: int, term: int = 1, size: int | None = None) -> list[Record]:
    """The records from `first` to `last`, both included; with `size` each payload has so many bytes."""
    payload = None if size is None else bytes(size)
    return [record(index, term, payload) for index in range(first, last + 1)]


def on_thread(call: Callable[[], _T]) -> _T:
    """What `call` returns on a thread of its own, or what it raises there."""
    results: list[_T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as failure:  # noqa: BLE001 (it is raised again below)
            failures.append(failure)

    thread = threading.Thread(target=work, name="d-engine-conformance", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


class StorageFace:
    """What a plugin's author writes: see `StorageConformance`."""

    durable: ClassVar[bool] = True
    patience: ClassVar[float] = 30.0

    def make(self, path: Path) -> StorageEngine:
        """The storage whose data is at `path`."""
        raise NotImplementedError(
            f"write 'def make(self, path: Path)' in {type(self).__name__}: it returns the storage"
        )

    def crash(self, path: Path, copy: Path) -> None:
        """Makes `copy` what a kill of the process would leave of the storage at `path`, which is open and stays open."""
        copy.mkdir(parents=True)
        for source in sorted(path.rglob("*")):
            target = copy / source.relative_to(path)
            # What a background thread removes meanwhile is gone after a kill, too.
            with contextlib.suppress(FileNotFoundError):
                if source.is_dir():
                    target.mkdir(exist_ok=True)
                else:
                    shutil.copyfile(source, target)

    @contextlib.contextmanager
    def bench(self, root: Path) -> Generator[Bench]:
        """For the cases."""
        bench = Bench(self, root, root / "storage")
        try:
            yield bench
        finally:
            bench.tidy()


class Bench:
    """One storage, and what the cases do with it: opened when it is first used."""

    def __init__(self, suite: StorageFace, root: Path, path: Path) -> None:
        self.suite, self.root, self.path = suite, root, path
        path.mkdir(parents=True, exist_ok=True)
        self._made: list[StorageEngine] = []
        self._copies: list[Bench] = []
        self._is_open = False
        self.storage = self.made(path)

    def made(self, path: Path) -> StorageEngine:
        """Another object for the data at a path; closed when the case ends."""
        storage = self.suite.make(path)
        self._made.append(storage)
        return storage

    def open(self, identity: Identity = IDENTITY) -> Identity:
        """Opens the storage."""
        found = self.storage.open(identity)
        self._is_open = True
        return found

    def close(self) -> None:
        """Closes it."""
        self._is_open = False
        self.storage.close()

    def again(self) -> StorageEngine:
        """What another start of the node would have: a new object for the same data, or the same one if nothing outlives it."""
        return self.made(self.path) if self.suite.durable else self.storage

    def reopen(self) -> None:
        """Closes it and opens it again, as another start of the node does."""
        if not self._is_open:
            self.open()
        self.close()
        self.storage = self.again()
        self.open()

    def crashed(self) -> Bench:
        """What is left if the process is killed now."""
        self.needs_durable()
        copy = self.root / f"crashed-{len(self._copies) + 1}"
        self.suite.crash(self.path, copy)
        bench = Bench(self.suite, self.root, copy)
        self._copies.append(bench)
        return bench

    def needs_durable(self) -> None:
        """Skips the case for storages that end with their object."""
        if not self.suite.durable:
            skip("durable is False: nothing of this storage outlives its object")

    def _opened(self) -> StorageEngine:
        if not self._is_open:
            self.open()
        return self.storage

    @property
    def log(self) -> LogStore:
        """Its log."""
        return self._opened().log_store

    @property
    def meta(self) -> MetaStore:
        """Its hard state."""
        return self._opened().meta_store

    @property
    def snapshots(self) -> SnapshotStore:
        """Its snapshots; skips the case where it leaves them to the node."""
        store = cast("SnapshotStore | None", getattr(cast("Any", self._opened()), "snapshot_store", None))
        if store is None:
            skip("it has no snapshot_store: the node keeps snapshots in files")
        return store

    def fill(self, last: int, term: int = 1) -> None:
        """Appends records up to `last`, all of one term."""
        self.log.append(records(self.bounds().last[0] + 1, last, term), truncate_from=None)

    def bounds(self) -> LogBounds:
        """What `bounds` gives, as plain pairs where it gives those."""
        purged, last = self.log.bounds()
        return LogBounds(LogId(*purged), LogId(*last))

    def read(self, first: int, last: int) -> list[Record]:
        """The records from `first` to `last`, both included, in as many calls as it takes.

        Forgives what other cases are about: wrong order, and records around those that were asked for.
        """
        found: list[Record] = []
        while first <= last:
            part = [Record(*one) for one in self.log.read(first, last + 1, EVERYTHING)]
            part = sorted(one for one in part if first <= one.index <= last)
            if not part:
                break
            found += part
            first = part[-1].index + 1
        return found

    def holds(self, expected: Sequence[Record], why: str) -> None:
        """The log must hold these records, and nothing behind them."""
        first, last = expected[0].index, expected[-1].index
        bounds = self.bounds()
        if bounds.last != expected[-1][:2]:
            fail(f"bounds().last {why}: {expected[-1][:2]}", shown(tuple(bounds.last)))
        self.gives(expected, self.read(first, last), f"read({first}, {last + 1}, …) {why}")

    @staticmethod
    def gives(expected: Sequence[Record], came: Sequence[Record], what: str) -> None:
        """What was read must be these records."""
        came = [Record(*found) for found in came]
        equal(f"{what}: (index, term) of its records", [found[:2] for found in came], [one[:2] for one in expected])
        for found, one in zip(came, expected, strict=True):
            if found.data != one.data:
                where = next((at for at, (a, b) in enumerate(zip(found.data, one.data, strict=False)) if a != b), None)
                at = f"the first difference is at byte {where}" if where is not None else "one begins with the other"
                fail(
                    f"{what}: record {one.index} as it was appended, {len(one.data)} bytes",
                    f"{len(found.data)} bytes; {at}",
                )

    def commit(self, index: int, content: bytes, term: int = 1) -> SnapshotMeta:
        """Makes a snapshot as a node does that makes it by itself: the beginning is written once more at the end."""
        meta = SnapshotMeta(index, term, index.to_bytes(32, "big"), len(content))
        writer = self.snapshots.create(SnapshotMeta(index, term, b"", 0))
        head = content[:8]
        writer.write(0, bytes(len(head)))
        for offset in range(len(head), len(content), 300):
            writer.write(offset, content[offset : offset + 300])
        writer.write(0, head)
        writer.commit(meta)
        return meta

    def content(self, meta: SnapshotMeta, step: int = 1000) -> bytes:
        """A whole snapshot, read in steps."""
        reader = self.snapshots.open(meta)
        parts: list[bytes] = []
        while part := reader.read(sum(map(len, parts)), step):
            parts.append(bytes(part))
        return b"".join(parts)

    def tidy(self) -> None:
        """Closes everything, whatever state the case has left it in."""
        for copy in self._copies:
            copy.tidy()
        for storage in reversed(self._made):
            with contextlib.suppress(Exception):
                storage.close()
