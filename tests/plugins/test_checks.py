"""Plugins are looked at when they are handed over: what is wrong, where, and what to do about it."""

import functools
import json
from typing import Any

import pytest

from d_engine import (
    AsyncRaft,
    Config,
    ConfigError,
    FileStorage,
    LocalCluster,
    MemoryStorage,
    Peer,
    PluginTypeError,
    Raft,
    SocketTransport,
    SQLiteStorage,
    StateMachine,
)
from d_engine import _hooks as hooks
from d_engine.plugins import Identity, LogBounds, LogId
from support.machines import Journal, WordCount

PEERS = {1: "127.0.0.1:9081", 2: "127.0.0.1:9082", 3: "127.0.0.1:9083"}


def raft(node_id=1, storage=None, machine=None, config=None, **kwargs):
    kwargs.setdefault("peers", PEERS)
    return Raft(node_id, storage or MemoryStorage(), machine or WordCount(), config, **kwargs)


class Duck:
    """The least a state machine has, without a base class."""

    def apply(self, entry):
        return entry

    def snapshot(self, out):
        out.write(b"")

    def restore(self, src):
        src.read()


def test_duck_typed_plugins_are_accepted():
    assert repr(raft(machine=Duck())) == "<Raft 1 not started>"
    assert AsyncRaft(2, MemoryStorage(), Duck(), peers=PEERS).id == 2


def machine_with(**methods):
    return type("Broken", (Duck,), methods)()


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (object(), ["object.apply is missing", "def apply(self, entry)"]),
        (WordCount, ["is the class WordCount", "WordCount(...)"]),
        (machine_with(apply=None), ["Broken.apply is missing"]),
        (machine_with(apply=3), ["Broken.apply is 3, not a method"]),
        (machine_with(apply=lambda self: None), ["Broken.apply cannot be called", "def apply(self, entry)"]),
        (machine_with(apply=lambda self, a, b: None), ["Broken.apply cannot be called"]),
        (machine_with(apply_batch=lambda self: None), ["Broken.apply_batch", "def apply_batch(self, entries)"]),
        (machine_with(query=lambda self: None), ["Broken.query", "def query(self, request)"]),
        (machine_with(restore=None), ["Broken.restore is missing", "def restore(self, src)"]),
        (machine_with(snapshot=None), ["Broken.snapshot is missing", "def snapshot(self, out)"]),
        (machine_with(freeze=lambda self: 1), ["Broken.write_view is missing", "def write_view(self, view, out)"]),
        (machine_with(apply_durable=lambda self, b: []), ["Broken.applied is missing"]),
    ],
)
def test_broken_state_machines(machine, words):
    with pytest.raises(PluginTypeError) as caught:
        raft(machine=machine)
    assert isinstance(caught.value, TypeError)
    for word in ["state_machine", *words]:
        assert word in str(caught.value)


async def coroutine(self, entry):
    return entry


def generator(self, out):
    yield out


async def async_generator(self, out):
    yield out


class CallsCoroutine:
    async def __call__(self, entry):
        return entry


@pytest.mark.parametrize(
    ("method", "function", "kind"),
    [
        ("apply", coroutine, "coroutine function"),
        ("apply", functools.partialmethod(coroutine), "coroutine function"),
        ("apply", CallsCoroutine(), "coroutine function"),
        ("query", coroutine, "coroutine function"),
        ("snapshot", coroutine, "coroutine function"),
        ("snapshot", generator, "generator function"),
        ("snapshot", async_generator, "asynchronous generator function"),
        ("restore", generator, "generator function"),
    ],
)
def test_asynchronous_plugins_are_refused(method, function, kind):
    with pytest.raises(PluginTypeError, match=f"Broken.{method} is an? {kind}: a plain function is needed"):
        raft(machine=machine_with(**{method: function}))


def test_abstract_methods_are_named():
    class Half(StateMachine[bytes, int]):
        def apply(self, entry):
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Half()  # pyright: ignore[reportAbstractUsage]


