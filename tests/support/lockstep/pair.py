"""One member's core twice, native and pure, stepped with the same inputs and compared after each."""

from collections import Counter

from d_engine.core import NativeCore
from d_engine.pure import Changed, Closed, Core, PersistFailed
from support.lockstep.outcome import CLOSED, is_idle, kind_of, outcome

STATUS_EVERY = (
    64  # steps between two looks at the whole status; the digest, which holds more, is compared at every step
)


class DifferenceError(Exception):
    """The two are not equal: what differs, and both sides of it."""

    def __init__(self, what, native, pure):
        super().__init__(f"{what}: native {native!r}, pure {pure!r}")
        self.what, self.native, self.pure = what, native, pure


def same(one, other):
    """Equal values of equal types: named tuples of different classes, True and 1, a list and a tuple are not the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def both(what, one, other):
    """Calls both; if one raises, that is a difference, unless both raise the same."""
    try:
        native = one()
    except Exception as error:
        native = error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        native = error
    try:
        pure = other()
    except Exception as error:
        pure = error
    if isinstance(native, BaseException) or isinstance(pure, BaseException):
        if type(native) is not type(pure):
            raise DifferenceError(what, native, pure) from (pure if isinstance(pure, Exception) else None)
        raise pure
    return native, pure


class Tally:
    """Counts of one worker: cells of the table, steps, and idle ones among them."""

    def __init__(self):
        self.cells = Counter()
        self.steps = 0
        self.idle = 0


class Pair:
    """Has a core's methods, for a simulation to use in its place."""

    def __init__(self, now, settings, start, tally=None):
        self.origin = (now, settings, start)
        self.inputs = []
        self.tally = Tally() if tally is None else tally
        self.role = "follower"
        try:
            self.native, self.pure = both(
                "construction", lambda: NativeCore(now, settings, start), lambda: Core(now, settings, start)
            )
            self._compare_state()
        except DifferenceError as difference:
            difference.pair = self
            raise

    def step(self, given):
        self.inputs.append(given)
        native, pure = self.native, self.pure
        try:
            theirs, ours = native.step(given), pure.step(given)
            if theirs != ours or not same(theirs, ours):
                raise DifferenceError("effects", theirs, ours)
            if native.digest() != pure.digest() or native.deadline() != pure.deadline():
                self._compare_state()
            if len(self.inputs) % STATUS_EVERY == 0:
                self._compare_status()
        except DifferenceError as difference:
            difference.pair = self
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            side = "native" if type(error).__name__ == "PanicException" else "one side"
            raised = DifferenceError(f"{side} raised", error, None)
            raised.pair = self
            raise raised from error
        tally = self.tally
        tally.steps += 1
        tally.cells[self.role, kind_of(given), outcome(ours)] += 1
        if is_idle(given, ours):
            tally.idle += 1
        for effect in ours:
            kind = type(effect)
            if kind is Changed and self.role != CLOSED:
                self.role = effect.role
            elif kind is Closed:
                self.role = CLOSED
        if type(given) is PersistFailed:
            self.role = CLOSED
        return ours

    def _compare_state(self):
        theirs, ours = self.native.deadline(), self.pure.deadline()
        if not same(theirs, ours):
            raise DifferenceError("deadline", theirs, ours)
        self._compare_status()  # says more than two digests
        theirs, ours = self.native.digest(), self.pure.digest()
        if not same(theirs, ours):
            raise DifferenceError("digest", theirs.hex(), ours.hex())

    def _compare_status(self):
        theirs, ours = self.native.status(), self.pure.status()
        if not same(theirs, ours):
            fields = [field for field in ours._fields if not same(getattr(theirs, field), getattr(ours, field))]
            what = "status: " + ", ".join(fields)
            raise DifferenceError(what, [getattr(theirs, f) for f in fields], [getattr(ours, f) for f in fields])

    def deadline(self):
        return self.pure.deadline()

    def status(self):
        return self.pure.status()

    def digest(self):
        return self.pure.digest()
