//! Changes of the membership, transfers and the tiers of reads: what waits for what, without threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod script;

use d_engine_node::driver::{Consistency, DriverInput, DriverSettings};
use d_engine_raft::{ChangeError, Configuration, Effect, Event, LogId, Member, MemberRole, Refusal, Reply, Role};
use script::{World, configured, entries, settings};

const fn changing(id: u64, index: u64, term: u64) -> Effect {
    Effect::Reply(Reply::Changing { id, at: LogId::new(index, term) })
}

const fn refused(id: u64, why: ChangeError) -> Effect {
    Effect::Reply(Reply::ChangeRefused { id, why })
}

fn asked(world: &mut World, effects: Vec<Effect>) {
    world.change("a", 5_000);
    world.prepare(effects);
    world.flush();
    assert_eq!(world.inputs(), ["change 1 [Remove(3)]"]);
}

#[test]
fn a_change_ends_with_the_first_committed_configuration_that_is_not_joint() {
    let mut world = World::new(Some(1));
    asked(&mut world, vec![changing(1, 5, 3)]);
    world.feed(vec![Effect::Apply(entries(1, 4, 3).into())]);
    world.feed(vec![Effect::Apply(vec![configured(5, 3, vec![1, 2])].into())]);
    assert_eq!(world.said(), ["apply 4 []", "apply 1 []"], "the joint one does not end it");
    world.feed(vec![Effect::Apply(vec![configured(6, 4, Vec::new())].into())]);
    assert_eq!(world.said(), ["change a: Ok(\"\")", "apply 1 []"], "whoever leads by then ends the joint phase");
    assert_eq!(world.driver.waiting(), 0);
}

#[test]
fn another_entry_in_its_place_means_that_it_was_not_made() {
    let mut world = World::new(Some(1));
    asked(&mut world, vec![changing(1, 5, 3)]);
    world.feed(vec![Effect::Apply(vec![configured(5, 4, Vec::new())].into())]);
    assert_eq!(world.said(), ["change a: Err(Overwritten { at: LogId { term: 3, index: 5 }, by: 4 })", "apply 1 []"]);
}

#[test]
fn a_change_waits_for_a_leader_and_asks_again_where_that_helps() {
    let mut world = World::new(None);
    world.change("a", 5_000);
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    world.change_leader(Some(1));
    drop(world.inputs());
    world.prepare(vec![refused(1, ChangeError::NotReady)]);
    world.flush();
    assert_eq!(world.inputs(), ["change 1 [Remove(3)]"]);
    assert_eq!(world.driver.deadline(), Some(world.now + 100));
    world.now += 100;
    world.prepare(vec![refused(2, ChangeError::NoVoterLeft)]);
    world.flush();
    assert_eq!(world.inputs(), ["change 2 [Remove(3)]"], "with a new number");
    assert_eq!(world.said(), ["change a: Err(ChangeRefused(NoVoterLeft))"], "that is so tomorrow, too");
}

#[test]
fn the_last_refusal_is_told_when_time_is_over() {
    let mut world = World::new(Some(1));
    asked(&mut world, vec![refused(1, ChangeError::InFlight(4))]);
    world.change_leader(None);
    world.now += 5_000;
    world.flush();
    assert_eq!(world.said(), ["change a: Err(ChangeRefused(InFlight(4)))"]);
    world.change("b", 10);
    world.flush();
    world.now += 10;
    world.flush();
    assert_eq!(world.said(), ["change b: Err(NotLeader { leader: None, term: 3 })"]);
}

#[test]
fn a_forwarded_change_is_never_sent_twice() {
    let mut world = World::new(Some(2));
    asked(&mut world, vec![Effect::Reply(Reply::Forwarded { id: 1, to: 2 })]);
    world.script.0.borrow_mut().term = 4;
    world.script.0.borrow_mut().leader = Some(3);
    world.feed(vec![Effect::Event(Event::Changed { role: Role::Follower, term: 4, leader: Some(3) })]);
    drop(world.inputs());
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    world.now += 1_000;
    world.flush();
    assert_eq!(world.said(), ["change a: Err(Unknown(Forwarded(2)))"], "its leader is gone, and with it the answer");
}

#[test]
fn without_forwarding_a_follower_refuses() {
    let mut world = World::with(Some(2), DriverSettings { forward: false, ..settings() });
    world.change("a", 5_000);
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    assert_eq!(world.said(), ["change a: Err(NotLeader { leader: Some(2), term: 3 })"]);
}

