"""What a core wants done. Effects of one step are carried out in their order; none of them is waited for."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .change import ChangeError
from .configuration import Configuration
from .entry import Entry
from .message import Message, Refusal
from .types import FetchId, HardState, Incarnation, Index, LogId, NodeId, RequestId, Role, Term, Token

__all__ = [
    "Apply",
    "ChangeRefused",
    "Changed",
    "Changing",
    "Closed",
    "Configured",
    "Effect",
    "Event",
    "Fetch",
    "Forwarded",
    "NotCatchingUp",
    "Persist",
    "Proposed",
    "PurgeLog",
    "ReadReady",
    "Refused",
    "Removed",
    "Reply",
    "Restore",
    "Send",
    "SendSnapshot",
    "StaleSnapshot",
    "StorageStalled",
    "Transferred",
    "WipedMember",
]


class Persist(NamedTuple):
    """Write, make durable, then answer `Persisted(token)`, which covers all earlier ones too.

    One ordered unit of storage work: hard state (if it changed); then the log becomes empty and begins behind `reset_to` (a snapshot was
    installed); then entries from `truncate_from` on are dropped; then `entries`, contiguous, are appended.
    """

    token: Token
    hard_state: HardState | None
    reset_to: LogId | None
    truncate_from: Index | None
    entries: tuple[Entry, ...]


class Fetch(NamedTuple):
    """Read entries `lo..hi` (half open) of at most `max_bytes` (at least one) and answer `Fetched`. They are durable."""

    id: FetchId
    lo: Index
    hi: Index
    max_bytes: int


class Send(NamedTuple):
    """Hand to the transport; may be lost."""

    message: Message


class Apply(NamedTuple):
    """Committed and durable here: apply in order. Contiguous over all effects of this kind since the start or the last `Restore`."""

    entries: tuple[Entry, ...]


class Restore(NamedTuple):
    """Replace the state machine by the newest snapshot, this one or a later one (after what came before in the apply queue), and report
    where it is with `Applied`; then everything from the next index on comes as `Apply`."""

    last: LogId


class PurgeLog(NamedTuple):
    """Forget the log up to here, after what came before in the storage queue."""

    upto: LogId


class SendSnapshot(NamedTuple):
    """Send the newest snapshot, which must cover `at_least`, to that follower; answer `SnapshotSent`."""

    to: NodeId
    at_least: Index


class Proposed(NamedTuple):
    """The batch stands in the log: its first entry here, the others behind it. Applied at that index with that term = done; another term
    there = it never will be."""

    id: RequestId
    at: LogId


class Forwarded(NamedTuple):
    """The request has been sent to the leader, once. A second answer follows, or none: its fate is then unknown."""

    id: RequestId
    to: NodeId


class Refused(NamedTuple):
    """Not taken, and certainly never will be: a proposal or a read."""

    id: RequestId
    why: Refusal


class ReadReady(NamedTuple):
    """The read may be answered from a state that has applied this index."""

    id: RequestId
    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]


class Transferred(NamedTuple):
    """Leadership was given away: who leads now. Or it was not: why."""

    id: RequestId
    to: NodeId | Refusal


class Changing(NamedTuple):
    """The change stands in the log. It is done when the first configuration at or after `at` that is not joint is committed."""

    id: RequestId
    at: LogId


class ChangeRefused(NamedTuple):
    """The change was not taken, and certainly never will be."""

    id: RequestId
    why: ChangeError


class Closed(NamedTuple):
    """`Close` is done; the core does nothing more."""


Reply: TypeAlias = Proposed | Forwarded | Refused | ReadReady | Transferred | Changing | ChangeRefused | Closed
"""The answer to a request of the local user."""


class Changed(NamedTuple):
    """Role, term or leader changed."""

    role: Role
    term: Term
    leader: NodeId | None


class Configured(NamedTuple):
    """A configuration took effect, or fell back; `index` is that of its entry."""

    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    configuration: Configuration


class WipedMember(NamedTuple):
    """A member runs on another data directory (`found`) than the one that the cluster knows (`expected`): it is not counted."""

    id: NodeId
    expected: Incarnation
    found: Incarnation


class StorageStalled(NamedTuple):
    """Storage has not answered for too long, or answers again."""

    stalled: bool


class StaleSnapshot(NamedTuple):
    """A received snapshot was older than what is here."""

    last: LogId


class NotCatchingUp(NamedTuple):
    """A learner is too slow to be promoted; it is tried again after a while."""

    id: NodeId


class Removed(NamedTuple):
    """This node is no member any more: the newest configuration, which is committed, does not hold it."""


Event: TypeAlias = Changed | Configured | WipedMember | StorageStalled | StaleSnapshot | NotCatchingUp | Removed
"""Something worth knowing."""

Effect: TypeAlias = Persist | Fetch | Send | Apply | Restore | PurgeLog | SendSnapshot | Reply | Event
"""One thing to do."""
