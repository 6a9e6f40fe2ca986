"""What durable state machines promise, what results can be kept, and a node on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

from d_engine import Entry
from d_engine._hooks import Machine
from d_engine.plugins import Batch

from ._case import case, equal, fail, holds, shown
from ._machine_bench import Bench, MachineFace, durably

__all__ = ["DurableCases", "NodeCases", "ResultCases"]

_SIDECAR = b"sidecar \x00\xff\n\x00"


class _Exploding(Sequence[Entry[bytes]]):
    """Entries that end in an exception half-way: what a kill in the middle of apply_durable looks like from inside."""

    def __init__(self, held: Sequence[Entry[bytes]], good: int) -> None:
        self._held, self._good = held, good

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, at: int) -> Entry[bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> list[Entry[bytes]]: ...
    def __getitem__(self, at: int | slice) -> Entry[bytes] | list[Entry[bytes]]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self._held)))]
        if at >= self._good:
            raise InterruptedError("the case interrupts apply_durable here")
        return self._held[at]

    def __iter__(self) -> Iterator[Entry[bytes]]:
        return (self[at] for at in range(len(self._held)))

    @property
    def data(self) -> Sequence[bytes]:
        """As of `Entries`, but one after the other."""
        return cast("Sequence[bytes]", (entry.data for entry in self))


class DurableCases(MachineFace):
    """The applied position, and that it and the state are one. Skipped for machines without `apply_durable`."""

    @case('Return (0, b"") as long as nothing was applied.')
    def test_an_empty_machine_has_applied_nothing(self, bench: Bench) -> None:
        """Applied gives (0, b"") on an empty machine."""
        equal("applied() of an empty machine", tuple(bench.durable().applied()), (0, b""))

    @case(
        "Store batch.last_index: it is beyond the last entry where the log holds entries that are not for the machine."
    )
    def test_the_position_is_that_of_the_batch(self, bench: Bench) -> None:
        """Applied gives the last_index of the batch, not the index of its last entry."""
        machine = bench.durable()
        durably(machine, bench.entries, 500, _SIDECAR)
        equal("applied()[0] after a batch with last_index=500", machine.applied()[0], 500)

    @case("Store batch.sidecar as bytes: it is the node's own.")
    def test_the_sidecar_comes_back(self, bench: Bench) -> None:
        """Applied gives the sidecar back, byte for byte."""
        machine = bench.durable()
        durably(machine, bench.entries, bench.entries[-1].index, _SIDECAR)
        equal("applied()[1]", machine.applied()[1], _SIDECAR)

    @case("Store position and sidecar also where there is nothing to apply.")
    def test_a_batch_without_entries_counts(self, bench: Bench) -> None:
        """A batch without entries moves the position."""
        machine = bench.durable()
        durably(machine, [], 7, b"seven")
        equal("applied() after a batch without entries", tuple(machine.applied()), (7, b"seven"))

    @case("Store the position with the state.")
    def test_the_position_outlives_a_restart(self, bench: Bench) -> None:
        """Applied gives the same after a restart."""
        machine = bench.durable()
        durably(machine, bench.entries, 500, _SIDECAR)
        before = tuple(machine.applied())
        equal("applied() after a restart", tuple(bench.again(machine).applied()), before)

    @case("Store the state itself: entries up to the applied position are not handed over again.")
    def test_the_state_outlives_a_restart(self, bench: Bench) -> None:
        """The state is the same after a restart."""
        machine = bench.durable()
        durably(machine, bench.entries, 500, _SIDECAR)
        before = bench.state(machine)
        equal("the state after a restart", bench.state(bench.again(machine)), before)

    @case("Commit one transaction before apply_durable returns: the log may be purged up to there.")
    def test_a_batch_is_durable_on_return(self, bench: Bench) -> None:
        """State and position survive a kill right after apply_durable has returned."""
        machine = bench.durable()
        durably(machine, bench.entries, 500, _SIDECAR)
        left = bench.crashed(machine)
        equal("applied() after a kill", tuple(left.applied()), tuple(machine.applied()))
        equal("the state after a kill", bench.state(left), bench.state(machine))

    @case("Apply the whole batch in one transaction, position included, and roll back if anything raises.")
    def test_a_batch_is_one_unit(self, bench: Bench) -> None:
        """A batch that is interrupted has changed neither state nor position."""
        machine = bench.durable()
        durably(machine, bench.entries[:5], 5, _SIDECAR)
        machine = bench.again(machine)
        before = bench.state(machine), tuple(machine.applied())
        try:
            machine.apply_durable(Batch(cast("Any", _Exploding(bench.entries[5:], 4)), 500, b"never stored"))
        except Exception:  # noqa: BLE001 (the interruption itself, however it is wrapped)
            left = bench.crashed(machine)
            equal("the state after an interruption and a kill", bench.state(left), before[0])
            equal("applied() after an interruption and a kill", tuple(left.applied()), before[1])
        else:
            fail("an exception of the entries reaches the caller of apply_durable", "apply_durable returned")


class ResultCases(MachineFace):
    """Results that are kept for repetitions in a session. Skipped for machines without `dump_result`."""

    @case("Let load_result undo what dump_result does.")
    def test_a_result_comes_back(self, bench: Bench) -> None:
        """load_result(dump_result(result)) is the result."""
        machine = bench.machine()
        dump = bench.method(machine, "dump_result", "load_result")
        for entry, result in zip(bench.entries, bench.apply(machine, bench.entries), strict=True):
            if not isinstance(result, Exception):
                loaded = machine.load_result(bytes(dump(result)))
                equal(f"the result at index {entry.index}, dumped and loaded", loaded, result)

    @case("Return bytes: encode texts, and make bytes of a bytearray.")
    def test_a_dumped_result_is_bytes(self, bench: Bench) -> None:
        """dump_result gives bytes."""
        machine = bench.machine()
        dump = bench.method(machine, "dump_result", "load_result")
        for result in bench.apply(machine, bench.entries):
            if not isinstance(result, Exception):
                dumped: object = dump(result)
                holds(isinstance(dumped, bytes), f"dump_result({shown(result)}) is bytes", shown(dumped))


class NodeCases(MachineFace):
    """A node on top."""

    @case(
        "Make the machine on one thread and use it on another (sqlite3: check_same_thread=False); the calls come one at a time."
    )
    def test_a_node_runs_it(self, bench: Bench) -> None:
        """A node applies on a thread of its own, makes a snapshot, and comes to the same state after a restart."""
        from d_engine import Config, LocalTransport, MemoryStorage, Raft

        machine, storage, wait = bench.machine(), MemoryStorage(), self.patience
        config = Config(heartbeat_interval=0.01, election_timeout=(0.02, 0.04), trailing_entries=0)

        def node(machine: Any) -> Raft[bytes, Any]:
            return Raft(1, storage, machine, config, peers={1: "local:1"}, transport=LocalTransport())

        with node(machine) as raft:
            raft.wait_ready(timeout=wait)
            raft.propose_many(bench.commands, timeout=wait)
            raft.snapshot(timeout=wait)
            raft.propose_many(bench.commands, timeout=wait)
            before = raft.read(self.state, timeout=wait)
        machine = bench.again(machine) if Machine(machine).applied is not None else bench.machine()
        with node(machine) as raft:
            raft.wait_ready(timeout=wait)
            equal("the state after a restart of the node", raft.read(self.state, timeout=wait), before)
