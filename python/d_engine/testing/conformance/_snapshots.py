"""What a snapshot store promises."""

from __future__ import annotations

from d_engine.plugins import SnapshotMeta, SnapshotWriter

from ._case import case, equal, holds, refused, shown
from ._storage_bench import Bench, StorageFace, on_thread

__all__ = ["SnapshotCases"]

_CONTENT = bytes(range(256)) + bytes(range(44))
_LONG = bytes(range(256)) * 10
RECEIVED = SnapshotMeta(7, 3, b"r" * 32, len(_CONTENT))


def local(index: int) -> SnapshotMeta:
    """What a snapshot is called while it is being made here."""
    return SnapshotMeta(index, 1, b"", 0)


def receive(bench: Bench, upto: int, meta: SnapshotMeta = RECEIVED) -> SnapshotWriter:
    """Begins a snapshot that comes from another node, and writes so many bytes of it."""
    writer = bench.snapshots.create(meta)
    writer.write(0, _CONTENT[:upto])
    return writer


def is_the_latest(bench: Bench, when: str, meta: SnapshotMeta) -> None:
    """`latest` must name that one."""
    found = bench.snapshots.latest()
    equal(f"index and term of latest() {when}", found and found[:2], meta[:2])


def not_the_latest(bench: Bench, when: str, index: int) -> None:
    """`latest` must not name that one."""
    found = bench.snapshots.latest()
    holds(found is None or found[0] != index, f"latest() {when} is not the one of index {index}", shown(found))


def not_partial(bench: Bench, when: str, meta: SnapshotMeta) -> None:
    """`partial` must not name that one."""
    found = bench.snapshots.partial()
    holds(found is None or found[0][:2] != meta[:2], f"partial() {when} does not name it", shown(found))


