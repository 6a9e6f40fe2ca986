"""Giving leadership away with TimeoutNow (thesis 3.10): on request, at close, when the disk stalls, when apply has stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.configuration import Member
from d_engine.pure.effect import Closed, StorageStalled, Transferred
from d_engine.pure.input import Close, PersistFailed, Transfer
from d_engine.pure.message import Message, Refusal, TimeoutNow
from d_engine.pure.progress import Progress
from d_engine.pure.types import Index, Micros, NodeId, RequestId

from . import election, membership, terms

if TYPE_CHECKING:
    from . import Core
    from .leader import Leadership


class Handover:
    """A transfer under way: `sent` once `TimeoutNow` has left; `asked` is the request of the local user that waits for a `Transferred`."""

    __slots__ = ("asked", "deadline", "sent", "to")

    def __init__(self, to: NodeId, deadline: Micros, asked: RequestId | None) -> None:
        self.to = to
        self.deadline = deadline
        self.sent = False
        self.asked = asked


def ask_transfer(core: Core, given: Transfer) -> None:
    """The local user wants another leader."""
    found = _choose_successor(core, given.to)
    if isinstance(found, str) or found == core.id:
        core.reply(Transferred(given.id, found))
    else:
        begin_transfer(core, found, given.id)


def _choose_successor(core: Core, to: NodeId | None) -> NodeId | Refusal:
    """Who is asked for, or who suits best."""
    if core.leadership is None:
        return "not_leader"
    if core.transfer is not None:
        return "transferring"
    if to is not None:
        return _check_successor(core, core.leadership, to) or to
    found = successor(core)
    return "no_successor" if found is None else found


def _check_successor(core: Core, leadership: Leadership, to: NodeId) -> Refusal | None:
    """Whether that node could take over soon; if not, why."""
    member = core.configurations.members.get(to)
    if member is None:
        return "unknown_member"
    if not _may_succeed(member):
        return "not_a_voter"
    follower = leadership.followers.get(to)
    if to == core.id or (follower is not None and _is_able(core, leadership, follower) and follower.flow != "snapshot"):
        return None
    return "too_far_behind"


def _may_succeed(member: Member) -> bool:
    """Whether that member is a voter that could lead and is known."""
    return member.votes() and member.role == "voter" and member.incarnation is not None


def _is_able(core: Core, leadership: Leadership, follower: Progress) -> bool:
    """It is there, as far as a leader of this age can know, and its state machine works."""
    heard = leadership.since if follower.heard is None else follower.heard
    return not follower.apply_stopped and heard + core.settings.election_timeout[1] > core.now


def successor(core: Core) -> NodeId | None:
    """Among voters that could lead: of those that hold what is committed the preferred one, else the most caught-up; of equals the lowest number."""
    if core.leadership is None:
        return None
    suits: list[tuple[bool, int, Index, NodeId]] = []
    for node, follower in core.leadership.followers.items():
        member = core.configurations.members.get(node)
        if member is not None and _may_succeed(member) and _is_able(core, core.leadership, follower):
            holds = follower.matched >= core.commit
            # Preferences of those that lag are all one.
            suits.append((holds, member.priority if holds else 0, follower.matched, -node))
    return -max(suits)[3] if suits else None


def begin_transfer(core: Core, to: NodeId, asked: RequestId | None) -> None:
    """From now on that node is to lead."""
    core.transfer = Handover(to, core.now + core.settings.election_timeout[1], asked)


def advance_transfer(core: Core, leadership: Leadership) -> None:
    """Tells the successor to campaign once it holds everything."""
    transfer = core.transfer
    if transfer is None or transfer.sent:
        return
    follower = leadership.followers.get(transfer.to)
    member = core.configurations.members.get(transfer.to)
    if follower is None or follower.matched != core.log.last or member is None or member.incarnation is None:
        return
    transfer.sent = True
    leadership.handed_over = True
    core.send(transfer.to, TimeoutNow(member.incarnation))
    if membership.has_no_vote(core):
        # It was only to find a successor.
        terms.become_follower(core, None)


def timeout_now(core: Core, message: Message, body: TimeoutNow) -> None:
    """Meant for the data directory that the leader knows, and only from the leader that this node follows."""
    if body.target == core.incarnation and core.leader == message.sender and election.may_campaign(core):
        election.campaign(core, transfer=True)


def check_transfer_deadline(core: Core) -> None:
    """A transfer that takes too long is given up."""
    if core.transfer is None or core.now < core.transfer.deadline:
        return
    _end_transfer(core, "no_successor")
    if core.role == "leader" and (core.storage_stalled or membership.has_no_vote(core)):
        # It cannot lead, and nobody took over: let the others elect whom they can.
        terms.become_follower(core, None)
    if core.closing:
        _finish_close(core)


def transfer_ended(core: Core, known: NodeId) -> None:
    """Another leader is known, or this node leads (again)."""
    if core.transfer is not None:
        _end_transfer(core, known if core.transfer.to == known else "not_leader")


def transfer_abdicated(core: Core) -> None:
    """This node leads no more: a transfer that never asked its target to campaign has failed."""
    if core.transfer is not None and (not core.transfer.sent or core.transfer.asked is None):
        _end_transfer(core, "not_leader")
    if core.closing:
        _finish_close(core)


def _end_transfer(core: Core, to: NodeId | Refusal) -> None:
    transfer, core.transfer = core.transfer, None
    if transfer is not None and transfer.asked is not None:
        core.reply(Transferred(transfer.asked, to))


def retry_handover(core: Core) -> None:
    """A leader that should not lead looks for somebody who can, at every heartbeat."""
    if (core.apply_stopped or core.storage_stalled) and core.transfer is None:
        _hand_over(core)


def _hand_over(core: Core) -> None:
    to = successor(core)
    if to is not None:
        begin_transfer(core, to, None)


def check_stall(core: Core) -> None:
    """Whether the disk has been silent for too long."""
    oldest = core.durability.oldest()
    stalled = oldest is not None and core.now >= oldest + core.settings.storage_stall_timeout
    if stalled == core.storage_stalled:
        return None
    core.storage_stalled = stalled
    core.event(StorageStalled(stalled))
    if not stalled:
        return election.reset_election_timer(core)
    retry_handover(core)
    if core.transfer is None and not core.alone() and core.role == "leader":
        terms.become_follower(core, None)
    return None


def close(core: Core, given: Close) -> None:
    """The node closes: a leader gives leadership away first."""
    handover = given.handover
    core.closing = True
    if handover and core.transfer is None:
        _hand_over(core)
    leaving = core.transfer is not None and core.role == "leader"
    if not (handover and leaving):
        _finish_close(core)


def _finish_close(core: Core) -> None:
    if not core.closed:
        core.closed = True
        core.reply(Closed())


def fail(core: Core, _: PersistFailed) -> None:
    """Storage has failed: nothing that this node could say from now on would be kept, so it falls silent."""
    core.closing = True
    core.closed = True
    terms.become_follower(core, None)
