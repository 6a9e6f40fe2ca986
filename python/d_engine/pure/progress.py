"""What a leader knows of one follower, and how much it has in flight to it (thesis 10.2.1)."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple, TypeAlias

from .types import FetchId, Incarnation, Index, Micros

__all__ = ["CatchUp", "Flow", "Leaving", "Progress", "Window"]

Flow: TypeAlias = Literal["probe", "replicate", "snapshot"]
"""How entries are sent to a follower.

probe: it is not known where its log and ours part, so one message at a time; replicate: its log matches ours, so messages follow each other
without waiting, within the window; snapshot: it needs entries that are purged, and a snapshot is under way.
"""


class Window(NamedTuple):
    """Bounds on what is in flight to one follower: append messages, and bytes of records."""

    messages: int
    bytes: int


class Leaving(NamedTuple):
    """A node that is no member any more, and shall hear of it.

    `index` is the configuration without it; after `until` nobody waits for it; `told` is the round that told it that this configuration is committed.
    """

    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    until: Micros
    told: int | None = None


class CatchUp(NamedTuple):
    """A learner on its way to be a voter (thesis 4.2.1).

    `target` is what it must hold to end this round: the end of the log when the round began, at `since`; `rounds` counts from 1 on.
    """

    target: Index
    since: Micros
    rounds: int


class Progress:
    """A leader's view of one follower."""

    __slots__ = (
        "apply_stopped",
        "awaited",
        "catch_up",
        "commit_told",
        "fetch",
        "flow",
        "heard",
        "inflight",
        "inflight_bytes",
        "known",
        "leaving",
        "matched",
        "next",
        "pause_until",
        "quiet",
        "round",
        "unreachable",
        "waiting",
    )

    def __init__(self, next_: Index, known: Incarnation | None) -> None:
        """A follower of a leader that has just been elected."""
        self.known = known
        """The data directory that all of this is about. What is not recorded in the configuration does not count."""
        self.matched: Index = 0
        """It holds our log, durably, up to here."""
        self.next: Index = next_
        """The first entry to send next."""
        self.flow: Flow = "probe"
        """How entries are sent."""
        self.waiting = False
        """While it is probed: a message is under way, so wait for its answer."""
        self.round = 0
        """The newest heartbeat round it has answered."""
        self.heard: Micros | None = None
        """When it last answered anything in this term; `None`: not yet."""
        self.apply_stopped = False
        """Its state machine has stopped on an error."""
        self.commit_told: Index = 0
        """The newest commit index that it was told."""
        self.awaited: Index = 0
        """It has a user who waits for this index: tell it of the commit at once."""
        self.fetch: FetchId | None = None
        """A log read on its behalf."""
        self.quiet: tuple[Index, Micros] | None = None
        """The end of its log in its heartbeat replies, and since when, while something sent is not acknowledged."""
        self.unreachable = False
        """The transport has lost it, and it has not been heard since."""
        self.inflight: deque[tuple[Index, int]] = deque()
        """The last index and the bytes of each append under way."""
        self.inflight_bytes = 0
        self.leaving: Leaving | None = None
        """It is no member any more."""
        self.catch_up: CatchUp | None = None
        """Its round of catching up."""
        self.pause_until: Micros = 0
        """Before this moment no round of catching up begins."""

    def ready(self, window: Window) -> bool:
        """Whether another append may leave now."""
        if self.fetch is not None:
            return False
        if self.flow == "replicate":
            return len(self.inflight) < window.messages and self.inflight_bytes < window.bytes
        return self.flow == "probe" and not self.waiting

    def sent(self, last: Index, bytes_: int) -> None:
        """An append that ends at `last` has left."""
        if self.flow == "probe":
            self.waiting = True
        elif self.flow == "replicate" and last >= self.next:
            self.next = last + 1
            self.inflight.append((last, bytes_))
            self.inflight_bytes += bytes_

    def accepted(self, matched: Index) -> bool:
        """It holds our log up to `matched`. Says whether that is news."""
        inflight = self.inflight
        while inflight and inflight[0][0] <= matched:
            self.inflight_bytes -= inflight.popleft()[1]
        self.quiet = None
        # Never backwards: an old answer may come late (CCF #5324).
        news = matched > self.matched
        if news:
            self.matched = matched
            if self.next <= matched:
                self.next = matched + 1
        if self.flow == "probe":
            # What it confirmed is our log up to `matched`, so whatever was guessed beyond can be forgotten.
            self.next = self.matched + 1
            self.flow = "replicate"
        elif self.flow == "snapshot" and news:
            self.probe(self.matched + 1)
        return news

    def rejected(self, prev: Index, retry: Index) -> bool:
        """It does not hold what stands at `prev`; `retry` is the newest position where the logs can still agree."""
        if self.flow == "replicate":
            # An answer to something older than what it has confirmed since.
            stale = prev <= self.matched
        elif self.flow == "probe":
            # Only the answer to the one probe under way counts.
            stale = prev + 1 != self.next
        else:
            stale = True
        if stale:
            return False
        self.probe(max(min(retry, max(prev - 1, 0)), self.matched) + 1)
        return True

    def probe(self, next_: Index) -> None:
        """Back to one message at a time, from `next_`."""
        self.flow = "probe"
        self.waiting = False
        self.next = max(next_, self.matched + 1)
        self.fetch = None
        self.quiet = None
        self.inflight.clear()
        self.inflight_bytes = 0

    def needs_snapshot(self) -> None:
        """Its entries are purged here."""
        self.probe(self.next)
        self.flow = "snapshot"

    def lost(self) -> None:
        """What is in flight is lost. Nothing more is sent until it answers a heartbeat."""
        if self.flow != "snapshot":
            self.probe(self.matched + 1)
            self.waiting = True
        self.unreachable = True

    def snapshot_ended(self, delivered: Index | None) -> None:
        """Sending it a snapshot has ended. One that arrived is followed by the log; else the next heartbeats decide."""
        if self.flow == "snapshot":
            self.probe(self.next if delivered is None else delivered + 1)
            self.waiting = delivered is None

    def heard_end(self, end: Index, now: Micros, patience: Micros) -> bool:
        """Its log ends at `end`, says a heartbeat reply. If nothing has come of what was sent for `patience`, it was lost: heartbeats may overtake
        appends, but not for so long. `True`: the log is there, so the answer was lost (or waits for its disk); an append without entries asks
        for it again.
        """
        unreachable, self.unreachable = self.unreachable, False
        if unreachable and self.flow != "snapshot":
            self.probe(self.matched + 1)
            return False
        waits = self.next > self.matched + 1 if self.flow == "replicate" else self.flow == "probe" and self.waiting
        if not waits:
            self.quiet = None
        elif self.quiet is None or self.quiet[0] != end:
            self.quiet = (end, now)
        elif now < self.quiet[1] + patience:
            pass
        elif self.flow == "replicate" and end + 1 >= self.next:
            self.quiet = (end, now)
            return True
        else:
            self.probe(max(self.matched, min(end, self.next - 1)) + 1)
        return False
