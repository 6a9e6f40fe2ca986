"""Bad input to a node: a named error that says what, where and what to do, and nothing changed."""

import contextlib
import os
import socket
import sys
import threading

import pytest

from d_engine import (
    ClosedError,
    Config,
    ConfigError,
    DirectoryLockedError,
    FileStorage,
    ForkError,
    InvalidMessageError,
    LocalTransport,
    MemoryStorage,
    Raft,
    SocketTransport,
    SQLiteStorage,
    WrongClusterError,
    WrongNodeError,
)
from support.clusters import WAIT, Trio
from support.machines import Journal, WordCount
from support.ports import free_ports

ALONE = {1: "local:1"}


def alone(storage, *, node_id=1, config=None, peers=None, **kwargs):
    kwargs.setdefault("transport", LocalTransport())
    return Raft(node_id, storage, Journal(), config, peers=peers or {node_id: f"local:{node_id}"}, **kwargs)


STORAGES = [
    pytest.param(lambda path: FileStorage(path / "data"), id="file"),
    pytest.param(lambda path: SQLiteStorage(path / "node.db"), id="sqlite"),
]


@pytest.mark.parametrize("make", STORAGES)
def test_data_in_use(make, tmp_path):
    with alone(make(tmp_path)) as raft:
        raft.propose(b"one", timeout=WAIT)
        with pytest.raises(DirectoryLockedError) as caught:
            alone(make(tmp_path)).start()
        assert str(tmp_path) in str(caught.value)
        assert "in use" in str(caught.value)
        assert raft.propose(b"two") == 2
    with alone(make(tmp_path)) as raft:
        assert raft.query(None, timeout=WAIT) == [b"one", b"two"]


@pytest.mark.parametrize("make", [*STORAGES, pytest.param(None, id="memory")])
def test_data_of_another_node_or_cluster(make, tmp_path):
    kept = MemoryStorage()
    make = make or (lambda path: kept)
    with alone(make(tmp_path)) as raft:
        raft.propose(b"one", timeout=WAIT)
    with pytest.raises(WrongNodeError) as caught:
        alone(make(tmp_path), node_id=2).start()
    assert (caught.value.expected, caught.value.found) in ((2, 1), (1, 2))
    with pytest.raises(WrongClusterError) as wrong:
        alone(make(tmp_path), config=Config(cluster="other")).start()
    assert "other" in str(wrong.value)
    assert "default" in str(wrong.value)
    with alone(make(tmp_path)) as raft:
        assert raft.query(None, timeout=WAIT) == [b"one"]


def test_an_empty_storage_needs_peers(tmp_path):
    raft = Raft(1, FileStorage(tmp_path / "data"), Journal(), transport=LocalTransport())
    with pytest.raises(ConfigError, match="peers"):
        raft.start()


def test_stored_members_hold_over_other_peers(tmp_path, caplog):
    with alone(FileStorage(tmp_path / "data")) as raft:
        raft.propose(b"one", timeout=WAIT)
    other = alone(FileStorage(tmp_path / "data"), peers={1: "local:1", 2: "local:2"})
    with caplog.at_level("WARNING", "d_engine"), other:
        assert other.query(None, timeout=WAIT) == [b"one"]
        assert set(other.status().members) == {1}
    text = caplog.text
    assert "local:2" in text


def test_stored_members_are_enough(tmp_path):
    with alone(FileStorage(tmp_path / "data")) as raft:
        raft.propose(b"one", timeout=WAIT)
    with Raft(1, FileStorage(tmp_path / "data"), Journal(), transport=LocalTransport()) as raft:
        assert raft.query(None, timeout=WAIT) == [b"one"]