class Storage:
    def __init__(self, **parts):
        memory = MemoryStorage()
        self.log_store, self.meta_store = memory.log_store, memory.meta_store
        for name, value in parts.items():
            setattr(self, name, value)

    def open(self, identity):
        return identity

    def close(self):
        pass


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("data", ["str.open is missing"]),
        (MemoryStorage, ["is the class MemoryStorage"]),
        (Storage(log_store=None), ["Storage.log_store is missing"]),
        (Storage(meta_store=object()), ["storage.meta_store", "object.load is missing"]),
        (Storage(log_store=Duck()), ["storage.log_store", "Duck.bounds is missing"]),
        (Storage(snapshot_store=Duck()), ["storage.snapshot_store", "Duck.create is missing"]),
        (Storage(open=lambda: None), ["Storage.open cannot be called", "def open(self, identity)"]),
    ],
)
def test_broken_storages(storage, words):
    with pytest.raises(PluginTypeError) as caught:
        raft(storage=storage)
    for word in words:
        assert word in str(caught.value)


def test_log_store_must_take_truncate_from_by_name():
    class Log:
        def bounds(self):
            return LogBounds(LogId(0, 0), LogId(0, 0))

        def read(self, start, stop, max_bytes):
            return []

        def append(self, records):
            pass

        def purge(self, upto):
            pass

    with pytest.raises(
        PluginTypeError, match=r"Log.append cannot be called.*def append\(self, records, \*, truncate_from\)"
    ):
        raft(storage=Storage(log_store=Log()))


def test_broken_transports():
    with pytest.raises(PluginTypeError, match=r"transport: Duck.start is missing"):
        raft(transport=Duck())
    with pytest.raises(PluginTypeError, match="An address goes to listen= or peers="):
        raft(transport="127.0.0.1:1")


# --- ids, peers, addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_id", "peers", "words"),
    [
        (0, PEERS, ["node id 0"]),
        (True, PEERS, ["node id True"]),
        ("1", PEERS, ["node id '1'"]),
        (4, PEERS, ["node id 4 is not among peers (1, 2, 3)"]),
        (1, {}, ["peers is empty"]),
        (1, [(1, "a:1")], ["a mapping"]),
        (1, {1: "a:1", 2: "a:1"}, ["1 and 2 have the same address 'a:1'"]),
        (1, {1: "a"}, ["'a' is not 'host:port'"]),
        (1, {1: "a:0"}, ["from 1 to 65535"]),
        (1, {1: "a:99999"}, ["from 1 to 65535"]),
        (1, {1: "::1:80"}, ["brackets, '[::1]:80'"]),
        (1, {1: 9081}, ["peers[1] is 9081: an address or a Peer is needed"]),
        (1, {1: Peer("127.0.0.1:1", client_address="x")}, ["peers[1].client_address"]),
        (1, {-1: "a:1", "2": "b:2", 3: "c"}, ["node id -1", "node id '2'", "'c' is not 'host:port'"]),
    ],
)
def test_bad_peers(node_id, peers, words):
    with pytest.raises(ConfigError) as caught:
        Raft(node_id, MemoryStorage(), WordCount(), peers=peers)
    for word in words:
        assert word in str(caught.value)


def test_a_storage_of_ones_own_needs_peers():
    with pytest.raises(ConfigError, match="peers is missing"):
        Raft(1, MemoryStorage(), WordCount())
    assert Raft(1, FileStorage("data"), WordCount()).id == 1


def test_peers_of_all_forms():
    table = {1: "[::1]:9081", 2: Peer("db.example:9082", client_address="10.0.0.2:80"), 3: "127.0.0.3:9083"}
    assert raft(peers=table).id == 1
    with pytest.raises(ConfigError, match="insecure=True"):
        raft(3, peers={3: "10.0.0.1:9083"})


@pytest.mark.parametrize("address", ["0.0.0.0:9081", "192.168.1.1:9081", "[::]:9081"])
def test_served_address_must_be_loopback(address):
    with pytest.raises(ConfigError, match="insecure=True"):
        raft(listen=address)
    with pytest.raises(ConfigError, match="insecure=True"):
        raft(peers={1: address})
    with pytest.raises(ConfigError, match="insecure=True"):
        SocketTransport(address)
    assert raft(config=Config(insecure=True), listen=address).id == 1
    assert SocketTransport(address, insecure=True).address is None


def test_listen_is_an_address_for_grpc():
    for wrong in ("9081", 9081, "host:port", ""):
        with pytest.raises(ConfigError, match="listen"):
            raft(listen=wrong)
    with pytest.raises(ConfigError, match="this transport"):
        raft(listen="127.0.0.1:0", transport=SocketTransport())


