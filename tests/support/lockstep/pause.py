"""A leader whose learner falls behind until it is left alone for a while, and what happens to come when that while is over.

Whatever comes then has the learner promoted, so an entry is stored by inputs that otherwise store nothing. That moment would hardly come
about by chance: ten rounds in a row have to be too slow.
"""

from d_engine.pure import (
    Accepted,
    Fetched,
    HeartbeatReply,
    PreVoteReply,
    Start,
    Time,
    Transfer,
    VoteReply,
)
from d_engine.pure.types import HardState, LogId
from support.lockstep.peers import Peers
from support.lockstep.solo import Solo
from support.sim.make import ELECTION, MS, configuration, incarnation, member

ME, VOTER, LEARNER = 1, 2, 4
ROUNDS, PAUSE = 10, 10  # as the core has them (thesis 4.2.1)
SLOW = 60 * MS  # a round that takes so long is not fast enough
LONGEST = ELECTION[1]


class Pause(Solo):
    """One life of one core, from its election to the end of a learner's pause."""

    def __init__(self, seed, make):
        self.script = self.life()
        super().__init__(seed, make)

    def start(self):
        self.me = ME
        voters = [member(node, incarnation=incarnation(node)) for node in (ME, VOTER, 3)]
        learner = member(LEARNER, role="learner", auto_promote=True, incarnation=incarnation(LEARNER))
        return Start(
            id=ME,
            incarnation=incarnation(ME),
            group=0,
            seed=self.random.getrandbits(64),
            hard_state=HardState(0, None),
            purged=LogId(0, 0),
            last=0,
            term_runs=(),
            last_time=0,
            configurations=((0, configuration([*voters, learner], min_election_timeout=SLOW)),),
            snapshot=None,
            applied=0,
        )

    def run(self, steps):
        for _ in range(steps):
            self.look()
            given = next(self.script, None)
            if given is None:
                return
            self.step(given)

    def life(self):
        while self.status.role != "leader":
            if self.tokens:
                yield self.persisted_newest()
            elif self.status.role == "follower":
                yield self.timer()
            else:
                wanted = PreVoteReply if self.status.role == "pre_candidate" else VoteReply
                yield self.said(wanted(True), VOTER, self.status.term + (wanted is PreVoteReply))
        last = self.status.last.index
        yield self.said(Accepted(last), VOTER)
        yield self.persisted_newest()
        yield self.said(HeartbeatReply(1, 0, False), LEARNER)  # the first round begins, and it holds nothing
        self.now += SLOW
        yield self.said(Accepted(last), LEARNER)
        for count in range(ROUNDS - 1):
            self.now += SLOW
            yield self.turn(count)
        ends = self.now + PAUSE * LONGEST
        what = self.random.choice(self.WHATEVER)
        # A leader whose timer fires has to have been heard all the time.
        for count in range((ends - self.now - 1) // SLOW if what is Pause.timer else 0):
            self.now += SLOW
            yield self.turn(count)
        self.now = ends - 1
        for node in (VOTER, LEARNER):
            yield self.said(HeartbeatReply(self.round, last, False), node)
        self.now = ends
        yield what(self)
        yield self.timer()

    def turn(self, count):
        """Time, and who answers it."""
        if count % 3 == 0:
            return Time(self.now, self.now)
        last = self.status.last.index
        return self.said(HeartbeatReply(self.round, last, False), LEARNER if count % 3 == 2 else VOTER)

    def said(self, body, sender, term=None):
        term = self.status.term if term is None else term
        given = self.message(body, sender, term)
        return given._replace(message=given.message._replace(incarnation=incarnation(sender), to=ME))

    def timer(self):
        due = self.core.deadline()
        self.now = max(self.now, due if self.status.role != "leader" and due is not None else 0)
        return Time(self.now, self.now)

    def nothing_read(self):
        return Fetched(self.now, 1 << 20, None)

    def to_itself(self):
        return Transfer(self.now, self.number(), ME)

    WHATEVER = (
        timer,
        nothing_read,
        to_itself,
        Solo.read,
        Solo.applied,
        Solo.snapshot_taken,
        Solo.purge,
        Solo.snapshot_sent,
        Solo.unreachable,
        Peers.accepted,
        Peers.append,
        Peers.heartbeat,
        Peers.heartbeat_reply,
        Peers.rejected,
        Peers.snapshot_reply,
        Peers.timeout_now,
        Peers.read_index,
        Peers.pre_vote,
        Peers.pre_vote_reply,
        Peers.vote_reply,
        Peers.propose_reply,
        Peers.read_index_reply,
        Peers.change_reply,
    )


def run(seed, make, steps):
    Pause(seed, make).run(steps)
