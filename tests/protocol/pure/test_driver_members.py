"""Changes of the membership, transfers and the tiers of reads. The twin of `rust/node/tests/driver_members.rs`."""

from d_engine import pure
from d_engine.pure import ChangeError, LogId
from d_engine.pure import driver as d
from support.driver_script import SETTINGS, World, configured, entries

NOBODY = pure.Configuration(())


def asked(world, *effects):
    world.change("a", 5_000)
    world.prepare(*effects)
    world.flush()
    assert world.inputs() == ["change 1 [Remove(id=3)]"]


def test_a_change_ends_with_the_first_committed_configuration_that_is_not_joint():
    world = World(1)
    asked(world, pure.Changing(1, LogId(3, 5)))
    world.feed(pure.Apply(entries(1, 4, 3)))
    world.feed(pure.Apply((configured(5, 3, (1, 2)),)))
    assert world.said() == ["apply 4 []", "apply 1 []"], "the joint one does not end it"
    world.feed(pure.Apply((configured(6, 4),)))
    # Whoever leads by then ends the joint phase.
    assert world.said() == [f"change a: {NOBODY}", "apply 1 []"]
    assert world.driver.waiting == 0


def test_another_entry_in_its_place_means_that_it_was_not_made():
    world = World(1)
    asked(world, pure.Changing(1, LogId(3, 5)))
    world.feed(pure.Apply((configured(5, 4),)))
    assert world.said() == [f"change a: {d.Overwritten(LogId(3, 5), 4)}", "apply 1 []"]


def test_a_change_waits_for_a_leader_and_asks_again_where_that_helps():
    world = World(None)
    world.change("a", 5_000)
    world.flush()
    assert world.inputs() == []
    world.change_leader(1)
    world.inputs()
    world.prepare(pure.ChangeRefused(1, ChangeError("not_ready")))
    world.flush()
    assert world.inputs() == ["change 1 [Remove(id=3)]"]
    assert world.driver.deadline() == world.now + 100
    world.now += 100
    world.prepare(pure.ChangeRefused(2, ChangeError("no_voter_left")))
    world.flush()
    assert world.inputs() == ["change 2 [Remove(id=3)]"], "with a new number"
    # That is so tomorrow, too.
    assert world.said() == [f"change a: {d.ChangeRefused(ChangeError('no_voter_left'))}"]


def test_the_last_refusal_is_told_when_time_is_over():
    world = World(1)
    in_flight = ChangeError("in_flight", (4,))
    asked(world, pure.ChangeRefused(1, in_flight))
    world.change_leader(None)
    world.now += 5_000
    world.flush()
    assert world.said() == [f"change a: {d.ChangeRefused(in_flight)}"]
    world.change("b", 10)
    world.flush()
    world.now += 10
    world.flush()
    assert world.said() == [f"change b: {d.NotLeader(None, 3)}"]


def test_a_forwarded_change_is_never_sent_twice():
    world = World(2)
    asked(world, pure.Forwarded(1, 2))
    world.script.term = 4
    world.script.leader = 3
    world.feed(pure.Changed("follower", 4, 3))
    world.inputs()
    world.flush()
    assert world.inputs() == []
    world.now += 1_000
    world.flush()
    # Its leader is gone, and with it the answer.
    assert world.said() == [f"change a: {d.Unknown('forwarded', 2)}"]


def test_without_forwarding_a_follower_refuses():
    world = World(2, SETTINGS._replace(forward=False))
    world.change("a", 5_000)
    world.flush()
    assert world.inputs() == []
    assert world.said() == [f"change a: {d.NotLeader(2, 3)}"]


def test_a_transfer_is_the_cores_business():
    world = World(1)
    world.transfer("a", 2, 5_000)
    assert world.inputs() == ["transfer 1 2"]
    world.feed(pure.Transferred(1, 2))
    world.transfer("b", 3, 5_000)
    world.feed(pure.Transferred(2, "too_far_behind"))
    world.transfer("c", None, 10)
    world.now += 10
    world.flush()
    world.transfer("d", 1, 10)
    assert world.said() == [
        "transfer a: 2",
        f"transfer b: {d.Refused('too_far_behind')}",
        "transfer c: deadline",
        "transfer d: 1",  # it leads already
    ]
    world.prepare(pure.Transferred(4, "not_leader"))
    world.script.leader = 2
    world.transfer("e", None, 10)
    assert world.said() == [f"transfer e: {d.NotLeader(2, 3)}"]


def test_what_is_proposed_while_leadership_is_given_away_goes_to_who_leads_then():
    world = World(1)
    world.transfer("a", 2, 5_000)
    world.propose("b", 1, 9_000)
    world.inputs()
    world.flush()
    assert world.inputs() == []
    assert world.driver.deadline() == world.now + 5_000, "the transfer's, and no hurry before"
    world.script.leader = 2
    world.feed(pure.Transferred(1, 2))
    world.flush()
    assert world.inputs() == ["propose [(2, 1)]"]


def test_each_tier_of_reads_goes_its_own_way():
    world = World(1)
    world.handle(d.Read("now", None, "eventual"))
    assert world.said() == ["query now at 0"]
    world.read("a", 5_000)
    world.lease_read("b", 5_000)
    world.lease_read("c", 5_000)
    world.flush()
    assert world.inputs() == ["read 1", "lease read 2"]
    world.feed(pure.ReadReady(2, 0))
    assert world.said() == ["query b at 0", "query c at 0"]
    # Without an answer each is asked again as what it was.
    world.lease_read("d", 5_000)
    world.inputs()
    world.flush()
    assert world.inputs() == ["lease read 3"]
    world.now += 1_000
    world.flush()
    world.flush()
    assert world.inputs() == ["read 4", "lease read 5"]


def test_a_removed_node_takes_nothing_new():
    world = World(None)
    world.propose("a", 1)
    world.read("b", 5_000)
    world.change("c", 5_000)
    world.feed(pure.Removed())
    assert world.said() == ["a: removed", "b: removed", "change c: removed"]
    world.propose("d", 1)
    world.change("e", 5_000)
    world.transfer("f", None, 5_000)
    assert world.said() == ["d: removed", "change e: removed", "transfer f: removed"]
    configuration = pure.Configuration((pure.Member(1, "one", role="learner"),))
    world.feed(pure.Configured(9, configuration))
    world.propose("g", 1)
    assert world.said() == [], "it is a member again"


def test_closing_ends_what_waits():
    world = World(1)
    asked(world, pure.Changing(1, LogId(3, 5)))
    world.read("r", 5_000)
    world.flush()
    world.transfer("b", None, 5_000)
    world.handle(d.Close(handover=True, drain_until=world.now + 100))
    world.change("c", 5_000)
    world.now += 100
    world.prepare(pure.Closed())
    world.flush()
    assert world.said() == [
        "change c: closed",
        "r: closed",
        f"change a: {d.Unknown('closed', None)}",
        "transfer b: closed",
        "closed",
    ]
