"""One node with a big state on disk, in a process of its own: `python tests/process/big_node.py SPEC`, driven as `node.py` is.

SPEC is JSON: `id`, `directory`, `peers`, `join`, `listen`, `config`. The state is one file, which an entry makes grow.
"""

import hashlib
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from d_engine import Config, DEngineError, FileStorage, Raft, StateMachine
from d_engine.demo.lines import LineServer

BLOCK = 1 << 20
NOISE = hashlib.shake_256(b"noise").digest(BLOCK)


class Heap(StateMachine[bytes, int]):
    """A file. Nothing of it is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    def apply(self, entry) -> int:
        with self.path.open("ab") as file:
            for _ in range(int(entry.data)):
                file.write(file.tell().to_bytes(8, "big") + NOISE[8:])
        return self.path.stat().st_size

    def snapshot(self, out: BinaryIO) -> None:
        with self.path.open("rb") as file:
            copy(file, out)

    def restore(self, src: BinaryIO) -> None:
        with self.path.open("wb") as file:
            copy(src, file)

    def digest(self) -> str:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return f"{self.path.stat().st_size} {digest.hexdigest()}"


def copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(BLOCK):
        target.write(block)


class BigNode:
    """The requests of the test, one method each; those that take long on threads of their own."""

    def __init__(self, spec: dict[str, Any]) -> None:
        directory = Path(spec["directory"])
        directory.mkdir(parents=True, exist_ok=True)
        self.machine = Heap(directory.parent / "heap")
        peers = {int(node): address for node, address in spec["peers"].items()}
        self.raft = Raft(
            spec["id"],
            FileStorage(directory),
            self.machine,
            Config(**spec["config"]),
            peers=peers,
            join=spec["join"],
            listen=spec["listen"],
        )

    def status(self, request, answer) -> None:
        now = self.raft.status()
        answer(
            {
                "role": now.role,
                "term": now.term,
                "leader": now.leader,
                "applied": now.applied,
                "members": {node: member.role for node, member in now.members.items()},
                "purged": now.purged.index,
                "snapshot": None if now.snapshot is None else now.snapshot.index,
            }
        )

    def metrics(self, request, answer) -> None:
        answer({"metrics": self.raft.metrics()})

    def barrier(self, request, answer) -> None:
        self._apart(answer, lambda: {"applied": self.raft.read_barrier(timeout=request["within"])})

    def fill(self, request, answer) -> None:
        """So many MiB more; the size afterwards."""
        self._apart(answer, lambda: {"size": self.raft.propose(b"%d" % request["blocks"], timeout=600)})

    def snapshot(self, request, answer) -> None:
        self._apart(answer, lambda: {"index": self.raft.snapshot(timeout=600)})

    def digest(self, request, answer) -> None:
        self._apart(answer, lambda: {"digest": self.raft.read(Heap.digest, consistency="eventual", timeout=600)})

    def _apart(self, answer, work) -> None:
        def run() -> None:
            try:
                result = work()
            except DEngineError as error:
                result = {"error": str(error)}
            answer(result)

        threading.Thread(target=run, daemon=True).start()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    server = LineServer()
    node = BigNode(json.loads(sys.argv[1]))
    operations = ["status", "metrics", "barrier", "fill", "snapshot", "digest"]
    node.raft.start()
    try:
        server.say({"event": "started", "address": node.raft.address})
        server.serve({name: getattr(node, name) for name in operations})
    finally:
        node.raft.close()
        server.close()


if __name__ == "__main__":
    main()
