"""The transports that come with the package, as far as Python can call them, keep what a transport promises."""

from d_engine import SocketTransport
from d_engine.testing.conformance import TransportConformance
from support.ports import free_ports


class TestSocketTransport(TransportConformance):
    def make(self, node_id, address):
        return SocketTransport()

    def address(self, node_id):
        return f"127.0.0.1:{free_ports(1)[0]}"
