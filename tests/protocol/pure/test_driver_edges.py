"""What is rare: late answers, failures, removal, restarts; and a driver around a real core, of which the digest says everything."""

from d_engine import pure
from d_engine.pure import ChangeError, LogId
from d_engine.pure import driver as d
from d_engine.pure.driver.types import NEVER
from d_engine.pure.entry import command
from support.driver_script import SETTINGS, Script, World, configured, entries, proposed


def test_what_the_core_is_told_besides():
    world = World(1)
    message = pure.Message(2, 7, 1, 3, pure.HeartbeatReply(1, 4, apply_stopped=False))
    configuration = (4, pure.Configuration(()))
    world.handle(d.Receive(message))
    world.handle(d.Persisted(3))
    world.handle(d.Fetched(4, None))
    world.handle(d.SnapshotReceived(2, 3, LogId(3, 9), 5, configuration))
    world.handle(d.PersistFailed(4))
    assert world.script.inputs == [
        pure.Receive(world.now, 0, message),
        pure.Persisted(world.now, 3),
        pure.Fetched(world.now, 4, None),
        pure.SnapshotReceived(world.now, 2, 3, LogId(3, 9), 5, configuration),
        pure.PersistFailed(world.now, 4),
    ]


def test_what_the_core_wants_comes_out_as_it_is():
    world = World(1)
    effects = [
        pure.Persist(1, None, None, None, entries(1, 1, 3)),
        pure.Fetch(1, 2, 3, 4),
        pure.PurgeLog(LogId(3, 1)),
        pure.SendSnapshot(2, 1),
        pure.StorageStalled(stalled=True),
    ]
    world.feed(*effects)
    assert list(map(type, world.out)) == list(map(type, effects)) and world.out == effects


def test_ready_is_who_has_applied_an_entry_of_the_term():
    world = World(1)
    assert not world.driver.ready
    world.handle(d.Applied(LogId(3, 1), 1))
    assert world.driver.ready
    world.script.leader = None
    assert not world.driver.ready
    assert world.driver.position() == ("follower", 3, None)


