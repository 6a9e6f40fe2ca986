//! The driver by itself, around a core that says what the test wants: no threads, no time but what is given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use d_engine_node::driver::{Action, Calls, Driver, DriverInput, DriverSettings, DriverStart, Failure, Piece, Raft};
use d_engine_raft::{
    Draft, Effect, Entry, EntryKind, Event, Index, Input, LogId, Micros, NodeId, Refusal, Reply, RequestId, Role, Term,
};

#[derive(Default)]
struct State {
    leader: Option<NodeId>,
    term: Term,
    deadline: Option<Micros>,
    inputs: Vec<Input>,
    next: Vec<Effect>,
    matched: BTreeMap<NodeId, Index>,
}

/// Answers every step with the effects prepared for it.
#[derive(Clone, Default)]
struct Script(Rc<RefCell<State>>);

impl Raft for Script {
    fn step(&mut self, _now: Micros, input: Input, out: &mut Vec<Effect>) {
        let mut state = self.0.borrow_mut();
        state.inputs.push(input);
        out.append(&mut state.next);
    }

    fn deadline(&self) -> Option<Micros> {
        self.0.borrow().deadline
    }

    fn role(&self) -> Role {
        Role::Follower
    }

    fn term(&self) -> Term {
        self.0.borrow().term
    }

    fn leader(&self) -> Option<NodeId> {
        self.0.borrow().leader
    }

    fn commit(&self) -> Index {
        0
    }

    fn matched(&self, node: NodeId) -> Option<Index> {
        self.0.borrow().matched.get(&node).copied()
    }
}

/// Callers are known by a name.
struct Names;

impl Calls for Names {
    type Proposal = &'static str;
    type Read = &'static str;
    type Snapshot = &'static str;
}

struct World {
    script: Script,
    driver: Driver<Script, Names>,
    out: Vec<Action<Names>>,
    now: Micros,
}

fn settings() -> DriverSettings {
    DriverSettings {
        id: 1,
        forward: true,
        max_forward_bytes: 1_000,
        read_retry: 1_000,
        refusal_pause: 100,
        snapshot_every_entries: 10,
        snapshot_every_bytes: 0,
        trailing_entries: 2,
        snapshot_pin_bytes: 1_000,
        pin_grace: 10_000,
    }
}

impl World {
    fn new(leader: Option<NodeId>) -> Self {
        Self::with(leader, settings())
    }

    fn with(leader: Option<NodeId>, settings: DriverSettings) -> Self {
        let script = Script::default();
        script.0.borrow_mut().leader = leader;
        script.0.borrow_mut().term = 3;
        let driver = Driver::new(script.clone(), settings, &DriverStart::default());
        Self { script, driver, out: Vec::new(), now: 1_000_000 }
    }

    fn prepare(&self, effects: Vec<Effect>) {
        self.script.0.borrow_mut().next = effects;
    }

    /// One input whose step has these effects.
    fn feed(&mut self, effects: Vec<Effect>) {
        self.prepare(effects);
        self.driver.handle(self.now, 0, DriverInput::Unreachable(9), &mut self.out);
    }

    fn handle(&mut self, input: DriverInput<Names>) {
        self.driver.handle(self.now, 0, input, &mut self.out);
    }

    fn flush(&mut self) {
        self.driver.flush(self.now, 0, &mut self.out);
    }

    fn propose(&mut self, waiter: &'static str, entries: usize, deadline: Option<Micros>) {
        let mut draft = Draft::default();
        for _ in 0..entries {
            draft.push(EntryKind::Command, b"x");
        }
        let deadline = deadline.map(|span| self.now + span);
        self.handle(DriverInput::Propose { draft, waiter, deadline });
    }

    fn read(&mut self, waiter: &'static str, span: Micros) {
        let deadline = Some(self.now + span);
        self.handle(DriverInput::Read { waiter, deadline });
    }

