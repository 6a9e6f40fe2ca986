"""One node under test, in a process of its own: `python tests/process/node.py SPEC`, driven over standard input and output.

SPEC is JSON: `id`, `directory`, `peers` (addresses, or arguments of Peer), `join`, `config` (arguments of Config),
`storage` ("file", or "python": SQLite behind a
store that can be told to sleep and counts its calls).
"""

import base64
import ctypes
import json
import logging
import sys
import threading
import time
from array import array
from collections import deque
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from d_engine import (
    Config,
    DEngineError,
    FileStorage,
    NotAcceptedError,
    OverloadedError,
    Peer,
    Raft,
    ResultLostError,
    SessionPlace,
    SQLiteStorage,
    StateMachine,
)
from d_engine.demo.lines import LineServer

PADDING = b"." * 200


class Ledger(StateMachine[bytes, int]):
    """Notes every number it is given, with the index it came at. `sleep:SECONDS:IDS` puts the nodes of those ids to sleep inside
    apply, with the interpreter lock held."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.numbers = array("Q")
        self.indexes = array("Q")
        self.slept: list[tuple[float, float]] = []
        self.restores = 0

    def apply(self, entry) -> int:
        head, _, rest = entry.data.partition(b":")
        if head == b"sleep":
            seconds, _, nodes = rest.decode().partition(":")
            if str(self.node) in nodes.split(","):
                began = time.monotonic()
                ctypes.PyDLL(None).sleep(int(seconds))
                self.slept.append((began, time.monotonic()))
        else:
            self.numbers.append(int(head))
            self.indexes.append(entry.index)
        return entry.index

    def query(self, request: str) -> int:
        return len(self.numbers)

    def snapshot(self, out: BinaryIO) -> None:
        out.write(len(self.numbers).to_bytes(8, "big") + self.numbers.tobytes() + self.indexes.tobytes())

    def restore(self, src: BinaryIO) -> None:
        count = int.from_bytes(src.read(8), "big")
        data = src.read()
        self.numbers, self.indexes = array("Q"), array("Q")
        self.numbers.frombytes(data[: 8 * count])
        self.indexes.frombytes(data[8 * count :])
        self.restores += 1


class SleepyLog:
    """Passes everything on; the next append after `sleep_next` was set sleeps first, without the interpreter lock."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.sleep_next = 0.0
        self.slept: list[tuple[float, float]] = []
        self.appends = 0
        self.appended = 0

    def bounds(self):
        return self._inner.bounds()

    def read(self, start, stop, max_bytes):
        return self._inner.read(start, stop, max_bytes)

    def append(self, records, *, truncate_from):
        seconds, self.sleep_next = self.sleep_next, 0.0
        if seconds:
            began = time.monotonic()
            time.sleep(seconds)
            self.slept.append((began, time.monotonic()))
        self._inner.append(records, truncate_from=truncate_from)
        self.appends += 1
        self.appended += len(records)

    def purge(self, upto):
        self._inner.purge(upto)


class SleepyStorage:
    """SQLiteStorage with a log that can sleep."""

    def __init__(self, directory: str) -> None:
        self._inner = SQLiteStorage(directory)
        self.snapshot_directory = self._inner.snapshot_directory
        self.log_store = SleepyLog(self._inner.log_store)
        self.meta_store = self._inner.meta_store

    def open(self, identity):
        return self._inner.open(identity)

    def close(self) -> None:
        self._inner.close()


class Readers:
    """Threads that read all the time, each with one tier, and note what they saw."""

    def __init__(self, raft: Raft, tiers: dict[str, int]) -> None:
        self._raft = raft
        self._end = threading.Event()
        self._seen: dict[str, list[tuple[float, int]]] = {tier: [] for tier in tiers}
        self._errors: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(tier,), daemon=True)
            for tier, count in tiers.items()
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, tier: Any) -> None:
        seen = self._seen[tier]
        while not self._end.is_set():
            began = time.monotonic()
            try:
                index = self._raft.read(
                    lambda machine: machine.indexes[-1] if machine.indexes else 0, consistency=tier, timeout=10
                )
            except DEngineError as error:
                name = type(error).__name__
                self._errors[name] = self._errors.get(name, 0) + 1
            else:
                seen.append((began, index))

    def stop(self) -> dict[str, Any]:
        self._end.set()
        for thread in self._threads:
            thread.join()
        return {"seen": self._seen, "errors": self._errors}


