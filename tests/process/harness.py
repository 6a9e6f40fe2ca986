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
        room: int = 0,
        roles: dict[int, str] | None = None,
        config: dict[str, Any] | None = None,
        storage: str = "file",
        prefix: Callable[[int], Sequence[str]] = lambda node: (),
        program: Path = NODE,
    ) -> None:
        self.directory = directory
        self.ids = tuple(range(1, count + 1))
        self.all_ids = tuple(range(1, max(count, room) + 1))  # those that may join later among them
        self.roles = roles or {}
        self._joined: dict[int, Sequence[int]] = {}
        self.config = config or {}
        self.storage = storage
        self._prefix = prefix  # a command that runs the interpreter, such as strace with its options
        self._program = program
        self._ports = Ports(len(self.all_ids))
        self.ports = dict(zip(self.all_ids, self._ports.numbers, strict=True))
        self.addresses = {node: f"127.0.0.1:{port}" for node, port in self.ports.items()}
        self.peers = {node: self.addresses[node] for node in self.ids}
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
            self.children[node] = self.spawn(node, join=self._joined.get(node, ()))
        return self

    def spawn(
        self,
        node: int,
        *,
        directory: Path | None = None,
        config: dict[str, Any] | None = None,
        peers: dict[int, str] | None = None,
        join: Sequence[int] = (),
    ) -> Child:
        """One process for a node, perhaps with something else than it should have; not among `children`."""
        folder = self.directory / f"node-{node}"
        folder.mkdir(exist_ok=True)
        spec = {
            "id": node,
            "directory": str(directory or self.data(node)),
            "peers": self._table({node: self.addresses[node]} if join else peers or self.peers),
            "join": [self.addresses[member] for member in join] or None,
            "listen": f"127.0.0.1:{self.ports[node]}",  # of use where something stands between the nodes
            "config": self.config if config is None else config,
            "storage": self.storage,
        }
        events = self.events[node] = []
        child = Child(
            [*self._prefix(node), sys.executable, "-P", str(self._program), json.dumps(spec)],
            name=f"node {node}",
            errors=folder / "stderr.txt",
            told=events.append,
        )
        self._others.append(child)
        return child

    def _table(self, peers: dict[int, str]) -> dict[int, Any]:
        return {
            node: {"address": address, "role": self.roles[node]} if node in self.roles else address
            for node, address in peers.items()
        }

    def join(self, node: int, *, through: Sequence[int], within: float = 60.0) -> None:
        """Starts a node that asks these members to be taken in, and waits until it votes."""
        self._joined[node] = through
        self.children[node] = self.spawn(node, join=through)
        started = self.event(node, within)
        assert started["event"] == "started", started
        role = self.roles.get(node, "voter")
        wait_until(lambda: self.members(node).get(node) == role, within=within, what=f"node {node} to become a {role}")

    def members(self, node: int) -> dict[int, str]:
        """The roles of all members, as that node has them."""
        return {int(member): role for member, role in self.status(node)["members"].items()}

    def remove(self, node: int, *, through: int, within: float = 60.0) -> None:
        """Removes a member: asked for again where nobody knows what became of it, until the members say so."""

        def gone() -> bool:
            answer = self.children[through].call("change", remove=[node], within=10, timeout=20)
            return str(node) not in answer.get("members", {str(node): ""}) or node not in self.members(through)

        wait_until(gone, within=within, what=f"node {node} to be removed")

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
