"""What the driver asks again: proposals of a session, because a repetition is answered and not applied; others never.

The twin of `rust/node/tests/driver_sessions.rs`.
"""

from d_engine import pure
from d_engine.pure import LogId
from d_engine.pure import driver as d
from d_engine.pure.entry import Proposal
from support.driver_script import World as Base
from support.driver_script import entries, proposed


class World(Base):
    def propose_in_session(self, waiter, numbers, span):
        draft = tuple(Proposal("command", 77, sequence, 0, b"x") for sequence in numbers)
        self.handle(d.Propose(draft, waiter, self.now + span))

    def lead(self, leader, term):
        self.script.leader, self.script.term = leader, term
        self.feed(pure.Changed("follower", term, leader))


def test_class_38_a_forward_to_a_lost_leader_is_asked_of_the_next_one():
    world = World(2)
    world.propose_in_session("a", range(1, 3), 10_000_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.lead(3, 4)
    world.prepare(pure.Forwarded(2, 3))
    world.flush()
    assert world.inputs() == ["propose [(1, 2)]", "propose [(2, 2)]"]
    # The old leader's answer comes after all, and means nothing any more.
    world.feed(proposed(1, 5, 3))
    world.feed(proposed(2, 7, 4))
    world.feed(pure.Apply(entries(1, 6, 3) + entries(7, 2, 4)))
    assert world.said() == ["apply 8 [6..8 a]"]


def test_a_silent_forward_is_asked_again_and_stays_in_doubt():
    world = World(2)
    world.propose_in_session("a", range(1, 2), 5_000_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    again = world.now + 2_000_000
    assert world.driver.deadline() == again
    world.now = again
    world.flush()
    world.prepare(pure.Refused(2, "overloaded"))
    world.flush()
    assert world.inputs() == ["propose [(1, 1)]", "propose [(2, 1)]"]
    # The refusal is of the second attempt only.
    assert world.said() == [f"a: {d.Unknown('forwarded', 2)}"]


def test_without_a_leader_again_the_outcome_is_unknown():
    world = World(2)
    world.propose_in_session("a", range(1, 2), 3_000_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.script.leader = None
    world.now += 2_000_000
    world.flush()
    world.now += 1_000_000
    world.flush()
    assert world.said() == [f"a: {d.Unknown('forwarded', 2)}"]
    # Whoever was certainly refused each time may say so.
    world = World(2)
    world.propose_in_session("b", range(1, 2), 1_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.script.leader = None
    world.feed(pure.Refused(1, "not_leader"))
    world.now += 1_000
    world.flush()
    assert world.said() == [f"b: {d.NotLeader(None, 3)}"]


def test_an_overwritten_place_is_asked_for_again():
    world = World(1)
    world.propose_in_session("a", range(1, 3), 5_000_000)
    world.prepare(proposed(1, 5, 3))
    world.flush()
    # One of the two was committed, the other one not: the repetition gets the first result.
    world.feed(pure.Apply(entries(1, 5, 3) + entries(6, 1, 4)))
    world.prepare(proposed(2, 7, 4))
    world.flush()
    world.feed(pure.Apply(entries(7, 2, 4)))
    assert world.said() == ["apply 6 []", "apply 2 [0..2 a]"]


def test_a_deposed_leader_asks_the_next_one():
    world = World(1)
    world.propose_in_session("a", range(1, 2), 5_000_000)
    world.propose_in_session("b", range(2, 3), 5_000_000)
    world.propose("c", 1, 5_000_000)
    world.prepare(proposed(1, 5, 3), proposed(2, 6, 3), proposed(3, 7, 3))
    world.flush()
    world.lead(2, 4)
    world.prepare(pure.Forwarded(4, 2), pure.Forwarded(5, 2))
    world.flush()
    # Never without a session.
    assert world.inputs() == ["propose [(1, 1), (2, 1), (3, 1)]", "propose [(4, 1), (5, 1)]"]
    world.now += 5_000_000
    world.flush()
    assert world.said() == [
        f"a: {d.Unknown('forwarded', 2)}",
        f"b: {d.Unknown('forwarded', 2)}",
        f"c: {d.Unknown('timeout', LogId(3, 7))}",
    ]


def test_what_a_snapshot_covers_is_asked_of_its_sessions():
    world = World(2)
    world.propose_in_session("a", range(1, 2), 5_000_000)
    world.propose("b", 1)
    world.prepare(pure.Forwarded(1, 2), pure.Forwarded(2, 2), proposed(1, 4, 3), proposed(2, 5, 3))
    world.flush()
    world.feed(pure.Restore(LogId(3, 9)))
    world.prepare(proposed(3, 10, 3))
    world.flush()
    world.feed(pure.Apply(entries(10, 1, 3)))
    assert world.said() == [f"b: {d.Unknown('restored', LogId(3, 9))}", "restore 9@3", "apply 1 [0..1 a]"]
    # As is what was handed out before its place was known.
    world.propose_in_session("c", range(2, 3), 5_000_000)
    world.prepare(pure.Forwarded(4, 2), proposed(4, 8, 3))
    world.flush()
    world.prepare(proposed(5, 11, 3))
    world.flush()
    world.feed(pure.Apply(entries(11, 1, 3)))
    assert world.said() == ["apply 1 [0..1 c]"]


def test_a_close_leaves_what_was_in_doubt_unknown():
    world = World(2)
    world.propose_in_session("a", range(1, 2), 5_000_000)
    world.prepare(pure.Forwarded(1, 2))
    world.flush()
    world.script.leader = None
    world.now += 2_000_000
    world.flush()
    world.handle(d.Close(handover=False, drain_until=world.now + 1_000))
    assert world.said() == [f"a: {d.Unknown('forwarded', 2)}"]


def test_pieces_that_have_gone_out_are_seen_through_and_not_asked_again():
    world = World(1)
    world.propose_in_session("a", range(1, 4), 5_000_000)
    world.prepare(proposed(1, 5, 3))
    world.flush()
    world.feed(pure.Apply(entries(1, 5, 3)))
    world.lead(2, 4)
    world.flush()
    assert world.inputs() == ["propose [(1, 3)]"]
    world.feed(pure.Apply(entries(6, 1, 4)))
    assert world.said() == [
        "apply 5 [4..5 more of 1]",
        f"after a part, a: {d.Overwritten(LogId(3, 6), 4)}",
        "apply 1 []",
    ]
