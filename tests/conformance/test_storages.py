"""The storages that come with the package keep what a storage promises."""

from d_engine import MemoryStorage, SQLiteStorage
from d_engine.testing.conformance import StorageConformance


class TestMemoryStorage(StorageConformance):
    durable = False

    def make(self, path):
        return MemoryStorage()


class TestSQLiteStorage(StorageConformance):
    def make(self, path):
        return SQLiteStorage(path / "node.db")
