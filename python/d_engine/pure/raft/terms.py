"""Terms, and who counts (section 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.configuration import Member
from d_engine.pure.effect import WipedMember
from d_engine.pure.message import Append, Body, Heartbeat, Message, PreVoteReply, Rejected, Vote, VoteReply
from d_engine.pure.types import NodeId, Term

from . import election, follower, leader, membership, transfer

if TYPE_CHECKING:
    from . import Core


def settle_term(core: Core, message: Message, body: Body) -> bool:
    """A message of another term: a newer one is entered, an older one answered. Says whether the message counts."""
    if isinstance(body, PreVoteReply) and body.granted:
        return True
    if (
        isinstance(body, Vote)
        and not body.transfer
        and message.term > core.term
        and election.withholds_vote(core, message.sender)
    ):
        return False
    if message.term < core.term:
        _answer_stale(core, message.sender, body)
        return False
    enter_term(core, message.term, None)
    return True


def admits(core: Core, message: Message, member: Member) -> bool:
    """Whether the sender, which is not on the recorded data directory, counts: a wiped disk may have forgotten a vote. Where none is recorded yet, a
    leader records it now. A leader was elected by those who know it, so what it says counts: this node may not have heard yet that it was
    admitted anew, and hears it from nobody else."""
    if member.incarnation is None:
        membership.record_incarnation(core, message)
        return True
    if isinstance(message.body, Append | Heartbeat):
        return True
    if core.wiped.get(message.sender) != message.incarnation:
        core.wiped[message.sender] = message.incarnation
        core.event(WipedMember(message.sender, member.incarnation, message.incarnation))
    return False


def is_somebody_else(core: Core, message: Message) -> bool:
    """A leader tells a member that has left what it has to know of that; who answers on another data directory is not that member."""
    told = core.leadership.followers.get(message.sender) if core.leadership is not None else None
    return (
        told is not None
        and told.known is not None
        and told.known != message.incarnation
        and not isinstance(message.body, Append | Heartbeat)
    )


def _answer_stale(core: Core, sender: NodeId, body: Body) -> None:
    """An old term's leader or candidate learns of the new one; everything else of an old term is void."""
    if isinstance(body, Append):
        core.send(sender, Rejected(body.prev.index, core.log.agreement(body.prev)))
    elif isinstance(body, Heartbeat):
        # It tells of the term and confirms nothing: late enough, it would meet a new leadership of that node, whose rounds begin anew.
        follower.answer_heartbeat(core, sender, 0)
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


def follow(core: Core, known: NodeId) -> bool:
    """The sender leads this term. `False`: this node does, so the message is a lie."""
    if core.role != "follower" or core.leader != known:
        if core.role == "leader":
            return False
        become_follower(core, known)
        transfer.transfer_ended(core, known)
    core.heard = (known, core.now)
    election.reset_election_timer(core)
    return True
