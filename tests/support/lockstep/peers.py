"""What peers say to a core alone: mostly what could be, near the true numbers, and now and then what cannot."""

from d_engine.pure import (
    Accepted,
    Append,
    ChangeError,
    ChangeReply,
    ForwardedChange,
    ForwardedPropose,
    Heartbeat,
    HeartbeatReply,
    LogId,
    Message,
    PreVote,
    PreVoteReply,
    ProposeReply,
    ReadIndex,
    ReadIndexReply,
    Receive,
    Rejected,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from support.lockstep.material import EDGES, NODES, REFUSED, near, some_changes, some_draft, some_entry
from support.sim.make import incarnation


class Peers:
    """The side of a life that other members are; what it looks at is set by the life itself (`solo.Solo`)."""

    def near_term(self):
        which, term = self.random.random(), self.status.term
        if which < 0.06:
            return max(0, term - 1)
        if which < 0.9 or (which < 0.97 and self.status.role == self.aim):
            return term
        if which < 0.99:
            return term + self.random.choice((1, 1, 2))
        return self.random.choice(EDGES)

    def message(self, body, sender=None, term=None):
        random = self.random
        if sender is None:
            members = self.configuration.members
            others = [one.id for one in members if one.id != self.me]
            sender = random.choice(others) if others and random.random() < 0.95 else random.randint(0, NODES)
            unseen = [one.id for one in members if one.incarnation is None and one.id != self.me]
            if unseen and random.random() < 0.3:
                sender = random.choice(unseen)
        shown = incarnation(sender, 0 if random.random() < 0.95 else random.randint(1, 40))
        to = self.me if random.random() < 0.98 else random.randint(0, NODES)
        term = self.near_term() if term is None else term
        return Receive(self.now, self.now, Message(sender, shown, to, term, body))

    def place(self):
        """The end of some log: mostly one that is as good as the core's own."""
        last, random = self.status.last, self.random
        if random.random() < 0.7:
            return last
        return LogId(near(random, last.term), near(random, last.index))

    def pre_vote(self):
        return self.message(PreVote(self.place()), term=self.near_term() + 1 & (1 << 64) - 1)

    def pre_vote_reply(self):
        granted = self.random.random() < 0.5
        term = self.near_term() + granted & (1 << 64) - 1
        return self.message(PreVoteReply(granted), term=term)

    def vote(self):
        transfer = self.random.random() < 0.4
        term = self.status.term + self.random.choice((0, 0, 1)) if self.random.random() < 0.8 else None
        return self.message(Vote(self.place(), transfer), term=term)

    def vote_reply(self):
        return self.message(VoteReply(self.random.random() < 0.6))

    def append(self):
        random, status, term = self.random, self.status, self.near_term()
        leader = status.leader if status.leader not in {None, self.me} and random.random() < 0.8 else None
        if random.random() < 0.6:
            prev = status.last
        else:
            index = near(random, random.choice((status.last.index, status.commit, status.purged.index)))
            prev = LogId(self.term_at(index), index)
        run, of, index = [], prev.term, prev.index
        for _ in range(random.choice((0, 1, 1, 2, 4))):
            index = index + 1 & (1 << 64) - 1
            of = term if random.random() < 0.8 else min(max(of, 1) + random.choice((0, 1)), max(term, 1))
            run.append(some_entry(random, index, of, configurations=0.04))
        if run and random.random() < 0.05:
            at = random.randrange(len(run))
            bad = random.choice(({"index": near(random, index)}, {"term": near(random, of)}, {"kind": "configuration"}))
            run[at] = run[at]._replace(**bad)
        commit = near(random, random.choice((status.commit, index, status.last.index)))
        return self.message(Append(prev, commit, tuple(run)), sender=leader, term=term)

    def known_append(self):
        """Entries that the core has been given before."""
        status = self.status
        index = max(0, near(self.random, status.last.index) - 2)
        run = self.run_of(index + 1, 4) or ()
        return self.message(Append(LogId(self.term_at(index), index), near(self.random, status.commit), run))

    def accepted(self):
        return self.message(Accepted(near(self.random, self.status.last.index)))

    def rejected(self):
        random, last = self.random, self.status.last
        prev = near(random, last.index)
        hint = LogId(near(random, last.term), max(0, near(random, last.index) - random.choice((0, 1, 2, 5))))
        return self.message(Rejected(prev, hint))

    def heartbeat(self):
        random, status = self.random, self.status
        leader = status.leader if status.leader not in {None, self.me} and random.random() < 0.8 else None
        commit = near(random, random.choice((status.commit, status.last.index)))
        return self.message(Heartbeat(random.choice((0, 1, 2)), commit), sender=leader)

    def heartbeat_reply(self):
        random = self.random
        round_ = near(random, self.round)
        return self.message(HeartbeatReply(round_, near(random, self.status.last.index), random.random() < 0.05))

    def snapshot_reply(self):
        return self.message(SnapshotReply(near(self.random, self.status.commit)))

    def timeout_now(self):
        node = self.me if self.random.random() < 0.9 else self.me + 1
        leader = self.status.leader if self.status.leader not in {None, self.me} else None
        return self.message(TimeoutNow(incarnation(node)), sender=leader)

    def forwarded_propose(self):
        return self.message(ForwardedPropose(self.number(), some_draft(self.random)), term=0)

    def propose_reply(self):
        random = self.random
        at = LogId(near(random, self.status.term), near(random, self.status.last.index))
        return self.message(ProposeReply(self.number(), random.choice((at, random.choice(REFUSED)))), term=0)

    def read_index(self):
        return self.message(ReadIndex(self.number(), self.random.random() < 0.5), term=0)

    def read_index_reply(self):
        random = self.random
        result = near(random, self.status.commit) if random.random() < 0.5 else random.choice(REFUSED)
        return self.message(ReadIndexReply(self.number(), result), term=0)

    def forwarded_change(self):
        return self.message(ForwardedChange(self.number(), some_changes(self.random)), term=0)

    def change_reply(self):
        random = self.random
        result = LogId(near(random, self.status.term), near(random, self.status.last.index))
        if random.random() < 0.5:
            kinds = (("empty", ()), ("duplicate", (2,)), ("in_flight", (4,)), ("too_many_witnesses", (2, 1)))
            result = ChangeError(*random.choice(kinds))
        return self.message(ChangeReply(self.number(), result), term=0)
