"""One member's driver twice, native and pure, each around a core of its own kind, compared after every input and every flush.

It has a core's face, so that the same streams run drivers: an input of the core becomes what a runtime would hand to the driver, and
actions become the effects that the simulation knows.
"""

from d_engine._cores import NativeDriver
from d_engine.pure import (
    Applied,
    Apply,
    ApplyStopped,
    Changed,
    ChangeMembers,
    Close,
    Closed,
    Core,
    Fetched,
    LogId,
    Persisted,
    PersistFailed,
    Propose,
    Purge,
    Read,
    ReadReady,
    Receive,
    Refused,
    Restore,
    SnapshotReceived,
    SnapshotSent,
    SnapshotTaken,
    Time,
    Transfer,
    Unreachable,
)
from d_engine.pure import driver as d
from support.lockstep.outcome import CLOSED, outcome
from support.lockstep.pair import DifferenceError, Tally, both, same
from support.sim.make import MS

CERTAIN = (d.NotLeader, d.Refused, d.Overwritten, d.TooLargeToForward)
ENDS = {d.EndSnapshot, d.EndChange, d.EndTransfer}
FAILURES = (
    str,
    d.NotLeader,
    d.Refused,
    d.ChangeRefused,
    d.Overwritten,
    d.TooLargeToForward,
    d.Unknown,
)


def driver_settings(start):
    """Tight ones, drawn from the core's seed."""
    seed = start.seed
    return d.DriverSettings(
        id=start.id,
        forward=bool(seed & 3),
        max_forward_bytes=(300, 1 << 20)[seed >> 2 & 1],
        read_retry=(60, 400)[seed >> 3 & 1] * MS,
        refusal_pause=(1, 30)[seed >> 4 & 1] * MS,
        snapshot_every_entries=(0, 8, 20, 3)[seed >> 5 & 3],
        snapshot_every_bytes=(0, 2_000)[seed >> 7 & 1],
        trailing_entries=(0, 4)[seed >> 8 & 1],
        snapshot_pin_bytes=(500, 1 << 20)[seed >> 9 & 1],
        pin_grace=(50, 1_000)[seed >> 10 & 1] * MS,
    )


def driver_start(start):
    term = next((term for first, term in reversed(start.term_runs) if first <= start.applied), start.purged.term)
    applied = LogId(term if start.applied else 0, start.applied)
    return d.DriverStart(applied, start.snapshot, start.purged, start.seed >> 11 & 0xFFFF)


