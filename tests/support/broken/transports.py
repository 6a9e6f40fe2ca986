"""Broken transports."""

import queue
import threading

from support.broken.transport_model import Model, fails


@fails("a_node_accepts_it", "a_cluster_runs_on_it")
class SetPeersIsACoroutine(Model):
    async def set_peers(self, peers):  # pyright: ignore[reportIncompatibleMethodOverride]
        super().set_peers(peers)


@fails("a_small_frame_arrives")
class SmallFramesAreNoise(Model):
    def carry(self, to, lane, data):
        if len(data) > 1:
            super().carry(to, lane, data)


@fails("frames_go_both_ways", "two_senders_do_not_mix", "a_peer_is_added", "a_cluster_runs_on_it")
class UpwardsOnly(Model):
    def carry(self, to, lane, data):
        if to > self.node_id:
            super().carry(to, lane, data)


@fails("a_frame_reaches_whom_it_is_for")
class ToEverybody(Model):
    def carry(self, to, lane, data):
        if to in self.peers:
            for other in self.peers:
                if other != self.node_id:
                    super().carry(other, lane, data)


@fails("a_frame_comes_byte_for_byte", "a_cluster_runs_on_it")
class EndsAtZeros(Model):
    def carry(self, to, lane, data):
        super().carry(to, lane, data.rstrip(b"\0"))


@fails("a_large_frame_arrives")
class SixtyFourKibibytes(Model):
    def carry(self, to, lane, data):
        if len(data) <= 65536:
            super().carry(to, lane, data)


@fails("every_lane_is_carried")
class NoBulk(Model):
    def carry(self, to, lane, data):
        if lane != "bulk":
            super().carry(to, lane, data)


@fails("a_batch_arrives_as_a_whole")
class TenOfABatch(Model):
    def send(self, batch):
        super().send(batch[-10:])


@fails("a_lane_keeps_its_order")
class NewestFirst(Model):
    def send(self, batch):
        super().send(batch[::-1])


@fails("many_frames_arrive")
class AThousandFrames(Model):
    sent = 0

    def carry(self, to, lane, data):
        self.sent += 1
        if self.sent <= 1000:
            super().carry(to, lane, data)


@fails("an_empty_batch_is_nothing")
class LooksAtTheFirst(Model):
    def send(self, batch):
        assert batch[0].to != self.node_id, "a frame to itself"
        super().send(batch)


@fails("two_senders_do_not_mix", "a_cluster_runs_on_it")
class OneBufferForAll(Model):
    buffer = b""
    before = None

    def take(self, sender, data):
        if self.before not in {None, sender} and len(data) == len(self.buffer):
            data = self.buffer[: len(data) // 2] + data[: len(data) // 2]
        self.before, self.buffer = sender, data
        super().take(sender, data)


@fails("a_refused_frame_is_not_the_last")
class EndsWithTheFirstRefusal(Model):
    refused = False

    def take(self, sender, data):
        if not self.refused:
            try:
                self.receive(data)
            except Exception:
                self.refused = True


@fails("an_unknown_peer_is_no_error", "a_peer_is_removed")
class EveryPeerIsKnown(Model):
    def carry(self, to, lane, data):
        assert self.peers[to]
        super().carry(to, lane, data)


@fails("a_peer_is_added")
class TheFirstTableHolds(Model):
    def set_peers(self, peers):
        known = set(self.peers or peers)
        super().set_peers({node: peer for node, peer in peers.items() if node in known})


@fails("a_peer_is_removed")
class PeersStay(Model):
    def set_peers(self, peers):
        before = self.peers
        super().set_peers(peers)
        self.peers = {**before, **self.peers}


@fails("a_peer_moves")
class TheFirstAddressHolds(Model):
    def __init__(self, network, address):
        super().__init__(network, address)
        self.first = {}

    def set_peers(self, peers):
        super().set_peers(peers)
        for node, address in self.peers.items():
            self.first.setdefault(node, address)

    def target(self, to):
        return self.network.places.get(self.first[to]) if to in self.peers else None


@fails("the_same_table_changes_nothing", "a_cluster_runs_on_it")
class TheSameTableEndsEverything(Model):
    def set_peers(self, peers):
        before = self.peers
        super().set_peers(peers)
        if self.peers == before:
            self.peers = {}


@fails("send_does_not_wait")
class WaitsForRoom(Model):
    waiting = 0

    def carry(self, to, lane, data):
        if self.target(to) is None and to in self.peers:
            self.waiting += 1
            if self.waiting == 60:
                self.network.over.wait(3.0)
        super().carry(to, lane, data)


@fails("an_absent_peer_delays_nobody")
class OneQueueForAll(Model):
    """A single thread sends everything, and takes its time to connect."""

    def start(self, node_id, receive):
        super().start(node_id, receive)
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self.work)
        self.network.forget(self.thread)

    def work(self):
        while (one := self.queue.get()) is not None:
            if self.target(one[0]) is None and one[0] in self.peers:
                self.network.over.wait(1.8)
            super().carry(*one)

    def carry(self, to, lane, data):
        self.queue.put((to, lane, data))

    def close(self):
        super().close()
        self.queue.put(None)


@fails("a_peer_may_start_later", "a_cluster_runs_on_it")
class LooksOnceAtEveryPeer(Model):
    def set_peers(self, peers):
        super().set_peers(peers)
        self.there = {node for node in self.peers if self.target(node) is not None}

    def carry(self, to, lane, data):
        if to in self.there:
            super().carry(to, lane, data)


@fails("close_ends_its_threads")
class AThreadIsLeft(Model):
    def start(self, node_id, receive):
        super().start(node_id, receive)
        self.network.forget(threading.Thread(target=self.network.over.wait, name="left behind"))


@fails("close_gives_the_address_free", "a_peer_comes_back", "nothing_is_received_after_close")
class KeepsItsAddress(Model):
    def unbind(self):
        pass


@fails("a_peer_comes_back")
class KeepsDeadConnections(Model):
    def __init__(self, network, address):
        super().__init__(network, address)
        self.links = {}

    def set_peers(self, peers):
        super().set_peers(peers)
        self.links = {to: link for to, link in self.links.items() if link.address == self.peers.get(to)}

    def target(self, to):
        found = self.links.get(to) or super().target(to)
        if found is not None:
            self.links[to] = found
        return found if found is None or not found.closed else None


@fails("nothing_is_received_after_close")
class ReceivesForEver(Model):
    def bind(self):
        self.network.places[self.address] = self

    def unbind(self):
        pass


@fails("nothing_is_sent_after_close")
class SendsForEver(Model):
    def close(self):
        self.unbind()


@fails("close_does_not_wait")
class WaitsForItsFrames(Model):
    lost = 0

    def carry(self, to, lane, data):
        if self.target(to) is None and to in self.peers:
            self.lost += 1
        super().carry(to, lane, data)

    def close(self):
        super().close()
        if self.lost >= 50:
            self.network.over.wait(3.0)


@fails("close_right_after_start")
class ClosesWhatWasNeverMade(Model):
    def set_peers(self, peers):
        super().set_peers(peers)
        self.links = {}

    def close(self):
        self.links.clear()
        super().close()


@fails("a_cluster_runs_on_it")
class LivesOnOneThread(Model):
    def start(self, node_id, receive):
        super().start(node_id, receive)
        self.thread = threading.get_ident()

    def send(self, batch):
        if threading.get_ident() != self.thread and threading.current_thread().name != "d-engine-conformance":
            raise RuntimeError("another thread")
        super().send(batch)
