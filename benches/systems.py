"""The systems under measurement, behind one small interface: a node with the same state machine on top of it.

`DEngine` is durable: an acknowledged entry is synced to disk on a quorum. PySyncObj keeps its log in memory (it has a
journal file, but never calls fsync), with its default batching and without.
"""

from __future__ import annotations

from collections import deque
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

NAMES = ("d-engine", "pysyncobj", "pysyncobj-unbatched")
TITLES = {
    "d-engine": "d-engine, durable",
    "pysyncobj": "PySyncObj 0.3.17, in memory",
    "pysyncobj-unbatched": "PySyncObj 0.3.17, in memory, batching off",
}
PATIENCE = 30.0


class Tally:
    """The state machine's work for one entry, the same in every system."""

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0

    def add(self, data: bytes) -> int:
        self.entries += 1
        self.bytes += len(data)
        return self.entries


class Member(Protocol):
    """One node of a system, in this process."""

    tally: Tally

    def leads(self) -> bool: ...
    def ready(self) -> bool:
        """Whether it knows a leader."""
        ...

    def propose(self, data: bytes) -> None:
        """One write; returns once it is acknowledged."""
        ...

    def probe(self, data: bytes, done: Callable[[bool], None]) -> None:
        """One write, without waiting; `done` is told whether it was acknowledged."""
        ...

    def pump(self, data: bytes, in_flight: int, group: int, stop: threading.Event) -> tuple[int, int]:
        """Keeps that many writes in flight from this thread until told to stop, in calls of `group` entries where the
        system has such a call. Returns how many were acknowledged while running, and how many never were."""
        ...

    def metrics(self) -> dict[str, int]: ...
    def close(self) -> None: ...


class DEngineMember:
    """Ours, with `Config()` as it is."""

    def __init__(self, node: int, peers: dict[int, str], directory: Path) -> None:
        from d_engine import Config, Entry, FileStorage, Raft, StateMachine

        tally = self.tally = Tally()

        class Machine(StateMachine[bytes, int]):
            def apply(self, entry: Entry) -> int:
                return tally.add(entry.data)

            def snapshot(self, out: Any) -> None:
                out.write(f"{tally.entries} {tally.bytes}".encode())

            def restore(self, src: Any) -> None:
                tally.entries, tally.bytes = (int(number) for number in src.read().split())

        self._raft = Raft(node, FileStorage(directory / "data"), Machine(), Config(), peers=peers)
        self._raft.start()

    def leads(self) -> bool:
        return self._raft.is_leader

    def ready(self) -> bool:
        return self._raft.leader is not None

    def propose(self, data: bytes) -> None:
        self._raft.propose(data)

    def probe(self, data: bytes, done: Callable[[bool], None]) -> None:
        self._raft.submit(data).add_done_callback(lambda future: done(future.exception() is None))

    def pump(self, data: bytes, in_flight: int, group: int, stop: threading.Event) -> tuple[int, int]:
        waiting: deque[Future[Any]] = deque()
        acknowledged = 0
        items = [data] * group
        calls = max(in_flight // group, 1)
        submit, submit_many = self._raft.submit, self._raft.submit_many
        while not stop.is_set():
            waiting.append(submit(data) if group == 1 else submit_many(items))
            if len(waiting) >= calls:
                waiting.popleft().result()
                acknowledged += group
        lost = 0
        for future in waiting:
            if future.exception(PATIENCE) is not None:
                lost += group
        return acknowledged, lost

    def metrics(self) -> dict[str, int]:
        return dict(self._raft.metrics())

    def close(self) -> None:
        self._raft.close(handover=False)


class PySyncObjMember:
    """PySyncObj with its own defaults; `batching` is its appendEntriesUseBatch."""

    def __init__(self, node: int, peers: dict[int, str], *, batching: bool) -> None:
        pysyncobj: Any = import_module("pysyncobj")  # it has no types
        tally = self.tally = Tally()

        class Machine(pysyncobj.SyncObj):  # type: ignore[misc]
            @pysyncobj.replicated  # type: ignore[untyped-decorator]
            def add(self, data: bytes) -> int:
                return tally.add(data)

        others = [address for other, address in peers.items() if other != node]
        self._machine: Any = Machine(peers[node], others, pysyncobj.SyncObjConf(appendEntriesUseBatch=batching))

    def leads(self) -> bool:
        return bool(self._machine._isLeader())

    def ready(self) -> bool:
        return bool(self._machine.isReady()) and self._machine._getLeader() is not None

    def propose(self, data: bytes) -> None:
        self._machine.add(data, sync=True, timeout=PATIENCE)

    def probe(self, data: bytes, done: Callable[[bool], None]) -> None:
        self._machine.add(data, callback=lambda _result, reason: done(reason == 0))

    def pump(self, data: bytes, in_flight: int, group: int, stop: threading.Event) -> tuple[int, int]:
        del group  # it has no call for several entries
        answers: SimpleQueue[int] = SimpleQueue()

        def done(_result: Any, reason: int) -> None:
            answers.put(reason)

        add = self._machine.add
        sent = acknowledged = failed = 0
        while not stop.is_set():
            add(data, callback=done)
            sent += 1
            if sent - acknowledged - failed >= in_flight:
                if answers.get(timeout=PATIENCE) == 0:
                    acknowledged += 1
                else:
                    failed += 1
        counted = acknowledged
        while sent - acknowledged - failed > 0:
            try:
                acknowledged += answers.get(timeout=5.0) == 0
            except Empty:  # the rest never comes
                break
        return counted, sent - acknowledged

    def metrics(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self._machine.destroy()


def make_member(system: str, node: int, peers: dict[int, str], directory: Path) -> Member:
    """Starts one node of a system."""
    if system == "d-engine":
        return DEngineMember(node, peers, directory)
    return PySyncObjMember(node, peers, batching=system == "pysyncobj")
