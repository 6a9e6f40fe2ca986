"""Changes of the membership on their way: held until a leader is known, asked for, placed in the log, done when the
configuration that ends them is committed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from d_engine.pure.configuration import Configuration, ConfigurationError, decode
from d_engine.pure.entry import log_id

from .digest import forwarding, option
from .types import ChangeRefused, EndChange, NotLeader, Overwritten, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from d_engine.pure.change import Change, ChangeError
    from d_engine.pure.entry import Entry
    from d_engine.pure.types import Index, LogId, Micros, NodeId, RequestId, Term

    from .types import Action, Failure


class Held:
    """Not stepped yet, or certainly refused for a reason that passes."""

    __slots__ = ("changes", "deadline", "refused", "waiter")

    def __init__(
        self, changes: tuple[Change, ...], refused: ChangeError | None, waiter: object, deadline: Micros | None
    ) -> None:
        self.changes = changes
        self.refused = refused  # why it was not taken when it was asked for last
        self.waiter = waiter
        self.deadline = deadline


class Asked:
    """Stepped, and no answer yet."""

    __slots__ = ("changes", "deadline", "forwarded", "waiter")

    def __init__(self, changes: tuple[Change, ...], waiter: object, deadline: Micros | None) -> None:
        self.changes = changes
        self.forwarded: tuple[NodeId, Term] | None = None  # to whom, and in which term
        self.waiter = waiter
        self.deadline = deadline


class Placed:
    """In the log, with the first configuration that it led to."""

    __slots__ = ("at", "committed", "deadline", "waiter")

    def __init__(self, at: LogId, waiter: object, deadline: Micros | None) -> None:
        self.at = at
        self.committed = False  # that configuration is committed
        self.waiter = waiter
        self.deadline = deadline


class Changes:
    """All changes of the local user that have not ended."""

    __slots__ = ("asked", "held", "paused_until", "placed")

    def __init__(self) -> None:
        self.held: deque[Held] = deque()
        self.asked: dict[RequestId, Asked] = {}  # ids ascend
        self.placed: list[Placed] = []
        self.paused_until: Micros = 0  # no asking before that, after a refusal

    def __len__(self) -> int:
        return len(self.held) + len(self.asked) + len(self.placed)

    def hold(self, changes: tuple[Change, ...], waiter: object, deadline: Micros | None) -> None:
        """Takes one up."""
        self.held.append(Held(changes, None, waiter, deadline))

    def can_ask(self, now: Micros) -> bool:
        """Whether what is held may go to the core."""
        return bool(self.held) and now >= self.paused_until

    def ask(self, request: RequestId) -> tuple[Change, ...]:
        """The next one that is held."""
        held = self.held.popleft()
        self.asked[request] = Asked(held.changes, held.waiter, held.deadline)
        return held.changes

    def deadline(self, *, leader_known: bool) -> Micros | None:
        """When `ask` or `expire` has something to do."""
        own = [one.deadline for calls in (self.held, self.asked.values(), self.placed) for one in calls]
        if leader_known and self.held:
            own.append(self.paused_until)
        return min((due for due in own if due is not None), default=None)

    def forwarded(self, request: RequestId, to: NodeId, term: Term) -> None:
        """The core has passed it on."""
        asked = self.asked.get(request)
        if asked is not None:
            asked.forwarded = (to, term)

    def leader_changed(self, term: Term, answer_by: Micros) -> None:
        """Another leader: what was passed on to one before is never sent again, and waited for a little longer."""
        self.paused_until = 0
        for asked in self.asked.values():
            if asked.forwarded is not None and asked.forwarded[1] < term:
                asked.deadline = _sooner(asked.deadline, answer_by)

    def place(self, request: RequestId, at: LogId, handed: Index, out: list[Action]) -> None:
        """The leader has put its first configuration into the log."""
        asked = self.asked.pop(request, None)
        if asked is None:
            return
        if at.index <= handed:
            out.append(EndChange(asked.waiter, Unknown("applied", at)))
        else:
            self.placed.append(Placed(at, asked.waiter, asked.deadline))

    def refused(self, request: RequestId, why: ChangeError, again: Micros, *, closing: bool, out: list[Action]) -> None:
        """The leader did not take it: what passes by itself is asked for again."""
        asked = self.asked.pop(request, None)
        if asked is None:
            return
        if why.kind in {"not_leader", "not_ready", "transferring", "in_flight"} and not closing:
            self.paused_until = again
            self.held.append(Held(asked.changes, why, asked.waiter, asked.deadline))
        else:
            out.append(EndChange(asked.waiter, ChangeRefused(why)))

    def hand_out(self, entries: Sequence[Entry], out: list[Action]) -> None:
        """Committed entries: the first configuration that is not joint, from a change's own one on, ends it."""
        if not self.placed:
            return
        for entry in entries:
            self._overwrite(entry, out)
            if entry.kind != "configuration":
                continue
            for placed in self.placed:
                placed.committed = placed.committed or placed.at == log_id(entry)
            configuration = _complete(entry.data)
            if configuration is not None:
                out += [EndChange(placed.waiter, configuration) for placed in self._take(lambda one: one.committed)]

    def _overwrite(self, entry: Entry, out: list[Action]) -> None:
        lost = self._take(lambda one: one.at.index == entry.index and one.at.term != entry.term)
        out += [EndChange(placed.waiter, Overwritten(placed.at, entry.term)) for placed in lost]

    def _take(self, which: Callable[[Placed], bool]) -> list[Placed]:
        taken = [placed for placed in self.placed if which(placed)]
        if taken:
            self.placed = [placed for placed in self.placed if not which(placed)]
        return taken

    def restored(self, last: LogId, out: list[Action]) -> None:
        """What a snapshot covers was made or not: nobody sees it here."""
        covered = self._take(lambda one: one.at.index <= last.index)
        out += [EndChange(placed.waiter, Unknown("restored", last)) for placed in covered]

    def removed(self, answer_by: Micros) -> None:
        """This node is no member any more: what it waits for comes soon, if at all."""
        for asked in self.asked.values():
            asked.deadline = _sooner(asked.deadline, answer_by)
        for placed in self.placed:
            placed.deadline = _sooner(placed.deadline, answer_by)

    def fail_held(self, failure: Failure, out: list[Action]) -> None:
        """Fails what certainly stands in no log."""
        out += [EndChange(held.waiter, failure) for held in self.held]
        self.held.clear()

    def fail_placed(self, failure: Failure, out: list[Action]) -> None:
        """Fails what may stand in a log."""
        out += [EndChange(asked.waiter, failure) for asked in self.asked.values()]
        out += [EndChange(placed.waiter, failure) for placed in self.placed]
        self.asked.clear()
        self.placed = []

    def expire(self, now: Micros, term: Term, out: list[Action]) -> None:
        """Ends those whose time is over."""
        for _ in range(len(self.held)):
            held = self.held.popleft()
            if _is_due(held.deadline, now):
                failure = NotLeader(None, term) if held.refused is None else ChangeRefused(held.refused)
                out.append(EndChange(held.waiter, failure))
            else:
                self.held.append(held)
        for request, asked in list(self.asked.items()):
            if _is_due(asked.deadline, now):
                del self.asked[request]
                why = Unknown("closed", None) if asked.forwarded is None else Unknown("forwarded", asked.forwarded[0])
                out.append(EndChange(asked.waiter, why))
        late = self._take(lambda one: _is_due(one.deadline, now))
        out += [EndChange(placed.waiter, Unknown("timeout", placed.at)) for placed in late]

    def numbers(self) -> list[int]:
        """For the digest."""
        found = [len(self.held)]
        for held in self.held:
            found += [len(held.changes), held.refused is not None, *option(held.deadline)]
        found.append(len(self.asked))
        for request, asked in self.asked.items():
            found += [request, len(asked.changes), *forwarding(asked.forwarded), *option(asked.deadline)]
        found.append(len(self.placed))
        for placed in self.placed:
            found += [placed.at.term, placed.at.index, placed.committed, *option(placed.deadline)]
        return [*found, self.paused_until]


def _complete(payload: bytes) -> Configuration | None:
    """The configuration in an entry, if it is the end of a change."""
    try:
        configuration = decode(payload)
    except ConfigurationError:
        return None
    return None if configuration.is_joint() else configuration


def _sooner(deadline: Micros | None, by: Micros) -> Micros:
    return by if deadline is None else min(deadline, by)


def _is_due(deadline: Micros | None, now: Micros) -> bool:
    return deadline is not None and deadline <= now
