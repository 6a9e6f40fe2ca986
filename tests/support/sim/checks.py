"""What must hold after every step of every schedule."""

from typing import ClassVar

from d_engine.pure import (
    Accepted,
    Apply,
    Changed,
    Fetch,
    PreVote,
    PreVoteReply,
    ReadReady,
    Refused,
    SnapshotReply,
    Vote,
    VoteReply,
)


class Checks:
    """What was seen so far. Looks at effects alone, so that a step without any costs nothing."""

    def __init__(self):
        self.leaders = {}  # who led which term
        self.applied = {}  # what was given to a state machine where, by anybody
        self.newest = 0  # the last index of that
        self.reads = {}  # reads under way: what was applied somewhere when they were asked for
        self.payloads = {}  # requests under way: what they propose
        self.refused = {}  # certainly not done, says the core
        self.places = {}  # where each payload was applied
        self.answered = 0
        self.placed = 0

    def restarted(self, node):
        pass

    def wiped(self, node):
        pass

    def proposed(self, request, payloads):
        self.payloads[request] = payloads

    def read_begins(self, request):
        self.reads[request] = self.newest

    def stepped(self, cluster, member, _given, effects):
        for effect in effects:
            look = self.LOOK.get(type(effect))
            if look is not None:
                look(self, cluster, member, effect)

    def _changed(self, cluster, member, effect):
        if effect.role != "leader" or (effect.term in self.leaders and self.leaders[effect.term] == member.id):
            return
        assert effect.term not in self.leaders, f"election safety: two leaders in term {effect.term}"
        self.leaders[effect.term] = member.id
        self._complete(member, effect.term)
        for other in cluster.nodes.values():
            if other.core is not None and other.id != member.id and other.role == "leader":
                lease = other.core.status().lease_until
                assert lease is None or lease <= cluster.now, f"{member.id} was elected while {other.id} held a lease"

    def _complete(self, member, term):
        """Leader completeness (section 5.4.3)."""
        disk = member.disk
        for index in range(disk.begins() + 1, self.newest + 1):
            expected, found = self.applied.get(index), disk.view(index)
            if expected is not None:
                assert found is not None, f"leader {member.id} of term {term} lacks {expected}"
                assert found.term == expected.term, f"leader {member.id} of term {term} lacks {expected}, has {found}"

    def _apply(self, _cluster, member, effect):
        """Given out only when durable here; one entry at one index, on all nodes for ever (state machine safety)."""
        disk = member.disk
        for entry in effect.entries:
            if entry.index > disk.purged.index:
                assert disk.get(entry.index) == entry, f"applied before durable: {entry}"
            before = self.applied.setdefault(entry.index, entry)
            assert before == entry, f"state machine safety: {before} and {entry}"
        self.newest = max(self.newest, effect.entries[-1].index)

    def applies(self, entries):
        for entry in entries:
            if entry.kind == "command" and self.places.setdefault(entry.data, entry.index) != entry.index:
                raise AssertionError(f"{entry.data!r} was applied at {self.places[entry.data]} and at {entry.index}")
            assert entry.data not in self.refused, f"{entry.data!r} was refused and applied"

    def _read_ready(self, _cluster, _member, effect):
        begun = self.reads.pop(effect.id, 0)
        assert effect.index >= begun, f"read {effect.id} got {effect.index}; {begun} was applied before it was asked"
        self.answered += 1

    def _refused(self, _cluster, _member, effect):
        self.reads.pop(effect.id, None)
        for payload in self.payloads.pop(effect.id, ()):
            assert payload not in self.places, f"{payload!r} was refused and applied"
            self.refused[payload] = effect.why

    def _fetch(self, _cluster, member, effect):
        assert effect.lo < effect.hi, "a fetch asks for something"
        assert effect.hi - 1 <= member.disk.last().index, "fetched before durable"

    LOOK: ClassVar[dict] = {Changed: _changed, Apply: _apply, ReadReady: _read_ready, Refused: _refused, Fetch: _fetch}

    def sends(self, disk, message):
        """What depends on the disk is on it (Laws 1 and 5)."""
        durable, body = disk.hard_state, message.body
        kind = type(body)
        if kind is PreVoteReply and body.granted:
            return
        term = message.term - 1 if kind is PreVote else message.term
        assert term <= durable.term, f"{message} shows a term that is not durable: {durable}"
        if kind is VoteReply and body.granted:
            assert durable == (message.term, message.to), "a vote left before it was durable"
        elif kind is Vote:
            assert durable == (message.term, message.sender), "a candidacy is not durable"
        elif kind is Accepted or kind is SnapshotReply:
            assert body.matched <= disk.last().index, f"acknowledged {body.matched}, durable {disk.last()}"


def check_logs(cluster):
    """Log matching (section 5.3): the same term at one index means the same log up to there."""
    disks = [member.disk for member in cluster.nodes.values()]
    for at, one in enumerate(disks):
        for other in disks[at + 1 :]:
            same = False
            low = max(one.purged.index, other.purged.index)
            for index in range(min(one.last().index, other.last().index), low, -1):
                same = same or one.term(index) == other.term(index)
                assert not same or one.get(index) == other.get(index), f"log matching at {index}"


def check_equal(cluster):
    """All who run hold and have applied the same."""
    machines = {node: member.machine for node, member in cluster.nodes.items() if member.core is not None}
    assert len(set(machines.values())) <= 1, f"machines differ: {machines}"
