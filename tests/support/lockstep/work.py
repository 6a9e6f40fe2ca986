"""One worker: streams of all kinds, one after the other, until its time or its steps are over or a difference is found."""

import time
import traceback
from functools import partial

from support.lockstep import chaos, pause, solo
from support.lockstep.drive import DriverPair
from support.lockstep.pair import DifferenceError, Pair, Tally
from support.lockstep.shrink import script, shrink

STREAMS = {
    "solo": (solo.run, 300, Pair),
    "pause": (pause.run, 120, Pair),
    "cluster": (chaos.run, 900, Pair),
    "driver": (solo.run, 300, DriverPair),
    "drivers": (chaos.run, 900, DriverPair),
}
# One after the other; a cluster's stream has three to five times the steps of a core alone.
PARTS = (
    *("solo", "pause", "pause", "driver") * 12,
    "cluster",
    *("solo", "pause", "pause", "driver") * 12,
    "cluster",
    "drivers",
)
SHRINKING = 60.0  # seconds


def seeds(seed, number, jobs):
    """The streams of worker `number`: kind and seed of each."""
    at = number
    while True:
        yield PARTS[at % len(PARTS)], f"{seed}.{at}"
        at += jobs


def one_stream(kind, seed, tally, shrinking=SHRINKING):
    """Runs one stream; what went wrong in it, as a text, or None."""
    run, steps, make = STREAMS[kind]
    try:
        run(seed, partial(make, tally=tally), steps)
    except DifferenceError as found:
        pair = getattr(found, "pair", None)
        what = f"stream {kind} {seed}: {str(found)[:2000]}"
        if pair is None or not shrinking:
            return what
        inputs = shrink(pair.origin, pair.inputs, shrinking, make)
        if inputs is None:
            return f"{what}\nnot seen again in {len(pair.inputs)} inputs: it depends on something besides them"
        return f"{what}\nafter {len(pair.inputs)} inputs, {len(inputs)} of which are enough:\n\n{script(pair.origin, inputs, make)}"
    except Exception:
        return f"stream {kind} {seed}: both cores break a rule\n{traceback.format_exc()}"
    return None


def work(number, jobs, seed, minutes, steps, told, only=None, shrinking=SHRINKING):
    """The body of a worker process; `told` is called with progress now and then, and with everything at the end."""
    tally, wrong = Tally(), None
    ends, tell_at = time.monotonic() + 60 * minutes, 0.0
    for kind, name in seeds(seed, number, jobs):
        if only is None or kind == only:
            wrong = one_stream(kind, name, tally, shrinking=shrinking)
        now = time.monotonic()
        if wrong is not None or now >= ends or tally.steps >= steps:
            break
        if now >= tell_at:
            told((number, tally.steps, None))
            tell_at = now + 0.5
    told((number, tally.steps, (tally, wrong)))
