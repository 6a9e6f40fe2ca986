"""A correct storage in memory, with a disk that a kill leaves behind: what the broken ones are made of.

What was synced is on the disk; a kill keeps that and nothing else. Every method is small, so that a fault is one override.
"""

from dataclasses import dataclass, field

from d_engine import DirectoryLockedError, HardState, Identity, LogBounds, LogId, StorageError
from d_engine.testing.conformance import StorageConformance
from support.broken.registry import Registry

NOTHING = LogId(0, 0)


@dataclass
class State:
    """All that a storage holds."""

    identity: Identity | None = None
    hard_state: HardState | None = None
    purged: LogId = NOTHING
    records: list = field(default_factory=list)
    snapshots: dict = field(default_factory=dict)  # (index, term) -> (meta, content)
    partial: tuple | None = None  # meta, content

    def copied(self):
        partial = None if self.partial is None else (self.partial[0], bytearray(self.partial[1]))
        return State(self.identity, self.hard_state, self.purged, list(self.records), dict(self.snapshots), partial)


@dataclass
class Disk:
    """What is at one path."""

    state: State = field(default_factory=State)
    owner: object = None


class Model:
    """The storage; also its own log store and meta store."""

    def __init__(self, disk):
        self.disk = disk
        self.state = State()
        self.opened = False
        self.snapshot_store = self.snapshots(self)

    @property
    def log_store(self):
        return self

    @property
    def meta_store(self):
        return self

    # engine

    def open(self, identity):
        if self.disk.owner is not None:
            raise DirectoryLockedError("in use")
        self.disk.owner = self
        self.opened = True
        self.state = self.disk.state.copied()
        if self.state.identity is None:
            self.state.identity = identity
            self.sync("identity")
        return self.state.identity

    def close(self):
        if self.opened:
            self.sync("close")
            self.opened = False
            self.disk.owner = None

    def sync(self, what):
        """Makes durable what was changed; `what` says what that was."""
        self.disk.state = self.state.copied()

    # log

    def last(self):
        return LogId(*self.state.records[-1][:2]) if self.state.records else self.state.purged

    def bounds(self):
        return LogBounds(self.state.purged, self.last())

    def span(self, start, stop):
        first = self.state.purged.index + 1
        if not first <= start < stop <= first + len(self.state.records):
            raise StorageError("not held")
        return self.state.records[start - first : stop - first]

    def read(self, start, stop, max_bytes):
        return self.cut(self.span(start, stop), max_bytes)

    def cut(self, records, max_bytes):
        found, size = [], 0
        for record in records:
            size += len(record.data)
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    def append(self, records, *, truncate_from):
        records = self.taken(records)
        if truncate_from is not None:
            self.truncate(truncate_from)
        self.insert(records)
        self.sync("append" if records else "truncate")

    def taken(self, records):
        return list(records)

    def truncate(self, index):
        del self.state.records[max(0, index - self.state.purged.index - 1) :]

    def insert(self, records):
        self.state.records.extend(map(self.stored, records))

    def stored(self, record):
        return record

    def purge(self, upto):
        if upto.index < self.state.purged.index or upto == self.state.purged:
            return
        if self.has(upto):
            self.drop(upto)
            self.sync("purge")
        else:
            self.reset(upto)
            self.sync("reset")

    def has(self, upto):
        at = upto.index - self.state.purged.index - 1
        return 0 <= at < len(self.state.records) and self.state.records[at].term == upto.term

    def drop(self, upto):
        del self.state.records[: upto.index - self.state.purged.index]
        self.state.purged = upto

    def reset(self, upto):
        self.state.records = []
        self.state.purged = upto

    # hard state

    def load(self):
        return self.state.hard_state

    def save(self, state):
        self.state.hard_state = state
        self.sync("save")

    class snapshots:
        """Its snapshot store."""

        def __init__(self, storage):
            self.storage = storage
            self.making = 0

        @property
        def state(self):
            return self.storage.state

        def create(self, meta):
            if meta.digest:
                if not self.goes_on(meta):
                    self.state.partial = (meta, bytearray())
                return self.writer(self, meta, self.state.partial[1])
            return self.writer(self, meta, bytearray())

        def goes_on(self, meta):
            return self.state.partial is not None and self.state.partial[0][:3] == meta[:3]

        def latest(self):
            return max(self.state.snapshots.values(), key=lambda one: one[0].index)[0] if self.state.snapshots else None

        def open(self, meta):
            return self.reader(self, self.find(meta))

        def find(self, meta):
            try:
                return self.state.snapshots[meta[:2]][1]
            except KeyError:
                raise StorageError("no such snapshot") from None

        def partial(self):
            return None if self.state.partial is None else (self.state.partial[0], len(self.state.partial[1]))

        def retain(self, count):
            for key in sorted(self.state.snapshots)[: -count or None]:
                del self.state.snapshots[key]
            self.storage.sync("retain")

        def commit(self, meta, content):
            self.state.snapshots[meta[:2]] = (meta, bytes(content))

        class writer:
            def __init__(self, store, meta, content):
                self.store, self.meta, self.content = store, meta, content

            def write(self, offset, data):
                if offset > len(self.content):
                    raise StorageError("a gap")
                self.content[offset : offset + len(data)] = data

            def commit(self, meta):
                self.end()
                self.store.commit(meta, self.content)
                self.store.storage.sync("commit")

            def abort(self):
                self.end()

            def end(self):
                if self.meta.digest:
                    self.store.state.partial = None

        class reader:
            def __init__(self, store, content):
                self.store, self.content = store, content

            def read(self, offset, limit):
                return self.content[offset : offset + limit]


def suite_of(plugin):
    """The suite over a model, or over a model with another snapshot store."""
    model = plugin if issubclass(plugin, Model) else type(plugin.__name__, (Model,), {"snapshots": plugin})

    class OverModel(StorageConformance):
        patience = 4.0

        def disk(self, path):
            return self.__dict__.setdefault("disks", {}).setdefault(path, Disk())

        def make(self, path):
            return model(self.disk(path))

        def crash(self, path, copy):
            self.disk(copy).state = self.disk(path).state.copied()

    return OverModel


STORAGES = Registry("storage", suite_of)
fails = STORAGES.fails

IN_ORDER = [suite_of(Model)]
"""What is in order, for comparison."""

NODES = (
    "a_node_runs_on_it",
    "a_node_goes_on_from_a_snapshot",
    "a_node_of_another_id_is_refused",
    "a_node_of_another_cluster_is_refused",
)
"""The cases in which a node is started."""
