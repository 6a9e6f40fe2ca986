"""Replication: probe, replicate, snapshot (section 5.3, thesis 10.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from d_engine.pure.effect import Fetch, SendSnapshot
from d_engine.pure.entry import Entry, size
from d_engine.pure.input import Fetched, Unreachable
from d_engine.pure.message import Accepted, Append, Message, Rejected, SnapshotReply
from d_engine.pure.progress import Progress
from d_engine.pure.types import FetchId, Index, LogId, NodeId

from . import apply, leader

if TYPE_CHECKING:
    from . import Core
    from .leader import Leadership

FetchFor: TypeAlias = NodeId
"""What a log read was for: a follower's number, or `APPLY`."""
APPLY: Final[FetchFor] = 0
"""For the local state machine."""


def replicate_all(core: Core, leadership: Leadership) -> None:
    """Sends every follower what its window has room for, and the commit index to those who wait for it."""
    last, awaited = core.log.last, False
    for node, follower in leadership.followers.items():
        if follower.next <= last or follower.flow != "replicate":
            while _replicate(core, node, follower):
                pass
        awaited = awaited or follower.awaited > follower.commit_told
    if awaited:
        leader.tell_commit(core, leadership, _is_awaited)


def _is_awaited(follower: Progress) -> bool:
    return follower.awaited > follower.commit_told


def _replicate(core: Core, node: NodeId, follower: Progress) -> bool:
    """Sends one append if there is one to send; says whether another may follow."""
    if not follower.ready(core.window):
        return False
    log, next_ = core.log, follower.next
    if next_ > log.last:
        # Nothing new: only a probe asks whether the logs match so far.
        return follower.flow == "probe" and send_append(core, node, follower, next_ - 1, (), 0)
    found = log.slice(next_, log.last, core.settings.max_append_bytes)
    if isinstance(found, tuple):
        return send_append(core, node, follower, next_ - 1, *found)
    if isinstance(found, int):
        # On disk. One read a follower, even if what it was for has changed: a disk that hangs must not collect wishes.
        if node not in core.fetches.values():
            follower.fetch = fetch(core, node, next_, found, core.settings.max_append_bytes)
    elif follower.heard is not None and follower.leaving is None and core.snapshot is not None:
        # Purged. A whole snapshot is worth sending only to somebody who is there and stays.
        follower.needs_snapshot()
        core.rest.append(SendSnapshot(node, log.purged.index))
    return False


def send_append(
    core: Core, node: NodeId, follower: Progress, prev: Index, entries: tuple[Entry, ...], bytes_: int
) -> bool:
    """Sends that follower what stands behind `prev`, so many bytes of it; `False`: what stands there is purged."""
    term = core.log.term(prev)
    if term is None:
        return False
    last = prev + len(entries)
    follower.sent(last, bytes_)
    told = min(core.commit, last)
    follower.commit_told = max(follower.commit_told, told)
    core.send(node, Append(LogId(term, prev), core.commit, entries))
    return True


def append_accepted(core: Core, message: Message, body: Accepted | SnapshotReply) -> None:
    """That follower holds the log, durably, up to `matched`."""
    leadership = core.leadership
    follower = leadership.followers.get(message.sender) if leadership is not None else None
    if leadership is None or follower is None:
        return
    follower.heard = core.now
    # Beyond our log: not an answer to anything we sent.
    if body.matched <= core.log.last and follower.accepted(body.matched):
        leadership.held_more = True


def append_rejected(core: Core, message: Message, body: Rejected) -> None:
    """That follower does not hold what stands at `prev`."""
    follower = core.leadership.followers.get(message.sender) if core.leadership is not None else None
    if follower is not None:
        follower.heard = core.now
        # The newest of our entries with a term not beyond theirs: one round skips a whole term of ours too.
        retry = min(core.log.agreement(body.hint).index, body.hint.index)
        follower.rejected(body.prev, retry)


def unreachable(core: Core, given: Unreachable) -> None:
    """The transport has lost that member."""
    follower = core.leadership.followers.get(given.node) if core.leadership is not None else None
    if follower is not None:
        follower.lost()


def fetch(core: Core, purpose: FetchFor, lo: Index, hi: Index, max_bytes: int) -> FetchId:
    """Asks for entries that are not in memory."""
    number = core.next_fetch
    core.next_fetch = number + 1
    core.fetches[number] = purpose
    core.rest.append(Fetch(number, lo, hi, max_bytes))
    return number


def fetched(core: Core, given: Fetched) -> None:
    """Storage has read what was asked for; `None`: it is purged meanwhile."""
    number, entries = given.id, given.entries
    purpose = core.fetches.pop(number, None)
    if purpose is None:
        return None
    if purpose == APPLY:
        return apply.apply_fetched(core, entries or ())
    follower = core.leadership.followers.get(purpose) if core.leadership is not None else None
    # What was asked for on behalf of an earlier probe is of no use any more.
    if follower is None or follower.fetch != number:
        return None
    follower.fetch = None
    # Of what is purged meanwhile, `replicate` will see that it is.
    if entries and entries[0].index == follower.next:
        send_append(core, purpose, follower, follower.next - 1, entries, sum(map(size, entries)))
    return None


def forget_fetches(core: Core, *, for_apply: bool) -> None:
    """What was asked for on behalf of the state machine, or of the followers, is not wanted any more."""
    core.fetches = {number: purpose for number, purpose in core.fetches.items() if (purpose == APPLY) is not for_apply}