def test_address_that_cannot_be_bound(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        raft = Raft(1, FileStorage(tmp_path / "data"), Journal(), peers={1: address})
        with pytest.raises(ConfigError) as caught:
            raft.start()
        assert address in str(caught.value)
    # All of it was undone: directory and port can be had again, by the same object too.
    raft.start()
    assert raft.propose(b"x", timeout=WAIT) == 1
    raft.close()


def test_host_names_are_resolved_at_start(tmp_path):
    raft = Raft(1, FileStorage(tmp_path / "data"), Journal(), peers={1: "no-such-host.invalid:9081"})
    with pytest.raises(ConfigError, match="no-such-host.invalid"):
        raft.start()
    port = free_ports(1)[0]
    with Raft(1, FileStorage(tmp_path / "data"), Journal(), peers={1: f"localhost:{port}"}) as raft:
        assert raft.propose(b"x", timeout=WAIT) == 1


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    raft = alone(FileStorage(tmp_path / "file"))
    with pytest.raises(Exception, match="file") as caught:
        raft.start()
    assert type(caught.value).__name__ in ("StorageError", "ConfigError")
    assert (tmp_path / "file").read_bytes() == b"in the way"


# --- frames --------------------------------------------------------------------------------------------------------------------


class Tap(SocketTransport):
    """Remembers the node's receive and the frames that passed."""

    def __init__(self):
        super().__init__()
        self.frames = []

    def start(self, node_id, receive):
        self.receive_raw = receive

        def tapped(data):
            self.frames.append(bytes(data))
            receive(data)

        super().start(node_id, tapped)


@pytest.fixture
def tapped():
    taps = {}

    def transport(node):
        taps[node] = Tap()
        return taps[node]

    peers = {node: f"127.0.0.1:{port}" for node, port in zip((1, 2, 3), free_ports(3), strict=True)}
    with Trio(lambda node: Journal(), transport=transport, peers=peers) as trio:
        trio.nodes[1].propose(b"one", timeout=WAIT)
        yield trio, taps


def test_garbage_on_receive(tapped, rng):
    trio, taps = tapped
    receive = taps[1].receive_raw
    before = trio.nodes[1].metrics()["invalid_messages"]
    frames = list(taps[1].frames)
    assert frames
    samples = [b"", b"\0", bytes(1000), rng.randbytes(64), rng.randbytes(100_000)]
    for frame in frames[:20]:
        samples += [frame[:cut] for cut in range(0, len(frame), max(1, len(frame) // 8))]
        flipped = bytearray(frame)
        flipped[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        samples.append(bytes(flipped))
        samples.append(frame + b"\0")
    for sample in samples:
        with pytest.raises(InvalidMessageError) as caught:
            receive(sample)
        assert caught.value.node == 1
    refused = len(samples)
    assert trio.nodes[1].metrics()["invalid_messages"] - before == refused
    for wrong in ("text", None, 7):
        with pytest.raises(TypeError):
            receive(wrong)
    for node, raft in trio.nodes.items():
        raft.propose(b"after %d" % node, timeout=WAIT)
    trio.level()
    assert len({tuple(raft.query(None)) for raft in trio.nodes.values()}) == 1


def test_frames_of_another_cluster(tapped):
    _, taps = tapped
    other = Tap()
    port = free_ports(1)[0]
    config = Config(cluster="other")
    with Raft(1, MemoryStorage(), Journal(), config, peers={1: f"127.0.0.1:{port}"}, transport=other) as stranger:
        stranger.propose(b"x", timeout=WAIT)
        with pytest.raises((WrongClusterError, InvalidMessageError)):
            other.receive_raw(taps[1].frames[0])
        assert stranger.propose(b"y") == 2


def test_receive_after_close(tapped):
    trio, taps = tapped
    frame = taps[2].frames[0]
    trio.stop(2)
    taps[2].receive_raw(frame)  # dropped and counted, nothing else


def test_garbage_on_the_port():
    """On the port of the native transport: a stranger that speaks nonsense disturbs nobody."""
    port = free_ports(1)[0]
    with Raft(1, MemoryStorage(), Journal(), peers={1: f"127.0.0.1:{port}"}) as raft:
        raft.propose(b"one", timeout=WAIT)
        assert raft.address == f"127.0.0.1:{port}"
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(3000)):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=WAIT) as stranger,
                contextlib.suppress(OSError),
            ):
                stranger.sendall(data)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(65536):
                    pass
        assert raft.propose(b"two") == 2


# --- fork -------------------------------------------------------------------------------------------------------------------------


def in_child(check):
    """Runs `check` in a forked child; returns its exit status (0: it returned)."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        except BaseException as error:
            sys.stderr.write(f"in the child: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_use_after_fork():
    with Trio(lambda node: WordCount()) as trio:
        raft = trio.nodes[trio.leader()]
        raft.propose(b"one")

        def check():
            import gc

            verbs = [
                lambda: raft.propose(b"x"),
                lambda: raft.propose_many([b"x"]),
                lambda: raft.submit(b"x"),
                lambda: raft.query("x"),
                lambda: raft.read(len),
                raft.read_barrier,
                raft.wait_ready,
                raft.snapshot,
                raft.status,
                raft.metrics,
                lambda: raft.leader,
                lambda: next(raft.changes()),
                raft.start,
            ]
            for verb in verbs:
                with pytest.raises(ForkError, match="before os.fork.*spawn"):
                    verb()
            assert "another process" in repr(raft)
            for node in trio.nodes.values():
                node.close()
            trio.nodes.clear()
            gc.collect()
            # The child may have nodes of its own.
            with alone(MemoryStorage()) as own:
                assert own.propose(b"mine", timeout=WAIT) == 1

        assert in_child(check) == 0
        # The parent's node has not noticed.
        assert raft.propose(b"two") == 2


# --- close and Ctrl-C ----------------------------------------------------------------------------------------------------------------


def test_close_is_idempotent_from_many_threads():
    with Trio(lambda node: Journal()) as trio:
        raft = trio.nodes[1]
        raft.propose(b"x", timeout=WAIT)
        threads = [threading.Thread(target=raft.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        with pytest.raises(ClosedError):
            raft.propose(b"y")


def test_closed_before_it_was_started():
    raft = alone(MemoryStorage())
    raft.close()
    raft.close()
    with pytest.raises(ClosedError):
        raft.start()
    assert "closed" in repr(raft)
