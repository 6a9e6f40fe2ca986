"""One node, for threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from . import errors
from ._base import C, NodeBase, R, checked_items
from ._calls import Call, Futures
from .sessions import Session, begin, ended, run
from .status import Change, make_change

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .errors import CommandError
    from .sessions import InSession

__all__ = ["Raft"]

T = TypeVar("T")


class Raft(NodeBase[C, R]):
    """One Raft node.

    The constructor checks everything and does no I/O; `start()` (or `with`) takes directory, port and threads, and undoes all of it
    if one fails. All methods may be called from any thread; those that wait heed Ctrl-C. A `timeout` is in seconds; None is
    `Config.request_timeout`, `math.inf` waits for ever.

    Args:
        node_id: this node's number among `peers`, from 1.
        storage: where log, hard state and snapshots are kept: `FileStorage("data")`, or your own `StorageEngine`.
        state_machine: what is replicated: a `StateMachine` or a `DurableStateMachine`.
        config: settings; None: `Config()`.
        peers: the *initial* members, this node included, as {id: "host:port"} or {id: Peer(...)}; used only while the storage is
            empty (with `FileStorage` they may be left out afterwards).
        transport: None: a new `GrpcTransport`.
        listen: where `GrpcTransport` binds ("host:port"); None: this node's own address in `peers`.

    Raises:
        ConfigError: with all that is wrong with id, peers, config or listen.
        PluginTypeError: storage, state machine or transport lack a method, take other arguments or are asynchronous.
    """

    _futures: Futures | None = None

    def start(self) -> None:
        """Takes directory, port and threads. Storage and transport plugins are started on the calling thread. Once only.

        Raises:
            DirectoryLockedError: another process uses the directory.
            WrongNodeError, WrongClusterError: it is the directory of another node or cluster.
            CorruptLogError, StorageError: it is damaged or cannot be read or written.
            ConfigError: the address cannot be bound, or the storage is empty and there are no `peers`.
            PluginError: a plugin raised.
            ClosedError, ForkError: it was started or closed before, or belongs to another process.
        """
        self._start()

    def close(self, *, handover: bool = True, timeout: float | None = None) -> None:
        """Gives leadership away (with `handover`, if this node leads), finishes what is under way and stops, within the timeout.

        Never hangs: a plugin that does is left behind with a logged warning. Outstanding calls end with `OutcomeUnknownError` or
        `ClosedError`. Idempotent; does nothing in a forked child.
        """
        self._close(handover=handover, timeout=self._seconds(timeout))
        with self._lifecycle:
            futures, self._futures = self._futures, None
        if futures is not None:
            futures.close()

    def _crash(self) -> None:
        super()._crash()
        with self._lifecycle:
            futures, self._futures = self._futures, None
        if futures is not None:
            futures.close()

    def close_at_exit(self) -> None:
        """The interpreter is about to go. For this package only."""
        self.close(handover=False, timeout=1.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- writes -------------------------------------------------------------------------------------------------------------

    def session(self, *, timeout: float | None = None) -> Session:
        """Opens a session: proposals made in it are applied once each, however often they are repeated.

        Raises:
            As `propose`. Whatever the error, it may simply be called again: a session that nobody uses goes by itself.
        """
        return Session(self._live().open_session(self._seconds(timeout)), self)

    def propose(self, data: Buffer, *, session: InSession | None = None, timeout: float | None = None) -> R:
        """Replicates one command and returns what `apply` returned for it on this node.

        Works on every node: a follower forwards, and answers from its own apply.

        Args:
            data: anything with the buffer protocol; copied before this returns.
            session: of this node or another one of the cluster. The proposal is then asked again where a leader or a message was lost, until
                the deadline, and an `OutcomeUnknownError` can be given to `session.retry`.
            timeout: seconds.

        Raises:
            NotLeaderError: no leader was known within the timeout, or `Config.forward` is off. Certainly not applied.
            OverloadedError: a queue is full. Certainly not applied; retry later.
            TooLargeError: longer than `Config.max_entry_bytes`.
            OutcomeUnknownError: the deadline passed, leadership was lost or the node closed while it was under way.
            CommandError: `apply` refused it.
            SessionExpiredError: the session is not known any more. Nothing was applied now.
            ResultLostError: it repeats one that was applied, and whose result was not kept.
            PluginError: apply has stopped on this node.
            ClosedError, ForkError.
        """
        node, limit = self._live(), self._seconds(timeout)
        if session is None:
            return cast("R", node.propose(data, limit))
        return cast("R", run(begin(session, data), lambda data, place: node.propose(data, limit, place)))

    def propose_many(
        self, items: Iterable[Buffer], *, session: InSession | None = None, timeout: float | None = None
    ) -> list[R | CommandError]:
        """Replicates many commands in one crossing, next to one another in the log; not atomic.

        Returns:
            One result an item. A `CommandError` stands in the place of a refused one.

        Raises:
            As `propose`, except CommandError; `results` of the error are those of the leading items that were certainly applied.
        """
        node, limit, listed = self._live(), self._seconds(timeout), checked_items(items)
        if session is None:
            return cast("list[R | CommandError]", node.propose_many(listed, limit))
        attempt = begin(session, listed, len(listed))
        return cast("list[R | CommandError]", run(attempt, lambda items, place: node.propose_many(items, limit, place)))

    def submit(self, data: Buffer, *, session: InSession | None = None, timeout: float | None = None) -> Future[R]:
        """`propose` without waiting. The future's callbacks run on the thread "d-engine-<id>-futures".

        Cancelling the future withdraws the waiter, not the entry. Refusals come out of the future; only a wrong type, `ClosedError`
        before start and `ForkError` are raised here.
        """
        node, limit, queue = self._live(), self._seconds(timeout), self._queue().completions
        call: Call[R] = Call(node)
        if session is None:
            call.number = node.propose_to(queue, call, data, limit)
            return call
        call.attempt = attempt = begin(session, data)
        with ended(attempt):
            call.number = node.propose_to(queue, call, attempt.data, limit, attempt.place())
        return call

    def submit_many(
        self, items: Iterable[Buffer], *, session: InSession | None = None, timeout: float | None = None
    ) -> Future[list[R | CommandError]]:
        """`propose_many` without waiting: one future for all items."""
        node, limit, queue, listed = (
            self._live(),
            self._seconds(timeout),
            self._queue().completions,
            checked_items(items),
        )
        call: Call[list[R | CommandError]] = Call(node)
        if session is None:
            call.number = node.propose_many_to(queue, call, listed, limit)
            return call
        call.attempt = attempt = begin(session, listed, len(listed))
        with ended(attempt):
            call.number = node.propose_many_to(queue, call, attempt.data, limit, attempt.place())
        return call

    def _queue(self) -> Futures:
        futures = self._futures
        if futures is None:
            with self._lifecycle:
                if self._done:
                    raise errors.ClosedError("closed", node=self._id)
                futures = self._futures
                if futures is None:
                    futures = self._futures = Futures(f"d-engine-{self._id}-futures")
        return futures

    # --- reads --------------------------------------------------------------------------------------------------------------

    def query(
        self,
        request: Any,
        *,
        consistency: Literal["linearizable", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> Any:
        """What `StateMachine.query(request)` returns, on the apply thread between two batches; on any node.

        Args:
            request: passed on as it is.
            consistency: "linearizable": sees every write acknowledged before this call, anywhere; "eventual": what this node has.
            timeout: seconds.

        Raises:
            DeadlineError: no quorum, or apply did not get there in time.
            PluginError: `query` raised; `__cause__` is what it raised. A `CommandError` comes as it is.
            ClosedError, ForkError.
        """
        return self._live().read(
            self._machine.query, request, "query", self._consistency(consistency), self._seconds(timeout)
        )

    def read(
        self,
        fn: Callable[[Any], T],
        *,
        consistency: Literal["linearizable", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> T:
        """What `fn(state_machine)` returns, on the apply thread between two batches. It must not change the state. Raises as `query`."""
        return cast(
            "T",
            self._live().read(fn, self._machine.target, "read", self._consistency(consistency), self._seconds(timeout)),
        )

    def read_barrier(
        self, *, consistency: Literal["linearizable", "eventual"] = "linearizable", timeout: float | None = None
    ) -> int:
        """Waits until the state machine holds every write acknowledged before this call; for machines with locks of their own.

        Returns:
            The applied index.

        Raises:
            DeadlineError, ClosedError, ForkError.
        """
        return self._live().read_barrier(self._consistency(consistency), self._seconds(timeout))

    # --- waiting and looking ------------------------------------------------------------------------------------------------

    def wait_ready(self, *, timeout: float | None = None) -> None:
        """Waits until a leader is known and its first entry is applied here. Raises `DeadlineError`, `ClosedError`, `ForkError`."""
        self._live().wait_ready(self._seconds(timeout))

    def changes(self) -> Iterator[Change]:
        """Who leads: the current value first, then each new one (some may be skipped); ends when the node closes. Waits in between."""
        node = self._live()
        seen = 0
        while True:
            try:
                change = node.next_change(seen, math.inf)
            except errors.ClosedError:
                return
            if change is not None:
                seen, role, term, leader = change
                yield make_change(role, term, leader)

    def snapshot(self, *, timeout: float | None = None) -> int:
        """Makes a snapshot now, and purges the log behind it as configured.

        Returns:
            The last index that it holds.

        Raises:
            PluginError: `snapshot`, `freeze` or `write_view` raised.
            StorageError, DeadlineError, ClosedError, ForkError.
        """
        return self._live().snapshot(self._seconds(timeout))
