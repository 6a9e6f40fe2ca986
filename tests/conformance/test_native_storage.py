"""The native log keeps what a storage promises, called as a Python storage is."""

from d_engine import HardState, Identity, LogBounds, LogId, Record
from d_engine._core import NativeStorage
from d_engine.testing.conformance import StorageConformance


class OnTheBench:
    """`FileStorage` as a storage that Python calls: a node calls the same log without Python in between."""

    def __init__(self, directory):
        self.directory = directory
        self.snapshot_directory = directory.with_name("snapshots")
        self.native = NativeStorage(str(directory))
        self.log_store = self.meta_store = self

    def open(self, identity):
        return Identity(**self.native.open(identity._asdict()))

    def close(self):
        self.native.close()

    def bounds(self):
        purged, purged_term, last, last_term = self.native.bounds()
        return LogBounds(LogId(purged, purged_term), LogId(last, last_term))

    def read(self, start, stop, max_bytes):
        return [Record(*record) for record in self.native.read(start, stop, max_bytes)]

    def append(self, records, *, truncate_from):
        self.native.append(list(records), truncate_from)

    def purge(self, upto):
        self.native.purge(*upto)

    def load(self):
        found = self.native.load()
        return None if found is None else HardState(*found)

    def save(self, state):
        self.native.save(*state)


class TestFileStorage(StorageConformance):
    def make(self, path):
        return OnTheBench(path / "log")
