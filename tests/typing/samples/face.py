"""A typed program over the whole public face: never run, only checked, in strict mode."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import BinaryIO, assert_type

from d_engine import (
    AsyncRaft,
    Batch,
    Change,
    CommandError,
    Config,
    DurableStateMachine,
    Entries,
    Entry,
    FileStorage,
    GrpcTransport,
    HardState,
    Identity,
    LocalCluster,
    LocalTransport,
    LogBounds,
    LogId,
    LogStore,
    Member,
    MemoryStorage,
    MetaStore,
    NotLeaderError,
    Outgoing,
    Peer,
    Raft,
    Record,
    SocketTransport,
    SQLiteStorage,
    StateMachine,
    Status,
    StorageEngine,
    SupportsFreeze,
    Transport,
)


class WordCount(StateMachine[bytes, int]):
    def __init__(self) -> None:
        self.words: Counter[str] = Counter()

    def apply(self, entry: Entry[bytes]) -> int:
        assert_type(entry.data, bytes)
        assert_type(entry.time, float)
        self.words.update(entry.data.decode().split())
        return self.words.total()

    def query(self, request: str) -> int:
        return self.words[request]

    def snapshot(self, out: BinaryIO) -> None:
        out.write(b"")

    def restore(self, src: BinaryIO) -> None:
        src.read()


class Duck:
    """No base class at all."""

    def apply(self, entry: Entry, /) -> str:
        return entry.data.decode()

    def snapshot(self, out: BinaryIO) -> None: ...

    def restore(self, src: BinaryIO) -> None: ...


class Batches(WordCount):
    def apply_batch(self, entries: Entries[bytes]) -> Sequence[int | CommandError]:
        assert_type(entries.data, list[bytes])
        assert_type(entries[0], Entry[bytes])
        return [len(data) for data in entries.data]


class Views(WordCount, SupportsFreeze[Counter[str]]):
    def freeze(self) -> Counter[str]:
        return self.words.copy()

    def write_view(self, view: Counter[str], out: BinaryIO, /) -> None:
        out.write(repr(view).encode())


class Durable(DurableStateMachine[bytes, int]):
    def applied(self) -> tuple[int, bytes]:
        return 0, b""

    def apply_durable(self, batch: Batch[bytes]) -> Sequence[int | CommandError]:
        assert_type(batch.entries.data, list[bytes])
        return [batch.last_index for _ in batch.entries]

    def snapshot(self, out: BinaryIO) -> None: ...

    def restore(self, src: BinaryIO) -> None: ...


class Log:
    def bounds(self) -> LogBounds:
        return LogBounds(LogId(0, 0), LogId(0, 0))

    def read(self, start: int, stop: int, max_bytes: int) -> Sequence[Record]:
        return [Record(start, 1, b"")]

    def append(self, records: Sequence[Record], *, truncate_from: int | None) -> None: ...

    def purge(self, upto: LogId) -> None: ...


class Meta:
    def load(self) -> HardState | None:
        return None

    def save(self, state: HardState) -> None: ...


class Storage:
    """Structural: plain attributes with types of their own."""

    def __init__(self) -> None:
        self.log_store = Log()
        self.meta_store = Meta()

    def open(self, identity: Identity) -> Identity:
        return identity

    def close(self) -> None: ...


class Nominal(StorageEngine):
    """By inheritance, with properties."""

    @property
    def log_store(self) -> LogStore:
        return Log()

    @property
    def meta_store(self) -> MetaStore:
        return Meta()

    def open(self, identity: Identity) -> Identity:
        return identity

    def close(self) -> None: ...


class Wire(Transport):
    def start(self, node_id: int, receive: object) -> None: ...

    def set_peers(self, peers: Mapping[int, Peer]) -> None: ...

    def send(self, batch: Sequence[Outgoing]) -> None:
        for to, lane, data in batch:
            print(to, lane, len(data))

    def close(self) -> None: ...


def threads() -> None:
    peers: dict[int, str | Peer] = {1: "127.0.0.1:9081", 2: Peer("127.0.0.1:9082", client_address="10.0.0.2:80")}
    with Raft(1, FileStorage("data"), WordCount(), Config(), peers=peers) as raft:
        assert_type(raft, Raft[bytes, int])
        assert_type(raft.propose(b"a"), int)
        assert_type(raft.propose(memoryview(b"a"), timeout=1), int)
        assert_type(raft.propose_many([b"a", bytearray(b"b")]), list[int | CommandError])
        assert_type(raft.submit(b"a"), Future[int])
        assert_type(raft.submit_many([b"a"]), Future[list[int | CommandError]])
        assert_type(raft.read(lambda machine: 3), int)
        assert_type(raft.read_barrier(consistency="eventual"), int)
        assert_type(raft.read(len, consistency="lease"), int)
        assert_type(raft.change(add={4: "a:4", 5: Peer("a:5", role="witness")}, remove=[2]), dict[int, Member])
        assert_type(raft.transfer(2), int)
        assert_type(raft.status().members[1].incarnation, str | None)
        assert_type(raft.leader, int | None)
        assert_type(raft.status(), Status)
        assert_type(raft.changes(), Iterator[Change])
        assert_type(raft.snapshot(), int)
        assert_type(raft.metrics(), dict[str, int])
    Raft(1, Storage(), Duck(), transport=SocketTransport(), peers={1: "a:1"})
    Raft(1, Nominal(), Batches(), transport=Wire(), peers={1: "a:1"})
    Raft(1, MemoryStorage(), Views(), transport=LocalTransport(), peers={1: "a:1"})
    Raft(4, FileStorage("data"), WordCount(), join=["127.0.0.1:9081"], listen="127.0.0.1:9084")
    durable = Raft(1, SQLiteStorage("a.db"), Durable(), transport=GrpcTransport(), listen="127.0.0.1:0")
    assert_type(durable, Raft[bytes, int])


async def loops() -> None:
    async with AsyncRaft(1, MemoryStorage(), WordCount(), peers={1: "127.0.0.1:9081"}) as raft:
        assert_type(raft, AsyncRaft[bytes, int])
        assert_type(await raft.propose(b"a"), int)
        assert_type(await raft.propose_many([b"a"]), list[int | CommandError])
        assert_type(await raft.read_barrier(), int)
        assert_type(await raft.change(promote=[4]), dict[int, Member])
        assert_type(await raft.transfer(), int)
        async for change in raft.changes():
            assert_type(change, Change)
            print(change.role, change.term, change.leader)
        try:
            await asyncio.gather(*(raft.propose(b"a") for _ in range(3)))
        except NotLeaderError as error:
            print(error.leader_id, error.address, error.term, error.retryable)


def cluster() -> None:
    with LocalCluster(WordCount, nodes=3, config=Config.wan(cluster="c")) as cluster:
        assert_type(cluster, LocalCluster[bytes, int])
        assert_type(cluster.propose(b"a"), int)
        assert_type(cluster.leader, int)
        cluster.crash(cluster.leader)
        cluster.restart(1)
        assert_type(cluster.nodes[1], Raft[bytes, int])
