"""A whole cluster in one process."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from . import errors
from ._base import C, R, checked_config, checked_items
from ._process import check_fork, generation, native
from ._text import seconds, shown
from .config import Config, refused
from .raft import Raft
from .sessions import Session, begin, run
from .status import Change, Member, Status
from .storage import FileStorage

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .errors import CommandError
    from .peers import Peer
    from .plugins import DurableStateMachine, SupportsApply
    from .sessions import InSession, SessionPlace

__all__ = ["LocalCluster"]

T = TypeVar("T")
_LOOK = 0.05  # seconds: how long one node is listened to before the others are looked at


def _problems(nodes: object, factory: Any) -> list[str]:
    problems: list[str] = []
    if isinstance(nodes, bool) or not isinstance(nodes, int) or not 1 <= nodes <= 99:
        problems.append(f"nodes is {shown(nodes)}: a number from 1 to 99 is needed")
    if not callable(factory):
        problems.append(f"factory is {shown(factory)}: a class or function that makes a state machine is needed")
    return problems


class LocalCluster(Generic[C, R]):
    """Real nodes with real logs, in one process: for tests, for examples, to try things out.

    Each node has its own `FileStorage`; they talk through one `LocalTransport`. The verbs are those of `Raft`: they go to a live
    node that knows a live leader, and wait for one within the timeout.

    Args:
        factory: makes a state machine, once for each node and again at each restart.
        nodes: how many; ids are 1 to `nodes`.
        config: settings of all nodes; None: `Config()`.
        directory: where `node-<id>` lie; None: a temporary directory that `close` removes.

    Raises:
        ConfigError, PluginTypeError: as `Raft`.
    """

    def __init__(
        self,
        factory: Callable[[], SupportsApply[C, R] | DurableStateMachine[C, R]],
        nodes: int = 3,
        *,
        config: Config | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        problems = _problems(nodes, factory)
        if problems:
            raise refused(problems, "LocalCluster")
        self._factory = factory
        self._count = nodes
        self._config = checked_config("LocalCluster", config)
        self._temporary = directory is None
        self._directory = None if directory is None else Path(directory)
        self._nodes: dict[int, Raft[C, R]] = {}
        self._down: set[int] = set()
        self._lock = threading.RLock()
        self._state: Literal["new", "open", "closed"] = "new"
        self._made_in = generation()
        self._transport: Any = None

    # --- life ---------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts all nodes; undoes all of it if one fails. Once only. Raises as `Raft.start`."""
        check_fork(self._made_in, self)
        with self._lock:
            if self._state != "new":
                raise errors.ClosedError("this cluster was started before", hint="Make a new one")
            self._transport = native().LocalTransport()
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="d-engine-"))
            else:
                self._directory.mkdir(parents=True, exist_ok=True)
            self._state = "open"
            try:
                for node in range(1, self._count + 1):
                    self._start_node(node)
            except BaseException:
                self.close()
                raise

    def _start_node(self, node: int) -> None:
        assert self._directory is not None
        raft: Raft[C, R] = Raft(
            node,
            FileStorage(self._directory / f"node-{node}"),
            self._factory(),
            self._config,
            peers={other: f"local:{other}" for other in range(1, self._count + 1)},
            transport=self._transport,
        )
        raft.start()
        self._nodes[node] = raft
        self._down.discard(node)

    def close(self) -> None:
        """Stops all nodes, and removes the temporary directory. Idempotent; never hangs; does nothing in a forked child."""
        if self._made_in != generation():
            return
        with self._lock:
            self._state = "closed"
            nodes = [raft for node, raft in self._nodes.items() if node not in self._down]
            self._down.update(self._nodes)
        if nodes:
            # At once: each stops within its own deadline, also where a state machine hangs.
            with ThreadPoolExecutor(len(nodes), thread_name_prefix="d-engine-close") as pool:
                for done in [pool.submit(raft.close, handover=False) for raft in nodes]:
                    done.result()
        if self._temporary and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def crash(self, node: int) -> None:
        """Stops a node as `kill -9` would: nothing is flushed or handed over. Raises `ConfigError` for an unknown node, `ClosedError`."""
        with self._lock:
            raft = self._known(node)
            if node in self._down:
                return
            self._down.add(node)
        raft._crash()  # pyright: ignore[reportPrivateUsage]

    def restart(self, node: int) -> None:
        """Starts a node again on its data, with a new state machine; one that is up is crashed first. Raises as `crash` and `Raft.start`."""
        self.crash(node)
        with self._lock:
            self._start_node(node)

    def _known(self, node: int) -> Raft[C, R]:
        check_fork(self._made_in, self)
        if self._state != "open":
            raise errors.ClosedError(
                "closed" if self._state == "closed" else "not started", hint="Use it in a 'with' block"
            )
        raft = self._nodes.get(node)
        if raft is None:
            raise refused([f"there is no node {shown(node)}: the nodes are 1 to {self._count}"], "LocalCluster")
        return raft

    # --- looking ------------------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[int, Raft[C, R]]:
        """All nodes by id, those that crashed as they were. A live view."""
        return MappingProxyType(self._nodes)

    @property
    def live(self) -> tuple[int, ...]:
        """The ids of the nodes that are up: neither crashed nor stopped by themselves."""
        return tuple(node for node, raft in list(self._nodes.items()) if node not in self._down and not raft.closed)

    @property
    def directory(self) -> Path | None:
        """Where the data lies; None before start with a temporary one."""
        return self._directory

    @property
    def leader(self) -> int:
        """The leader's id; waits for a live one for `Config.request_timeout`. Raises `DeadlineError`, `ClosedError`."""
        return self.wait_leader()

    def wait_leader(self, *, timeout: float | None = None) -> int:
        """The same with a timeout in seconds."""
        return self._led(self._deadline(timeout)).id

    def _deadline(self, timeout: float | None) -> float:
        if timeout is None:
            return time.monotonic() + self._config.request_timeout
        try:
            return time.monotonic() + seconds(timeout)
        except ValueError as error:
            raise errors.ConfigError(str(error)) from None

    def _led(self, deadline: float) -> Raft[C, R]:
        """A live node that knows a live leader; the leader itself where that is known."""
        seen: dict[int, int] = {}
        while True:
            self._known(1)
            waits: Raft[C, R] | None = None
            for node in self.live:
                raft = self._nodes[node]
                with contextlib.suppress(errors.ClosedError):  # it stopped by itself
                    leader = raft.leader
                    waits = waits or raft
                    if leader in self.live and self._nodes[leader].leader == leader:
                        return self._nodes[leader]
            left = deadline - time.monotonic()
            if left <= 0:
                raise errors.DeadlineError(
                    "no live node knows a live leader",
                    hint=f"Live: {list(self.live)} of {self._count}; a quorum is needed",
                )
            if waits is None:
                time.sleep(min(left, _LOOK))
                continue
            with contextlib.suppress(errors.ClosedError):
                change = waits._live().next_change(seen.get(waits.id, 0), min(left, _LOOK))  # pyright: ignore[reportPrivateUsage]
                if change is not None:
                    seen[waits.id] = change[0]

    def _ask(self, timeout: float | None, verb: Callable[[Raft[C, R], float], T], *, repeat: bool = False) -> T:
        """Sends a call to a node that can serve it; again while it is certain that it was not carried out.

        With `repeat` also where that is unknown: for what may be carried out twice, or belongs to a session.
        """
        deadline = self._deadline(timeout)
        unknown: errors.OutcomeUnknownError | None = None
        while True:
            try:
                raft = self._led(deadline)
            except errors.DeadlineError as error:
                raise (unknown or errors.NotLeaderError(message=str(error))) from None
            left = deadline - time.monotonic() if math.isfinite(deadline) else math.inf
            try:
                return verb(raft, max(0.0, left))
            except (errors.NotLeaderError, errors.ClosedError) as error:
                # Both are certain refusals: no longer the leader, or crashed between the choice and the call.
                if time.monotonic() >= deadline:
                    raise (unknown or error) from None
            except errors.OutcomeUnknownError as error:
                if not repeat or time.monotonic() >= deadline:
                    raise
                unknown = error

    # --- the verbs of Raft --------------------------------------------------------------------------------------------------

    def session(self, *, timeout: float | None = None) -> Session:
        """As `Raft.session`. What is proposed in it is repeated through other nodes where one crashes, until the timeout."""
        opened = self._ask(timeout, lambda raft, left: raft.session(timeout=left), repeat=True)
        return Session(opened.id, self)

    def propose(self, data: Buffer, *, session: InSession | None = None, timeout: float | None = None) -> R:
        """As `Raft.propose`."""
        if session is None:
            return self._ask(timeout, lambda raft, left: raft.propose(data, timeout=left))

        def call(data: Buffer, place: SessionPlace) -> R:
            return self._ask(timeout, lambda raft, left: raft.propose(data, session=place, timeout=left), repeat=True)

        return run(begin(session, data), call)

    def propose_many(
        self, items: Iterable[Buffer], *, session: InSession | None = None, timeout: float | None = None
    ) -> list[R | CommandError]:
        """As `Raft.propose_many`."""
        listed = checked_items(items)
        if session is None:
            return self._ask(timeout, lambda raft, left: raft.propose_many(listed, timeout=left))

        def call(items: list[Buffer], place: SessionPlace) -> list[R | CommandError]:
            return self._ask(
                timeout, lambda raft, left: raft.propose_many(items, session=place, timeout=left), repeat=True
            )

        return run(begin(session, listed, len(listed)), call)

    def submit(self, data: Buffer, *, session: InSession | None = None, timeout: float | None = None) -> Future[R]:
        """As `Raft.submit`; waits for a live leader before it returns."""
        return self._ask(timeout, lambda raft, left: raft.submit(data, session=session, timeout=left))

    def submit_many(
        self, items: Iterable[Buffer], *, session: InSession | None = None, timeout: float | None = None
    ) -> Future[list[R | CommandError]]:
        """As `Raft.submit_many`; waits for a live leader before it returns."""
        listed = checked_items(items)
        return self._ask(timeout, lambda raft, left: raft.submit_many(listed, session=session, timeout=left))

    def query(
        self,
        request: Any,
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> Any:
        """As `Raft.query`."""
        return self._wait(timeout, lambda raft, left: raft.query(request, consistency=consistency, timeout=left))

    def read(
        self,
        fn: Callable[[Any], T],
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> T:
        """As `Raft.read`."""
        return self._wait(timeout, lambda raft, left: raft.read(fn, consistency=consistency, timeout=left))

    def read_barrier(
        self,
        *,
        consistency: Literal["linearizable", "lease", "eventual"] = "linearizable",
        timeout: float | None = None,
    ) -> int:
        """As `Raft.read_barrier`."""
        return self._wait(timeout, lambda raft, left: raft.read_barrier(consistency=consistency, timeout=left))

    def change(
        self,
        *,
        add: Mapping[int, str | Peer] | None = None,
        remove: Iterable[int] = (),
        promote: Iterable[int] = (),
        demote: Iterable[int] = (),
        timeout: float | None = None,
    ) -> dict[int, Member]:
        """As `Raft.change`."""
        out, up, down = list(remove), list(promote), list(demote)
        return self._ask(
            timeout, lambda raft, left: raft.change(add=add, remove=out, promote=up, demote=down, timeout=left)
        )

    def transfer(self, to: int | None = None, *, timeout: float | None = None) -> int:
        """As `Raft.transfer`, on the node that leads."""
        return self._ask(timeout, lambda raft, left: raft.transfer(to, timeout=left))

    def wait_ready(self, *, timeout: float | None = None) -> None:
        """Waits until every live node is ready, as `Raft.wait_ready`."""
        deadline = self._deadline(timeout)
        for node in self.live:
            self._nodes[node].wait_ready(timeout=max(0.0, deadline - time.monotonic()))

    def snapshot(self, *, timeout: float | None = None) -> int:
        """As `Raft.snapshot`, on the node that leads."""
        return self._wait(timeout, lambda raft, left: raft.snapshot(timeout=left))

    def status(self) -> Status:
        """As `Raft.status`, of the node that leads; waits for one. `nodes[id].status()` is any node's."""
        return self._led(self._deadline(None)).status()

    def metrics(self) -> dict[str, int]:
        """As `Raft.metrics`, of the node that leads; waits for one. `nodes[id].metrics()` is any node's."""
        return self._led(self._deadline(None)).metrics()

    def changes(self) -> Iterator[Change]:
        """As `Raft.changes`, as a live node sees it; goes on with another one where that one crashes, and ends with the cluster."""
        last: Change | None = None
        while self._state == "open":
            watched = next((self._nodes[node] for node in self.live), None)
            if watched is None:
                return
            for change in watched.changes():
                if change != last:
                    last = change
                    yield change

    def _wait(self, timeout: float | None, verb: Callable[[Raft[C, R], float], T]) -> T:
        """`_ask` for calls that change nothing: no leader is a `DeadlineError` there."""
        try:
            return self._ask(timeout, verb)
        except errors.NotLeaderError as error:
            raise errors.DeadlineError(str(error)) from None

    def __repr__(self) -> str:
        if self._state != "open":
            return f"<LocalCluster of {self._count}, {'closed' if self._state == 'closed' else 'not started'}>"
        return f"<LocalCluster {', '.join(repr(raft) for raft in self._nodes.values())}>"
