"""Histories: what was called when, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, cast, overload

from d_engine.errors import NotAcceptedError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UNKNOWN", "History", "Operation", "PendingCall"]


class _Unknown:
    """The result of a call whose outcome nobody knows: equal to everything, since anything may have been the result."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "the result of this call is not known, neither true nor false: ask 'result == …', or 'result is UNKNOWN'"
        )

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""What a model's `step` is given as the result of a call with unknown outcome. Equal to everything; has no truth value."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client.

    Attributes:
        client: who called; anything.
        call: what was asked, as the model takes it; for the built-in ones a tuple such as `("write", 3)`.
        result: what was answered; without meaning where `unknown`.
        invoked: when the call began. Any numbers that grow with time, from one clock for all clients.
        returned: when it ended; None only where `unknown`.
        unknown: nobody knows whether it was carried out, or will be: it may be placed anywhere after `invoked`, or nowhere.
    """

    client: object
    call: Any
    result: Any
    invoked: float
    returned: float | None
    unknown: bool = False

    def __post_init__(self) -> None:
        if self.returned is None:
            if not self.unknown:
                raise ValueError(f"{self}: 'returned' is missing, although its outcome is known")
            ends = self.invoked
        else:
            ends = self.returned
        if not self.invoked <= ends:  # NaN, too
            raise ValueError(f"{self}: it returned before it was invoked, at {self.returned} after {self.invoked}")

    def __str__(self) -> str:
        return f"{self.described()} by client {self.client}"

    def described(self) -> str:
        """Call and result, in short."""
        name, *arguments = items(self.call) or (None,)
        call = f"{name}({', '.join(map(shown, arguments))})" if isinstance(name, str) else shown(self.call)
        return f"{call} -> {'?' if self.unknown else shown(self.result)}"


def items(value: object) -> tuple[Any, ...]:
    """What is in a tuple; nothing in anything else."""
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()


def shown(value: object, limit: int = 60) -> str:
    """A value as text of bounded length."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class PendingCall:
    """A call under way: `ok`, `failed` or `unknown` ends it, or the end of its `with` block does.

    A block that raises leaves the outcome unknown, except for a `NotAcceptedError`: then the call was certainly not carried out. A block that
    ends without having said anything leaves it unknown, too. The exception goes on.
    """

    __slots__ = ("_history", "call", "client", "invoked", "outcome", "result", "returned")

    def __init__(self, history: History, client: object, call: Any, invoked: int) -> None:
        self._history = history
        self.client = client
        self.call = call
        self.invoked = invoked
        self.returned: int | None = None
        self.result: Any = None
        self.outcome: Literal["open", "ok", "unknown", "failed"] = "open"

    def ok(self, result: Any = None) -> None:
        """It was carried out and answered this."""
        self._end("ok", result)

    def failed(self) -> None:
        """It was certainly not carried out: the history is as if it had never been called."""
        self._end("failed", None)

    def unknown(self) -> None:
        """Nobody knows whether it was, or will be, carried out."""
        self._end("unknown", None)

    def _end(self, outcome: Literal["ok", "unknown", "failed"], result: Any) -> None:
        if self.outcome != "open":
            raise ValueError(
                f"this call has ended already ({self.outcome}): {shown(self.call)} by client {self.client}"
            )
        self.returned = self._history.tick()
        self.result = result
        self.outcome = outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.outcome == "open":
            if isinstance(error, NotAcceptedError):
                self.failed()
            else:
                self.unknown()


class History(Sequence[Operation]):
    """Operations, given, read from a file, or recorded by many threads at once.

    To record, begin a call with `invoke` and end it:

        with history.invoke(client, ("write", 3)) as call:
            call.ok(raft.propose(b"3"))

    What has not ended when the history is looked at counts as unknown.
    """

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self._calls: list[PendingCall | Operation] = list(operations)

    def tick(self) -> int:
        """The next moment: one clock for all threads, without equal readings."""
        with self._lock:
            self._now += 1
            return self._now

    def add(self, operation: Operation) -> None:
        """Adds an operation with times of its own; they must not be mixed with those that `invoke` takes."""
        with self._lock:
            self._calls.append(operation)

    def invoke(self, client: object, call: Any) -> PendingCall:
        """Begins a call, now. Any thread may begin and end calls."""
        with self._lock:
            self._now += 1
            pending = PendingCall(self, client, call, self._now)
            self._calls.append(pending)
            return pending

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations so far, by the order in which they were begun or added; without those that certainly did not happen."""
        with self._lock:
            calls = list(self._calls)
        return tuple(
            call if isinstance(call, Operation) else _finished(call)
            for call in calls
            if isinstance(call, Operation) or call.outcome != "failed"
        )

    def __len__(self) -> int:
        return len(self.operations)

    @overload
    def __getitem__(self, at: int) -> Operation: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Operation, ...]: ...
    def __getitem__(self, at: int | slice) -> Operation | tuple[Operation, ...]:
        return self.operations[at]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __repr__(self) -> str:
        return f"<History of {len(self)} operations>"

    @classmethod
    def read(cls, path: str | Path, *, keyed: bool = False, observed_failures: Iterable[str] = ()) -> History:
        """The history in a file of one of the formats that `parse` knows."""
        return cls.parse(Path(path).read_text(encoding="utf-8"), keyed=keyed, observed_failures=observed_failures)

    @classmethod
    def parse(cls, text: str, *, keyed: bool = False, observed_failures: Iterable[str] = ()) -> History:
        """The history in a text: Jepsen's or Maelstrom's EDN, JSON (an array, or one object a line), or lines of their logs.

        Each event has a process, a type (invoke, ok, fail, info), a function and a value; `{:process 0, :type :ok, :f :read, :value 3}` becomes the
        end of the call `("read",)` with the result 3. What failed did not happen, what ended with `info` or not at all is unknown. Processes
        without a number (the nemesis) are left out. Times are the places of the events.

        Args:
            text: the whole file.
            keyed: values are pairs of a key and what the function takes, as in histories of many independent keys: `("read", key)`.
            observed_failures: functions that were carried out although they failed, with the result False, such as "cas" where a failure says
                that something else was there.

        Raises:
            ValueError: the text is no history, with the line.
        """
        from ._formats import parse

        return cls(parse(text, keyed=keyed, observed_failures=frozenset(observed_failures)))


def _finished(call: PendingCall) -> Operation:
    # Read once: another thread may end the call at this moment, and sets the outcome last.
    if call.outcome == "ok":
        return Operation(call.client, call.call, call.result, call.invoked, call.returned)
    return Operation(call.client, call.call, None, call.invoked, None, unknown=True)
