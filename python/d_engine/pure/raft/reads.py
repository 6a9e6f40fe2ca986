"""Linearizable reads on the leader and, through it, on followers (thesis 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.effect import ReadReady
from d_engine.pure.input import Read
from d_engine.pure.message import Message, ReadIndex, ReadIndexReply, Refusal
from d_engine.pure.reads import Asker
from d_engine.pure.types import Index, RequestId

from . import election, leader

if TYPE_CHECKING:
    from . import Core
    from .leader import Leadership


def read(core: Core, given: Read) -> None:
    """The local user's read."""
    if core.leadership is not None:
        _ask_read(core, (core.id, given.id), lease=given.lease)
    elif core.leader is not None and not core.closing:
        core.send_plain(core.leader, ReadIndex(given.id, given.lease))
    else:
        core.refuse(given.id, "closing" if core.closing else "not_leader")


def remote_read(core: Core, message: Message, body: ReadIndex) -> None:
    """A follower's user's read."""
    _ask_read(core, (message.sender, body.id), lease=body.lease)


def reply_came(core: Core, _: Message, body: ReadIndexReply) -> None:
    """What the leader answers to a read that was passed on."""
    _answer(core, body.id, body.result)


def _answer(core: Core, request: RequestId, result: Index | Refusal) -> None:
    if isinstance(result, str):
        core.refuse(request, result)
    else:
        core.reply(ReadReady(request, result))


def _ask_read(core: Core, asker: Asker, *, lease: bool) -> None:
    if lease and _lease_holds(core):
        answer_read(core, asker, core.commit)
    elif core.leadership is None:
        answer_read(core, asker, "not_leader")
    elif not core.leadership.reads.ask(asker):
        answer_read(core, asker, "overloaded")


def _lease_holds(core: Core) -> bool:
    """Whether nobody else can have been elected yet, and this leader knows what is committed (thesis 6.4.1). A lease that may have run out is none:
    the read joins a round."""
    until = election.lease_until(core)
    return (
        core.leadership is not None and core.commit >= core.leadership.first and until is not None and core.now < until
    )


def start_read_round(core: Core, leadership: Leadership) -> None:
    """Starts a round for the reads that wait, unless one is under way: they go with the next. Never before the term's first commit, since until
    then the commit index may lag behind what earlier leaders acknowledged."""
    if core.commit >= leadership.first and leadership.reads.want_round():
        leader.start_round(core, leadership)


def answer_read(core: Core, asker: Asker, result: Index | Refusal) -> None:
    """To whoever asked."""
    node, request = asker
    if node == core.id:
        return _answer(core, request, result)
    follower = core.leadership.followers.get(node) if core.leadership is not None else None
    if follower is not None and isinstance(result, int):
        follower.awaited = max(follower.awaited, result)
    core.send_plain(node, ReadIndexReply(request, result))
    return None
