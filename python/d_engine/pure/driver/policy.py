"""When a snapshot is made, and what may be purged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .digest import option
from .types import EndSnapshot, TakeSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from d_engine.pure.types import LogId

    from .types import Action, DriverSettings, DriverStart, Failure


class Pin:
    """A transfer, and the log that its receiver will need afterwards."""

    __slots__ = ("begun_at", "delivered", "index")

    def __init__(self, index: int, begun_at: int) -> None:
        self.index = index  # entries behind it stay
        self.begun_at = begun_at  # bytes applied before it began
        self.delivered: int | None = None  # when it arrived


class Waiter:
    """Who waits for a snapshot. The one that was being made when it came (number `after`) is too old for it."""

    __slots__ = ("after", "caller", "deadline")

    def __init__(self, caller: object, deadline: int | None, after: int) -> None:
        self.caller = caller
        self.deadline = deadline
        self.after = after


class Policy:
    """Makes snapshots by number and size, purges behind them, and keeps what transfers under way will need."""

    __slots__ = (
        "begun",
        "bytes",
        "every_bytes",
        "every_entries",
        "newest",
        "pin_bytes",
        "pin_grace",
        "pins",
        "purged",
        "running",
        "trailing",
        "tried",
        "tried_bytes",
        "waiters",
    )

    def __init__(self, settings: DriverSettings, start: DriverStart) -> None:
        self.every_entries = settings.snapshot_every_entries
        self.every_bytes = settings.snapshot_every_bytes
        self.trailing = settings.trailing_entries
        self.pin_bytes = settings.snapshot_pin_bytes
        self.pin_grace = settings.pin_grace
        self.newest = 0 if start.snapshot is None else start.snapshot.index
        # Where the last attempt was made: a failing one is not repeated at once.
        self.tried = self.newest
        self.tried_bytes = 0
        self.running = False
        self.begun = 0  # snapshots begun
        self.bytes = 0  # bytes applied
        self.purged = start.purged.index
        self.pins: dict[int, Pin] = {}
        self.waiters: list[Waiter] = []

    def deadline(self) -> int | None:
        """When `expire` or `purge` has something to do."""
        own = [waiter.deadline for waiter in self.waiters if waiter.deadline is not None]
        return min(own + self._grace_ends(), default=None)

    def _grace_ends(self) -> list[int]:
        """Until when delivered snapshots keep the log behind them."""
        return [pin.delivered + self.pin_grace for pin in self.pins.values() if pin.delivered is not None]

    def grace_is_over(self, now: int) -> bool:
        """Whether something keeps the log that may not keep it any longer."""
        return any(end <= now for end in self._grace_ends())

    def applied(self, last: LogId, size: int, *, stopped: bool, out: list[Action]) -> None:
        """Counts what the state machine has applied."""
        self.bytes += size
        if not self.running and not stopped and self._due(last.index):
            self._begin(last.index, out)

    def _due(self, applied: int) -> bool:
        entries = applied - self.tried
        return (0 < self.every_entries <= entries) or (0 < self.every_bytes <= self.bytes - self.tried_bytes)

    def _begin(self, applied: int, out: list[Action]) -> None:
        self.running = True
        self.begun += 1
        self.tried = applied
        self.tried_bytes = self.bytes
        out.append(TakeSnapshot())

    def wanted(self, waiter: object, deadline: int | None, applied: int, out: list[Action]) -> None:
        """A caller wants what is applied to be in a snapshot."""
        if applied <= self.newest:
            out.append(EndSnapshot(waiter, self.newest))
            return
        self.waiters.append(Waiter(waiter, deadline, self.begun))
        if not self.running:
            self._begin(applied, out)

    def taken(self, last: LogId, applied: LogId, out: list[Action]) -> None:
        """A snapshot is committed."""
        self.newest = max(self.newest, last.index)
        self.tried = max(self.tried, last.index)
        self._end(last.index, applied, out)

    def failed(self, applied: LogId, out: list[Action]) -> None:
        """It could not be made."""
        self._end("snapshot_failed", applied, out)

    def _end(self, result: int | Failure, applied: LogId, out: list[Action]) -> None:
        self.running = False
        served = [waiter for waiter in self.waiters if waiter.after < self.begun]
        self.waiters = [waiter for waiter in self.waiters if waiter.after >= self.begun]
        out.extend(EndSnapshot(waiter.caller, result) for waiter in served)
        # What was applied meanwhile may be enough for the next one, and nothing more may come.
        if self.waiters or self._due(applied.index):
            self._begin(applied.index, out)

    def fail_waiting(self, failure: Failure, out: list[Action]) -> None:
        """Ends all who wait."""
        out.extend(EndSnapshot(waiter.caller, failure) for waiter in self.waiters)
        self.waiters = []

    def expire(self, now: int, out: list[Action]) -> None:
        """Ends those whose time is over."""
        late = [waiter for waiter in self.waiters if waiter.deadline is not None and waiter.deadline <= now]
        if late:
            self.waiters = [waiter for waiter in self.waiters if waiter.deadline is None or waiter.deadline > now]
            out.extend(EndSnapshot(waiter.caller, "deadline") for waiter in late)

    def restored(self, last: LogId) -> None:
        """A received snapshot replaces what is here, the log included."""
        self.newest = max(self.newest, last.index)
        self.tried = max(self.tried, last.index)
        self.tried_bytes = self.bytes
        self.purged = max(self.purged, last.index)

    def sending(self, to: int, at_least: int) -> None:
        """A transfer begins."""
        # The store may hold a newer one than `newest` says for a moment; the pin is then stricter than needed.
        self.pins[to] = Pin(max(self.newest, at_least), self.bytes)

    def sent(self, now: int, to: int, delivered: int | None) -> None:
        """A transfer has ended."""
        if delivered is None:
            self.pins.pop(to, None)
        elif to in self.pins:
            self.pins[to].delivered = now

    def purge(self, now: int, matched: Callable[[int], int | None]) -> int | None:
        """Up to where the log is not needed any more, if that is further than before."""
        wish = max(self.newest - self.trailing, 0)
        self.pins = {node: pin for node, pin in self.pins.items() if self._holds(node, pin, now, wish, matched)}
        upto = min([wish, *(pin.index for pin in self.pins.values())])
        if upto <= self.purged:
            return None
        self.purged = upto
        return upto

    def _holds(self, node: int, pin: Pin, now: int, wish: int, matched: Callable[[int], int | None]) -> bool:
        if self.bytes - pin.begun_at > self.pin_bytes:
            return False
        if pin.delivered is None:
            return True
        if now >= pin.delivered + self.pin_grace:
            return False
        there = matched(node)
        return there is not None and there < wish

    def numbers(self) -> list[int]:
        """For the digest."""
        found = [self.newest, self.tried, self.tried_bytes, self.running, self.begun, self.bytes, self.purged]
        found.append(len(self.pins))
        for node, pin in sorted(self.pins.items()):
            found += [node, pin.index, pin.begun_at, *option(pin.delivered)]
        found.append(len(self.waiters))
        for waiter in self.waiters:
            found += [*option(waiter.deadline), waiter.after]
        return found
