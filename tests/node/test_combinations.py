"""The same life with every shipped storage and transport: writes, a crash, a restart, a follower that needs a snapshot."""

import pickle

import pytest

from d_engine import Config, FileStorage, GrpcTransport, MemoryStorage, SocketTransport, SQLiteStorage, StateMachine
from support.clusters import WAIT, Trio, wait_until
from support.machines import Journal
from support.ports import free_ports


class Views(Journal):
    """The same journal by way of views: apply goes on while they are written."""

    def freeze(self):
        return list(self.items)

    def write_view(self, view, out):
        pickle.dump(view, out)

    def restore(self, src):
        self.items = pickle.load(src)


class Durable:
    """Keeps its state as a database would: entries, position and sidecar change together."""

    def __init__(self):
        self.committed = ([], 0, b"")
        self.applies = 0

    def applied(self):
        return self.committed[1], self.committed[2]

    def apply_durable(self, batch):
        items = list(self.committed[0])
        results = []
        for entry in batch.entries:
            items.append(entry.data)
            results.append(len(items))
        self.applies += len(results)
        self.committed = (items, batch.last_index, batch.sidecar)
        return results

    @property
    def items(self):
        return self.committed[0]

    def query(self, request):
        return list(self.items)

    def snapshot(self, out):
        pickle.dump(self.items, out)

    def restore(self, src):
        self.committed = (pickle.load(src), *self.committed[1:])


class OwnBatches(Journal):
    def apply_batch(self, entries):
        self.batches.append(len(entries))
        self.items += entries.data
        first = len(self.items) - len(entries) + 1
        return range(first, first + len(entries))


STORAGES = {
    "file": lambda path: lambda node: FileStorage(path / f"node-{node}"),
    "memory": lambda path: lambda node: MemoryStorage(),
    "sqlite": lambda path: lambda node: SQLiteStorage(path / f"node-{node}.db"),
}
TRANSPORTS = {"local": None, "socket": lambda node: SocketTransport(), "grpc": lambda node: GrpcTransport()}
# One message under way: what waits in a transport for a node that is down must not be the whole log.
SMALL = Config(snapshot_every_entries=40, trailing_entries=5, max_inflight_messages=1)


def build(tmp_path, machine, storage, transport, config=None):
    peers = None
    if TRANSPORTS[transport] is not None:
        peers = {node: f"127.0.0.1:{port}" for node, port in zip((1, 2, 3), free_ports(3), strict=True)}
    return Trio(
        lambda node: machine(), STORAGES[storage](tmp_path), transport=TRANSPORTS[transport], peers=peers, config=config
    )


@pytest.mark.parametrize("transport", list(TRANSPORTS))
@pytest.mark.parametrize("storage", list(STORAGES))
def test_writes_crash_and_restart(tmp_path, storage, transport):
    with build(tmp_path, Journal, storage, transport) as trio:
        for node, raft in trio.nodes.items():
            raft.propose(b"%d" % node, timeout=WAIT)
        victim = trio.leader()
        if storage == "sqlite":
            trio.stop(victim)  # its lock goes with the connection: a crash leaves that to the process
        else:
            trio.crash(victim)
        others = list(trio.nodes)
        trio.leader(among=others)
        for node in others:
            trio.nodes[node].propose_many([b"m%d" % node] * 10, timeout=WAIT)
        trio.start(victim).wait_ready(timeout=WAIT)
        trio.level()
        states = {node: raft.query(None) for node, raft in trio.nodes.items()}
        assert len(states[victim]) == 23
        assert states[1] == states[2] == states[3]


@pytest.mark.parametrize("transport", list(TRANSPORTS))
@pytest.mark.parametrize("storage", list(STORAGES))
def test_all_restart(tmp_path, storage, transport):
    with build(tmp_path, Journal, storage, transport) as trio:
        trio.nodes[1].propose_many([b"%d" % number for number in range(100)], timeout=WAIT)
        for node in list(trio.nodes):
            trio.stop(node)
        for node in (1, 2, 3):
            trio.start(node)
        trio.ready()
        for raft in trio.nodes.values():
            assert raft.query(None, timeout=WAIT) == [b"%d" % number for number in range(100)]


