"""Three nodes in processes of their own, watched: what each said last, who led in which term, what they counted."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d_engine.demo.processes import Child, Ports, Reply, wait_until

if TYPE_CHECKING:
    from concurrent.futures import Future

NODES = (1, 2, 3)
LOOK_EVERY = 0.05


class Cluster:
    """Starts, kills and restarts the nodes, and looks at all of them every 50 ms."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.children: dict[int, Child] = {}  # the running ones
        self.leaders: dict[int, int] = {}  # term -> leader, as seen
        self.first_seen: dict[int, float] = {}  # term -> when its leader was first seen
        self._config = config
        self._ports = Ports(len(NODES))
        self._peers = {node: f"127.0.0.1:{port}" for node, port in zip(NODES, self._ports.numbers, strict=True)}
        self._lock = threading.Lock()
        self._said: dict[int, Reply] = {}
        self._asked: dict[int, Future[Reply]] = {}
        self._counters: dict[tuple[int, int], dict[str, int]] = {}  # (node, pid) -> newest counters of that process
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, name="demo-watch", daemon=True)

    def start(self) -> None:
        for node in NODES:
            self.start_node(node)
        self._watch.start()
        self.wait(lambda: self.leader() is not None and all(self.said(node) for node in NODES), "a leader")

    def start_node(self, node: int) -> None:
        folder = self.directory / f"node-{node}"
        folder.mkdir(exist_ok=True)
        spec = {"id": node, "directory": str(folder / "data"), "peers": self._peers, "config": self._config}
        argv = [sys.executable, "-m", "d_engine.demo.child", json.dumps(spec)]
        self.children[node] = Child(argv, name=f"node {node}", errors=folder / "stderr.txt")

    def kill_node(self, node: int) -> None:
        self._remove(node).kill()

    def stop_node(self, node: int) -> None:
        self._remove(node).stop()

    def close(self) -> None:
        """Ends every child, by its process id, whatever state it is in."""
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join()
        children, self.children = list(self.children.values()), {}
        closing = [threading.Thread(target=child.stop) for child in children]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self._ports.close()

    def said(self, node: int) -> Reply:
        """What the node said of itself last; empty while it is down."""
        with self._lock:
            return self._said.get(node, {})

    def leader(self) -> int | None:
        """The running leader of the newest term, if it was seen."""
        with self._lock:
            leading = [(said["term"], node) for node, said in self._said.items() if said["role"] == "leader"]
        return max(leading)[1] if leading else None

    def wait(self, condition: Callable[[], bool], what: str, *, within: float = 30.0) -> float:
        """Waits for a condition, and complains at once if a node ends by itself meanwhile."""

        def look() -> bool:
            for child in list(self.children.values()):
                if not child.running:
                    raise RuntimeError(f"{child.name} ended by itself:\n{tail(child.errors)}")
            return condition()

        return wait_until(look, within=within, what=what)

    def total(self, counter: str) -> int:
        """A counter summed over all processes there were (what a killed one counted last is what it said last)."""
        with self._lock:
            return sum((Counter(counters) for counters in self._counters.values()), Counter[str]())[counter]

    def _remove(self, node: int) -> Child:
        child = self.children.pop(node)
        with self._lock:
            self._said.pop(node, None)
        return child

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            for node, child in list(self.children.items()):
                asked = self._asked.get(node)
                if asked is not None and not asked.done():
                    continue
                question = child.request("status")
                self._asked[node] = question
                question.add_done_callback(partial(self._heard, node, child))

    def _heard(self, node: int, child: Child, done: "Future[Reply]") -> None:
        if done.exception() is not None:
            return
        said = done.result()
        with self._lock:
            self._counters[node, child.pid] = said["metrics"]
            if self.children.get(node) is not child:
                return
            self._said[node] = said
            if said["role"] == "leader" and said["term"] not in self.leaders:
                self.leaders[said["term"]] = node
                self.first_seen[said["term"]] = time.monotonic()


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
