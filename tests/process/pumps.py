"""Clients that never repeat an unknown outcome: every number is sent once, through one node, and its outcome noted."""

import threading
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Self

from process.harness import ChildGoneError, Nodes

CHUNK = 32
WINDOW = 8  # chunks in flight through one node


class Outcomes:
    """What the clients know, shared by all of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = count()
        self.acknowledged: dict[int, int] = {}  # number -> index
        self.acknowledged_at: dict[int, float] = {}  # index -> when the caller knew, at the latest
        self.unknown: set[int] = set()
        self.refused: set[int] = set()
        self.complaints: list[str] = []
        self.newest: dict[int, float] = {}  # node -> when it last acknowledged something sent through it
        self.moments: dict[int, list[float]] = {}  # node -> all such moments, rising
        self.errors: dict[str, int] = {}

    def next(self, many: int) -> list[int]:
        with self.lock:
            return [next(self.numbers) for _ in range(many)]

    def settle(self, node: int, numbers: list[int], done: Future) -> None:
        error = done.exception()
        with self.lock:
            if isinstance(error, ChildGoneError):
                self.unknown.update(numbers)
            elif error is not None:
                self.unknown.update(numbers)
                self.complaints.append(str(error))
            else:
                answer = done.result()
                self.acknowledged.update((int(number), index) for number, index in answer["acknowledged"].items())
                self.acknowledged_at.update((index, answer["at"]) for index in answer["acknowledged"].values())
                self.unknown.update(answer["unknown"])
                self.refused.update(answer["refused"])
                for text in answer["errors"]:
                    kind = text.partition(":")[0]
                    self.errors[kind] = self.errors.get(kind, 0) + 1
                if answer["acknowledged"]:
                    self.newest[node] = max(self.newest.get(node, 0.0), answer["at"])
                    self.moments.setdefault(node, []).append(self.newest[node])

    def first_after(self, node: int, moment: float) -> float:
        """When something sent through that node was first acknowledged after that moment; there has to be one."""
        with self.lock:
            return next(at for at in self.moments[node] if at > moment)


class Pump:
    """Keeps a window of proposals open through one node for as long as it is switched on and the node is up."""

    def __init__(self, nodes: Nodes, node: int, outcomes: Outcomes, chunk: int, pause: float) -> None:
        self._chunk = chunk
        self._pause = pause
        self._nodes = nodes
        self._node = node
        self._outcomes = outcomes
        self._on = threading.Event()
        self._end = threading.Event()
        self._open = threading.Semaphore(WINDOW)
        self._thread = threading.Thread(target=self._run, name=f"pump-{node}")
        self._thread.start()

    def switch(self, on: bool) -> None:
        (self._on.set if on else self._on.clear)()

    def close(self) -> None:
        """Ends the thread and waits for every outcome."""
        self._end.set()
        self._on.set()
        self._thread.join()
        for _ in range(WINDOW):
            assert self._open.acquire(timeout=60), f"a proposal through node {self._node} never got an outcome"

    def _run(self) -> None:
        while True:
            self._on.wait()
            if self._end.is_set():
                return
            if not self._open.acquire(timeout=0.1):
                continue
            child = self._nodes.children.get(self._node)
            if child is None:
                self._open.release()
                self._end.wait(0.01)
                continue
            numbers = self._outcomes.next(self._chunk)
            child.request("propose", numbers=numbers).add_done_callback(partial(self._done, numbers))
            if self._pause:
                self._end.wait(self._pause)

    def _done(self, numbers: list[int], future: Future) -> None:
        self._outcomes.settle(self._node, numbers, future)
        self._open.release()


class Pumps:
    """One pump a node: as fast as can be, or `chunk` proposals every `pause` seconds."""

    def __init__(self, nodes: Nodes, *, chunk: int = CHUNK, pause: float = 0.0) -> None:
        self.outcomes = Outcomes()
        self._pumps = [Pump(nodes, node, self.outcomes, chunk, pause) for node in nodes.all_ids]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for pump in self._pumps:
            pump.close()

    def switch(self, on: bool) -> None:
        for pump in self._pumps:
            pump.switch(on)
