//! Whole worlds: the same seed gives the same facts, faults strike, everything works again afterwards, and no check objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use d_engine_sim::fact::{Fault, Request};
use d_engine_sim::machine::RegisterMachines;
use d_engine_sim::options::{Faults, Options, Profile};
use d_engine_sim::outcome::Summary;
use d_engine_sim::runner::{checks, run};
use d_engine_sim::world::World;

fn checked(options: &Options) -> Summary {
    run(options, &checks).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn the_same_seed_gives_the_same_facts_and_another_one_gives_others() {
    let options = Options { faults_for: 6_000_000, ..Options::of(Profile::All, 7) };
    let (once, twice) = (checked(&options), checked(&options));
    assert_eq!(once, twice);
    // Who watches makes no difference.
    assert_eq!(run(&options, &|_: &World| Vec::new()).expect("a sound run"), once);
    assert_ne!(checked(&options.with_seed(8)).digest, once.digest);
}

#[test]
fn a_world_written_down_is_the_same_world() {
    let options = Options { faults_for: 3_000_000, nodes: 5, clients: 3, ..Options::of(Profile::Network, 11) };
    let read_back = Options::parse(options.to_string().split(' ')).expect("options");
    assert_eq!(checked(&read_back).digest, checked(&options).digest);
}

#[test]
fn every_profile_survives_a_few_seeds_and_its_load_is_real() {
    let mut total = Summary::default();
    for profile in Profile::ALL {
        for seed in 1..=3 {
            total.add(&checked(&Options::of(profile, seed)));
        }
    }
    assert!(total.acknowledged > 5_000 && total.reads > 4_000, "{total:?}");
    assert!(total.inputs > 100 * total.node_time / 1_000_000, "100 inputs a second and node: {total:?}");
    assert!(total.crash_images > 50 && total.snapshots.0 > 50, "{total:?}");
    let cuts = [Fault::Crash, Fault::Partition, Fault::PowerLoss, Fault::Isolation];
    let cuts: u64 = cuts.iter().filter_map(|fault| total.faults.get(fault)).sum();
    assert!(cuts * 10_000_000 > total.simulated / 2, "crashes and partitions are frequent: {cuts}");
}

#[test]
fn each_fault_strikes_when_it_is_the_only_one() {
    for fault in Fault::ALL {
        let faults = Faults::of(&[fault]);
        let mut hits = 0;
        for seed in 1..=6 {
            let options = Options { faults, faults_for: 9_000_000, ..Options::of(Profile::Calm, seed) };
            hits += checked(&options).faults.get(&fault).copied().unwrap_or(0);
            if hits > 0 {
                break;
            }
        }
        assert!(hits > 0, "{} never strikes", fault.name());
    }
}

#[test]
fn a_world_by_hand_does_nothing_by_itself() {
    let options = Options { clients: 0, faults_for: u64::MAX, ..Options::of(Profile::Calm, 1) };
    let mut world = World::new(&options, Box::new(RegisterMachines));
    world.run_until(3_000_000, &mut []).expect("a calm world");
    let call = world.call(1, Request::Write { key: 1, value: 1, session: None }, &mut []).expect("a call");
    assert_eq!(world.outcome(call), None);
    world.run_until(4_000_000, &mut []).expect("a calm world");
    assert!(format!("{:?}", world.outcome(call)).contains("Written"), "{:?}", world.outcome(call));
    assert_eq!(world.summary().operations, 1);
    assert!(!world.is_over());
}
