"""What a storage promises: the same contract for every storage that is a Python object."""

import sqlite3
import threading

import pytest

from d_engine import (
    DirectoryLockedError,
    HardState,
    Identity,
    LogId,
    MemoryStorage,
    Record,
    SnapshotMeta,
    SQLiteStorage,
    StorageError,
)

IDENTITY = Identity(1, "test", b"c" * 16, 0, 0, b"i" * 16, b"members")


class Memory:
    def __init__(self, path):
        self.storage = MemoryStorage()

    def again(self):
        return self.storage


class SQLite:
    def __init__(self, path):
        self.path = path / "node.db"
        self.storage = SQLiteStorage(self.path)

    def again(self):
        return SQLiteStorage(self.path)


@pytest.fixture(params=[Memory, SQLite])
def place(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def storage(place):
    place.storage.open(IDENTITY)
    yield place.storage
    place.storage.close()


def records(start, count, term=1, size=8):
    return [Record(index, term, (b"%d." % index).ljust(size, b"x")) for index in range(start, start + count)]


def reopened(place):
    place.storage.close()
    place.storage = place.again()
    place.storage.open(IDENTITY)
    return place.storage


def test_empty(storage):
    assert storage.log_store.bounds() == (LogId(0, 0), LogId(0, 0))
    assert storage.meta_store.load() is None


def test_identity_of_the_first_open_holds(place):
    assert place.storage.open(IDENTITY) == IDENTITY
    place.storage.close()
    other = IDENTITY._replace(node_id=2, incarnation=b"j" * 16)
    second = place.again()
    assert second.open(other) == IDENTITY
    second.close()


def test_records_come_back_byte_for_byte(storage, place, rng):
    made = [Record(index, 1, rng.randbytes(rng.randrange(64, 300))) for index in range(1, 101)]
    storage.log_store.append(made, truncate_from=None)
    assert list(storage.log_store.read(1, 101, 10**9)) == made
    storage = reopened(place)
    assert list(storage.log_store.read(1, 101, 10**9)) == made
    assert storage.log_store.bounds() == (LogId(0, 0), LogId(100, 1))
    storage.close()


def test_read_is_bounded_but_never_empty(storage):
    storage.log_store.append(records(1, 10, size=100), truncate_from=None)
    assert [record.index for record in storage.log_store.read(3, 9, 250)] == [3, 4]
    assert [record.index for record in storage.log_store.read(3, 9, 1)] == [3]
    assert [record.index for record in storage.log_store.read(3, 4, 10**9)] == [3]
    assert all(isinstance(record, Record) for record in storage.log_store.read(1, 5, 1000))


def test_read_outside_is_an_error(storage):
    storage.log_store.append(records(1, 3), truncate_from=None)
    with pytest.raises(StorageError):
        storage.log_store.read(4, 5, 100)


def test_truncate_and_append_are_one(storage, place):
    storage.log_store.append(records(1, 5), truncate_from=None)
    storage.log_store.append(records(3, 2, term=2), truncate_from=3)
    assert storage.log_store.bounds().last == LogId(4, 2)
    assert [record.term for record in storage.log_store.read(1, 5, 10**6)] == [1, 1, 2, 2]
    storage.log_store.append([], truncate_from=2)
    assert reopened(place).log_store.bounds() == (LogId(0, 0), LogId(1, 1))
    place.storage.close()


def test_truncate_everything(storage):
    storage.log_store.append(records(1, 5), truncate_from=None)
    storage.log_store.append([], truncate_from=1)
    assert storage.log_store.bounds().last == LogId(0, 0)


def test_append_nothing(storage):
    storage.log_store.append([], truncate_from=None)
    assert storage.log_store.bounds().last == LogId(0, 0)


def test_purge_keeps_index_and_term(storage, place):
    storage.log_store.append(records(1, 5, term=3), truncate_from=None)
    storage.log_store.purge(LogId(3, 3))
    assert storage.log_store.bounds() == (LogId(3, 3), LogId(5, 3))
    assert [record.index for record in storage.log_store.read(4, 6, 10**6)] == [4, 5]
    with pytest.raises(StorageError):
        storage.log_store.read(3, 4, 10**6)
    assert reopened(place).log_store.bounds() == (LogId(3, 3), LogId(5, 3))
    place.storage.close()


def test_purge_all_then_append(storage):
    storage.log_store.append(records(1, 5), truncate_from=None)
    storage.log_store.purge(LogId(5, 1))
    assert storage.log_store.bounds() == (LogId(5, 1), LogId(5, 1))
    storage.log_store.append(records(6, 2), truncate_from=None)
    assert storage.log_store.bounds() == (LogId(5, 1), LogId(7, 1))


@pytest.mark.parametrize("upto", [LogId(9, 4), LogId(3, 2)], ids=["beyond the end", "another term"])
def test_purge_to_what_is_not_held_resets(storage, place, upto):
    storage.log_store.append(records(1, 5), truncate_from=None)
    storage.log_store.purge(upto)
    assert storage.log_store.bounds() == (upto, upto)
    storage.log_store.append(records(upto.index + 1, 2, term=5), truncate_from=None)
    assert reopened(place).log_store.bounds() == (upto, LogId(upto.index + 2, 5))
    place.storage.close()


def test_purge_again_changes_nothing(storage):
    storage.log_store.append(records(1, 5), truncate_from=None)
    storage.log_store.purge(LogId(3, 1))
    storage.log_store.purge(LogId(3, 1))
    storage.log_store.purge(LogId(1, 1))
    assert storage.log_store.bounds() == (LogId(3, 1), LogId(5, 1))


@pytest.mark.parametrize("state", [HardState(1, None), HardState(7, 3), HardState(2**60, 2**62)])
def test_hard_state(storage, place, state):
    storage.meta_store.save(HardState(1, 1))
    storage.meta_store.save(state)
    assert storage.meta_store.load() == state
    assert reopened(place).meta_store.load() == state
    place.storage.close()


def test_calls_from_several_threads(storage):
    """The node's threads differ; calls come one at a time."""
    failures = []

    def use(start):
        try:
            storage.log_store.append(records(start, 2), truncate_from=None)
            storage.meta_store.save(HardState(start, None))
        except Exception as error:
            failures.append(error)

    for start in (1, 3, 5):
        thread = threading.Thread(target=use, args=(start,))
        thread.start()
        thread.join()
    assert failures == []
    assert storage.log_store.bounds().last.index == 6


# --- MemoryStorage's snapshots ---------------------------------------------------------------------------------------------


def test_memory_snapshots():
    store = MemoryStorage().snapshot_store
    assert store.latest() is None
    assert store.partial() is None
    for index in (5, 9, 7):
        writer = store.create(SnapshotMeta(index, 1, b"", 0))
        writer.write(0, b"head")
        writer.write(4, b"body")
        writer.write(0, b"HEAD")
        writer.commit(SnapshotMeta(index, 1, bytes(32), 8))
    assert store.latest() == (9, 1, bytes(32), 8)
    reader = store.open(store.latest())
    assert reader.read(0, 100) == b"HEADbody"
    assert reader.read(6, 1) == b"d"
    assert reader.read(8, 10) == b""
    store.retain(1)
    assert reader.read(0, 4) == b"HEAD"
    with pytest.raises(StorageError):
        store.open(SnapshotMeta(5, 1, b"", 0))


def test_memory_snapshot_that_is_received_in_parts():
    store = MemoryStorage().snapshot_store
    meta = SnapshotMeta(5, 2, b"d" * 32, 8)
    store.create(meta).write(0, b"1234")
    assert store.partial() == (meta, 4)
    writer = store.create(meta)
    writer.write(4, b"5678")
    writer.commit(meta)
    assert store.partial() is None
    assert store.open(meta).read(0, 100) == b"12345678"
    store.create(SnapshotMeta(6, 2, b"e" * 32, 8)).abort()
    assert store.partial() is None
    assert store.latest() == meta


# --- SQLiteStorage alone ------------------------------------------------------------------------------------------------------


def test_sqlite_is_durable_by_its_settings(tmp_path):
    storage = SQLiteStorage(tmp_path / "a.db")
    storage.open(IDENTITY)
    with storage._database.connected("test") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    storage.close()


def test_sqlite_survives_without_close(tmp_path):
    """What returned is in the files: copies of them, taken while the first is still open, hold it."""
    storage = SQLiteStorage(tmp_path / "a.db")
    storage.open(IDENTITY)
    storage.log_store.append(records(1, 50), truncate_from=None)
    storage.meta_store.save(HardState(4, 2))
    (tmp_path / "copy").mkdir()
    for name in ("a.db", "a.db-wal"):
        (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
    copy = SQLiteStorage(tmp_path / "copy" / "a.db")
    copy.open(IDENTITY)
    assert copy.log_store.bounds().last == LogId(50, 1)
    assert copy.meta_store.load() == HardState(4, 2)
    copy.close()
    storage.close()


def test_sqlite_transaction_is_all_or_nothing(tmp_path):
    storage = SQLiteStorage(tmp_path / "a.db")
    storage.open(IDENTITY)
    storage.log_store.append(records(1, 3), truncate_from=None)
    with pytest.raises(StorageError):
        storage.log_store.append([*records(2, 2, term=2), Record(3, 2, b"twice")], truncate_from=2)
    assert [record.term for record in storage.log_store.read(1, 4, 1000)] == [1, 1, 1]
    storage.close()


def test_sqlite_file_in_use(tmp_path):
    first, second = SQLiteStorage(tmp_path / "a.db"), SQLiteStorage(tmp_path / "a.db")
    first.open(IDENTITY)
    with pytest.raises(DirectoryLockedError, match=r"a\.db is in use") as caught:
        second.open(IDENTITY)
    assert caught.value.retryable
    with pytest.raises(DirectoryLockedError, match="open already"):
        first.open(IDENTITY)
    first.close()
    first.close()
    assert second.open(IDENTITY) == IDENTITY
    second.close()


def test_sqlite_refuses_other_files(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    storage = SQLiteStorage(path)
    with pytest.raises(StorageError, match=r"a\.db.*not a database"):
        storage.open(IDENTITY)
    assert path.read_bytes().startswith(b"this is no database")
    with pytest.raises(StorageError, match="cannot|unable"):
        SQLiteStorage(tmp_path / "missing" / "a.db").open(IDENTITY)


def test_sqlite_refuses_later_formats(tmp_path):
    storage = SQLiteStorage(tmp_path / "a.db")
    storage.open(IDENTITY)
    storage.close()
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("UPDATE meta SET value = ? WHERE name = 'format'", (b"9",))
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="format b'9', this release reads 1"):
        storage.open(IDENTITY)


def test_sqlite_not_open(tmp_path):
    storage = SQLiteStorage(tmp_path / "a.db")
    with pytest.raises(StorageError, match="is not open"):
        storage.log_store.bounds()
