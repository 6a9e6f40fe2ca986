"""Changes of the membership (section 6, thesis 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.change import Change, ChangeError
from d_engine.pure.effect import ChangeRefused, Changing
from d_engine.pure.types import LogId, NodeId, RequestId

if TYPE_CHECKING:
    from . import Core


def change_members(core: Core, request: RequestId, changes: tuple[Change, ...]) -> None:
    """The local user's change."""
    _ = changes
    core.reply(ChangeRefused(request, ChangeError("not_ready")))


def remote_change(core: Core, sender: NodeId, request: RequestId, changes: tuple[Change, ...]) -> None:
    """A follower's user's change."""
    _ = core, sender, request, changes


def change_replied(core: Core, request: RequestId, result: LogId | ChangeError) -> None:
    """What the leader made of it."""
    if isinstance(result, LogId):
        core.reply(Changing(request, result))
    else:
        core.reply(ChangeRefused(request, result))
