"""What outlives a restart and a crash, and the hard state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from d_engine.plugins import HardState, LogId, Record

from ._case import case, equal, fail, holds, shown
from ._storage_bench import Bench, StorageFace, on_thread, record, records

__all__ = ["DurableCases", "MetaCases"]

_ON_RETURN = (
    "Commit, flush and sync before you return: the acknowledgement leaves the node because your method has returned."
)


class MetaCases(StorageFace):
    """The hard state, and that it and the log leave each other alone."""

    @case("Return None as long as save was never called.")
    def test_load_of_nothing(self, bench: Bench) -> None:
        """Load gives None where nothing was saved."""
        equal("load() of an empty storage", bench.meta.load(), None)

    @case("Let load see what save has stored: invalidate what you cache.")
    def test_load_gives_what_was_saved(self, bench: Bench) -> None:
        """Load gives the state that was saved, term and vote together."""
        bench.meta.load()
        bench.meta.save(HardState(3, 2))
        equal("load() after save(HardState(3, 2))", bench.meta.load(), HardState(3, 2))

    @case("Update the row that is there: INSERT OR IGNORE would keep the old one.")
    def test_save_replaces(self, bench: Bench) -> None:
        """Save replaces what was saved before."""
        bench.meta.save(HardState(3, 2))
        bench.meta.save(HardState(5, 3))
        equal("load() after saving (3, 2) and (5, 3)", bench.meta.load(), HardState(5, 3))

    @case("Store that there is no vote: a vote left over from another term would be cast twice.")
    def test_a_new_term_has_no_vote(self, bench: Bench) -> None:
        """A vote of None replaces the vote of the term before."""
        bench.meta.save(HardState(3, 2))
        bench.meta.save(HardState(4, None))
        equal("load() after saving (3, 2) and (4, None)", bench.meta.load(), HardState(4, None))

    @case("Write the pair whenever save is called, not only when the term is new.")
    def test_a_vote_in_the_same_term(self, bench: Bench) -> None:
        """A vote in a term that was saved without one is saved, too."""
        bench.meta.save(HardState(4, None))
        bench.meta.save(HardState(4, 3))
        equal("load() after saving (4, None) and (4, 3)", bench.meta.load(), HardState(4, 3))

    @case("Use integers of 64 bits; no floats, no 32 bits.")
    def test_large_hard_state(self, bench: Bench) -> None:
        """Term and vote are integers of 64 bits."""
        state = HardState(2**53 + 1, 2**62 + 1)
        bench.meta.save(state)
        equal("load()", bench.meta.load(), state)

    @case("Keep log and hard state apart: separate tables, keys or files.")
    def test_the_log_leaves_the_hard_state_alone(self, bench: Bench) -> None:
        """Append, truncation, purge and reset leave the hard state as it is."""
        bench.meta.save(HardState(4, 2))
        bench.fill(5)
        bench.log.append([], truncate_from=4)
        bench.log.purge(LogId(2, 1))
        bench.log.purge(LogId(9, 4))
        equal("load() after append, truncation, purge and reset", bench.meta.load(), HardState(4, 2))

    @case("Keep log and hard state apart: separate tables, keys or files.")
    def test_save_leaves_the_log_alone(self, bench: Bench) -> None:
        """Save leaves the log as it is."""
        bench.fill(3)
        bench.meta.save(HardState(7, None))
        bench.holds(records(1, 3), "after save(HardState(7, None))")

    @case(
        "Allow calls from other threads than the one of open (sqlite3: check_same_thread=False); they come one at a time."
    )
    def test_calls_from_other_threads(self, bench: Bench) -> None:
        """Log and hard state are called from several threads, one call at a time."""
        log, meta = bench.log, bench.meta
        on_thread(lambda: log.append(records(1, 3), truncate_from=None))
        on_thread(lambda: meta.save(HardState(2, 1)))
        bench.gives(records(1, 3), sorted(on_thread(lambda: log.read(1, 4, 10**6))), "read(1, 4, …) on a third thread")
        equal("load() on a fourth thread", on_thread(meta.load), HardState(2, 1))


class _Exploding(Sequence[Record]):
    """Records that end in an exception half-way: what a kill in the middle of append would look like from inside."""

    def __init__(self, held: Sequence[Record], good: int) -> None:
        self._held, self._good = held, good

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self._held)))]
        if at >= self._good:
            raise InterruptedError("the case interrupts append here")
        return self._held[at]

    def __iter__(self) -> Iterator[Record]:
        return (self[at] for at in range(len(self._held)))


class DurableCases(StorageFace):
    """What is found after a restart, and after a kill."""

    @case("Write the log to `path`, and read it from there in open or later.")
    def test_records_outlive_a_restart(self, bench: Bench) -> None:
        """Records are there after close and another open."""
        bench.fill(5)
        bench.reopen()
        bench.holds(records(1, 5), "after a restart")

    @case("Write the hard state to `path`, too: a vote that is forgotten is cast twice.")
    def test_the_hard_state_outlives_a_restart(self, bench: Bench) -> None:
        """Term and vote are there after close and another open."""
        bench.meta.save(HardState(6, 3))
        bench.reopen()
        equal("load() after a restart", bench.meta.load(), HardState(6, 3))

    @case("Store (index, term) of what was purged; it cannot be told from the records that are left.")
    def test_the_purge_outlives_a_restart(self, bench: Bench) -> None:
        """bounds().purged is there after close and another open, with its term."""
        bench.fill(5, term=2)
        bench.log.purge(LogId(5, 2))
        before = bench.bounds()
        bench.reopen()
        equal("bounds() after purge((5, 2)) and a restart", bench.bounds(), before)

    @case("Make the truncation part of what is stored; replaying appended records must not bring old ones back.")
    def test_a_truncation_outlives_a_restart(self, bench: Bench) -> None:
        """What was truncated does not come back after close and another open."""
        bench.fill(6)
        bench.log.append([record(3, 2)], truncate_from=3)
        before = bench.bounds()
        bench.reopen()
        equal("bounds() after append([record 3], truncate_from=3) and a restart", bench.bounds(), before)

    @case("Store the reset as a whole: what was before it must not come back.")
    def test_a_reset_outlives_a_restart(self, bench: Bench) -> None:
        """After a reset, close and another open the log is still the one that was reset."""
        bench.fill(6)
        bench.log.purge(LogId(20, 7))
        before = bench.bounds()
        bench.reopen()
        equal("bounds() after purge((20, 7)) and a restart", bench.bounds(), before)

    @case(_ON_RETURN)
    def test_append_is_durable_on_return(self, bench: Bench) -> None:
        """What append was given survives a kill right after it has returned."""
        bench.fill(5)
        bench.crashed().holds(records(1, 5), "after append and a kill")

    @case(_ON_RETURN + " A second append is no different from the first.")
    def test_every_append_is_durable_on_return(self, bench: Bench) -> None:
        """Each append is durable on return, not only every other one."""
        for last in (1, 2, 3, 4):
            bench.log.append([record(last)], truncate_from=None)
            bench.crashed().holds(records(1, last), f"after append number {last} and a kill")

    @case(_ON_RETURN + " That goes for calls without records as well.")
    def test_truncation_is_durable_on_return(self, bench: Bench) -> None:
        """A truncation survives a kill right after append has returned."""
        bench.fill(5)
        bench.log.append([], truncate_from=3)
        found = bench.crashed().bounds()
        equal("bounds().last after append([], truncate_from=3) and a kill", found.last, (2, 1))

    @case(_ON_RETURN)
    def test_purge_is_durable_on_return(self, bench: Bench) -> None:
        """A purge survives a kill right after it has returned."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        equal("bounds() after purge((3, 1)) and a kill", bench.crashed().bounds(), bench.bounds())

    @case(_ON_RETURN)
    def test_reset_is_durable_on_return(self, bench: Bench) -> None:
        """A reset survives a kill right after purge has returned."""
        bench.fill(5)
        bench.log.purge(LogId(9, 4))
        equal("bounds() after purge((9, 4)) and a kill", bench.crashed().bounds(), bench.bounds())

    @case(_ON_RETURN + " A vote that is lost is cast twice, and two leaders of one term are the end of all promises.")
    def test_save_is_durable_on_return(self, bench: Bench) -> None:
        """Term and vote survive a kill right after save has returned."""
        bench.meta.save(HardState(4, 2))
        equal("load() after save(HardState(4, 2)) and a kill", bench.crashed().meta.load(), HardState(4, 2))

    @case("Truncate and append in one transaction, or write the new records before anything old goes.")
    def test_append_is_one_unit(self, bench: Bench) -> None:
        """An append that is interrupted has truncated and appended everything, or nothing."""
        bench.needs_durable()
        bench.fill(5)
        bench.reopen()
        new = records(3, 8, 2)
        try:
            bench.log.append(_Exploding(new, 3), truncate_from=3)
        except Exception:  # noqa: BLE001 (the interruption itself, however it is wrapped)
            left = bench.crashed()
            found = [one[:2] for one in left.read(1, left.bounds().last.index)]
            old = [one[:2] for one in records(1, 5)]
            whole = [*old[:2], *(one[:2] for one in new)]
            holds(found in (old, whole), f"after an interruption: {old}, or {whole}", shown(found))
        else:
            fail("an exception of the records reaches the caller of append", "append returned")
