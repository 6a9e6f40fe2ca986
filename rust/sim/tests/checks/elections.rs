//! Terms, votes, leaders, leases.

use d_engine_raft::{Body, HardState, Incarnation, LogId, MemberRole, Persist, Role};
use d_engine_sim::fact::Fact;

use crate::Case;
use crate::scene::{Scene, Told, member, members};

pub const CASES: &[Case] = &[
    ("term-monotonic", a_newer_term, an_older_term),
    ("vote-once", the_vote_of_a_later_term, a_second_vote),
    ("vote-on-disk", a_vote_on_the_disk, a_vote_in_memory),
    ("election-safety", a_leader_of_another_term, two_leaders),
    ("elected-by-quorum", by_two_of_three, by_one_of_three),
    ("member-leads", a_voter_campaigns, a_learner_campaigns),
    ("lease-overlap", after_the_lease, during_the_lease),
    ("leader-completeness", with_what_is_committed, without_what_is_committed),
];

fn a_newer_term(scene: &mut Scene) -> Told {
    scene.enter(2, 3, Role::Follower, None)?;
    scene.stop(2)?;
    // What was not durable may be forgotten.
    scene.start(2)
}

fn an_older_term(scene: &mut Scene) -> Told {
    scene.enter(2, 3, Role::Follower, None)?;
    scene.step(2, |position| position.term = 2)
}

fn the_vote_of_a_later_term(scene: &mut Scene) -> Told {
    scene.enter(3, 2, Role::Follower, Some(2))?;
    scene.pass(3, 2, Body::VoteReply { granted: true })?;
    scene.pass(3, 2, Body::VoteReply { granted: true })?;
    scene.enter(3, 3, Role::Follower, Some(1))?;
    scene.pass(3, 1, Body::VoteReply { granted: true })
}

fn a_second_vote(scene: &mut Scene) -> Told {
    scene.enter(3, 2, Role::Follower, Some(2))?;
    scene.pass(3, 2, Body::VoteReply { granted: true })?;
    scene.enter(3, 2, Role::Follower, Some(1))?;
    scene.pass(3, 1, Body::VoteReply { granted: true })
}

fn a_vote_on_the_disk(scene: &mut Scene) -> Told {
    // It is in a later term by now; the disk has it, and the vote of before is what it was.
    scene.enter(3, 2, Role::Follower, Some(2))?;
    let late = scene.message(3, 2, Body::VoteReply { granted: true });
    scene.enter(3, 3, Role::Follower, None)?;
    scene.send_message(&late).map(|_| ())
}

fn a_vote_in_memory(scene: &mut Scene) -> Told {
    scene.step(3, |position| (position.term, position.leader) = (2, None))?;
    let hard_state = Some(HardState { term: 2, vote: Some(2) });
    scene.persist(3, Persist { hard_state, ..Persist::default() })?;
    scene.pass(3, 2, Body::VoteReply { granted: true })
}

fn a_leader_of_another_term(scene: &mut Scene) -> Told {
    scene.elect(2, 2, &[3])
}

fn two_leaders(scene: &mut Scene) -> Told {
    scene.step(2, |position| (position.role, position.leader) = (Role::Leader, Some(2)))
}

fn by_two_of_three(scene: &mut Scene) -> Told {
    scene.elect(3, 2, &[1])?;
    // Nobody is recorded, but everybody votes.
    let mut unrecorded = members(&[1, 2, 3]);
    unrecorded.members.iter_mut().for_each(|member| member.incarnation = None);
    scene.tell(&Fact::Configured { node: 2, index: 0, configuration: &unrecorded })?;
    scene.elect(2, 3, &[1, 3])
}

fn by_one_of_three(scene: &mut Scene) -> Told {
    // Node 1 votes from a directory that nobody has recorded, as far as node 2 knows.
    let mut unrecorded = members(&[1, 2, 3]);
    unrecorded.members[0].incarnation = None;
    scene.tell(&Fact::Configured { node: 2, index: 2, configuration: &unrecorded })?;
    scene.elect(2, 2, &[1])?;
    scene.sync(2)
}

fn a_voter_campaigns(scene: &mut Scene) -> Told {
    scene.campaign(2, 2, &[])?;
    // Removed by a configuration that is not committed yet.
    scene.tell(&Fact::Configured { node: 2, index: 3, configuration: &members(&[1, 3]) })?;
    scene.enter(2, 3, Role::Candidate, Some(2))?;
    scene.pass(2, 3, Body::Vote { last: LogId::new(2, 1), transfer: false })
}

fn a_learner_campaigns(scene: &mut Scene) -> Told {
    let mut configuration = members(&[1, 3]);
    configuration.members.insert(1, d_engine_raft::Member { role: MemberRole::Learner, ..member(2) });
    scene.tell(&Fact::Configured { node: 2, index: 2, configuration: &configuration })?;
    scene.step(2, |_| ())?;
    scene.pass(2, 3, Body::PreVote { last: LogId::new(2, 1) })
}

fn lease(scene: &mut Scene, span: u64) -> Told {
    let until = scene.now(1) + span;
    scene.step(1, |position| position.lease_until = Some(until))?;
    scene.at += 100_000;
    scene.elect(2, 2, &[3])?;
    scene.sync(2)
}

fn after_the_lease(scene: &mut Scene) -> Told {
    lease(scene, 100_000)?;
    // A clock jumps: for a while nothing is promised.
    let shown = scene.now(3) + 1_000_000;
    scene.tell(&Fact::Clock { node: 3, shown, drift: 0 })?;
    scene.step(1, |position| position.lease_until = None)?;
    let until = scene.now(2) + 100_000;
    scene.step(2, |position| position.lease_until = Some(until))?;
    scene.elect(3, 3, &[1])?;
    scene.sync(3)
}

fn during_the_lease(scene: &mut Scene) -> Told {
    lease(scene, 110_000)
}

fn with_what_is_committed(scene: &mut Scene) -> Told {
    scene.elect(3, 2, &[2])?;
    scene.settle(3, &[2])
}

fn without_what_is_committed(scene: &mut Scene) -> Told {
    // Node 3 has been somewhere else.
    scene.stop(3)?;
    scene.actor(3).incarnation = Incarnation(77);
    scene.actor(3).disk = crate::scene::Disk::default();
    scene.start(3)?;
    let mut configuration = members(&[1, 2, 3]);
    configuration.members[2].incarnation = Some(Incarnation(77));
    scene.tell(&Fact::Configured { node: 3, index: 0, configuration: &configuration })?;
    scene.elect(3, 2, &[2])?;
    scene.sync(3)
}