def test_a_removed_node_waits_a_little_for_what_was_under_way():
    world = World(2)
    world.propose("asked", 1)
    world.change("change", 500_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.propose("placed", 1)
    world.change("changing", 500_000)
    world.prepare(proposed(3, 5, 3))
    world.flush()
    world.feed(pure.Changing(4, LogId(3, 6)))
    world.feed(pure.Removed())
    assert world.driver.deadline() == world.now + 1_000
    world.now += 1_000
    world.flush()
    # The change with the number 2 was never confirmed to be passed on.
    assert world.said() == [
        f"asked: {d.Unknown('forwarded', 2)}",
        f"placed: {d.Unknown('timeout', LogId(3, 5))}",
        f"change change: {d.Unknown('closed', None)}",
        f"change changing: {d.Unknown('timeout', LogId(3, 6))}",
    ]


def test_a_change_whose_place_comes_late_or_is_covered_is_unknown():
    world = World(1)
    world.change("late", 5_000)
    world.flush()
    world.feed(pure.Apply(entries(1, 5, 3)), pure.Changing(1, LogId(3, 5)))
    assert world.said() == ["apply 5 []", f"change late: {d.Unknown('applied', LogId(3, 5))}"]
    world.change("covered", 5_000)
    world.prepare(pure.Changing(2, LogId(3, 7)))
    world.flush()
    world.feed(pure.Restore(LogId(3, 9)))
    assert world.said() == [f"change covered: {d.Unknown('restored', LogId(3, 9))}", "restore 9@3"]


def test_a_configuration_that_cannot_be_read_ends_no_change():
    world = World(1)
    world.change("a", 5_000)
    world.prepare(pure.Changing(1, LogId(3, 1)))
    world.flush()
    world.feed(pure.Apply((configured(1, 3)._replace(data=b"?"),)))
    assert world.said() == ["apply 1 []"]
    world.feed(pure.Apply((configured(2, 3),)))
    assert world.said() == [f"change a: {pure.Configuration(())}", "apply 1 []"]


def test_a_stopped_machine_ends_changes_too():
    world = World(1)
    world.change("placed", 5_000)
    world.prepare(pure.Changing(1, LogId(3, 1)))
    world.flush()
    world.propose("late", 1)
    world.flush()
    world.handle(d.ApplyStopped())
    world.change("held", 5_000)
    world.flush()
    assert world.said() == ["late: apply_stopped", "change placed: apply_stopped", "change held: apply_stopped"]
    world.script.leader = 2
    world.propose("forwarded", 1)
    world.prepare(pure.Forwarded(3, 2))
    world.flush()
    world.feed(proposed(3, 2, 3))
    assert world.said() == ["forwarded: apply_stopped"], "the leader took it, and nobody here gives its result"


def test_demands_for_snapshots_end_in_time():
    world = World(1)
    world.handle(d.Snapshot("a", world.now + 10, 5))
    world.handle(d.Snapshot("b", world.now + 20, 5))
    assert world.driver.deadline() == world.now + 10
    world.now += 10
    world.flush()
    assert world.said() == ["take a snapshot", "snapshot a: deadline"]
    world.handle(d.ApplyStopped())
    assert world.said() == ["snapshot b: apply_stopped"]
    world.handle(d.Close(handover=False, drain_until=world.now))
    world.handle(d.Snapshot("c"))
    assert world.said() == ["snapshot c: closed"]


def test_a_transfer_that_was_cut_off_keeps_nothing():
    world = World(1)
    world.handle(d.Applied(LogId(3, 10), 1))
    world.handle(d.SnapshotTaken(LogId(3, 10)))
    world.feed(pure.SendSnapshot(2, 8))
    world.handle(d.Applied(LogId(3, 20), 1))
    world.handle(d.SnapshotTaken(LogId(3, 20)))
    world.handle(d.SnapshotSent(2, None))
    assert world.inputs() == ["taken 10@3", "purge 8", "taken 20@3", "purge 10", "purge 18"]
    world.handle(d.SnapshotSent(3, 20))
    assert world.inputs() == [], "nobody knows of that one"


def test_answers_to_nobody_mean_nothing():
    world = World(1)
    world.feed(
        proposed(9, 5, 3),
        pure.Forwarded(9, 2),
        pure.Refused(9, "overloaded"),
        pure.Transferred(9, 2),
        pure.Changing(9, LogId(3, 5)),
        pure.ChangeRefused(9, ChangeError("empty")),
        pure.ReadReady(9, 4),
    )
    assert world.out == []


def test_what_is_left_ends_when_a_node_fails():
    world = World(2)
    world.read("ready", 5_000)
    world.flush()
    world.feed(pure.ReadReady(1, 9))
    world.read("round", 5_000)
    world.flush()
    world.read("waiting", 5_000)
    world.transfer("transfer", None, 5_000)
    world.out = world.driver.fail_everything()
    assert world.said() == ["waiting: closed", "round: closed", "ready: closed", "transfer transfer: closed"]
    assert world.driver.waiting == 0


def test_the_digest_is_of_everything_but_the_callers():
    def run(names):
        world = World(2)
        digests = [world.driver.digest()]

        def step(act):
            act()
            digests.append(world.driver.digest())

        step(lambda: world.propose(names[0], 2, 9_000))
        step(lambda: world.prepare(pure.Forwarded(1, 2)) or world.flush())
        step(lambda: world.feed(proposed(1, 5, 3)))
        step(lambda: world.read(names[1], 5_000))
        step(world.flush)
        step(lambda: world.feed(pure.ReadReady(2, 9)))
        step(lambda: world.lease_read(names[2], 6_000))
        step(lambda: world.change(names[3], 7_000))
        step(lambda: world.prepare(pure.Forwarded(3, 2)) or world.flush())
        step(lambda: world.feed(pure.Changing(3, LogId(3, 8))))
        step(lambda: world.transfer(names[4], None, 8_000))
        step(lambda: world.feed(pure.SendSnapshot(3, 4)))
        step(lambda: world.handle(d.Snapshot(names[5], None, 7)))
        step(lambda: world.handle(d.Applied(LogId(3, 1), 100)))
        step(lambda: world.handle(d.Close(handover=True, drain_until=world.now + 50_000)))
        step(lambda: world.handle(d.PersistFailed(1)))
        step(world.flush)
        step(lambda: world.feed(pure.Closed()))
        return digests

    first, second = run("abcdef"), run("uvwxyz")
    assert first == second
    assert [at for at in range(1, len(first)) if first[at] in first[:at]] == []
    assert all(len(digest) == 32 for digest in first)


def test_nothing_is_due_where_nothing_waits():
    assert d.Driver(Script(None), SETTINGS, d.DriverStart()).deadline() is None
    world = World(None)
    world.handle(d.Propose(command(b"x"), "a", NEVER))
    assert world.driver.deadline() is None


def test_one_node_from_the_first_vote_to_the_last_answer():
    settings = pure.Settings(
        50_000, (250_000, 500_000), 50_000, 15_000_000, 1 << 18, 16, 1 << 22, 1 << 26, 1 << 24, 1 << 23
    )
    members = pure.Configuration((pure.Member(1, "127.0.0.1:9081"),), min_election_timeout=250_000)
    start = pure.Start(1, 7, 0, 1, pure.HardState(), LogId(), 0, (), 0, ((0, members),), None, 0)
    driver = d.Driver(pure.Core(0, settings, start), SETTINGS, d.DriverStart(ids_after=100))
    done = []

    def carry(now, actions):
        """A disk and a state machine that answer at once."""
        while actions:
            match actions.pop(0):
                case pure.Persist(token=token):
                    actions += driver.handle(now, 0, d.Persisted(token))
                case d.Apply(given, wanted):
                    done.extend((one.piece.waiter, given[one.start].index) for one in wanted)
                    last = given[-1]
                    actions += driver.handle(now, 0, d.Applied(LogId(last.term, last.index), len(given)))
                case d.Query(waiter, at):
                    done.append((waiter, at))
                case d.EndChange(waiter, result) | d.EndTransfer(waiter, result):
                    done.append((waiter, result))
                case _:
                    pass

    def call(now, *told):
        for one in told:
            carry(now, driver.handle(now, 0, one))
        carry(now, driver.flush(now, 0))

    call(0, d.Propose(command(b"first"), "early"))
    now = driver.deadline()
    call(now)
    assert driver.position() == ("leader", 1, 1)
    call(now, d.Propose(command(b"second"), "write"), d.Read("read"), d.Read("lease", None, "lease"))
    call(now, d.Transfer(1, "transfer"))
    add = pure.Add(pure.Member(2, "127.0.0.1:9082", role="learner"))
    call(now, d.Change((add,), "change"))
    assert done[:1] == [("early", 2)]
    assert sorted(name for name, _ in done) == ["change", "early", "lease", "read", "transfer", "write"]
    (members,) = [result for name, result in done if name == "change"]
    assert [(member.id, member.role) for member in members.members] == [(1, "voter"), (2, "learner")]
    assert driver.waiting == 0
