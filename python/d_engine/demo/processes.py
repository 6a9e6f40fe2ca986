"""The parent's half: free loopback ports, and children that are driven over a pipe and can be killed at any moment."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, cast

Reply = dict[str, Any]


class ChildGoneError(Exception):
    """The process ended before it answered: nobody knows how far the request came."""


class ChildAnswerError(Exception):
    """The process answered with an error."""


class Ports:
    """Free loopback ports, held for as long as this object lives.

    Each is bound (port 0 lets the system choose) but never listened on. On Linux the node can still bind and listen on
    it, since both sides set SO_REUSEADDR, while nobody else is given it; in particular a connection attempt to a node
    that is down just now cannot be given that very port as its own and so connect to itself. Elsewhere a second
    socket could not bind it, so it is freed again.
    """

    def __init__(self, count: int) -> None:
        self._held: list[socket.socket] = []
        self.numbers: list[int] = []
        for _ in range(count):
            holder = socket.socket()
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
            self._held.append(holder)
            self.numbers.append(int(holder.getsockname()[1]))
        if sys.platform != "linux":
            self.close()

    def close(self) -> None:
        for holder in self._held:
            holder.close()
        self._held.clear()


class Child:
    """One child process. Requests may be many at a time; each gets a future. Everything here is thread-safe."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        errors: Path,
        environment: Mapping[str, str] | None = None,
        told: Callable[[Reply], None] | None = None,
    ) -> None:
        self.name = name
        self.errors = errors
        self._told = told
        self._lock = threading.Lock()  # guards the four fields below
        self._pipe = threading.Lock()  # one writer at a time; never taken while holding the other
        self._next = 0
        self._waiting: dict[int, Future[Reply]] = {}
        self._gone = False
        with errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches the parent only, which then ends its children in order
            )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._reader = threading.Thread(target=self._read, name=f"{name}-answers", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def request(self, op: str, **arguments: Any) -> Future[Reply]:
        """Sends one request. The future fails with ChildGoneError when the process ends first, and with
        ChildAnswerError when it answers with an error."""
        future: Future[Reply] = Future()
        with self._lock:
            if self._gone:
                future.set_exception(ChildGoneError(f"{self.name} has ended"))
                return future
            self._next += 1
            number = self._next
            self._waiting[number] = future
        line = json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n"
        # An error here means that the process is gone: the reader notices too, and fails everything that is waiting.
        with self._pipe, contextlib.suppress(OSError, ValueError):
            self._stdin.write(line)
            self._stdin.flush()
        return future

    def call(self, op: str, *, timeout: float = 30.0, **arguments: Any) -> Reply:
        """One request and its answer; TimeoutError after `timeout` seconds."""
        try:
            return self.request(op, **arguments).result(timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not answer {op!r} within {timeout} s (see {self.errors})") from None

    def kill(self) -> None:
        """SIGKILL, and waits until the process is gone; whatever it had not answered fails."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, *, timeout: float = 20.0) -> int:
        """Ends standard input, on which the child closes its node and exits; kills it after `timeout` seconds.

        Returns the exit status."""
        if self._pipe.acquire(timeout=timeout):
            with contextlib.suppress(OSError):
                self._stdin.close()
            self._pipe.release()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()
        return self._process.returncode

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _read(self) -> None:
        for line in self._stdout:
            if not line.endswith(b"\n"):  # cut by a kill
                break
            message: Reply = json.loads(line)
            number = message.pop("id", None)
            if number is None:
                if self._told is not None:
                    self._told(message)
                continue
            with self._lock:
                future = self._waiting.pop(number)
            if "error" in message:
                future.set_exception(ChildAnswerError(f"{self.name}: {message['error']}"))
            else:
                future.set_result(message)
        self._stdout.close()
        with self._lock:
            self._gone = True
            waiting, self._waiting = self._waiting, {}
        with self._pipe, contextlib.suppress(OSError):
            self._stdin.close()
        for future in waiting.values():
            future.set_exception(ChildGoneError(f"{self.name} ended before it answered"))


def wait_until(condition: Callable[[], bool], *, within: float, what: str, every: float = 0.02) -> float:
    """Looks at a condition until it holds and returns how long that took; TimeoutError after `within` seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within:
            raise TimeoutError(f"not within {within} s: {what}")
        time.sleep(every)
    return time.monotonic() - began
