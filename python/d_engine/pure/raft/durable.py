"""What a completed token sets free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.effect import Send
from d_engine.pure.input import Persisted

from . import transfer
from .receive import receive

if TYPE_CHECKING:
    from . import Core


def persisted(core: Core, given: Persisted) -> None:
    """All persist effects up to that one are on disk."""
    durability, leadership = core.durability, core.leadership
    upto = durability.persisted(given.token)
    if upto is not None:
        core.log.made_durable(upto)
        if leadership is not None:
            leadership.held_more = True
    transfer.check_stall(core)
    if not durability.withheld:
        return
    for message in durability.release(given.token):
        if message.term < core.term:
            # Made in a term that has passed: nobody may count it.
            continue
        if message.to == core.id:
            receive(core, message)
        else:
            core.sends.append(Send(message))