    fn change_leader(&mut self, leader: Option<NodeId>) {
        self.script.0.borrow_mut().leader = leader;
        self.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term: 3, leader })]);
    }

    /// What the core was told, since the last look.
    fn inputs(&self) -> Vec<String> {
        let taken = std::mem::take(&mut self.script.0.borrow_mut().inputs);
        taken
            .iter()
            .filter_map(|input| match input {
                Input::Propose { batches, .. } => Some(format!(
                    "propose {:?}",
                    batches.iter().map(|(id, draft)| (*id, draft.len())).collect::<Vec<_>>()
                )),
                Input::Read { id } => Some(format!("read {id}")),
                Input::Purge { upto } => Some(format!("purge {upto}")),
                Input::Close { handover } => Some(format!("close {handover}")),
                Input::SnapshotTaken(last) => Some(format!("taken {last}")),
                Input::Time { .. } => Some("time".to_owned()),
                _ => None,
            })
            .collect()
    }

    fn said(&mut self) -> Vec<String> {
        let failed = |waiter, failure: Failure| format!("{waiter}: {failure:?}");
        std::mem::take(&mut self.out)
            .into_iter()
            .filter_map(|action| match action {
                Action::Apply { entries, wanted } => {
                    let pieces: Vec<_> = wanted
                        .into_iter()
                        .map(|one| match one.piece {
                            Piece::More => format!("{:?} more of {}", one.range, one.id),
                            Piece::Last(waiter) => format!("{:?} {waiter}", one.range),
                            Piece::Cut(waiter, failure) => format!("{:?} {}", one.range, failed(waiter, failure)),
                        })
                        .collect();
                    Some(format!("apply {} [{}]", entries.len(), pieces.join(", ")))
                }
                Action::FailProposal { id, waiter, failure } => {
                    let begun = if id.is_some() { "after a part, " } else { "" };
                    Some(format!("{begun}{}", failed(waiter, failure)))
                }
                Action::FailRead { waiter, failure } => Some(failed(waiter, failure)),
                Action::Query { waiter, index } => Some(format!("query {waiter} at {index}")),
                Action::EndSnapshot { waiter, result } => Some(format!("snapshot {waiter}: {result:?}")),
                Action::TakeSnapshot => Some("take a snapshot".to_owned()),
                Action::Restore(last) => Some(format!("restore {last}")),
                Action::Closed => Some("closed".to_owned()),
                _ => None,
            })
            .collect()
    }
}

fn entries(first: Index, count: u64, term: Term) -> Vec<Entry> {
    let mut draft = Draft::default();
    for _ in 0..count {
        draft.push(EntryKind::Command, b"x");
    }
    let mut out = Vec::new();
    draft.stamp(first, term, 1, &mut out);
    out
}

fn proposed(id: RequestId, index: Index, term: Term) -> Effect {
    Effect::Reply(Reply::Proposed { id, at: LogId::new(index, term) })
}

#[test]
fn what_waits_makes_one_step() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.propose("b", 3, None);
    assert_eq!(world.inputs(), [""; 0]);
    world.prepare(vec![proposed(1, 5, 3), proposed(2, 6, 3)]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(1, 1), (2, 3)]"]);
    world.feed(vec![Effect::Apply(entries(1, 8, 3))]);
    assert_eq!(world.said(), ["apply 8 [4..5 a, 5..8 b]"]);
    assert_eq!(world.driver.waiting(), 0);
}

#[test]
fn a_batch_may_come_in_pieces() {
    let mut world = World::new(Some(1));
    world.propose("a", 4, Some(500));
    world.prepare(vec![proposed(1, 1, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(1, 2, 3)), Effect::Apply(entries(3, 5, 3))]);
    assert_eq!(world.said(), ["apply 2 [0..2 more of 1]", "apply 5 [0..2 a]"]);

    // The rest is late: whoever has the pieces is told.
    world.propose("b", 4, Some(500));
    world.prepare(vec![proposed(2, 8, 3)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(8, 2, 3))]);
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
    world.feed(vec![Effect::Apply(log)]);
    assert_eq!(
        world.said(),
        ["apply 6 [0..1 a, 1..2 b: Overwritten { at: LogId { term: 3, index: 3 }, by: 4 }]"],
        "one of b's entries was applied, the others never will be"
    );
    world.propose("c", 1, None);
    world.prepare(vec![proposed(3, 7, 4)]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(7, 1, 5))]);
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
    world.feed(vec![Effect::Apply(log)]);
    assert_eq!(world.said(), ["old: Overwritten { at: LogId { term: 3, index: 5 }, by: 4 }", "apply 5 [4..5 new]"]);
}