def test_wrong_config():
    for wrong in ({"forward": True}, "config", Config):
        with pytest.raises(ConfigError, match="a Config is needed"):
            Raft(1, MemoryStorage(), WordCount(), wrong, peers=PEERS)


@pytest.mark.parametrize("cls", [FileStorage, SQLiteStorage])
def test_wrong_paths(cls):
    for wrong in ("", 7, None, "a\0b"):
        with pytest.raises(ConfigError, match="a path such as"):
            cls(wrong)


def test_wrong_cluster_arguments():
    with pytest.raises(ConfigError, match="nodes is 0"):
        LocalCluster(WordCount, nodes=0)
    with pytest.raises(ConfigError, match="factory"):
        LocalCluster(WordCount())


def test_the_constructor_touches_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raft(storage=FileStorage("data"))
    raft(storage=SQLiteStorage("node.db"))
    LocalCluster(WordCount, directory="cluster")
    assert list(tmp_path.iterdir()) == []


def adapted_machine(machine) -> Any:
    """What native code gets of a machine; `Any`, because which members are there depends on the machine."""
    return hooks.Machine(machine)


def adapted_storage(storage) -> Any:
    return hooks.Storage(storage)


# --- what native code is given -------------------------------------------------------------------------------------------------


class E:
    """An entry without the native module."""

    def __init__(self, index, data):
        self.index, self.data, self.term, self.time = index, data, 1, 0.0


def entries(*data):
    return [E(index, item) for index, item in enumerate(data, 1)]


def test_default_batch_turns_refusals_into_results():
    machine = adapted_machine(Journal())
    results, failure, callback = machine.apply_batch(entries(b"a", b"refuse b", b"c"))
    assert (results[0], results[2], failure, callback) == (1, 2, None, "apply")
    assert str(results[1]) == "('refused', b'refuse b')"


def test_default_batch_keeps_the_results_before_a_failure():
    class Fails(Duck):
        def apply(self, entry):
            if entry.data == b"x":
                raise SystemExit(3)
            return entry.index

    results, failure, callback = adapted_machine(Fails()).apply_batch(entries(b"a", b"b", b"x", b"c"))
    assert results == [1, 2]
    assert isinstance(failure, SystemExit)
    assert callback == "apply"


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([1], "1 results for 2 entries"),
        ([1, 2, 3], "3 results"),
        (None, "None, not a sequence"),
        (b"ab", "not a sequence"),
        (7, "7"),
    ],
)
def test_wrong_number_of_results(returned, words):
    machine = adapted_machine(machine_with(apply_batch=lambda self, batch: returned))
    results, failure, callback = machine.apply_batch(entries(b"a", b"b"))
    assert (results, callback) == ([], "apply_batch")
    assert isinstance(failure, PluginTypeError)
    assert words in str(failure)


def test_own_batch_is_one_call():
    seen = []
    machine = adapted_machine(machine_with(apply_batch=lambda self, batch: seen.append(len(batch)) or (1, 2)))
    assert machine.apply_batch(entries(b"a", b"b")) == ((1, 2), None, "apply_batch")
    assert seen == [2]


def test_inherited_batch_of_the_base_class_is_the_loop():
    class Own(Journal):
        def apply_batch(self, entries):
            self.batches.append(len(entries))
            return super().apply_batch(entries)

    own = Own()
    assert adapted_machine(own).apply_batch(entries(b"a", b"b"))[2] == "apply_batch"
    assert own.batches == [2]
    assert adapted_machine(Journal()).apply_batch(entries(b"a"))[2] == "apply"


def test_missing_query_says_what_to_do():
    class NoQuery(StateMachine[bytes, int]):
        def apply(self, entry):
            return 1

        def snapshot(self, out):
            pass

        def restore(self, src):
            pass

    for machine in (NoQuery(), Duck()):
        with pytest.raises(PluginTypeError, match=r"has no query method.*def query\(self, request\)"):
            adapted_machine(machine).query("x")


class Bytes:
    """A sink and a source."""

    def __init__(self, data=b""):
        self.data = bytearray(data)

    def write(self, data):
        self.data += data
        return len(data)

    def read(self, limit):
        part = bytes(self.data[:limit])
        del self.data[:limit]
        return part


