"""`SocketTransport` between threads: frames arrive whole, garbage ends a connection, nothing blocks."""

import contextlib
import socket
import struct
import threading

import pytest

from d_engine import ClosedError, ConfigError, InvalidMessageError, Outgoing, Peer, SocketTransport
from d_engine.socket_transport import MAX_FRAME

WAIT = 30.0


class Inbox:
    """What a node's `receive` would be."""

    def __init__(self):
        self.frames = []
        self.changed = threading.Condition()

    def __call__(self, data):
        with self.changed:
            self.frames.append(bytes(data))
            self.changed.notify_all()
        if data.startswith(b"garbage"):
            raise InvalidMessageError("no frame of ours")

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.frames), WAIT), len(self.frames)
            return list(self.frames)


@pytest.fixture
def network():
    """Makes transports that know one another; closes them."""
    made = {}
    inboxes = {}

    def make(*ids):
        for node in ids:
            made[node] = SocketTransport("127.0.0.1:0")
            inboxes[node] = Inbox()
            made[node].start(node, inboxes[node])
        table = {node: Peer(transport.address) for node, transport in made.items()}
        for transport in made.values():
            transport.set_peers(table)
        return made, inboxes

    yield make
    for transport in made.values():
        transport.close()


def test_frames_arrive_in_order_on_each_lane(network):
    transports, inboxes = network(1, 2, 3)
    for number in range(1000):
        transports[1].send([Outgoing(2, "data", b"d%d" % number), Outgoing(3, "control", b"c%d" % number)])
        transports[2].send([Outgoing(1, "bulk", b"b%d" % number)])
    assert inboxes[2].wait_for(lambda frames: len(frames) == 1000) == [b"d%d" % number for number in range(1000)]
    assert inboxes[3].wait_for(lambda frames: len(frames) == 1000) == [b"c%d" % number for number in range(1000)]
    assert inboxes[1].wait_for(lambda frames: len(frames) == 1000) == [b"b%d" % number for number in range(1000)]
    assert all(transport.dropped == 0 for transport in transports.values())


def test_large_frames(network, rng):
    transports, inboxes = network(1, 2)
    frames = [rng.randbytes(size) for size in (1, 2**20, 70_000, 2**20, 5)]
    transports[1].send([Outgoing(2, "data", frame) for frame in frames])
    assert inboxes[2].wait_for(lambda found: len(found) == 5) == frames


def test_too_large_and_unknown_are_dropped_and_counted(network):
    transports, inboxes = network(1, 2)
    transports[1].send(
        [Outgoing(2, "data", bytes(MAX_FRAME + 1)), Outgoing(7, "data", b"x"), Outgoing(2, "data", b"fits")]
    )
    assert inboxes[2].wait_for(lambda frames: frames) == [b"fits"]
    assert transports[1].dropped == 2


def test_send_never_waits_for_a_peer_that_does_not_read(network):
    transports, _ = network(1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transports[1].set_peers({2: Peer(f"127.0.0.1:{silent.getsockname()[1]}")})
        for _ in range(100):
            transports[1].send([Outgoing(2, "data", bytes(2**20))])
        assert transports[1].dropped > 50


def test_reconnects_to_a_peer_that_comes_back(network):
    transports, inboxes = network(1, 2)
    transports[1].send([Outgoing(2, "control", b"first")])
    inboxes[2].wait_for(lambda frames: frames)
    address = transports[2].address
    transports[2].close()
    again, inbox = SocketTransport(address), Inbox()
    again.start(2, inbox)
    again.set_peers({1: Peer(transports[1].address), 2: Peer(address)})
    try:
        stop = threading.Event()

        def insist():  # as Raft does: it repeats what was not answered
            while not stop.wait(0.01):
                transports[1].send([Outgoing(2, "control", b"again")])

        thread = threading.Thread(target=insist)
        thread.start()
        try:
            inbox.wait_for(lambda frames: frames)
        finally:
            stop.set()
            thread.join()
    finally:
        again.close()


def test_peers_may_move(network):
    transports, inboxes = network(1, 2, 3)
    transports[1].send([Outgoing(2, "control", b"to two")])
    inboxes[2].wait_for(lambda frames: frames)
    transports[1].set_peers({1: Peer(transports[1].address), 2: Peer(transports[3].address)})
    transports[1].send([Outgoing(2, "control", b"moved")])
    assert inboxes[3].wait_for(lambda frames: frames) == [b"moved"]
    assert transports[1].dropped == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!4sI", b"dRt1", 0),
        struct.pack("!4sI", b"dRt1", MAX_FRAME + 1) + b"x",
        struct.pack("!4sI", b"dRt1", 2**32 - 1),
        struct.pack("!4sI", b"dRt1", 7) + b"garbage",
        bytes(100),
    ],
    ids=["another protocol", "empty", "too long", "four gigabytes", "refused by the node", "zeros"],
)
def test_garbage_ends_that_connection_only(network, data):
    transports, inboxes = network(1, 2)
    host, port = transports[2].address.split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT) as stranger:
        stranger.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    transports[1].send([Outgoing(2, "control", b"fine")])
    frames = inboxes[2].wait_for(lambda found: b"fine" in found)
    assert frames in ([b"fine"], [b"garbage", b"fine"])


def test_truncated_frame_is_not_delivered(network):
    transports, inboxes = network(1, 2)
    host, port = transports[2].address.split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT) as stranger:
        stranger.sendall(struct.pack("!4sI", b"dRt1", 100) + b"half")
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""
    assert inboxes[2].frames == []


def test_address_that_cannot_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        transport = SocketTransport(address)
        with pytest.raises(ConfigError, match="cannot be bound"):
            transport.start(1, Inbox())
        transport.close()
    transport = SocketTransport("no-such-host.invalid:1")
    with pytest.raises(ConfigError, match="cannot be resolved"):
        transport.start(1, Inbox())


def test_binds_the_own_address_of_the_peers():
    transport = SocketTransport()
    transport.start(1, Inbox())
    assert transport.address is None
    with pytest.raises(ConfigError, match="not among its peers"):
        transport.set_peers({2: Peer("127.0.0.1:1")})
    with pytest.raises(ConfigError, match="insecure=True"):
        transport.set_peers({1: Peer("0.0.0.0:1")})
    transport.close()
    with pytest.raises(ClosedError):
        transport.set_peers({1: Peer("127.0.0.1:1")})


def test_close_from_within_receive_and_twice(network):
    transports, _ = network(1)
    closed = threading.Event()
    other = SocketTransport("127.0.0.1:0")

    def receive(data):
        other.close()
        closed.set()

    other.start(2, receive)
    transports[1].set_peers({2: Peer(other.address)})
    transports[1].send([Outgoing(2, "control", b"stop")])
    assert closed.wait(WAIT)
    other.close()
    other.send([Outgoing(1, "control", b"late")])
