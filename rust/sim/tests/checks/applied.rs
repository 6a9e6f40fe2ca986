//! State machines and snapshots.

use d_engine_raft::{Entry, EntryKind, LogId};
use d_engine_sim::fact::Fact;

use crate::Case;
use crate::scene::{Scene, Told, entry, write};

pub const CASES: &[Case] = &[
    ("applied-monotonic", every_entry, one_left_out),
    ("applied-within", what_is_committed, what_is_not_committed),
    ("state-machine-safety", the_same_everywhere, another_entry),
    ("time-monotonic", time_goes_on, time_goes_back),
    ("exactly-once", a_number_once, a_number_twice),
    ("state-agrees", equal_states, another_state),
    ("snapshot-order", a_newer_snapshot, an_older_snapshot),
    ("snapshot-exact", the_state_of_then, a_state_of_never),
    ("purge-covered", up_to_the_snapshot, beyond_the_snapshot),
];

fn every_entry(scene: &mut Scene) -> Told {
    scene.apply(3, 1)?;
    scene.apply(3, 2)
}

fn one_left_out(scene: &mut Scene) -> Told {
    let last: Vec<Entry> = scene.actor(3).log[1..].to_vec();
    scene.apply_as(3, &last, &[2])
}

fn what_is_committed(scene: &mut Scene) -> Told {
    every_entry(scene)
}

fn what_is_not_committed(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.apply(1, 3)
}

fn the_same_everywhere(scene: &mut Scene) -> Told {
    every_entry(scene)
}

fn another_entry(scene: &mut Scene) -> Told {
    let entries = [scene.actor(3).log[0].clone(), entry(2, 1, EntryKind::Command, (0, 0), &write(7, 9))];
    scene.apply_as(3, &entries, &[2])
}

fn stamped(scene: &mut Scene, time: u64) -> Told {
    let next = Entry::new(LogId::new(3, 1), EntryKind::Noop, time, 0, 0, 0, &[]);
    scene.step(1, |position| position.last = LogId::new(3, 1))?;
    let entries = vec![next].into();
    scene.persist(1, d_engine_raft::Persist { entries, ..d_engine_raft::Persist::default() })?;
    scene.sync(1)?;
    scene.settle(1, &[2])?;
    scene.apply(1, 3)
}

fn time_goes_on(scene: &mut Scene) -> Told {
    stamped(scene, 2)
}

fn time_goes_back(scene: &mut Scene) -> Told {
    stamped(scene, 1)
}

/// Number 5 of session 3 stands in the log twice.
fn twice(scene: &mut Scene, given: &[u64]) -> Told {
    scene.append(1, EntryKind::Session, (0, 0), &[])?;
    let id = scene.invoke(1, d_engine_sim::fact::Request::Write { key: 7, value: 2, session: Some((3, 5)) })?;
    scene.append(1, EntryKind::Command, (3, 5), &write(7, 2))?;
    scene.append(1, EntryKind::Command, (3, 5), &write(7, 2))?;
    scene.settle(1, &[2])?;
    let entries: Vec<Entry> = scene.actor(1).log[2..].to_vec();
    scene.apply_as(1, &entries, given)?;
    scene.answer(id, &d_engine_sim::fact::Outcome::Written { index: 5, previous: 1 })?;
    scene.apply_as(2, &entries, given)
}

fn a_number_once(scene: &mut Scene) -> Told {
    twice(scene, &[4])
}

fn a_number_twice(scene: &mut Scene) -> Told {
    twice(scene, &[4, 5])
}

fn equal_states(scene: &mut Scene) -> Told {
    every_entry(scene)
}

fn another_state(scene: &mut Scene) -> Told {
    scene.actor(3).state = 99;
    every_entry(scene)
}

fn restored(scene: &mut Scene, node: u64, last: u64, state: u64) -> Told {
    let last = LogId::new(last, 1);
    scene.tell(&Fact::Restored { node, last, state })
}

fn a_newer_snapshot(scene: &mut Scene) -> Told {
    let state = scene.actor(1).state;
    restored(scene, 3, 2, state)
}

fn an_older_snapshot(scene: &mut Scene) -> Told {
    restored(scene, 1, 1, 0)
}

fn the_state_of_then(scene: &mut Scene) -> Told {
    a_newer_snapshot(scene)?;
    scene.snapshot(1, LogId::new(2, 1))
}

fn a_state_of_never(scene: &mut Scene) -> Told {
    restored(scene, 3, 2, 12_345)
}

fn up_to_the_snapshot(scene: &mut Scene) -> Told {
    scene.snapshot(1, LogId::new(2, 1))?;
    scene.tell(&Fact::Purged { node: 1, upto: LogId::new(1, 1) })
}

fn beyond_the_snapshot(scene: &mut Scene) -> Told {
    scene.snapshot(1, LogId::new(1, 1))?;
    scene.tell(&Fact::Purged { node: 1, upto: LogId::new(2, 1) })
}

#[test]
fn a_snapshot_of_what_is_not_applied_is_found() {
    let mut scene = Scene::begun();
    assert_eq!(scene.snapshot(3, LogId::new(2, 1)).unwrap_err().check, "snapshot-exact");
}

#[test]
fn another_verdict_on_the_same_entry_is_found() {
    let mut scene = Scene::begun();
    let entries = scene.actor(3).log.clone();
    assert_eq!(scene.apply_as(3, &entries, &[]).unwrap_err().check, "exactly-once");
}

#[test]
fn a_command_that_is_applied_twice_without_a_session_is_found() {
    let mut scene = Scene::begun();
    scene.ask_write(1, 7, 2).unwrap();
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2)).unwrap();
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2)).unwrap();
    scene.settle(1, &[2]).unwrap();
    assert_eq!(scene.apply(1, 4).unwrap_err().check, "exactly-once");
}