class SnapshotCases(StorageFace):
    """Making, receiving, reading and keeping snapshots. Skipped for a storage without a `snapshot_store`."""

    @case("Return None as long as nothing was committed.")
    def test_latest_of_nothing(self, bench: Bench) -> None:
        """Latest gives None where there is no snapshot."""
        equal("latest() of an empty store", bench.snapshots.latest(), None)

    @case("Return None where nothing was begun.")
    def test_partial_of_nothing(self, bench: Bench) -> None:
        """Partial gives None where nothing is being received."""
        equal("partial() of an empty store", bench.snapshots.partial(), None)

    @case(
        "Write at the offset that is given: at the end the node writes the beginning once more, with digest and size."
    )
    def test_the_beginning_is_written_again(self, bench: Bench) -> None:
        """write(0, …) at the end replaces the beginning, and nothing else."""
        meta = bench.commit(5, _CONTENT)
        equal("the first 16 bytes", bench.content(meta)[:16], _CONTENT[:16])

    @case("Put every piece at its offset, and keep them all.")
    def test_content_comes_back(self, bench: Bench) -> None:
        """A snapshot is read as it was written."""
        meta = bench.commit(5, _LONG)
        equal("the content", bench.content(meta)[16:], _LONG[16:])

    @case("Keep snapshots in something that has room; they are as large as the state.")
    def test_a_large_snapshot(self, bench: Bench) -> None:
        """A snapshot may be large: here 4 MiB, written in pieces."""
        piece = bytes(range(256)) * 1024
        writer = bench.snapshots.create(local(5))
        for number in range(16):
            writer.write(number * len(piece), piece)
        meta = SnapshotMeta(5, 1, b"d" * 32, 16 * len(piece))
        writer.commit(meta)
        equal("its length", len(bench.content(meta, 2**20)), 16 * len(piece))

    @case("Begin to read at `offset`.")
    def test_read_at_an_offset(self, bench: Bench) -> None:
        """read(offset, …) of a snapshot gives the bytes from offset on, in any order of calls."""
        reader = bench.snapshots.open(bench.commit(5, _CONTENT))
        equal("read(100, 10)", reader.read(100, 10), _CONTENT[100:110])
        equal("read(16, 10) after that", reader.read(16, 10), _CONTENT[16:26])

    @case("Cut what you return to `limit` bytes.")
    def test_read_heeds_the_limit(self, bench: Bench) -> None:
        """read(offset, limit) of a snapshot gives at most limit bytes."""
        reader = bench.snapshots.open(bench.commit(5, _CONTENT))
        equal("len(read(100, 7))", len(reader.read(100, 7)), 7)

    @case('Return b"" at the end and behind it; do not raise.')
    def test_read_at_the_end(self, bench: Bench) -> None:
        """Read at the end of a snapshot gives b""."""
        reader = bench.snapshots.open(bench.commit(5, _CONTENT))
        reader.read(0, len(_CONTENT))
        equal(f"read({len(_CONTENT)}, 100)", reader.read(len(_CONTENT), 100), b"")

    @case("Show a snapshot in latest only once commit was called.")
    def test_not_visible_before_commit(self, bench: Bench) -> None:
        """A snapshot is not the latest before it is committed."""
        writer = bench.snapshots.create(local(5))
        writer.write(0, _CONTENT)
        not_the_latest(bench, "before commit", 5)
        writer.abort()

    @case("Keep the meta that commit was given, and forget the one of create.")
    def test_commit_brings_the_meta(self, bench: Bench) -> None:
        """Latest gives the meta of commit: with digest and size."""
        meta = bench.commit(5, _CONTENT)
        equal("latest() after commit", bench.snapshots.latest(), meta)

    @case("Order by index, not by the time of the commit.")
    def test_older_never_over_newer(self, bench: Bench) -> None:
        """A snapshot of an earlier index that is committed later does not become the latest."""
        newer = bench.commit(9, _CONTENT)
        bench.commit(5, b"12345678 older")
        is_the_latest(bench, "after committing 9 and then 5", newer)

    @case("Look for index and term of the meta that open is given.")
    def test_open_gives_the_one_asked_for(self, bench: Bench) -> None:
        """open(meta) reads that snapshot, not another one."""
        older = bench.commit(5, b"12345678 older")
        bench.commit(9, b"12345678 newer")
        equal("the end of the older one", bench.content(older)[8:], b" older")

    @case("Forget what was written, and nothing else.")
    def test_abort_forgets(self, bench: Bench) -> None:
        """A snapshot that was aborted does not become the latest."""
        writer = bench.snapshots.create(local(5))
        writer.write(0, _CONTENT)
        writer.abort()
        not_the_latest(bench, "after abort", 5)

    @case("Touch only the snapshot that is being written.")
    def test_abort_keeps_the_others(self, bench: Bench) -> None:
        """Abort leaves committed snapshots alone."""
        meta = bench.commit(5, _CONTENT)
        writer = bench.snapshots.create(local(9))
        writer.write(0, b"gone")
        writer.abort()
        is_the_latest(bench, "after another one was aborted", meta)

    @case("Let create begin with an empty file where the meta has no digest.")
    def test_an_abandoned_one_is_dropped(self, bench: Bench) -> None:
        """Create without a digest begins anew: what was begun before and not committed is dropped."""
        bench.snapshots.create(local(5)).write(0, b"abandoned " * 1000)
        meta = bench.commit(5, b"12345678 short")
        equal("the content of the second", bench.content(meta)[8:], b" short")

    @case("Drop older ones: nothing else calls for their space.")
    def test_retain_drops_the_old(self, bench: Bench) -> None:
        """retain(1) drops all but one snapshot."""
        older = bench.commit(5, _CONTENT)
        bench.commit(9, _CONTENT)
        bench.snapshots.retain(1)
        refused("reading the older one after retain(1)", lambda: bench.snapshots.open(older).read(0, 1), Exception)

    @case("Keep those with the highest indexes.")
    def test_retain_keeps_the_newest(self, bench: Bench) -> None:
        """retain(1) keeps the newest snapshot."""
        bench.commit(5, b"12345678 five")
        newest = bench.commit(9, b"12345678 nine")
        bench.commit(7, b"12345678 seven")
        bench.snapshots.retain(1)
        is_the_latest(bench, "after retain(1)", newest)
        equal("its content", bench.content(newest)[8:], b" nine")

    @case("Let a reader hold what it reads: an open file, or a reference.")
    def test_a_reader_outlives_retain(self, bench: Bench) -> None:
        """A snapshot stays readable for who has opened it, even if retain lets it go."""
        reader = bench.snapshots.open(bench.commit(5, _CONTENT))
        reader.read(0, 16)
        bench.commit(9, _CONTENT)
        bench.snapshots.retain(1)
        equal("read(16, 10) by who had it open", reader.read(16, 10), _CONTENT[16:26])

    @case("Keep no state in the store that belongs to one reader or writer.")
    def test_reading_while_another_is_written(self, bench: Bench) -> None:
        """A snapshot is read on one thread while another one is written on a second."""
        reader = bench.snapshots.open(bench.commit(5, _CONTENT))
        reader.read(0, 16)
        writer = on_thread(lambda: bench.snapshots.create(local(9)))
        on_thread(lambda: writer.write(0, b"while the other is read"))
        equal("read(16, 10) meanwhile", reader.read(16, 10), _CONTENT[16:26])
        on_thread(writer.abort)

    @case("Remember meta and length of a snapshot whose create had a digest.")
    def test_partial_tells_what_is_there(self, bench: Bench) -> None:
        """Partial gives the meta of the snapshot that is being received, and how many bytes of it are there."""
        receive(bench, 100)
        equal("partial() after 100 bytes", bench.snapshots.partial(), (RECEIVED, 100))

    @case("Leave a snapshot out whose create had no digest: it can be made again, but not continued.")
    def test_partial_is_about_received_ones(self, bench: Bench) -> None:
        """A snapshot that is being made here is not partial."""
        bench.snapshots.create(local(5)).write(0, _CONTENT)
        not_partial(bench, "while it is being made", local(5))

    @case("Open what is there instead of beginning with nothing, where index, term and digest are the same.")
    def test_a_received_one_goes_on(self, bench: Bench) -> None:
        """Create goes on where a received snapshot of the same meta ended."""
        receive(bench, 100)
        writer = bench.snapshots.create(RECEIVED)
        writer.write(100, _CONTENT[100:])
        writer.commit(RECEIVED)
        equal("the content, written in two attempts", bench.content(RECEIVED)[16:], _CONTENT[16:])

    @case("Write at the offset that is given: a node that cannot check what is there begins again at 0.")
    def test_a_received_one_may_begin_again(self, bench: Bench) -> None:
        """A received snapshot that is partly there may be written again from its beginning."""
        receive(bench, 100)
        writer = bench.snapshots.create(RECEIVED)
        writer.write(0, _CONTENT[:50])
        writer.write(50, _CONTENT[50:])
        writer.commit(RECEIVED)
        equal("the content, written again from 0", bench.content(RECEIVED), _CONTENT)

    @case("Drop the received one that was begun before: there is one transfer at a time.")
    def test_another_received_one_takes_its_place(self, bench: Bench) -> None:
        """Create of another received snapshot drops the one that was begun before."""
        receive(bench, 100)
        other = RECEIVED._replace(index=12, digest=b"s" * 32)
        receive(bench, 10, other)
        found = bench.snapshots.partial()
        equal("partial() after another one has begun", found and found[0], other)

    @case("Forget the partial one in commit.")
    def test_a_committed_one_is_not_partial(self, bench: Bench) -> None:
        """A received snapshot that was committed is the latest, and not partial any more."""
        receive(bench, len(_CONTENT)).commit(RECEIVED)
        not_partial(bench, "after commit", RECEIVED)
        is_the_latest(bench, "after commit", RECEIVED)

    @case("Forget the partial one in abort.")
    def test_an_aborted_one_is_not_partial(self, bench: Bench) -> None:
        """A received snapshot that was aborted is not partial any more."""
        receive(bench, 100).abort()
        not_partial(bench, "after abort", RECEIVED)

    @case("Write snapshots to `path`, with their meta.")
    def test_snapshots_outlive_a_restart(self, bench: Bench) -> None:
        """A committed snapshot is the latest after close and another open, with digest and size."""
        meta = bench.commit(5, _CONTENT)
        before = bench.snapshots.latest()
        bench.reopen()
        equal("latest() after a restart", bench.snapshots.latest(), before)
        equal("its content from byte 8 on", bench.content(meta)[8:], _CONTENT[8:])

    @case("Sync the file and its directory before commit returns: the log that it replaces is deleted next.")
    def test_commit_is_durable_on_return(self, bench: Bench) -> None:
        """A snapshot survives a kill right after commit has returned."""
        meta = bench.commit(5, _CONTENT)
        left = bench.crashed()
        is_the_latest(left, "after commit and a kill", meta)
        equal("its content from byte 8 on", left.content(meta)[8:], _CONTENT[8:])

    @case("Give a snapshot its name only when it is whole: write to another file, and rename it in commit.")
    def test_a_kill_leaves_no_half_of_one(self, bench: Bench) -> None:
        """A snapshot that was being made when the process was killed is not there afterwards."""
        bench.commit(5, _CONTENT)
        bench.snapshots.create(local(9)).write(0, b"half")
        not_the_latest(bench.crashed(), "after a kill", 9)