def test_snapshots_pass_through_files():
    first, second, store = WordCount(), WordCount(), Bytes()
    first.apply(E(1, b"to be or not to be"))
    adapted_machine(first).snapshot(store)
    assert json.loads(bytes(store.data))["to"] == 2
    adapted_machine(second).restore(store)
    assert second.words == first.words


def test_large_snapshot_written_in_pieces_and_by_text():
    import io

    class Large(Duck):
        def snapshot(self, out):
            text = io.TextIOWrapper(out, encoding="utf-8")
            for number in range(100_000):
                text.write(f"{number}\n")
            text.flush()
            out.write(memoryview(b"end"))

        def restore(self, src):
            self.lines = src.read().splitlines()

    machine, store = Large(), Bytes()
    adapted = adapted_machine(machine)
    adapted.snapshot(store)
    adapted.restore(store)
    assert len(machine.lines) == 100_001
    assert machine.lines[-1] == b"end"


def test_durable_machine():
    class Durable:
        def applied(self):
            return (7, b"side")

        def apply_durable(self, batch):
            self.batch = batch
            return [entry.data for entry in batch.entries]

        def snapshot(self, out):
            pass

        def restore(self, src):
            pass

    machine = Durable()
    adapted = adapted_machine(machine)
    assert adapted.apply_batch is None
    assert adapted.applied() == (7, b"side")
    assert adapted.apply_durable(entries(b"a"), 9, b"s") == ([b"a"], None, "apply_durable")
    assert (machine.batch.last_index, machine.batch.sidecar) == (9, b"s")
    assert adapted.apply_durable([], 10, b"")[:2] == ([], None)


def test_frozen_views_are_written_by_write_view():
    class Big:
        apply = restore = Duck.apply

        def freeze(self):
            return [1, 2]

        def write_view(self, view, out):
            out.write(bytes(view))

    store = Bytes()
    adapted = adapted_machine(Big())
    assert adapted.snapshot is None
    adapted.write_view(adapted.freeze(), store)
    assert bytes(store.data) == b"\1\2"


def test_identity_as_bytes():
    identity = Identity(3, "c", b"\0" * 16, 0, 1, bytes(range(16)), b"members")
    assert Identity.decode(identity.encode()) == identity
    from d_engine import StorageError

    for damaged in (
        b"",
        b"{}",
        b"[]",
        identity.encode()[:-5],
        identity.encode().replace(b'"format": 1', b'"format": 9'),
    ):
        with pytest.raises(StorageError, match="identity record"):
            Identity.decode(damaged)


def test_storage_hooks_pass_values_through():
    storage = adapted_storage(MemoryStorage())
    identity = Identity(1, "c", b"i" * 16, 0, 0, b"n" * 16, b"")
    assert storage.open(identity._asdict()) == identity._asdict()
    assert storage.load() is None
    storage.save(3, None)
    assert storage.load() == (3, None)
    storage.append([(1, 1, b"a"), (2, 1, b"b")], None)
    assert storage.bounds() == (0, 0, 2, 1)
    storage.append([(2, 2, b"c")], 2)
    assert storage.read(1, 3, 1000) == [(1, 1, b"a"), (2, 2, b"c")]
    storage.purge(1, 1)
    assert storage.bounds() == (1, 1, 2, 2)
    writer = storage.snapshots.create((2, 2, b"", 0))
    writer.write(0, b"xyz")
    writer.commit((2, 2, b"d" * 32, 3))
    assert storage.snapshots.latest() == (2, 2, b"d" * 32, 3)
    assert storage.snapshots.open((2, 2, b"d" * 32, 3))(1, 10) == b"yz"


def test_open_must_return_an_identity():
    with pytest.raises(PluginTypeError, match=r"Storage.open returned NoneType.*Identity"):
        adapted_storage(Storage(open=lambda identity: None)).open(Identity(1, "", b"", 0, 0, b"", b"")._asdict())


def test_snapshot_directory_of_a_storage_without_one():
    assert adapted_storage(Storage()).snapshot_directory == "d-engine-snapshots"
    assert adapted_storage(SQLiteStorage("x/node.db")).snapshot_directory == "x/node.db-snapshots"
    assert adapted_storage(MemoryStorage()).snapshots is not None
