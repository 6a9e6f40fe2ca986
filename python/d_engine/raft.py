"""One node, for threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from . import errors
from ._base import C, NodeBase, R, checked_changes, checked_items, checked_target
from ._calls import Call, Futures
from .sessions import Session, begin, ended, run
from .status import Change, Member, make_change, make_members

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .errors import CommandError
    from .peers import Peer
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
        join: addresses of members, in place of `peers`: the node asks them to be taken in, and starts as a learner that becomes a
            voter once it has caught up. Used only while the storage is empty. Where the node itself is reached is `listen`, or its own
            entry in `peers`, which may also give it a role and a priority.
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
            WrongNodeError, WrongClusterError: it is the directory of another node or cluster, or `join` led to another cluster.
            CorruptLogError, StorageError: it is damaged or cannot be read or written.
            ConfigError: the address cannot be bound, or the storage is empty and there are no `peers`; with `join`, also what the
                cluster finds wrong with the new member (`reason`).
            DeadlineError: no member has taken the node in within `Config.request_timeout`.
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
            NotLeaderError: no leader was known within the timeout, `Config.forward` is off, or this node is a witness or was removed.
                Certainly not applied.
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
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> Any:
        """What `StateMachine.query(request)` returns, on the apply thread between two batches; on any node.

        Args:
            request: passed on as it is.
            consistency: "linearizable": sees every write acknowledged before this call, anywhere, as a quorum confirms; "lease": the
                same, confirmed by the leader's lease, quicker, and true as long as clocks keep within `Config.drift_bound`; "eventual":
                what this node has.
            timeout: seconds.

        Raises:
            DeadlineError: no quorum, or apply did not get there in time.
            NotLeaderError: this node is a witness, which has no state, or was removed from the cluster.
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
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> T:
        """What `fn(state_machine)` returns, on the apply thread between two batches. It must not change the state. Raises as `query`."""
        return cast(
            "T",
            self._live().read(fn, self._machine.target, "read", self._consistency(consistency), self._seconds(timeout)),
        )

    def read_barrier(
        self,
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> int:
        """Waits until the state machine holds every write acknowledged before this call; for machines with locks of their own.

        Returns:
            The applied index.

        Raises:
            DeadlineError, NotLeaderError, ClosedError, ForkError: as `query`.
        """
        return self._live().read_barrier(self._consistency(consistency), self._seconds(timeout))

    # --- members ------------------------------------------------------------------------------------------------------------

    def change(
        self,
        *,
        add: Mapping[int, str | Peer] | None = None,
        remove: Iterable[int] = (),
        promote: Iterable[int] = (),
        demote: Iterable[int] = (),
        timeout: float | None = None,
    ) -> dict[int, Member]:
        """Changes who belongs to the cluster: all of it in one step or in joint consensus, or nothing. On any node; followers forward.

        What is in the way for a moment (another change, a new leader) is waited for within the timeout.

        Args:
            add: {id: address or Peer}. A new voter comes in as a learner and votes once it has caught up (unless
                `auto_promote=False`). For a member: its address, client address, priority and auto_promote are replaced.
            remove: ids of members that leave.
            promote: learners that become voters.
            demote: voters that become learners.
            timeout: seconds.

        Returns:
            The members after the change, which is committed.

        Raises:
            ConfigError: such a change cannot be made; `reason` says why in a word. Nothing was changed.
            NotAcceptedError: not now; `reason` says why in a word. Nothing was changed.
            NotLeaderError: no leader was known within the timeout, or `Config.forward` is off. Nothing was changed.
            OutcomeUnknownError: the deadline passed, leadership was lost or the node closed while it was under way.
            PluginError: apply has stopped on this node: ask another one.
            OverloadedError, ClosedError, ForkError.
        """
        changes = checked_changes(add, remove, promote, demote)
        return make_members(self._live().change(*changes, self._seconds(timeout)))

    def transfer(self, to: int | None = None, *, timeout: float | None = None) -> int:
        """Gives leadership to another voter. Only the leader can; the outcome is known within an election timeout or two.

        Args:
            to: the node that shall lead; None: the one with the highest priority among those that are caught up.
            timeout: seconds.

        Returns:
            Who leads then.

        Raises:
            NotLeaderError: this node does not lead, or another node than `to` has become leader.
            ConfigError: `to` is no member ("unknown_member"), or no voter that can lead ("not_a_voter").
            NotAcceptedError: `to` is too far behind or silent ("too_far_behind"), nobody can lead ("no_successor"), or another
                transfer is under way ("transferring"). `reason` holds the word.
            DeadlineError: the timeout was shorter than the transfer, which may still succeed.
            ClosedError, ForkError.
        """
        return self._live().transfer(checked_target(to), self._seconds(timeout))

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
