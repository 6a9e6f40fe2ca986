"""The session table: which proposals of a session were applied, and what they gave (thesis 6.3, linearizable semantics).

A function of the log and of the machine's results, and of nothing else: no clock but the time that leaders stamp on entries,
no limits but those that the log carries. It works in two halves, because a result comes after its entry was given to the
machine: `judge` says of one entry after the other whether it is applied, and `settle` puts the results in, in the same
order. The first half never looks at what the second one has; so where a batch ends makes no difference, neither in what is
applied nor in what is kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from d_engine.pure.entry import Entry
from d_engine.pure.types import U64, Index, Micros, WallMicros

SessionId: TypeAlias = int
"""A session is known by the index of the entry that opened it."""

Verdict: TypeAlias = Literal["opened", "apply", "repeat", "expired"]
"""What becomes of an entry of a session.

"opened": it opened the session that has its index; "apply": it goes to the machine, and `settle` wants its result; "repeat": it was
applied before, once, and `settle` says what is left of its result; "expired": its session is not known, and nothing is applied.
"""

_VERSION: Final = 1
_LIMITS_VERSION: Final = 1
# What one remembered number, and one kept result beyond its own bytes, count for.
_OVERHEAD: Final = 64
_LIMITS: Final = Struct("<BQQQ")
_NUMBER: Final = Struct("<Q")


class Limits(NamedTuple):
    """What bounds the table. The entry that opens a session carries them, and the newest ones hold: all nodes decide alike, whatever
    their own settings say.

    Attributes:
        ttl: a session that is not used for longer, by the times of entries, is dropped.
        max_sessions: sessions at once; the least recently used one makes room.
        max_bytes: bytes of results kept; the oldest ones are lost first.
    """

    ttl: Micros
    max_sessions: int
    max_bytes: int

    def encode(self) -> bytes:
        """The payload of an entry that opens a session."""
        return _LIMITS.pack(_LIMITS_VERSION, *self)

    @classmethod
    def decode(cls, payload: bytes) -> Limits | None:
        """Reads what `encode` wrote."""
        if len(payload) != _LIMITS.size or payload[0] != _LIMITS_VERSION:
            return None
        return cls(*_LIMITS.unpack(payload)[1:])


class SessionsError(ValueError):
    """Bytes are not a session table."""


class _Session:
    __slots__ = ("ack_below", "applied", "time", "used")

    def __init__(self, used: Index, time: WallMicros, ack_below: int, applied: list[int]) -> None:
        # Its newest entry, and that one's time.
        self.used = used
        self.time = time
        self.ack_below = ack_below  # results below are no longer wanted
        self.applied = applied  # what was applied from there on, ascending


class _Keep(NamedTuple):
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    session: SessionId
    sequence: int


class _Repeat(NamedTuple):
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    session: SessionId
    sequence: int


class _Free(NamedTuple):
    session: SessionId
    below: int


class _Bound(NamedTuple):
    max_bytes: int


class _Kept(NamedTuple):
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    result: bytes

    def cost(self) -> int:
        return _OVERHEAD + len(self.result)


class Sessions:
    """All sessions of one log."""

    __slots__ = ("_by_use", "_max_bytes", "_numbers", "_results", "_sessions", "_steps", "limits")

    def __init__(self) -> None:
        self.limits = Limits(0, 0, 0)
        self._sessions: dict[SessionId, _Session] = {}
        self._by_use: OrderedDict[Index, SessionId] = OrderedDict()
        self._numbers = 0  # remembered, of all sessions
        # What `settle` has to do, in log order.
        self._steps: list[_Keep | _Repeat | _Free | _Bound] = []
        self._max_bytes = 0
        self._results = _Results()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def result_bytes(self) -> int:
        """Bytes that kept results count for."""
        return self._results.bytes

    def judge(self, entry: Entry) -> Verdict:
        """Takes in the next entry that opens a session or belongs to one."""
        self._drop_expired(entry.time)
        if entry.kind == "session":
            return self._open(entry)
        session_id, sequence = entry.session, entry.sequence
        session = self._sessions.get(session_id)
        if session is None:
            return "expired"
        del self._by_use[session.used]
        session.used, session.time = entry.index, entry.time
        self._by_use[entry.index] = session_id
        # Nobody gives up what is still under way: a number never acknowledges itself.
        below = min(entry.ack_below, sequence)
        if below > session.ack_below:
            acknowledged = bisect_left(session.applied, below)
            session.ack_below = below
            del session.applied[:acknowledged]
            self._numbers -= acknowledged
            self._steps.append(_Free(session_id, below))
        if sequence < session.ack_below or not _insert(session.applied, sequence):
            self._steps.append(_Repeat(entry.index, session_id, sequence))
            return "repeat"
        self._numbers += 1
        self._bound_numbers()
        if session_id not in self._sessions:
            return "expired"
        self._steps.append(_Keep(entry.index, session_id, sequence))
        return "apply"

    def settle(self, result: Callable[[Index], bytes | None]) -> dict[Index, bytes | None]:
        """Puts in the results of what was judged since the last call, and returns what is left for the repetitions among them.

        Args:
            result: asked for each entry that was to be applied, in log order; what is None is not kept.

        Returns:
            by the index of each repetition, its first result; None: it is lost.
        """
        answers: dict[Index, bytes | None] = {}
        steps, self._steps = self._steps, []
        for step in steps:
            match step:
                case _Keep(index, session, sequence):
                    given = result(index)
                    if given is not None:
                        self._results.keep(session, sequence, _Kept(index, given), self._max_bytes)
                case _Repeat(index, session, sequence):
                    kept = self._results.get(session, sequence)
                    answers[index] = None if kept is None else kept.result
                case _Free(session, below):
                    self._results.free(session, below)
                case _Bound(max_bytes):
                    self._max_bytes = max_bytes
                    self._results.bound(max_bytes)
        return answers

    def _open(self, entry: Entry) -> Verdict:
        limits = Limits.decode(entry.data)
        if limits is None:
            return "expired"
        self.limits = limits
        self._steps.append(_Bound(limits.max_bytes))
        # What was enough room before may be too much now, the time included.
        self._drop_expired(entry.time)
        session_id = entry.index
        self._sessions[session_id] = _Session(session_id, entry.time, 0, [])
        self._by_use[session_id] = session_id
        while len(self._sessions) > max(limits.max_sessions, 1):
            self._forget(self._least_recently_used())
        self._bound_numbers()
        return "opened"

    def _least_recently_used(self) -> SessionId:
        return next(iter(self._by_use.values()))

    def _drop_expired(self, now: WallMicros) -> None:
        while self._by_use:
            oldest = self._least_recently_used()
            if self._sessions[oldest].time + self.limits.ttl >= now:
                return
            self._forget(oldest)

    def _bound_numbers(self) -> None:
        """Whoever acknowledges nothing makes all nodes remember every number: the worst one goes."""
        while self._numbers * _OVERHEAD > self.limits.max_bytes:
            worst = max(self._sessions, key=lambda one: (len(self._sessions[one].applied), -one))
            if len(self._sessions[worst].applied) <= 1:
                return
            self._forget(worst)

    def _forget(self, session_id: SessionId) -> None:
        session = self._sessions.pop(session_id)
        del self._by_use[session.used]
        self._numbers -= len(session.applied)
        self._steps.append(_Free(session_id, U64))

    def encode(self) -> bytes:
        """The table as bytes, the same on every node that has applied the same entries.

        What was judged and not settled counts as applied with its result lost.
        """
        return self._encode_from(0)

    def encode_within(self, max_bytes: int) -> bytes:
        """The same with the newest results only, of together at most `max_bytes`: the others are written as lost."""
        return self._encode_from(self._results.newest_within(max_bytes))

    def _encode_from(self, oldest: Index) -> bytes:
        number = _NUMBER.pack
        out = [bytes([_VERSION]), *map(number, (*self.limits, len(self._sessions)))]
        for session_id, session in self._sessions.items():
            fields = (session_id, session.used, session.time, session.ack_below, len(session.applied))
            out += map(number, fields)
            for sequence in session.applied:
                kept = self._results.get(session_id, sequence)
                out.append(number(sequence))
                if kept is None or kept.index < oldest:
                    out.append(b"\0")
                else:
                    out += [b"\1", number(kept.index), number(len(kept.result)), kept.result]
        return b"".join(out)

    @classmethod
    def decode(cls, encoded: bytes) -> Sessions:
        """Reads what `encode` wrote; nothing at all is an empty table.

        Raises:
            SessionsError: the bytes are something else.
        """
        table = cls()
        if not encoded:
            return table
        source = _Source(encoded)
        if source.byte() != _VERSION:
            raise SessionsError("its format is unknown")
        table.limits = Limits(source.number(), source.number(), source.number())
        table._max_bytes = table.limits.max_bytes
        for _ in range(source.number()):
            session_id, used, time = source.number(), source.number(), source.number()
            ack_below, count = source.number(), source.number()
            applied: list[int] = []
            for _ in range(count):
                sequence = source.number()
                _insert(applied, sequence)
                if source.byte() == 1:
                    index = source.number()
                    table._results.keep(session_id, sequence, _Kept(index, source.bytes()), U64)
            table._numbers += len(applied)
            if len(applied) != count or used in table._by_use or session_id in table._sessions:
                raise SessionsError("something stands in it twice")
            table._by_use[used] = session_id
            table._sessions[session_id] = _Session(used, time, ack_below, applied)
        if source.rest:
            raise SessionsError("bytes follow its end")
        table._sort()
        return table

    def _sort(self) -> None:
        """Everything is kept in order; entries come in order by themselves."""
        self._sessions = dict(sorted(self._sessions.items()))
        self._by_use = OrderedDict(sorted(self._by_use.items()))
        self._results.sort()


class _Results:
    """What applied entries gave, as far as it is kept."""

    __slots__ = ("_by_age", "_kept", "bytes")

    def __init__(self) -> None:
        self._kept: dict[SessionId, dict[int, _Kept]] = {}
        self._by_age: OrderedDict[Index, tuple[SessionId, int]] = OrderedDict()
        self.bytes = 0

    def get(self, session: SessionId, sequence: int) -> _Kept | None:
        return self._kept.get(session, {}).get(sequence)

    def keep(self, session: SessionId, sequence: int, kept: _Kept, max_bytes: int) -> None:
        if kept.cost() > max_bytes:
            return
        self.bytes += kept.cost()
        self._by_age[kept.index] = (session, sequence)
        self._kept.setdefault(session, {})[sequence] = kept
        self.bound(max_bytes)

    def bound(self, max_bytes: int) -> None:
        while self.bytes > max_bytes and self._by_age:
            _, (session, sequence) = self._by_age.popitem(last=False)
            self._remove(session, sequence)

    def free(self, session: SessionId, below: int) -> None:
        for sequence in [one for one in self._kept.get(session, {}) if one < below]:
            kept = self._remove(session, sequence)
            if kept is not None:
                self._by_age.pop(kept.index, None)

    def _remove(self, session: SessionId, sequence: int) -> _Kept | None:
        of_session = self._kept.get(session, {})
        kept = of_session.pop(sequence, None)
        if kept is not None:
            self.bytes -= kept.cost()
        if not of_session:
            self._kept.pop(session, None)
        return kept

    def newest_within(self, max_bytes: int) -> Index:
        """Where the newest results begin that are together no larger."""
        found, size = U64, 0
        for index, (session, sequence) in reversed(self._by_age.items()):
            kept = self.get(session, sequence)
            size += 0 if kept is None else kept.cost()
            if size > max_bytes:
                break
            found = index
        return found

    def sort(self) -> None:
        self._by_age = OrderedDict(sorted(self._by_age.items()))


class _Source:
    """Bytes that are taken from the front."""

    __slots__ = ("rest",)

    def __init__(self, rest: bytes) -> None:
        self.rest = memoryview(rest)

    def _take(self, length: int) -> memoryview:
        if len(self.rest) < length:
            raise SessionsError("it is cut off")
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self._take(8), "little")

    def bytes(self) -> bytes:
        return self._take(self.number()).tobytes()


def _insert(ascending: list[int], number: int) -> bool:
    """Whether it was not there yet."""
    if not ascending or number > ascending[-1]:
        ascending.append(number)
        return True
    at = bisect_left(ascending, number)
    if ascending[at] == number:
        return False
    ascending.insert(at, number)
    return True
