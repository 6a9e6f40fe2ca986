//! What waits for what: proposals and reads, without threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod script;

use d_engine_node::driver::DriverInput;
use d_engine_node::driver::DriverSettings;
use d_engine_raft::{Effect, Event, LogId, Refusal, Reply, Role};
use script::{World, entries, proposed, settings};

#[test]
fn what_waits_makes_one_step() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.propose("b", 3, None);
    assert_eq!(world.inputs(), [""; 0]);
    world.prepare(vec![proposed(1, 5, 3), proposed(2, 6, 3)]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1), (2, 3)]"]);
    world.feed(vec![Effect::Apply(entries(1, 8, 3).into())]);
    assert_eq!(world.said(), ["apply 8 [4..5 a, 5..8 b]"]);
    assert_eq!(world.driver.waiting(), 0);
}

#[test]
fn what_comes_while_much_is_under_way_is_gathered_for_a_while() {
    let mut world = World::new(Some(1));
    world.feed(vec![Effect::Apply(entries(1, 40, 3).into())]);
    drop(world.inputs());
    world.propose("a", 1, None);
    world.flush();
    world.propose("b", 1, None);
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    assert_eq!(world.driver.deadline(), Some(world.now + 4_000));
    world.now += 4_000;
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1), (2, 1)]"]);
    world.propose("c", 256, None);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(3, 256)]"]);
}

#[test]
fn gathering_ends_when_what_was_before_is_through_and_nobody_comes() {
    let mut world = World::new(Some(1));
    world.feed(vec![Effect::Apply(entries(1, 40, 3).into())]);
    drop(world.inputs());
    world.propose("a", 1, None);
    world.flush();
    world.now += 100;
    world.handle(DriverInput::Applied { last: LogId::new(40, 3), bytes: 40 });
    drop(world.inputs());
    world.flush();
    assert_eq!(world.inputs(), [""; 0], "more may come");
    assert_eq!(world.driver.deadline(), Some(world.now + 150));
    world.now += 150;
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1)]"]);
}

#[test]
fn a_batch_may_come_in_pieces() {
    let mut world = World::new(Some(1));
    world.propose("a", 4, Some(500));
    world.prepare(vec![proposed(1, 1, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(1, 2, 3).into()), Effect::Apply(entries(3, 5, 3).into())]);
    assert_eq!(world.said(), ["apply 2 [0..2 more of 1]", "apply 5 [0..2 a]"]);

    // The rest is late: whoever has the pieces is told.
    world.propose("b", 4, Some(500));
    world.prepare(vec![proposed(2, 8, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(8, 2, 3).into())]);
    world.now += 500;
    world.flush();
    assert_eq!(
        world.said(),
        ["apply 2 [0..2 more of 2]", "after a part, b: Unknown(Timeout(LogId { term: 3, index: 10 }))"]
    );
}

#[test]
fn another_term_at_the_place_means_certainly_lost() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.propose("b", 3, None);
    world.prepare(vec![proposed(1, 1, 3), proposed(2, 2, 3)]);
    world.flush();
    let mut log = entries(1, 2, 3);
    log.extend(entries(3, 4, 4));
    world.feed(vec![Effect::Apply(log.into())]);
    assert_eq!(
        world.said(),
        ["apply 6 [0..1 a, 1..2 b: Overwritten { at: LogId { term: 3, index: 3 }, by: 4 }]"],
        "one of b's entries was applied, the others never will be"
    );
    world.propose("c", 1, None);
    world.prepare(vec![proposed(3, 7, 4)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(7, 1, 5).into())]);
    assert_eq!(world.said(), ["c: Overwritten { at: LogId { term: 4, index: 7 }, by: 5 }", "apply 1 []"]);
}

#[test]
fn two_waiters_at_one_index_are_told_apart_by_term() {
    let mut world = World::new(Some(1));
    world.propose("old", 1, None);
    world.prepare(vec![proposed(1, 5, 3)]);
    world.flush();
    world.propose("new", 1, None);
    world.prepare(vec![proposed(2, 5, 4)]);
    world.flush();
    let mut log = entries(1, 4, 3);
    log.extend(entries(5, 1, 4));
    world.feed(vec![Effect::Apply(log.into())]);
    assert_eq!(world.said(), ["old: Overwritten { at: LogId { term: 3, index: 5 }, by: 4 }", "apply 5 [4..5 new]"]);
}

#[test]
fn a_place_learned_too_late_is_unknown() {
    let mut world = World::new(Some(2));
    world.propose("a", 1, None);
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(1, 3, 3).into()), proposed(1, 2, 3)]);
    assert_eq!(world.said(), ["apply 3 []", "a: Unknown(Applied(LogId { term: 3, index: 2 }))"]);
    // And what a snapshot covers has no result here.
    world.propose("b", 2, None);
    world.prepare(vec![proposed(2, 4, 3)]);
    world.flush();
    world.feed(vec![Effect::Restore(LogId::new(9, 3))]);
    assert_eq!(world.said(), ["b: Unknown(Restored(LogId { term: 3, index: 9 }))", "restore 9@3"]);
}

#[test]
fn without_a_leader_a_proposal_waits_and_was_certainly_not_accepted() {
    let mut world = World::new(None);
    world.propose("a", 1, Some(500));
    world.propose("b", 1, Some(900));
    world.flush();
    assert_eq!(world.driver.deadline(), Some(world.now + 500));
    world.now += 500;
    world.flush();
    assert_eq!(world.said(), ["a: NotLeader { leader: None, term: 3 }"]);
    assert_eq!(world.inputs(), [""; 0]);
    world.change_leader(Some(1));
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1)]"]);
}

