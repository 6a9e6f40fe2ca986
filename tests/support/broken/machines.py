"""Broken state machines."""

import itertools
import json
import random
import threading
import time
from typing import ClassVar

from d_engine import CommandError
from support.broken.machine_model import Accounts, Durable, Frozen, fails


@fails("a_node_accepts_it")
class SnapshotIsAGenerator(Accounts):
    def snapshot(self, out):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield out.write(json.dumps(self.dump()).encode())


@fails(
    "two_machines_share_nothing",
    "a_restored_machine_goes_on_the_same",
    "a_snapshot_disturbs_nothing",
    "apply_does_what_apply_batch_does",
    "batches_are_cut_anywhere",
    "the_same_in_another_interpreter",
    "the_same_results",
    "the_same_state",
)
class StateInTheClass(Accounts):
    ever: ClassVar[dict] = {}

    def __init__(self, disk=None):
        super().__init__(disk)
        self.balances = self.ever


@fails("one_result_an_entry", "a_node_runs_it", "batches_are_cut_anywhere")
class TenResultsAtMost(Accounts):
    def apply_batch(self, entries):
        return super().apply_batch(entries)[:10]


@fails("entries_stay_as_they_are")
class KeepsAndMutatesEntries(Accounts):
    def __init__(self, disk=None):
        super().__init__(disk)
        self.kept = []

    def apply(self, entry):
        result = super().apply(entry)
        self.kept.append(entry)
        if len(self.kept) > 40:
            self.kept[0].data = b""
        return result


@fails(
    "the_same_results",
    "a_restored_machine_goes_on_the_same",
    "a_snapshot_disturbs_nothing",
    "apply_does_what_apply_batch_does",
    "batches_are_cut_anywhere",
    "the_same_in_another_interpreter",
)
class ResultsByChance(Accounts):
    numbers = itertools.count()

    def result(self, entry, balance):
        return balance + next(self.numbers)


@fails(
    "the_same_state",
    "a_snapshot_disturbs_nothing",
    "apply_does_what_apply_batch_does",
    "batches_are_cut_anywhere",
    "the_same_in_another_interpreter",
)
class CountsOverAllMachines(Accounts):
    numbers = itertools.count()

    def __init__(self, disk=None):
        super().__init__(disk)
        self.salt = next(self.numbers)

    def dump(self):
        return {**super().dump(), "salt": self.salt}

    def load(self, state):
        super().load(state)
        self.salt = state["salt"]


@fails("no_clock")
class ExpiresByTheClock(Accounts):
    def apply(self, entry):
        if time.time() > entry.time + 1e12:
            raise CommandError("too late")
        return super().apply(entry)


@fails("no_chance")
class DropsByChance(Accounts):
    def apply(self, entry):
        if random.random() < 1e-300:
            raise CommandError("bad luck")
        return super().apply(entry)


@fails("the_same_in_another_interpreter")
class GoesThroughASet(Accounts):
    def dump(self):
        return {**super().dump(), "names": list(set(self.balances))}


@fails("indexes_have_gaps")
class CountsIndexes(Accounts):
    before = 0

    def apply(self, entry):
        assert self.before in {0, entry.index - 1}, "an entry is missing"
        self.before = entry.index
        return super().apply(entry)


@fails("times_may_be_equal", "a_node_runs_it")
class TimesAreUnique(Accounts):
    before = 0.0

    def apply(self, entry):
        assert entry.time != self.before, "there is such an entry"
        self.before = entry.time
        return super().apply(entry)


@fails("results_stay")
class ReturnsItsOwnList(Accounts):
    def __init__(self, disk=None):
        super().__init__(disk)
        self.history = {}

    def result(self, entry, balance):
        history = self.history.setdefault(entry.data.split()[0], [])
        history.append(balance)
        return history

    def dump(self):
        return {**super().dump(), "history": {name.decode(): list(one) for name, one in self.history.items()}}

    def load(self, state):
        super().load(state)
        self.history = {name.encode(): one for name, one in state["history"].items()}

    def dump_result(self, result):
        return json.dumps(result).encode()

    def load_result(self, data):
        return json.loads(data)


@fails("a_refusal_changes_nothing")
class CountsBeforeItChecks(Accounts):
    def apply(self, entry):
        self.count += 1
        result = super().apply(entry)
        self.count -= 1
        return result


@fails("queries_change_nothing")
class CountsQueries(Accounts):
    def query(self, request):
        self.count += 1
        return super().query(request)


@fails("batches_are_cut_anywhere")
class OneResultForAll(Accounts):
    def apply_batch(self, entries):
        results = super().apply_batch(entries)
        return results if len(results) < 10 else [results[-1]] * len(results)


@fails("apply_does_what_apply_batch_does")
class AppliesOtherwiseAlone(Accounts):
    def apply(self, entry):
        return super().apply(entry) + 1

    def apply_batch(self, entries):
        results = super().apply_batch(entries)
        return [result if isinstance(result, CommandError) else result - 1 for result in results]


@fails("a_refusal_stands_in_its_place")
class RaisesOutOfTheBatch(Accounts):
    def apply_batch(self, entries):
        results = super().apply_batch(entries)
        if len(entries) > 1:
            for result in results:
                if isinstance(result, CommandError):
                    raise result
        return results


