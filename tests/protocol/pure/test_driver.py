"""What waits for what: proposals and reads, without threads. The twin of `rust/node/tests/driver.rs`."""

from d_engine import pure
from d_engine.pure import LogId
from d_engine.pure import driver as d
from support.driver_script import SETTINGS, World, entries, proposed


def test_what_waits_makes_one_step():
    world = World(1)
    world.propose("a", 1)
    world.propose("b", 3)
    assert world.inputs() == []
    world.prepare(proposed(1, 5, 3), proposed(2, 6, 3))
    world.flush()
    assert world.inputs() == ["propose [(1, 1), (2, 3)]"]
    world.feed(pure.Apply(entries(1, 8, 3)))
    assert world.said() == ["apply 8 [4..5 a, 5..8 b]"]
    assert world.driver.waiting == 0


def test_what_comes_while_much_is_under_way_is_gathered_for_a_while():
    world = World(1)
    world.feed(pure.Apply(entries(1, 40, 3)))
    world.inputs()
    world.propose("a", 1)
    world.flush()
    world.propose("b", 1)
    world.flush()
    assert world.inputs() == []
    assert world.driver.deadline() == world.now + 4_000
    world.now += 4_000
    world.flush()
    assert world.inputs() == ["propose [(1, 1), (2, 1)]"]
    world.propose("c", 256)
    world.flush()
    assert world.inputs() == ["propose [(3, 256)]"]


def test_gathering_ends_when_what_was_before_is_through_and_nobody_comes():
    world = World(1)
    world.feed(pure.Apply(entries(1, 40, 3)))
    world.inputs()
    world.propose("a", 1)
    world.flush()
    world.now += 100
    world.handle(d.Applied(LogId(3, 40), 40))
    world.inputs()
    world.flush()
    assert world.inputs() == [], "more may come"
    assert world.driver.deadline() == world.now + 150
    world.now += 150
    world.flush()
    assert world.inputs() == ["propose [(1, 1)]"]


def test_a_batch_may_come_in_pieces():
    world = World(1)
    world.propose("a", 4, 500)
    world.prepare(proposed(1, 1, 3))
    world.flush()
    world.feed(pure.Apply(entries(1, 2, 3)), pure.Apply(entries(3, 5, 3)))
    assert world.said() == ["apply 2 [0..2 more of 1]", "apply 5 [0..2 a]"]

    # The rest is late: whoever has the pieces is told.
    world.propose("b", 4, 500)
    world.prepare(proposed(2, 8, 3))
    world.flush()
    world.feed(pure.Apply(entries(8, 2, 3)))
    world.now += 500
    world.flush()
    late = d.Unknown("timeout", LogId(3, 10))
    assert world.said() == ["apply 2 [0..2 more of 2]", f"after a part, b: {late}"]


def test_another_term_at_the_place_means_certainly_lost():
    world = World(1)
    world.propose("a", 1)
    world.propose("b", 3)
    world.prepare(proposed(1, 1, 3), proposed(2, 2, 3))
    world.flush()
    world.feed(pure.Apply(entries(1, 2, 3) + entries(3, 4, 4)))
    lost = d.Overwritten(LogId(3, 3), 4)
    # One of b's entries was applied, the others never will be.
    assert world.said() == [f"apply 6 [0..1 a, 1..2 b: {lost}]"]
    world.propose("c", 1)
    world.prepare(proposed(3, 7, 4))
    world.flush()
    world.feed(pure.Apply(entries(7, 1, 5)))
    assert world.said() == [f"c: {d.Overwritten(LogId(4, 7), 5)}", "apply 1 []"]


def test_two_waiters_at_one_index_are_told_apart_by_term():
    world = World(1)
    world.propose("old", 1)
    world.prepare(proposed(1, 5, 3))
    world.flush()
    world.propose("new", 1)
    world.prepare(proposed(2, 5, 4))
    world.flush()
    world.feed(pure.Apply(entries(1, 4, 3) + entries(5, 1, 4)))
    assert world.said() == [f"old: {d.Overwritten(LogId(3, 5), 4)}", "apply 5 [4..5 new]"]


def test_a_place_learned_too_late_is_unknown():
    world = World(2)
    world.propose("a", 1)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.feed(pure.Apply(entries(1, 3, 3)), proposed(1, 2, 3))
    assert world.said() == ["apply 3 []", f"a: {d.Unknown('applied', LogId(3, 2))}"]
    # And what a snapshot covers has no result here.
    world.propose("b", 2)
    world.prepare(proposed(2, 4, 3))
    world.flush()
    world.feed(pure.Restore(LogId(3, 9)))
    assert world.said() == [f"b: {d.Unknown('restored', LogId(3, 9))}", "restore 9@3"]


