"""Members with their disks and state machines, a wire between them, and a clock that only tests move.

`core` makes each member's core: a native one, a pure one, or both at once, compared at every step (`support.lockstep.pair`).
"""

from collections import deque
from typing import ClassVar

from d_engine.pure import (
    Applied,
    Apply,
    Changed,
    ChangeMembers,
    Closed,
    Fetch,
    Fetched,
    Persist,
    Persisted,
    Proposal,
    Propose,
    Purge,
    PurgeLog,
    Read,
    Receive,
    Restore,
    Send,
    SendSnapshot,
    SnapshotReceived,
    SnapshotSent,
    SnapshotTaken,
    Time,
    Transfer,
)
from support.sim.checks import Checks
from support.sim.disk import Disk, Machine, Snapshot
from support.sim.make import incarnation, settings, unseen


class Node:
    """One member, its queues, and the switches by which a test takes their work into its own hands."""

    def __init__(self, node, settings, initial):
        self.id = node
        self.life = 0
        self.settings = settings
        self.disk = Disk(initial)
        self.core = None
        self.machine = Machine()
        self.auto_persist = True  # whether persists complete by themselves in `settle`
        self.auto_apply = True
        self.auto_transfer = True  # of snapshots
        self.durable_machine = False  # whether the state machine keeps what it has applied when the node goes down
        self.works = deque()  # Apply and Restore effects
        self.fetches = deque()
        self.sending = deque()  # SendSnapshot effects
        self.starts = 0
        self.over = False  # it has said that it is closed, or its storage has failed
        self.role, self.term, self.leader = "follower", 0, None

    @property
    def incarnation(self):
        return incarnation(self.id, self.life)


