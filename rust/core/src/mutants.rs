//! Planted faults, one for each class of bug that other Raft systems had: what the tests must find (feature `mutants`).
//!
//! `D_ENGINE_MUTANT=NAME` switches one on when the program starts. Without the feature there is nothing to switch, and nothing is
//! left of the question either.

/// Whether that fault is switched on.
#[cfg(feature = "mutants")]
#[must_use]
pub fn on(name: &str) -> bool {
    static ACTIVE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("D_ENGINE_MUTANT").ok()).as_deref() == Some(name)
}

/// Whether that fault is switched on: never in this build.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn on(_name: &str) -> bool {
    false
}
