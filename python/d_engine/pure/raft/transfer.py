"""Giving leadership away with TimeoutNow (thesis 3.10): on request, at close, when the disk stalls, when apply has stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.effect import Closed, StorageStalled, Transferred
from d_engine.pure.input import Close, PersistFailed, Transfer
from d_engine.pure.message import Message, Refusal, TimeoutNow
from d_engine.pure.types import Micros, NodeId, RequestId

from . import election, terms

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
    request = given.id
    why: Refusal
    if core.role != "leader":
        why = "not_leader"
    elif core.transfer is not None:
        why = "transferring"
    else:
        found = _successor(core, given.to)
        if found is not None:
            return _begin_transfer(core, found, request)
        why = "no_successor"
    return core.reply(Transferred(request, why))


def _successor(core: Core, only: NodeId | None) -> NodeId | None:
    """The most caught-up voter that could lead; `only`: that one, if it could."""
    if core.leadership is None:
        return None
    silent = core.now - core.settings.election_timeout[1]
    best: tuple[NodeId, int] | None = None
    for node, follower in core.leadership.followers.items():
        member = core.configurations.members.get(node)
        if (
            (only is None or only == node)
            and not follower.apply_stopped
            and follower.heard is not None
            and follower.heard > silent
            and member is not None
            and member.role == "voter"
            and member.incarnation is not None
            # Of equals the lowest number.
            and (best is None or follower.matched > best[1])
        ):
            best = (node, follower.matched)
    return best[0] if best is not None else None


def _begin_transfer(core: Core, to: NodeId, asked: RequestId | None) -> None:
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


def timeout_now(core: Core, message: Message, body: TimeoutNow) -> None:
    """Meant for the data directory that the leader knows, and only from the leader that this node follows."""
    if body.target == core.incarnation and core.leader == message.sender and election.may_campaign(core):
        election.campaign(core, transfer=True)


def check_transfer_deadline(core: Core) -> None:
    """A transfer that takes too long is given up."""
    if core.transfer is None or core.now < core.transfer.deadline:
        return
    _end_transfer(core, "no_successor")
    if core.role == "leader" and core.storage_stalled:
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
    to = _successor(core, None)
    if to is not None:
        _begin_transfer(core, to, None)


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
