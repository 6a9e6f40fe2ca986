"""Changes of the membership: who may ask, what takes effect, what follows (section 6, thesis 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from d_engine.pure import configuration
from d_engine.pure.change import Add, Change, ChangeError, ChangeRefusedError, change
from d_engine.pure.configuration import Configuration
from d_engine.pure.effect import ChangeRefused, Changing, Configured, Forwarded, Removed
from d_engine.pure.entry import Proposal
from d_engine.pure.input import ChangeMembers
from d_engine.pure.message import ChangeReply, ForwardedChange, Message
from d_engine.pure.progress import Leaving, Progress
from d_engine.pure.types import LogId, RequestId

from . import election, leader, promotion, terms, transfer

if TYPE_CHECKING:
    from . import Core
    from .leader import Leadership

FAREWELL: Final = 4
"""Election timeouts for which a node that left is told of it."""


def change_members(core: Core, given: ChangeMembers) -> None:
    """The local user's change: begun, forwarded or refused."""
    core.wall = given.wall
    if core.leadership is not None:
        _answer(core, given.id, _take_change(core, given.changes))
    elif core.leader is not None and not core.closing:
        # Once, as a proposal.
        core.send_plain(core.leader, ForwardedChange(given.id, given.changes))
        core.reply(Forwarded(given.id, core.leader))
    else:
        _answer(core, given.id, ChangeError("closing" if core.closing else "not_leader"))


def remote_change(core: Core, message: Message, body: ForwardedChange) -> None:
    """A follower's user's change."""
    result = _take_change(core, body.changes)
    follower = core.leadership.followers.get(message.sender) if core.leadership is not None else None
    if follower is not None and isinstance(result, LogId):
        follower.awaited = max(follower.awaited, result.index)
    core.send_plain(message.sender, ChangeReply(body.id, result))


def reply_came(core: Core, _: Message, body: ChangeReply) -> None:
    """What the leader made of a change that was forwarded."""
    _answer(core, body.id, body.result)


def _answer(core: Core, request: RequestId, result: LogId | ChangeError) -> None:
    if isinstance(result, LogId):
        core.reply(Changing(request, result))
    else:
        core.reply(ChangeRefused(request, result))


def _take_change(core: Core, changes: tuple[Change, ...]) -> LogId | ChangeError:
    """The first configuration that the changes lead to is appended; the one after it follows by itself."""
    why = check_may_change(core)
    if why is not None:
        return why
    try:
        steps = change(core.configurations.current, [_readmitted(core, one) for one in changes])
    except ChangeRefusedError as error:
        return error.why
    return append_configuration(core, steps[0])


def check_may_change(core: Core) -> ChangeError | None:
    """Why no change may begin now, if so."""
    leadership, configurations = core.leadership, core.configurations
    if leadership is None:
        return ChangeError("not_leader")
    if core.closing:
        return ChangeError("closing")
    if core.storage_stalled:
        return ChangeError("storage_stalled")
    if core.transfer is not None:
        return ChangeError("transferring")
    if core.commit < leadership.first:
        # What an earlier leader began may be committed or not: only the term's own first entry tells (Ongaro 2015).
        return ChangeError("not_ready")
    if configurations.index > core.commit or configurations.outgoing:
        return ChangeError("in_flight", (configurations.index,))
    if leadership.uncommitted_bytes >= core.settings.max_uncommitted_bytes:
        return ChangeError("overloaded")
    return None


def _readmitted(core: Core, one: Change) -> Change:
    """A member whose disk was wiped is named as what it is now, unless the user says otherwise."""
    if isinstance(one, Add) and one.member.incarnation is None and one.member.id in core.configurations.members:
        return Add(one.member._replace(incarnation=core.wiped.get(one.member.id)))
    return one


def append_configuration(core: Core, wanted: Configuration) -> LogId:
    """A configuration takes effect as soon as it stands in the log, not when it is committed or applied (section 6)."""
    return leader.append_own(core, (Proposal("configuration", 0, 0, 0, configuration.encode(wanted)),))


def record_incarnation(core: Core, message: Message) -> None:
    """A member is heard whose data directory no leader has recorded: from now on it is known, and counts."""
    current = core.configurations.current
    if core.leadership is not None and message.term <= core.term:
        recorded = current.record(message.sender, message.incarnation)
        if recorded is not current:
            append_configuration(core, recorded)


def configured(core: Core) -> None:
    """Another configuration is in force."""
    configurations = core.configurations
    known = {
        node: member.incarnation for node, member in configurations.members.items() if member.incarnation is not None
    }
    core.wiped = {node: found for node, found in core.wiped.items() if known.get(node, found) != found}
    core.rank = election.rank_of_priority(core)
    core.belongs = core.belongs or core.id in configurations.members
    if core.leadership is not None:
        _follow_members(core, core.leadership)
    core.event(Configured(configurations.index, configurations.current))


def _follow_members(core: Core, leadership: Leadership) -> None:
    """A leader keeps progress of its members, and for a while of those who were. Progress is of one data directory."""
    configurations, followers = core.configurations, leadership.followers
    until = core.now + FAREWELL * core.settings.election_timeout[1]
    for node, one in followers.items():
        if node not in configurations.members and one.leaving is None:
            one.leaving = Leaving(configurations.index, until)
    for node, member in configurations.members.items():
        if node != core.id:
            follower = followers.get(node)
            if follower is None or follower.known != member.incarnation:
                followers[node] = follower = Progress(core.log.last, member.incarnation)
            follower.leaving = None
    leadership.followers = dict(sorted(followers.items()))
    leadership.promotable = promotion.promotable(configurations.current)
    leadership.held_more = True


def drop_those_who_left(core: Core, leadership: Leadership) -> None:
    """Nobody is told for ever that it has left."""
    followers = leadership.followers
    for node in [node for node, one in followers.items() if one.leaving is not None and core.now >= one.leaving.until]:
        del followers[node]
        leadership.held_more = True


def advance_membership(core: Core) -> None:
    """What follows once the newest configuration is committed: the joint phase ends, and a leader that has no vote any more gives way."""
    if core.configurations.index > core.commit:
        return
    if core.configurations.outgoing:
        append_configuration(core, core.configurations.current.incoming())
    elif has_no_vote(core):
        _step_aside(core)


def has_no_vote(core: Core) -> bool:
    """Whether it is settled that this node does not vote."""
    configurations = core.configurations
    if configurations.index > core.commit:
        return False
    return core.id not in configurations.voters and core.id not in configurations.outgoing


def _step_aside(core: Core) -> None:
    """It has led on until its own removal was committed (thesis 4.2.2)."""
    if core.transfer is None:
        to = transfer.successor(core)
        if to is None:
            terms.become_follower(core, None)
        else:
            transfer.begin_transfer(core, to, None)


def notice_removal(core: Core) -> None:
    """Tells, once, that this node is no member any more: only when that can no longer be undone (CCF #5973)."""
    if core.configurations.index <= core.commit:
        core.belongs = False
        core.event(Removed())
