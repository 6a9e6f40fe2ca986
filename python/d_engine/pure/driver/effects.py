"""From the core's effects to actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from d_engine.pure import effect as core

from .close import finish
from .types import Apply, Forwarded, Unknown

if TYPE_CHECKING:
    from .driver import Driver
    from .types import Action

Carry: TypeAlias = "Callable[[Driver, int, Any, list[Action]], None]"


def carry(driver: Driver, now: int, effect: core.Effect, out: list[Action]) -> None:
    """Carries out one effect of the core."""
    special = _SPECIAL.get(type(effect))
    if special is None:
        out.append(effect)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the others are actions as they are
    else:
        special(driver, now, effect, out)


def _apply(driver: Driver, _now: int, effect: core.Apply, out: list[Action]) -> None:
    entries = effect.entries
    if not entries or driver.apply_stopped:
        return
    driver.handed = entries[-1].index
    wanted = driver.proposals.hand_out(entries, out)
    out.append(Apply(entries, wanted))
    driver.reads.release(driver.handed, out)


def _restore(driver: Driver, _now: int, effect: core.Restore, out: list[Action]) -> None:
    driver.handed = effect.last.index
    driver.proposals.restored(effect.last, out)
    driver.policy.restored(effect.last)
    out.append(effect)
    driver.reads.release(driver.handed, out)


def _send_snapshot(driver: Driver, _now: int, effect: core.SendSnapshot, out: list[Action]) -> None:
    driver.policy.sending(effect.to, effect.at_least)
    out.append(effect)


# --- replies ---------------------------------------------------------------------------------------------------------------


def _proposed(driver: Driver, _now: int, reply: core.Proposed, out: list[Action]) -> None:
    if reply.at.index <= driver.handed:
        driver.proposals.fail(reply.id, Unknown("applied", reply.at), out)
    elif driver.apply_stopped:
        driver.proposals.fail(reply.id, "apply_stopped", out)
    else:
        driver.proposals.place(reply.id, reply.at)


def _forwarded(driver: Driver, _now: int, reply: core.Forwarded, out: list[Action]) -> None:
    entries = driver.proposals.forwarded(reply.id, reply.to, driver.core.term)
    if entries is not None:
        out.append(Forwarded(reply.to, entries))


def _refused(driver: Driver, now: int, reply: core.Refused, out: list[Action]) -> None:
    again = now + driver.settings.refusal_pause
    if not driver.reads.refused(reply.id, again):
        leader, term, closing = driver.core.leader, driver.core.term, driver.closing.refuses
        driver.proposals.refused(reply.id, reply.why, leader, term, again, closing=closing, out=out)


def _read_ready(driver: Driver, _now: int, reply: core.ReadReady, out: list[Action]) -> None:
    driver.reads.ready(reply.id, reply.index, driver.handed, stopped=driver.apply_stopped, out=out)


def _transferred(_driver: Driver, _now: int, _reply: core.Transferred, _out: list[Action]) -> None:
    """Nobody waits for it: a close goes on either way."""


def _closed(driver: Driver, _now: int, _reply: core.Closed, out: list[Action]) -> None:
    finish(driver, out)


# --- events ----------------------------------------------------------------------------------------------------------------


def _changed(driver: Driver, now: int, event: core.Changed, out: list[Action]) -> None:
    if event.leader is not None:
        driver.proposals.leader_changed(event.term, now + driver.settings.read_retry)
        driver.reads.leader_changed()
    out.append(event)


_SPECIAL: Final[dict[type, Carry]] = {
    core.Apply: _apply,
    core.Restore: _restore,
    core.SendSnapshot: _send_snapshot,
    core.Proposed: _proposed,
    core.Forwarded: _forwarded,
    core.Refused: _refused,
    core.ReadReady: _read_ready,
    core.Transferred: _transferred,
    core.Closed: _closed,
    core.Changed: _changed,
}