#[test]
fn a_place_learned_too_late_is_unknown() {
    let mut world = World::new(Some(2));
    world.propose("a", 1, None);
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.flush();
    world.feed(vec![Effect::Apply(entries(1, 3, 3)), proposed(1, 2, 3)]);
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
fn a_forward_is_sent_once_and_a_certain_refusal_is_asked_again() {
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
    // Another leader comes, and no answer: it may stand in a log, so nobody asks again.
    world.change_leader(Some(2));
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    world.now += 5_000;
    world.flush();
    assert_eq!(world.said(), ["a: Unknown(Forwarded(3))"]);
}

#[test]
fn a_forward_to_a_leader_of_the_past_is_not_waited_for() {
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
    world.feed(vec![Effect::Apply(entries(1, 4, 3)), Effect::Reply(Reply::ReadReady { id: 2, index: 3 })]);
    assert_eq!(world.said(), ["apply 4 []", "query a at 4", "query b at 4", "query c at 3"]);
}

#[test]
fn a_read_is_asked_again_under_a_new_id() {
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
fn a_stopped_machine_ends_what_waits_for_it() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.prepare(vec![proposed(1, 5, 3)]);
    world.flush();
    world.read("r", 5_000);
    world.flush();
    world.feed(vec![Effect::Reply(Reply::ReadReady { id: 2, index: 5 })]);
    world.handle(DriverInput::ApplyStopped);
    assert_eq!(world.said(), ["a: ApplyStopped", "query r at 5"], "the apply thread knows how far it came");
    world.feed(vec![Effect::Apply(entries(1, 5, 3))]);
    world.propose("b", 1, None);
    world.flush();
    assert_eq!(world.said(), ["b: ApplyStopped"]);
}

fn applied(index: Index, bytes: u64) -> DriverInput<Names> {
    DriverInput::Applied { last: LogId::new(index, 3), bytes }
}

#[test]
fn snapshots_are_made_by_number_and_never_two_at_once() {
    let mut world = World::new(Some(1));
    world.handle(applied(9, 1));
    assert_eq!(world.said(), [""; 0]);
    world.handle(applied(10, 1));
    world.handle(applied(30, 1));
    assert_eq!(world.said(), ["take a snapshot"]);
    // Demanded while one is made: that one may be too old, so another follows it.
    world.handle(DriverInput::Snapshot { waiter: "s", deadline: None, applied: 0 });
    world.handle(DriverInput::SnapshotTaken(LogId::new(10, 3)));
    assert_eq!(world.said(), ["take a snapshot"]);
    assert_eq!(world.inputs(), ["taken 10@3", "purge 8"]);
    world.handle(DriverInput::SnapshotTaken(LogId::new(30, 3)));
    assert_eq!(world.said(), ["snapshot s: Ok(30)"]);
    world.handle(DriverInput::Snapshot { waiter: "t", deadline: None, applied: 0 });
    assert_eq!(world.said(), ["snapshot t: Ok(30)"], "nothing new to keep");
    world.handle(applied(45, 1));
    world.handle(DriverInput::Snapshot { waiter: "u", deadline: None, applied: 0 });
    world.handle(DriverInput::SnapshotFailed);
    assert_eq!(world.said(), ["take a snapshot", "take a snapshot"]);
    world.handle(DriverInput::SnapshotFailed);
    world.handle(applied(46, 1));
    assert_eq!(world.said(), ["snapshot u: Err(SnapshotFailed)"], "and not again at once");
}

#[test]
fn what_is_applied_while_a_snapshot_is_made_counts_for_the_next() {
    let mut world = World::new(Some(1));
    world.handle(applied(10, 1));
    world.handle(applied(25, 1));
    assert_eq!(world.said(), ["take a snapshot"]);
    world.handle(DriverInput::SnapshotTaken(LogId::new(11, 3)));
    assert_eq!(world.said(), ["take a snapshot"], "although nothing more may be applied for long");
}

#[test]
fn a_transfer_keeps_the_log_that_its_follower_will_need() {
    let mut world = World::new(Some(1));
    world.handle(applied(10, 1));
    world.handle(DriverInput::SnapshotTaken(LogId::new(10, 3)));
    world.feed(vec![Effect::SendSnapshot { to: 2, at_least: 8 }]);
    world.handle(applied(20, 100));
    world.handle(DriverInput::SnapshotTaken(LogId::new(20, 3)));
    assert_eq!(world.inputs(), ["taken 10@3", "purge 8", "taken 20@3", "purge 10"]);
    // Delivered, and behind: it still needs what follows the snapshot.
    world.script.0.borrow_mut().matched.insert(2, 10);
    world.handle(DriverInput::SnapshotSent { to: 2, delivered: Some(10) });
    assert_eq!(world.inputs(), [""; 0]);
    world.script.0.borrow_mut().matched.insert(2, 19);
    world.handle(applied(30, 100));
    world.handle(DriverInput::SnapshotTaken(LogId::new(30, 3)));
    assert_eq!(world.inputs(), ["taken 30@3"]);
    world.script.0.borrow_mut().matched.insert(2, 29);
    world.handle(applied(40, 100));
    world.handle(DriverInput::SnapshotTaken(LogId::new(40, 3)));
    assert_eq!(world.inputs(), ["taken 40@3"], "29 is behind 38 still");
    world.now += 10_000;
    world.handle(applied(50, 100));
    world.handle(DriverInput::SnapshotTaken(LogId::new(50, 3)));
    assert_eq!(world.inputs(), ["taken 50@3", "purge 48"], "not for ever");
}

#[test]
fn what_a_transfer_kept_goes_when_its_grace_ends_though_nothing_else_happens() {
    let mut world = World::new(Some(1));
    world.handle(applied(10, 1));
    world.handle(DriverInput::SnapshotTaken(LogId::new(10, 3)));
    world.feed(vec![Effect::SendSnapshot { to: 2, at_least: 8 }]);
    world.handle(applied(20, 100));
    world.handle(DriverInput::SnapshotTaken(LogId::new(20, 3)));
    world.script.0.borrow_mut().matched.insert(2, 10);
    world.handle(DriverInput::SnapshotSent { to: 2, delivered: Some(10) });
    assert_eq!(world.inputs(), ["taken 10@3", "purge 8", "taken 20@3", "purge 10"]);
    let due = world.now + 10_000;
    assert_eq!(world.driver.deadline(), Some(due));
    world.now = due;
    world.flush();
    assert_eq!(world.inputs(), ["purge 18"]);
    assert_eq!(world.driver.deadline(), None);
}

#[test]
fn a_transfer_that_takes_too_long_keeps_nothing() {
    let mut world = World::new(Some(1));
    world.handle(applied(10, 1));
    world.handle(DriverInput::SnapshotTaken(LogId::new(10, 3)));
    world.feed(vec![Effect::SendSnapshot { to: 2, at_least: 8 }]);
    world.handle(applied(20, 1_001));
    world.handle(DriverInput::SnapshotTaken(LogId::new(20, 3)));
    assert_eq!(world.inputs().last().unwrap(), "purge 18");
}

#[test]
fn a_close_drains_and_refuses() {
    let mut world = World::new(Some(1));
    world.propose("a", 1, None);
    world.prepare(vec![proposed(1, 1, 3)]);
    world.flush();
    world.inputs();
    world.handle(DriverInput::Close { handover: true, drain_until: world.now + 1_000 });
    world.propose("b", 1, None);
    world.read("r", 5_000);
    world.flush();
    assert_eq!(world.said(), ["b: Closed", "r: Closed"]);
    assert_eq!(world.inputs(), [""; 0], "a is under way");
    world.feed(vec![Effect::Apply(entries(1, 1, 3))]);
    world.prepare(vec![Effect::Reply(Reply::Closed)]);
    world.flush();
    assert_eq!(world.inputs(), ["close true"]);
    assert_eq!(world.said(), ["apply 1 [0..1 a]", "closed"]);
    assert!(world.driver.closed());
}

#[test]
fn a_close_waits_no_longer_than_it_may() {
    let mut world = World::new(Some(2));
    world.propose("a", 1, None);
    world.prepare(vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.flush();
    world.inputs();
    world.handle(DriverInput::Close { handover: false, drain_until: world.now + 1_000 });
    world.flush();
    assert_eq!(world.driver.deadline(), Some(world.now + 1_000));
    world.now += 1_000;
    world.prepare(vec![Effect::Reply(Reply::Closed)]);
    world.flush();
    assert_eq!(world.inputs(), ["close false"]);
    assert_eq!(world.said(), ["a: Unknown(Closed)", "closed"]);
}
