"""When snapshots are made, what is purged, and how a node closes. The twin of `rust/node/tests/driver_policy.rs`."""

from d_engine import pure
from d_engine.pure import LogId
from d_engine.pure import driver as d
from support.driver_script import SETTINGS, World, entries, proposed


def applied(index, size):
    return d.Applied(LogId(3, index), size)


def taken(index):
    return d.SnapshotTaken(LogId(3, index))


def test_snapshots_are_made_by_number_and_never_two_at_once():
    world = World(1)
    world.handle(applied(9, 1))
    assert world.said() == []
    world.handle(applied(10, 1))
    world.handle(applied(30, 1))
    assert world.said() == ["take a snapshot"]
    # Demanded while one is made: that one may be too old, so another follows it.
    world.handle(d.Snapshot("s"))
    world.handle(taken(10))
    assert world.said() == ["take a snapshot"]
    assert world.inputs() == ["taken 10@3", "purge 8"]
    world.handle(taken(30))
    assert world.said() == ["snapshot s: 30"]
    world.handle(d.Snapshot("t"))
    assert world.said() == ["snapshot t: 30"], "nothing new to keep"
    world.handle(applied(45, 1))
    world.handle(d.Snapshot("u"))
    world.handle(d.SnapshotFailed())
    assert world.said() == ["take a snapshot", "take a snapshot"]
    world.handle(d.SnapshotFailed())
    world.handle(applied(46, 1))
    assert world.said() == ["snapshot u: snapshot_failed"], "and not again at once"


def test_snapshots_are_made_by_size():
    world = World(1, SETTINGS._replace(snapshot_every_entries=0, snapshot_every_bytes=1_000))
    world.handle(applied(100, 999))
    assert world.said() == []
    world.handle(applied(101, 1))
    assert world.said() == ["take a snapshot"]
    world.handle(taken(101))
    world.handle(applied(102, 999))
    assert world.said() == []
    world.handle(applied(103, 1))
    assert world.said() == ["take a snapshot"]


def test_an_older_snapshot_is_never_the_newest():
    world = World(1)
    world.handle(applied(10, 1))
    world.feed(pure.Restore(LogId(3, 40)))
    world.said()
    # The one that was being made when a leader's came ends late.
    world.handle(taken(10))
    world.handle(d.Snapshot("s", None, 40))
    assert world.said() == ["snapshot s: 40"]
    assert world.inputs() == ["taken 10@3"], "nothing to purge"


def test_what_is_applied_while_a_snapshot_is_made_counts_for_the_next():
    world = World(1)
    world.handle(applied(10, 1))
    world.handle(applied(25, 1))
    assert world.said() == ["take a snapshot"]
    world.handle(taken(11))
    assert world.said() == ["take a snapshot"], "although nothing more may be applied for long"


def test_a_transfer_keeps_the_log_that_its_follower_will_need():
    world = World(1)
    world.handle(applied(10, 1))
    world.handle(taken(10))
    world.feed(pure.SendSnapshot(2, 8))
    world.handle(applied(20, 100))
    world.handle(taken(20))
    assert world.inputs() == ["taken 10@3", "purge 8", "taken 20@3", "purge 10"]
    # Delivered, and behind: it still needs what follows the snapshot.
    world.script.match[2] = 10
    world.handle(d.SnapshotSent(2, 10))
    assert world.inputs() == []
    world.script.match[2] = 19
    world.handle(applied(30, 100))
    world.handle(taken(30))
    assert world.inputs() == ["taken 30@3"]
    world.script.match[2] = 29
    world.handle(applied(40, 100))
    world.handle(taken(40))
    assert world.inputs() == ["taken 40@3"], "29 is behind 38 still"
    world.now += 10_000
    world.handle(applied(50, 100))
    world.handle(taken(50))
    assert world.inputs() == ["taken 50@3", "purge 48"], "not for ever"


def test_what_a_transfer_kept_goes_when_its_grace_ends_though_nothing_else_happens():
    world = World(1)
    world.handle(applied(10, 1))
    world.handle(taken(10))
    world.feed(pure.SendSnapshot(2, 8))
    world.handle(applied(20, 100))
    world.handle(taken(20))
    world.script.match[2] = 10
    world.handle(d.SnapshotSent(2, 10))
    assert world.inputs() == ["taken 10@3", "purge 8", "taken 20@3", "purge 10"]
    due = world.now + 10_000
    assert world.driver.deadline() == due
    world.now = due
    world.flush()
    assert world.inputs() == ["purge 18"]
    assert world.driver.deadline() is None


def test_a_transfer_that_takes_too_long_keeps_nothing():
    world = World(1)
    world.handle(applied(10, 1))
    world.handle(taken(10))
    world.feed(pure.SendSnapshot(2, 8))
    world.handle(applied(20, 1_001))
    world.handle(taken(20))
    assert world.inputs()[-1] == "purge 18"


def test_a_close_drains_and_refuses():
    world = World(1)
    world.propose("a", 1)
    world.prepare(proposed(1, 1, 3))
    world.flush()
    world.inputs()
    world.handle(d.Close(handover=True, drain_until=world.now + 1_000))
    world.propose("b", 1)
    world.read("r", 5_000)
    world.flush()
    assert world.said() == ["b: closed", "r: closed"]
    assert world.inputs() == [], "a is under way"
    world.feed(pure.Apply(entries(1, 1, 3)))
    world.prepare(pure.Closed())
    world.flush()
    assert world.inputs() == ["close True"]
    assert world.said() == ["apply 1 [0..1 a]", "closed"]
    assert world.driver.closed


def test_a_close_waits_no_longer_than_it_may():
    world = World(2)
    world.propose("a", 1)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.inputs()
    world.handle(d.Close(handover=False, drain_until=world.now + 1_000))
    world.flush()
    assert world.driver.deadline() == world.now + 1_000
    world.now += 1_000
    world.prepare(pure.Closed())
    world.flush()
    assert world.inputs() == ["close False"]
    assert world.said() == [f"a: {d.Unknown('closed', None)}", "closed"]
