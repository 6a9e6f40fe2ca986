"""Changes of the membership (section 6, thesis 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.change import ChangeError
from d_engine.pure.effect import ChangeRefused, Changing
from d_engine.pure.input import ChangeMembers
from d_engine.pure.message import ChangeReply, ForwardedChange, Message
from d_engine.pure.types import LogId, RequestId

if TYPE_CHECKING:
    from . import Core


def change_members(core: Core, given: ChangeMembers) -> None:
    """The local user's change."""
    core.wall = given.wall
    core.reply(ChangeRefused(given.id, ChangeError("not_ready")))


def remote_change(core: Core, message: Message, body: ForwardedChange) -> None:
    """A follower's user's change."""
    _ = core, message, body


def reply_came(core: Core, _: Message, body: ChangeReply) -> None:
    """What the leader made of a change that was forwarded."""
    _answer(core, body.id, body.result)


def _answer(core: Core, request: RequestId, result: LogId | ChangeError) -> None:
    if isinstance(result, LogId):
        core.reply(Changing(request, result))
    else:
        core.reply(ChangeRefused(request, result))