#[test]
fn class_38_a_forward_is_sent_once_and_a_certain_refusal_is_asked_again() {
    let mut world = World::new(Some(2));
    world.propose("a", 2, Some(5_000));
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 2)]"]);
    world.feed(vec![Effect::Reply(Reply::Refused { id: 1, why: Refusal::NotLeader })]);
    world.flush();
    assert_eq!(world.inputs(), [""; 0], "not at once to the same node");
    world.change_leader(Some(3));
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 2, to: 3 })]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(2, 2)]"]);
    // Another leader comes, in a later term, and no answer: it may stand in a log, so nobody asks again.
    world.script.0.borrow_mut().term = 4;
    world.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term: 4, leader: Some(2) })]);
    drop(world.inputs());
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    world.now += 5_000;
    world.flush();
    assert_eq!(world.said(), ["a: Unknown(Forwarded(3))"]);
}

#[test]
fn class_38_a_forward_to_a_leader_of_the_past_is_not_waited_for() {
    let mut world = World::new(Some(2));
    world.propose("a", 1, None);
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.flush();
    world.said();
    // The same term says it again: nothing has changed.
    world.change_leader(Some(2));
    world.now += 100_000;
    world.flush();
    assert_eq!(world.said(), [""; 0]);
    world.script.0.borrow_mut().term = 4;
    world.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term: 4, leader: Some(3) })]);
    world.now += 999;
    world.flush();
    assert_eq!(world.said(), [""; 0], "its answer may be on the way");
    world.now += 1;
    world.flush();
    assert_eq!(world.said(), ["a: Unknown(Forwarded(2))"]);
    assert_eq!(world.driver.waiting(), 0);
}

#[test]
fn what_cannot_be_forwarded_is_refused_before_it_leaves() {
    let mut world = World::new(Some(2));
    world.propose("large", 20, None);
    world.flush();
    assert_eq!(world.said(), ["large: TooLargeToForward { size: 1300, limit: 1000 }"]);
    let mut world = World::with(Some(2), DriverSettings { forward: false, ..settings() });
    world.propose("a", 1, None);
    world.flush();
    assert_eq!(world.said(), ["a: NotLeader { leader: Some(2), term: 3 }"]);
    assert_eq!(world.inputs(), [""; 0]);
}

#[test]
fn refusals_of_a_leader_are_given_on() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.prepare(vec![Effect::Reply(Reply::Refused { id: 1, why: Refusal::Overloaded })]);
    world.flush();
    assert_eq!(world.said(), ["a: Refused(Overloaded)"]);
}

#[test]
fn reads_share_a_round_and_wait_for_their_index() {
    let mut world = World::new(Some(2));
    world.read("a", 5_000);
    world.read("b", 5_000);
    world.flush();
    assert_eq!(world.inputs(), ["read 1"]);
    world.read("c", 5_000);
    world.flush();
    assert_eq!(world.inputs(), ["read 2"]);
    world.feed(vec![Effect::Reply(Reply::ReadReady { id: 1, index: 4 })]);
    assert_eq!(world.said(), [""; 0]);
    world.feed(vec![Effect::Apply(entries(1, 4, 3).into()), Effect::Reply(Reply::ReadReady { id: 2, index: 3 })]);
    assert_eq!(world.said(), ["apply 4 []", "query a at 4", "query b at 4", "query c at 3"]);
}

#[test]
fn class_13_a_read_is_asked_again_under_a_new_id() {
    let mut world = World::new(Some(2));
    world.read("a", 5_000);
    world.flush();
    world.now += 1_000;
    world.flush();
    world.flush();
    assert_eq!(world.inputs(), ["read 1", "read 2"]);
    // The old one's answer comes after all, and means nothing any more.
    world.feed(vec![Effect::Reply(Reply::ReadReady { id: 1, index: 0 })]);
    assert_eq!(world.said(), [""; 0]);
    world.change_leader(Some(3));
    world.flush();
    assert_eq!(world.inputs(), ["read 3"]);
    world.feed(vec![Effect::Reply(Reply::Refused { id: 3, why: Refusal::NotLeader })]);
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    world.now += 100;
    world.flush();
    assert_eq!(world.inputs(), ["read 4"]);
    world.now += 4_000;
    world.flush();
    assert_eq!(world.said(), ["a: Deadline"]);
    assert_eq!(world.driver.waiting(), 0);
}

#[test]
fn queued_messages_come_before_a_due_timer() {
    let mut world = World::new(Some(1));
    world.script.0.borrow_mut().deadline = Some(world.now);
    world.propose("a", 1, None);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1)]", "time"]);
}

#[test]
fn class_41_a_stopped_machine_ends_what_waits_for_it() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.prepare(vec![proposed(1, 5, 3)]);
    world.flush();
    world.read("r", 5_000);
    world.flush();
    world.feed(vec![Effect::Reply(Reply::ReadReady { id: 2, index: 5 })]);
    world.handle(DriverInput::ApplyStopped);
    assert_eq!(world.said(), ["a: ApplyStopped", "query r at 5"], "the apply thread knows how far it came");
    world.feed(vec![Effect::Apply(entries(1, 5, 3).into())]);
    world.propose("b", 1, None);
    world.flush();
    assert_eq!(world.said(), ["b: ApplyStopped"]);
}
