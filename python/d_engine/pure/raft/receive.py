"""Where a message goes, if a member that keeps the rules could have made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from d_engine.pure import configuration
from d_engine.pure.entry import Entry
from d_engine.pure.message import (
    Accepted,
    Append,
    Body,
    ChangeReply,
    ForwardedChange,
    ForwardedPropose,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ProposeReply,
    ReadIndex,
    ReadIndexReply,
    Rejected,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from d_engine.pure.types import LogId, Term

from . import election, follower, leader, membership, proposals, reads, replication, terms, transfer

if TYPE_CHECKING:
    from . import Core


def receive_from_peer(core: Core, message: Message) -> None:
    """Takes a message from another member. Garbage is as good as lost."""
    if message.sender != core.id and plausible(message):
        receive(core, message)


def receive(core: Core, message: Message) -> None:
    """Takes a message from whomever."""
    if message.to != core.id:
        return
    member = core.configurations.members.get(message.sender)
    if member is None:
        if terms.is_somebody_else(core, message):
            return
    elif member.incarnation != message.incarnation and not terms.admits(core, message, member):
        return
    body = message.body
    kind = type(body)
    if message.term == core.term or kind in _TERMLESS or terms.settle_term(core, message, body):
        _TAKE[kind](core, message, body)


_TAKE: Final[dict[type[Body], Callable[[Core, Message, Any], None]]] = {
    PreVote: election.pre_vote_asked,
    PreVoteReply: election.pre_vote_replied,
    Vote: election.vote_asked,
    VoteReply: election.vote_replied,
    Append: follower.append,
    Accepted: replication.append_accepted,
    Rejected: replication.append_rejected,
    Heartbeat: follower.heartbeat,
    HeartbeatReply: leader.heartbeat_replied,
    SnapshotReply: replication.append_accepted,
    TimeoutNow: transfer.timeout_now,
    ForwardedPropose: proposals.remote_propose,
    ProposeReply: proposals.reply_came,
    ReadIndex: reads.remote_read,
    ReadIndexReply: reads.reply_came,
    ForwardedChange: membership.remote_change,
    ChangeReply: membership.reply_came,
}
# Requests on behalf of a member's user, and their answers, carry facts that no term makes untrue; a pre-vote asks about a term that nobody has
# entered.
_TERMLESS: Final = frozenset(
    {ForwardedPropose, ProposeReply, ReadIndex, ReadIndexReply, ForwardedChange, ChangeReply, PreVote}
)


LIMIT: Final = 1 << 62
"""Beyond what any cluster reaches: what claims more is damaged, and arithmetic below it never overflows."""


def plausible(message: Message) -> bool:
    """Whether a message could have been made by a member that keeps the rules."""
    body = message.body
    check = _PLAUSIBLE.get(type(body))
    return message.term < LIMIT and (check is None or check(message.term, body))


def _place(at: LogId) -> bool:
    return at.index < LIMIT and at.term < LIMIT


def _follow_on(prev: LogId, leader_term: Term, entries: Sequence[Entry]) -> bool:
    """Whether entries follow `prev` without a gap, in terms that do not go back nor beyond their leader's, and memberships among them can be
    read."""
    before_term, before = prev
    for index, term, kind, _, _, _, _, data in entries:
        before += 1
        if index != before or not before_term <= term <= leader_term:
            return False
        if kind == "configuration" and not _readable(data):
            return False
        before_term = term
    return True


def _readable(data: bytes) -> bool:
    try:
        configuration.decode(data)
    except configuration.ConfigurationError:
        return False
    return True


def _plausible_append(term: Term, body: Append) -> bool:
    return _place(body.prev) and body.commit < LIMIT and _follow_on(body.prev, term, body.entries)


def _plausible_reply(_: Term, body: ProposeReply | ChangeReply) -> bool:
    return not isinstance(body.result, LogId) or (body.result.index > 0 and _place(body.result))


def _plausible_read(_: Term, body: ReadIndexReply) -> bool:
    return isinstance(body.result, str) or body.result < LIMIT


_PLAUSIBLE: Final[dict[type[Body], Callable[[Term, Any], bool]]] = {
    PreVote: lambda _, body: _place(body.last),
    Vote: lambda _, body: _place(body.last),
    Append: _plausible_append,
    Accepted: lambda _, body: body.matched < LIMIT,
    Rejected: lambda _, body: body.prev < LIMIT and _place(body.hint),
    Heartbeat: lambda _, body: body.commit < LIMIT,
    HeartbeatReply: lambda _, body: body.last < LIMIT,
    SnapshotReply: lambda _, body: body.matched < LIMIT,
    ProposeReply: _plausible_reply,
    ChangeReply: _plausible_reply,
    ReadIndexReply: _plausible_read,
}
