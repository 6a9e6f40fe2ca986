"""The bench that a state machine is put on: applies, snapshots and restores as a node does."""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
from collections.abc import Generator, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from d_engine import Entries, Entry
from d_engine._hooks import Machine
from d_engine.errors import CommandError, PluginTypeError
from d_engine.plugins import Batch

from ._case import fail, shown, skip

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BEGIN", "Bench", "MachineFace", "by_seconds", "durably", "is_durable", "outcome", "snapshot_of"]

_LEAST = 12
"""Commands that a case applies at least: a shorter list is gone through again."""
_DEFAULT = (b"to be", b"or not to be", b"that is the question", b"whether", b"tis nobler", b"in the mind", b"to suffer")
BEGIN = 1_700_000_000.0
"""The time of the first entry."""


def snapshot_of(machine: Any) -> bytes:
    """The whole state as the machine writes it."""
    out = io.BytesIO()
    if callable(getattr(machine, "freeze", None)):
        machine.write_view(machine.freeze(), out)
    else:
        machine.snapshot(out)
    return out.getvalue()


def by_seconds(commands: Iterable[bytes], start: int = 1, step: int = 1) -> list[Entry[bytes]]:
    """Entries of these commands, a second apart; `step` is how far apart their indexes are."""
    indexes = itertools.count(start, step)
    return [Entry(index, 1 + index // 8, BEGIN + index, data) for index, data in zip(indexes, commands, strict=False)]


def outcome(result: object) -> object:
    """A result that can be compared: refusals by class and arguments."""
    return (type(result).__name__, result.args) if isinstance(result, CommandError) else result


class MachineFace:
    """What a plugin's author writes: see `StateMachineConformance`."""

    patience: ClassVar[float] = 30.0
    allowed: ClassVar[frozenset[str]] = frozenset()

    def make(self, path: Path) -> Any:
        """A state machine that has applied nothing; one that keeps files has them at `path`."""
        raise NotImplementedError(
            f"write 'def make(self, path: Path)' in {type(self).__name__}: it returns the machine"
        )

    def commands(self) -> Sequence[bytes]:
        """Commands that it understands, in the order in which they are applied."""
        return _DEFAULT

    def refused(self) -> Sequence[bytes]:
        """Commands that it refuses with a `CommandError` once `commands` were applied."""
        return ()

    def queries(self) -> Sequence[Any]:
        """Requests that its `query` answers once `commands` were applied."""
        return ()

    def state(self, machine: Any) -> object:
        """The state, to be compared with ==. The default is its snapshot."""
        return snapshot_of(machine)

    def close(self, machine: Any) -> None:
        """Gives free what a machine holds, such as a connection. The default calls its `close`, if it has one."""
        close = getattr(machine, "close", None)
        if callable(close):
            close()

    def crash(self, path: Path, copy: Path) -> None:
        """Makes `copy` what a kill would leave of the durable machine at `path`, which is in use. The default copies the files."""
        shutil.copytree(path, copy)

    @contextlib.contextmanager
    def bench(self, root: Path) -> Generator[Bench]:
        """For the cases."""
        bench = Bench(self, root)
        try:
            yield bench
        finally:
            bench.tidy()


class Bench:
    """Makes machines, and does with them what a node does."""

    def __init__(self, suite: MachineFace, root: Path) -> None:
        self.suite, self.root = suite, root
        self._made: list[tuple[Any, Path]] = []

    def machine(self, path: Path | None = None) -> Any:
        """A new machine, in a place of its own."""
        if path is None:
            path = self.root / f"machine-{len(self._made) + 1}"
        path.mkdir(parents=True, exist_ok=True)
        machine = self.suite.make(path)
        self._made.append((machine, path))
        try:
            Machine(machine)
        except PluginTypeError:
            skip("a node does not accept it: see test_a_node_accepts_it")
        return machine

    def path(self, machine: Any) -> Path:
        """Where a machine has its files."""
        return next(path for made, path in self._made if made is machine)

    def again(self, machine: Any) -> Any:
        """The machine after a restart: another object for the same files."""
        path = self.path(machine)
        self.suite.close(machine)
        return self.machine(path)

    def crashed(self, machine: Any) -> Any:
        """The machine after a kill."""
        copy = self.root / f"crashed-{len(self._made)}"
        self.suite.crash(self.path(machine), copy)
        return self.machine(copy)

    @cached_property
    def commands(self) -> list[bytes]:
        """The author's commands, repeated if they are few."""
        given = list(self.suite.commands())
        if not given:
            fail("commands() gives at least one command", "an empty list")
        return given * -(-_LEAST // len(given))

    @cached_property
    def entries(self) -> list[Entry[bytes]]:
        """All commands as entries."""
        return by_seconds(self.commands)

    def refusals(self) -> list[bytes]:
        """The author's refused commands; skips the case where there are none."""
        return list(self.suite.refused()) or skip("refused() names no command")

    def requests(self) -> list[Any]:
        """The author's queries; skips the case where there are none."""
        return list(self.suite.queries()) or skip("queries() names no request")

    def durable(self) -> Any:
        """A machine that keeps its own applied position; skips the case for others."""
        machine = self.machine()
        if not is_durable(machine):
            skip("it has no apply_durable: the node knows what was applied")
        return machine

    def method(self, machine: Any, *names: str) -> Callable[..., Any]:
        """An optional method of a machine; skips the case where it has none."""
        for name in names:
            if not callable(getattr(machine, name, None)):
                skip(f"it has no {name}")
        method: Callable[..., Any] = getattr(machine, names[0])
        return method

    def applied(self, entries: Sequence[Entry[bytes]] | None = None) -> Any:
        """A new machine that has applied these entries, or all commands."""
        machine = self.machine()
        self.apply(machine, self.entries if entries is None else entries)
        return machine

    def apply(self, machine: Any, entries: Sequence[Entry[bytes]], size: int = 5) -> list[Any]:
        """The results of these entries, handed over in batches of that size."""
        results: list[Any] = []
        for at in range(0, len(entries), size):
            results += self.batch(machine, entries[at : at + size])
        return results

    def batch(self, machine: Any, entries: Sequence[Entry[bytes]]) -> list[Any]:
        """The results of one batch, by way of what the node calls."""
        hooks = Machine(machine)
        batch = Entries(entries)
        if hooks.apply_durable is not None:
            found = hooks.apply_durable(batch, entries[-1].index if entries else 0, b"sidecar")
        else:
            assert hooks.apply_batch is not None
            found = hooks.apply_batch(batch)
        results, failure, callback = found
        if failure is not None:
            at = len(results)
            where = f" at index {entries[at].index} ({shown(entries[at].data)})" if at < len(entries) else ""
            fail(f"{callback} applies what commands() gives", f"{shown(failure)}{where}", failure)
        return list(results)

    def state(self, machine: Any) -> object:
        """What the author calls its state."""
        return self.suite.state(machine)

    def restored(self, snapshot: bytes) -> Any:
        """A new machine that was restored."""
        machine = self.machine()
        machine.restore(io.BytesIO(snapshot))
        return machine

    def tidy(self) -> None:
        """Closes all machines."""
        for machine, _ in reversed(self._made):
            with contextlib.suppress(Exception):
                self.suite.close(machine)


def is_durable(machine: Any) -> bool:
    """Whether it keeps its own applied position."""
    return callable(getattr(machine, "apply_durable", None))


def durably(machine: Any, entries: Sequence[Entry[bytes]], last_index: int, sidecar: bytes) -> None:
    """One batch for a durable machine."""
    machine.apply_durable(Batch(Entries(entries), last_index, sidecar))
