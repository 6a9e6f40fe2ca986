"""A disk that keeps what was synced, and a state machine that sums up what it was given."""

from collections import deque
from typing import NamedTuple
from zlib import crc32

from d_engine.pure import HardState, LogId, Persist, Start
from d_engine.pure.configuration import decode

ZERO = LogId(term=0, index=0)


class Machine(NamedTuple):
    """Where a state machine is, and a sum over everything it was given, in order."""

    applied: LogId = ZERO
    sum: int = 0

    def apply(self, entries):
        index, total = self.applied.index, self.sum
        for entry in entries:
            assert entry.index == index + 1, f"applied in order, without gaps: {entry.index} after {index}"
            index = entry.index
            total = crc32(entry.data, total ^ entry.term)
        last = entries[-1]
        return Machine(LogId(term=last.term, index=last.index), total)


class Snapshot(NamedTuple):
    machine: Machine
    time: int
    configuration: tuple  # the index of its entry, and it

    @property
    def last(self):
        return self.machine.applied


class Disk:
    """What survives a crash, and the queue of what does not yet."""

    __slots__ = ("entries", "hard_state", "initial", "purged", "queue", "snapshot")

    def __init__(self, initial):
        self.hard_state = HardState(0, None)
        self.purged = ZERO
        self.entries = []
        self.initial = initial  # the first configuration; None on a node that joins
        self.snapshot = None
        self.queue = deque()  # Persist effects, and LogIds up to which to purge

    def last(self):
        if not self.entries:
            return self.purged
        newest = self.entries[-1]
        return LogId(term=newest.term, index=newest.index)

    def get(self, index):
        at = index - self.purged.index - 1
        return self.entries[at] if 0 <= at < len(self.entries) else None

    def term(self, index):
        if index == self.purged.index:
            return self.purged.term
        entry = self.get(index)
        return None if entry is None else entry.term

    def view(self, index):
        """The entry at an index once all jobs are done; None if there is none."""
        for job in reversed(self.queue):
            if type(job) is not Persist:
                continue
            if job.entries and job.entries[0].index <= index <= job.entries[-1].index:
                return job.entries[index - job.entries[0].index]
            if job.truncate_from is not None and job.truncate_from <= index:
                return None
            if job.reset_to is not None:
                return None
        return self.get(index)

    def begins(self):
        """Before which index the log begins once all jobs are done."""
        for job in reversed(self.queue):
            if type(job) is not Persist:
                return job.index
            if job.reset_to is not None:
                return job.reset_to.index
        return self.purged.index

    def work(self):
        """Carries out the oldest job. Gives back the token to report, if it has one."""
        job = self.queue.popleft()
        if type(job) is Persist:
            self._store(job)
            return job.token
        self._purge(job)
        return None

    def _store(self, job):
        state = job.hard_state
        if state is not None:
            assert state.term >= self.hard_state.term, "terms never go back"
            if state.term == self.hard_state.term and self.hard_state.vote is not None:
                assert state.vote == self.hard_state.vote, "a vote is never changed"
            self.hard_state = state
        if job.reset_to is not None:
            assert self.snapshot is not None, "a log is reset only to a committed snapshot"
            assert self.snapshot.last >= job.reset_to, "a log is reset only to a committed snapshot"
            self.entries.clear()
            self.purged = job.reset_to
        if job.truncate_from is not None:
            assert job.truncate_from > self.purged.index, "what is purged is never truncated"
            del self.entries[job.truncate_from - self.purged.index - 1 :]
        if job.entries:
            last = self.last()
            assert job.entries[0].index == last.index + 1, "appends are contiguous"
            assert job.entries[0].term >= last.term, "terms never go back in a log"
            self.entries.extend(job.entries)

    def _purge(self, upto):
        assert self.snapshot is not None, "only what a snapshot covers is purged"
        assert upto.index <= self.snapshot.last.index, "only what a snapshot covers is purged"
        assert self.term(upto.index) == upto.term, "purged is what stands there"
        del self.entries[: upto.index - self.purged.index]
        self.purged = upto

    def crash(self, kept):
        """Power is lost: of what was not synced, only the first `kept` jobs made it."""
        for _ in range(kept):
            self.work()
        self.queue.clear()

    def start(self, node, incarnation, seed, applied):
        """What a core starts with."""
        snapshot = self.snapshot
        if snapshot is not None:
            last = snapshot.last
            if last.index > self.purged.index and self.term(last.index) != last.term:
                self.entries.clear()
                self.purged = last
        found = self.configurations()
        runs, time = [], 0 if snapshot is None else snapshot.time
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
            time = max(time, entry.time)
        return Start(
            id=node,
            incarnation=incarnation,
            group=0,
            seed=seed,
            hard_state=self.hard_state,
            purged=self.purged,
            last=self.last().index,
            term_runs=tuple(runs),
            last_time=time,
            configurations=tuple(found),
            snapshot=None if snapshot is None else snapshot.last,
            applied=applied,
        )

    def configurations(self, upto=None):
        """The one that the log begins with, then those that stand in it (up to an index)."""
        initial = [] if self.initial is None else [(0, self.initial)]
        found = initial if self.snapshot is None else [self.snapshot.configuration]
        covered = found[0][0] if found else 0
        for entry in self.entries:
            if entry.kind == "configuration" and entry.index > covered and (upto is None or entry.index <= upto):
                found.append((entry.index, decode(entry.data)))
        return found

    def fetch(self, lo, hi, max_bytes):
        """The answer to a fetch: at least one entry, at most so many bytes; None if they are purged."""
        if lo <= self.purged.index:
            return None
        taken, room = [], max_bytes
        for index in range(lo, hi):
            entry = self.get(index)
            if entry is None:
                break  # cut off since it was asked for: an old leader's wish
            room -= 64 + len(entry.data)
            if room < 0 and taken:
                break
            taken.append(entry)
        return tuple(taken) or None