def test_without_a_leader_a_proposal_waits_and_was_certainly_not_accepted():
    world = World(None)
    world.propose("a", 1, 500)
    world.propose("b", 1, 900)
    world.flush()
    assert world.driver.deadline() == world.now + 500
    world.now += 500
    world.flush()
    assert world.said() == [f"a: {d.NotLeader(None, 3)}"]
    assert world.inputs() == []
    world.change_leader(1)
    world.flush()
    assert world.inputs() == ["propose [(1, 1)]"]


def test_class_38_a_forward_is_sent_once_and_a_certain_refusal_is_asked_again():
    world = World(2)
    world.propose("a", 2, 5_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    assert world.inputs() == ["propose [(1, 2)]"]
    assert d.Forwarded(2, 2) in world.out
    world.feed(pure.Refused(1, "not_leader"))
    world.flush()
    assert world.inputs() == [], "not at once to the same node"
    world.change_leader(3)
    world.prepare(pure.Forwarded(2, 3))
    world.flush()
    assert world.inputs() == ["propose [(2, 2)]"]
    # Another leader comes, and no answer: it may stand in a log, so nobody asks again.
    world.change_leader(2)
    world.flush()
    assert world.inputs() == []
    world.now += 5_000
    world.flush()
    assert world.said() == [f"a: {d.Unknown('forwarded', 3)}"]


def test_class_38_a_forward_to_a_leader_of_the_past_is_not_waited_for():
    world = World(2)
    world.propose("a", 1)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.said()
    # The same term says it again: nothing has changed.
    world.change_leader(2)
    world.now += 100_000
    world.flush()
    assert world.said() == []
    world.script.term = 4
    world.feed(pure.Changed("follower", 4, 3))
    world.now += 999
    world.flush()
    assert world.said() == [], "its answer may be on the way"
    world.now += 1
    world.flush()
    assert world.said() == [f"a: {d.Unknown('forwarded', 2)}"]
    assert world.driver.waiting == 0


def test_what_cannot_be_forwarded_is_refused_before_it_leaves():
    world = World(2)
    world.propose("large", 20)
    world.flush()
    assert world.said() == [f"large: {d.TooLargeToForward(1_300, 1_000)}"]
    world = World(2, SETTINGS._replace(forward=False))
    world.propose("a", 1)
    world.flush()
    assert world.said() == [f"a: {d.NotLeader(2, 3)}"]
    assert world.inputs() == []


def test_refusals_of_a_leader_are_given_on():
    world = World(1)
    world.propose("a", 1)
    world.prepare(pure.Refused(1, "overloaded"))
    world.flush()
    assert world.said() == [f"a: {d.Refused('overloaded')}"]


def test_reads_share_a_round_and_wait_for_their_index():
    world = World(2)
    world.read("a", 5_000)
    world.read("b", 5_000)
    world.flush()
    assert world.inputs() == ["read 1"]
    world.read("c", 5_000)
    world.flush()
    assert world.inputs() == ["read 2"]
    world.feed(pure.ReadReady(1, 4))
    assert world.said() == []
    world.feed(pure.Apply(entries(1, 4, 3)), pure.ReadReady(2, 3))
    assert world.said() == ["apply 4 []", "query a at 4", "query b at 4", "query c at 3"]


def test_class_13_a_read_is_asked_again_under_a_new_id():
    world = World(2)
    world.read("a", 5_000)
    world.flush()
    world.now += 1_000
    world.flush()
    world.flush()
    assert world.inputs() == ["read 1", "read 2"]
    # The old one's answer comes after all, and means nothing any more.
    world.feed(pure.ReadReady(1, 0))
    assert world.said() == []
    world.change_leader(3)
    world.flush()
    assert world.inputs() == ["read 3"]
    world.feed(pure.Refused(3, "not_leader"))
    world.flush()
    assert world.inputs() == []
    world.now += 100
    world.flush()
    assert world.inputs() == ["read 4"]
    world.now += 4_000
    world.flush()
    assert world.said() == ["a: deadline"]
    assert world.driver.waiting == 0


def test_queued_messages_come_before_a_due_timer():
    world = World(1)
    world.script.due = world.now
    world.propose("a", 1)
    world.flush()
    assert world.inputs() == ["propose [(1, 1)]", "time"]


def test_class_41_a_stopped_machine_ends_what_waits_for_it():
    world = World(1)
    world.propose("a", 1)
    world.prepare(proposed(1, 5, 3))
    world.flush()
    world.read("r", 5_000)
    world.flush()
    world.feed(pure.ReadReady(2, 5))
    world.handle(d.ApplyStopped())
    # The apply thread knows how far it came.
    assert world.said() == ["a: apply_stopped", "query r at 5"]
    world.feed(pure.Apply(entries(1, 5, 3)))
    world.propose("b", 1)
    world.flush()
    assert world.said() == ["b: apply_stopped"]
