"""Clusters under random schedules: messages lost, doubled and late, one-way cuts, crashes that forget what was not synced, wiped
disks, slow disks, stopped state machines, snapshots and purges, changes of the membership, transfers, reads of both kinds.
"""

from collections import deque
from itertools import accumulate

from d_engine.pure import (
    Add,
    ApplyStopped,
    Close,
    Demote,
    ForwardedChange,
    ForwardedPropose,
    PersistFailed,
    Promote,
    Remove,
    SnapshotSent,
    Unreachable,
)
from support.lockstep.material import limits, stream
from support.sim.checks import check_logs
from support.sim.cluster import Cluster
from support.sim.make import ELECTION, MS, configuration, incarnation, member, seen, unseen

MOST = 6  # members, of all that join and leave
RATES = ((0, 0, 0), (2, 2, 10), (10, 10, 30), (0, 20, 60))  # of a hundred messages: lost, doubled, late
ONCE = {ForwardedPropose, ForwardedChange}  # what comes twice would be two requests: transports do not double it


class Chaos:
    """One schedule."""

    def __init__(self, seed, make):
        self.random = stream(seed, "schedule")
        self.network = stream(seed, "network")
        self.content = stream(seed, "content")
        random = self.random
        count = random.choices((1, 2, 3, 4, 5), (1, 1, 6, 1, 3))[0]
        initial = self.initial(count)
        self.cluster = Cluster(make, limits=limits(random), seed=random.getrandbits(32))
        self.cluster.populate(count, initial)
        for node in self.cluster.nodes.values():
            self.by_hand(node)
        self.rates = random.choice(RATES)
        self.proposals = 0

    def initial(self, count):
        random = self.random
        base = unseen(count) if random.random() < 0.3 else seen(count)
        members = []
        for one in base.members:
            role = "voter"
            if one.id > 1 and random.random() < 0.12:
                role = "learner"
            elif one.id == 3 and random.random() < 0.2:
                role = "witness"
            priority = random.choice((0, 0, 0, 3)) if count > 1 else 0
            members.append(one._replace(role=role, priority=priority, auto_promote=random.random() < 0.5))
        if count == 3 and sum(one.role == "witness" for one in members) and members[1].role == "learner":
            members[1] = members[1]._replace(role="voter")
        return configuration(members)

    def by_hand(self, node):
        node.auto_persist = node.auto_apply = False
        node.durable_machine = self.random.random() < 0.3

    def any(self):
        return self.random.choice(self.ids)

    @property
    def ids(self):
        return list(self.cluster.nodes)

    # --- what happens

    def run(self, steps):
        for step in range(steps):
            self.random.choices(self.KINDS, cum_weights=self.WEIGHTS)[0](self)
            if step % 128 == 0:
                check_logs(self.cluster)
        check_logs(self.cluster)

    def deliver(self):
        wire = self.cluster.wire
        if not wire:
            return
        lost, doubled, late = self.rates
        draw = self.network.random
        if draw() * 100 < late:
            at = int(draw() * len(wire))
            message = wire[at]
            del wire[at]
        else:
            message = wire.popleft()
        if draw() * 100 < doubled and type(message.body) not in ONCE:
            wire.append(message)
        if draw() * 100 >= lost:
            self.cluster.hand_over(message)
        if len(wire) > 400:
            self.cluster.wire = deque(list(wire)[200:])  # a storm ends

    def persist(self):
        self.cluster.persist(self.any())

    def work(self):
        node, which = self.any(), self.random.random()
        if which < 0.25:
            self.cluster.answer_fetch(node)
        elif which < 0.5:
            self.cluster.transfer_snapshot(node, lose=self.random.random() < 0.2)
        else:
            self.cluster.apply(node)

    def clock(self):
        cluster = self.cluster
        if self.random.random() < 0.4:
            at = cluster.deadline()
            cluster.now = cluster.now if at is None else max(at, cluster.now)
        else:
            cluster.now += self.random.randrange(30 * MS)
        for node in list(cluster.due()):
            if self.random.random() < 0.7:
                cluster.time(node)

    def propose(self):
        node = self.any()
        if self.cluster.nodes[node].core is not None:
            payloads = []
            for _ in range(self.content.choice((1, 1, 1, 3))):
                self.proposals += 1
                payloads.append(b"%08d" % self.proposals + b"." * self.content.choice((0, 0, 20, 300)))
            self.cluster.propose(node, *payloads)

    def read(self):
        node = self.any()
        if self.cluster.nodes[node].core is not None:
            self.cluster.read(node, lease=self.random.random() < 0.5)

    def snapshot(self):
        self.cluster.snapshot(self.any(), behind=self.random.randint(0, 6))

    def power(self):
        if self.random.random() < 0.06:
            for node in self.ids:
                self.crash(node)
        else:
            node = self.any()
            if self.cluster.nodes[node].core is None:
                self.cluster.start(node)
            else:
                self.crash(node)

    def crash(self, node):
        kept = self.random.randint(0, len(self.cluster.nodes[node].disk.queue))
        self.cluster.crash(node, kept)
        if self.random.random() < 0.5:
            self.cluster.start(node)

    def revive(self):
        """What is down comes up, so that schedules do not end among the dead."""
        for node, one in self.cluster.nodes.items():
            if one.core is not None and one.over:
                self.cluster.crash(node)
            if one.core is None and self.random.random() < 0.7:
                self.cluster.start(node)

    def wipe(self):
        node = self.any()
        self.cluster.wipe(node)
        self.cluster.start(node)

    def network_changes(self):
        cluster = self.cluster
        cluster.heal()
        self.rates = self.random.choice(RATES)
        if self.random.random() < 0.5:
            one_way = self.random.random() < 0.4
            side = {node for node in cluster.nodes if self.random.random() < 0.5}
            for one in side:
                for other in cluster.nodes.keys() - side:
                    cluster.cut.add((one, other))
                    if not one_way:
                        cluster.cut.add((other, one))

    def transfer(self):
        leader = self.cluster.leader()
        node = leader if leader is not None and self.random.random() < 0.8 else self.any()
        self.cluster.transfer(node, self.random.choice((None, self.any(), self.any())))

    def change(self):
        leader = self.cluster.leader()
        node = leader if leader is not None and self.random.random() < 0.8 else self.any()
        if self.cluster.nodes[node].core is not None:
            self.cluster.change(node, *self.changes())

    def changes(self):
        random, changes = self.random, {}
        for _ in range(random.choices((1, 2, 3), (8, 3, 1))[0]):
            node = random.randint(1, MOST)
            if node not in self.cluster.nodes:
                self.cluster.add(node, None)
                self.by_hand(self.cluster.nodes[node])
                self.cluster.start(node)
            which = random.random()
            if which < 0.5:
                role = random.choices(("voter", "learner", "witness"), (6, 3, 1))[0]
                known = incarnation(node, self.cluster.nodes[node].life) if random.random() < 0.3 else None
                fields = {"role": role, "auto_promote": random.random() < 0.7, "incarnation": known}
                changes[node] = Add(member(node, priority=random.choice((0, 0, 3)), **fields))
            else:
                changes[node] = (Remove if which < 0.75 else Promote if which < 0.9 else Demote)(node)
        return tuple(changes.values())

    def trouble(self):
        """What a node cannot go on from until it is started again."""
        node, which, now = self.any(), self.random.random(), self.cluster.now
        if which < 0.15:
            self.cluster.step(node, PersistFailed(now, (1 << 64) - 1))
            self.cluster.nodes[node].over = True
            self.cluster.nodes[node].disk.crash(0)
        elif which < 0.6:
            self.cluster.step(node, Close(now, which < 0.5))
        else:
            self.cluster.step(node, ApplyStopped(now))

    def unreachable(self):
        self.cluster.step(self.any(), Unreachable(self.cluster.now, self.any()))

    def lose_transfer(self):
        node = self.cluster.nodes[self.any()]
        if node.sending:
            wish = node.sending.popleft()
            self.cluster.step(node.id, SnapshotSent(self.cluster.now, wish.to, None))

    def stall(self):
        """Every disk is silent for a while, and the others go on."""
        self.cluster.now += self.random.randrange(2_000 * MS)
        self.clock()

    def flow(self):
        """A stretch in which things work, so that there is progress to endanger."""
        for _ in range(20):
            self.deliver()
            self.persist()
            self.work()

    def calm(self):
        """A stretch in which everything works."""
        cluster = self.cluster
        for _ in range(self.random.randint(1, 4)):
            end = cluster.now + self.random.randint(10 * MS, ELECTION[1])
            while (at := cluster.deadline()) is not None and at <= end:
                cluster.now = max(at, cluster.now)
                for node in list(cluster.due()):
                    cluster.time(node)
                for _ in range(200):
                    if not self.calm_turn():
                        break
            cluster.now = max(cluster.now, end)

    def calm_turn(self):
        cluster = self.cluster
        busy = False
        for _ in range(min(len(cluster.wire), 30)):
            busy |= cluster.deliver()
        for node in self.ids:
            busy |= cluster.persist(node)
            busy |= cluster.apply(node)
            busy |= cluster.answer_fetch(node)
            busy |= cluster.transfer_snapshot(node)
        return busy

    SCHEDULE = (
        (deliver, 400),
        (persist, 120),
        (work, 80),
        (clock, 60),
        (propose, 100),
        (read, 50),
        (snapshot, 20),
        (power, 10),
        (revive, 8),
        (wipe, 1),
        (network_changes, 8),
        (transfer, 6),
        (change, 10),
        (trouble, 2),
        (unreachable, 6),
        (lose_transfer, 3),
        (stall, 1),
        (flow, 30),
        (calm, 3),
    )
    KINDS = tuple(kind for kind, _ in SCHEDULE)
    WEIGHTS = tuple(accumulate(weight for _, weight in SCHEDULE))


def run(seed, make, steps=600):
    Chaos(seed, make).run(steps)
