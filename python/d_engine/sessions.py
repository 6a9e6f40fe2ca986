"""Sessions: proposals that are applied exactly once, however often they are repeated."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from ._text import shown
from .errors import OutcomeUnknownError

if TYPE_CHECKING:
    from typing import Protocol

    class _Verbs(Protocol):
        @property
        def propose(self) -> Callable[..., Any]: ...
        @property
        def propose_many(self) -> Callable[..., Any]: ...


__all__ = ["AsyncSession", "Session", "SessionPlace"]

T = TypeVar("T")


class SessionPlace(NamedTuple):
    """Where a proposal stands in its session: with the same data, all that is needed to repeat it, through any node and in any process.

    Attributes:
        session: the session's id (int).
        sequence: the proposal's number in it (int); of several, the first one's.
        ack_below: proposals with lower numbers are certainly not repeated any more (int).
    """

    session: int
    sequence: int
    ack_below: int


class SessionBase:
    """What `Session` and `AsyncSession` have in common. Thread-safe."""

    def __init__(self, session: int, owner: _Verbs) -> None:
        self._id = session
        self._owner = owner
        self._lock = threading.Lock()
        self._next = 1
        # Numbers whose results may still be asked for, ascending; and those of attempts that were thrown away: the collector may
        # run anywhere, and takes no lock.
        self._open: dict[int, None] = {}
        self._dropped: deque[int] = deque()

    @property
    def id(self) -> int:
        """The session's id: the index of the log entry that opened it."""
        return self._id

    def _begin(self, data: Any, count: int | None) -> Attempt:
        with self._lock:
            sequence = self._next
            self._next += max(count or 1, 1)
            self._open[sequence] = None
        return Attempt(self, sequence, data, many=count is not None)

    def _place(self, sequence: int) -> SessionPlace:
        with self._lock:
            while self._dropped:
                self._open.pop(self._dropped.popleft(), None)
            if sequence not in self._open:
                raise ValueError(
                    f"proposal {sequence} of session {self._id} is over: its result was given, or given up"
                )
            return SessionPlace(self._id, sequence, next(iter(self._open)))

    def _settle(self, sequence: int) -> None:
        with self._lock:
            self._open.pop(sequence, None)

    def _attempt(self, error: OutcomeUnknownError) -> Attempt:
        attempt = getattr(error, "_attempt", None)
        if not isinstance(attempt, Attempt) or attempt.session is not self:
            raise ValueError(
                f"{shown(error)} is not of a proposal in this session: retry() takes the error that it raised; a pickled one has its "
                f"`place`, for propose(data, session=error.place)"
            )
        return attempt

    def __repr__(self) -> str:
        with self._lock:
            return f"<{type(self).__name__} {self._id}: {self._next - 1} proposals, {len(self._open)} open>"


class Session(SessionBase):
    """An open session, made by `Raft.session()` or `LocalCluster.session()`, to be given to `propose` and its kin.

    Every proposal gets a number of its own; the nodes remember which numbers they have applied, with the results, so that a repetition
    gets the first result and is not applied again. A session may be used from many threads, and on every node of its cluster. It needs no
    closing: unused for `Config.session_ttl` it goes by itself.
    """

    def retry(self, error: OutcomeUnknownError, *, timeout: float | None = None) -> Any:
        """Repeats the proposal that ended with `error`, under its number: applied once, whatever became of the first attempt.

        Until this has an answer, or the last reference to the error is gone, the nodes keep the result for it.

        Returns:
            What `propose` (or `propose_many`) would have returned.

        Raises:
            OutcomeUnknownError: again; it can be retried like the first one.
            SessionExpiredError: the session is not known any more: what became of the first attempt is unknown.
            ResultLostError: it was applied, but its result was not kept.
            ValueError: it is not an error of this session, or has its answer already.
        """
        attempt = self._attempt(error)
        verb = self._owner.propose_many if attempt.many else self._owner.propose
        return verb(attempt.data, session=attempt, timeout=timeout)


