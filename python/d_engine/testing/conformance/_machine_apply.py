"""What a state machine promises about apply: the same on every node, whatever the batches."""

from __future__ import annotations

import copy
import random
from typing import Any

from d_engine import Entry
from d_engine._hooks import Machine
from d_engine.errors import CommandError

from ._case import case, equal, fail, holds, shown
from ._elsewhere import apply_elsewhere, portable
from ._machine_bench import BEGIN, Bench, MachineFace, by_seconds, is_durable, outcome
from ._watch import CHANCE, CLOCKS, watched

__all__ = ["AcceptedCases", "ApplyCases", "BatchCases", "RefusalCases"]

_SAME = "Let apply depend on the state and the entry only: no clock, no chance, no id(), no order of sets, no I/O."


class AcceptedCases(MachineFace):
    """The first look."""

    @case("Define the methods as the message says: plain functions with these arguments.")
    def test_a_node_accepts_it(self, bench: Bench) -> None:
        """A state machine has the methods that a node calls, as plain functions with the arguments that it gives."""
        Machine(self.make(bench.root))


class ApplyCases(MachineFace):
    """Applying the same entries comes to the same, everywhere."""

    @case("Keep the state in the object: assign it in __init__, not in the class or the module.")
    def test_two_machines_share_nothing(self, bench: Bench) -> None:
        """What one machine applies does not show in another machine of the same process."""
        other = bench.machine()
        before = bench.state(other)
        bench.applied()
        equal("the state of a machine that has applied nothing", bench.state(other), before)

    @case("Return a list as long as the batch; None is a result, too.")
    def test_one_result_an_entry(self, bench: Bench) -> None:
        """A batch gives one result for each of its entries."""
        results = bench.batch(bench.machine(), bench.entries)
        equal(f"the number of results of a batch of {len(bench.entries)}", len(results), len(bench.entries))

    @case("Copy what you want to change: entries are shared, and cannot be written to.")
    def test_entries_stay_as_they_are(self, bench: Bench) -> None:
        """Entries may be kept, and are not changed."""
        entries = by_seconds(bench.commands * 4)
        bench.applied(entries)
        equal("the entries after apply", [one.data for one in entries], bench.commands * 4)

    @case(_SAME)
    def test_the_same_results(self, bench: Bench) -> None:
        """Two machines that apply the same entries give the same results."""
        first, second = (bench.apply(bench.machine(), bench.entries) for _ in range(2))
        for entry, one, two in zip(bench.entries, first, second, strict=True):
            equal(f"the result at index {entry.index} ({shown(entry.data)})", outcome(two), outcome(one))

    @case(_SAME)
    def test_the_same_state(self, bench: Bench) -> None:
        """Two machines that apply the same entries have the same state."""
        equal("the state of the second machine", bench.state(bench.applied()), bench.state(bench.applied()))

    @case("Use entry.time: the leader has stamped it, and it is the same on every node and after every restart.")
    def test_no_clock(self, bench: Bench) -> None:
        """Apply asks no clock."""
        self._watched(bench, CLOCKS)

    @case("Draw it before propose and put it into the data, or use random.Random(entry.index).")
    def test_no_chance(self, bench: Bench) -> None:
        """Apply asks no source of chance."""
        self._watched(bench, CHANCE)

    def _watched(self, bench: Bench, functions: Any) -> None:
        machine = bench.machine()
        with watched(functions) as called:
            bench.apply(machine, bench.entries)
        for name in self.allowed:
            called.pop(name, None)
        if called:
            fail("none of them is called by apply", ", ".join(f"{name} at {place}" for name, place in called.items()))

    @case(
        "Keep dicts or sorted lists where sets of strings are gone through: their order differs from process to process."
    )
    def test_the_same_in_another_interpreter(self, bench: Bench) -> None:
        """A machine in another process, where strings have other hashes, comes to the same results and state."""
        machine = bench.machine()
        results = [outcome(result) for result in bench.apply(machine, bench.entries)]
        found, state = apply_elsewhere(self)
        equal("the results in another interpreter", found, portable(results))
        equal("the state in another interpreter", state, portable(bench.state(machine)))

    @case(
        "Use what is before in the state, not entry.index - 1: the log also holds entries that are not for the machine."
    )
    def test_indexes_have_gaps(self, bench: Bench) -> None:
        """Indexes rise, but not by one."""
        bench.applied(by_seconds(bench.commands, start=3, step=4))

    @case("Use entry.index where something must be unique: time stands still within a batch, and never goes back.")
    def test_times_may_be_equal(self, bench: Bench) -> None:
        """Entries may have the same time."""
        same = [Entry(index, 1, BEGIN, data) for index, data in enumerate(bench.commands, 1)]
        equal("the number of results", len(bench.apply(bench.machine(), same)), len(same))

    @case("Return a copy of what you go on changing, or a plain value.")
    def test_results_stay(self, bench: Bench) -> None:
        """A result does not change when later entries are applied."""
        machine = bench.machine()
        results = bench.apply(machine, bench.entries[:5])
        before = copy.deepcopy([outcome(result) for result in results])
        bench.apply(machine, bench.entries[5:])
        equal("the first five results, later", [outcome(result) for result in results], before)


