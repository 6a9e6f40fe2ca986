//! Messages, bounds, and the end.

use d_engine_raft::{Body, Entries, EntryKind, Incarnation, LogId, Persist};
use d_engine_sim::fact::Phase;

use crate::Case;
use crate::scene::{Scene, Told, entry};

pub const CASES: &[Case] = &[
    ("message-conservation", twice_as_it_was, never_sent),
    ("sender-lives", as_itself, from_the_grave),
    ("bounded-memory", little_in_memory, much_in_memory),
    ("bounded-queues", who_asked_waits, nobody_asked),
    ("bounded-window", with_an_answer, without_an_answer),
    ("progress-after-healing", a_write_in_time, no_write_in_time),
];

fn twice_as_it_was(scene: &mut Scene) -> Told {
    let sent = scene.send(1, 2, Body::Heartbeat { round: 3, commit: 1 })?;
    scene.deliver(&sent)?;
    scene.deliver(&sent)
}

fn never_sent(scene: &mut Scene) -> Told {
    let (number, message) = scene.send(1, 2, Body::Heartbeat { round: 3, commit: 1 })?;
    scene.deliver(&(number + 1, message))
}

fn as_itself(scene: &mut Scene) -> Told {
    scene.stop(2)?;
    scene.start(2)?;
    scene.pass(2, 1, Body::HeartbeatReply { round: 1, last: 2, apply_stopped: false })
}

fn from_the_grave(scene: &mut Scene) -> Told {
    scene.stop(2)?;
    scene.pass(2, 1, Body::HeartbeatReply { round: 1, last: 2, apply_stopped: false })
}

fn little_in_memory(scene: &mut Scene) -> Told {
    scene.step(1, |position| position.tail_bytes = 1_000)?;
    // More, but it is on its way to the disk.
    let entries: Entries = vec![entry(3, 1, EntryKind::Command, (0, 0), &[0; 2_000])].into();
    scene.step(1, |position| (position.last, position.tail_bytes) = (LogId::new(3, 1), 2_064))?;
    scene.persist(1, Persist { entries, ..Persist::default() })?;
    scene.step(2, |_| ())
}

fn much_in_memory(scene: &mut Scene) -> Told {
    scene.step(1, |position| position.tail_bytes = 1_001)?;
    scene.step(2, |_| ())
}

fn who_asked_waits(scene: &mut Scene) -> Told {
    scene.ask_write(1, 7, 2)?;
    scene.step(1, |position| position.waiting = 2)?;
    scene.step(1, |position| position.waiting = 1)?;
    scene.at += 1_100_000;
    scene.step(1, |position| position.waiting = 2)?;
    scene.step(2, |_| ())
}

fn nobody_asked(scene: &mut Scene) -> Told {
    who_asked_waits(scene)?;
    scene.step(1, |position| position.waiting = 2)?;
    scene.at += 1_100_000;
    scene.step(1, |_| ())?;
    scene.step(2, |_| ())
}

fn appends(scene: &mut Scene, answered: bool) -> Told {
    for round in 0..30 {
        let entries = vec![entry(2, 1, EntryKind::Noop, (0, 0), &[])].into();
        scene.pass(1, 2, Body::Append { prev: LogId::new(1, 1), commit: 1, entries })?;
        if answered {
            scene.pass(2, 1, Body::HeartbeatReply { round, last: 2, apply_stopped: false })?;
        }
    }
    Ok(())
}

fn with_an_answer(scene: &mut Scene) -> Told {
    appends(scene, true)
}

fn without_an_answer(scene: &mut Scene) -> Told {
    appends(scene, false)
}

fn a_write_in_time(scene: &mut Scene) -> Told {
    scene.phase(Phase::Healing)?;
    scene.at += 9_000_000;
    scene.written(1, &[2], 2, 1)?;
    scene.at += 9_000_000;
    scene.step(2, |_| ())
}

fn no_write_in_time(scene: &mut Scene) -> Told {
    let before = scene.ask_write(1, 7, 2)?;
    scene.phase(Phase::Healing)?;
    scene.answer(before, &d_engine_sim::fact::Outcome::Unknown("late".into()))?;
    scene.at += 11_000_000;
    scene.step(2, |_| ())
}

#[test]
fn a_message_that_is_changed_on_its_way_is_found() {
    let mut scene = Scene::begun();
    let (number, mut message) = scene.send(1, 2, Body::Heartbeat { round: 3, commit: 1 }).unwrap();
    message.body = Body::Heartbeat { round: 4, commit: 1 };
    assert_eq!(scene.deliver(&(number, message)).unwrap_err().check, "message-conservation");
}

#[test]
fn a_message_in_another_name_is_found() {
    let mut scene = Scene::begun();
    let mut message = scene.message(1, 2, Body::Heartbeat { round: 3, commit: 1 });
    message.incarnation = Incarnation(5);
    assert_eq!(scene.send_message(&message).unwrap_err().check, "sender-lives");
}
