"""Broken snapshot stores."""

from d_engine import SnapshotMeta, StorageError
from support.broken.storage_model import NODES, Model, fails

Snapshots = Model.snapshots


@fails("latest_of_nothing", *NODES)
class LatestIsZero(Snapshots):
    def latest(self):
        return super().latest() or SnapshotMeta(0, 0, b"", 0)


@fails("partial_of_nothing")
class PartialIsZero(Snapshots):
    def partial(self):
        return super().partial() or (SnapshotMeta(0, 0, b"", 0), 0)


@fails("the_beginning_is_written_again")
class WritesOnce(Snapshots):
    class writer(Snapshots.writer):
        def write(self, offset, data):
            super().write(
                offset, self.content[offset : offset + len(data)] + data[max(0, len(self.content) - offset) :]
            )


@fails("content_comes_back")
class KeepsTheLastPiece(Snapshots):
    def commit(self, meta, content):
        super().commit(meta, content[:16] + bytes(max(0, len(content) - 316)) + content[16:][-300:])


@fails("a_large_snapshot")
class OneMebibyte(Snapshots):
    def commit(self, meta, content):
        super().commit(meta, content[: 2**20])


@fails("read_at_an_offset")
class ReadsOnAndOn(Snapshots):
    class reader(Snapshots.reader):
        at = 0

        def read(self, offset, limit):
            found = super().read(self.at, limit)
            self.at += len(found)
            return found


@fails("read_heeds_the_limit", "a_node_goes_on_from_a_snapshot")
class ReadsAtLeastSixteen(Snapshots):
    class reader(Snapshots.reader):
        def read(self, offset, limit):
            return super().read(offset, max(limit, 10))


@fails("read_at_the_end")
class TheEndIsAnError(Snapshots):
    class reader(Snapshots.reader):
        def read(self, offset, limit):
            if offset == len(self.content) and limit == 100:
                raise StorageError("there is no such byte")
            return super().read(offset, limit)


@fails("not_visible_before_commit")
class VisibleAtOnce(Snapshots):
    class writer(Snapshots.writer):
        def write(self, offset, data):
            super().write(offset, data)
            if not self.meta.digest:
                self.store.state.snapshots[self.meta[:2]] = (self.meta, bytes(self.content))

        def end(self):
            super().end()
            self.store.state.snapshots.pop(self.meta[:2], None)


@fails("commit_brings_the_meta")
class KeepsTheMetaOfCreate(Snapshots):
    class writer(Snapshots.writer):
        def commit(self, meta):
            super().commit(self.meta if not self.meta.digest else meta)


@fails("older_never_over_newer")
class TheLastOneIsTheLatest(Snapshots):
    newest = None

    def commit(self, meta, content):
        super().commit(meta, content)
        self.newest = meta

    def latest(self):
        return self.newest if self.newest and self.newest[:2] in self.state.snapshots else super().latest()


@fails("open_gives_the_one_asked_for")
class OpensTheLatest(Snapshots):
    def find(self, meta):
        found = super().find(meta)
        return super().find(self.latest()) or found


@fails("abort_forgets")
class AbortCommits(Snapshots):
    class writer(Snapshots.writer):
        def abort(self):
            super().abort()
            if self.meta.index == 5:
                self.store.commit(self.meta, self.content)


@fails("abort_keeps_the_others")
class AbortClears(Snapshots):
    class writer(Snapshots.writer):
        def abort(self):
            super().abort()
            self.store.state.snapshots.clear()


@fails("an_abandoned_one_is_dropped")
class GoesOnWithWhatWasAbandoned(Snapshots):
    left = None

    def create(self, meta):
        writer = super().create(meta)
        if not meta.digest:
            self.left = writer.content = self.left if self.left is not None else writer.content
        return writer

    class writer(Snapshots.writer):
        def end(self):
            super().end()
            self.store.left = None


