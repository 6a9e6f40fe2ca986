//! What clients see.

use d_engine_node::Consistency;
use d_engine_raft::{EntryKind, Index};
use d_engine_sim::fact::{Fact, Outcome, Request};

use crate::Case;
use crate::scene::{Scene, Told, write};

pub const CASES: &[Case] = &[
    ("answered-once", one_answer, two_answers),
    ("no-wedged-waiter", within_its_time, for_ever),
    ("acknowledged-kept", an_applied_write, a_write_that_nobody_applied),
    ("refused-never-applied", refused_and_gone, refused_and_applied),
    ("same-result", what_was_there, something_else),
    ("linearizable-reads", a_fresh_read, a_stale_read),
    ("lease-reads", a_read_by_lease, a_stale_read_by_lease),
    ("eventual-reads", reads_go_on, reads_go_back),
    ("read-values", the_value_then, a_value_of_later),
];

fn one_answer(scene: &mut Scene) -> Told {
    let id = scene.ask_write(1, 7, 2)?;
    scene.answer(id, &Outcome::Unknown("late".into()))
}

fn two_answers(scene: &mut Scene) -> Told {
    one_answer(scene)?;
    let id = scene.call;
    scene.answer(id, &Outcome::Gone)
}

fn within_its_time(scene: &mut Scene) -> Told {
    scene.ask_write(1, 7, 2)?;
    let id = scene.call;
    scene.at += 4_900_000;
    scene.answer(id, &Outcome::Unknown("late".into()))?;
    // A node that hangs answers nobody, for as long as it does.
    scene.struck(d_engine_sim::fact::Fault::Pause, 2)?;
    scene.ask_write(2, 7, 3)?;
    scene.at += 9_000_000;
    scene.step(1, |_| ())?;
    scene.tell(&Fact::Ended { fault: d_engine_sim::fact::Fault::Pause, nodes: &[2] })?;
    scene.at += 4_000_000;
    scene.step(1, |_| ())
}

fn for_ever(scene: &mut Scene) -> Told {
    scene.ask_write(1, 7, 2)?;
    scene.at += 5_100_000;
    scene.step(2, |_| ())
}

fn an_applied_write(scene: &mut Scene) -> Told {
    scene.written(1, &[3], 2, 1)
}

fn a_write_that_nobody_applied(scene: &mut Scene) -> Told {
    let id = scene.ask_write(1, 7, 2)?;
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.answer(id, &Outcome::Written { index: 3, previous: 1 })
}

fn refused(scene: &mut Scene, first: &Outcome) -> Told {
    let id = scene.ask_write(1, 7, 2)?;
    scene.answer(id, first)?;
    // The same value again, as a session's retry.
    let id = scene.ask_write(1, 7, 2)?;
    scene.answer(id, &Outcome::Refused("not the leader".into()))?;
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.settle(1, &[2])?;
    scene.apply(1, 3)
}

fn refused_and_gone(scene: &mut Scene) -> Told {
    refused(scene, &Outcome::Unknown("late".into()))
}

fn refused_and_applied(scene: &mut Scene) -> Told {
    refused(scene, &Outcome::Refused("overloaded".into()))
}

fn what_was_there(scene: &mut Scene) -> Told {
    scene.written(1, &[3], 2, 1)
}

fn something_else(scene: &mut Scene) -> Told {
    scene.written(1, &[3], 2, 0)
}

/// Node 2 answers a read after a second write that it has not applied.
fn late_read(scene: &mut Scene, consistency: Consistency, value: u64, applied: Index) -> Told {
    scene.written(1, &[2, 3], 2, 1)?;
    let id = scene.ask_read(2, consistency)?;
    if applied > 2 {
        scene.apply(2, applied)?;
    }
    scene.answer(id, &Outcome::Read { value, applied })
}

fn a_fresh_read(scene: &mut Scene) -> Told {
    late_read(scene, Consistency::Linearizable, 2, 3)
}

fn a_stale_read(scene: &mut Scene) -> Told {
    late_read(scene, Consistency::Linearizable, 1, 2)
}

fn a_read_by_lease(scene: &mut Scene) -> Told {
    late_read(scene, Consistency::Lease, 2, 3)
}

fn a_stale_read_by_lease(scene: &mut Scene) -> Told {
    late_read(scene, Consistency::Lease, 1, 2)
}

fn eventual(scene: &mut Scene, value: u64, applied: Index) -> Told {
    let id = scene.ask_read(1, Consistency::Eventual)?;
    scene.answer(id, &Outcome::Read { value, applied })
}

fn reads_go_on(scene: &mut Scene) -> Told {
    late_read(scene, Consistency::Eventual, 1, 2)?;
    eventual(scene, 2, 3)
}

fn reads_go_back(scene: &mut Scene) -> Told {
    scene.written(1, &[2], 2, 1)?;
    eventual(scene, 2, 3)?;
    eventual(scene, 1, 2)
}

fn the_value_then(scene: &mut Scene) -> Told {
    eventual(scene, 1, 2)?;
    let id = scene.invoke(1, Request::Read { key: 8, consistency: Consistency::Eventual })?;
    scene.answer(id, &Outcome::Read { value: 0, applied: 2 })
}

fn a_value_of_later(scene: &mut Scene) -> Told {
    scene.written(1, &[2], 2, 1)?;
    let id = scene.ask_read(2, Consistency::Eventual)?;
    scene.answer(id, &Outcome::Read { value: 2, applied: 2 })
}

#[test]
fn a_stale_read_by_lease_is_nobodys_fault_after_a_jump_of_a_clock() {
    let mut scene = Scene::begun();
    let shown = scene.now(3) + 1_000_000;
    scene.tell(&Fact::Clock { node: 3, shown, drift: 0 }).unwrap();
    assert_eq!(a_stale_read_by_lease(&mut scene), Ok(()));
    assert_eq!(late_again(&mut scene), "lease-reads", "the clocks have been right for long enough");
}

fn late_again(scene: &mut Scene) -> &'static str {
    scene.at += 1_000_000;
    let id = scene.ask_read(2, Consistency::Lease).unwrap();
    scene.answer(id, &Outcome::Read { value: 1, applied: 2 }).unwrap_err().check
}

#[test]
fn a_read_of_what_is_not_applied_is_found() {
    let mut scene = Scene::begun();
    let id = scene.ask_read(3, Consistency::Eventual).unwrap();
    assert_eq!(scene.answer(id, &Outcome::Read { value: 1, applied: 2 }).unwrap_err().check, "eventual-reads");
}
