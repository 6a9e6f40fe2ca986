# ruff: noqa: ASYNC109 (the timeout is the node's: it also ends what the node does for the call)
"""One node, for asyncio."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from . import errors
from ._base import C, NodeBase, R, checked_changes, checked_items, checked_target
from ._calls import LoopCalls, run_in_thread
from .sessions import AsyncSession, begin, run_async
from .status import Change, Member, make_change, make_members

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core import Completions, Node
    from .errors import CommandError
    from .peers import Peer
    from .sessions import InSession, SessionPlace

__all__ = ["AsyncRaft"]

T = TypeVar("T")


class AsyncRaft(NodeBase[C, R]):
    """The same node as `Raft`, with coroutines: the same threads, the same promises, the same arguments.

    May be used from several event loops in several threads at once. Cancelling an await withdraws the waiter, not the entry.
    """

    def _prepare(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, LoopCalls] = {}
        self._loops_lock = threading.Lock()

    async def start(self) -> None:
        """As `Raft.start`, on a thread of its own."""
        await run_in_thread(f"d-engine-{self._id}-start", self._start)

    async def close(self, *, handover: bool = True, timeout: float | None = None) -> None:
        """As `Raft.close`, on a thread of its own; every outstanding await, on every loop, gets its result or error."""
        limit = self._seconds(timeout)

        def end() -> None:
            # On that thread too: cancelling this await must not leave other awaits without their answers.
            try:
                self._close(handover=handover, timeout=limit)
            finally:
                self._let_go()

        await run_in_thread(f"d-engine-{self._id}-close", end)

    def close_at_exit(self) -> None:
        """The interpreter is about to go. For this package only."""
        super().close_at_exit()
        self._let_go()

    def _crash(self) -> None:
        super()._crash()
        self._let_go()

    def _let_go(self) -> None:
        with self._loops_lock:
            loops = list(self._loops.values())
            self._loops.clear()
        for calls in loops:
            calls.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- the way of every call ----------------------------------------------------------------------------------------------

    def _queue(self, loop: asyncio.AbstractEventLoop) -> Completions:
        calls = self._loops.get(loop)
        if calls is None:
            with self._loops_lock:
                if self._done:
                    raise errors.ClosedError("closed", node=self._id)
                for old in [known for known in self._loops if known.is_closed()]:
                    self._loops.pop(old).close()
                calls = self._loops[loop] = LoopCalls(loop)
        return calls.completions

    async def _call(self, begin: Callable[[Node, Completions, asyncio.Future[Any]], int]) -> Any:
        node = self._live()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        number = begin(node, self._queue(loop), future)
        try:
            return await future
        except asyncio.CancelledError:
            node.withdraw(number)
            raise

    # --- writes -------------------------------------------------------------------------------------------------------------

    async def session(self, *, timeout: float | None = None) -> AsyncSession:
        """As `Raft.session`."""
        limit = self._seconds(timeout)
        opened = await self._call(lambda node, queue, key: node.open_session_to(queue, key, limit))
        return AsyncSession(cast("int", opened), self)

    async def propose(self, data: Buffer, *, session: InSession | None = None, timeout: float | None = None) -> R:
        """As `Raft.propose`."""
        limit = self._seconds(timeout)

        def call(data: Buffer, place: SessionPlace | None = None) -> Awaitable[Any]:
            return self._call(lambda node, queue, key: node.propose_to(queue, key, data, limit, place))

        return cast("R", await (call(data) if session is None else run_async(begin(session, data), call)))

    async def propose_many(
        self, items: Iterable[Buffer], *, session: InSession | None = None, timeout: float | None = None
    ) -> list[R | CommandError]:
        """As `Raft.propose_many`."""
        limit, listed = self._seconds(timeout), checked_items(items)

        def call(items: list[Buffer], place: SessionPlace | None = None) -> Awaitable[Any]:
            return self._call(lambda node, queue, key: node.propose_many_to(queue, key, items, limit, place))

        if session is None:
            result = await call(listed)
        else:
            result = await run_async(begin(session, listed, len(listed)), call)
        return cast("list[R | CommandError]", result)

    # --- reads --------------------------------------------------------------------------------------------------------------

    async def query(
        self,
        request: Any,
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> Any:
        """As `Raft.query`; `StateMachine.query` runs on the apply thread, not on the loop."""
        limit, fresh = self._seconds(timeout), self._consistency(consistency)
        ask = self._machine.query
        return await self._call(lambda node, queue, key: node.read_to(queue, key, ask, request, "query", fresh, limit))

    async def read(
        self,
        fn: Callable[[Any], T],
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> T:
        """As `Raft.read`; `fn` runs on the apply thread, not on the loop."""
        limit, fresh = self._seconds(timeout), self._consistency(consistency)
        target = self._machine.target
        result = await self._call(lambda node, queue, key: node.read_to(queue, key, fn, target, "read", fresh, limit))
        return cast("T", result)

    async def read_barrier(
        self,
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> int:
        """As `Raft.read_barrier`."""
        limit, fresh = self._seconds(timeout), self._consistency(consistency)
        return cast("int", await self._call(lambda node, queue, key: node.read_barrier_to(queue, key, fresh, limit)))

    # --- members ------------------------------------------------------------------------------------------------------------

    async def change(
        self,
        *,
        add: Mapping[int, str | Peer] | None = None,
        remove: Iterable[int] = (),
        promote: Iterable[int] = (),
        demote: Iterable[int] = (),
        timeout: float | None = None,
    ) -> dict[int, Member]:
        """As `Raft.change`."""
        limit, changes = self._seconds(timeout), checked_changes(add, remove, promote, demote)
        return make_members(await self._call(lambda node, queue, key: node.change_to(queue, key, *changes, limit)))

    async def transfer(self, to: int | None = None, *, timeout: float | None = None) -> int:
        """As `Raft.transfer`."""
        limit, target = self._seconds(timeout), checked_target(to)
        return cast("int", await self._call(lambda node, queue, key: node.transfer_to(queue, key, target, limit)))

    # --- waiting and looking ------------------------------------------------------------------------------------------------

    async def wait_ready(self, *, timeout: float | None = None) -> None:
        """As `Raft.wait_ready`."""
        limit = self._seconds(timeout)
        await self._call(lambda node, queue, key: node.wait_ready_to(queue, key, limit))

    async def changes(self) -> AsyncIterator[Change]:
        """As `Raft.changes`."""
        seen = 0
        while True:
            try:
                change = await self._call(
                    lambda node, queue, key, seen=seen: node.next_change_to(queue, key, seen, math.inf)  # type: ignore[misc]
                )
            except errors.ClosedError:
                return
            if change is not None:
                seen, role, term, leader = change
                yield make_change(role, term, leader)

    async def snapshot(self, *, timeout: float | None = None) -> int:
        """As `Raft.snapshot`."""
        limit = self._seconds(timeout)
        return cast("int", await self._call(lambda node, queue, key: node.snapshot_to(queue, key, limit)))
