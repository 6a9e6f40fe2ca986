"""What a follower does with a leader's messages (section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure.message import Accepted, Append, Heartbeat, HeartbeatReply, Message, Rejected
from d_engine.pure.types import Index, NodeId

from . import leader, membership, terms

if TYPE_CHECKING:
    from . import Core


def append(core: Core, message: Message, body: Append) -> None:
    """AppendEntries: takes what is new, if what stands before it is here."""
    sender, log = message.sender, core.log
    if not terms.follow(core, sender) or _overfull(core):
        return
    prev, commit, entries = body
    end = prev.index + len(entries)
    # What is committed here stands in every later leader's log (section 5.4.3): it cannot conflict, need not be looked at (it may be purged), and
    # is never cut.
    settled = core.commit - prev.index
    if settled > 0:
        entries = entries[settled:]
    elif not log.holds(prev.index, prev.term):
        core.send(sender, Rejected(prev.index, log.agreement(prev)))
        return
    if entries and entries[0].index <= log.last:
        known = 0
        for entry in entries:
            if not log.holds(entry.index, entry.term):
                break
            known += 1
        entries = entries[known:]
    if entries:
        # Only a real conflict cuts the log: a late or shorter append must not (CCF #5991).
        if entries[0].index <= log.last:
            _truncate(core, entries[0].index)
        leader.take_entries(core, entries)
    if commit > core.commit:
        _learn_commit(core, min(commit, end))
    # Never beyond what this append has shown to match (CCF #6001).
    accept(core, sender, end)


def heartbeat(core: Core, message: Message, body: Heartbeat) -> None:
    """The leader leads, and tells its commit index."""
    if terms.follow(core, message.sender):
        _learn_commit(core, body.commit)
        if body.round > 0:
            answer_heartbeat(core, message.sender, body.round)


def answer_heartbeat(core: Core, sender: NodeId, round_: int) -> None:
    """Without waiting for any disk but that of the term."""
    core.send(sender, HeartbeatReply(round_, core.log.last, core.apply_stopped))


def accept(core: Core, sender: NodeId, matched: Index) -> None:
    """Acknowledges a matching prefix as soon as it is on disk."""
    core.send_after(sender, Accepted(matched), core.durability.token_for(matched, core.log.durable))


def _learn_commit(core: Core, commit: Index) -> None:
    commit = min(commit, core.log.last)
    if commit > core.commit:
        core.commit = commit
        core.configurations.committed(commit)


def _truncate(core: Core, start: Index) -> None:
    core.log.truncate(start)
    core.durability.stage_truncation(start)
    if core.configurations.truncate(start):
        membership.configured(core)


def _overfull(core: Core) -> bool:
    """The disk does not keep up with the leader's window: lost messages are its back-pressure."""
    settings = core.settings
    return core.log.volatile_bytes > 2 * max(settings.max_inflight_bytes, settings.max_append_bytes)
