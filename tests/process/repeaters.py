"""Clients with sessions: whatever is refused, lost or unknown is sent again through another node, under its number."""

import contextlib
import random
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from itertools import count

from process.harness import ChildGoneError, Nodes, wait_until

CHUNK = 16
WINDOW = 4  # chunks of one client under way


class Repeater:
    """One session, one thread. Keeps a window of proposals open until it is told to end, then until each has its result.

    Some chunks go through two nodes at once: the nodes have to tell them apart from new ones even if nothing is lost.
    """

    def __init__(self, nodes: Nodes, numbers: "count[int]", rng: random.Random) -> None:
        self._nodes = nodes
        self._numbers = numbers
        self._rng = rng
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._again: deque[list[int]] = deque()
        self._open: set[int] = set()  # numbers without a result
        self._under_way = 0
        self._ending = False
        self.acknowledged: dict[int, int] = {}  # number -> index
        self.repeated = 0  # numbers sent more than once
        self.complaints: list[str] = []
        self._session = self._open_session()
        self._thread = threading.Thread(target=self._run, name="repeater")
        self._thread.start()

    def _open_session(self) -> int:
        found: list[int] = []

        def opened() -> bool:
            child = self._nodes.children.get(self._rng.choice(self._nodes.ids))
            if child is not None:
                with contextlib.suppress(ChildGoneError):
                    answer = child.call("session", within=5, timeout=20)
                    found.extend([answer["session"]] if answer["session"] else [])
            return bool(found)

        wait_until(opened, within=60, what="a session")
        return found[0]

    def end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def join(self) -> None:
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), f"{len(self._open)} proposals never got a result"

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_go_on, timeout=0.1)
                if self._ending and not self._open:
                    return
                if self._under_way >= WINDOW:
                    continue
                if self._again:
                    # Sent to two nodes, it may have its results from the other one by now.
                    chunk = [number for number in self._again.popleft() if number in self._open]
                    if not chunk:
                        continue
                    self.repeated += len(chunk)
                elif self._ending:
                    continue
                else:
                    chunk = [next(self._numbers) for _ in range(CHUNK)]
                    self._open.update(chunk)
                ack_below = min(self._open)
            for node in self._rng.sample(self._nodes.ids, 2 if self._rng.random() < 0.1 else 1):
                self._send(node, chunk, ack_below)

    def _may_go_on(self) -> bool:
        return bool(self._again) or self._under_way < WINDOW or (self._ending and not self._open)

    def _send(self, node: int, chunk: list[int], ack_below: int) -> None:
        with self._lock:
            self._under_way += 1
        child = self._nodes.children.get(node)
        if child is None:
            future: Future = Future()
            future.set_exception(ChildGoneError("it is down"))
            threading.Event().wait(0.01)
        else:
            future = child.request("propose", numbers=chunk, session=self._session, ack_below=ack_below)
        future.add_done_callback(partial(self._done, chunk))

    def _done(self, chunk: list[int], future: Future) -> None:
        error = future.exception()
        answer = {"acknowledged": {}, "lost": [], "errors": []} if error is not None else future.result()
        with self._changed:
            self._under_way -= 1
            if error is not None and not isinstance(error, ChildGoneError):
                self.complaints.append(str(error))
            for text, index in answer["acknowledged"].items():
                number = int(text)
                before = self.acknowledged.setdefault(number, index)
                if before != index:
                    self.complaints.append(f"number {number} was at {before}, then at {index}")
                self._open.discard(number)
            # Only what has been acknowledged meanwhile may be lost.
            lost = [number for number in answer["lost"] if number in self._open]
            self.complaints += [f"the result of {number} was lost" for number in lost]
            self.complaints += [text for text in answer["errors"] if text.startswith("SessionExpired")]
            left = [number for number in chunk if number in self._open]
            if left:
                self._again.append(left)
            if self.complaints:
                self._ending = True
                self._open.clear()
            self._changed.notify_all()
