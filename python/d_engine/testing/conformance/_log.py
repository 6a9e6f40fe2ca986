"""What a log store promises while it is open: bounds, read, append, truncation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from d_engine.plugins import LogId

from ._case import case, equal, holds, shown
from ._storage_bench import EVERYTHING, Bench, StorageFace, record, records

__all__ = ["LogCases", "PurgeCases"]


def read_or_refuse(bench: Bench, start: int, stop: int) -> None:
    """Asks for records that are not held: nothing may come."""
    try:
        found = list(bench.log.read(start, stop, EVERYTHING))
    except Exception:  # noqa: BLE001 (any refusal will do)
        return
    holds(
        not found, f"read({start}, {stop}, …) raises, or gives nothing", f"records {shown([one[:2] for one in found])}"
    )


class LogCases(StorageFace):
    """Bounds, read, append and truncation."""

    @case("Start with purged = last = LogId(0, 0): (0, 0) stands before the first entry.")
    def test_bounds_of_an_empty_log(self, bench: Bench) -> None:
        """An empty log has bounds ((0, 0), (0, 0))."""
        equal("bounds() of an empty log", bench.bounds(), (LogId(0, 0), LogId(0, 0)))

    @case("Give index and term of the record with the highest index, and compute it anew after each append.")
    def test_bounds_end_at_the_last_record(self, bench: Bench) -> None:
        """bounds().last is index and term of the record that was appended last."""
        for index, term in ((1, 1), (2, 1), (3, 4)):
            bench.log.append([record(index, term)], truncate_from=None)
            equal(f"bounds() after record {index} of term {term}", bench.bounds(), (LogId(0, 0), LogId(index, term)))

    @case("Return the records ordered by index, for instance with ORDER BY.")
    def test_read_gives_what_was_appended(self, bench: Bench) -> None:
        """read(start, stop, …) gives the records that were appended, in the order of their indexes."""
        bench.fill(5)
        bench.gives(records(1, 5), bench.log.read(1, 6, EVERYTHING), "read(1, 6, …)")

    @case("Return a list: the node reads it when it suits it, and the log may have changed by then.")
    def test_read_gives_a_sequence(self, bench: Bench) -> None:
        """Read gives a sequence, not a generator or cursor that reads later."""
        bench.fill(3)
        found = bench.log.read(1, 4, EVERYTHING)
        holds(isinstance(cast("object", found), Sequence), "a sequence such as a list", shown(found))

    @case("Skip what stands before `start`.")
    def test_read_begins_at_start(self, bench: Bench) -> None:
        """read(start, …) begins with the record at start."""
        bench.fill(6)
        found = bench.log.read(4, 7, EVERYTHING)
        equal("the first index of read(4, 7, …)", min(one[0] for one in found), 4)

    @case("Compare with < stop, not <= stop.")
    def test_read_ends_before_stop(self, bench: Bench) -> None:
        """read(start, stop, …) is half open: the record at stop is not among them."""
        bench.fill(6)
        found = bench.log.read(2, 5, EVERYTHING)
        equal("the last index of read(2, 5, …)", max(one[0] for one in found), 4)

    @case("Treat a range of one like any other.")
    def test_read_of_one_record(self, bench: Bench) -> None:
        """read(k, k + 1, …) gives the one record at k."""
        bench.fill(3)
        bench.gives(records(1, 1), list(bench.log.read(1, 2, EVERYTHING))[:1], "read(1, 2, …)")

    @case("Add up len(record.data), and stop before the record that would exceed max_bytes.")
    def test_read_heeds_max_bytes(self, bench: Bench) -> None:
        """Read gives fewer records where together they would exceed max_bytes."""
        bench.log.append(records(1, 10, size=1000), truncate_from=None)
        limit = 3 * len(record(1, 1, bytes(1000)).data) + 10
        found = bench.log.read(1, 11, limit)
        equal(f"the number of records in read(1, 11, {limit}), 1,064 bytes each", len(list(found)), 3)

    @case("Look at the limit only once a record is in the result.")
    def test_read_gives_at_least_one(self, bench: Bench) -> None:
        """Read gives at least one record, however large it is and however small max_bytes."""
        bench.log.append(records(1, 3, size=1000), truncate_from=None)
        bench.gives(records(1, 1, size=1000), list(bench.log.read(1, 4, 1))[:1], "read(1, 4, 1)")

    @case("Stop at the first record that does not fit; do not go on with smaller ones.")
    def test_read_leaves_no_gap(self, bench: Bench) -> None:
        """What read leaves out for max_bytes it leaves out at the end: there is never a gap."""
        mixed = [record(1), record(2, 1, bytes(5000)), record(3), record(4)]
        bench.log.append(mixed, truncate_from=None)
        found = sorted(one[0] for one in bench.log.read(1, 5, 1000))
        expected = "indexes without a gap from read(1, 5, 1000), with a record of 5,000 bytes at 2"
        holds(found == list(range(1, len(found) + 1)), expected, shown(found))

    @case("Cut by bytes only; fetch in pieces if you like, but until stop is reached.")
    def test_read_is_cut_by_bytes_alone(self, bench: Bench) -> None:
        """Read gives all records of the range, however many, while they stay within max_bytes."""
        bench.fill(700)
        equal("the number of records in read(1, 701, …)", len(list(bench.log.read(1, 701, EVERYTHING))), 700)

    @case("Raise where `start` is not held, instead of giving what comes next to it.")
    def test_read_invents_nothing(self, bench: Bench) -> None:
        """Read of records that are not held raises or gives nothing: never other records."""
        bench.fill(5)
        read_or_refuse(bench, 6, 8)

    @case("Return copies, or rows read anew; not a list that the store goes on using.")
    def test_what_was_read_stays(self, bench: Bench) -> None:
        """The result of read does not change when the log does."""
        bench.fill(3)
        found = bench.log.read(1, 4, EVERYTHING)
        bench.log.append([record(2, 2)], truncate_from=2)
        bench.gives(records(1, 3), sorted(found), "what read(1, 4, …) gave before a truncation")

    @case("Copy the list that append is given.")
    def test_append_copies_its_list(self, bench: Bench) -> None:
        """The list that append was given belongs to the caller, who may change it afterwards."""
        batch = records(1, 3)
        bench.log.append(batch, truncate_from=None)
        batch.clear()
        bench.holds(records(1, 3), "after the caller emptied its list")

    @case("Store data as a blob, never as text, and cut nothing from its end.")
    def test_data_comes_back_byte_for_byte(self, bench: Bench) -> None:
        """Record.data comes back byte for byte: zeros, line ends and invalid UTF-8 included."""
        payloads = (
            bytes(range(256)),
            b"zeros at the end\0\0\0",
            b" \r\n\x1a",
            b"\xff\xfe\x80",
            "ÄÖÜ".encode("latin-1"),
        )
        made = [record(index, 1, payload) for index, payload in enumerate(payloads, 1)]
        bench.log.append(made, truncate_from=None)
        bench.holds(made, "after records of odd bytes")

    @case("Keep every record: a new leader's first one has a header and nothing else.")
    def test_a_record_without_payload(self, bench: Bench) -> None:
        """A record without payload is kept like any other."""
        made = [record(1), record(2, 1, b""), record(3)]
        bench.log.append(made, truncate_from=None)
        bench.holds(made, "after a record without payload at 2")

    @case("Choose a column, field or message that takes entries of 1 MiB and their headers.")
    def test_a_large_record(self, bench: Bench) -> None:
        """A record may have a payload of 1 MiB."""
        large = record(2, 1, b"large record " * (2**20 // 13))
        bench.log.append([record(1), large, record(3)], truncate_from=None)
        bench.holds([record(1), large, record(3)], "after a record of 1 MiB")

    @case("Store all records of the call; more than a thousand come in one when a node is busy.")
    def test_a_large_batch(self, bench: Bench) -> None:
        """Append takes all records of its call, however many."""
        bench.log.append(records(1, 1500), truncate_from=None)
        bench.holds(records(1, 1500), "after one append of 1,500 records")

    @case("Store the term with each record.")
    def test_terms_within_a_batch(self, bench: Bench) -> None:
        """Each record keeps its own term, also where a batch spans several."""
        made = [record(index, term) for index, term in enumerate((1, 1, 2, 5, 5, 9), 1)]
        bench.log.append(made, truncate_from=None)
        bench.holds(made, "after a batch with terms 1, 1, 2, 5, 5, 9")

    @case("Return at once, or commit an empty transaction; do not look at records[0].")
    def test_append_of_nothing(self, bench: Bench) -> None:
        """append([]) changes nothing."""
        bench.log.append([], truncate_from=None)
        equal("bounds().last.index after append([]) on an empty log", bench.bounds().last.index, 0)
        bench.fill(3)
        bench.log.append([], truncate_from=None)
        bench.holds(records(1, 3), "after append([]) on records 1 to 3")

    @case("Delete everything at and behind truncate_from in the transaction that inserts.")
    def test_truncation_drops_what_follows(self, bench: Bench) -> None:
        """append(truncate_from=k) drops everything from k on before it appends."""
        bench.fill(6)
        bench.log.append([record(3, 2)], truncate_from=3)
        equal("bounds().last.index after append([record 3], truncate_from=3) on 1 to 6", bench.bounds().last[0], 3)
        read_or_refuse(bench, 4, 7)

    @case("Delete from truncate_from on, not from one before.")
    def test_truncation_keeps_what_precedes(self, bench: Bench) -> None:
        """append(truncate_from=k) keeps everything before k."""
        bench.fill(5)
        bench.log.append([record(4, 2)], truncate_from=4)
        bench.gives(records(1, 3), bench.read(1, 3), "read(1, 4, …) after truncate_from=4")

    @case("Replace what stands at truncate_from; INSERT OR IGNORE would keep the old record.")
    def test_truncation_replaces(self, bench: Bench) -> None:
        """After a truncation an index holds the new record, with its term and data."""
        bench.fill(5)
        bench.log.append(records(3, 7, 2), truncate_from=3)
        bench.gives(records(3, 7, 2), bench.read(3, 7), "read(3, 8, …) after append(3 to 7 of term 2, truncate_from=3)")

    @case("Truncate before you look whether there are records to append.")
    def test_truncation_alone(self, bench: Bench) -> None:
        """append([], truncate_from=k) truncates, too."""
        bench.fill(5)
        bench.log.append([], truncate_from=4)
        equal("bounds().last after append([], truncate_from=4) on 1 to 5", bench.bounds().last, (3, 1))

    @case("Compare truncate_from with None; do not take 1 for 'nothing to do'.")
    def test_truncation_of_everything(self, bench: Bench) -> None:
        """append([], truncate_from=1) empties a log that was never purged."""
        bench.fill(4)
        bench.log.append([], truncate_from=1)
        equal("bounds().last.index after truncate_from=1", bench.bounds().last.index, 0)

    @case("Deleting nothing is no error.")
    def test_truncation_behind_the_end(self, bench: Bench) -> None:
        """truncate_from just behind the last record drops nothing."""
        bench.fill(3)
        bench.log.append(records(4, 5, 2), truncate_from=4)
        bench.holds([*records(1, 3), *records(4, 5, 2)], "after append(4 to 5, truncate_from=4) on 1 to 3")

    @case("Do not keep a count, a first or a last index that a truncation does not set back.")
    def test_append_after_truncation(self, bench: Bench) -> None:
        """The log goes on where a truncation has left it."""
        bench.fill(5)
        bench.log.append([record(3, 2)], truncate_from=3)
        bench.log.append([record(4, 2)], truncate_from=None)
        equal("bounds().last after append(3, truncate_from=3) and append(4)", bench.bounds().last, (4, 2))
        bench.gives([record(4, 2)], bench.read(4, 4), "read(4, 5, …)")


class PurgeCases(StorageFace):
    """Purge and reset."""

    @case("Store (index, term) of `upto`; the record itself goes.")
    def test_purge_keeps_the_position(self, bench: Bench) -> None:
        """purge(upto) keeps index and term of upto as bounds().purged."""
        bench.fill(5, term=3)
        bench.log.purge(LogId(3, 3))
        equal("bounds().purged after purge((3, 3))", bench.bounds().purged, (3, 3))

    @case("Delete up to upto.index, that one included, and nothing behind it.")
    def test_purge_keeps_what_follows(self, bench: Bench) -> None:
        """purge(upto) keeps the records behind upto, and the end of the log."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        bench.holds(records(4, 5), "after purge((3, 1)) on 1 to 5")

    @case("Delete the records, or at least refuse to read them.")
    def test_purge_drops_what_precedes(self, bench: Bench) -> None:
        """purge(upto) drops the records up to upto."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        read_or_refuse(bench, 1, 3)

    @case("Where no record is left, last is what was purged, not (0, 0).")
    def test_purge_of_everything(self, bench: Bench) -> None:
        """After a purge up to the last record, purged and last are both that position."""
        bench.fill(4)
        bench.log.purge(LogId(4, 1))
        equal("bounds() after purge((4, 1)) on 1 to 4", bench.bounds(), (LogId(4, 1), LogId(4, 1)))

    @case("Take the next index from bounds, not from a count of records.")
    def test_append_after_purge_of_everything(self, bench: Bench) -> None:
        """A log that was purged to its end goes on with the next index."""
        bench.fill(4)
        bench.log.purge(LogId(4, 1))
        bench.log.append(records(5, 6), truncate_from=None)
        equal("bounds() after purge((4, 1)) and append(5 to 6)", bench.bounds(), (LogId(4, 1), LogId(6, 1)))
        bench.gives(records(5, 6), bench.read(5, 6), "read(5, 7, …)")

    @case("Keep what was purged when a truncation leaves no record.")
    def test_truncation_back_to_the_purge(self, bench: Bench) -> None:
        """A truncation of everything that follows a purge leaves purged and last at the purged position."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        bench.log.append([], truncate_from=4)
        equal("bounds() after purge((3, 1)) and truncate_from=4", bench.bounds(), (LogId(3, 1), LogId(3, 1)))

    @case("Compare with what was purged first: that record is not held any more, which must not count as another term.")
    def test_purge_again(self, bench: Bench) -> None:
        """A purge to the position that was purged last changes nothing."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        bench.log.purge(LogId(3, 1))
        equal("bounds() after the second purge((3, 1))", bench.bounds(), (LogId(3, 1), LogId(5, 1)))
        bench.gives(records(5, 5), bench.read(5, 5), "read(5, 6, …) after the second purge((3, 1))")

    @case("Return at once where upto.index is below what was purged.")
    def test_purge_of_what_was_purged(self, bench: Bench) -> None:
        """A purge to a position before the purged one changes nothing."""
        bench.fill(5)
        bench.log.purge(LogId(3, 1))
        bench.log.purge(LogId(1, 1))
        equal("bounds() after purge((3, 1)) and purge((1, 1))", bench.bounds(), (LogId(3, 1), LogId(5, 1)))
        bench.gives(records(5, 5), bench.read(5, 5), "read(5, 6, …) after purge((3, 1)) and purge((1, 1))")

    @case(
        "Where upto is not held, drop everything and store upto as purged: a snapshot has taken the place of the log."
    )
    def test_purge_beyond_the_end_resets(self, bench: Bench) -> None:
        """A purge beyond the last record resets the log: empty, and purged and last are that position."""
        bench.fill(5)
        bench.log.purge(LogId(9, 4))
        equal("bounds() after purge((9, 4)) on 1 to 5", bench.bounds(), (LogId(9, 4), LogId(9, 4)))

    @case("Compare the term of the record at upto.index; where it differs, drop everything.")
    def test_purge_of_another_term_resets(self, bench: Bench) -> None:
        """A purge to a position where the log holds another term resets the log to it."""
        bench.fill(5)
        bench.log.purge(LogId(3, 2))
        equal("bounds() after purge((3, 2)) on 1 to 5 of term 1", bench.bounds(), (LogId(3, 2), LogId(3, 2)))
        read_or_refuse(bench, 4, 6)

    @case("Do not ask whether there are records before you store upto.")
    def test_purge_of_an_empty_log_resets(self, bench: Bench) -> None:
        """A purge of an empty log resets it to that position: a new member begins with a snapshot."""
        bench.log.purge(LogId(10, 3))
        equal("bounds() after purge((10, 3)) on an empty log", bench.bounds(), (LogId(10, 3), LogId(10, 3)))

    @case("Forget the old end of the log when it is reset.")
    def test_append_after_reset(self, bench: Bench) -> None:
        """A log that was reset goes on behind the position that it was reset to."""
        bench.fill(5)
        bench.log.purge(LogId(9, 4))
        bench.log.append(records(10, 12, 5), truncate_from=None)
        equal("bounds() after a reset to (9, 4) and append(10 to 12)", bench.bounds(), (LogId(9, 4), LogId(12, 5)))
        bench.gives(records(10, 12, 5), bench.read(10, 12), "read(10, 13, …)")

    @case("Put the new bounds over the old ones, also where they are lower.")
    def test_append_after_reset_to_an_earlier_position(self, bench: Bench) -> None:
        """A log that was reset to a position inside it goes on there: nothing of its old end comes back."""
        bench.fill(6)
        bench.log.purge(LogId(3, 2))
        bench.log.append([record(4, 2)], truncate_from=None)
        equal("bounds() after a reset to (3, 2) and append(4)", bench.bounds(), (LogId(3, 2), LogId(4, 2)))
        bench.gives([record(4, 2)], bench.read(4, 4), "read(4, 5, …)")
        read_or_refuse(bench, 5, 7)

    @case("Use integers of 64 bits for index and term; no floats, no 32 bits.")
    def test_large_indexes_and_terms(self, bench: Bench) -> None:
        """Indexes and terms are integers of 64 bits."""
        base, term = 2**53, 2**53 + 1
        bench.log.purge(LogId(base, term))
        bench.log.append(records(base + 1, base + 3, term), truncate_from=None)
        equal("bounds().purged", bench.bounds().purged, (base, term))
        bench.holds(records(base + 1, base + 3, term), f"after purge(({base}, {term})) and three records")
