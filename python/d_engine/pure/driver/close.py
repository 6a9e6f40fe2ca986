"""Closing: refuse, drain, hand over, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d_engine.pure import input as core
from d_engine.pure.effect import Closed

from .types import Unknown

if TYPE_CHECKING:
    from .driver import Driver
    from .types import Action


class Closing:
    """How far the closing of a node is."""

    __slots__ = ("_state", "handover", "until")

    def __init__(self) -> None:
        self._state = 0
        self.handover = False
        self.until = 0

    @property
    def refuses(self) -> bool:
        """Whether new calls are refused."""
        return self._state != _OPEN

    @property
    def draining(self) -> bool:
        """Whether calls under way are still waited for."""
        return self._state == _DRAINING

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self._state == _DONE

    def begin(self, *, handover: bool, until: int) -> None:
        """Refuses what is new from now on."""
        if self._state == _OPEN:
            self._state, self.handover, self.until = _DRAINING, handover, until

    def ask(self) -> None:
        """The core is asked to close."""
        self._state = _ASKED

    def finish(self) -> None:
        """The core has closed."""
        self._state = _DONE

    def deadline(self) -> int | None:
        """When the waiting ends."""
        return self.until if self._state == _DRAINING else None

    def numbers(self) -> list[int]:
        """For the digest."""
        return [_DRAINING, self.handover, self.until] if self._state == _DRAINING else [self._state]


_OPEN, _DRAINING, _ASKED, _DONE = range(4)


def close_when_drained(driver: Driver, now: int, out: list[Action]) -> None:
    """Asks the core to close once nobody waits any more, or nobody may."""
    closing = driver.closing
    if closing.draining and (now >= closing.until or driver.failed or driver.waiting == 0):
        closing.ask()
        driver.step(now, core.Close(now, closing.handover), out)


def finish(driver: Driver, out: list[Action]) -> None:
    """The core has closed: nothing more will be answered."""
    driver.closing.finish()
    fail_everything(driver, out)
    out.append(Closed())


def fail_everything(driver: Driver, out: list[Action]) -> None:
    """Ends every call that waits in here; for a node that stops without closing its core."""
    driver.proposals.fail_held("closed", out)
    driver.proposals.fail_placed(Unknown("closed", None), out)
    driver.reads.fail_all("closed", out)
    driver.policy.fail_waiting("closed", out)
    driver.changes.fail_held("closed", out)
    driver.changes.fail_placed(Unknown("closed", None), out)
    driver.transfers.fail_all("closed", out)
