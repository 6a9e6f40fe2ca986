"""Broken logs: what they do while they are open."""

from d_engine import LogBounds, LogId, Record, StorageError
from support.broken.storage_model import NODES, Model, fails


@fails("a_node_accepts_it", "retain_drops_the_old", "retain_keeps_the_newest", "a_reader_outlives_retain", *NODES)
class RetainTakesNoCount(Model):
    class snapshots(Model.snapshots):
        def retain(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            pass


@fails("bounds_of_an_empty_log", *NODES)
class AnEmptyLogHasATerm(Model):
    def last(self):
        return super().last() if self.bounds_known() else LogId(0, 1)

    def bounds_known(self):
        return self.state.records or self.state.purged.index


@fails("bounds_end_at_the_last_record")
class BoundsAreNotComputedAnew(Model):
    known = None

    def last(self):
        if self.known is None:
            self.known = super().last()
        return self.known

    def sync(self, what):
        if what != "append" or len(self.state.records) != 2:
            self.known = None
        super().sync(what)


@fails("read_gives_what_was_appended", "a_node_runs_on_it")
class NewestFirst(Model):
    def read(self, start, stop, max_bytes):
        return super().read(start, stop, max_bytes)[::-1]


@fails("read_gives_a_sequence")
class ReadIsLazy(Model):
    def read(self, start, stop, max_bytes):  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(super().read(start, stop, max_bytes))


@fails("read_begins_at_start")
class ReadsFromItsBeginning(Model):
    def span(self, start, stop):
        super().span(start, stop)
        return super().span(self.state.purged.index + 1, stop)


@fails("read_ends_before_stop", "a_node_runs_on_it", "a_node_goes_on_from_a_snapshot")
class ReadsStopAsWell(Model):
    def span(self, start, stop):
        return super().span(start, min(stop + 1, self.last().index + 1) if stop <= self.last().index + 1 else stop)


@fails(
    "read_of_one_record",
    "append_after_truncation",
    "purge_again",
    "purge_of_what_was_purged",
    "append_after_reset_to_an_earlier_position",
    "every_append_is_durable_on_return",
    "a_node_goes_on_from_a_snapshot",
)
class OneIsNoRange(Model):
    def read(self, start, stop, max_bytes):
        return [] if stop - start == 1 else super().read(start, stop, max_bytes)


@fails("read_heeds_max_bytes")
class ReadsEverything(Model):
    def cut(self, records, max_bytes):
        return records


@fails("read_gives_at_least_one")
class ReadsNothingLarge(Model):
    def cut(self, records, max_bytes):
        found = super().cut(records, max_bytes)
        return found if sum(len(record.data) for record in found) <= max_bytes else []


@fails("read_leaves_no_gap")
class SkipsWhatIsLarge(Model):
    def cut(self, records, max_bytes):
        found = []
        for record in records:
            if not found or sum(len(one.data) for one in found) + len(record.data) <= max_bytes:
                found.append(record)
        return found


@fails("read_is_cut_by_bytes_alone")
class SixtyFourAtATime(Model):
    def cut(self, records, max_bytes):
        return super().cut(records[:64], max_bytes)


@fails("read_invents_nothing", "truncation_drops_what_follows", "append_after_reset_to_an_earlier_position")
class ReadsWhatIsNearest(Model):
    def span(self, start, stop):
        if start > self.last().index:
            return self.state.records[-1:]
        return super().span(start, stop)


@fails("what_was_read_stays")
class GivesItsOwnList(Model):
    def read(self, start, stop, max_bytes):
        found = super().read(start, stop, max_bytes)
        return self.state.records if len(found) == len(self.state.records) else found


@fails("append_copies_its_list")
class KeepsTheCallersList(Model):
    def insert(self, records):
        if self.state.records:
            super().insert(records)
        else:
            self.state.records = self.given
            self.given = None

    def append(self, records, *, truncate_from):
        self.given = records
        super().append(records, truncate_from=truncate_from)


@fails("data_comes_back_byte_for_byte", "a_node_runs_on_it")
class StripsZeros(Model):
    def stored(self, record):
        return record._replace(data=record.data.rstrip(b"\0") if record.data[64:].strip(b"\0") else record.data)


@fails("a_record_without_payload")
class HeadersAlonePayNothing(Model):
    def stored(self, record):
        return record if len(record.data) > 64 else record._replace(data=b"")


@fails("a_large_record")
class SixtyFourKibibytes(Model):
    def stored(self, record):
        return record._replace(data=record.data[:65536])


@fails("a_large_batch")
class AThousandOfABatch(Model):
    def taken(self, records):
        return list(records)[:1000]


@fails("terms_within_a_batch")
class OneTermABatch(Model):
    def taken(self, records):
        records = list(records)
        return [record._replace(term=records[0].term) for record in records]


@fails("append_of_nothing")
class LooksAtTheFirst(Model):
    def append(self, records, *, truncate_from):
        if truncate_from is None and records[0].index != self.last().index + 1:
            raise StorageError("a gap")
        super().append(records, truncate_from=truncate_from)


@fails("truncation_drops_what_follows", "append_after_truncation")
class OverwritesWithoutDeleting(Model):
    def append(self, records, *, truncate_from):
        records = self.taken(records)
        if truncate_from is not None and records and self.last().index > records[-1].index:
            behind = self.span(records[-1].index + 1, self.last().index + 1)
            records = [*records, *behind]
        super().append(records, truncate_from=truncate_from)


@fails("truncation_keeps_what_precedes")
class TruncatesOneTooMany(Model):
    def truncate(self, index):
        before = self.state.purged.index + len(self.state.records)
        super().truncate(index)
        if self.state.records and index <= before:
            self.state.records[-1] = Record(*self.state.records[-1][:2], b"lost")


@fails("truncation_replaces")
class InsertOrIgnore(Model):
    def append(self, records, *, truncate_from):
        if truncate_from is not None and records:
            held = {record.index: record for record in self.state.records}
            records = [held.get(record.index, record) for record in records]
        super().append(records, truncate_from=truncate_from)


@fails(
    "truncation_alone", "truncation_of_everything", "truncation_back_to_the_purge", "truncation_is_durable_on_return"
)
class NothingToAppendNothingToDo(Model):
    def append(self, records, *, truncate_from):
        if records:
            super().append(records, truncate_from=truncate_from)


@fails("truncation_of_everything")
class OneIsNothingToTruncate(Model):
    def truncate(self, index):
        if index > 1:
            super().truncate(index)


@fails("truncation_behind_the_end")
class NothingToDeleteIsAnError(Model):
    def truncate(self, index):
        if index > self.last().index:
            raise StorageError("there is no such record")
        super().truncate(index)


@fails("append_after_truncation", "append_after_reset_to_an_earlier_position")
class RemembersItsOldEnd(Model):
    end = 0

    def insert(self, records):
        if records and records[0].index <= self.end and not self.truncating:
            raise StorageError("there is such a record")
        super().insert(records)
        self.end = max(self.end, self.last().index)

    def append(self, records, *, truncate_from):
        self.truncating = truncate_from is not None
        super().append(records, truncate_from=truncate_from)


# --- purge -------------------------------------------------------------------------------------------------------------


@fails("purge_keeps_the_position")
class PurgedWithoutTerm(Model):
    def drop(self, upto):
        super().drop(upto._replace(term=1))


@fails("purge_keeps_what_follows")
class PurgesOneTooMany(Model):
    def drop(self, upto):
        super().drop(upto)
        if self.state.records:
            self.state.records[0] = Record(*self.state.records[0][:2], b"lost")


@fails("purge_drops_what_precedes")
class PurgesNothing(Model):
    old = ()

    def drop(self, upto):
        self.old = list(self.state.records)
        super().drop(upto)

    def span(self, start, stop):
        if start <= self.state.purged.index:
            return [record for record in self.old if start <= record.index < stop]
        return super().span(start, stop)


@fails(
    "purge_of_everything",
    "truncation_back_to_the_purge",
    "purge_beyond_the_end_resets",
    "purge_of_another_term_resets",
    "purge_of_an_empty_log_resets",
)
class EmptyIsZero(Model):
    def bounds(self):
        purged, last = super().bounds()
        return LogBounds(purged, last if self.state.records or not purged.index else LogId(0, 0))

    def reset(self, upto):
        super().reset(upto)


@fails("append_after_purge_of_everything", "a_node_goes_on_from_a_snapshot")
class CountsFromOneAgain(Model):
    emptied = False

    def drop(self, upto):
        super().drop(upto)
        self.emptied = not self.state.records

    def insert(self, records):
        if self.emptied and records and records[0].index != 1:
            raise StorageError("the first record has index 1")
        super().insert(records)


@fails("truncation_back_to_the_purge")
class TruncationForgetsThePurge(Model):
    def truncate(self, index):
        super().truncate(index)
        if not self.state.records:
            self.state.purged = LogId(0, 0)


@fails("purge_again")
class PurgeAgainResets(Model):
    def purge(self, upto):
        if upto == self.state.purged and upto.index:
            self.reset(upto)
        super().purge(upto)


@fails("purge_of_what_was_purged")
class PurgeGoesBack(Model):
    def purge(self, upto):
        if upto.index < self.state.purged.index:
            self.reset(upto)
        super().purge(upto)


@fails("purge_beyond_the_end_resets", "append_after_reset")
class PurgesWhatThereIs(Model):
    def purge(self, upto):
        last = self.last()
        super().purge(last if upto.index > last.index and self.state.records else upto)


@fails("purge_of_another_term_resets", "append_after_reset_to_an_earlier_position")
class TermsDoNotMatter(Model):
    def has(self, upto):
        return 0 < upto.index - self.state.purged.index <= len(self.state.records)


@fails("purge_of_an_empty_log_resets", "large_indexes_and_terms")
class NothingToPurge(Model):
    def purge(self, upto):
        if self.state.records:
            super().purge(upto)


@fails("append_after_reset")
class ResetKeepsTheEnd(Model):
    end = None

    def reset(self, upto):
        if self.state.records and upto.index > self.last().index:
            self.end = self.last().index
        super().reset(upto)

    def insert(self, records):
        if self.end is not None and records and records[0].index != self.end + 1:
            raise StorageError("a gap")
        super().insert(records)


@fails("append_after_reset_to_an_earlier_position")
class OldEndComesBack(Model):
    old = ()

    def reset(self, upto):
        self.old = [record for record in self.state.records if record.index > upto.index + 1]
        super().reset(upto)

    def insert(self, records):
        super().insert(records)
        if self.old and records and records[-1].index + 1 == self.old[0].index:
            self.state.records.extend(self.old)


@fails("large_indexes_and_terms")
class IndexesAreFloats(Model):
    def last(self):
        index, term = super().last()
        return LogId(int(float(index)), int(float(term)))