class AsyncSession(SessionBase):
    """As `Session`, made by `AsyncRaft.session()`."""

    async def retry(self, error: OutcomeUnknownError, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """As `Session.retry`."""
        attempt = self._attempt(error)
        verb = self._owner.propose_many if attempt.many else self._owner.propose
        return await verb(attempt.data, session=attempt, timeout=timeout)


class Attempt:
    """A proposal of a session whose result may still be asked for; errors that leave it in doubt carry it. For this package only."""

    __slots__ = ("data", "many", "over", "sequence", "session")

    def __init__(self, session: SessionBase, sequence: int, data: Any, *, many: bool) -> None:
        self.session = session
        self.sequence = sequence
        self.data = data
        self.many = many
        self.over = False

    def place(self) -> SessionPlace:
        """What the node is given."""
        return self.session._place(self.sequence)  # pyright: ignore[reportPrivateUsage]

    def end(self, error: BaseException | None) -> None:
        """It has an answer, or an error that leaves it in doubt."""
        if isinstance(error, OutcomeUnknownError):
            error.place = self.place()
            error._attempt = self  # pyright: ignore[reportPrivateUsage]
        elif not self.over:
            self.over = True
            self.session._settle(self.sequence)  # pyright: ignore[reportPrivateUsage]

    def __del__(self) -> None:
        if not self.over:
            self.session._dropped.append(self.sequence)  # pyright: ignore[reportPrivateUsage]

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(None), ())  # in another process there is no session to go on with


class Single:
    """The same for a bare place: whoever uses one keeps the books. For this package only."""

    __slots__ = ("_place", "data")

    def __init__(self, place: SessionPlace, data: Any) -> None:
        self._place = place
        self.data = data

    def place(self) -> SessionPlace:
        """What the node is given."""
        return self._place

    def end(self, error: BaseException | None) -> None:
        """An error that leaves it in doubt says where it stands."""
        if isinstance(error, OutcomeUnknownError):
            error.place = self._place


InSession: TypeAlias = SessionBase | SessionPlace
"""What the verbs take as `session`."""


def begin(session: Any, data: Any, count: int | None = None) -> Attempt | Single:
    """One proposal of a session (`count`: of so many items). Raises `TypeError` for what is no session."""
    if isinstance(session, SessionBase):
        return session._begin(_frozen(data, count), count)  # pyright: ignore[reportPrivateUsage]
    if isinstance(session, Attempt):
        return session
    if isinstance(session, SessionPlace):
        return Single(session, data)
    raise TypeError(f"session is {shown(session)}: a Session is needed, such as raft.session() returns")


def _frozen(data: Any, count: int | None) -> Any:
    """What a repetition sends has to be what was sent first."""
    if count is None:
        return data if isinstance(data, (bytes, str)) else _bytes(data)
    return [item if isinstance(item, (bytes, str)) else _bytes(item) for item in data]


def _bytes(data: Any) -> Any:
    try:
        return memoryview(data).tobytes()
    except TypeError:
        return data  # the node refuses it in its own words


def run(attempt: Attempt | Single, call: Callable[[Any, SessionPlace], T]) -> T:
    """Makes the call, and notes how it ended."""
    try:
        result = call(attempt.data, attempt.place())
    except BaseException as error:
        attempt.end(error)
        raise
    attempt.end(None)
    return result


@contextmanager
def ended(attempt: Attempt | Single) -> Generator[None]:
    """For calls that answer later: notes an error that comes at once."""
    try:
        yield
    except BaseException as error:
        attempt.end(error)
        raise


async def run_async(attempt: Attempt | Single, call: Callable[[Any, SessionPlace], Awaitable[T]]) -> T:
    """The same for a coroutine."""
    try:
        result = await call(attempt.data, attempt.place())
    except BaseException as error:
        attempt.end(error)
        raise
    attempt.end(None)
    return result
