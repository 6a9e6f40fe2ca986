"""Three nodes whose callbacks a test can make fail or hang."""

from d_engine import SocketTransport
from support.clusters import WAIT, Trio
from support.faulty import Faults, FaultyMachine, FaultyStorage, FaultyTransport
from support.ports import free_ports


class Scene:
    """Three nodes with faults that a test switches on."""

    def __init__(self, machine=FaultyMachine, **kwargs):
        self.faults = {node: Faults() for node in (1, 2, 3)}
        kwargs.setdefault("storage", lambda node: FaultyStorage(self.faults[node]))
        self.trio = Trio(lambda node: machine(self.faults[node]), **kwargs)

    def __enter__(self):
        self.trio.__enter__()
        self.trio.nodes[1].propose(b"first", timeout=WAIT)
        self.trio.level()
        return self

    def __exit__(self, *exc_info):
        for faults in self.faults.values():
            faults.heal()
        self.trio.close()

    def pick(self, side):
        leader = self.trio.leader()
        victim = leader if side == "leader" else self.trio.followers()[0]
        return victim, [node for node in self.trio.nodes if node != victim]

    def others_go_on(self, victim, others, writes=5, *, without=False):
        """Each of the others takes writes and shows the same state; `without`: the victim cannot lead any more."""
        if without:
            self.trio.leader(among=others)
        for number in range(writes):
            for node in others:
                self.trio.nodes[node].propose(b"after %d" % number, timeout=WAIT)
        self.trio.level(others)
        states = [self.trio.nodes[node].read(lambda machine: list(machine.items)) for node in others]
        assert states[0] == states[1]
        assert len(states[0]) >= 1 + writes * len(others)


def sockets():
    """A scene over `SocketTransport`s behind proxies."""
    peers = {node: f"127.0.0.1:{port}" for node, port in zip((1, 2, 3), free_ports(3), strict=True)}
    scene = Scene(peers=peers, transport=lambda node: FaultyTransport(SocketTransport(), scene.faults[node]))
    return scene