class RefusalCases(MachineFace):
    """What an entry, or a request, must not change."""

    @case("Check first, change afterwards.")
    def test_a_refusal_changes_nothing(self, bench: Bench) -> None:
        """An entry that is refused with CommandError leaves the state as it was."""
        machine = bench.applied()
        for entry in by_seconds(bench.refusals(), start=len(bench.entries) + 1):
            data, before = entry.data, bench.state(machine)
            result = bench.batch(machine, [entry])[0]
            holds(
                isinstance(result, CommandError),
                f"{shown(data)} of refused() is refused",
                f"the result {shown(result)}",
            )
            equal(f"the state after the refusal of {shown(data)}", bench.state(machine), before)

    @case("Let query read and nothing else: it is asked on one node only.")
    def test_queries_change_nothing(self, bench: Bench) -> None:
        """Query leaves the state as it is."""
        machine = bench.applied()
        requests = bench.requests()
        query = bench.method(machine, "query")
        before = bench.state(machine)
        for request in requests:
            query(request)
            equal(f"the state after query({shown(request)})", bench.state(machine), before)


class BatchCases(MachineFace):
    """However the node cuts its batches."""

    @case("Let apply_batch do for each entry what it would do for it alone.")
    def test_batches_are_cut_anywhere(self, bench: Bench) -> None:
        """The same entries in other batches give the same results and state."""
        whole = bench.machine()
        expected = [outcome(result) for result in bench.apply(whole, bench.entries, len(bench.entries))]
        for size in (1, 2, 7):
            machine = bench.machine()
            results = [outcome(result) for result in bench.apply(machine, bench.entries, size)]
            equal(f"the results in batches of {size}", results, expected)
            equal(f"the state after batches of {size}", bench.state(machine), bench.state(whole))
        machine, rest = bench.machine(), list(bench.entries)
        cut = random.Random(5)  # noqa: S311 (the same in every run)
        while rest:
            size = cut.randrange(1, 6)
            bench.batch(machine, rest[:size])
            del rest[:size]
        equal("the state after batches of various sizes", bench.state(machine), bench.state(whole))

    @case("Let one call the other, or share what they do.")
    def test_apply_does_what_apply_batch_does(self, bench: Bench) -> None:
        """Apply and apply_batch give the same results and state."""
        single, batched = bench.machine(), bench.machine()
        apply = bench.method(single, "apply")
        if is_durable(single):
            bench.method(single, "apply_batch")
        expected = [outcome(result) for result in bench.apply(batched, bench.entries)]
        results: list[object] = []
        for entry in bench.entries:
            try:
                results.append(outcome(apply(entry)))
            except CommandError as refusal:
                results.append(outcome(refusal))
        equal("the results of apply, entry by entry", results, expected)
        equal("the state after apply, entry by entry", bench.state(single), bench.state(batched))

    @case(
        "Put the CommandError into the list, in the place of that entry's result; raised, it would stop the whole node."
    )
    def test_a_refusal_stands_in_its_place(self, bench: Bench) -> None:
        """In a batch a refused entry has a CommandError in the place of its result, and the others are applied."""
        refusals = bench.refusals()
        machine = bench.applied()
        entries = by_seconds([refusals[0], bench.commands[0], *refusals], start=len(bench.entries) + 1)
        results = bench.batch(machine, entries)
        kinds = [isinstance(result, CommandError) for result in results]
        equal("which of (refused, fine, refused…) are CommandErrors", kinds, [True, False, *(True for _ in refusals)])
