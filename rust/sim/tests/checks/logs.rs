//! Logs, disks, memberships, the commit index.

use d_engine_raft::{AppendReply, Body, Configuration, EntryKind, HardState, Index, LogId, Persist, Role, Term};

use crate::Case;
use crate::scene::{Disk, Scene, Told, entry, members, write};

pub const CASES: &[Case] = &[
    ("log-contiguous", one_after_the_other, a_gap),
    ("leader-append-only", a_follower_cuts, a_leader_cuts),
    ("log-matching", the_same_twice, two_entries_in_one_place),
    ("ack-on-disk", what_is_synced, what_is_written),
    ("restart-keeps", what_was_synced, less_than_was_synced),
    ("quorums-meet", one_voter_more, another_cluster),
    ("joint-phase", through_both_halves, out_before_it_is_committed),
    ("commit-monotonic", forth, back),
    ("committed-by-quorum", two_of_three_said_so, one_of_three_said_so),
    ("committed-durably", two_of_three_have_it, one_of_three_has_it),
    ("commit-agrees", what_the_leader_committed, more_than_the_leader_committed),
];

fn persist(scene: &mut Scene, node: u64, truncate_from: Option<Index>, entries: &[(Index, Term)]) -> Told {
    let entries = entries.iter().map(|&(index, term)| entry(index, term, EntryKind::Noop, (0, 0), &[]));
    scene.persist(node, Persist { truncate_from, entries: entries.collect(), ..Persist::default() })
}

fn one_after_the_other(scene: &mut Scene) -> Told {
    scene.step(3, |position| position.last = LogId::new(4, 1))?;
    persist(scene, 3, None, &[(3, 1), (4, 1)])?;
    scene.sync(3)
}

fn a_gap(scene: &mut Scene) -> Told {
    scene.step(3, |position| position.last = LogId::new(4, 1))?;
    persist(scene, 3, None, &[(4, 1)])
}

fn a_follower_cuts(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.elect(2, 2, &[3])?;
    scene.replicate(2, 1)
}

fn a_leader_cuts(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.step(1, |position| position.last = LogId::new(2, 1))?;
    persist(scene, 1, Some(3), &[])?;
    scene.sync(1)
}

fn the_same_twice(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.replicate(1, 2)?;
    scene.replicate(1, 3)
}

fn two_entries_in_one_place(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Command, (0, 0), &write(7, 2))?;
    scene.step(2, |position| position.last = LogId::new(3, 1))?;
    let entries = vec![entry(3, 1, EntryKind::Command, (0, 0), &write(7, 3))].into();
    scene.persist(2, Persist { entries, ..Persist::default() })
}

fn what_is_synced(scene: &mut Scene) -> Told {
    one_after_the_other(scene)?;
    scene.acknowledge(3, 1, 4)
}

fn what_is_written(scene: &mut Scene) -> Told {
    scene.step(3, |position| position.last = LogId::new(4, 1))?;
    persist(scene, 3, None, &[(3, 1), (4, 1)])?;
    scene.acknowledge(3, 1, 4)
}

fn what_was_synced(scene: &mut Scene) -> Told {
    scene.step(3, |position| position.last = LogId::new(4, 1))?;
    persist(scene, 3, None, &[(3, 1), (4, 1)])?;
    scene.stop(3)?;
    scene.start(3)
}

fn less_than_was_synced(scene: &mut Scene) -> Told {
    scene.stop(3)?;
    scene.actor(3).disk.last = LogId::new(1, 1);
    scene.start(3)
}

fn one_voter_more(scene: &mut Scene) -> Told {
    scene.reconfigure(1, &members(&[1, 2, 3, 4]))
}

fn another_cluster(scene: &mut Scene) -> Told {
    scene.reconfigure(1, &members(&[1, 4, 5]))
}

fn joint() -> Configuration {
    let mut joint = members(&[1, 2, 3, 4, 5]);
    joint.members[1].leaving = true;
    joint.members[2].leaving = true;
    joint.outgoing = vec![1, 2, 3];
    joint
}

fn through_both_halves(scene: &mut Scene) -> Told {
    scene.reconfigure(1, &joint())?;
    scene.replicate(1, 2)?;
    // A directory is recorded meanwhile, which changes no quorum.
    let mut recorded = joint();
    recorded.members[3].incarnation = None;
    scene.reconfigure(1, &recorded)
}

fn out_before_it_is_committed(scene: &mut Scene) -> Told {
    scene.reconfigure(1, &joint())?;
    scene.reconfigure(1, &joint().incoming())
}

fn forth(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.settle(1, &[2, 3])
}

fn back(scene: &mut Scene) -> Told {
    scene.step(2, |position| position.commit = 1)
}

fn two_of_three_said_so(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.replicate(1, 3)?;
    scene.commit(1, 3)?;
    scene.sync(1)
}

fn one_of_three_said_so(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    // Two have it, but the leader does not know.
    scene.bring(1, 3)?;
    scene.commit(1, 3)?;
    scene.sync(1)
}

fn two_of_three_have_it(scene: &mut Scene) -> Told {
    two_of_three_said_so(scene)?;
    // Whoever is wiped after it has acknowledged had it.
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.replicate(1, 3)?;
    scene.stop(3)?;
    scene.actor(3).incarnation = d_engine_raft::Incarnation(77);
    scene.actor(3).disk = Disk::default();
    scene.start(3)?;
    scene.commit(1, 4)?;
    scene.sync(1)
}

fn one_of_three_has_it(scene: &mut Scene) -> Told {
    // Node 3 holds as much as it says, but not what the leader holds there.
    scene.elect(2, 2, &[3])?;
    scene.replicate(2, 3)?;
    scene.enter(1, 3, Role::Follower, None)?;
    scene.campaign(1, 4, &[3])?;
    scene.lead(1)?;
    scene.pass(3, 1, Body::AppendReply(AppendReply::Accepted { matched: 3 }))?;
    scene.commit(1, 3)?;
    scene.sync(1)
}

fn what_the_leader_committed(scene: &mut Scene) -> Told {
    forth(scene)?;
    // It commits its own removal and gives way, in one turn.
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.replicate(1, 2)?;
    scene.step(1, |position| (position.role, position.leader, position.commit) = (Role::Follower, None, 4))?;
    scene.commit(2, 4)?;
    scene.sync(2)
}

fn more_than_the_leader_committed(scene: &mut Scene) -> Told {
    scene.append(1, EntryKind::Noop, (0, 0), &[])?;
    scene.replicate(1, 2)?;
    scene.commit(2, 3)?;
    scene.sync(2)
}

#[test]
fn a_vote_that_is_forgotten_by_a_restart_is_found() {
    let mut scene = Scene::begun();
    scene.stop(3).unwrap();
    scene.actor(3).disk.hard_state = HardState { term: 1, vote: None };
    assert_eq!(scene.start(3).unwrap_err().check, "restart-keeps");
}
