"""The words that every other module speaks in."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "INFINITY",
    "U64",
    "FetchId",
    "GroupId",
    "HardState",
    "Incarnation",
    "Index",
    "LogId",
    "Micros",
    "NodeId",
    "RequestId",
    "Role",
    "Term",
    "Token",
    "WallMicros",
]

NodeId: TypeAlias = int
"""A member's number, chosen by the user; never 0."""
Term: TypeAlias = int
"""A Raft term; 0 before the first election."""
Index: TypeAlias = int
"""A position in the log; the first entry stands at 1."""
Micros: TypeAlias = int
"""A moment or a span of the caller's monotonic clock, in microseconds."""
WallMicros: TypeAlias = int
"""A moment of the wall clock: Unix time in microseconds."""
GroupId: TypeAlias = int
"""One of many logs that may share a disk and a connection; today always 0."""
Token: TypeAlias = int
"""Names one `Persist` effect. Never reused; completes in order; the first is 1, so 0 says "none"."""
RequestId: TypeAlias = int
"""Names one request of the local user; chosen by the caller of `step`."""
FetchId: TypeAlias = int
"""Names one `Fetch` effect; the first is 1, so 0 says "none"."""
Incarnation: TypeAlias = int
"""128 random bits drawn when a data directory is made: what tells a member from the same member with its disk wiped."""

Role: TypeAlias = Literal["follower", "pre_candidate", "candidate", "leader"]
"""What a node is at the moment. A pre-candidate asks whether it would be elected, without touching its term (thesis 9.6)."""

U64: Final = (1 << 64) - 1
"""All numbers are unsigned with 64 bits; this is the mask, and the largest."""
INFINITY: Final = U64
"""An index beyond every log: what a half without voters has "committed"."""


class LogId(NamedTuple):
    """Where an entry stands and which leader put it there: unique in the life of a log.

    `term` first, so that the order of tuples is Raft's "at least as up-to-date" (section 5.4.1).
    """

    term: Term = 0
    index: Index = 0  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]


class HardState(NamedTuple):
    """What must be on disk before an answer that depends on it leaves (section 5.2). The commit index is not part of it.

    `term` is the newest that this node has seen, `vote` is whom it voted for in that term.
    """

    term: Term = 0
    vote: NodeId | None = None
