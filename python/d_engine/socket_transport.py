"""A transport over plain sockets: Python and the standard library only, and an example of how a transport is written."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ._process import is_current, run_apart
from ._text import loopback, split_address
from .config import refused
from .errors import ClosedError, ConfigError, InvalidMessageError, WrongClusterError
from .peers import Peer, address_problems, listen_problems, not_loopback
from .plugins import Outgoing, Transport

__all__ = ["SocketTransport"]

_LOGGER = logging.getLogger("d_engine.transport")
MAX_FRAME: Final = 1024 * 1024 + 64 * 1024
_QUEUE_BYTES: Final = (
    8 * 1024 * 1024
)  # what waits for one peer on one connection; more is dropped, and the node sends it again
_HEADER: Final = struct.Struct("!4sI")
_MAGIC: Final = b"dRt1"
_CONNECT: Final = 2.0  # seconds
_BACK_OFF: Final = (0.05, 1.0)  # seconds: first and longest pause between two attempts to connect
_GATHER: Final = 256  # buffers in one system call: below every platform's limit


class SocketTransport(Transport):
    """Frames between nodes over TCP, one length-prefixed frame after the other. No encryption, no authentication.

    Each peer is sent to over two connections, one for control and data, one for snapshots, each with a thread and a bounded
    queue of its own; what does not fit is dropped, which Raft expects. Broken connections are made again, host names looked up anew.

    Args:
        listen: "host:port" to bind (port 0: any free one, see `address`); None: this node's own address among the peers.
        insecure: whether an address that other machines can reach may be served.

    Raises:
        ConfigError: listen is no address, or is not loopback without `insecure`.
    """

    def __init__(self, listen: str | None = None, *, insecure: bool = False) -> None:
        if listen is not None:
            problems = address_problems("listen", listen, port_zero=True)
            if problems or (problems := listen_problems(listen, insecure=insecure)):
                raise refused(problems, "SocketTransport")
        self._listen = listen
        self._insecure = insecure
        self._lock = threading.Lock()
        self._closed = False
        self._node_id = 0
        self._receive: Callable[[bytes], None] | None = None
        self._listener: _Listener | None = None
        self._addresses: dict[int, str] = {}
        self._senders: dict[tuple[int, bool], _Sender] = {}
        self._dropped = 0

    @property
    def address(self) -> str | None:
        """Where it is bound ("host:port"); None before."""
        return None if self._listener is None else self._listener.address

    @property
    def dropped(self) -> int:
        """Frames dropped because a queue was full or a peer unknown."""
        with self._lock:
            return self._dropped + sum(sender.dropped for sender in self._senders.values())

    def start(self, node_id: int, receive: Callable[[bytes], None]) -> None:
        """Binds `listen`, if it was given. Raises `ConfigError` (the address cannot be bound), `ClosedError`."""
        self._node_id = node_id
        self._receive = receive
        if self._listen is not None:
            self._bind(self._listen)

    def set_peers(self, peers: Mapping[int, Peer]) -> None:
        """Takes the addresses; binds the own one at the first call if `listen` was not given. Raises as `start`."""
        if self._listener is None:
            own = peers.get(self._node_id)
            if own is None:
                raise ConfigError(
                    f"node {self._node_id} is not among its peers", hint="Give SocketTransport(listen='host:port')"
                )
            self._bind(own.address)
        gone: list[_Sender] = []
        with self._lock:
            self._addresses = {node: peer.address for node, peer in peers.items() if node != self._node_id}
            for key, sender in list(self._senders.items()):
                if self._addresses.get(key[0]) != sender.address:
                    gone.append(self._senders.pop(key))
                    self._dropped += sender.dropped
        for sender in gone:
            sender.close()

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Queues the frames; never waits for the network."""
        sorted_out: dict[tuple[int, bool], list[bytes]] = {}
        for to, lane, data in batch:
            sorted_out.setdefault((to, lane == "bulk"), []).append(data)
        for key, frames in sorted_out.items():
            sender = self._sender(key)
            if sender is None:
                with self._lock:
                    self._dropped += len(frames)
            else:
                sender.put(frames)

    def close(self) -> None:
        """Ends all connections and threads. Idempotent."""
        with self._lock:
            self._closed = True
            senders, self._senders = list(self._senders.values()), {}
            self._dropped += sum(sender.dropped for sender in senders)
            listener = self._listener
        for sender in senders:
            sender.stop()
        if listener is not None:
            listener.close()
        for sender in senders:
            sender.close()

    def _sender(self, key: tuple[int, bool]) -> _Sender | None:
        with self._lock:
            sender = self._senders.get(key)
            if sender is None and not self._closed:
                address = self._addresses.get(key[0])
                if address is not None:
                    name = f"d-engine-{self._node_id}-to-{key[0]}{'-bulk' if key[1] else ''}"
                    sender = self._senders[key] = _Sender(name, address)
            return sender

    def _bind(self, address: str) -> None:
        host, port = split_address(address)
        if self._closed:
            raise ClosedError("this transport was closed", node=self._node_id, hint="Make a new one for each start")
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise ConfigError(f"address {address!r} cannot be resolved: {error}", node=self._node_id) from error
        if not self._insecure and not loopback(str(where[0])):
            raise ConfigError(not_loopback(address), node=self._node_id)
        server = socket.socket(family, kind, protocol)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(where)
            server.listen(64)
        except OSError as error:
            server.close()
            raise ConfigError(
                f"address {address!r} cannot be bound: {error}",
                node=self._node_id,
                hint="Is another process serving it?",
            ) from error
        assert self._receive is not None
        self._listener = _Listener(f"d-engine-{self._node_id}-accept", server, self._receive)


