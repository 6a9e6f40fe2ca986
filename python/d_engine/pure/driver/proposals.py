"""Proposals on their way: held until a leader is known, asked for, placed in the log, handed out with their entries.

What may stand in some log is never asked again, because it could be applied twice, unless it belongs to a session: there the
session table answers a repetition with the first result. Once it was in doubt it stays so, until it has a result.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Final

from d_engine.pure.entry import size
from d_engine.pure.types import LogId

from .digest import forwarding, option
from .types import (
    NEVER,
    Cut,
    FailProposal,
    Last,
    More,
    NotLeader,
    Overwritten,
    Refused,
    TooLargeToForward,
    Unknown,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from d_engine.pure.entry import Draft, Entry
    from d_engine.pure.message import Refusal

    from .types import Action, Failure


class Held:
    """Not stepped yet: not in any log, unless it is in doubt."""

    __slots__ = ("deadline", "doubt", "draft", "waiter")

    def __init__(self, draft: Draft, waiter: object, deadline: int | None, doubt: Unknown | None) -> None:
        self.draft = draft
        self.waiter = waiter
        self.deadline = deadline
        self.doubt = doubt  # why an earlier attempt may stand in a log


class Asked:
    """Stepped, and no answer yet."""

    __slots__ = ("copy", "deadline", "doubt", "entries", "forwarded", "repeat_at", "repeatable", "waiter")

    def __init__(self, held: Held, copy: Draft | None, *, repeatable: bool) -> None:
        # Only of what may be passed on, and of sessions: what a leader certainly refused can be asked again.
        self.copy = copy
        self.entries = len(held.draft)
        self.forwarded: tuple[int, int] | None = None  # to whom, and in which term
        self.waiter = held.waiter
        self.deadline = held.deadline
        self.repeatable = repeatable  # it belongs to a session
        self.repeat_at: int | None = None  # a repeatable one that was passed on is asked again by then
        self.doubt = held.doubt


class Placed:
    """In the log, at the place of its key."""

    __slots__ = ("begun", "copy", "deadline", "doubt", "end", "id", "waiter")

    def __init__(self, request: int, end: int, asked: Asked) -> None:
        self.id = request
        self.end = end
        self.begun = False  # pieces have gone out
        self.waiter = asked.waiter
        self.deadline = asked.deadline
        self.copy = asked.copy if asked.repeatable else None  # only of sessions
        self.doubt = asked.doubt

    def repeatable(self) -> Draft | None:
        """A copy that may be asked again: one of which pieces have gone out is seen through as it is."""
        copy, self.copy = self.copy, None
        return None if self.begun else _forwardable(copy)


# With that many entries under way, what comes is gathered: one batch for what would have been several, in the log, on the
# way to the followers and in their logs. Whoever is alone, or nearly so, waits for nothing.
BUSY_ENTRIES: Final = 32
# Gathering ends with so many entries,
GATHERED_ENTRIES: Final = 256
# or after so long,
GATHER_SPAN: Final = 4_000
# or, when those before them are through, with so many,
GATHERED_IDLE: Final = 96
# or as soon as nothing has come for so long: callers who wait for each other's results all stand here by then.
GATHER_PAUSE: Final = 250

# A proposal of a session that was passed on, and of which nothing is heard for so long, is asked again.
REPEAT_SPAN: Final = 2_000_000

# Kinds of entries that a member may propose through another one; only leaders make the other kinds.
_FORWARDED: Final = ("command", "session")
# Why something is in doubt, each at its number.
_DOUBTS: Final = ("timeout", "forwarded", "closed", "restored", "applied")

# Scans for what has expired come at least this far apart.
SCAN_INTERVAL: Final = 10_000


class Proposals:
    """All proposals of the local user that have not ended."""

    __slots__ = (
        "asked",
        "earliest",
        "gather_until",
        "held",
        "held_entries",
        "last_came",
        "paused_until",
        "placed",
        "places",
    )

    def __init__(self) -> None:
        self.held: deque[Held] = deque()
        # Entries in `held`, and until when more may join them.
        self.held_entries = 0
        self.gather_until = 0
        self.last_came = 0  # when the newest in `held` came
        self.asked: dict[int, Asked] = {}  # ids ascend
        self.placed: dict[tuple[int, int], Placed] = {}  # by (index, term)
        self.places: list[tuple[int, int]] = []  # the keys of `placed`, in order
        self.paused_until = 0  # no asking before that, after a refusal
        # No deadline is before that. A scan at the earliest one is cheaper than an ordered set, because most end in time.
        self.earliest = NEVER

    def __len__(self) -> int:
        return len(self.held) + len(self.asked) + len(self.placed)

    def hold(self, now: int, applying: int, draft: Draft, waiter: object, deadline: int | None) -> None:
        """Takes one up. `applying`: entries that the state machine was given and has not reported."""
        if not self.held:
            busy = self._under_way(applying) >= BUSY_ENTRIES
            self.held_entries, self.gather_until = 0, now + GATHER_SPAN if busy else now
        self.held_entries += len(draft)
        self.last_came = now
        if deadline is not None and deadline < self.earliest:
            self.earliest = deadline
        self.held.append(Held(draft, waiter, deadline, None))

    def _hold_again(self, draft: Draft, waiter: object, deadline: int | None, doubt: Unknown | None) -> None:
        """Holds what was under way before: it gathers nothing, and goes before what came later."""
        if not self.held:
            self.held_entries = self.gather_until = self.last_came = 0
        self.held_entries += len(draft)
        if deadline is not None and deadline < self.earliest:
            self.earliest = deadline
        self.held.appendleft(Held(draft, waiter, deadline, doubt))

    def _under_way(self, applying: int) -> int:
        return applying + len(self.asked) + len(self.placed)

    def can_ask(self, now: int, applying: int) -> bool:
        """Whether what is held may go to the core."""
        return bool(self.held) and now >= self.paused_until and now >= self._gathered_at(applying)

    def _gathered_at(self, applying: int) -> int:
        """When gathering ends, as far as can be told now."""
        idle = self._under_way(applying) < BUSY_ENTRIES
        if self.held_entries >= (GATHERED_IDLE if idle else GATHERED_ENTRIES):
            return 0
        return min(self.gather_until, self.last_came + GATHER_PAUSE) if idle else self.gather_until

    def leader_changed(self, term: int, answer_by: int) -> None:
        """Another leader: of what the old one was given nothing may be heard any more."""
        self.paused_until = 0
        late = [(request, one) for request, one in self.asked.items() if one.forwarded and one.forwarded[1] < term]
        for request, asked in reversed(late):
            if asked.repeatable:
                self._ask_again(self.asked.pop(request))
            else:
                asked.deadline = _sooner(asked.deadline, answer_by)
                self.earliest = min(self.earliest, answer_by)
        for key in [key for key in reversed(self.places) if key[1] < term and self.placed[key].copy is not None]:
            placed = self.placed[key]
            draft = placed.repeatable()
            if draft is not None:
                self._take(key)
                self._hold_again(draft, placed.waiter, placed.deadline, Unknown("timeout", LogId(key[1], key[0])))

    def _ask_again(self, asked: Asked) -> None:
        doubt = asked.doubt if asked.forwarded is None else Unknown("forwarded", asked.forwarded[0])
        draft = _forwardable(asked.copy)
        if draft is not None:
            self._hold_again(draft, asked.waiter, asked.deadline, doubt)

    def removed(self, answer_by: int) -> None:
        """This node is no member any more: what it waits for comes soon, if at all."""
        for asked in self.asked.values():
            asked.deadline = _sooner(asked.deadline, answer_by)
        for placed in self.placed.values():
            placed.deadline = _sooner(placed.deadline, answer_by)
        if self.asked or self.placed:
            self.earliest = min(self.earliest, answer_by)

    def deadline(self, applying: int, *, leader_known: bool) -> int | None:
        """When `ask` or `expire` has something to do."""
        due = self.earliest
        if leader_known and self.held:
            due = min(due, max(self.paused_until, self._gathered_at(applying)))
        return None if due == NEVER else due

    def ask(self, last_id: int, limit: int | None, out: list[Action]) -> tuple[int, list[tuple[int, Draft]]]:
        """Everything that is held, as batches for one step, and the last id given to one.

        Args:
            last_id: the last id in use.
            limit: largest batch in bytes that may be passed on; None: this node leads.
            out: takes what cannot be passed on.
        """
        batches: list[tuple[int, Draft]] = []
        while self.held:
            held = self.held.popleft()
            if limit is not None and _bytes(held.draft) > limit:
                failure = _doubtful(held.doubt, TooLargeToForward(_bytes(held.draft), limit))
                out.append(FailProposal(None, held.waiter, failure))
                continue
            last_id += 1
            repeatable = all(one.kind == "session" or one.session for one in held.draft)
            copy = None if limit is None and not repeatable else held.draft
            self.asked[last_id] = Asked(held, copy, repeatable=repeatable)
            batches.append((last_id, held.draft))
        return last_id, batches

    def forwarded(self, request: int, to: int, term: int, now: int) -> int | None:
        """The core has passed it on: how many entries."""
        asked = self.asked.get(request)
        if asked is None:
            return None
        asked.forwarded = (to, term)
        if asked.repeatable:
            asked.repeat_at = now + REPEAT_SPAN
            self.earliest = min(self.earliest, asked.repeat_at)
        return asked.entries

    def place(self, request: int, at: LogId) -> None:
        """The leader has given it a place in the log."""
        asked = self.asked.pop(request, None)
        if asked is not None:
            self._put((at.index, at.term), Placed(request, at.index + asked.entries, asked))

    def passed(self, request: int, at: LogId, out: list[Action]) -> None:
        """Its place is known too late: that is handed out already."""
        asked = self.asked.pop(request, None)
        if asked is None:
            return
        if asked.repeatable:
            self._ask_again(asked)
        else:
            out.append(FailProposal(None, asked.waiter, Unknown("applied", at)))

    def _put(self, key: tuple[int, int], placed: Placed) -> None:
        if key not in self.placed:
            insort(self.places, key)
        self.placed[key] = placed

    def _take(self, key: tuple[int, int]) -> Placed:
        del self.places[bisect_left(self.places, key)]
        return self.placed.pop(key)

    def refused(
        self,
        request: int,
        why: Refusal,
        leader: int | None,
        term: int,
        again: int,
        *,
        closing: bool,
        out: list[Action],
    ) -> None:
        """The leader did not take it: asked again where that helps."""
        asked = self.asked.pop(request, None)
        if asked is None:
            return
        moving = why in {"not_leader", "transferring"}
        draft = _forwardable(asked.copy) if moving and not closing else None
        if draft is not None:
            # Long since come: it waits out the pause.
            self.paused_until = again
            self._hold_again(draft, asked.waiter, asked.deadline, asked.doubt)
            return
        failure = NotLeader(leader, term) if why == "not_leader" else Refused(why)
        out.append(FailProposal(None, asked.waiter, _doubtful(asked.doubt, failure)))

    def fail(self, request: int, failure: Failure, out: list[Action]) -> None:
        """Ends one that has no place yet."""
        asked = self.asked.pop(request, None)
        if asked is not None:
            out.append(FailProposal(None, asked.waiter, failure))

    def hand_out(self, entries: Sequence[Entry], out: list[Action]) -> tuple[Wanted, ...]:
        """Finds who waits for which of `entries`, and fails those in whose place something else stands."""
        wanted: list[Wanted] = []
        first, last = entries[0].index, entries[-1].index
        while self.places and self.places[0][0] <= last:
            index, term = key = self.places.pop(0)
            placed = self.placed.pop(key)
            if index < first:
                # Nothing is handed out twice or left out, so this cannot be; a caller without an answer would be worse.
                out.append(_fail(placed, Unknown("applied", LogId(term, index))))
                continue
            start, stop = index - first, min(placed.end, last + 1) - first
            ours = start
            while ours < stop and entries[ours].term == term:
                ours += 1
            if ours < stop:
                draft = placed.repeatable()
                if draft is not None:
                    doubt = Unknown("applied", LogId(term, index)) if ours > start else placed.doubt
                    self._hold_again(draft, placed.waiter, placed.deadline, doubt)
                    continue
                overwritten = Overwritten(LogId(term, first + ours), entries[ours].term)
                if ours == start:
                    out.append(_fail(placed, overwritten))
                else:
                    wanted.append(Wanted(start, ours, placed.id, placed.deadline, Cut(placed.waiter, overwritten)))
            elif placed.end <= last + 1:
                wanted.append(Wanted(start, stop, placed.id, placed.deadline, Last(placed.waiter)))
            else:
                wanted.append(Wanted(start, stop, placed.id, placed.deadline, More()))
                placed.begun = True
                self._put((last + 1, term), placed)
        return tuple(wanted)

    def restored(self, last: LogId, out: list[Action]) -> None:
        """What a snapshot covers has no result here."""
        behind = bisect_left(self.places, (last.index + 1, 0))
        covered, self.places = self.places[:behind], self.places[behind:]
        again: list[tuple[Draft, Placed]] = []
        for placed in [self.placed.pop(key) for key in covered]:
            draft = placed.repeatable()
            if draft is None:
                out.append(_fail(placed, Unknown("restored", last)))
            else:
                again.append((draft, placed))
        # The snapshot's sessions know them.
        for draft, placed in reversed(again):
            self._hold_again(draft, placed.waiter, placed.deadline, Unknown("restored", last))

    def fail_held(self, failure: Failure, out: list[Action]) -> None:
        """Fails what waits to be asked."""
        out.extend(FailProposal(None, held.waiter, _doubtful(held.doubt, failure)) for held in self.held)
        self.held.clear()

    def fail_placed(self, failure: Failure, out: list[Action]) -> None:
        """Fails what may stand in a log."""
        out.extend(FailProposal(None, asked.waiter, failure) for asked in self.asked.values())
        out.extend(_fail(self.placed[key], failure) for key in self.places)
        self.asked.clear()
        self.placed.clear()
        self.places.clear()

    def expire(self, now: int, term: int, out: list[Action]) -> None:
        """Ends those whose time is over."""
        if now < self.earliest:
            return
        for _ in range(len(self.held)):
            held = self.held.popleft()
            if held.deadline is not None and held.deadline <= now:
                out.append(FailProposal(None, held.waiter, _doubtful(held.doubt, NotLeader(None, term))))
            else:
                self.held.append(held)
        for request, asked in list(self.asked.items()):
            if asked.deadline is not None and asked.deadline <= now:
                del self.asked[request]
                why = Unknown("closed", None) if asked.forwarded is None else Unknown("forwarded", asked.forwarded[0])
                out.append(FailProposal(None, asked.waiter, why))
        silent = [request for request, asked in self.asked.items() if _is_due(asked.repeat_at, now)]
        for request in reversed(silent):
            self._ask_again(self.asked.pop(request))
        late = [key for key in self.places if _is_due(self.placed[key].deadline, now)]
        if late:
            out.extend(_fail(self.placed.pop(key), Unknown("timeout", LogId(key[1], key[0]))) for key in late)
            self.places = sorted(self.placed)
        waiting = (self.held, self.asked.values(), self.placed.values())
        following = [one.deadline for calls in waiting for one in calls if one.deadline is not None]
        following += [asked.repeat_at for asked in self.asked.values() if asked.repeat_at is not None]
        self.earliest = max(min(following), now + SCAN_INTERVAL) if following else NEVER

    def numbers(self) -> list[int]:
        """For the digest."""
        found = [len(self.held)]
        for held in self.held:
            found += [len(held.draft), _bytes(held.draft), *option(held.deadline), _number(held.doubt)]
        found += [self.held_entries, self.gather_until, self.last_came, len(self.asked)]
        for request, asked in self.asked.items():
            found += [request, asked.copy is not None, asked.entries]
            found += [*forwarding(asked.forwarded), *option(asked.deadline)]
            found += [asked.repeatable, *option(asked.repeat_at), _number(asked.doubt)]
        found.append(len(self.places))
        for key in self.places:
            placed = self.placed[key]
            found += [*key, placed.id, placed.end, placed.begun, *option(placed.deadline)]
            found += [placed.copy is not None, _number(placed.doubt)]
        return [*found, self.paused_until, self.earliest]


def _bytes(draft: Draft) -> int:
    return sum(size(one) for one in draft)


def _forwardable(copy: Draft | None) -> Draft | None:
    """What may be asked again through another member, if a copy was kept."""
    return copy if copy is not None and all(one.kind in _FORWARDED for one in copy) else None


def _doubtful(doubt: Unknown | None, failure: Failure) -> Failure:
    """What was in doubt before is not certain again by a later refusal."""
    return failure if doubt is None or failure == "apply_stopped" else doubt


def _number(doubt: Unknown | None) -> int:
    return 0 if doubt is None else 1 + _DOUBTS.index(doubt.why)


def _fail(placed: Placed, failure: Failure) -> FailProposal:
    return FailProposal(placed.id if placed.begun else None, placed.waiter, failure)


def _sooner(deadline: int | None, by: int) -> int:
    return by if deadline is None else min(deadline, by)


def _is_due(deadline: int | None, now: int) -> bool:
    return deadline is not None and deadline <= now
