"""A cluster in this process whose members come and go."""

from d_engine import LocalTransport, MemoryStorage, Raft
from support.clusters import WAIT, wait_until
from support.machines import Journal


class Growing:
    """Nodes on one `LocalTransport`, begun with `peers`, joined by others.

    Args:
        peers: the initial members, {id: Peer or address}; their number: voters only.
        machine: makes the state machine of a node, given its id.
    """

    def __init__(self, peers, *, config=None, machine=lambda node: Journal()):
        self.peers = {node: f"local:{node}" for node in range(1, peers + 1)} if isinstance(peers, int) else peers
        self.config, self.machine = config, machine
        self.network = LocalTransport()
        self.storages, self.machines, self.nodes = {}, {}, {}

    def __enter__(self):
        try:
            for node in self.peers:
                self.start(node, peers=self.peers)
            for raft in self.nodes.values():
                raft.wait_ready(timeout=WAIT)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info):
        self.close()

    def make(self, node, **kwargs):
        storage = self.storages.setdefault(node, MemoryStorage())
        machine = self.machines[node] = self.machine(node)
        return Raft(node, storage, machine, self.config, transport=self.network, **kwargs)

    def start(self, node, **kwargs):
        raft = self.make(node, **kwargs)
        raft.start()
        self.nodes[node] = raft
        return raft

    def join(self, node, *, peer=None, ready=True):
        """Takes a node in, and waits until it follows."""
        peers = None if peer is None else {node: peer}
        raft = self.start(node, join=["local:any"], peers=peers)
        if ready:
            raft.wait_ready(timeout=WAIT)
        return raft

    def wipe(self, node):
        """Crashes a node and takes its storage away."""
        self.crash(node)
        del self.storages[node]

    def crash(self, node):
        self.nodes.pop(node)._crash()

    def stop(self, node):
        self.nodes.pop(node).close(handover=False)

    def close(self):
        nodes, self.nodes = list(self.nodes.values()), {}
        for raft in nodes:
            raft.close(handover=False, timeout=2.0)

    @property
    def leader(self):
        """The node that leads; waits for one that the others follow."""

        def found():
            leaders = {raft.leader for raft in self.nodes.values()} - {None}
            return self.nodes.get(next(iter(leaders))) if len(leaders) == 1 else None

        return wait_until(found, "a leader that all follow")

    def follower(self):
        leader = self.leader.id
        return next(raft for node, raft in self.nodes.items() if node != leader)

    def roles(self):
        return {node: member.role for node, member in self.leader.status().members.items()}

    def wait_roles(self, **roles):
        """Waits until the members have these roles: `n1="voter"`."""
        wanted = {int(name[1:]): role for name, role in roles.items()}
        wait_until(lambda: self.roles() == wanted, f"the members {wanted}, not {self.roles()}")

    def level(self):
        """Waits until all have applied everything that was acknowledged; returns what they hold."""
        states = [raft.query(None, timeout=WAIT) for raft in self.nodes.values()]
        assert all(state == states[0] for state in states)
        return states[0]


def wait_level(leader, *nodes):
    """Waits until the leader knows that these nodes hold everything that is committed."""

    def level():
        status = leader.status()
        return all(status.progress and status.progress[node].matched >= status.commit for node in nodes)

    wait_until(level, f"nodes {nodes} to hold what is committed")
