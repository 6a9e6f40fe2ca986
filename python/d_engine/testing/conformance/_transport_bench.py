"""The bench that transports are put on: nodes that are nothing but an inbox."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from d_engine._hooks import Carrier
from d_engine.errors import InvalidMessageError, PluginTypeError
from d_engine.peers import Peer
from d_engine.plugins import Outgoing

from ._case import fail, shown, skip

__all__ = ["Bench", "Lane", "Node", "TransportFace", "frame", "silent"]

Lane = Literal["control", "data", "bulk"]
_PAUSE = 0.01
"""Seconds between two attempts: a node repeats what was not answered, and so do the cases."""
_numbers = itertools.count(1)


def frame(size: int = 24) -> bytes:
    """A frame unlike all others."""
    return b"frame %012d " % next(_numbers) + b"." * max(0, size - 19)


class TransportFace:
    """What a plugin's author writes: see `TransportConformance`."""

    ordered: ClassVar[bool] = True
    patience: ClassVar[float] = 30.0
    limit: ClassVar[float] = 5.0

    def make(self, node_id: int, address: str) -> Any:
        """The transport of that node, which the others will reach at `address`."""
        raise NotImplementedError(
            f"write 'def make(self, node_id: int, address: str)' in {type(self).__name__}: it returns the transport"
        )

    def address(self, node_id: int) -> str:  # noqa: ARG002 (for those who override it)
        """Where that node will be reached. The default is a port of the loopback interface that is free at the moment."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"

    @contextlib.contextmanager
    def bench(self, root: Path) -> Generator[Bench]:
        """For the cases."""
        _ = root
        bench = Bench(self)
        try:
            yield bench
        finally:
            bench.tidy()


class Node:
    """One end: a transport, and what it has received."""

    def __init__(self, node_id: int, address: str, transport: Any) -> None:
        self.id, self.address, self.transport = node_id, address, transport
        self.frames: list[bytes] = []
        self._changed = threading.Condition()

    def receive(self, data: Any) -> None:
        """What a node's `receive` does: takes the frame, or refuses it."""
        with self._changed:
            self.frames.append(bytes(data))
            self._changed.notify_all()
        if bytes(data).startswith(b"garbage"):
            raise InvalidMessageError("the case refuses this frame")

    def has(self, wanted: Sequence[bytes], within: float) -> bool:
        """Whether all these frames are here by then."""
        with self._changed:
            return self._changed.wait_for(lambda: set(wanted) <= set(self.frames), within)

    def send(self, *frames: tuple[int, bytes], lane: Lane = "data") -> None:
        """Hands frames over, each with whom it is for."""
        self.transport.send([Outgoing(to, lane, data) for to, data in frames])


class Bench:
    """Nodes, their addresses, and what the cases do with them."""

    def __init__(self, suite: TransportFace) -> None:
        self.suite = suite
        self._nodes: list[Node] = []
        self._helpers: list[threading.Thread] = []

    def node(self, node_id: int, address: str | None = None) -> Node:
        """A transport that was started and knows nobody yet."""
        if address is None:
            address = self.suite.address(node_id)
        transport = self.suite.make(node_id, address)
        try:
            Carrier(transport)
        except PluginTypeError:
            skip("a node does not accept it: see test_a_node_accepts_it")
        node = Node(node_id, address, transport)
        self._nodes.append(node)
        transport.start(node_id, node.receive)
        return node

    def nodes(self, count: int) -> list[Node]:
        """So many transports that know one another."""
        made = [self.node(number) for number in range(1, count + 1)]
        self.acquaint(*made)
        return made

    def acquaint(self, *nodes: Node) -> None:
        """Tells each of them about all of them."""
        table = {node.id: Peer(node.address) for node in nodes}
        for node in nodes:
            node.transport.set_peers(table)

    def arrives(self, sender: Node, to: Node, *frames: bytes, lane: Lane = "data", what: str = "") -> None:
        """Sends the frames in one batch, again and again as a node does, until all have arrived."""
        if not self._arrive(sender, to, frames, lane, self.suite.patience):
            missing = [data for data in frames if data not in to.frames]
            fail(
                f"{what or 'a frame'} from node {sender.id} arrives at node {to.id}, if it is sent again and again",
                f"after {self.suite.patience:g} s {len(missing)} of {len(frames)} had not, such as {shown(missing[0])}",
            )

    def _arrive(self, sender: Node, to: Node, frames: Sequence[bytes], lane: Lane, within: float) -> bool:
        deadline = time.monotonic() + within
        while True:
            sender.send(*((to.id, data) for data in frames), lane=lane)
            if to.has(frames, _PAUSE):
                return True
            if time.monotonic() > deadline:
                return False

    def arrives_soon(self, sender: Node, to: Node, *frames: tuple[int, bytes]) -> None:
        """The same for frames to several nodes, where the last one has to be there within the limit."""
        began = time.monotonic()
        wanted = frames[-1][1]
        while True:
            sender.send(*frames)
            if to.has([wanted], _PAUSE):
                return
            took = time.monotonic() - began
            if took > self.suite.limit:
                fail(
                    f"a frame from node {sender.id} is at node {to.id} within {self.suite.limit:g} s",
                    f"not after {took:.1f} s",
                )

    def stays_away(self, node: Node, data: bytes, why: str) -> None:
        """The frame must not be here, nor come while one might be on its way."""
        if node.has([data], 5 * _PAUSE):
            fail(f"node {node.id} does not get the frame: {why}", shown(data))

    def quickly(self, what: str, call: Callable[[], object]) -> None:
        """`call` has to return within the limit."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                call()
            except BaseException as failure:  # noqa: BLE001 (it is raised again below)
                failures.append(failure)

        thread = threading.Thread(target=work, name="d-engine-conformance", daemon=True)
        self._helpers.append(thread)
        thread.start()
        thread.join(self.suite.limit)
        if thread.is_alive():
            fail(f"{what} returns within {self.suite.limit:g} s", "it did not")
        if failures:
            raise failures[0]

    def tidy(self) -> None:
        """Closes all of them."""
        for node in self._nodes:
            with contextlib.suppress(Exception):
                node.transport.close()
        for helper in self._helpers:
            helper.join(self.suite.limit)


@contextlib.contextmanager
def silent(address: str) -> Generator[None]:
    """Somebody at that address who takes connections and reads nothing, as far as it is one of a network."""
    host, _, port = address.rpartition(":")
    try:
        server = socket.create_server((host, int(port)))
    except (ValueError, OSError):
        yield
        return
    with server:
        yield
