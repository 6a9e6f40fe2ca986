"""Of a driver's own state: equal in both implementations after equal inputs.

Numbers are little-endian, 64 bits each; what may be absent is 0, or 1 and the number; a list is its length and its items.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import Driver


def digest(driver: Driver) -> bytes:
    """SHA-256 of the core's digest and everything that a driver decides by. Who waits is not in it."""
    found = [
        driver.last_id,
        driver.handed,
        driver.applied.term,
        driver.applied.index,
        driver.apply_stopped,
        driver.failed,
        driver.removed,
        *driver.proposals.numbers(),
        *driver.reads.numbers(),
        *driver.policy.numbers(),
        *driver.changes.numbers(),
        *driver.transfers.numbers(),
        *driver.closing.numbers(),
    ]
    return hashlib.sha256(driver.core.digest() + struct.pack(f"<{len(found)}Q", *found)).digest()


def option(number: int | None) -> tuple[int, ...]:
    """A number that may be absent."""
    return (0,) if number is None else (1, number)


def forwarding(to: tuple[int, int] | None) -> tuple[int, ...]:
    """To whom something was passed on, and in which term, if it was."""
    return (0,) if to is None else (1, *to)
