"""What a state machine promises about snapshots: all of the state, nothing but the state, and no disturbance."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from ._case import case, equal
from ._machine_bench import Bench, MachineFace, by_seconds, outcome, snapshot_of
from ._storage_bench import on_thread

__all__ = ["SnapshotCases", "ViewCases"]

_FORGOTTEN = "Write every attribute that apply reads, and read it back in restore."


class _Unseekable(io.RawIOBase):
    """A file as a node gives it: goes forward only."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__()
        self.content = bytearray(content)

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.content += bytes(data)
        return len(data)

    def readinto(self, buffer: Any, /) -> int:
        size = min(len(buffer), len(self.content), 100)
        buffer[:size] = self.content[:size]
        del self.content[:size]
        return size


class SnapshotCases(MachineFace):
    """Snapshot and restore."""

    @case("Let snapshot write the whole state each time.")
    def test_a_second_snapshot_is_as_whole(self, bench: Bench) -> None:
        """A second snapshot holds the whole state as well."""
        machine = bench.applied()
        first, second = snapshot_of(machine), snapshot_of(machine)
        states = [bench.state(bench.restored(snapshot)) for snapshot in (first, second)]
        equal("the state restored from the second snapshot", states[1], states[0])

    @case("Only write to the file: no seek, no tell, no read.")
    def test_a_snapshot_is_written_forward(self, bench: Bench) -> None:
        """Snapshot writes to a file that cannot be rewound."""
        machine = bench.applied()
        out = _Unseekable()
        with io.BufferedWriter(out, 64) as buffered:
            if callable(getattr(machine, "freeze", None)):
                machine.write_view(machine.freeze(), buffered)
            else:
                machine.snapshot(buffered)

    @case("Only read from the file: no seek, no tell; it is as long as what snapshot wrote.")
    def test_a_snapshot_is_read_forward(self, bench: Bench) -> None:
        """Restore reads from a file that cannot be rewound."""
        snapshot = snapshot_of(bench.applied())
        bench.machine().restore(cast("BinaryIO", io.BufferedReader(_Unseekable(snapshot), 64)))

    @case(_FORGOTTEN)
    def test_restore_brings_the_state_back(self, bench: Bench) -> None:
        """A machine that is restored from a snapshot has the state of the one that made it."""
        machine = bench.applied()
        equal(
            "the state of the restored machine", bench.state(bench.restored(snapshot_of(machine))), bench.state(machine)
        )

    @case(_FORGOTTEN)
    def test_a_restored_machine_goes_on_the_same(self, bench: Bench) -> None:
        """A restored machine applies what follows like the one that made the snapshot."""
        restored = bench.restored(snapshot_of(bench.applied()))
        more = by_seconds(bench.commands, start=len(bench.entries) + 1)
        first, second = ([outcome(one) for one in bench.apply(each, more)] for each in (bench.applied(), restored))
        equal("the results of the restored machine", second, first)

    @case("Build the whole state anew in restore; do not update the one that is there.")
    def test_restore_replaces_everything(self, bench: Bench) -> None:
        """Restore leaves nothing of what the machine held before."""
        machine = bench.applied(bench.entries[:1])
        other = bench.applied()
        other.restore(io.BytesIO(snapshot_of(machine)))
        equal("the state of a machine that held more before", bench.state(other), bench.state(machine))

    @case("Treat the snapshot of an empty machine like any other, also where it has no bytes.")
    def test_the_empty_state_is_a_state(self, bench: Bench) -> None:
        """A machine that is restored from the snapshot of an empty one is empty."""
        empty = bench.machine()
        machine = bench.applied()
        machine.restore(io.BytesIO(snapshot_of(empty)))
        equal("the state after restoring an empty one", bench.state(machine), bench.state(empty))

    @case("Let snapshot read and nothing else: it is made on each node at another moment.")
    def test_a_snapshot_disturbs_nothing(self, bench: Bench) -> None:
        """A machine that has made a snapshot goes on like one that has not."""
        machine, other = bench.machine(), bench.machine()
        results: list[list[object]] = [[], []]
        for at, entry in enumerate(bench.entries):
            for into, each in zip(results, (machine, other), strict=True):
                into += [outcome(result) for result in bench.batch(each, [entry])]
            if at % 4 == 1:
                snapshot_of(machine)
        equal("the results of the machine that made snapshots", results[0], results[1])
        equal("its state", bench.state(machine), bench.state(other))


class ViewCases(MachineFace):
    """Machines that are frozen and written while apply goes on. Skipped for machines without `freeze`."""

    @case("Copy in freeze what apply changes later: a copy of the containers, not a reference to them.")
    def test_a_view_stays_as_it_was(self, bench: Bench) -> None:
        """What is applied after freeze does not show in the view."""
        machine = bench.applied(bench.entries[:5])
        view = bench.method(machine, "freeze", "write_view")()
        expected = bench.state(machine)
        bench.apply(machine, by_seconds(bench.commands, start=6))
        out = io.BytesIO()
        machine.write_view(view, out)
        equal("the state restored from the view", bench.state(bench.restored(out.getvalue())), expected)

    @case("Let write_view use the view and nothing that belongs to a thread.")
    def test_a_view_is_written_on_another_thread(self, bench: Bench) -> None:
        """write_view is called on another thread than freeze."""
        machine = bench.applied()
        view = bench.method(machine, "freeze", "write_view")()
        on_thread(lambda: machine.write_view(view, io.BytesIO()))

    @case("Leave the view to whoever asked for it: a second freeze makes another one.")
    def test_two_views_are_two(self, bench: Bench) -> None:
        """A view stays as it was when another one is made."""
        machine = bench.applied(bench.entries[:5])
        freeze = bench.method(machine, "freeze", "write_view")
        view, expected = freeze(), bench.state(machine)
        bench.apply(machine, by_seconds(bench.commands, start=6))
        freeze()
        out = io.BytesIO()
        machine.write_view(view, out)
        equal("the state restored from the first view", bench.state(bench.restored(out.getvalue())), expected)
