"""A correct transport in memory: what the broken ones are made of."""

import contextlib
import threading

from d_engine.testing.conformance import TransportConformance
from support.broken.registry import Registry


class Network:
    """Who is at which address. `over` is set at the end of a case, for threads that a broken transport forgets."""

    def __init__(self):
        self.places = {}
        self.over = threading.Event()
        self.forgotten = []

    def forget(self, thread):
        thread.start()
        self.forgotten.append(thread)

    def end(self):
        self.over.set()
        for thread in self.forgotten:
            thread.join()


class Model:
    """Hands frames over on the thread of the sender."""

    def __init__(self, network, address):
        self.network, self.address = network, address
        self.peers = {}
        self.closed = False

    def start(self, node_id, receive):
        self.node_id, self.receive = node_id, receive
        self.bind()

    def bind(self):
        if self.network.places.setdefault(self.address, self) is not self:
            raise OSError("the address is taken")

    def set_peers(self, peers):
        self.peers = {node: peer.address for node, peer in peers.items()}

    def send(self, batch):
        for to, lane, data in batch:
            self.carry(to, lane, data)

    def carry(self, to, lane, data):
        target = self.target(to)
        if target is not None and not self.closed:
            target.take(self.node_id, data)

    def target(self, to):
        return self.network.places.get(self.peers.get(to))

    def take(self, sender, data):
        with contextlib.suppress(Exception):
            self.receive(data)

    def close(self):
        self.closed = True
        self.unbind()

    def unbind(self):
        if self.network.places.get(self.address) is self:
            del self.network.places[self.address]


def suite_of(transport):
    """The suite over a transport."""

    class Suite(TransportConformance):
        patience = 2.5
        limit = 1.0

        @property
        def network(self):
            return self.__dict__.setdefault("_network", Network())

        def make(self, node_id, address):
            return transport(self.network, address)

        def address(self, node_id):
            self.count = self.__dict__.get("count", 0) + 1
            return f"memory-{node_id}:{self.count}"

        @contextlib.contextmanager
        def bench(self, root):
            try:
                with super().bench(root) as bench:
                    yield bench
            finally:
                self.network.end()

    return Suite


TRANSPORTS = Registry("transport", suite_of)
fails = TRANSPORTS.fails
IN_ORDER = [suite_of(Model)]
"""What is in order, for comparison."""