# --- snapshots ---------------------------------------------------------------------------------------------------------


@fails("a_snapshot_is_written_forward", "a_node_runs_it")
class RewindsTheSnapshot(Accounts):
    def snapshot(self, out):
        out.write(b"?")
        out.seek(0)
        super().snapshot(out)


@fails("a_snapshot_is_read_forward", "a_node_runs_it")
class RewindsTheSource(Accounts):
    def restore(self, src):
        src.read(1)
        src.seek(0)
        super().restore(src)


@fails("restore_brings_the_state_back", "a_node_runs_it", "restore_replaces_everything")
class ForgetsAField(Accounts):
    def load(self, state):
        super().load({**state, "count": 0})


@fails("a_restored_machine_goes_on_the_same")
class LeavesAFieldOut(Accounts):
    """What is not in the snapshot shows in later results only."""

    applied_here = 0

    def result(self, entry, balance):
        self.applied_here += 1
        return balance + self.applied_here


@fails("restore_replaces_everything")
class RestoreUpdates(Accounts):
    def load(self, state):
        super().load({**state, "balances": {**self.balances, **state["balances"]} if state["count"] else {}})


@fails("the_empty_state_is_a_state")
class NothingToRestore(Accounts):
    def load(self, state):
        if state["count"]:
            super().load(state)


@fails(
    "a_second_snapshot_is_as_whole",
    "a_refusal_changes_nothing",
    "batches_are_cut_anywhere",
    "queries_change_nothing",
    "restore_brings_the_state_back",
    "restore_replaces_everything",
)
class WritesWhatIsNew(Accounts):
    written = False

    def snapshot(self, out):
        if self.written and self.count == self.written:
            out.write(json.dumps({"balances": {}, "count": 0, "latest": 0.0}).encode())
        else:
            self.written = self.count
            super().snapshot(out)


@fails("a_snapshot_disturbs_nothing")
class ASnapshotCounts(Accounts):
    bonus = 0

    def snapshot(self, out):
        super().snapshot(out)
        self.bonus += 1

    def result(self, entry, balance):
        return balance + self.bonus


@fails("a_view_stays_as_it_was", "two_views_are_two")
class AViewIsNoCopy(Frozen):
    def freeze(self):
        return self.dump()


@fails("a_view_is_written_on_another_thread", "a_node_runs_it")
class AViewBelongsToItsThread(Frozen):
    def freeze(self):
        self.thread = threading.get_ident()
        return super().freeze()

    def write_view(self, view, out):
        assert threading.get_ident() == self.thread, "another thread"
        super().write_view(view, out)


@fails("two_views_are_two")
class OneViewForAll(Frozen):
    def freeze(self):
        self.view = super().freeze()
        return self.view

    def write_view(self, view, out):
        super().write_view(self.view, out)


# --- durable machines --------------------------------------------------------------------------------------------------


@fails("an_empty_machine_has_applied_nothing", "a_node_runs_it")
class EmptyIsNone(Durable):
    def applied(self):
        return self.position if self.position[0] else (0, None)


@fails("the_position_is_that_of_the_batch")
class PositionOfTheLastEntry(Durable):
    def position_of(self, batch):
        return (batch.entries[-1].index if len(batch.entries) else batch.last_index, batch.sidecar)


@fails("the_sidecar_comes_back", "a_node_runs_it")
class TheSidecarIsText(Durable):
    def position_of(self, batch):
        return (batch.last_index, batch.sidecar.decode("ascii", "ignore").encode())


@fails("a_batch_without_entries_counts")
class NothingToApply(Durable):
    def apply_durable(self, batch):
        return super().apply_durable(batch) if len(batch.entries) else []


@fails("the_position_outlives_a_restart")
class PositionInMemory(Durable):
    def close(self):
        self.disk.applied = (0, b"")


@fails("the_state_outlives_a_restart", "a_node_runs_it")
class StateInMemory(Durable):
    def close(self):
        self.disk.state = {"balances": {}, "count": 0, "latest": 0.0}


@fails("a_batch_is_durable_on_return")
class CommitsAtClose(Durable):
    def commit(self):
        pass

    def close(self):
        super().commit()


@fails("a_batch_is_one_unit")
class CommitsEachEntry(Durable):
    def applied_batch(self, batch):
        results = []
        for entry in batch.entries:
            try:
                results.append(self.apply(entry))
            except CommandError as refusal:
                results.append(refusal)
            self.commit()
        return results


@fails("a_result_comes_back")
class LoadsTexts(Accounts):
    def load_result(self, data):
        return data.decode()


@fails("a_dumped_result_is_bytes")
class DumpsAByteArray(Accounts):
    def dump_result(self, result):
        return bytearray(super().dump_result(result))


@fails("a_node_runs_it")
class LivesOnOneThread(Accounts):
    def __init__(self, disk=None):
        super().__init__(disk)
        self.thread = threading.get_ident()

    def apply(self, entry):
        assert threading.get_ident() == self.thread, "another thread"
        return super().apply(entry)
