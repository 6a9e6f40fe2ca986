"""What the core knows of the log without reading it: its bounds, its term runs, and the entries at its end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from .entry import HEADER_BYTES, Entry
from .types import Index, LogId, Term, WallMicros

__all__ = ["Log"]

_COMPACT: Final = 256
"""So many places at the front of the tail's list may stand empty."""


class Log:
    """The log's outline and its tail.

    Entries up to `purged` are gone. `runs` are the ascending `(first index, term)` of every run of one term behind it. The tail is contiguous,
    ends at `last`, and holds at least everything that is not durable.
    """

    __slots__ = (
        "_empty",
        "_ends",
        "_tail",
        "durable",
        "last",
        "last_term",
        "last_time",
        "purged",
        "runs",
        "tail_bytes",
        "tail_first",
        "tail_limit",
        "volatile_bytes",
    )

    def __init__(
        self, purged: LogId, last: Index, runs: Iterable[tuple[Index, Term]], last_time: WallMicros, tail_limit: int
    ) -> None:
        """A log as found on disk: all of it is durable, none of it in memory."""
        self.purged = purged
        self.last = last
        self.runs = list(runs)
        self.last_term = self.runs[-1][1] if self.runs else purged.term
        self.last_time = last_time
        """Time of the newest entry: what the next one's must not be below."""
        self.durable = last
        """Everything up to here is on disk."""
        self.volatile_bytes = 0
        """Bytes at the end that are not durable."""
        self.tail_first = last + 1
        """The index of the first entry in memory."""
        self.tail_bytes = 0
        """Bytes of the entries in memory."""
        self.tail_limit = tail_limit
        """What they are trimmed to."""
        self._tail: list[Entry] = []
        self._ends = [0]  # how many bytes were ever appended before each entry of the tail, and behind the last
        self._empty = 0  # places at the front of both lists whose entries have been let go

    @property
    def tail(self) -> Sequence[Entry]:
        """The entries in memory."""
        return self._tail[self._empty :]

    def last_id(self) -> LogId:
        """The last entry."""
        return LogId(self.last_term, self.last)

    def term(self, index: Index) -> Term | None:
        """The term at that index, if it is known."""
        runs = self.runs
        if runs and runs[-1][0] <= index <= self.last:
            return self.last_term
        if index == self.purged.index:
            return self.purged.term
        if index < self.purged.index or index > self.last:
            return None
        run = bisect_right(runs, index, key=_first)
        return runs[run - 1][1] if run else None

    def holds(self, index: Index, term: Term) -> bool:
        """Whether that entry stands in the log (or just before it)."""
        return self.term(index) == term

    def agreement(self, at: LogId) -> LogId:
        """The newest entry at or before `at.index` whose term is not beyond `at.term`: where two logs can agree at best."""
        index = end = min(at.index, self.last)
        for first, term in reversed(self.runs):
            if first > index:
                continue
            if term <= at.term:
                return LogId(term, end)
            end = first - 1
        return self.purged

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries that follow the last one."""
        ends, newest, last_time = self._ends, self.last_term if self.runs else None, self.last_time
        begin = end = ends[-1]
        for index, term, _, time, _, _, _, data in entries:
            if term != newest:
                self.runs.append((index, term))
                newest = self.last_term = term
            if time > last_time:  # noqa: PLR1730 (a call for each entry costs as much as all the rest)
                last_time = time
            end += HEADER_BYTES + len(data)
            ends.append(end)
        self._tail += entries
        self.last += len(entries)
        self.last_time = last_time
        self.tail_bytes += end - begin
        self.volatile_bytes += end - begin

    def truncate(self, start: Index) -> None:
        """Drops entries from `start` on."""
        tail = self._tail
        while len(tail) > self._empty and tail[-1].index >= start:
            bytes_ = HEADER_BYTES + len(tail[-1].data)
            self.tail_bytes -= bytes_
            if tail[-1].index > self.durable:
                self.volatile_bytes -= bytes_
            tail.pop()
            self._ends.pop()
        while self.runs and self.runs[-1][0] >= start:
            self.runs.pop()
        self.last = min(self.last, start - 1)
        self.durable = min(self.durable, start - 1)
        self._outline_changed()

    def reset(self, to: LogId, time: WallMicros) -> None:
        """Forgets everything: the log begins behind `to`, which a committed snapshot covers. Until storage has done the same nothing counts as
        durable."""
        self._tail.clear()
        self._ends = [0]
        self._empty = self.tail_bytes = self.volatile_bytes = 0
        self.runs.clear()
        self.purged = to
        self.last = to.index
        self.durable = 0
        self.last_time = max(self.last_time, time)
        self._outline_changed()

    def purge(self, upto: Index) -> LogId:
        """Forgets entries up to `upto`, which is in the log. Gives back what then stands before the first."""
        term = self.term(upto)
        if term is not None:
            self.purged = LogId(term, upto)
            runs = self.runs
            while len(runs) > 1 and runs[1][0] <= upto + 1:
                del runs[0]
            if self.last == upto:
                runs.clear()
            elif runs:
                runs[0] = (max(runs[0][0], upto + 1), runs[0][1])
            while self.tail_first <= min(upto, self.last):
                self._drop_front()
            self._outline_changed()
        return self.purged

    def made_durable(self, index: Index) -> None:
        """Everything up to `index` is on disk now."""
        index = min(index, self.last)
        if index > self.durable:
            # The tail holds everything that was not durable.
            first, shift = max(self.durable + 1, self.tail_first), self._empty - self.tail_first
            if first <= index:
                self.volatile_bytes -= self._ends[index + 1 + shift] - self._ends[first + shift]
            self.durable = index

    def trim(self) -> None:
        """Lets go of the oldest durable entries beyond the bound."""
        while self.tail_bytes > self.tail_limit and self.tail_first <= self.durable:
            self._drop_front()

    def slice(self, lo: Index, hi: Index, max_bytes: int) -> tuple[tuple[Entry, ...], int] | Index | None:
        """Entries `lo..=hi` of at most `max_bytes`, at least one: as long a run as the bound allows, with its bytes. A number: they are on disk only,
        up to that index (excluded). `None`: purged."""
        if lo <= self.purged.index:
            return None
        first = self.tail_first
        if lo < first:
            return min(first, hi + 1)
        at = lo - first + self._empty
        end = min(hi - first + self._empty + 1, len(self._tail))
        if end <= at:
            return (), 0
        ends = self._ends
        if ends[end] - ends[at] > max_bytes:
            end = max(bisect_right(ends, ends[at] + max_bytes, at, end) - 1, at + 1)
        return tuple(self._tail[at:end]), ends[end] - ends[at]

    def _drop_front(self) -> None:
        self.tail_bytes -= HEADER_BYTES + len(self._tail[self._empty].data)
        self._empty += 1
        self.tail_first += 1
        if self._empty >= _COMPACT and self._empty * 2 >= len(self._tail):
            del self._tail[: self._empty]
            del self._ends[: self._empty]
            self._empty = 0

    def _outline_changed(self) -> None:
        self.last_term = self.runs[-1][1] if self.runs else self.purged.term
        self.tail_first = self.last + 1 - (len(self._tail) - self._empty)


def _first(run: tuple[Index, Term]) -> Index:
    return run[0]
