"""The log's outline against one that keeps everything in a list."""

import random

from d_engine.pure import Entry, Log, LogId


def entry(index, term, size):
    return Entry(index, term, "command", index, 0, 0, 0, bytes(size))


def record_bytes(entries):
    return sum(64 + len(one.data) for one in entries)


class Plain:
    """All entries, and how far they are durable."""

    def __init__(self, random):
        self.random = random
        self.limit = random.choice((0, 200, 1000))
        self.log = Log(LogId(0, 0), 0, (), 0, self.limit)
        self.entries = []
        self.term = 1

    def append(self):
        self.term += self.random.random() < 0.2
        first = self.log.last + 1
        new = tuple(entry(first + at, self.term, self.random.randrange(100)) for at in range(self.random.randrange(5)))
        self.log.append(new)
        self.entries += new

    def truncate(self):
        if self.entries:
            start = self.random.choice(self.entries).index
            self.log.truncate(start)
            self.entries = [one for one in self.entries if one.index < start]

    def made_durable(self):
        self.log.made_durable(self.random.randint(self.log.durable, self.log.last))

    def trim(self):
        self.log.trim()
        assert self.log.tail_bytes <= max(self.limit, self.log.volatile_bytes)

    def purge(self):
        if self.log.durable > self.log.purged.index and self.random.random() < 0.3:
            upto = self.random.randint(self.log.purged.index + 1, self.log.durable)
            purged = self.log.purge(upto)
            assert purged == LogId(next(one.term for one in self.entries if one.index == upto), upto)
            self.entries = [one for one in self.entries if one.index > upto]

    def check(self):
        log, entries = self.log, self.entries
        tail = list(log.tail)
        assert tail == entries[len(entries) - len(tail) :]
        assert log.tail_first == log.last + 1 - len(tail)
        assert log.tail_bytes == record_bytes(tail)
        assert log.volatile_bytes == record_bytes(one for one in entries if one.index > log.durable)
        assert {one.index for one in entries if one.index > log.durable} <= {one.index for one in tail}
        for one in entries:
            assert log.term(one.index) == one.term
        assert log.term(log.purged.index) == log.purged.term
        assert log.term(log.last + 1) is None
        assert log.last_id() == (LogId(entries[-1].term, entries[-1].index) if entries else log.purged)

    def check_slice(self):
        if not self.entries:
            return
        lo = self.random.choice(self.entries).index
        hi = self.random.randint(lo, self.log.last)
        limit = self.random.randrange(400)
        found = self.log.slice(lo, hi, limit)
        if lo < self.log.tail_first:
            assert found == min(self.log.tail_first, hi + 1)
            return
        wanted = [one for one in self.entries if lo <= one.index <= hi]
        while len(wanted) > 1 and record_bytes(wanted) > limit:
            wanted.pop()
        assert found == (tuple(wanted), record_bytes(wanted))

    def check_agreement(self):
        at = LogId(self.random.randrange(self.term + 2), self.random.randrange(self.log.last + 3))
        below = [one for one in self.entries if one.index <= at.index and one.term <= at.term]
        assert self.log.agreement(at) == (LogId(below[-1].term, below[-1].index) if below else self.log.purged)


def test_log(seed):
    for stream in range(500):
        plain = Plain(random.Random(seed * 1000 + stream))
        for _ in range(40):
            plain.random.choice((plain.append, plain.truncate, plain.made_durable, plain.trim, plain.purge))()
            plain.check()
            plain.check_slice()
            plain.check_agreement()


def test_purged_entries_are_nowhere():
    log = Log(LogId(2, 10), 12, ((11, 3),), 0, 100)
    assert log.slice(10, 12, 100) is None
    assert log.slice(11, 12, 100) == 13
    assert log.term(9) is None
    assert log.term(12) == 3


def test_a_reset_log_is_not_durable_before_storage_says_so():
    log = Log(LogId(), 5, ((1, 1),), 0, 100)
    log.reset(LogId(4, 9), 7)
    assert (log.last_id(), log.durable, log.tail_first) == (LogId(4, 9), 0, 10)
    log.append((entry(10, 4, 1),))
    log.made_durable(10)
    assert (log.durable, log.volatile_bytes) == (10, 0)
