"""The first difference, cut down to the few inputs that it needs, as a script that can be pasted into a test."""

import time

from support.lockstep.pair import DifferenceError, Pair


def difference(origin, inputs, make=Pair):
    """The difference that comes of that stream, and after how many inputs; None if there is none."""
    pair = None
    try:
        pair = make(*origin)
        for given in inputs:
            pair.step(given)
    except DifferenceError as found:
        return found, 0 if pair is None else len(pair.inputs)
    return None


def shrink(origin, inputs, seconds=30.0, make=Pair):
    """Drops inputs as long as a difference stays (delta debugging), for at most so many seconds."""
    ends = time.monotonic() + seconds
    found = difference(origin, inputs, make)
    if found is None:
        return None
    kept = list(inputs[: found[1]])
    chunk = max(1, len(kept) // 2)
    while time.monotonic() < ends:
        at, dropped = 0, False
        while at < len(kept) and time.monotonic() < ends:
            fewer = kept[:at] + kept[at + chunk :]
            again = difference(origin, fewer, make)
            if again is None:
                at += chunk
            else:
                kept, dropped = fewer[: again[1]], True
        if chunk == 1 and not dropped:
            break
        chunk = max(1, chunk // 2)
    return kept


def script(origin, inputs, make=Pair):
    """A test of its own."""
    now, settings, start = origin
    found = difference(origin, inputs, make)
    said = "no difference any more" if found is None else str(found[0])
    lines = [
        "from d_engine.pure import *",
        f"from {make.__module__} import {make.__name__}",
        "",
        "",
        "def test_difference():",
        *(f"    # {line}" for line in said.splitlines()),
        f"    settings = {settings!r}",
        f"    start = {start!r}",
        f"    core = {make.__name__}({now!r}, settings, start)",
        *(f"    core.step({given!r})" for given in inputs),
    ]
    return "\n".join(lines) + "\n"
