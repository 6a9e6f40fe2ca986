"""What a transport promises."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from d_engine._hooks import Carrier
from d_engine.config import Config
from d_engine.peers import Peer
from d_engine.plugins import StateMachine

from ._case import case, equal, fail, holds, shown, skip
from ._transport_bench import Bench, Lane, TransportFace, frame, silent

if TYPE_CHECKING:
    from d_engine import Entry

__all__ = ["AcceptedCases", "CarryingCases", "ClosingCases", "ClusterCases", "PeerCases"]

_LANES: tuple[Lane, ...] = ("control", "data", "bulk")
_ABSENT = "Queue, bound the queue, and let a thread of each peer send; drop what does not fit: it will be sent again."


class AcceptedCases(TransportFace):
    """The first look."""

    @case("Define the methods as the message says: plain functions with these arguments.")
    def test_a_node_accepts_it(self, bench: Bench) -> None:
        """A transport has start, set_peers, send and close, as plain functions with the arguments that a node gives."""
        _ = bench
        transport = self.make(1, self.address(1))
        try:
            Carrier(transport)
        finally:
            # It was not started: closing it is a courtesy.
            with contextlib.suppress(Exception):
                transport.close()


class CarryingCases(TransportFace):
    """Frames get where they shall, as they are."""

    @case("Carry every frame, however small.")
    def test_a_small_frame_arrives(self, bench: Bench) -> None:
        """A frame of one byte arrives."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, b"x", what="a frame of one byte")

    @case("Let every node send and receive; who connected to whom is your business.")
    def test_frames_go_both_ways(self, bench: Bench) -> None:
        """Each of two nodes reaches the other."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        bench.arrives(two, one, frame())

    @case("Send a frame to the peer of its id, and to nobody else.")
    def test_a_frame_reaches_whom_it_is_for(self, bench: Bench) -> None:
        """A frame reaches the node that it is for, and no other."""
        one, two, three = bench.nodes(3)
        data = frame()
        bench.arrives(one, two, data)
        bench.stays_away(three, data, "it is for node 2")
        bench.stays_away(one, data, "it has sent it itself")

    @case("Write the length before each frame, and read exactly that much; no separators, no text.")
    def test_a_frame_comes_byte_for_byte(self, bench: Bench) -> None:
        """A frame comes whole and byte for byte, whatever is in it."""
        one, two = bench.nodes(2)
        for data in (
            frame() + bytes(range(256)),
            frame() + b"\0\0",
            b"\r\n\r\n" + frame() + b"\n",
            frame() + b"\xff\xfe",
        ):
            bench.arrives(one, two, data, what=f"{shown(data)}")

    @case("Take frames of 1 MiB; read until the whole frame is there.")
    def test_a_large_frame_arrives(self, bench: Bench) -> None:
        """A frame of 1 MiB arrives."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame(2**20), what="a frame of 1 MiB")

    @case("Carry all lanes: control, data and bulk.")
    def test_every_lane_is_carried(self, bench: Bench) -> None:
        """Frames of every lane arrive."""
        one, two = bench.nodes(2)
        for lane in _LANES:
            bench.arrives(one, two, frame(), lane=lane, what=f"a frame of lane {lane!r}")

    @case("Send every frame of the batch, not only the first or the last.")
    def test_a_batch_arrives_as_a_whole(self, bench: Bench) -> None:
        """All frames of a batch arrive."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, *(frame() for _ in range(20)), what="every frame of a batch of 20")

    @case("Use one connection and one queue for a lane to a peer; or say ordered = False, and expect retries.")
    def test_a_lane_keeps_its_order(self, bench: Bench) -> None:
        """Frames of one lane to one node arrive in the order in which they were sent, except for lost ones."""
        if not self.ordered:
            skip("ordered is False: this transport may reorder frames")
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        sent = [frame() for _ in range(60)]
        for at in range(0, 60, 6):
            one.send(*((2, data) for data in sent[at : at + 6]))
        bench.arrives(one, two, frame())
        came = [data for data in two.frames if data in sent]
        equal("the frames that arrived, in their order", came, sorted(came, key=sent.index))

    @case("Give buffers free when they are sent, and read on and on.")
    def test_many_frames_arrive(self, bench: Bench) -> None:
        """Frames go on arriving after thousands of others."""
        one, two = bench.nodes(2)
        for _ in range(40):
            batch = [frame() for _ in range(49)]
            one.send(*((2, data) for data in batch))
            bench.arrives(one, two, frame(), what="a frame after many others")

    @case("Return where the batch is empty.")
    def test_an_empty_batch_is_nothing(self, bench: Bench) -> None:
        """send([]) does nothing."""
        one, two = bench.nodes(2)
        one.send()
        bench.arrives(one, two, frame())

    @case("Give every connection its own buffer; receive may be called by several threads at once.")
    def test_two_senders_do_not_mix(self, bench: Bench) -> None:
        """Frames of two nodes to a third at the same time come whole."""
        one, two, three = bench.nodes(3)
        mine, others = [frame(3000) for _ in range(30)], [frame(3000) for _ in range(30)]

        def send_others() -> None:
            for data in others:
                three.send((2, data))

        helper = threading.Thread(target=send_others, name="d-engine-conformance")
        helper.start()
        for data in mine:
            one.send((2, data))
        helper.join()
        bench.arrives(one, two, frame())
        bench.arrives(three, two, frame())
        torn = [data for data in two.frames if len(data) == 3000 and data not in mine and data not in others]
        odd = [data for data in two.frames if len(data) not in {3000, len(frame())}]
        holds(not torn and not odd, "only whole frames", shown((torn or odd or [b""])[0][:60]))

    @case("Catch what receive raises: drop the connection if you like, and take the next one.")
    def test_a_refused_frame_is_not_the_last(self, bench: Bench) -> None:
        """After receive has refused a frame, others arrive."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, b"garbage, which the node refuses")
        bench.arrives(one, two, frame(), what="a frame after a refused one")


