//! The check of a world's registers, fed with facts.

use d_engine_node::Consistency;
use d_engine_sim::fact::{Fact, Observer, Operation, Outcome, Phase, Request, Violation};
use d_engine_sim::linear::{Limits, Linear};

struct World {
    check: Linear,
    calls: u64,
}

impl World {
    fn new() -> Self {
        Self { check: Linear::default(), calls: 0 }
    }

    fn tell(&mut self, fact: &Fact<'_>) -> Result<(), Violation> {
        self.check.fact(0, fact)
    }

    fn call(&mut self, request: Request) -> u64 {
        self.calls += 1;
        let operation = Operation { id: self.calls, client: self.calls % 3, node: 1, request };
        self.tell(&Fact::Invoked(&operation)).unwrap();
        operation.id
    }

    fn end(&mut self, id: u64, outcome: &Outcome) {
        self.tell(&Fact::Returned { id, outcome }).unwrap();
    }

    fn begin_write(&mut self, value: u64, session: Option<(u64, u64)>) -> u64 {
        self.call(Request::Write { key: 5, value, session })
    }

    fn write(&mut self, value: u64, previous: u64) {
        let id = self.begin_write(value, None);
        self.end(id, &Outcome::Written { index: 0, previous });
    }

    fn read(&mut self, value: u64, consistency: Consistency) {
        let id = self.call(Request::Read { key: 5, consistency });
        self.end(id, &Outcome::Read { value, applied: 0 });
    }

    fn over(&mut self) -> Result<(), Violation> {
        self.tell(&Fact::Phase(Phase::Over))
    }
}

#[test]
fn registers_in_order_pass_and_are_counted() {
    let mut world = World::new();
    world.write(1, 0);
    world.write(2, 1);
    world.read(2, Consistency::Linearizable);
    world.read(1, Consistency::Eventual);
    world.tell(&Fact::Phase(Phase::Healing)).unwrap();
    assert_eq!(world.check.checked(), 0);
    assert_eq!(world.over(), Ok(()));
    assert_eq!(world.check.checked(), 3, "an eventual read promises nothing");
}

#[test]
fn a_stale_read_is_found_and_explained() {
    for consistency in [Consistency::Linearizable, Consistency::Lease] {
        let mut world = World::new();
        for value in 1..=20 {
            world.write(value, value - 1);
        }
        world.read(19, consistency);
        let Violation { check, what } = world.over().unwrap_err();
        assert_eq!(check, "linearizable");
        let expected = format!(
            "register 5: no order of its calls explains {consistency:?} read -> 19 (call 21 of client 0 at node 1, facts 41 to 42); by \
             then it could hold 20. These contradict each other:\n  write 20 over 19 (call 20 of client 2 at node 1, facts 39 to 40)\n  \
             {consistency:?} read -> 19 (call 21 of client 0 at node 1, facts 41 to 42)"
        );
        assert_eq!(what, expected);
    }
}

#[test]
fn a_lost_write_is_found_by_the_next_one() {
    let mut world = World::new();
    world.write(1, 0);
    world.write(2, 0);
    assert!(world.over().unwrap_err().what.contains("write 2 over 0"));
}

#[test]
fn an_unknown_outcome_stays_open() {
    for outcome in [Outcome::Unknown("leader lost".to_owned()), Outcome::Gone] {
        let mut world = World::new();
        let id = world.begin_write(1, None);
        world.end(id, &outcome);
        world.read(0, Consistency::Linearizable);
        world.read(1, Consistency::Linearizable);
        assert_eq!(world.over(), Ok(()));
    }
}

#[test]
fn what_was_refused_did_nothing() {
    let mut world = World::new();
    let id = world.begin_write(1, None);
    world.end(id, &Outcome::Refused("overloaded".to_owned()));
    world.read(1, Consistency::Linearizable);
    assert!(world.over().is_err());
}

#[test]
fn a_repetition_in_a_session_is_the_same_call() {
    let mut world = World::new();
    let first = world.begin_write(1, Some((9, 1)));
    world.end(first, &Outcome::Unknown("leader lost".to_owned()));
    world.write(2, 1);
    // Its first attempt was applied, before the other write: the repetition gets that result.
    let second = world.begin_write(1, Some((9, 1)));
    world.end(second, &Outcome::Written { index: 0, previous: 0 });
    world.read(2, Consistency::Linearizable);
    assert_eq!(world.over(), Ok(()));
}

#[test]
fn a_repetition_after_a_refusal_begins_anew() {
    let mut world = World::new();
    let first = world.begin_write(1, Some((9, 1)));
    world.end(first, &Outcome::Refused("not the leader".to_owned()));
    world.write(2, 1);
    let second = world.begin_write(1, Some((9, 1)));
    world.end(second, &Outcome::Written { index: 0, previous: 0 });
    assert!(world.over().is_err(), "the write before it cannot have seen it");
}

#[test]
fn a_refused_repetition_says_nothing_of_the_first_attempt() {
    let mut world = World::new();
    let first = world.begin_write(1, Some((9, 1)));
    world.end(first, &Outcome::Unknown("leader lost".to_owned()));
    let second = world.begin_write(1, Some((9, 1)));
    world.end(second, &Outcome::Refused("the session is gone".to_owned()));
    world.read(1, Consistency::Linearizable);
    assert_eq!(world.over(), Ok(()));
}

#[test]
fn many_writes_without_outcome_do_not_drown_the_search() {
    let mut world = World::new();
    for round in 0..500 {
        for lost in 1..=4 {
            let id = world.begin_write(round * 10 + lost, None);
            world.end(id, &Outcome::Gone);
        }
        // One of the lost ones is seen now and then.
        let before = if round % 10 == 3 { round * 10 + 2 } else { (round * 10).saturating_sub(5) };
        world.write(round * 10 + 5, before);
    }
    assert_eq!(world.over(), Ok(()));
    assert_eq!(world.check.checked(), 550);
}

#[test]
fn what_was_not_decided_is_no_pass() {
    let mut world = World::new();
    world.check = Linear::new(Limits { moves: 1, ..Limits::default() });
    world.write(1, 0);
    world.write(2, 1);
    assert!(world.over().unwrap_err().what.contains("undecided"));
}
