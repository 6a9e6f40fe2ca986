"""What waits for the disk: outstanding persist tokens, and the messages that depend on them.

Votes, acknowledgements of appends and a candidate's requests are not given out before what they promise is durable: whoever drives the core cannot
send them too early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .effect import Persist
from .entry import Entry
from .message import Accepted, Message
from .types import HardState, Index, LogId, Micros, Token

__all__ = ["Durability", "Outstanding"]


class Outstanding:
    """A persist effect that is given out: once `token` is durable, the log is up to `upto`, which every later truncation lowers."""

    __slots__ = ("issued", "token", "upto")

    def __init__(self, token: Token, upto: Index, issued: Micros) -> None:
        self.token = token
        self.upto = upto
        self.issued = issued


class Durability:
    """Persist effects from being put together to being durable."""

    __slots__ = (
        "entries",
        "hard_state",
        "hard_state_token",
        "next",
        "outstanding",
        "reset_to",
        "staged",
        "truncate_from",
        "withheld",
    )

    def __init__(self) -> None:
        """Nothing is outstanding."""
        self.next: Token = 1
        """The token of what is being staged in this step."""
        self.hard_state_token: Token = 0
        """The token that the current term and vote wait for; 0: they are durable."""
        self.outstanding: deque[Outstanding] = deque()
        self.withheld: list[tuple[Token, Message]] = []
        # What the next `Persist` will say, if anything is `staged`.
        self.staged = False
        self.hard_state: HardState | None = None
        self.reset_to: LogId | None = None
        self.truncate_from: Index | None = None
        self.entries: tuple[Entry, ...] = ()

    def stage_hard_state(self, state: HardState) -> None:
        """Term and vote have changed."""
        self.staged = True
        self.hard_state = state
        self.hard_state_token = self.next

    def stage_entries(self, entries: Iterable[Entry]) -> None:
        """Entries are appended."""
        self.staged = True
        self.entries += tuple(entries)

    def stage_truncation(self, start: Index) -> None:
        """Entries from `start` on are dropped: what earlier tokens make durable ends before it (etcd/raft #8)."""
        for earlier in self.outstanding:
            earlier.upto = min(earlier.upto, start - 1)
        self.staged = True
        self.entries = tuple(entry for entry in self.entries if entry.index < start)
        self.truncate_from = start if self.truncate_from is None else min(self.truncate_from, start)

    def stage_reset(self, to: LogId) -> None:
        """The log is emptied and begins behind `to`: earlier tokens make nothing of it durable."""
        for earlier in self.outstanding:
            earlier.upto = 0
        self.staged = True
        self.entries = ()
        self.truncate_from = None
        self.reset_to = to

    def flush(self, last: Index, now: Micros) -> Persist:
        """Closes what was staged; the log then ends at `last`."""
        token = self.next
        persist = Persist(token, self.hard_state, self.reset_to, self.truncate_from, self.entries)
        self.staged = False
        self.hard_state = self.reset_to = self.truncate_from = None
        self.entries = ()
        self.outstanding.append(Outstanding(token, last, now))
        self.next = token + 1
        return persist

    def persisted(self, token: Token) -> Index | None:
        """All tokens up to `token` are durable: up to which index the log is now."""
        upto: Index | None = None
        while self.outstanding and self.outstanding[0].token <= token:
            oldest = self.outstanding.popleft()
            if upto is None or oldest.upto > upto:
                upto = oldest.upto
        if self.hard_state_token <= token:
            self.hard_state_token = 0
        return upto

    def token_for(self, index: Index, durable: Index) -> Token:
        """The token that makes the log durable up to `index`; 0 where it is already."""
        if index <= durable:
            return 0
        for waiting in self.outstanding:
            if waiting.upto >= index:
                return waiting.token
        return self.next

    def withhold(self, token: Token, message: Message) -> None:
        """Keeps a message until that token is durable. Of several answers of one kind that wait for the same token only the newest is kept, so that a
        disk that hangs does not fill the memory."""
        for at in range(len(self.withheld) - 1, -1, -1):
            waits_for, before = self.withheld[at]
            if waits_for == token and _same_kind(before, message):
                self.withheld[at] = (token, _newer(before, message))
                return
        self.withheld.append((token, message))

    def release(self, token: Token) -> list[Message]:
        """Messages that no longer wait, in their order. Of several accepted appends only the furthest is worth sending."""
        ready: list[Message] = []
        kept: list[tuple[Token, Message]] = []
        for waiting in self.withheld:
            waits_for, message = waiting
            if waits_for > token:
                kept.append(waiting)
            elif ready and type(message.body) is Accepted and _same_kind(ready[-1], message):
                ready[-1] = _newer(ready[-1], message)
            else:
                ready.append(message)
        self.withheld = kept
        return ready

    def oldest(self) -> Micros | None:
        """When the oldest outstanding effect was given out."""
        return self.outstanding[0].issued if self.outstanding else None


def _same_kind(one: Message, other: Message) -> bool:
    """Whether two messages say the same kind of thing to the same member, in the same term."""
    return type(one.body) is type(other.body) and one.to == other.to and one.term == other.term


def _newer(before: Message, message: Message) -> Message:
    """The later message takes the earlier one's place, unless it is the answer to an older append that came late."""
    if isinstance(before.body, Accepted) and isinstance(message.body, Accepted):
        return message if message.body.matched >= before.body.matched else before
    return message
