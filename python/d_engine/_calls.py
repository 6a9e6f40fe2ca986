"""Finished calls on their way back: to `concurrent.futures` on a thread of ours, to asyncio through the loop's own selector."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._process import is_current, native, run_apart

if TYPE_CHECKING:
    from ._core import Completions, Node
    from .sessions import Attempt, Single

T = TypeVar("T")
_CANCELLING = threading.Lock()


class Call(Future[T], Generic[T]):
    """A future of a call on a node. Cancelling it withdraws the waiter, not the entry."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._told = False
        self.number = 0
        self.attempt: Attempt | Single | None = None

    def cancel(self) -> bool:
        """Stops waiting; what was proposed may be applied all the same."""
        if not super().cancel():
            return False
        with _CANCELLING:
            first, self._told = not self._told, True
        if first:
            self.set_running_or_notify_cancel()  # for `concurrent.futures.wait`: nobody else will tell it
            self._node.withdraw(self.number)
            if self.attempt is not None:
                self.attempt.end(None)
        return True


class Futures:
    """One thread that completes the futures of one node. Begun at the first `submit`."""

    def __init__(self, name: str) -> None:
        self.completions: Completions = native().Completions()
        self._thread = run_apart(name, self._run)

    def close(self) -> None:
        """Ends the thread once all that waits is handed out. From one of its own callbacks: without waiting for itself."""
        self.completions.close()
        if not is_current(self._thread):
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        completions = self.completions
        while True:
            done = completions.wait(3600.0)
            if done is None:
                return
            # Taken off the list, so that a result lives as long as its future and not until the next batch.
            done.reverse()
            while done:
                _complete(*done.pop())


def _complete(future: Call[Any], value: Any, error: BaseException | None) -> None:
    if future.attempt is not None:
        future.attempt.end(error)  # first, so that whoever sees the error can repeat the call
    with contextlib.suppress(InvalidStateError):  # cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


class LoopCalls:
    """What one event loop is told by one node: one descriptor, one wake-up and one native call for many results."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._armed = True
        core = native()
        self.completions: Completions
        try:
            self.completions = core.Completions()
            loop.add_reader(self.completions.fileno(), self._drain)
        except NotImplementedError:  # a loop without add_reader (Windows' default one)
            self.completions = core.Completions(self._notify)
            self._armed = False

    def _notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        for future, value, error in self.completions.drain():
            if future.done():  # cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Hands out what waits and lets go of the loop. From any thread."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            self._end()
            return
        try:
            self.loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # closed: nobody waits there any more
            self.completions.close()

    def _end(self) -> None:
        self._drain()
        if self._armed:
            self._armed = False
            self.loop.remove_reader(self.completions.fileno())
        self.completions.close()


async def run_in_thread(name: str, function: Callable[[], T]) -> T:
    """Runs a blocking call on a thread of its own; cancelling the await lets it run on."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run() -> None:
        value: Any = None
        failure: BaseException | None = None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 (it is handed to the one who waits)
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, failure)

    thread = run_apart(name, run)
    result = await future
    thread.join()
    return result
