//! What the driver asks again: proposals of a session, because a repetition is answered and not applied; others never.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod script;

use d_engine_node::driver::DriverInput;
use d_engine_raft::{Draft, Effect, Entry, EntryKind, Event, LogId, NodeId, Refusal, Reply, Role, Term};
use script::{World, entries, proposed};

impl World {
    fn propose_in_session(&mut self, waiter: &'static str, numbers: std::ops::Range<u64>, span: u64) {
        let mut draft = Draft::default();
        for sequence in numbers {
            draft.push_in_session(EntryKind::Command, b"x", 77, sequence, 0);
        }
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Propose { draft, waiter, deadline });
    }

    fn lead(&mut self, leader: NodeId, term: Term) {
        self.script.0.borrow_mut().leader = Some(leader);
        self.script.0.borrow_mut().term = term;
        self.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term, leader: Some(leader) })]);
    }
}

fn forwarded(id: u64, to: NodeId) -> Effect {
    Effect::Reply(Reply::Forwarded { id, to })
}

#[test]
fn a_forward_to_a_lost_leader_is_asked_of_the_next_one() {
    let mut world = World::new(Some(2));
    world.propose_in_session("a", 1..3, 10_000_000);
    world.prepare(vec![forwarded(1, 2)]);
    world.flush();
    world.lead(3, 4);
    world.prepare(vec![forwarded(2, 3)]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 2)]", "propose [(2, 2)]"]);
    // The old leader's answer comes after all, and means nothing any more.
    world.feed(vec![proposed(1, 5, 3)]);
    world.feed(vec![proposed(2, 7, 4)]);
    let mut log: Vec<Entry> = entries(1, 6, 3);
    log.extend(entries(7, 2, 4));
    world.feed(vec![Effect::Apply(log.into())]);
    assert_eq!(world.said(), ["apply 8 [6..8 a]"]);
}

#[test]
fn a_silent_forward_is_asked_again_and_stays_in_doubt() {
    let mut world = World::new(Some(2));
    world.propose_in_session("a", 1..2, 5_000_000);
    world.prepare(vec![forwarded(1, 2)]);
    world.flush();
    let again = world.now + 2_000_000;
    assert_eq!(world.driver.deadline(), Some(again));
    world.now = again;
    world.flush();
    world.prepare(vec![Effect::Reply(Reply::Refused { id: 2, why: Refusal::Overloaded })]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1)]", "propose [(2, 1)]"]);
    assert_eq!(world.said(), ["a: Unknown(Forwarded(2))"], "the refusal is of the second attempt only");
}

#[test]
fn without_a_leader_again_the_outcome_is_unknown() {
    let mut world = World::new(Some(2));
    world.propose_in_session("a", 1..2, 3_000_000);
    world.prepare(vec![forwarded(1, 2)]);
    world.flush();
    world.script.0.borrow_mut().leader = None;
    world.now += 2_000_000;
    world.flush();
    world.now += 1_000_000;
    world.flush();
    assert_eq!(world.said(), ["a: Unknown(Forwarded(2))"]);
    // Whoever was certainly refused each time may say so.
    let mut world = World::new(Some(2));
    world.propose_in_session("b", 1..2, 1_000);
    world.prepare(vec![forwarded(1, 2)]);
    world.flush();
    world.script.0.borrow_mut().leader = None;
    world.feed(vec![Effect::Reply(Reply::Refused { id: 1, why: Refusal::NotLeader })]);
    world.now += 1_000;
    world.flush();
    assert_eq!(world.said(), ["b: NotLeader { leader: None, term: 3 }"]);
}

#[test]
fn an_overwritten_place_is_asked_for_again() {
    let mut world = World::new(Some(1));
    world.propose_in_session("a", 1..3, 5_000_000);
    world.prepare(vec![proposed(1, 5, 3)]);
    world.flush();
    // One of the two was committed, the other one not: the repetition gets the first result.
    let mut log = entries(1, 5, 3);
    log.extend(entries(6, 1, 4));
    world.feed(vec![Effect::Apply(log.into())]);
    world.prepare(vec![proposed(2, 7, 4)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(7, 2, 4).into())]);
    assert_eq!(world.said(), ["apply 6 []", "apply 2 [0..2 a]"]);
}

#[test]
fn a_deposed_leader_asks_the_next_one() {
    let mut world = World::new(Some(1));
    world.propose_in_session("a", 1..2, 5_000_000);
    world.propose_in_session("b", 2..3, 5_000_000);
    world.propose("c", 1, Some(5_000_000));
    world.prepare(vec![proposed(1, 5, 3), proposed(2, 6, 3), proposed(3, 7, 3)]);
    world.flush();
    world.lead(2, 4);
    world.prepare(vec![forwarded(4, 2), forwarded(5, 2)]);
    world.flush();
    assert_eq!(
        world.inputs(),
        ["propose [(1, 1), (2, 1), (3, 1)]", "propose [(4, 1), (5, 1)]"],
        "never without a session"
    );
    world.now += 5_000_000;
    world.flush();
    assert_eq!(
        world.said(),
        ["a: Unknown(Forwarded(2))", "b: Unknown(Forwarded(2))", "c: Unknown(Timeout(LogId { term: 3, index: 7 }))"]
    );
}

#[test]
fn what_a_snapshot_covers_is_asked_of_its_sessions() {
    let mut world = World::new(Some(2));
    world.propose_in_session("a", 1..2, 5_000_000);
    world.propose("b", 1, None);
    world.prepare(vec![forwarded(1, 2), forwarded(2, 2), proposed(1, 4, 3), proposed(2, 5, 3)]);
    world.flush();
    world.feed(vec![Effect::Restore(LogId::new(9, 3))]);
    world.prepare(vec![proposed(3, 10, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(10, 1, 3).into())]);
    assert_eq!(world.said(), ["b: Unknown(Restored(LogId { term: 3, index: 9 }))", "restore 9@3", "apply 1 [0..1 a]"]);
    // As is what was handed out before its place was known.
    world.propose_in_session("c", 2..3, 5_000_000);
    world.prepare(vec![forwarded(4, 2), proposed(4, 8, 3)]);
    world.flush();
    world.prepare(vec![proposed(5, 11, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(11, 1, 3).into())]);
    assert_eq!(world.said(), ["apply 1 [0..1 c]"]);
}

#[test]
fn a_close_leaves_what_was_in_doubt_unknown() {
    let mut world = World::new(Some(2));
    world.propose_in_session("a", 1..2, 5_000_000);
    world.prepare(vec![forwarded(1, 2)]);
    world.flush();
    world.script.0.borrow_mut().leader = None;
    world.now += 2_000_000;
    world.flush();
    world.handle(DriverInput::Close { handover: false, drain_until: world.now + 1_000 });
    assert_eq!(world.said(), ["a: Unknown(Forwarded(2))"]);
}
