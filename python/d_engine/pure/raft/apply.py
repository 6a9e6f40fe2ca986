"""What the state machine gets: committed here, durable here, in order, and never more at once than a bound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from d_engine.pure.effect import Apply
from d_engine.pure.entry import Entry, size
from d_engine.pure.input import ApplyStopped
from d_engine.pure.types import Index

from . import replication, transfer

if TYPE_CHECKING:
    from . import Core


class Applying:
    """Where the state machine is."""

    __slots__ = ("applied", "bytes", "fetching", "handed", "outstanding", "restored")

    def __init__(self, applied: Index) -> None:
        self.handed = applied
        """Given out up to here."""
        self.applied = applied
        """Reported as applied up to here."""
        self.restored: Index = 0
        """The newest snapshot that it was told to take over."""
        self.outstanding: deque[tuple[Index, int]] = deque()
        self.bytes = 0
        self.fetching = False

    def report(self, index: Index) -> None:
        """The state machine has applied everything up to `index`."""
        self.applied = max(self.applied, index)
        outstanding = self.outstanding
        while outstanding and outstanding[0][0] <= index:
            self.bytes -= outstanding.popleft()[1]

    def restore(self, index: Index) -> None:
        """A snapshot takes the place of everything up to `index`."""
        self.handed = self.restored = index
        self.fetching = False

    def settled(self) -> bool:
        """Whether it is known where the state machine will be once it has taken what was given out. A restore takes the newest snapshot, which may
        be one that has come since: until it has reported, nothing can be put behind it (MIT 6.824-2018 #4)."""
        return self.restored <= self.applied <= self.handed

    def hand(self, entries: tuple[Entry, ...], bytes_: int) -> None:
        """They are given out."""
        self.handed = entries[-1].index
        self.outstanding.append((self.handed, bytes_))
        self.bytes += bytes_


def advance_apply(core: Core) -> None:
    """Gives out what may be applied by now."""
    applying, log = core.applying, core.log
    upto = min(core.commit, log.durable)
    while applying.handed < upto and not core.apply_stopped and not applying.fetching and applying.settled():
        room = core.settings.max_applying_bytes - applying.bytes
        if room <= 0:
            return
        first = applying.handed + 1
        found = log.slice(first, upto, room)
        if isinstance(found, tuple):
            entries, bytes_ = found
            applying.hand(entries, bytes_)
            core.rest.append(Apply(entries))
        elif isinstance(found, int):
            applying.fetching = True
            replication.fetch(core, replication.APPLY, first, found, room)
        else:
            # Only what is applied is ever purged.
            return


def apply_fetched(core: Core, entries: tuple[Entry, ...]) -> None:
    """Storage has read what the state machine needs."""
    applying = core.applying
    applying.fetching = False
    upto = min(core.commit, core.log.durable)
    # A snapshot may have been installed since: then this is of the past.
    entries = tuple(entry for entry in entries if entry.index <= upto)
    if entries and not core.apply_stopped and entries[0].index == applying.handed + 1:
        applying.hand(entries, sum(map(size, entries)))
        core.rest.append(Apply(entries))


def stop_apply(core: Core, _: ApplyStopped) -> None:
    """The state machine raised something that is no answer: this node goes on voting and replicating, but neither leads nor campaigns if it can help
    it."""
    core.apply_stopped = True
    transfer.retry_handover(core)
