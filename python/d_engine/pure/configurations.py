"""The configurations of the log, newest last, so that a truncated one falls back to the one before (canonical/raft #354)."""

from __future__ import annotations

from collections.abc import Iterable

from .configuration import NOBODY, Configuration, Member
from .types import Index, NodeId

__all__ = ["Configurations"]


class Configurations:
    """All configurations that may still be in force. The newest one is, committed or not (section 6)."""

    __slots__ = ("current", "index", "members", "outgoing", "stack", "voters")

    current: Configuration
    """The one in force."""
    index: Index
    """The index of its entry."""
    members: dict[NodeId, Member]
    """Its members by number."""
    voters: tuple[NodeId, ...]
    """The voters of the incoming half, ascending."""
    outgoing: tuple[NodeId, ...]
    """The voters of the outgoing half, ascending."""

    def __init__(self, found: Iterable[tuple[Index, Configuration]]) -> None:
        """As found in snapshot and log, ascending."""
        self.stack = list(found) or [(0, NOBODY)]
        self._changed()

    def in_force(self) -> list[Configuration]:
        """All that may still be in force: the newest one that is committed, and those after it."""
        return [configuration for _, configuration in self.stack]

    def push(self, index: Index, configuration: Configuration) -> None:
        """A configuration entry was appended."""
        self.stack.append((index, configuration))
        self._changed()

    def truncate(self, start: Index) -> bool:
        """Entries from `start` on are gone. Says whether another configuration is in force now."""
        before = len(self.stack)
        while len(self.stack) > 1 and self.stack[-1][0] >= start:
            self.stack.pop()
        self._changed()
        return len(self.stack) != before

    def reset(self, index: Index, configuration: Configuration) -> None:
        """A snapshot replaces the log."""
        self.stack = [(index, configuration)]
        self._changed()

    def committed(self, commit: Index) -> None:
        """What is committed can no longer fall back."""
        while len(self.stack) > 1 and self.stack[1][0] <= commit:
            del self.stack[0]

    def _changed(self) -> None:
        self.index, self.current = self.stack[-1]
        self.members = {member.id: member for member in self.current.members}
        self.voters = self.current.voters()
        self.outgoing = self.current.outgoing
