//! For each check a planted fault that it finds before any other check does, and a kind of world in which it does.
//!
//! A fault is switched on when a program starts, so that each runs in a process of its own. To see what is found with one:
//! `D_ENGINE_MUTANT=NAME D_ENGINE_CHECK=any D_ENGINE_WORLD="--profile members" cargo test -p d-engine-sim --features mutants
//! --test planted -- --ignored --nocapture some_worlds`.
#![cfg(feature = "mutants")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "planted/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::process::Command;

use d_engine_sim::checks::NAMES;
use d_engine_sim::options::Options;
use d_engine_sim::runner::{checks, run};
use table::{Planted, TABLE};

/// The first of those worlds in which that check is the first to object, as a process with the fault finds it.
fn first_world(planted: &Planted) -> Option<String> {
    let run = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "some_worlds"])
        .env("D_ENGINE_MUTANT", planted.fault)
        .env("D_ENGINE_WORLD", planted.world)
        .env("D_ENGINE_CHECK", planted.check)
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&run.stdout);
    said.lines().find_map(|line| line.split_once("found: ")).map(|(_, found)| found.to_owned())
}

/// Worlds that are looked at for one fault; one in which another check is first is no answer.
const SEEDS: u64 = 60;

#[test]
#[ignore = "the other test runs it, each time with another fault"]
fn some_worlds() {
    let world = std::env::var("D_ENGINE_WORLD").expect("a world");
    let check = std::env::var("D_ENGINE_CHECK").expect("a check");
    let options = Options::parse(world.split_whitespace()).expect("a world's options");
    for seed in 1..=SEEDS {
        if let Err(failure) = run(&options.with_seed(seed), &checks) {
            if failure.violation.check == check {
                return println!("found: {failure}");
            }
            println!("seed {seed}: {}", failure.violation);
        }
    }
}

#[test]
fn every_check_is_the_first_to_find_a_fault() {
    let missed = |half: &[Planted]| -> Vec<String> {
        let missed = half.iter().filter(|planted| first_world(planted).is_none());
        missed.map(|one| format!("{} does not find {} ({}) in {}", one.check, one.fault, one.rule, one.world)).collect()
    };
    let (one, other) = TABLE.split_at(TABLE.len() / 2);
    let missed = std::thread::scope(|scope| {
        let other = scope.spawn(|| missed(other));
        [missed(one), other.join().expect("no panic")].concat()
    });
    assert!(missed.is_empty(), "{missed:#?}");
    let tested: BTreeSet<&str> = TABLE.iter().map(|planted| planted.check).collect();
    let names: BTreeSet<&str> = NAMES.into_iter().collect();
    let missing: Vec<_> = names.difference(&tested).collect();
    assert!(missing.is_empty(), "no fault shows that these can find one: {missing:?}");
}
