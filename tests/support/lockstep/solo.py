"""A core alone among peers, a disk and a user who do whatever comes to mind: what is likely, what is late, and what cannot be."""

from itertools import accumulate

from d_engine.pure import (
    Accepted,
    Add,
    Applied,
    Apply,
    ApplyStopped,
    ChangeMembers,
    Close,
    Closed,
    Demote,
    Fetch,
    Fetched,
    HardState,
    Heartbeat,
    HeartbeatReply,
    LogId,
    Persist,
    Persisted,
    PersistFailed,
    PreVoteReply,
    Propose,
    Purge,
    Read,
    Remove,
    Restore,
    Send,
    SnapshotReceived,
    SnapshotSent,
    SnapshotTaken,
    Start,
    Time,
    Transfer,
    Unreachable,
    Vote,
    VoteReply,
)
from support.lockstep.material import (
    NODES,
    limits,
    local,
    member,
    near,
    some_changes,
    some_configuration,
    some_draft,
    some_entry,
    stream,
)
from support.lockstep.peers import Peers
from support.sim.make import MS, incarnation

LOOK_EVERY = 3  # steps between two looks at the core's status
AIMS = (("follower", 20), ("pre_candidate", 10), ("candidate", 30), ("leader", 40))
PATIENCE = 40  # steps that a life goes on after it was asked to close


