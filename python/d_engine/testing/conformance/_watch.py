"""Notices calls of clocks and of sources of chance while a state machine applies."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import sys
import time
from collections.abc import Generator, Mapping
from types import FrameType
from typing import Any, Final

__all__ = ["CHANCE", "CLOCKS", "watched"]

_UTC: Final = "utcnow"  # by its name: to mention it is deprecated, to notice it is not
CLOCKS: Final[Mapping[object, str]] = {
    time.time: "time.time()",
    time.time_ns: "time.time_ns()",
    time.localtime: "time.localtime()",
    time.gmtime: "time.gmtime()",
    time.ctime: "time.ctime()",
    dt.datetime.now: "datetime.now()",
    getattr(dt.datetime, _UTC): "datetime.utcnow()",
    dt.datetime.today: "datetime.today()",
    dt.date.today: "date.today()",
}
"""Functions that ask the wall clock. Those of a stopwatch are for measuring, which harms nobody."""

_SHARED: Final[Any] = getattr(random.random, "__self__", None)
CHANCE: Final[Mapping[object, str]] = {
    os.urandom: "os.urandom()",
    _SHARED.random: "random.random()",
    _SHARED.getrandbits: "random.getrandbits()",
}
"""What every source of randomness of the standard library ends in, except a `random.Random` with a seed of its own."""

_INNER = frozenset({"random", "secrets", "uuid"})
"""Modules that pass a call on: who called them is of interest."""
_FORGIVEN = frozenset({"logging"})
"""Modules that may ask: what they do with the answer is not part of the state."""


@contextlib.contextmanager
def watched(functions: Mapping[object, str]) -> Generator[dict[str, str]]:
    """Which of these functions are called on this thread meanwhile: name and place of the first call of each."""
    found: dict[str, str] = {}

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or (name := functions.get(called)) is None or name in found:
            return
        place = _caller(frame)
        if place is not None:
            found[name] = place

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _caller(frame: FrameType) -> str | None:
    """Where the user's code called it; None if that was for a purpose of its own."""
    place: str | None = None
    current: FrameType | None = frame
    while current is not None:
        module = str(current.f_globals.get("__name__", "")).partition(".")[0]
        if module in _FORGIVEN:
            return None
        if place is None and module not in _INNER:
            place = f"{current.f_code.co_filename}:{current.f_lineno} in {current.f_code.co_name}"
        if module == "d_engine":
            break
        current = current.f_back
    return place
