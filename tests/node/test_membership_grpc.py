"""Members that move, and members that were away while others came: over real sockets."""

import pytest

from d_engine import FileStorage, Peer, Raft
from support.clusters import WAIT, wait_until
from support.machines import Journal
from support.ports import free_ports


class Place:
    """Nodes with sockets of their own, by number."""

    def __init__(self, directory):
        self.directory, self.running = directory, {}
        self.ports = dict(zip(range(1, 8), free_ports(7), strict=True))

    def address(self, port):
        return f"127.0.0.1:{self.ports[port]}"

    def __call__(self, node, **kwargs):
        raft = Raft(node, FileStorage(self.directory / f"node-{node}"), Journal(), **kwargs)
        raft.start()
        self.running[node] = raft
        return raft


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    while place.running:
        stop(place, next(iter(place.running)))


def stop(place, node):
    place.running.pop(node).close(handover=False, timeout=2.0)


def leader(place):
    def found():
        leaders = {raft.leader for raft in place.running.values()}
        return place.running.get(next(iter(leaders))) if len(leaders) == 1 else None

    return wait_until(found, "a leader that all follow")


def trio(place):
    peers = {node: place.address(node) for node in (1, 2, 3)}
    for node in peers:
        place(node, peers=peers)
    for raft in place.running.values():
        raft.wait_ready(timeout=WAIT)


def test_a_member_that_moves_is_found_again(place):
    trio(place)
    moved = next(node for node in (1, 2, 3) if node != leader(place).id)
    leader(place).propose(b"one")
    stop(place, moved)
    leader(place).change(add={moved: Peer(place.address(7), priority=3)})
    place(moved, listen=place.address(7)).wait_ready(timeout=WAIT)
    assert place.running[moved].propose(b"two") == 2
    assert place.running[moved].status().members[moved].address == place.address(7)
    for raft in place.running.values():
        assert raft.query(None, timeout=WAIT) == [b"one", b"two"]
    # All of them start again, and meet where they are now.
    for node in (1, 2, 3):
        stop(place, node)
    for node in (1, 2, 3):
        place(node, listen=place.address(7 if node == moved else node))
    assert leader(place).propose(b"three", timeout=WAIT) == 3


def test_a_member_that_was_away_while_all_others_were_replaced(place):
    trio(place)
    away = next(node for node in (1, 2, 3) if node != leader(place).id)
    leader(place).propose(b"one")
    stop(place, away)
    old = [node for node in (1, 2, 3) if node != away]
    for node in (4, 5):
        members = [place.address(known) for known in place.running]
        place(node, join=members, listen=place.address(node)).wait_ready(timeout=WAIT)
    for node in (4, 5):
        wait_until(lambda node=node: leader(place).status().members[node].role == "voter", "its promotion")
    leader(place).change(remove=old, timeout=WAIT)
    for node in old:
        stop(place, node)
    wait_until(lambda: leader(place).id in {4, 5}, "a new one to lead")
    leader(place).propose(b"two", timeout=WAIT)
    # It knows neither of those who lead now; they know it, and it answers them.
    place(away).wait_ready(timeout=WAIT)
    assert place.running[away].propose(b"three", timeout=WAIT) == 3
    assert set(place.running[away].status().members) == {away, 4, 5}
    assert place.running[away].query(None, consistency="lease", timeout=WAIT) == [b"one", b"two", b"three"]
