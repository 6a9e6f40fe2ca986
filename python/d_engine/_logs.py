"""Carries native log records into `logging`, in chunks, from a thread that lives as long as a node is open."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from ._process import generation, is_current, native, run_apart

if TYPE_CHECKING:
    from types import ModuleType

LOGGER: Final = logging.getLogger("d_engine")
LOGGER.addHandler(logging.NullHandler())

_OFF: Final = 100
_LOOK: Final = 1.0  # seconds between two looks at the level


class _Bridge:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._thread: threading.Thread | None = None
        self._made_in = generation()

    def retain(self) -> None:
        """A node starts."""
        core = native()
        with self._lock:
            if self._made_in != generation():  # a child after fork: the parent's thread is not here
                self._made_in, self._users, self._thread = generation(), 0, None
            self._users += 1
            core.log_level(_level())
            if self._thread is None:
                self._thread = run_apart("d-engine-log", lambda: self._run(core))

    def release(self) -> None:
        """A node has closed. The last one flushes and ends the thread."""
        core = native()
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            thread, self._thread = self._thread, None
        if thread is None or is_current(thread):
            return
        core.log_wake()
        thread.join(timeout=5.0)

    def _run(self, core: ModuleType) -> None:
        me = threading.current_thread()
        while True:
            core.log_level(_level())
            records, dropped = core.log_take(_LOOK)
            for record in records:
                _hand_on(*record)
            if dropped:
                _hand_on(
                    logging.WARNING,
                    0.0,
                    "log",
                    f"{dropped} log records were dropped: the queue was full",
                    None,
                    None,
                    None,
                )
            if self._thread is not me and not records:
                return


def _level() -> int:
    """The lowest level that any logger of ours wants."""
    lowest = LOGGER.getEffectiveLevel()
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level and name.startswith("d_engine."):
            lowest = min(lowest, logger.level)
    return _OFF if logging.root.manager.disable >= lowest else lowest


def _hand_on(
    level: int, created: float, part: str, message: str, node: int | None, term: int | None, index: int | None
) -> None:
    logger = logging.getLogger(f"d_engine.{part}" if part else "d_engine")
    if not logger.isEnabledFor(level):
        return
    extra = {"node": node, "term": term, "index": index}
    record = logger.makeRecord(logger.name, level, "(native)", 0, message, (), None, extra=extra)
    if created:
        record.created = created
        record.msecs = (created % 1.0) * 1000
    logger.handle(record)


BRIDGE: Final = _Bridge()
