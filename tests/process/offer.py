"""Load from within a node's own process: as much as it takes, or so many entries a second whatever becomes of them.

Entries come in groups, so that the load itself takes little of the interpreter that the node's state machine runs in.
"""

import threading
import time
from collections import Counter
from concurrent.futures import Future
from typing import Any

from d_engine import DEngineError, Raft

TICK = 0.005
GROUP = 32
FILLING = 1.0  # seconds
GRACE = 10.0  # seconds after its timeout in which an outcome has to be there


class Offer:
    """One run: a thread that proposes, and what became of it."""

    def __init__(self, raft: Raft, *, size: int, timeout: float) -> None:
        self._raft = raft
        self._items = [b"%d:%b" % (number, b"." * size) for number in range(GROUP)]
        self._timeout = timeout
        self._lock = threading.Lock()
        self._done = threading.Condition(self._lock)
        self._open = 0
        self._offered = 0
        self.outcomes: Counter[str] = Counter()
        self.in_time = 0  # entries acknowledged while the load was on, and the queues were filled
        self.longest = 0.0
        self._loading = False
        self._began = 0.0

    def closed(self, in_flight: int, seconds: float) -> dict[str, Any]:
        """So many in flight all the time."""
        began = self._begin()
        while time.monotonic() - began < seconds:
            with self._done:
                self._done.wait_for(lambda: self._open * GROUP < in_flight, timeout=0.1)
                room = in_flight // GROUP - self._open
            for _ in range(room):
                self._propose()
        return self._report(began)

    def open(self, rate: float, seconds: float) -> dict[str, Any]:
        """So many a second."""
        began = self._begin()
        offered = 0
        while (passed := time.monotonic() - began) < seconds:
            while offered + GROUP <= passed * rate:
                self._propose()
                offered += GROUP
            time.sleep(TICK)
        return self._report(began)

    def _begin(self) -> float:
        self._began = time.monotonic()
        self._loading = True
        return self._began

    def _propose(self) -> None:
        with self._lock:
            self._open += 1
            self._offered += GROUP
        began = time.monotonic()
        try:
            future = self._raft.submit_many(self._items, timeout=self._timeout)
        except DEngineError as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda future: self._settle(began, future))

    def _settle(self, began: float, future: Future) -> None:
        error = future.exception()
        now = time.monotonic()
        took = now - began
        with self._done:
            self._open -= 1
            self.outcomes["acknowledged" if error is None else type(error).__name__] += GROUP
            self.in_time += GROUP if error is None and self._loading and now > self._began + FILLING else 0
            self.longest = max(self.longest, took)
            self._done.notify()

    def _report(self, began: float) -> dict[str, Any]:
        seconds = time.monotonic() - began
        with self._done:
            self._loading = False
            in_time = self.in_time
            self._done.wait_for(lambda: not self._open, timeout=self._timeout + GRACE)
            return {
                "offered": self._offered / seconds,
                "goodput": in_time / (seconds - FILLING),
                "outcomes": dict(self.outcomes),
                "hanging": self._open,
                "longest": self.longest,
            }
