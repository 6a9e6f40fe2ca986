"""Nodes in processes of their own: started, asked, killed, paused. Everything waits for conditions, with bounds, never for time."""

import base64
import json
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from d_engine.demo.processes import Child, ChildGoneError, Ports, Reply, wait_until

NODE = Path(__file__).with_name("node.py")


class Nodes:
    """A cluster of processes, data in one directory a node. Use as a context manager: it ends every child it started."""

    def __init__(
        self,
        directory: Path,
        *,
        count: int = 3,
        config: dict[str, Any] | None = None,
        storage: str = "file",
        prefix: Callable[[int], Sequence[str]] = lambda node: (),
    ) -> None:
        self.directory = directory
        self.ids = tuple(range(1, count + 1))
        self.config = config or {}
        self.storage = storage
        self._prefix = prefix  # a command that runs the interpreter, such as strace with its options
        self._ports = Ports(count)
        self.ports = dict(zip(self.ids, self._ports.numbers, strict=True))
        self.peers = {node: f"127.0.0.1:{port}" for node, port in self.ports.items()}
        self.children: dict[int, Child] = {}
        self.events: dict[int, list[Reply]] = {}
        self._others: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in [*self.children.values(), *self._others]:
            child.resume()
        for child in [*self.children.values(), *self._others]:
            child.stop(timeout=20)
        self._ports.close()

    def data(self, node: int) -> Path:
        return self.directory / f"node-{node}" / "data"

    def errors(self, node: int) -> str:
        return (self.directory / f"node-{node}" / "stderr.txt").read_text(errors="replace")

    def start(self, *nodes: int) -> "Nodes":
        """Starts these nodes (default: all), without waiting for them."""
        for node in nodes or self.ids:
            self.children[node] = self.spawn(node)
        return self

    def spawn(
        self,
        node: int,
        *,
        directory: Path | None = None,
        config: dict[str, Any] | None = None,
        peers: dict[int, str] | None = None,
    ) -> Child:
        """One process for a node, perhaps with something else than it should have; not among `children`."""
        folder = self.directory / f"node-{node}"
        folder.mkdir(exist_ok=True)
        spec = {
            "id": node,
            "directory": str(directory or self.data(node)),
            "peers": peers or self.peers,
            "config": self.config if config is None else config,
            "storage": self.storage,
        }
        events = self.events[node] = []
        child = Child(
            [*self._prefix(node), sys.executable, "-P", str(NODE), json.dumps(spec)],
            name=f"node {node}",
            errors=folder / "stderr.txt",
            told=events.append,
        )
        self._others.append(child)
        return child

    def event(self, node: int, within: float = 20.0) -> Reply:
        """What the newest process of that node said about its start: `started`, or `refused` with kind and text."""
        events = self.events[node]
        wait_until(
            lambda: bool(events), within=within, what=f"node {node} to start or refuse:\n{self.errors(node)[-2000:]}"
        )
        return events[0]

    def kill(self, node: int) -> None:
        self.children.pop(node).kill()

    def stop(self, node: int) -> int:
        return self.children.pop(node).stop()

    def status(self, node: int) -> Reply:
        return self.children[node].call("status")

    def statuses(self) -> dict[int, Reply]:
        asked = {node: child.request("status") for node, child in self.children.items()}
        return {node: answer.result(30) for node, answer in asked.items()}

    def metrics(self, node: int) -> dict[str, int]:
        return self.children[node].call("metrics")["metrics"]

    def leader(self, within: float = 30.0) -> int:
        """Waits until all running nodes follow one leader that runs, and its first entry is applied everywhere."""
        found = 0

        def agreed() -> bool:
            nonlocal found
            self.check_running()
            statuses = self.statuses()
            leaders = {status["leader"] for status in statuses.values()}
            terms = {status["term"] for status in statuses.values()}
            if len(leaders) != 1 or len(terms) != 1 or not leaders <= set(self.children):
                return False
            (found,) = leaders
            return statuses[found]["role"] == "leader" and all(status["applied"] > 0 for status in statuses.values())

        try:
            wait_until(agreed, within=within, what="one leader that all running nodes follow")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; they say {self.statuses()}") from None
        self.children[found].call("barrier", within=within, timeout=within + 5)
        return found

    def level(self, within: float = 60.0) -> int:
        """Waits until all running nodes have applied the same, and that is all there is; returns the index."""
        leader = self.leader(within)
        goal = self.children[leader].call("barrier", within=within, timeout=within + 5)["applied"]

        def same() -> bool:
            self.check_running()
            return all(status["applied"] >= goal for status in self.statuses().values())

        wait_until(same, within=within, what=f"all nodes to apply index {goal}")
        return goal

    def check_running(self) -> None:
        for node, child in self.children.items():
            assert child.running, f"node {node} ended by itself:\n{self.errors(node)[-3000:]}"

    def dump(self, node: int) -> tuple[array, array]:
        """(numbers, indexes) in the order that node applied them."""
        answer = self.children[node].call("dump", timeout=60)
        numbers, indexes = array("Q"), array("Q")
        numbers.frombytes(base64.b64decode(answer["numbers"]))
        indexes.frombytes(base64.b64decode(answer["indexes"]))
        return numbers, indexes

    def write(self, node: int, number: int, within: float = 10.0) -> int:
        """One write through that node, which has to be acknowledged; its index."""
        answer = self.children[node].call("propose", numbers=[number], timeout=within)
        assert answer["acknowledged"], answer["errors"]
        return next(iter(answer["acknowledged"].values()))


__all__ = ["Child", "ChildGoneError", "Nodes", "wait_until"]