class Node:
    """The requests of the harness, one method each."""

    def __init__(self, spec: dict[str, Any], server: LineServer) -> None:
        self.server = server
        self.machine = Ledger(spec["id"])
        storage = FileStorage(spec["directory"]) if spec["storage"] == "file" else SleepyStorage(spec["directory"])
        self.storage = storage
        peers = {
            int(node): address if isinstance(address, str) else Peer(**address)
            for node, address in spec["peers"].items()
        }
        self.raft = Raft(
            spec["id"], storage, self.machine, Config(**spec["config"]), peers=peers, join=spec.get("join")
        )
        self._lock = threading.Lock()
        self.in_flight = 0
        self._readers: Readers | None = None

    def status(self, request, answer) -> None:
        now = self.raft.status()
        answer(
            {
                "role": now.role,
                "term": now.term,
                "leader": now.leader,
                "commit": now.commit,
                "applied": now.applied,
                "last": now.last.index,
                "purged": now.purged.index,
                "missing": list(now.missing),
                "storage_stalled": now.storage_stalled,
                "apply_error": repr(now.apply_error) if now.apply_error else None,
                "members": {node: member.role for node, member in now.members.items()},
                "in_flight": self.in_flight,
                "slept": self.machine.slept,
                "restores": self.machine.restores,
            }
        )

    def metrics(self, request, answer) -> None:
        counters = dict(self.raft.metrics())
        log = getattr(self.storage, "log_store", None)
        if isinstance(log, SleepyLog):
            counters |= {"store_appends": log.appends, "store_appended": log.appended}
        answer({"metrics": counters})

    def propose(self, request, answer) -> None:
        """Each number is an entry of its own. The answer has {number: index} of the acknowledged ones, and the others. With `session`
        (and `ack_below`) the numbers are those of proposals in it, too."""
        numbers: list[int] = request["numbers"]
        session: int | None = request.get("session")
        outcome: dict[str, Any] = {"acknowledged": {}, "unknown": [], "refused": [], "lost": [], "errors": []}
        left = len(numbers)
        lock = threading.Lock()

        def settle(number: int, future: Future[int]) -> None:
            nonlocal left
            error = future.exception()
            with lock:
                if error is None:
                    outcome["acknowledged"][number] = future.result()
                else:
                    kinds = {NotAcceptedError: "refused", ResultLostError: "lost"}
                    kind = next((kind for cls, kind in kinds.items() if isinstance(error, cls)), "unknown")
                    outcome[kind].append(number)
                    if len(outcome["errors"]) < 3:
                        outcome["errors"].append(f"{type(error).__name__}: {error}")
                left -= 1
                complete = left == 0
            with self._lock:
                self.in_flight -= 1
            if complete:
                answer({**outcome, "at": time.monotonic()})

        for number in numbers:
            with self._lock:
                self.in_flight += 1
            place = None if session is None else SessionPlace(session, number, request["ack_below"])
            try:
                future = self.raft.submit(b"%d:%b" % (number, PADDING), session=place)
            except DEngineError as error:
                future = Future()
                future.set_exception(error)
            future.add_done_callback(partial(settle, number))

    def session(self, request, answer) -> None:
        """Opens a session, on a thread of its own."""

        def run() -> None:
            try:
                answer({"session": self.raft.session(timeout=request["within"]).id})
            except DEngineError as error:
                answer({"session": None, "why": str(error)})

        threading.Thread(target=run, daemon=True).start()

    def sleep(self, request, answer) -> None:
        """Proposes the entry that puts nodes to sleep in apply; answered at once."""
        nodes = ",".join(str(node) for node in request["nodes"])
        self.raft.submit(f"sleep:{request['seconds']}:{nodes}".encode(), timeout=120)
        answer({})

    def sleep_storage(self, request, answer) -> None:
        """The next append sleeps."""
        self.storage.log_store.sleep_next = request["seconds"]
        answer({})

    def storage_slept(self, request, answer) -> None:
        answer({"slept": self.storage.log_store.slept})

    def sequential(self, request, answer) -> None:
        """So many writes, one at a time, on a thread of its own; the durations in seconds."""

        def run() -> None:
            durations: list[float] = []
            for number in range(request["first"], request["first"] + request["count"]):
                began = time.perf_counter()
                self.raft.propose(b"%d:%b" % (number, PADDING))
                durations.append(time.perf_counter() - began)
            answer({"durations": durations})

        threading.Thread(target=run, daemon=True).start()

    def offer(self, request, answer) -> None:
        """Load on a thread of its own: `in_flight` all the time, or `rate` a second."""
        sys.path.append(str(Path(__file__).parents[1]))
        from process.offer import Offer

        load = Offer(self.raft, size=request["size"], timeout=request["wait"])

        def run() -> None:
            seconds = request["seconds"]
            if "rate" in request:
                answer(load.open(request["rate"], seconds))
            else:
                answer(load.closed(request["in_flight"], seconds))

        threading.Thread(target=run, daemon=True).start()

    def flood(self, request, answer) -> None:
        """Single submits from two threads with so many in flight, for some seconds; how many were acknowledged. What a node that has too much to
        do refuses is not counted."""
        each = request["in_flight"] // 2
        stop = time.monotonic() + request["seconds"]
        counts: list[int] = []

        def acknowledged(future: Future[int]) -> bool:
            try:
                future.result(30)
            except OverloadedError:
                return False
            return True

        def run(first: int) -> None:
            waiting: deque[Future[int]] = deque()
            number, count = first, 0
            while time.monotonic() < stop:
                waiting.append(self.raft.submit(b"%d:%b" % (number, PADDING)))
                number += 2
                if len(waiting) >= each:
                    count += acknowledged(waiting.popleft())
            count += sum(map(acknowledged, waiting))
            with self._lock:
                counts.append(count)
                if len(counts) == 2:
                    answer({"acknowledged": sum(counts)})

        for thread in range(2):
            threading.Thread(target=run, args=(request["first"] + thread,), daemon=True).start()

    def barrier(self, request, answer) -> None:
        answer({"applied": self.raft.read_barrier(timeout=request.get("within", 20))})

    def ready(self, request, answer) -> None:
        self.raft.wait_ready(timeout=request["within"])
        answer({})

    def change(self, request, answer) -> None:
        """The members afterwards, or why they are as they were."""

        def run() -> None:
            try:
                changed = self.raft.change(
                    remove=request.get("remove", ()), promote=request.get("promote", ()), timeout=request["within"]
                )
                answer({"members": {node: member.role for node, member in changed.items()}})
            except DEngineError as error:
                answer({"refused": type(error).__name__, "text": str(error)})

        threading.Thread(target=run, daemon=True).start()

    def transfer(self, request, answer) -> None:
        """Who leads afterwards, or why that has not changed."""

        def run() -> None:
            began = time.monotonic()
            try:
                leader = self.raft.transfer(request["to"], timeout=10)
                answer({"leader": leader, "seconds": time.monotonic() - began})
            except DEngineError as error:
                answer({"leader": None, "refused": f"{type(error).__name__}: {error}"})

        threading.Thread(target=run, daemon=True).start()

    def read(self, request, answer) -> None:
        """Begins to read, with so many threads for each tier; answered at once."""
        self._readers = Readers(self.raft, request["tiers"])
        answer({})

    def stop_reading(self, request, answer) -> None:
        """{tier: [(when a read began, the last index that it saw), …]}, and the errors, by class."""
        assert self._readers is not None
        threading.Thread(target=lambda readers: answer(readers.stop()), args=(self._readers,), daemon=True).start()

    def snapshot(self, request, answer) -> None:
        answer({"index": self.raft.snapshot(timeout=30)})

    def dump(self, request, answer) -> None:
        """Numbers and indexes in the order they were applied, as 64-bit integers in base 64."""

        def copy(machine: Ledger) -> tuple[bytes, bytes]:
            return machine.numbers.tobytes(), machine.indexes.tobytes()

        numbers, indexes = self.raft.read(copy, consistency="eventual", timeout=30)
        answer({"numbers": base64.b64encode(numbers).decode(), "indexes": base64.b64encode(indexes).decode()})


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    spec = json.loads(sys.argv[1])
    server = LineServer()
    node = Node(spec, server)
    operations = [
        "status",
        "metrics",
        "propose",
        "session",
        "sleep",
        "sleep_storage",
        "storage_slept",
        "sequential",
        "offer",
        "flood",
        "barrier",
        "ready",
        "snapshot",
        "dump",
        "change",
        "transfer",
        "read",
        "stop_reading",
    ]
    try:
        node.raft.start()
    except DEngineError as error:
        server.say({"event": "refused", "kind": type(error).__name__, "text": str(error)})
        server.close()
        sys.exit(3)
    try:
        server.say({"event": "started", "address": node.raft.address})
        server.serve({name: getattr(node, name) for name in operations})
    finally:
        node.raft.close()
        server.close()


if __name__ == "__main__":
    main()