class Solo(Peers):
    """One life of one core."""

    def __init__(self, seed, make):
        self.random = stream(seed, "solo")
        self.now = 1_000_000 + self.random.randrange(10_000)
        self.log = {}  # entries that the disk was given
        self.tokens = []
        self.fetches = []
        self.handed = 0
        self.round = 1
        self.closed = False
        self.ends = None
        names, weights = zip(*AIMS, strict=True)
        self.aim = self.random.choices(names, weights)[0]
        start = self.start()
        self.configuration = start.configurations[-1][1] if start.configurations else some_configuration(self.random)
        self.core = make(self.now, limits(self.random), start)
        self.status = self.core.status()
        self.plan = []  # steps that belong together
        self.slow_disk = self.random.random() < 0.15
        self.step(Time(self.now, self.now))

    def start(self):
        random = self.random
        self.me = random.randint(1, 3)
        purged = LogId(0, 0)
        if random.random() < 0.3:
            purged = LogId(random.randint(1, 3), random.randint(1, 20))
        index, term = purged.index, max(1, purged.term)
        runs = []
        first = some_configuration(random, me=self.me, known=random.choice((1.0, 1.0, 0.5)))
        configurations = [(random.randint(0, purged.index), first)] if random.random() < 0.97 else []
        for _ in range(random.choice((0, 0, 1, 3, 8, 15))):
            index += 1
            if not runs or random.random() < 0.3:
                term += random.choice((0, 1, 1, 2))
                if not runs or runs[-1][1] != term:
                    runs.append((index, term))
            self.log[index] = entry = some_entry(random, index, term, configurations=0.0)
            if random.random() < 0.05:
                more = some_configuration(random, me=self.me)
                configurations.append((index, more))
                self.log[index] = entry._replace(kind="configuration")
        snapshot = purged if purged.index else None
        known = random.randint(purged.index, index)
        self.handed = known
        vote = random.choice((None, None, self.me, 2))
        newest = max(term if runs else purged.term, random.choice((0, term)))
        return Start(
            id=self.me,
            incarnation=incarnation(self.me),
            group=0,
            seed=random.getrandbits(64),
            hard_state=HardState(newest, vote if newest else None),
            purged=purged,
            last=index,
            term_runs=tuple(runs),
            last_time=index,
            configurations=tuple(configurations),
            snapshot=snapshot,
            applied=known,
        )

    # --- the stream

    def run(self, steps):
        for count in range(steps):
            if self.closed or (self.ends is not None and count > self.ends):
                return
            self.step(self.last_words() if count == steps - 5 and self.random.random() < 0.5 else self.next())
            if count % LOOK_EVERY == 0:
                self.look()
            if self.closed:
                self.step(self.next())
        if self.random.random() < 0.6:
            self.step(self.last_words())

    def look(self):
        self.status = self.core.status()
        self.configuration = self.status.configuration

    def step(self, given):
        effects = self.core.step(given)
        for effect in effects:
            kind = type(effect)
            if kind is Persist:
                self.tokens.append(effect.token)
                self.write(effect)
            elif kind is Fetch:
                self.fetches.append(effect)
            elif kind is Apply:
                self.handed = effect.entries[-1].index
            elif kind is Restore:
                self.handed = effect.last.index
            elif kind is Send and type(effect.message.body) is Heartbeat:
                self.round = max(self.round, effect.message.body.round)
            elif kind is Closed:
                self.closed = True
        if len(self.fetches) > 8:
            del self.fetches[0]
        if type(given) is PersistFailed:
            self.closed = True

    def write(self, persist):
        if persist.reset_to is not None:
            self.log.clear()
        if persist.truncate_from is not None:
            for index in [index for index in self.log if index >= persist.truncate_from]:
                del self.log[index]
        for entry in persist.entries:
            self.log[entry.index] = entry

    def next(self):
        random = self.random
        self.pass_time()
        if self.plan:
            self.look()
            return self.plan.pop(0)(self)
        plans = self.PLANS.get(self.status.role)
        if plans is not None and random.random() < 0.015:
            self.plan = list(random.choice(plans))
        if random.random() < (0.35 if self.aim == "leader" else 0.55):
            given = self.steer()
            if given is not None:
                return given
        return random.choices(self.KINDS, cum_weights=self.WEIGHTS)[0](self)

    def pass_time(self):
        which = self.random.random()
        if which < 0.3:
            self.now += self.random.randint(1, 5 * MS)
        elif which < 0.32:
            self.now += self.random.randint(1, 100 * MS)
        elif which < 0.325:
            self.now = max(0, self.now - 10)  # a clock that does go back

    def steer(self):
        """A step towards the role that this life is about."""
        random, status, role = self.random, self.status, self.status.role
        if self.tokens and random.random() < (0.01 if self.slow_disk else 0.25):
            return self.persisted_newest()
        if role == self.aim == "leader":
            return self.progress()
        if role == self.aim or self.aim == "follower":
            return None
        if role == "follower":
            return self.timer()
        wanted = PreVoteReply if role == "pre_candidate" else VoteReply
        if role == "leader" or (role == "candidate" and self.aim == "pre_candidate"):
            return None
        term = status.term + (wanted is PreVoteReply)
        others = [one.id for one in self.configuration.members if one.id != self.me]
        if not others or random.random() < 0.3:
            return self.persisted_newest() if self.tokens else self.timer()
        return self.message(wanted(True), sender=random.choice(others), term=term)

    def progress(self):
        """What lets a leader commit, so that more than its beginnings are seen."""
        status, random = self.status, self.random
        others = [one.id for one in self.configuration.members if one.id != self.me]
        if not others or random.random() < 0.2:
            return self.applied() if random.random() < 0.5 else None
        unseen = [one.id for one in self.configuration.members if one.incarnation is None and one.id != self.me]
        if unseen and random.random() < 0.5:
            # The first thing that it says puts its data directory on record, whatever it is.
            given = random.choice(self.FIRST_WORDS)(self)
            node = random.choice(unseen)
            term = min(given.message.term, status.term)  # of a newer one it would depose this leader
            said = given.message._replace(sender=node, incarnation=incarnation(node), to=self.me, term=term)
            return given._replace(message=said)
        if random.random() < 0.5:
            body = Accepted(max(0, status.last.index - random.choice((0, 0, 0, 1))))
        else:
            body = HeartbeatReply(self.round, status.last.index, False)
        return self.message(body, sender=random.choice(others), term=status.term)

    # --- plans: what takes several steps in their order, and would hardly come about by chance

    def handed_over(self):
        """A transfer to somebody who holds everything."""
        others = [one.id for one in self.configuration.members if one.id != self.me and one.role == "voter"]
        to = self.random.choice(others or [0])
        last, term = self.status.last.index, self.status.term
        self.plan[:0] = [
            lambda it: it.message(Accepted(last), sender=to, term=term),
            lambda it: Transfer(it.now, it.number(), to),
        ]
        return self.message(HeartbeatReply(self.round, last, False), sender=to, term=term)

    def deposed(self):
        """Somebody has begun a newer term."""
        return self.message(PreVoteReply(False), term=self.status.term + 1)

    def granted(self):
        """One of the others would vote for this node, or does."""
        wanted = PreVoteReply if self.status.role == "pre_candidate" else VoteReply
        others = [one.id for one in self.configuration.members if one.id != self.me]
        term = self.status.term + (wanted is PreVoteReply)
        return self.message(wanted(True), sender=self.random.choice(others or [0]), term=term)

    def newest(self):
        return self.persisted_newest() if self.tokens else self.timer()

    def wait(self):
        """Longer than a transfer may take."""
        self.now += 300 * MS
        return Time(self.now, self.now)

    def rival(self):
        """Another one asks for the vote of this term."""
        return self.message(Vote(self.status.last, self.random.random() < 0.5), term=self.status.term)

    def caught_up(self):
        """A learner that is to be promoted, if there is one, holds everything; a little later than what was before."""
        self.now += MS
        learners = [one.id for one in self.configuration.members if one.role == "learner" and one.auto_promote]
        return self.message(
            Accepted(self.status.last.index), sender=self.random.choice(learners or [0]), term=self.status.term
        )

    def ask(self):
        return self.propose()

    def late(self):
        """The disk answers the oldest of several writes, and that after a long time."""
        if len(self.tokens) < 2:
            return self.timer()
        self.now += 4_001 * MS
        return Persisted(self.now, self.tokens.pop(0))

    def snapshots(self):
        return self.snapshot_received()

    def given_up(self):
        """The moment at which a transfer is given up."""
        self.now += 298 * MS
        return self.timer()

    def leaves(self):
        """A leader that takes itself out of the cluster."""
        change = self.random.choice((Remove, Demote))(self.me)
        return ChangeMembers(self.now, self.now, self.number(), (change,))

    def held(self):
        """One of the others holds everything."""
        others = [one.id for one in self.configuration.members if one.id != self.me]
        body = Accepted(self.status.last.index)
        return self.message(body, sender=self.random.choice(others or [0]), term=self.status.term)

    def admits(self):
        """Learners whose data directories nobody has seen."""
        changes = [Add(member(self.random, node, "learner", 0.0)) for node in range(1, NODES + 1) if node != self.me]
        here = {one.id for one in self.configuration.members}
        wanted = tuple(change for change in changes if change.member.id not in here)[: self.random.randint(1, 3)]
        return ChangeMembers(self.now, self.now, self.number(), wanted)

    def timer(self):
        at = self.core.deadline()
        if at is not None and self.random.random() < 0.9:
            self.now = max(self.now, at)
        return Time(self.now, self.now)

    def goes(self):
        """It ends while something is under way."""
        return self.last_words()

    PLANS = {  # noqa: RUF012
        "leader": (
            (held, held, goes),
            *((handed_over, deposed, timer, granted, granted, timer),) * 6,
            *((handed_over, deposed, timer, wait),) * 4,
            *((handed_over, deposed, timer, granted, granted, granted, timer, timer),) * 4,
            (ask, ask, late),
            (leaves, held, held, newest, held, held),
            (leaves, held, held, held, newest),
            *((held, held, held, newest, admits),) * 9,
            (held, held, held, newest, handed_over, caught_up, caught_up, given_up, timer),
        ),
        "pre_candidate": ((goes,), (Peers.timeout_now,), (snapshots,), (snapshots, snapshots)),
        "candidate": (
            (goes,),
            (goes,),
            (Peers.timeout_now,),
            (snapshots,),
            (rival, granted, granted, granted, newest),
            (rival, granted, granted, granted, granted, newest),
        ),
    }

    # --- the local side

    def time(self):
        if self.random.random() < 0.3:
            return self.timer()
        return Time(self.now, near(self.random, self.now))

    def propose(self):
        batches = tuple((self.number(), some_draft(self.random)) for _ in range(self.random.choice((1, 1, 1, 2, 3))))
        return Propose(self.now, self.now, batches)

    def number(self):
        return self.random.randrange(1, 1 << 20)

    def read(self):
        return Read(self.now, self.number(), self.random.random() < 0.5)

    def transfer(self):
        return Transfer(self.now, self.number(), self.random.choice((None, None, *range(1, NODES + 1))))

    def change(self):
        return ChangeMembers(self.now, self.now, self.number(), some_changes(self.random))

    def persisted_newest(self):
        token = self.tokens[-1]
        self.tokens.clear()
        return Persisted(self.now, token)

    def persisted(self):
        if self.slow_disk and self.random.random() < 0.9:
            return self.append()
        if self.tokens and self.random.random() < 0.9:
            token = self.random.choice(self.tokens)
            self.tokens = [later for later in self.tokens if later > token]
        else:
            token = local(self.random, 2)
        return Persisted(self.now, token)

    def fetched(self):
        random = self.random
        if not self.fetches or random.random() < 0.05:
            return Fetched(self.now, local(random, 1), self.run_of(local(random, self.status.commit) + 1, 3))
        wish = self.fetches.pop(random.randrange(len(self.fetches)))
        entries = self.run_of(wish.lo, wish.hi - wish.lo) if random.random() < 0.85 else None
        if entries and random.random() < 0.1:
            entries = entries[: random.randint(1, len(entries))]
        return Fetched(self.now, wish.id, entries)

    def run_of(self, lo, count):
        run = []
        for index in range(lo, lo + min(count, 50)):
            if index not in self.log:
                break
            run.append(self.log[index])
        return tuple(run) or None

    def applied(self):
        random = self.random
        which = random.random()
        if which < 0.8:
            return Applied(self.now, self.handed)
        return Applied(self.now, random.randint(0, self.handed) if which < 0.99 else local(random, self.handed))

    def snapshot_taken(self):
        index = local(self.random, self.status.applied)
        return SnapshotTaken(self.now, LogId(min(self.term_at(index), 1 << 61), index))

    def term_at(self, index):
        entry = self.log.get(index)
        term = entry.term if entry is not None else self.status.purged.term
        return term if self.random.random() < 0.95 else local(self.random, term)

    def purge(self):
        snapshot = self.status.snapshot
        return Purge(self.now, local(self.random, 0 if snapshot is None else snapshot.index))

    def snapshot_received(self):
        random, status = self.random, self.status
        index = local(random, random.choice((status.commit, status.last.index, status.last.index + 5)))
        if status.durable < status.last.index and random.random() < 0.5:
            index = random.randint(status.durable + 1, status.last.index)  # held, and not on disk yet
        index = min(index, 1 << 40)
        term = max(1, min(self.term_at(index), 1 << 40))
        of = min(max(term, self.near_term()), 1 << 40)
        sender = random.randint(1, NODES)
        found = (random.randint(0, index), some_configuration(random, me=self.me))
        return SnapshotReceived(self.now, sender, of, LogId(term, index), index, found)

    def snapshot_sent(self):
        delivered = local(self.random, self.status.last.index) if self.random.random() < 0.5 else None
        return SnapshotSent(self.now, self.random.randint(0, NODES), delivered)

    def unreachable(self):
        return Unreachable(self.now, self.random.randint(0, NODES))

    def stop(self):
        return ApplyStopped(self.now) if self.random.random() < 0.3 else self.time()

    def stall(self):
        """The disk is silent for longer than a leader bears."""
        if self.random.random() < 0.25:
            self.now += 300 * MS + self.random.randrange(4_000 * MS)
        return Time(self.now, self.now)

    def last_words(self):
        which = self.random.random()
        if which < 0.35:
            return PersistFailed(self.now, self.tokens[0] if self.tokens else local(self.random, 1))
        return ApplyStopped(self.now) if which < 0.55 else Close(self.now, which < 0.8)

    # Those that are seldom a member's first come more often.
    FIRST_WORDS = (
        Peers.append,
        Peers.heartbeat_reply,
        Peers.rejected,
        Peers.snapshot_reply,
        Peers.vote_reply,
        Peers.read_index,
        *(Peers.heartbeat,) * 2,
        *(Peers.timeout_now,) * 2,
        *(Peers.pre_vote,) * 6,
        *(Peers.pre_vote_reply,) * 4,
        *(Peers.propose_reply,) * 3,
        *(Peers.read_index_reply,) * 3,
        *(Peers.change_reply,) * 3,
    )
    STREAM = (
        (time, 2),
        (propose, 5),
        (read, 3),
        (transfer, 2),
        (change, 4),
        (persisted, 5),
        (fetched, 4),
        (applied, 4),
        (snapshot_taken, 2),
        (purge, 2),
        (snapshot_received, 3),
        (snapshot_sent, 2),
        (unreachable, 2),
        (stop, 0.6),
        (stall, 0.6),
        (Peers.pre_vote, 3),
        (Peers.pre_vote_reply, 3),
        (Peers.vote, 3),
        (Peers.vote_reply, 2),
        (Peers.append, 4),
        (Peers.known_append, 1),
        (Peers.accepted, 5),
        (Peers.rejected, 3),
        (Peers.heartbeat, 2),
        (Peers.heartbeat_reply, 2),
        (Peers.snapshot_reply, 3),
        (Peers.timeout_now, 2),
        (Peers.forwarded_propose, 3),
        (Peers.propose_reply, 2),
        (Peers.read_index, 3),
        (Peers.read_index_reply, 2),
        (Peers.forwarded_change, 2),
        (Peers.change_reply, 2),
    )
    KINDS = tuple(kind for kind, _ in STREAM)
    WEIGHTS = tuple(accumulate(weight for _, weight in STREAM))


def run(seed, make, steps=300):
    Solo(seed, make).run(steps)
