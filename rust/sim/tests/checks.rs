//! Each check takes a history that keeps its promise and refuses one that breaks it; no other check is named first.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "checks/scene.rs"]
mod scene;

#[path = "checks/applied.rs"]
mod applied;
#[path = "checks/clients.rs"]
mod clients;
#[path = "checks/elections.rs"]
mod elections;
#[path = "checks/logs.rs"]
mod logs;
#[path = "checks/rest.rs"]
mod rest;

use d_engine_sim::checks::{NAMES, Options, all};
use scene::{Scene, Told};

/// A check, a history that it takes and one that it refuses.
pub type Case = (&'static str, fn(&mut Scene) -> Told, fn(&mut Scene) -> Told);

fn cases() -> impl Iterator<Item = &'static Case> {
    elections::CASES.iter().chain(logs::CASES).chain(applied::CASES).chain(clients::CASES).chain(rest::CASES)
}

#[test]
fn every_check_takes_what_keeps_its_promise() {
    for (name, kept, _) in cases() {
        let told = kept(&mut Scene::begun());
        assert_eq!(told, Ok(()), "{name}");
    }
}

#[test]
fn every_check_refuses_what_breaks_its_promise_and_is_the_first_to() {
    for (name, _, broken) in cases() {
        let found = broken(&mut Scene::begun()).expect_err(name);
        assert_eq!(found.check, *name, "{found}");
        assert!(found.what.contains(char::is_numeric), "{found}: which node, which index?");
    }
}

#[test]
fn names_are_those_of_the_checks_and_each_has_a_case() {
    let found: Vec<_> = all(&Options::default()).iter().map(|check| check.name()).collect();
    assert_eq!(found, NAMES);
    let mut tested: Vec<_> = cases().map(|(name, ..)| *name).collect();
    let mut names = NAMES.to_vec();
    tested.sort_unstable();
    names.sort_unstable();
    assert_eq!(tested, names);
    names.dedup();
    assert_eq!(names.len(), NAMES.len(), "a name stands for one check");
}