class _Sender:
    """One connection to one peer: a bounded queue and the thread that empties it."""

    def __init__(self, name: str, address: str) -> None:
        self.address = address
        self.dropped = 0
        self._name = name
        self._wake = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._stopped = False
        self._socket: socket.socket | None = None
        self._thread = run_apart(name, self._run)

    def put(self, frames: list[bytes]) -> None:
        with self._wake:
            for frame in frames:
                if self._size + len(frame) > _QUEUE_BYTES or len(frame) > MAX_FRAME or self._stopped:
                    self.dropped += 1
                    continue
                self._queue.append(frame)
                self._size += len(frame)
            self._wake.notify()

    def stop(self) -> None:
        """Asks the thread to end, without waiting for it."""
        with self._wake:
            self._stopped = True
            _shut(self._socket)
            self._wake.notify()

    def close(self) -> None:
        self.stop()
        self._thread.join(timeout=_CONNECT + 1.0)

    def _run(self) -> None:
        pause = _BACK_OFF[0]
        while True:
            with self._wake:
                self._wait_for_work()
                if self._stopped:
                    return
            link = self._connect()
            if link is None:
                with self._wake:
                    # What waited is old by now: Raft sends again, with newer values.
                    self.dropped += len(self._queue)
                    self._queue.clear()
                    self._size = 0
                    if self._wake.wait_for(lambda: self._stopped, pause):
                        return
                pause = min(pause * 2, _BACK_OFF[1])
                continue
            pause = _BACK_OFF[0]
            with contextlib.suppress(OSError), link:
                self._pump(link)
            with self._wake:
                self._socket = None

    def _wait_for_work(self) -> None:
        self._wake.wait_for(lambda: self._queue or self._stopped)

    def _connect(self) -> socket.socket | None:
        try:
            link = socket.create_connection(split_address(self.address), timeout=_CONNECT)
        except OSError as error:
            _LOGGER.debug("%s: cannot connect to %s: %s", self._name, self.address, error)
            return None
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._wake:
            if self._stopped:
                link.close()
                return None
            self._socket = link
        return link

    def _pump(self, link: socket.socket) -> None:
        while True:
            with self._wake:
                self._wait_for_work()
                if self._stopped or _ended(link):
                    return
                frames = [self._queue.popleft() for _ in range(min(len(self._queue), _GATHER // 2))]
                self._size -= sum(map(len, frames))
            parts: list[bytes | memoryview] = []
            for frame in frames:
                parts += (_HEADER.pack(_MAGIC, len(frame)), frame)
            _send_all(link, parts)


def _ended(link: socket.socket) -> bool:
    """Whether the peer has closed the connection: it never writes on it."""
    if not hasattr(socket, "MSG_DONTWAIT"):
        return False  # noticed by a failing send then
    try:
        link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def _send_all(link: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Vectored, so that frames are not copied together."""
    if not hasattr(link, "sendmsg"):
        link.sendall(b"".join(parts))
        return
    while parts:
        sent = link.sendmsg(parts)
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        if sent:
            parts[0] = memoryview(parts[0])[sent:]


class _Listener:
    """The bound socket, and a thread for each connection that came in."""

    def __init__(self, name: str, server: socket.socket, receive: Callable[[bytes], None]) -> None:
        host, port = server.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._name = name
        self._server = server
        self._receive = receive
        self._lock = threading.Lock()
        self._closed = False
        self._ended = threading.Event()
        self._links: dict[socket.socket, threading.Thread] = {}
        self._thread = run_apart(name, self._accept)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            links = dict(self._links)
        self._ended.set()
        # A thread in accept() is not woken by close(); by shutdown it is, on Linux, and by a connection everywhere.
        _shut(self._server)
        with contextlib.suppress(OSError), socket.create_connection(split_address(self.address), timeout=0.2):
            pass
        self._thread.join(timeout=5.0)
        self._server.close()
        for link in links:
            _shut(link)
        for thread in links.values():
            if not is_current(thread):
                thread.join(timeout=5.0)

    def _accept(self) -> None:
        while True:
            try:
                link, origin = self._server.accept()
            except OSError:
                if self._closed:
                    return
                # That connection was gone before it was taken, or there are no descriptors left for a moment.
                self._ended.wait(_BACK_OFF[0])
                continue
            with self._lock:
                if self._closed:
                    link.close()
                    return
                thread = threading.Thread(
                    target=self._serve, args=(link, origin), name=f"{self._name}-{origin[1]}", daemon=True
                )
                self._links[link] = thread
            thread.start()

    def _serve(self, link: socket.socket, origin: tuple[str, int]) -> None:
        try:
            with link:
                self._read(link, origin)
        finally:
            with self._lock:
                self._links.pop(link, None)

    def _read(self, link: socket.socket, origin: tuple[str, int]) -> None:
        with contextlib.suppress(OSError), link.makefile("rb", buffering=256 * 1024) as stream:
            while True:
                header = stream.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    return
                magic, length = _HEADER.unpack(header)
                if magic != _MAGIC or not 0 < length <= MAX_FRAME:
                    _LOGGER.warning("%s:%s sent bytes that are no frame: connection closed", *origin[:2])
                    return
                frame = stream.read(length)
                if len(frame) < length:
                    return
                try:
                    self._receive(frame)
                except (InvalidMessageError, WrongClusterError) as error:
                    _LOGGER.warning("%s:%s sent a frame that is refused, connection closed: %s", *origin[:2], error)
                    return


def _shut(link: socket.socket | None) -> None:
    if link is not None:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