class PeerCases(TransportFace):
    """Members that come, go, move, and are not there."""

    @case("Look the peer up with get, drop the frame if there is none, and go on with the others.")
    def test_an_unknown_peer_is_no_error(self, bench: Bench) -> None:
        """Frames to an unknown node are dropped, without an exception, and the others of the batch arrive."""
        one, two = bench.nodes(2)
        data = frame()
        bench.arrives_soon(one, two, (9, frame()), (2, data))

    @case("Take over the table that set_peers brings, each time.")
    def test_a_peer_is_added(self, bench: Bench) -> None:
        """A node that is among the peers from now on is reached."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        three = bench.node(3)
        bench.acquaint(one, two, three)
        bench.arrives(one, three, frame(), what="a frame for a new peer")
        bench.arrives(three, one, frame(), what="a frame of a new peer")

    @case("Forget who is not in the table any more, and close its connections.")
    def test_a_peer_is_removed(self, bench: Bench) -> None:
        """A node that is not among the peers any more gets nothing."""
        one, two, three = bench.nodes(3)
        bench.arrives(one, three, frame())
        bench.acquaint(one, two)
        data = frame()
        one.send((3, data))
        bench.arrives(one, two, frame())
        bench.stays_away(three, data, "it is not among the peers any more")

    @case("Compare addresses in set_peers, and connect anew where one has changed.")
    def test_a_peer_moves(self, bench: Bench) -> None:
        """A node that has another address is reached there."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        two.transport.close()
        moved = bench.node(2)
        bench.acquaint(one, moved)
        bench.arrives(one, moved, frame(), what="a frame to the new address")

    @case("Leave connections alone whose address has not changed.")
    def test_the_same_table_changes_nothing(self, bench: Bench) -> None:
        """set_peers with the same table again changes nothing."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        bench.acquaint(one, two)
        bench.arrives(one, two, frame(), what="a frame after the same table came again")

    @case(_ABSENT)
    def test_send_does_not_wait(self, bench: Bench) -> None:
        """Send returns at once, also when nobody takes what it sends."""
        one = bench.node(1)
        table = {1: Peer(one.address), 2: Peer(self.address(2)), 3: Peer(self.address(3))}
        with silent(table[3].address):
            one.transport.set_peers(table)
            for to in (2, 3):
                for _ in range(60):
                    bench.quickly("send", functools.partial(one.send, (to, frame(2**18))))

    @case(_ABSENT)
    def test_an_absent_peer_delays_nobody(self, bench: Bench) -> None:
        """Frames to a node that is there are not held up by those to one that is not."""
        one, two = bench.node(1), bench.node(2)
        table = {1: Peer(one.address), 2: Peer(two.address), 3: Peer(self.address(3))}
        for node in (one, two):
            node.transport.set_peers(table)
        bench.arrives_soon(one, two, (3, frame()), (2, frame()))

    @case("Connect when there is something to send, and try again.")
    def test_a_peer_may_start_later(self, bench: Bench) -> None:
        """A node that starts after the others is reached."""
        one, later = bench.node(1), self.address(2)
        table = {1: Peer(one.address), 2: Peer(later)}
        one.transport.set_peers(table)
        one.send((2, frame()))
        two = bench.node(2, later)
        two.transport.set_peers(table)
        bench.arrives(one, two, frame(), what="a frame to a node that started later")


class ClosingCases(TransportFace):
    """The end, and what comes after it."""

    @case("Join your threads in close.")
    def test_close_ends_its_threads(self, bench: Bench) -> None:
        """Close ends all threads of the transport."""
        before = set(threading.enumerate())
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        one.transport.close()
        two.transport.close()
        deadline = time.monotonic() + self.limit
        while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
            if time.monotonic() > deadline:
                fail(f"no thread is left {self.limit:g} s after close", ", ".join(thread.name for thread in left))
            left[0].join(0.05)

    @case("Close the listening socket in close; set SO_REUSEADDR before bind.")
    def test_close_gives_the_address_free(self, bench: Bench) -> None:
        """After close another transport starts at the same address."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        two.transport.close()
        again = bench.node(2, two.address)
        bench.acquaint(one, again)

    @case("Notice that a connection has ended, and make another one.")
    def test_a_peer_comes_back(self, bench: Bench) -> None:
        """A node that was closed and started again at the same address is reached without anybody's help."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        two.transport.close()
        one.send((2, frame()))
        again = bench.node(2, two.address)
        again.transport.set_peers({1: Peer(one.address), 2: Peer(two.address)})
        bench.arrives(one, again, frame(), what="a frame to a node that came back")

    @case("Stop receiving before close returns.")
    def test_nothing_is_received_after_close(self, bench: Bench) -> None:
        """After close receive is not called any more."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        two.transport.close()
        data = frame()
        for _ in range(5):
            one.send((2, data))
        bench.stays_away(two, data, "it is closed")

    @case("Return at once, or raise ClosedError, once close was called.")
    def test_nothing_is_sent_after_close(self, bench: Bench) -> None:
        """Send after close sends nothing, and does not wait."""
        one, two = bench.nodes(2)
        bench.arrives(one, two, frame())
        one.transport.close()
        data = frame()

        def late() -> None:
            with contextlib.suppress(Exception):
                one.send((2, data))

        bench.quickly("send after close", late)
        bench.stays_away(two, data, "its sender is closed")

    @case("Wake your threads in close: no wait for a time-out of connect or of a retry.")
    def test_close_does_not_wait(self, bench: Bench) -> None:
        """Close returns soon, also while frames wait for a node that is not there."""
        one = bench.node(1)
        one.transport.set_peers({1: Peer(one.address), 2: Peer(self.address(2))})
        one.send(*((2, frame()) for _ in range(50)))
        bench.quickly("close", one.transport.close)

    @case(
        "Close what is open, and expect that set_peers was never called: the node's start may have failed in between."
    )
    def test_close_right_after_start(self, bench: Bench) -> None:
        """Close may follow start at once."""
        bench.node(1).transport.close()


