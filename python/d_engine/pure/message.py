"""What members say to each other. The cluster, the recovery epoch and the group stand on the frame that carries a message."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from .change import Change, ChangeError
from .entry import Draft, Entry
from .types import Incarnation, Index, LogId, NodeId, RequestId, Term

__all__ = [
    "REFUSALS",
    "Accepted",
    "Append",
    "Body",
    "ChangeReply",
    "ForwardedChange",
    "ForwardedPropose",
    "Heartbeat",
    "HeartbeatReply",
    "Message",
    "PreVote",
    "PreVoteReply",
    "ProposeReply",
    "ReadIndex",
    "ReadIndexReply",
    "Refusal",
    "Rejected",
    "SnapshotReply",
    "TimeoutNow",
    "Vote",
    "VoteReply",
]

Refusal: TypeAlias = Literal[
    "not_leader",
    "transferring",
    "overloaded",
    "storage_stalled",
    "apply_stopped",
    "no_successor",
    "closing",
    "unknown_member",
    "not_a_voter",
    "too_far_behind",
]
"""Why a leader did not take a request. Certain: it did not and will not happen."""
REFUSALS: dict[Refusal, str] = {
    "not_leader": "not the leader",
    "transferring": "leadership is being transferred",
    "overloaded": "too many uncommitted bytes",
    "storage_stalled": "the leader's storage is stalled",
    "apply_stopped": "the leader's state machine has stopped",
    "no_successor": "no voter can take over",
    "closing": "the node is closing",
    "unknown_member": "that node is no member",
    "not_a_voter": "that member is no voter that could lead",
    "too_far_behind": "that member is too far behind",
}
"""In words."""


class PreVote(NamedTuple):
    """Would you vote for me in `term`? (thesis 9.6) `last` is the end of the sender's log."""

    last: LogId


class PreVoteReply(NamedTuple):
    """The answer, in the term that was asked for if granted, else in the answerer's own."""

    granted: bool


class Vote(NamedTuple):
    """Vote for me (section 5.2). `transfer`: the old leader asked for this election (thesis 3.10), so do not withhold the vote."""

    last: LogId
    transfer: bool


class VoteReply(NamedTuple):
    """The answer."""

    granted: bool


class Append(NamedTuple):
    """Entries, contiguous, that follow `prev` (section 5.3), with the leader's commit index."""

    prev: LogId
    commit: Index
    entries: tuple[Entry, ...]


class Accepted(NamedTuple):
    """The answer to an append: I hold, durably, your log up to `matched`, which is never beyond the append that is answered."""

    matched: Index


class Rejected(NamedTuple):
    """The answer to an append: I do not hold what stands at `prev`.

    `hint` is the newest entry at or before it whose term is not beyond the leader's there: skips a whole term at once.
    """

    prev: Index
    hint: LogId


class Heartbeat(NamedTuple):
    """I lead. Answered without waiting for any disk.

    `round` counts up in a term, and confirms reads and the lease; 0 only tells the commit index and wants no answer. `commit` is never
    beyond what the leader knows the receiver to hold.
    """

    round: int
    commit: Index


class HeartbeatReply(NamedTuple):
    """The answer.

    `last` is the end of the sender's log, durable or not: shows the leader that appends were lost, and proves nothing. `apply_stopped`:
    the sender's state machine has stopped on an error (it is no transfer target).
    """

    round: int
    last: Index
    apply_stopped: bool


class SnapshotReply(NamedTuple):
    """The receiver's state now begins with the leader's snapshot (or already held what it covers): it holds a durable prefix of the
    leader's log up to `matched`."""

    matched: Index


class TimeoutNow(NamedTuple):
    """Campaign now (thesis 3.10). `target` is the data directory that it is meant for."""

    target: Incarnation


class ForwardedPropose(NamedTuple):
    """Entries for the leader to append on a follower's behalf, and the follower's number for them."""

    id: RequestId
    entries: Draft


class ProposeReply(NamedTuple):
    """What became of them: where the first stands and in which term, or why they were not taken."""

    id: RequestId
    result: LogId | Refusal


class ReadIndex(NamedTuple):
    """The request for the commit index that a read must wait for (thesis 6.4).

    `id` is unique with sender and incarnation, and new on every retry. `lease`: the leader may answer by its lease.
    """

    id: RequestId
    lease: bool


class ReadIndexReply(NamedTuple):
    """The answer: the index to wait for, or why there is none."""

    id: RequestId
    result: Index | Refusal


class ForwardedChange(NamedTuple):
    """A membership change for the leader to begin on a follower's behalf, and the follower's number for it."""

    id: RequestId
    changes: tuple[Change, ...]


class ChangeReply(NamedTuple):
    """What became of it: where its first configuration stands and in which term, or why it was not taken."""

    id: RequestId
    result: LogId | ChangeError


Body: TypeAlias = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | Accepted
    | Rejected
    | Heartbeat
    | HeartbeatReply
    | SnapshotReply
    | TimeoutNow
    | ForwardedPropose
    | ProposeReply
    | ReadIndex
    | ReadIndexReply
    | ForwardedChange
    | ChangeReply
)
"""What a message says."""


class Message(NamedTuple):
    """One message between two members.

    `incarnation` is the data directory that the sender runs on; the receiver compares it with its own configuration. `term` is the
    sender's when the message was made (in a pre-vote: the term it would campaign in); 0 for requests on behalf of a user and their
    answers: they belong to no term and do not wait for one to be durable.
    """

    sender: NodeId
    incarnation: Incarnation
    to: NodeId
    term: Term
    body: Body
