"""What a completed token sets free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.types import Token

from . import terms, transfer

if TYPE_CHECKING:
    from . import Core


def persisted(core: Core, token: Token) -> None:
    """All persist effects up to that one are on disk."""
    upto = core.durability.persisted(token)
    if upto is not None:
        core.log.made_durable(upto)
    transfer.check_stall(core)
    for message in core.durability.release(token):
        if message.term < core.term:
            # Made in a term that has passed: nobody may count it.
            continue
        if message.to == core.id:
            terms.receive(core, message)
        else:
            core.sends.append(message)