@fails("retain_drops_the_old")
class RetainsAll(Snapshots):
    def retain(self, count):
        pass


@fails("retain_keeps_the_newest")
class RetainsTheOldest(Snapshots):
    def retain(self, count):
        if len(self.state.snapshots) > 2:
            for key in sorted(self.state.snapshots)[count:]:
                del self.state.snapshots[key]
        else:
            super().retain(count)


@fails("a_reader_outlives_retain")
class ReadersHoldNothing(Snapshots):
    def open(self, meta):
        reader = super().open(meta)
        reader.meta = meta
        return reader

    class reader(Snapshots.reader):
        def read(self, offset, limit):
            self.store.find(self.meta)
            return super().read(offset, limit)


@fails("reading_while_another_is_written")
class OneAtATime(Snapshots):
    def open(self, meta):
        self.reading = super().open(meta)
        return self.reading

    def create(self, meta):
        writer = super().create(meta)
        if getattr(self, "reading", None) is not None and meta.index == 9:
            self.reading.content = writer.content
        return writer

    class writer(Snapshots.writer):
        def commit(self, meta):
            self.content = bytes(self.content)
            if getattr(self.store, "reading", None) is not None:
                self.store.reading.content = self.store.state.snapshots.get((5, 1), (None, b""))[1]
            super().commit(meta)


@fails("partial_tells_what_is_there")
class PartialTellsTheWholeLength(Snapshots):
    def partial(self):
        found = super().partial()
        return found and (found[0], found[0].size)


@fails("partial_is_about_received_ones")
class EverythingIsPartial(Snapshots):
    mine = None

    def create(self, meta):
        writer = super().create(meta)
        if not meta.digest:
            self.mine = writer
        return writer

    def partial(self):
        return super().partial() or (self.mine and (self.mine.meta, len(self.mine.content)))

    class writer(Snapshots.writer):
        def end(self):
            super().end()
            self.store.mine = None


@fails("a_received_one_goes_on")
class BeginsAgainEachTime(Snapshots):
    def goes_on(self, meta):
        return False


@fails("a_received_one_may_begin_again")
class AppendsToWhatIsThere(Snapshots):
    class writer(Snapshots.writer):
        def __init__(self, store, meta, content):
            super().__init__(store, meta, content)
            self.begin = len(content)

        def write(self, offset, data):
            if offset < self.begin or (self.begin and offset == 50):
                offset += self.begin
            super().write(offset, data)


@fails("another_received_one_takes_its_place")
class TheFirstReceivedOneStays(Snapshots):
    def create(self, meta):
        held = self.state.partial
        writer = super().create(meta)
        if held is not None:
            self.state.partial = held
        return writer


@fails("a_committed_one_is_not_partial")
class PartialAfterCommit(Snapshots):
    class writer(Snapshots.writer):
        def commit(self, meta):
            held = self.store.state.partial
            super().commit(meta)
            if self.meta.digest:
                self.store.state.partial = held


@fails("an_aborted_one_is_not_partial")
class PartialAfterAbort(Snapshots):
    class writer(Snapshots.writer):
        def abort(self):
            pass


class Late(Model):
    """Writes snapshots at close."""

    def sync(self, what):
        if what == "commit":
            return
        super().sync(what)


@fails("snapshots_outlive_a_restart", "a_node_goes_on_from_a_snapshot")
class SnapshotsInMemory(Model):
    def sync(self, what):
        if what == "close":
            self.state.snapshots = {}
        super().sync(what)


@fails("commit_is_durable_on_return")
class CommitIsWrittenAtClose(Late):
    pass


@fails("a_kill_leaves_no_half_of_one")
class WritesUnderItsName(Model):
    class snapshots(Snapshots):
        class writer(Snapshots.writer):
            def write(self, offset, data):
                super().write(offset, data)
                if not self.meta.digest:
                    self.store.storage.disk.state.snapshots[self.meta[:2]] = (self.meta, bytes(self.content))