class DriverPair:
    """Has a core's methods, for a simulation to use in its place."""

    def __init__(self, now, settings, start, tally=None):
        self.origin = (now, settings, start)
        self.inputs = []
        self.tally = Tally() if tally is None else tally
        self.role = "follower"
        own, begin = driver_settings(start), driver_start(start)
        self.terms = {begin.applied.index: begin.applied.term}
        self.bytes = 0
        self.turns = start.seed & 7
        self.now = now
        try:
            self.native, self.pure = both(
                "construction",
                lambda: NativeDriver(now, settings, start, own, begin),
                lambda: d.Driver(Core(now, settings, start), own, begin),
            )
            self._compare()
        except DifferenceError as difference:
            difference.pair = self
            raise

    # --- a core's face

    def step(self, given):
        self.inputs.append(given)
        self.now = max(self.now, given.now)
        effects = []
        try:
            translate = self.INPUTS[type(given)]
            for told in translate(self, given):
                effects += self._turn(told)
            self.turns += 1
            if self.turns % 4 or type(given) is Time:
                effects += self._turn(None)
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
        return effects

    def deadline(self):
        return self.pure.deadline()

    def status(self):
        return self.pure.core.status()

    def digest(self):
        return self.pure.digest()

    # --- one turn

    def _turn(self, told):
        """Hands in one thing, or flushes; the effects that came of it."""
        now = self.now
        if told is None:
            theirs, ours = self.native.flush(now, now), self.pure.flush(now, now)
        else:
            theirs, ours = self.native.handle(now, now, told), self.pure.handle(now, now, told)
        if theirs != ours or not same(theirs, ours):
            raise DifferenceError("actions", theirs, ours)
        self._compare()
        tally = self.tally
        tally.steps += 1
        kind = "driver: flush" if told is None else f"driver: {type(told).__name__}"
        tally.cells[self.role, kind, result(ours)] += 1
        tally.idle += told is None and not ours
        effects = []
        for action in ours:
            effect = self._effect(action)
            if effect is not None:
                effects.append(effect)
        return effects

    def _compare(self):
        theirs, ours = self.native.deadline(), self.pure.deadline()
        if not same(theirs, ours):
            raise DifferenceError("deadline", theirs, ours)
        theirs, ours = self.native.digest(), self.pure.digest()
        if not same(theirs, ours):
            raise DifferenceError("digest", theirs.hex(), ours.hex())

    def _effect(self, action):
        kind = type(action)
        if kind is d.Apply:
            for entry in action.entries:
                self.terms[entry.index] = entry.term
                self.bytes += 64 + len(entry.data)
            return Apply(action.entries)
        if kind is d.Query:
            return None if is_eventual(action.waiter) else ReadReady(action.waiter, action.index)
        if kind is d.FailProposal:
            certain = action.id is None and isinstance(action.failure, CERTAIN)
            return Refused(action.waiter, str(action.failure)) if certain else None
        if kind is Restore:
            self.terms[action.last.index] = action.last.term
        elif kind is Changed and self.role != CLOSED:
            self.role = action.role
        elif kind is Closed:
            self.role = CLOSED
        return action

    # --- what a runtime would hand in

    def _deadline(self, request):
        """A third of the calls have one, some of them over at once."""
        return self.now + request % 7 * 40 * MS if request % 3 == 0 else None

    def _propose(self, given):
        return [d.Propose(draft, request, self._deadline(request)) for request, draft in given.batches]

    def _read(self, given):
        how = "lease" if given.lease else "linearizable"
        return [d.Read(given.id, self._deadline(given.id), "eventual" if is_eventual(given.id) else how)]

    def _applied(self, given):
        # A term beyond all limits, which a damaged peer has brought about, is nothing that a state machine reports.
        last = LogId(min(self.terms.get(given.index, max(self.terms.values())), 1 << 61), given.index)
        bytes_, self.bytes = self.bytes, 0
        return [d.Applied(last, bytes_)]

    def _snapshot_taken(self, given):
        return [d.SnapshotFailed() if given.last.index % 7 == 0 else d.SnapshotTaken(given.last)]

    def _failed(self, given):
        self.role = CLOSED
        return [d.PersistFailed(given.token)]

    def _change(self, given):
        return [d.Change(given.changes, given.id, self._deadline(given.id))]

    INPUTS = {  # noqa: RUF012
        Time: lambda _, given: [],
        Receive: lambda _, given: [d.Receive(given.message)],
        Propose: _propose,
        Read: _read,
        Transfer: lambda self, given: [d.Transfer(given.to, given.id, self._deadline(given.id))],
        ChangeMembers: _change,
        Persisted: lambda _, given: [d.Persisted(given.token)],
        PersistFailed: _failed,
        Fetched: lambda _, given: [d.Fetched(given.id, given.entries)],
        Applied: _applied,
        ApplyStopped: lambda _, given: [d.ApplyStopped()],
        SnapshotTaken: _snapshot_taken,
        # When to purge is the driver's business; a user who wants a snapshot is not the core's.
        Purge: lambda self, given: [d.Snapshot(given.upto, self._deadline(given.upto), min(given.upto, 1 << 40))],
        SnapshotReceived: lambda _, given: [d.SnapshotReceived(*given[1:])],
        SnapshotSent: lambda _, given: [d.SnapshotSent(given.to, given.delivered)],
        Unreachable: lambda _, given: [d.Unreachable(given.node)],
        Close: lambda self, given: [d.Close(given.handover, self.now + 100 * MS)],
    }


def is_eventual(waiter):
    """Which reads ask for no more than what is applied here."""
    return waiter % 5 == 0


def result(actions):
    """The outcome, as the core's: a call that ends without what it wanted is a refusal."""
    found = outcome([action for action in actions if type(action) not in ENDS])
    if found == "changed":
        return found
    for action in actions:
        kind = type(action)
        if kind is d.FailProposal or kind is d.FailRead or (kind in ENDS and isinstance(action.result, FAILURES)):
            return "refused"
    return "acted" if actions and found == "silent" else found