class Cluster:
    def __init__(self, core, *, limits=None, seed=7, checks=None):
        self.make_core = core
        self.limits = settings() if limits is None else limits
        self.now = 1_000_000
        self.nodes = {}
        self.wire = deque()  # messages under way, oldest first
        self.cut = set()  # (from, to): what one direction of a connection loses
        self.seed = seed
        self.next_id = 1
        self.checks = Checks() if checks is None else checks
        self.heard = self.ignore  # told of every step: node, input, effects
        self.lost = None  # told of every message that a cut has lost

    def ignore(self, node, given, effects):
        pass

    # --- life

    def add(self, node, initial):
        """A member that is not started; `initial`: the configuration it begins with, None on one that joins."""
        self.nodes[node] = Node(node, self.limits, initial)

    def populate(self, nodes, initial=None):
        initial = unseen(nodes) if initial is None else initial
        for node in range(1, nodes + 1):
            self.add(node, initial)
        for node in range(1, nodes + 1):
            self.start(node)
        return self

    def start(self, node):
        member = self.nodes[node]
        assert member.core is None, f"node {node} runs"
        member.starts += 1
        member.over = False
        snapshot = member.disk.snapshot
        restored = Machine() if snapshot is None else snapshot.machine
        if not member.durable_machine or member.machine.applied < restored.applied:
            member.machine = restored
        seed = (self.seed * 31 ^ node << 8 ^ member.starts) & (1 << 64) - 1
        start = member.disk.start(node, member.incarnation, seed, member.machine.applied.index)
        member.core = self.make_core(self.now, member.settings, start)
        member.role, member.term, member.leader = "follower", start.hard_state.term, None
        self.checks.restarted(node)
        self.time(node)

    def crash(self, node, kept=0):
        """Power is lost at that node; the first `kept` of its unsynced jobs survive."""
        member = self.nodes[node]
        member.core = None
        member.disk.crash(kept)
        member.works.clear()
        member.fetches.clear()
        member.sending.clear()
        if self.wire:
            self.wire = deque(message for message in self.wire if message.to != node)

    def wipe(self, node, initial=None):
        """The disk is gone, and a new one has another incarnation."""
        self.crash(node)
        member = self.nodes[node]
        member.disk = Disk(initial)
        member.machine = Machine()
        member.life += 1
        self.checks.wiped(node)

    # --- steps

    def step(self, node, given):
        member = self.nodes[node]
        core = member.core
        if core is None:
            return
        effects = core.step(given)
        for effect in effects:
            carry = self.CARRY.get(type(effect))
            if carry is not None:
                carry(self, member, effect)
        self.checks.stepped(self, member, given, effects)
        self.heard(node, given, effects)

    def _persist(self, member, effect):
        member.disk.queue.append(effect)

    def _purge(self, member, effect):
        member.disk.queue.append(effect.upto)

    def _send(self, member, effect):
        message = effect.message
        assert message.sender == member.id
        assert message.to != member.id, "nobody sends to itself"
        self.checks.sends(member.disk, message)
        self.wire.append(message)

    def _work(self, member, effect):
        member.works.append(effect)

    def _fetch(self, member, effect):
        member.fetches.append(effect)

    def _send_snapshot(self, member, effect):
        member.sending.append(effect)

    def _closed(self, member, _effect):
        member.over = True

    def _changed(self, member, effect):
        member.role, member.term, member.leader = effect

    CARRY: ClassVar[dict] = {
        Persist: _persist,
        PurgeLog: _purge,
        Send: _send,
        Apply: _work,
        Restore: _work,
        Fetch: _fetch,
        SendSnapshot: _send_snapshot,
        Closed: _closed,
        Changed: _changed,
    }

    def persist(self, node):
        """Completes the node's oldest storage job; False if there is none."""
        member = self.nodes[node]
        if member.core is None or not member.disk.queue:
            return False
        token = member.disk.work()
        if token is not None:
            self.step(node, Persisted(self.now, token))
        return True

    def apply(self, node):
        """Carries out the node's oldest apply work; False if there is none."""
        member = self.nodes[node]
        if not member.works:
            return False
        work = member.works.popleft()
        if type(work) is Apply:
            member.machine = member.machine.apply(work.entries)
            self.checks.applies(work.entries)
        else:
            snapshot = member.disk.snapshot
            assert snapshot is not None, "restored from a committed snapshot"
            assert snapshot.last >= work.last, "restored from a committed snapshot"
            member.machine = snapshot.machine
        self.step(node, Applied(self.now, member.machine.applied.index))
        return True

    def answer_fetch(self, node):
        """Answers the node's oldest fetch; False if there is none."""
        member = self.nodes[node]
        if not member.fetches:
            return False
        wish = member.fetches.popleft()
        entries = member.disk.fetch(wish.lo, wish.hi, wish.max_bytes)
        self.step(node, Fetched(self.now, wish.id, entries))
        return True

    def transfer_snapshot(self, node, *, lose=False):
        """Ends the node's oldest snapshot transfer; False if there is none."""
        member = self.nodes[node]
        if not member.sending:
            return False
        wish = member.sending.popleft()
        snapshot = member.disk.snapshot
        assert snapshot is not None, "a snapshot to send"
        assert snapshot.last.index >= wish.at_least, "the newest snapshot covers what the follower needs"
        other = self.nodes.get(wish.to)
        if lose or other is None or other.core is None or (node, wish.to) in self.cut:
            self.step(node, SnapshotSent(self.now, wish.to, None))
            return True
        self.receive_snapshot(wish.to, node, member.term, snapshot)
        self.step(node, SnapshotSent(self.now, wish.to, snapshot.last.index))
        return True

    def receive_snapshot(self, node, sender, term, snapshot):
        disk = self.nodes[node].disk
        if disk.snapshot is None or disk.snapshot.last < snapshot.last:
            disk.snapshot = snapshot
        index, configuration = snapshot.configuration
        self.step(node, SnapshotReceived(self.now, sender, term, snapshot.last, snapshot.time, (index, configuration)))

    def snapshot(self, node, behind=0):
        """The node takes a snapshot of its machine and purges all but `behind` entries of what it covers."""
        member = self.nodes[node]
        machine, disk = member.machine, member.disk
        last = machine.applied
        if member.core is None or last.index == 0 or (disk.snapshot is not None and disk.snapshot.last >= last):
            return False
        found = disk.configurations(upto=last.index)
        if not found:
            return False
        covered = disk.get(last.index)
        disk.snapshot = Snapshot(machine, last.index if covered is None else covered.time, found[-1])
        self.step(node, SnapshotTaken(self.now, last))
        self.step(node, Purge(self.now, max(0, last.index - behind)))
        return True

    def deliver(self):
        """Delivers the oldest message on the wire; False if there is none."""
        if not self.wire:
            return False
        self.hand_over(self.wire.popleft())
        return True

    def hand_over(self, message):
        if (message.sender, message.to) in self.cut:
            if self.lost is not None:
                self.lost(message)
        elif message.to in self.nodes:
            self.step(message.to, Receive(self.now, self.now, message))

    def settle(self):
        """Does everything that can be done while the clock stands."""
        for _ in range(1_000_000):
            busy = self.deliver()
            for node, member in self.nodes.items():
                if member.core is None:
                    continue
                busy |= member.auto_persist and self.persist(node)
                busy |= member.auto_apply and self.apply(node)
                busy |= self.answer_fetch(node)
                busy |= member.auto_transfer and self.transfer_snapshot(node)
            if not busy:
                return
        raise AssertionError("the cluster does not come to rest")

    # --- time

    def deadline(self):
        deadlines = [member.core.deadline() for member in self.nodes.values() if member.core is not None]
        return min((at for at in deadlines if at is not None), default=None)

    def due(self):
        """Who has something to do at this moment."""
        for node, member in self.nodes.items():
            if member.core is not None:
                at = member.core.deadline()
                if at is not None and at <= self.now:
                    yield node

    def advance(self, span):
        """Lets that much time pass; every deadline is met exactly."""
        end = self.now + span
        self.settle()
        while (at := self.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            for node in list(self.due()):
                self.time(node)
            self.settle()
        self.now = end

    def time(self, node):
        self.step(node, Time(self.now, self.now))

    def meet(self, node):
        """Moves the clock to that node's deadline and fires nobody else's timers."""
        at = self.nodes[node].core.deadline()
        assert at is not None, f"node {node} has no deadline"
        self.now = max(self.now, at)
        self.time(node)

    def elect(self, node):
        for _ in range(20):
            if self.nodes[node].role == "leader":
                return
            self.meet(node)
            self.settle()
        raise AssertionError(f"node {node} was not elected: {self.nodes[node].core.status()}")

    def leader(self):
        leaders = [member for member in self.nodes.values() if member.core is not None and member.role == "leader"]
        return max(leaders, key=lambda member: member.term).id if leaders else None

    # --- requests

    def request(self):
        self.next_id += 1
        return self.next_id - 1

    def propose(self, node, *payloads):
        request = self.request()
        draft = tuple(Proposal("command", 0, 0, 0, payload) for payload in payloads)
        self.checks.proposed(request, payloads)
        self.step(node, Propose(self.now, self.now, ((request, draft),)))
        return request

    def read(self, node, *, lease=False):
        request = self.request()
        self.checks.read_begins(request)
        self.step(node, Read(self.now, request, lease))
        return request

    def transfer(self, node, to=None):
        request = self.request()
        self.step(node, Transfer(self.now, request, to))
        return request

    def change(self, node, *changes):
        request = self.request()
        self.step(node, ChangeMembers(self.now, self.now, request, changes))
        return request

    # --- faults

    def isolate(self, node):
        for other in self.nodes:
            if other != node:
                self.cut |= {(node, other), (other, node)}

    def heal(self):
        self.cut.clear()
