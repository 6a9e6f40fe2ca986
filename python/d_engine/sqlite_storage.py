"""A storage in one SQLite database: plain Python over the standard library, and an example of how a storage is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from .errors import ConfigError, DirectoryLockedError, StorageError
from .plugins import HardState, Identity, LogBounds, LogId, LogStore, MetaStore, Record
from .storage import checked_path

__all__ = ["SQLiteStorage"]

_FORMAT = 1
_TABLES = (
    "CREATE TABLE IF NOT EXISTS log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)
_FETCH = 64  # rows asked for at a time


class SQLiteStorage:
    """Log and hard state in one SQLite file, durable on every return (WAL, `synchronous=FULL`); snapshots as files beside it.

    Every change is one transaction. Slower than `FileStorage`: a call into Python and a commit for each batch.

    Args:
        path: the database, made at `start()` if it is missing; its folder has to exist. Locked while it is open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = checked_path("SQLiteStorage: path", path, "node-1.db")
        if str(path) == ":memory:":
            raise ConfigError("SQLiteStorage: ':memory:' is not durable", hint="Name a file, or use MemoryStorage")
        self._database = _Database(self._path)
        self.log_store: LogStore = _Log(self._database)
        self.meta_store: MetaStore = _Meta(self._database)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def snapshot_directory(self) -> Path:
        """Where snapshots lie: beside the database."""
        return self._path.with_name(self._path.name + "-snapshots")

    def open(self, identity: Identity) -> Identity:
        """Opens and locks the database; stores the identity in an empty one.

        Raises:
            DirectoryLockedError: another connection has it open.
            StorageError: it is no database of ours, or cannot be read or written.
        """
        self._database.open()
        try:
            stored = self._database.value("identity")
            if stored is not None:
                return Identity.decode(stored)
            with self._database.transaction() as connection:
                _put(connection, "identity", identity.encode())
        except BaseException:
            self._database.close()
            raise
        return identity

    def close(self) -> None:
        """Closes the database. `open` may follow again."""
        self._database.close()

    def __repr__(self) -> str:
        return f"SQLiteStorage({str(self._path)!r})"


class _Database:
    """One connection, used by the node's threads one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        # The node calls one at a time; the lock is for tests and tools that use a storage by themselves.
        self._lock = threading.RLock()

    def open(self) -> None:
        with self._lock:
            if self._connection is not None:
                raise DirectoryLockedError(f"{self._path} is open already", hint="Close it first, or use another file")
            new = not self._path.exists()
            connection = None
            try:
                connection = sqlite3.connect(self._path, timeout=0.5, isolation_level=None, check_same_thread=False)
                self._set_up(connection)
            except sqlite3.Error as error:
                if connection is not None:
                    connection.close()
                raise self._error("open", error) from error
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            self._connection = connection
        if new:
            self._sync_folder()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # Exclusive: one process; taken by the first write and held until the connection closes.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StorageError(f"{self._path}: SQLite's write-ahead log cannot be used here (journal mode {mode!r})")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            connection.execute(table)
        row = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        if row is None:
            _put(connection, "format", str(_FORMAT).encode())
        elif row[0] != str(_FORMAT).encode():
            raise StorageError(
                f"{self._path} has format {row[0]!r}, this release reads {_FORMAT}",
                hint="Use the release that wrote it",
            )
        connection.execute("COMMIT")

    def _sync_folder(self) -> None:
        # SQLite syncs the folder for its journals, not for the database itself.
        if os.name != "posix":
            return
        folder = os.open(self._path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    connection.close()
                except sqlite3.Error as error:
                    raise self._error("close", error) from error

    def _error(self, what: str, error: sqlite3.Error) -> StorageError:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            locked = DirectoryLockedError(
                f"{self._path} is in use by another connection",
                callback=what,
                hint="Stop the other node, or name another file",
            )
            locked.directory = str(self._path)
            return locked
        return StorageError(f"{self._path}: {error}", callback=what)

    @contextlib.contextmanager
    def connected(self, what: str) -> Generator[sqlite3.Connection]:
        """The connection; SQLite's errors become ours."""
        with self._lock:
            if self._connection is None:
                raise StorageError(f"{self._path} is not open", callback=what)
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._error(what, error) from error

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All or nothing, and durable at the end."""
        with self.connected("write") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def value(self, name: str) -> bytes | None:
        """A value of the table meta."""
        with self.connected("read") as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return None if row is None else bytes(row[0])


def _put(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _pair(value: bytes | None) -> tuple[int, int]:
    if value is None:
        return (0, 0)
    first, second = value.split(b" ")
    return (int(first), int(second))


class _Log(LogStore):
    def __init__(self, database: _Database) -> None:
        self._database = database

    def bounds(self) -> LogBounds:
        purged = LogId(*_pair(self._database.value("purged")))
        with self._database.connected("bounds") as connection:
            row = connection.execute("SELECT idx, term FROM log ORDER BY idx DESC LIMIT 1").fetchone()
        return LogBounds(purged, purged if row is None else LogId(*row))

    def read(self, start: int, stop: int, max_bytes: int) -> Sequence[Record]:
        found: list[Record] = []
        size = 0
        with (
            self._database.connected("read") as connection,
            contextlib.closing(
                connection.execute(
                    "SELECT idx, term, data FROM log WHERE idx >= ? AND idx < ? ORDER BY idx", (start, stop)
                )
            ) as rows,
        ):
            while part := rows.fetchmany(_FETCH):
                for record in map(Record._make, part):
                    size += len(record.data)
                    if found and size > max_bytes:
                        return found
                    found.append(record)
        if not found:
            raise StorageError(f"record {start} is not in the log", index=start, callback="LogStore.read")
        return found

    def append(self, records: Sequence[Record], *, truncate_from: int | None) -> None:
        with self._database.transaction() as connection:
            if truncate_from is not None:
                connection.execute("DELETE FROM log WHERE idx >= ?", (truncate_from,))
            if records:
                connection.executemany("INSERT INTO log (idx, term, data) VALUES (?, ?, ?)", records)

    def purge(self, upto: LogId) -> None:
        with self._database.transaction() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'purged'").fetchone()
            purged = LogId(*_pair(None if row is None else row[0]))
            if upto.index < purged.index or upto == purged:
                return  # purged before
            row = connection.execute("SELECT term FROM log WHERE idx = ?", (upto.index,)).fetchone()
            if row is not None and row[0] == upto.term:
                connection.execute("DELETE FROM log WHERE idx <= ?", (upto.index,))
            else:
                connection.execute("DELETE FROM log")
            _put(connection, "purged", b"%d %d" % upto)


class _Meta(MetaStore):
    def __init__(self, database: _Database) -> None:
        self._database = database

    def load(self) -> HardState | None:
        value = self._database.value("hard_state")
        if value is None:
            return None
        term, vote = _pair(value)
        return HardState(term, vote or None)  # node ids begin at 1

    def save(self, state: HardState) -> None:
        with self._database.transaction() as connection:
            _put(connection, "hard_state", b"%d %d" % (state.term, state.vote or 0))
