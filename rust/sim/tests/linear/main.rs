//! The search for linearizations: against all permutations, on histories whose verdict is known, and as a check of a world.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod brute;
mod known;
mod observer;
mod world;