#[test]
fn a_transfer_is_the_cores_business() {
    let mut world = World::new(Some(1));
    world.transfer("a", Some(2), 5_000);
    assert_eq!(world.inputs(), ["transfer 1 Some(2)"]);
    world.feed(vec![Effect::Reply(Reply::Transferred { id: 1, to: Ok(2) })]);
    world.transfer("b", Some(3), 5_000);
    world.feed(vec![Effect::Reply(Reply::Transferred { id: 2, to: Err(Refusal::TooFarBehind) })]);
    world.transfer("c", None, 10);
    world.now += 10;
    world.flush();
    world.transfer("d", Some(1), 10);
    let told = [
        "transfer a: Ok(2)",
        "transfer b: Err(Refused(TooFarBehind))",
        "transfer c: Err(Deadline)",
        "transfer d: Ok(1)",
    ];
    assert_eq!(world.said(), told, "it leads already");
    world.prepare(vec![Effect::Reply(Reply::Transferred { id: 4, to: Err(Refusal::NotLeader) })]);
    world.script.0.borrow_mut().leader = Some(2);
    world.transfer("e", None, 10);
    assert_eq!(world.said(), ["transfer e: Err(NotLeader { leader: Some(2), term: 3 })"]);
}

#[test]
fn what_is_proposed_while_leadership_is_given_away_goes_to_who_leads_then() {
    let mut world = World::new(Some(1));
    world.transfer("a", Some(2), 5_000);
    world.propose("b", 1, Some(9_000));
    drop(world.inputs());
    world.flush();
    assert_eq!(world.inputs(), [""; 0]);
    assert_eq!(world.driver.deadline(), Some(world.now + 5_000), "the transfer's, and no hurry before");
    world.script.0.borrow_mut().leader = Some(2);
    world.feed(vec![Effect::Reply(Reply::Transferred { id: 1, to: Ok(2) })]);
    world.flush();
    assert_eq!(world.inputs(), ["propose [(2, 1)]"]);
}

#[test]
fn each_tier_of_reads_goes_its_own_way() {
    let mut world = World::new(Some(1));
    world.handle(DriverInput::Read { waiter: "now", deadline: None, consistency: Consistency::Eventual });
    assert_eq!(world.said(), ["query now at 0"]);
    world.read("a", 5_000);
    world.lease_read("b", 5_000);
    world.lease_read("c", 5_000);
    world.flush();
    assert_eq!(world.inputs(), ["read 1", "lease read 2"]);
    world.feed(vec![Effect::Reply(Reply::ReadReady { id: 2, index: 0 })]);
    assert_eq!(world.said(), ["query b at 0", "query c at 0"]);
    // Without an answer each is asked again as what it was.
    world.lease_read("d", 5_000);
    drop(world.inputs());
    world.flush();
    assert_eq!(world.inputs(), ["lease read 3"]);
    world.now += 1_000;
    world.flush();
    world.flush();
    assert_eq!(world.inputs(), ["read 4", "lease read 5"]);
}

#[test]
fn a_removed_node_takes_nothing_new() {
    let mut world = World::new(None);
    world.propose("a", 1, None);
    world.read("b", 5_000);
    world.change("c", 5_000);
    world.feed(vec![Effect::Event(Event::Removed)]);
    assert_eq!(world.said(), ["a: Removed", "b: Removed", "change c: Err(Removed)"]);
    world.propose("d", 1, None);
    world.change("e", 5_000);
    world.transfer("f", None, 5_000);
    assert_eq!(world.said(), ["d: Removed", "change e: Err(Removed)", "transfer f: Err(Removed)"]);
    let own = Member {
        id: 1,
        address: "one".into(),
        client_address: None,
        role: MemberRole::Learner,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    };
    let configuration = Configuration { members: vec![own], outgoing: Vec::new(), min_election_timeout: 0 };
    world.feed(vec![Effect::Event(Event::Configured { index: 9, configuration: configuration.into() })]);
    world.propose("g", 1, None);
    assert_eq!(world.said(), [""; 0], "it is a member again");
}

#[test]
fn closing_ends_what_waits() {
    let mut world = World::new(Some(1));
    asked(&mut world, vec![changing(1, 5, 3)]);
    world.read("r", 5_000);
    world.flush();
    world.transfer("b", None, 5_000);
    world.handle(DriverInput::Close { handover: true, drain_until: world.now + 100 });
    world.change("c", 5_000);
    world.now += 100;
    world.prepare(vec![Effect::Reply(Reply::Closed)]);
    world.flush();
    assert_eq!(
        world.said(),
        ["change c: Err(Closed)", "r: Closed", "change a: Err(Unknown(Closed))", "transfer b: Err(Closed)", "closed"]
    );
}
