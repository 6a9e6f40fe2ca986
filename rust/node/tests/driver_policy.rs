//! When snapshots are made, what is purged, and how a node closes, without threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod script;

use d_engine_node::driver::{DriverInput, DriverSettings};
use d_engine_raft::{Effect, Index, LogId, Reply};
use script::{Names, World, entries, proposed, settings};

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
fn snapshots_are_made_by_size() {
    let settings = DriverSettings { snapshot_every_entries: 0, snapshot_every_bytes: 1_000, ..settings() };
    let mut world = World::with(Some(1), settings);
    world.handle(applied(100, 999));
    assert_eq!(world.said(), [""; 0]);
    world.handle(applied(101, 1));
    assert_eq!(world.said(), ["take a snapshot"]);
    world.handle(DriverInput::SnapshotTaken(LogId::new(101, 3)));
    world.handle(applied(102, 999));
    assert_eq!(world.said(), [""; 0]);
    world.handle(applied(103, 1));
    assert_eq!(world.said(), ["take a snapshot"]);
}

#[test]
fn an_older_snapshot_is_never_the_newest() {
    let mut world = World::new(Some(1));
    world.handle(applied(10, 1));
    world.feed(vec![Effect::Restore(LogId::new(40, 3))]);
    world.said();
    // The one that was being made when a leader's came ends late.
    world.handle(DriverInput::SnapshotTaken(LogId::new(10, 3)));
    world.handle(DriverInput::Snapshot { waiter: "s", deadline: None, applied: 40 });
    assert_eq!(world.said(), ["snapshot s: Ok(40)"]);
    assert_eq!(world.inputs(), ["taken 10@3"], "nothing to purge");
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
    world.feed(vec![Effect::Apply(entries(1, 1, 3).into())]);
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
