"""What concerns the whole process: fork, exit, the native module."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from .errors import ForkError

if TYPE_CHECKING:
    from collections.abc import Callable


class _Generation:
    """Counts forks: a child sees another number than what its inherited objects were made with."""

    number = 0


def _forked() -> None:
    _Generation.number += 1
    _open.clear()  # the parent's threads do not exist here: nothing to stop


def generation() -> int:
    """To be kept by objects with threads, and given to `check_fork`."""
    return _Generation.number


def check_fork(made_in: int, what: object) -> None:
    """Raises `ForkError` in a child of the process that made `what`."""
    if made_in != _Generation.number:
        raise ForkError(
            f"this {type(what).__name__} was made before os.fork() and is used in the child",
            hint="Make it in the process that uses it; with multiprocessing choose the start method 'spawn'",
        )


class Closable(Protocol):
    """What has to be stopped before the interpreter goes away."""

    def close_at_exit(self) -> None:
        """Stops it, soon."""
        ...


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_lock = threading.Lock()


def opened(thing: Closable) -> None:
    """Registers it for the end of the process."""
    with _lock:
        _open.add(thing)


def closed(thing: Closable) -> None:
    """Takes it off again."""
    with _lock:
        _open.discard(thing)


def _at_exit() -> None:
    with _lock:
        things = list(_open)
    for thing in things:
        with contextlib.suppress(Exception):  # one that fails must not keep the others running
            thing.close_at_exit()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def native() -> ModuleType:
    """The native module. Raises `ImportError` that says what to do where it is missing."""
    try:
        from . import _core  # pyright: ignore[reportPrivateUsage]
    except ImportError as error:
        if error.name not in {None, "d_engine._core"} and "_core" not in str(error):
            raise
        raise ImportError(
            "d_engine._core, the native part of d-engine-core, cannot be loaded: install a wheel for this platform"
            f" (pip install d-engine-core), or build it (make dev): {error}",
            name="d_engine._core",
        ) from error
    return _core


def run_apart(name: str, function: Callable[[], None]) -> threading.Thread:
    """Runs it on a daemon thread of its own."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


def is_current(thread: threading.Thread) -> bool:
    """Whether this code runs on it. Unlike `threading.current_thread`, leaves no record of a native thread behind."""
    return thread.ident == threading.get_ident()
