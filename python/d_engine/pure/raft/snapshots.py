"""Snapshots: what they allow to forget, and what they replace (section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.effect import PurgeLog, Restore, StaleSnapshot
from d_engine.pure.input import Purge, SnapshotReceived, SnapshotSent, SnapshotTaken
from d_engine.pure.message import SnapshotReply
from d_engine.pure.types import LogId

from . import membership, replication, terms

if TYPE_CHECKING:
    from . import Core


def snapshot_taken(core: Core, given: SnapshotTaken) -> None:
    """The node has a snapshot of its own."""
    last = given.last
    if last.index <= core.applying.applied:
        core.snapshot = last if core.snapshot is None else max(core.snapshot, last)


def purge(core: Core, given: Purge) -> None:
    """The log may forget what a snapshot covers."""
    covered = core.snapshot.index if core.snapshot is not None else 0
    upto = min(given.upto, covered, core.applying.applied, core.log.durable)
    if upto > core.log.purged.index:
        core.rest.append(PurgeLog(core.log.purge(upto)))


def snapshot_received(core: Core, given: SnapshotReceived) -> None:
    """InstallSnapshot, once the whole of it is here: it takes the place of the log, unless the log reaches further."""
    sender, last = given.sender, given.last
    if core.role == "leader" and given.term <= core.term:
        return core.event(StaleSnapshot(last))
    if given.term > core.term:
        terms.enter_term(core, given.term, None)
    if last.index <= core.commit:
        # Older than what is here (openraft #543). Tell its sender what it need not send.
        core.event(StaleSnapshot(last))
        _restore_in_place(core, last)
        return core.send(sender, SnapshotReply(min(core.commit, core.log.durable)))
    core.snapshot = last
    if core.log.holds(last.index, last.term):
        # What follows it stays: it may be acknowledged (openraft #753 is the opposite case, below).
        token = core.durability.token_for(last.index, core.log.durable)
        core.commit = last.index
        core.configurations.committed(last.index)
        _restore_in_place(core, last)
    else:
        core.log.reset(last, given.time)
        core.durability.stage_reset(last)
        core.configurations.reset(*given.configuration)
        membership.configured(core)
        core.commit = last.index
        _restore(core, last)
        token = core.durability.next
    return core.send_after(sender, SnapshotReply(last.index), token)


def _restore_in_place(core: Core, last: LogId) -> None:
    """A restore that has not reported may take this snapshot in place of its own: then what lies between is not applied."""
    if not core.applying.settled() and last.index > core.applying.handed:
        _restore(core, last)


def _restore(core: Core, last: LogId) -> None:
    replication.forget_fetches(core, for_apply=True)
    core.applying.restore(last.index)
    core.rest.append(Restore(last))


def snapshot_sent(core: Core, given: SnapshotSent) -> None:
    """Sending a snapshot has ended, well or badly."""
    delivered = given.delivered
    follower = core.leadership.followers.get(given.to) if core.leadership is not None else None
    if follower is not None:
        follower.snapshot_ended(delivered if delivered is not None and delivered <= core.log.last else None)
