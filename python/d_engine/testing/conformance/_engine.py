"""What a storage promises as a whole: whose it is, opening and closing, and a node on top of it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, BinaryIO

from d_engine._hooks import Storage
from d_engine.config import Config
from d_engine.errors import DirectoryLockedError, WrongClusterError, WrongNodeError
from d_engine.plugins import HardState, StateMachine

from ._case import case, equal, fail, holds, refused, shown
from ._storage_bench import IDENTITY, Bench, StorageFace, on_thread, records

if TYPE_CHECKING:
    from d_engine import Entry
    from d_engine.raft import Raft

__all__ = ["AcceptedCases", "EngineCases", "NodeCases"]

_STORED = (
    "Where an identity is stored, return that one and ignore the one that is given: the node compares, and refuses."
)


class AcceptedCases(StorageFace):
    """The first look."""

    @case("Define the methods as the message says: plain functions with these arguments.")
    def test_a_node_accepts_it(self, bench: Bench) -> None:
        """A storage has log_store, meta_store, open and close, as plain functions with the arguments that a node gives."""
        Storage(bench.storage)


class EngineCases(StorageFace):
    """Identity, opening and closing."""

    @case("Store the identity that the first open is given, and return it.")
    def test_the_first_open_stores_the_identity(self, bench: Bench) -> None:
        """The first open of an empty storage returns the identity that it is given."""
        equal("open(identity) of an empty storage", bench.open(), IDENTITY)

    @case("Give lock, files and connections free in close.")
    def test_close_gives_it_free(self, bench: Bench) -> None:
        """After close another object opens the same storage."""
        bench.fill(3)
        bench.close()
        bench.storage = bench.again()
        bench.open()
        bench.bounds()

    @case("Let open do what it needs each time: connect, lock, read.")
    def test_open_may_follow_close(self, bench: Bench) -> None:
        """The same object may be opened again after close."""
        bench.fill(3)
        bench.close()
        bench.open()
        bench.fill(bench.bounds().last.index + 1)

    @case("Return where it is closed already.")
    def test_close_is_idempotent(self, bench: Bench) -> None:
        """Close may be called twice."""
        bench.open()
        bench.close()
        bench.close()

    @case("Let close work on any thread: a node may be closed on another one than it was started on.")
    def test_close_on_another_thread(self, bench: Bench) -> None:
        """Close may be called on another thread than open."""
        bench.fill(2)
        on_thread(bench.close)

    @case(_STORED)
    def test_the_stored_identity_holds(self, bench: Bench) -> None:
        """A later open returns the stored identity, not the one that it is given."""
        stored = bench.open()
        bench.close()
        bench.storage = bench.again()
        found = bench.open(IDENTITY._replace(incarnation=b"another life...."))
        equal("open of a used storage with another incarnation", found, stored)

    @case("Store all fields as they are; Identity.encode and decode do that.")
    def test_every_field_of_the_identity_is_kept(self, bench: Bench) -> None:
        """Every field of the identity comes back: names in any script, members as opaque bytes, all numbers."""
        made = IDENTITY._replace(node_id=2**62, cluster="größer 集群", group=3, recovery_epoch=2)
        stored = bench.open(made)
        equal("open of an empty storage", stored._replace(incarnation=made.incarnation), made)
        bench.close()
        bench.storage = bench.again()
        equal("open after a restart", bench.open(made), stored)

    @case("Commit and sync in open: the node says who it is as soon as open has returned.")
    def test_the_identity_is_durable_on_return(self, bench: Bench) -> None:
        """The identity survives a kill right after open has returned."""
        stored = bench.open()
        left = bench.crashed()
        equal("open after a kill", left.open(IDENTITY._replace(group=7)), stored)

    @case(
        "Take a lock in open (fcntl.flock, or an exclusive transaction) and raise DirectoryLockedError if it is taken."
    )
    def test_open_twice_is_refused(self, bench: Bench) -> None:
        """A storage that is in use elsewhere raises DirectoryLockedError."""
        bench.needs_durable()
        bench.open()
        other = bench.made(bench.path)
        refused("open of a storage that is open", lambda: other.open(IDENTITY), DirectoryLockedError)

    @case("Change nothing before you hold the lock; and do not give up a lock of another.")
    def test_a_refused_open_disturbs_nothing(self, bench: Bench) -> None:
        """A refused open leaves the one who has the storage undisturbed."""
        bench.needs_durable()
        bench.fill(3)
        other = bench.made(bench.path)
        try:
            other.open(IDENTITY)
        except DirectoryLockedError:
            pass
        else:
            return  # that it must be refused is another promise
        bench.log.append(records(4, 5), truncate_from=None)
        bench.holds(records(1, 5), "after somebody else's open was refused")
        third = bench.made(bench.path)
        refused("a third open", lambda: third.open(IDENTITY), DirectoryLockedError)

    @case("Keep nothing in the class or the module: everything belongs to the path.")
    def test_two_paths_are_two_storages(self, bench: Bench) -> None:
        """A storage at another path is another storage, and empty."""
        bench.fill(5)
        bench.meta.save(HardState(3, 1))
        other = Bench(self, bench.root, bench.root / "another")
        try:
            equal("bounds().last.index of a storage at another path", other.bounds().last.index, 0)
            holds(other.meta.load() != (3, 1), "no hard state at another path", "the one of the first path")
        finally:
            other.tidy()


class _Total(StateMachine[bytes, int]):
    """Adds numbers up."""

    def __init__(self) -> None:
        self.total = 0

    def apply(self, entry: Entry) -> int:
        self.total += int(entry.data)
        return self.total

    def snapshot(self, out: BinaryIO) -> None:
        out.write(b"%d" % self.total)

    def restore(self, src: BinaryIO) -> None:
        self.total = int(src.read())


@contextlib.contextmanager
def _node(bench: Bench, node_id: int = 1, cluster: str = "conformance") -> Generator[Raft[bytes, int]]:
    from d_engine import LocalTransport, Raft

    config = Config(cluster=cluster, heartbeat_interval=0.01, election_timeout=(0.02, 0.04), trailing_entries=0)
    peers = {node_id: f"local:{node_id}"}
    # A storage that says nothing about snapshots has them in the working directory.
    with (
        contextlib.chdir(bench.root),
        Raft(node_id, bench.again(), _Total(), config, peers=peers, transport=LocalTransport()) as raft,
    ):
        raft.wait_ready(timeout=bench.suite.patience)
        yield raft


class NodeCases(StorageFace):
    """A node on top."""

    @case("Take Record.data for opaque: a node also stores entries of its own, with headers and contents of all kinds.")
    def test_a_node_runs_on_it(self, bench: Bench) -> None:
        """A node starts on the storage, is closed, starts again and finds everything that it has acknowledged."""
        with _node(bench) as raft:
            came = [raft.propose(b"%d" % number, timeout=bench.suite.patience) for number in (1, 2, 3)]
            equal("results of three proposals", came, [1, 3, 6])
        with _node(bench) as raft:
            equal("the result of a fourth one after a restart", raft.propose(b"4", timeout=bench.suite.patience), 10)

    @case("Let snapshots and purge fit together: records behind the snapshot stay, those before it go.")
    def test_a_node_goes_on_from_a_snapshot(self, bench: Bench) -> None:
        """A node that has made a snapshot and purged its log starts again from the snapshot and what follows it."""
        with _node(bench) as raft:
            raft.propose_many([b"1"] * 20, timeout=bench.suite.patience)
            if raft.snapshot(timeout=bench.suite.patience) < 20:
                fail("snapshot() covers at least 20 entries", "fewer")
            equal("the result after the snapshot", raft.propose(b"1", timeout=bench.suite.patience), 21)
        with _node(bench) as raft:
            equal("the result after a restart", raft.propose(b"1", timeout=bench.suite.patience), 22)

    @case(_STORED)
    def test_a_node_of_another_id_is_refused(self, bench: Bench) -> None:
        """A node does not start on the storage of another node."""
        self._refused(bench, 2, "conformance", WrongNodeError)

    @case(_STORED)
    def test_a_node_of_another_cluster_is_refused(self, bench: Bench) -> None:
        """A node does not start on the storage of another cluster."""
        self._refused(bench, 1, "another", WrongClusterError)

    def _refused(self, bench: Bench, node_id: int, cluster: str, kind: type[Exception]) -> None:
        with _node(bench):
            pass
        try:
            with _node(bench, node_id, cluster):
                fail(f"start() of node {node_id} of cluster {cluster!r} raises {kind.__name__}", "it has started")
        except kind:
            pass
        except (WrongNodeError, WrongClusterError) as error:
            fail(f"start() raises {kind.__name__}", shown(error), error)
