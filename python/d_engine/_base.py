"""What `Raft` and `AsyncRaft` have in common: construction with all checks, start, close, and what never waits."""

from __future__ import annotations

import socket
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, cast

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

from . import _hooks
from ._logs import BRIDGE
from ._process import check_fork, closed, generation, native, opened
from ._text import loopback, seconds, shown, split_address
from .config import Config, refused, settings
from .errors import ClosedError, ConfigError, PluginTypeError
from .peers import (
    Peer,
    address_problems,
    checked_ids,
    checked_members,
    checked_peers,
    listen_problems,
    node_id_problems,
    not_loopback,
)
from .status import Status, make_status
from .storage import FileStorage

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core import GrpcTransport, LocalTransport, Node
    from ._core_hooks import RawPeer
    from .plugins import DurableStateMachine, StorageEngine, SupportsApply, Transport

C = TypeVar("C", default=bytes)
R = TypeVar("R", default=Any)

_AT_EXIT: Final = 1.0  # seconds


class NodeBase(Generic[C, R]):
    """A node's construction and its calls that do not wait."""

    def __init__(
        self,
        node_id: int,
        storage: StorageEngine | FileStorage,
        state_machine: SupportsApply[C, R] | DurableStateMachine[C, R],
        config: Config | None = None,
        *,
        peers: Mapping[int, str | Peer] | None = None,
        join: Sequence[str] | None = None,
        transport: Transport | GrpcTransport | LocalTransport | None = None,
        listen: str | None = None,
    ) -> None:
        self._prepare()
        self._started = False
        self._node: Node | None = None
        self._made_in = generation()
        self._lifecycle = threading.Lock()
        self._peers = checked_peers(node_id, peers, initial=join is None)
        self._id = node_id
        self._config = checked_config("Raft", config)
        self._machine = _hooks.Machine(state_machine)
        self._storage: str | _hooks.Storage = (
            str(storage.directory) if isinstance(storage, FileStorage) else _hooks.Storage(storage)
        )
        if self._peers is None and join is None and not isinstance(storage, FileStorage):
            problem = "peers is missing: a storage of one's own cannot be asked whether it is empty, name the members at every start"
            raise refused([problem], "Raft")
        self._transport = _checked_transport(transport)
        self._listen = listen
        self._join = None if join is None else self._checked_join(join)
        self._check_listen()

    def _prepare(self) -> None:
        """What a subclass has to keep: the constructor's signature stands here alone."""

    def _checked_join(self, join: object) -> tuple[list[str], Peer]:
        """Whom to ask, and what this node shall be."""
        problems: list[str] = []
        addresses: list[str] = []
        local = self._transport is not None and type(self._transport).__name__ == "LocalTransport"
        given = shown(join)
        if isinstance(join, str) or not isinstance(join, Sequence) or not join:
            problems.append(f"join is {given}: a list of addresses of members is needed")
        else:
            for address in cast("Sequence[object]", join):
                problems += [] if local else address_problems("join", address)
                addresses.append(str(address))
        if self._transport is not None and type(self._transport).__name__ not in {"GrpcTransport", "LocalTransport"}:
            problems.append("join needs GrpcTransport or LocalTransport: this transport cannot ask to be taken in")
        if self._peers is not None:
            own = self._peers[self._id]
        elif self._listen is not None:
            own = Peer(self._listen)
            problems += address_problems("listen", self._listen)
        else:
            own = Peer(f"local:{self._id}")
            if not local:
                problems.append("listen is missing: a node that joins has to say where it is reached")
        if own.role == "voter" and not own.auto_promote:
            problems.append(
                f"peers[{self._id}]: a node joins as a learner: with role='voter' it needs auto_promote=True; or join with"
                " role='learner' and promote it later"
            )
        if problems:
            raise refused(problems, "Raft")
        return addresses, own

    def _check_listen(self) -> None:
        """What can be said of the address without looking a name up."""
        if self._listen is not None:
            problems = address_problems("listen", self._listen, port_zero=True)
            if self._transport is not None and type(self._transport).__name__ != "GrpcTransport":
                problems.append("listen is for GrpcTransport: give this transport its address itself")
            if problems:
                raise refused(problems, "Raft")
        address = self._served()
        if address is not None:
            problems = listen_problems(address, insecure=self._config.insecure)
            if problems:
                raise refused(problems, "Raft")

    def _served(self) -> str | None:
        """The address that a native network transport will bind, as far as it is known here."""
        if self._transport is not None and type(self._transport).__name__ != "GrpcTransport":
            return None
        if self._listen is not None:
            return self._listen
        return self._peers[self._id].address if self._peers is not None else None

    def _check_resolved(self) -> None:
        """The same for a host name, when it is time to look it up."""
        address = self._served()
        if address is None or self._config.insecure:
            return
        host, port = split_address(address)
        if loopback(host) is not None:
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConfigError(f"the own address {address!r} cannot be resolved: {error}", node=self._id) from error
        if not all(loopback(str(entry[4][0])) for entry in found):
            raise ConfigError(not_loopback(address), node=self._id)

    # --- life -----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        check_fork(self._made_in, self)
        with self._lifecycle:
            if self._started:
                raise ClosedError(
                    "this object was started before",
                    node=self._id,
                    hint="Make a new one with the same storage to start again",
                )
            self._check_resolved()
            core = native()
            peers, join = None, None
            if self._join is not None:
                addresses, own = self._join
                join = (addresses, own.raw(self._id))
            elif self._peers is not None:
                peers = [peer.raw(node) for node, peer in self._peers.items()]
            transport = core.GrpcTransport() if self._transport is None else self._transport
            if not isinstance(transport, (core.GrpcTransport, core.LocalTransport)):
                transport = _hooks.Carrier(transport)
            BRIDGE.retain()
            try:
                node: Node = core.Node(
                    self._id, settings(self._config), peers, join, self._listen, self._storage, self._machine, transport
                )
                node.start()
            except BaseException:
                BRIDGE.release()
                raise
            self._node = node
            self._started = True
            opened(self)

    def _close(self, *, handover: bool, timeout: float) -> None:
        if self._made_in != generation():
            return  # its threads, files and sockets belong to the parent process
        with self._lifecycle:
            node, first = self._node, self._started and self._node is not None and not self._released()
            self._started = True  # closed before it was started: it stays so
        if node is None:
            return
        try:
            node.close(handover, timeout)
        finally:
            if first:
                self._release()

    def _crash(self) -> None:
        """As `kill -9` would: nothing is flushed or handed over. For `LocalCluster`."""
        node = self._node
        if node is None:
            return
        first = not self._released()
        node.crash()
        if first:
            self._release()

    _done = False

    def _released(self) -> bool:
        before, self._done = self._done, True
        return before

    def _release(self) -> None:
        closed(self)
        BRIDGE.release()

    def close_at_exit(self) -> None:
        """The interpreter is about to go. For this package only."""
        self._close(handover=False, timeout=_AT_EXIT)

    def __del__(self) -> None:
        node: Node | None = getattr(self, "_node", None)
        if node is None or self._done or self._made_in != generation():
            return
        warnings.warn(
            f"{self!r} was not closed: use 'with', or call close()", ResourceWarning, source=self, stacklevel=2
        )
        self.close_at_exit()

    def _live(self) -> Node:
        node = self._node
        if node is None or self._made_in != generation():
            check_fork(self._made_in, self)
            raise ClosedError(
                "closed" if self._started else "not started",
                node=self._id,
                hint="Use it in a 'with' block, or call start()",
            )
        return node

    def _seconds(self, timeout: float | None) -> float:
        if timeout is None:
            return self._config.request_timeout
        try:
            return seconds(timeout)
        except ValueError as error:
            raise ConfigError(str(error), node=self._id) from None

    def _consistency(
        self, value: Literal["linearizable", "lease", "eventual"]
    ) -> Literal["linearizable", "lease", "eventual"]:
        """Raises `ConfigError` for anything else."""
        if value in {"linearizable", "lease", "eventual"}:
            return value
        raise ConfigError(
            f"consistency is {shown(value)}: 'linearizable', 'lease' or 'eventual' is needed", node=self._id
        )

    # --- what never waits -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """This node's id."""
        return self._id

    @property
    def config(self) -> Config:
        """What it was made with."""
        return self._config

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has stopped by itself because its storage failed. Never waits."""
        return self._done or (self._node is not None and self._node.closed)

    @property
    def leader(self) -> int | None:
        """Whom this node follows (id), itself included; None where no leader is known. Never waits. Raises `ClosedError`, `ForkError`."""
        return self._live().leader()

    @property
    def is_leader(self) -> bool:
        """Whether this node believes that it leads; a new leader may exist already. Never waits. Raises `ClosedError`, `ForkError`."""
        return self._live().leader() == self._id

    @property
    def address(self) -> str | None:
        """Where a native network transport is bound ("host:port", port 0 resolved); None before start and without one."""
        return None if self._node is None else self._node.listen_address()

    def status(self) -> Status:
        """What this node knows at this moment; also after `close`. Never waits for disk, peers or plugins. Raises `ClosedError`, `ForkError`."""
        return make_status(self._live().status())

    def metrics(self) -> dict[str, int]:
        """Counters since start, by name; also after `close`. Never waits. Raises `ClosedError`, `ForkError`.

        `proposals`, `proposed_entries`, `forwarded_entries`, `overloaded`, `expired`; `apply_batches` (calls of the state machine),
        `applied_entries`; `log_appends` (writes, or calls of `LogStore.append`), `log_append_entries`, `log_append_bytes`,
        `log_syncs`; `reads`, `read_rounds`; `elections`, `leaderships`; `messages_sent`, `messages_received`,
        `messages_dropped`, `send_errors`, `invalid_messages`; `snapshots_taken`, `snapshots_sent`, `snapshots_installed`, and more.
        """
        return self._live().metrics()

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self._id}"
        if self._node is None:
            return f"<{name} {'closed' if self._started else 'not started'}>"
        if self._made_in != generation():
            return f"<{name} of another process>"
        role, term, leader, commit, applied = self._node.summary()
        state = "closed " if self._done else ""
        return f"<{name} {state}{role} term={term} leader={leader} commit={commit} applied={applied}>"


class Changes(NamedTuple):
    """A change of the members, checked, as native code takes it."""

    add: list[RawPeer]
    remove: list[int]
    promote: list[int]
    demote: list[int]


def checked_changes(add: object, remove: object, promote: object, demote: object) -> Changes:
    """Raises `ConfigError` for what can be no change of any cluster."""
    return Changes(
        checked_members("add", add),
        checked_ids("remove", remove),
        checked_ids("promote", promote),
        checked_ids("demote", demote),
    )


def checked_target(to: object) -> int | None:
    """The node that shall lead. Raises `ConfigError`."""
    if to is None:
        return None
    problems = node_id_problems(to)
    if problems or not isinstance(to, int):
        raise refused([f"to: {problem}" for problem in problems], "transfer")
    return to


def checked_config(what: str, config: object) -> Config:
    """The settings that were given, or the defaults. Raises `ConfigError`."""
    if config is None:
        return Config()
    if not isinstance(config, Config):
        raise refused([f"config is {shown(config)}: a Config is needed"], what)
    return config


def checked_items(items: Iterable[Buffer]) -> list[Buffer]:
    """As a list; a single text or bytes object in its place is a mistake."""
    if isinstance(items, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            f"items is {type(items).__name__}: a list of bytes is needed; for a single one use propose(data)"
        )
    return items if isinstance(items, list) else list(items)


def _checked_transport(transport: Any) -> Any:
    if transport is None or type(transport).__module__ == "d_engine._core":
        return transport
    if isinstance(transport, str):
        raise PluginTypeError(
            f"transport is {shown(transport)}, not a Transport", hint="An address goes to listen= or peers="
        )
    _hooks.Carrier(transport)
    return transport
