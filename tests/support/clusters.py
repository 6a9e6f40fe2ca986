"""Three nodes in this process, made of whatever a test wants."""

import contextlib
import math
import time

from d_engine import Config, DeadlineError, LocalTransport, MemoryStorage, Raft

WAIT = 30.0  # seconds: far more than anything here takes, also on a busy machine


class Trio:
    """Starts nodes, finds their leader, closes what is left.

    Args:
        machine: makes the state machine of a node, given its id.
        storage: makes its storage, given its id.
        transport: makes its transport, given its id; None: one `LocalTransport` for all.
        peers: their addresses; None: names that only `LocalTransport` understands.
    """

    def __init__(self, machine, storage=None, *, config=None, transport=None, peers=None, ids=(1, 2, 3), cls=Raft):
        self.machine, self.config, self.cls = machine, config or Config(), cls
        self.storages = {node: (storage or (lambda _: MemoryStorage()))(node) for node in ids}
        self.network = LocalTransport() if transport is None else None
        self.transport = transport
        self.peers = peers or {node: f"local:{node}" for node in ids}
        self.machines = {}
        self.nodes = {}

    def __enter__(self):
        try:
            for node in self.peers:
                self.start(node)
            self.ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info):
        self.close()

    def make(self, node):
        self.machines[node] = self.machine(node)
        transport = self.network if self.transport is None else self.transport(node)
        return self.cls(
            node, self.storages[node], self.machines[node], self.config, peers=self.peers, transport=transport
        )

    def start(self, node):
        raft = self.nodes[node] = self.make(node)
        raft.start()
        return raft

    def crash(self, node):
        self.nodes.pop(node)._crash()

    def stop(self, node):
        self.nodes.pop(node).close(handover=False)

    def restart(self, node):
        if node in self.nodes:
            self.stop(node)
        return self.start(node)

    def close(self, timeout=2.0):
        nodes, self.nodes = list(self.nodes.values()), {}
        for raft in nodes:
            raft.close(handover=False, timeout=timeout)

    def ready(self):
        for raft in self.nodes.values():
            raft.wait_ready(timeout=WAIT)

    def leader(self, *, among=None, other_than=None):
        """The id of a leader that follows itself and is among these nodes; waits for one."""
        wanted = set(self.nodes if among is None else among) - {other_than}
        deadline = time.monotonic() + WAIT
        seen = dict.fromkeys(self.nodes, 0)
        while time.monotonic() < deadline:
            for node in wanted:
                if self.nodes[node].leader == node:
                    return node
            watched = next(iter(wanted))
            change = self.nodes[watched]._live().next_change(seen[watched], 0.05)
            if change is not None:
                seen[watched] = change[0]
        raise DeadlineError(f"no leader among {wanted}: {self.nodes}")

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes if node != leader]

    def level(self, nodes=None):
        """Waits until these nodes have applied everything that was acknowledged."""
        for node in nodes or list(self.nodes):
            self.nodes[node].read_barrier(timeout=WAIT)


def wait_until(condition, what, limit=WAIT):
    """For what no node announces: looks again and again, each look a few milliseconds apart."""
    deadline = time.monotonic() + limit
    while True:
        with contextlib.suppress(DeadlineError):
            found = condition()
            if found:
                return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit} s for {what}")
        time.sleep(0.005)


FOREVER = math.inf
