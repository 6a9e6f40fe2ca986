"""Terms, and where a message goes (section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from d_engine.pure import configuration
from d_engine.pure.effect import WipedMember
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
from d_engine.pure.types import LogId, NodeId, Term

from . import election, follower, leader, membership, proposals, reads, replication, transfer

if TYPE_CHECKING:
    from . import Core


def receive_from_peer(core: Core, message: Message) -> None:
    """Takes a message from another member. Garbage is as good as lost."""
    if message.sender != core.id and plausible(message):
        receive(core, message)


def receive(core: Core, message: Message) -> None:
    """Takes a message from whomever."""
    if message.to != core.id or not _admits(core, message):
        return None
    sender, _, _, term, body = message
    kind = type(body)
    # Requests on behalf of a member's user, and their answers, carry facts that no term makes untrue; a pre-vote asks about a term that nobody
    # has entered.
    termless = _TERMLESS.get(kind)
    if termless is not None:
        return termless(core, message, body)
    if isinstance(body, PreVoteReply) and body.granted:
        return election.pre_vote_granted(core, sender, term, message.incarnation)
    if isinstance(body, Vote) and not body.transfer and term > core.term and election.withholds_vote(core, sender):
        return None
    if term < core.term:
        return _answer_stale(core, sender, body)
    if term > core.term:
        enter_term(core, term, None)
    return _OF_TERM[kind](core, message, body)


def _admits(core: Core, message: Message) -> bool:
    """Whether the sender is who the cluster knows under its number: a wiped disk may have forgotten a vote."""
    member = core.configurations.members.get(message.sender)
    if member is None or member.incarnation is None or member.incarnation == message.incarnation:
        return True
    if core.wiped.get(message.sender) != message.incarnation:
        core.wiped[message.sender] = message.incarnation
        core.event(WipedMember(message.sender, member.incarnation, message.incarnation))
    return False


def _answer_stale(core: Core, sender: NodeId, body: Body) -> None:
    """An old term's leader or candidate learns of the new one; everything else of an old term is void."""
    if isinstance(body, Append):
        core.send(sender, Rejected(body.prev.index, core.log.agreement(body.prev)))
    elif isinstance(body, Heartbeat):
        follower.answer_heartbeat(core, sender, body.round)
    elif isinstance(body, Vote):
        core.send(sender, VoteReply(granted=False))


def enter_term(core: Core, term: Term, vote: NodeId | None) -> None:
    """A newer term: whatever this node was, it follows now."""
    core.term = term
    core.vote = vote
    core.hard_state_changed()
    become_follower(core, None)


def become_follower(core: Core, known: NodeId | None) -> None:
    """Gives up whatever role this node has; `known` leads, as far as it knows."""
    role, leadership = core.role, core.leadership
    core.role = "follower"
    core.leader = known
    core.leadership = None
    if leadership is not None:
        leader.abdicated(core, leadership)
    if role != "follower":
        core.votes = {}
        election.reset_election_timer(core)


def _follow(core: Core, known: NodeId) -> bool:
    """The sender leads this term. `False`: this node does, so the message is a lie."""
    if core.role != "follower" or core.leader != known:
        if core.role == "leader":
            return False
        become_follower(core, known)
        transfer.transfer_ended(core, known)
    core.heard = (known, core.now)
    election.reset_election_timer(core)
    return True


def _append(core: Core, message: Message, body: Append) -> None:
    if _follow(core, message.sender):
        follower.append(core, message.sender, body.prev, body.commit, body.entries)


def _heartbeat(core: Core, message: Message, body: Heartbeat) -> None:
    if _follow(core, message.sender):
        follower.heartbeat(core, message.sender, body.round, body.commit)


def _snapshot_reply(core: Core, message: Message, body: SnapshotReply) -> None:
    replication.append_accepted(core, message.sender, body.matched)


_Take = Callable[["Core", Message, Any], None]

_TERMLESS: Final[dict[type[Body], _Take]] = {
    ForwardedPropose: lambda core, message, body: proposals.remote_propose(core, message.sender, body.id, body.entries),
    ProposeReply: lambda core, _, body: proposals.propose_replied(core, body.id, body.result),
    ReadIndex: lambda core, message, body: reads.remote_read(core, message.sender, body.id, lease=body.lease),
    ReadIndexReply: lambda core, _, body: reads.read_replied(core, body.id, body.result),
    ForwardedChange: lambda core, message, body: membership.remote_change(core, message.sender, body.id, body.changes),
    ChangeReply: lambda core, _, body: membership.change_replied(core, body.id, body.result),
    PreVote: lambda core, message, body: election.pre_vote_asked(core, message.sender, message.term, body.last),
}
_OF_TERM: Final[dict[type[Body], _Take]] = {
    Vote: lambda core, message, body: election.vote_asked(core, message.sender, body.last, transfer=body.transfer),
    VoteReply: lambda core, message, body: election.vote_replied(core, message, granted=body.granted),
    # A refused one, whose term has been looked at.
    PreVoteReply: lambda core, message, _: election.pre_vote_refused(core, message.sender),
    Append: _append,
    Accepted: lambda core, message, body: replication.append_accepted(core, message.sender, body.matched),
    Rejected: lambda core, message, body: replication.append_rejected(core, message.sender, body.prev, body.hint),
    Heartbeat: _heartbeat,
    HeartbeatReply: lambda core, message, body: leader.heartbeat_replied(core, message.sender, body),
    SnapshotReply: _snapshot_reply,
    TimeoutNow: lambda core, message, body: transfer.timeout_now(core, message.sender, body.target),
}


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
    for entry in entries:
        index, term, kind, *_ = entry
        if index != before + 1 or not before_term <= term <= leader_term:
            return False
        if kind == "configuration" and not _readable(entry.data):
            return False
        before_term, before = term, index
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
