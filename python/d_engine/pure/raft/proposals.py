"""Proposals, the local user's and those that followers forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.effect import Forwarded, Proposed
from d_engine.pure.entry import HEADER_BYTES, Draft
from d_engine.pure.message import ForwardedPropose, Message, ProposeReply, Refusal
from d_engine.pure.types import LogId, RequestId

from . import leader

if TYPE_CHECKING:
    from . import Core


def propose(core: Core, request: RequestId, draft: Draft) -> None:
    """The local user's batch: taken, forwarded or refused."""
    if core.leadership is not None:
        _answer(core, request, _take_proposal(core, draft))
    elif core.leader is not None and not core.closing:
        # Once: what may have left is never sent again, for it could be applied twice.
        core.send_plain(core.leader, ForwardedPropose(request, draft))
        core.reply(Forwarded(request, core.leader))
    else:
        core.refuse(request, "closing" if core.closing else "not_leader")


def remote_propose(core: Core, message: Message, body: ForwardedPropose) -> None:
    """A follower's user's batch."""
    sender, draft = message.sender, body.entries
    result = _take_proposal(core, draft)
    follower = core.leadership.followers.get(sender) if core.leadership is not None else None
    if follower is not None and isinstance(result, LogId):
        follower.awaited = max(follower.awaited, result.index + len(draft) - 1)
    core.send_plain(sender, ProposeReply(body.id, result))


def reply_came(core: Core, _: Message, body: ProposeReply) -> None:
    """What the leader made of a batch that was forwarded."""
    _answer(core, body.id, body.result)


def _answer(core: Core, request: RequestId, result: LogId | Refusal) -> None:
    if isinstance(result, str):
        core.refuse(request, result)
    else:
        core.reply(Proposed(request, result))


def _take_proposal(core: Core, draft: Draft) -> LogId | Refusal:
    leadership = core.leadership
    if leadership is None:
        return "not_leader"
    if core.closing:
        return "closing"
    if core.storage_stalled:
        return "storage_stalled"
    if core.apply_stopped:
        return "apply_stopped"
    if core.transfer is not None:
        return "transferring"
    waiting = leadership.uncommitted_bytes
    if (
        waiting
        and waiting + sum([HEADER_BYTES + len(each.data) for each in draft]) > core.settings.max_uncommitted_bytes
    ):
        return "overloaded"
    return leader.append_own(core, draft)
