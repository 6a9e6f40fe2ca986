"""Plugins in which a test can make any callback raise or hang."""

import threading

from d_engine import MemoryStorage, StateMachine


class Injected(Exception):
    """What a broken callback raises."""


class Faults:
    """What happens in the callbacks of one node: nothing, until a test says otherwise.

    A hang ends at `heal`, and a fixture heals at the end of each test.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._plans = {}
        self._healed = threading.Event()
        self.hit = {}

    def fail(self, callback):
        with self._lock:
            self._plans[callback] = "raise"
            return self.hit.setdefault(callback, threading.Event())

    def hang(self, callback):
        with self._lock:
            self._plans[callback] = "hang"
            return self.hit.setdefault(callback, threading.Event())

    def heal(self):
        with self._lock:
            self._plans.clear()
        self._healed.set()

    def at(self, callback):
        with self._lock:
            plan = self._plans.get(callback)
        if plan is None:
            return
        self.hit[callback].set()
        if plan == "raise":
            raise Injected(f"injected into {callback}")
        if not self._healed.wait(120):
            raise Injected(f"nobody ended the hang in {callback}")


class FaultyMachine(StateMachine[bytes, int]):
    def __init__(self, faults):
        self.faults, self.items = faults, []

    def apply(self, entry):
        self.faults.at("apply")
        self.items.append(entry.data)
        return len(self.items)

    def query(self, request):
        self.faults.at("query")
        return len(self.items)

    def snapshot(self, out):
        self.faults.at("snapshot")
        for item in self.items:
            out.write(b"%d:" % len(item) + item)

    def restore(self, src):
        self.faults.at("restore")
        data, self.items = src.read(), []
        while data:
            size, _, data = data.partition(b":")
            self.items.append(data[: int(size)])
            data = data[int(size) :]


class FaultyBatches(FaultyMachine):
    def apply_batch(self, entries):
        self.faults.at("apply_batch")
        return super().apply_batch(entries)


class FaultyViews(FaultyMachine):
    def freeze(self):
        self.faults.at("freeze")
        return list(self.items)

    def write_view(self, view, out):
        self.faults.at("write_view")
        for item in view:
            out.write(b"%d:" % len(item) + item)


class Proxy:
    """Calls through to another object, by way of the faults."""

    def __init__(self, target, prefix, faults, wrap=()):
        self._target, self._prefix, self._faults, self._wrap = target, prefix, faults, dict(wrap)

    def __getattr__(self, name):
        method = getattr(self._target, name)
        if not callable(method):
            return method
        wrap = self._wrap.get(name)

        def call(*args, **kwargs):
            self._faults.at(f"{self._prefix}.{name}")
            result = method(*args, **kwargs)
            return result if wrap is None or result is None else Proxy(result, wrap, self._faults)

        return call


class FaultyStorage:
    """A `MemoryStorage` behind proxies: callbacks are named like "LogStore.append"."""

    def __init__(self, faults):
        inner = MemoryStorage()
        self._inner, self._faults = inner, faults
        self.log_store = Proxy(inner.log_store, "LogStore", faults)
        self.meta_store = Proxy(inner.meta_store, "MetaStore", faults)
        self.snapshot_store = Proxy(
            inner.snapshot_store, "SnapshotStore", faults, {"create": "SnapshotWriter", "open": "SnapshotReader"}
        )

    def open(self, identity):
        self._faults.at("StorageEngine.open")
        return self._inner.open(identity)

    def close(self):
        self._faults.at("StorageEngine.close")
        self._inner.close()


def FaultyTransport(target, faults):
    """A transport behind a proxy: callbacks are named like "Transport.send"."""
    return Proxy(target, "Transport", faults)
