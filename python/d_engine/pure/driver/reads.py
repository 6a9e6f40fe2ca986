"""Reads on their way: waiting, asked for in rounds, ready once their index is handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .digest import option
from .types import NEVER, FailRead, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from .types import Action, Failure


class Reader:
    """Who reads."""

    __slots__ = ("deadline", "lease", "waiter")

    def __init__(self, waiter: object, deadline: int | None, *, lease: bool) -> None:
        self.waiter = waiter
        self.deadline = deadline
        self.lease = lease  # a lease is as good as a quorum's answer


class Round:
    """Those who share one question to the leader."""

    __slots__ = ("lease", "readers", "retry_at")

    def __init__(self, readers: list[Reader], retry_at: int, *, lease: bool) -> None:
        self.readers = readers
        self.lease = lease
        self.retry_at = retry_at


# Rounds of a kind under way at once; what comes meanwhile shares the next one.
MAX_ROUNDS: Final = 4
# Scans for what has expired come at least this far apart.
SCAN_INTERVAL: Final = 10_000


class Reads:
    """All reads of the local user that have not ended."""

    __slots__ = ("earliest", "paused_until", "ready_at", "rounds", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Reader] = []
        self.rounds: dict[int, Round] = {}  # ids ascend
        self.ready_at: dict[int, list[Reader]] = {}  # by index
        self.paused_until = 0
        self.earliest = NEVER

    def __len__(self) -> int:
        rounds = sum(len(one.readers) for one in self.rounds.values())
        return len(self.waiting) + rounds + sum(len(readers) for readers in self.ready_at.values())

    def wait(self, waiter: object, deadline: int | None, *, lease: bool) -> None:
        """Takes one up."""
        if deadline is not None and deadline < self.earliest:
            self.earliest = deadline
        self.waiting.append(Reader(waiter, deadline, lease=lease))

    def can_ask(self, now: int, *, lease: bool) -> bool:
        """Whether those who wait may be asked for."""
        return now >= self.paused_until and self._wants(lease=lease)

    def _wants(self, *, lease: bool) -> bool:
        if not any(reader.lease == lease for reader in self.waiting):
            return False
        return sum(asked.lease == lease for asked in self.rounds.values()) < MAX_ROUNDS

    def ask(self, request: int, retry_at: int, *, lease: bool) -> None:
        """All readers of a kind that wait become one round."""
        readers = [reader for reader in self.waiting if reader.lease == lease]
        self.waiting = [reader for reader in self.waiting if reader.lease != lease]
        self.rounds[request] = Round(readers, retry_at, lease=lease)

    def deadline(self, *, leader_known: bool) -> int | None:
        """When `ask` or `expire` has something to do."""
        due = min([self.earliest, *(one.retry_at for one in self.rounds.values())])
        if leader_known and (self._wants(lease=False) or self._wants(lease=True)):
            due = min(due, self.paused_until)
        return None if due == NEVER else due

    def leader_changed(self) -> None:
        """Another leader: what was asked of the old one may never be answered, so it is asked again, under a new id."""
        self.paused_until = 0
        self._ask_again(lambda _: True)

    def _ask_again(self, which: Callable[[Round], bool]) -> None:
        again = [request for request, asked in self.rounds.items() if which(asked)]
        for request in again:
            self.waiting += self.rounds.pop(request).readers

    def refused(self, request: int, again: int) -> bool:
        """Whether that request was a read's."""
        asked = self.rounds.pop(request, None)
        if asked is None:
            return False
        self.waiting += asked.readers
        self.paused_until = again
        return True

    def ready(self, request: int, index: int, handed: int, *, stopped: bool, out: list[Action]) -> None:
        """The leader has answered: a state that holds `index` is fresh enough."""
        asked = self.rounds.pop(request, None)
        if asked is None:
            return
        if index <= handed or stopped:
            out.extend(Query(reader.waiter, index) for reader in asked.readers)
        else:
            self.ready_at.setdefault(index, []).extend(asked.readers)

    def release(self, handed: int, out: list[Action]) -> None:
        """Lets in those who waited for what is handed out now."""
        if not self.ready_at:
            return
        for index in sorted(index for index in self.ready_at if index <= handed):
            out.extend(Query(reader.waiter, index) for reader in self.ready_at.pop(index))

    def release_all(self, out: list[Action]) -> None:
        """Lets in all whose index is known."""
        self.release(NEVER, out)

    def fail_waiting(self, failure: Failure, out: list[Action]) -> None:
        """Ends those who are not asked for yet."""
        out.extend(FailRead(reader.waiter, failure) for reader in self.waiting)
        self.waiting = []

    def fail_all(self, failure: Failure, out: list[Action]) -> None:
        """Ends all."""
        self._ask_again(lambda _: True)
        for index in sorted(self.ready_at):
            self.waiting += self.ready_at.pop(index)
        self.fail_waiting(failure, out)

    def expire(self, now: int, out: list[Action]) -> None:
        """Asks again for what has no answer, and ends those whose time is over."""
        self._ask_again(lambda asked: asked.retry_at <= now)
        if now < self.earliest:
            return
        following = NEVER
        lists = [self.waiting, *(one.readers for one in self.rounds.values())]
        lists += [self.ready_at[index] for index in sorted(self.ready_at)]
        for readers in lists:
            late = [reader for reader in readers if reader.deadline is not None and reader.deadline <= now]
            out.extend(FailRead(reader.waiter, "deadline") for reader in late)
            if late:
                readers[:] = [reader for reader in readers if reader.deadline is None or reader.deadline > now]
            following = min([following, *(reader.deadline for reader in readers if reader.deadline is not None)])
        self.rounds = {request: asked for request, asked in self.rounds.items() if asked.readers}
        self.ready_at = {index: readers for index, readers in self.ready_at.items() if readers}
        self.earliest = following if following == NEVER else max(following, now + SCAN_INTERVAL)

    def numbers(self) -> list[int]:
        """For the digest."""
        found = _numbers(self.waiting)
        found.append(len(self.rounds))
        for request, asked in self.rounds.items():
            found += [request, asked.lease, asked.retry_at, *_numbers(asked.readers)]
        found.append(len(self.ready_at))
        for index in sorted(self.ready_at):
            found += [index, *_numbers(self.ready_at[index])]
        return [*found, self.paused_until, self.earliest]


def _numbers(readers: list[Reader]) -> list[int]:
    found = [len(readers)]
    for reader in readers:
        found += [*option(reader.deadline), reader.lease]
    return found