class _Count(StateMachine[bytes, int]):
    """Counts entries."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, entry: Entry) -> int:
        _ = entry
        self.count += 1
        return self.count

    def snapshot(self, out: BinaryIO) -> None:
        out.write(b"%d" % self.count)

    def restore(self, src: BinaryIO) -> None:
        self.count = int(src.read())


class ClusterCases(TransportFace):
    """Nodes on top."""

    @case("Take send and set_peers on other threads than start, and frames as the bytes that they are.")
    def test_a_cluster_runs_on_it(self, bench: Bench) -> None:
        """Three nodes elect a leader and carry out what is proposed on any of them."""
        from d_engine import MemoryStorage, Raft

        _ = bench
        wait = 2 * self.patience
        config = Config(heartbeat_interval=0.03, election_timeout=(0.15, 0.3))
        peers = {node: self.address(node) for node in (1, 2, 3)}
        with contextlib.ExitStack() as stack:
            rafts: list[Raft[bytes, Any]] = []
            for node, address in peers.items():
                transport = self.make(node, address)
                raft = Raft(node, MemoryStorage(), _Count(), config, peers=peers, transport=transport)
                rafts.append(stack.enter_context(raft))
            rafts[0].wait_ready(timeout=wait)
            results = [raft.propose(b"one more", timeout=wait) for raft in rafts]
        equal("the results of one proposal on each node", results, [1, 2, 3])