@pytest.mark.parametrize("machine", [Journal, Views, Durable])
@pytest.mark.parametrize(
    ("storage", "transport"), [("file", "grpc"), ("file", "local"), ("memory", "local"), ("sqlite", "socket")]
)
def test_a_follower_that_is_far_behind_gets_a_snapshot(tmp_path, machine, storage, transport):
    with build(tmp_path, machine, storage, transport, SMALL) as trio:
        trio.nodes[1].propose(b"first", timeout=WAIT)
        late = trio.followers()[0]
        trio.stop(late)
        others = list(trio.nodes)
        for number in range(10):
            trio.nodes[others[0]].propose_many([b"%d" % number] * 20, timeout=WAIT)
        wait_until(
            lambda: all(trio.nodes[node].status().purged.index > 100 for node in others), "the logs to be purged"
        )
        raft = trio.start(late)
        assert len(raft.query(None, timeout=WAIT)) == 201
        wait_until(lambda: raft.metrics()["snapshots_installed"] >= 1, "the transfer to be counted")
        raft.propose(b"last", timeout=WAIT)
        trio.level()
        states = [raft.query(None) for raft in trio.nodes.values()]
        assert states[0] == states[1] == states[2]
        # What was installed is there after a restart too.
        assert len(trio.restart(late).query(None, timeout=WAIT)) == 202


@pytest.mark.parametrize("storage", list(STORAGES))
def test_restart_from_snapshot_and_log(tmp_path, storage):
    with build(tmp_path, Journal, storage, "local", SMALL) as trio:
        for number in range(10):
            trio.nodes[1].propose_many([b"%d" % number] * 15, timeout=WAIT)
        trio.level()
        expected = trio.nodes[1].query(None)
        wait_until(lambda: all(raft.status().snapshot for raft in trio.nodes.values()), "snapshots")
        for node in (1, 2, 3):
            trio.stop(node)
        for node in (1, 2, 3):
            trio.start(node)
        for raft in trio.nodes.values():
            assert raft.query(None, timeout=WAIT) == expected


def test_a_durable_machine_is_not_given_twice_what_it_holds(tmp_path):
    kept = {node: Durable() for node in (1, 2, 3)}
    trio = Trio(kept.__getitem__, STORAGES["file"](tmp_path))
    with trio:
        trio.nodes[1].propose_many([b"a", b"b", b"c"], timeout=WAIT)
        trio.level()
        for node in (1, 2, 3):
            trio.stop(node)
        for node in (1, 2, 3):
            trio.start(node)
        trio.ready()
        assert trio.nodes[2].propose(b"d", timeout=WAIT) == 4
        trio.level()
    assert all(machine.applies == 4 for machine in kept.values())
    assert all(machine.items == [b"a", b"b", b"c", b"d"] for machine in kept.values())


def test_a_machine_with_batches_of_its_own(tmp_path):
    with build(tmp_path, OwnBatches, "memory", "local") as trio:
        leader = trio.nodes[trio.leader()]
        futures = [leader.submit(b"%d" % number) for number in range(500)]
        assert [future.result(WAIT) for future in futures] == list(range(1, 501))
        trio.level()
        for machine in trio.machines.values():
            assert sum(machine.batches) == 500


def test_snapshot_directory_of_a_storage_without_a_store(tmp_path, monkeypatch):
    """A storage that keeps no snapshots gets a folder for them; another storage's snapshots are never taken for its own."""
    monkeypatch.chdir(tmp_path)

    class Plain:
        def __init__(self):
            memory = MemoryStorage()
            self.log_store, self.meta_store = memory.log_store, memory.meta_store
            self.open, self.close = memory.open, memory.close

    for expected in (1, 2):
        with Trio(lambda node: Journal(), lambda node: Plain(), ids=(1,)) as trio:
            assert trio.nodes[1].propose(b"x", timeout=WAIT) == 1
            trio.nodes[1].snapshot(timeout=WAIT)
            assert trio.restart(1).query(None, timeout=WAIT) == [b"x"]
        assert len(list((tmp_path / "d-engine-snapshots").iterdir())) == expected


def test_untyped_machine_without_a_query(tmp_path):
    class Plain(StateMachine):
        def apply(self, entry):
            return entry.data

        def snapshot(self, out):
            pass

        def restore(self, src):
            pass

    with build(tmp_path, Plain, "memory", "local") as trio:
        assert trio.nodes[1].propose(b"x", timeout=WAIT) == b"x"
        with pytest.raises(Exception, match="has no query method"):
            trio.nodes[1].query("x")
