"""From the core's effects to actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from d_engine.pure import effect as core

from .close import finish
from .types import Apply, Forwarded, NotLeader, Refused

if TYPE_CHECKING:
    from .driver import Driver
    from .types import Action, Failure

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
    driver.changes.hand_out(entries, out)
    wanted = driver.proposals.hand_out(entries, out)
    out.append(Apply(entries, wanted))
    driver.reads.release(driver.handed, out)


def _restore(driver: Driver, _now: int, effect: core.Restore, out: list[Action]) -> None:
    driver.handed = effect.last.index
    driver.proposals.restored(effect.last, out)
    driver.changes.restored(effect.last, out)
    driver.policy.restored(effect.last)
    out.append(effect)
    driver.reads.release(driver.handed, out)


def _send_snapshot(driver: Driver, _now: int, effect: core.SendSnapshot, out: list[Action]) -> None:
    driver.policy.sending(effect.to, effect.at_least)
    out.append(effect)


# --- replies ---------------------------------------------------------------------------------------------------------------


def _proposed(driver: Driver, _now: int, reply: core.Proposed, out: list[Action]) -> None:
    if reply.at.index <= driver.handed:
        driver.proposals.passed(reply.id, reply.at, out)
    elif driver.apply_stopped:
        driver.proposals.fail(reply.id, "apply_stopped", out)
    else:
        driver.proposals.place(reply.id, reply.at)


def _forwarded(driver: Driver, now: int, reply: core.Forwarded, out: list[Action]) -> None:
    driver.changes.forwarded(reply.id, reply.to, driver.core.term)
    entries = driver.proposals.forwarded(reply.id, reply.to, driver.core.term, now)
    if entries is not None:
        out.append(Forwarded(reply.to, entries))


def _refused(driver: Driver, now: int, reply: core.Refused, out: list[Action]) -> None:
    again = now + driver.settings.refusal_pause
    if not driver.reads.refused(reply.id, again):
        leader, term, closing = driver.core.leader, driver.core.term, driver.closing.refuses
        driver.proposals.refused(reply.id, reply.why, leader, term, again, closing=closing, out=out)


def _read_ready(driver: Driver, _now: int, reply: core.ReadReady, out: list[Action]) -> None:
    driver.reads.ready(reply.id, reply.index, driver.handed, stopped=driver.apply_stopped, out=out)


def _transferred(driver: Driver, _now: int, reply: core.Transferred, out: list[Action]) -> None:
    result: int | Failure
    if isinstance(reply.to, int):
        result = reply.to
    elif reply.to == "not_leader":
        result = NotLeader(driver.core.leader, driver.core.term)
    else:
        result = Refused(reply.to)
    driver.transfers.ended(reply.id, result, out)


def _changing(driver: Driver, _now: int, reply: core.Changing, out: list[Action]) -> None:
    driver.changes.place(reply.id, reply.at, driver.handed, out)


def _change_refused(driver: Driver, now: int, reply: core.ChangeRefused, out: list[Action]) -> None:
    again = now + driver.settings.refusal_pause
    driver.changes.refused(reply.id, reply.why, again, closing=driver.closing.refuses, out=out)


def _closed(driver: Driver, _now: int, _reply: core.Closed, out: list[Action]) -> None:
    finish(driver, out)


# --- events ----------------------------------------------------------------------------------------------------------------


def _changed(driver: Driver, now: int, event: core.Changed, out: list[Action]) -> None:
    if event.leader is not None:
        driver.proposals.leader_changed(event.term, now + driver.settings.read_retry)
        driver.changes.leader_changed(event.term, now + driver.settings.read_retry)
        driver.reads.leader_changed()
    out.append(event)


def _configured(driver: Driver, _now: int, event: core.Configured, out: list[Action]) -> None:
    if event.configuration.member(driver.settings.id) is not None:
        driver.removed = False
    out.append(event)


def _removed(driver: Driver, now: int, event: core.Removed, out: list[Action]) -> None:
    """No leader counts on this node any more, and none answers it."""
    driver.removed = True
    driver.proposals.fail_held("removed", out)
    driver.reads.fail_all("removed", out)
    driver.changes.fail_held("removed", out)
    # What was committed before the removal is still to be handed out.
    answer_by = now + driver.settings.read_retry
    driver.proposals.removed(answer_by)
    driver.changes.removed(answer_by)
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
    core.Changing: _changing,
    core.ChangeRefused: _change_refused,
    core.Closed: _closed,
    core.Changed: _changed,
    core.Configured: _configured,
    core.Removed: _removed,
}
