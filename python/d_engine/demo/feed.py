"""Feeding: every line is sent once, through all nodes, and its outcome noted."""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from d_engine.demo.processes import Child, ChildGoneError, Reply

if TYPE_CHECKING:
    from concurrent.futures import Future

AT_ONCE = 64
FEW = 8
WINDOW = 64
BEAT = 0.02


@dataclass
class Outcomes:
    """What became of the lines so far, by number (position in the feed)."""

    acknowledged: set[int] = field(default_factory=set[int])
    unknown: set[int] = field(default_factory=set[int])
    refused: int = 0


class Work:
    """The lines still to be sent. The feed stops at `allowed` until the story goes on."""

    def __init__(self, lines: Sequence[str], rate: float) -> None:
        self.lines = lines
        self._rate = rate
        self._burst = False
        self.outcomes = Outcomes()
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._next = 0
        self._allowed = 0
        self._again: deque[int] = deque()
        self._acks: deque[tuple[float, float]] = deque(maxlen=4096)

    def allow(self, share: float, *, burst: bool = False) -> None:
        """Lets the feed go on to this share (0 to 1) of the lines, at its pace or all at once."""
        with self._lock:
            self._allowed = max(self._allowed, round(len(self.lines) * share))
            self._burst = burst

    def allow_more(self) -> None:
        """Lets a few more lines go, if all that were allowed have been sent."""
        with self._lock:
            if self._next == self._allowed:
                self._allowed = min(self._allowed + FEW, len(self.lines))

    @property
    def pace(self) -> float:
        """Lines a second."""
        return math.inf if self._burst else self._rate

    @property
    def settled(self) -> int:
        with self._lock:
            return len(self.outcomes.acknowledged) + len(self.outcomes.unknown)

    @property
    def sent(self) -> int:
        with self._lock:
            return self._next

    def take(self, most: int) -> list[int]:
        with self._lock:
            numbers: list[int] = []
            while self._again and len(numbers) < most:
                numbers.append(self._again.popleft())
            end = min(self._next + most - len(numbers), self._allowed)
            numbers.extend(range(self._next, end))
            self._next = max(self._next, end)
            return numbers

    def settle(self, numbers: list[int], sent: float, done: "Future[Reply]") -> None:
        error = done.exception()
        with self._lock:
            if error is None:
                reply = done.result()
                self.outcomes.acknowledged.update(reply["acknowledged"])
                self.outcomes.unknown.update(reply["unknown"])
                self.outcomes.refused += len(reply["refused"])
                self._again.extend(reply["refused"])
                self.problem = self.problem or reply["problem"]
                if reply["acknowledged"]:
                    self._acks.append((sent, time.monotonic()))
            else:
                # The process died with these lines in its hands (or answered nonsense, which is worth a complaint).
                self.outcomes.unknown.update(numbers)
                if not isinstance(error, ChildGoneError):
                    self.problem = self.problem or str(error)

    def acknowledged_after(self, moment: float) -> float | None:
        """When the first line sent after that moment was acknowledged."""
        with self._lock:
            return min((answered for sent, answered in self._acks if sent >= moment), default=None)

    def last_acknowledged(self) -> float:
        with self._lock:
            return self._acks[-1][1] if self._acks else 0.0


class Feeder:
    """Sends lines through one node, some at a time, while that node is up."""

    def __init__(self, work: Work, nodes: dict[int, Child], node: int) -> None:
        self._work = work
        self._nodes = nodes
        self._node = node
        self._stop = threading.Event()
        self._open = threading.Semaphore(WINDOW)
        self._owed = 0.0
        self._thread = threading.Thread(target=self._run, name=f"feeder-{node}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BEAT):
            child = self._nodes.get(self._node)
            if child is None or not child.running:
                continue
            self._owed = min(self._owed + self._work.pace * BEAT / max(len(self._nodes), 1), AT_ONCE * WINDOW)
            while self._owed >= 1 and not self._stop.is_set():
                if not self._open.acquire(blocking=False):
                    break
                numbers = self._work.take(min(AT_ONCE, int(self._owed)))
                if not numbers:
                    self._open.release()
                    self._owed = min(self._owed, AT_ONCE)
                    break
                self._owed -= len(numbers)
                self._send(child, numbers)

    def _send(self, child: Child, numbers: list[int]) -> None:
        sent = time.monotonic()

        def done(future: "Future[Reply]") -> None:
            self._work.settle(numbers, sent, future)
            self._open.release()

        child.request("feed", lines=[(number, self._work.lines[number]) for number in numbers]).add_done_callback(done)
