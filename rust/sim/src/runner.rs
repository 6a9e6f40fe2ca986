//! Many seeds, one after the other or on several threads, with figures of all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::checks::Checks;
use crate::fact::{Observer, Violation};
use crate::linear::Linear;
use crate::machine::RegisterMachines;
use crate::options::{Options, Profile};
use crate::outcome::{Failure, Summary};
use crate::shrink::{Broken, shrink};
use crate::world::World;

/// Those who watch one world: made anew for each seed.
pub type Watchers = Vec<Box<dyn Observer>>;

/// All checks: those after every step, and the search for an order of what clients saw once the world is over.
#[must_use]
pub fn checks(world: &World) -> Watchers {
    vec![Box::new(Checks::new(&world.checks_options())), Box::new(Linear::default())]
}

/// Runs one seed.
///
/// # Errors
/// A promise was broken; a panic is one too.
pub fn run(options: &Options, watchers: &dyn Fn(&World) -> Watchers) -> Result<Summary, Failure> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(options, Box::new(RegisterMachines));
        let mut watchers = watchers(&world);
        let mut observers: Vec<&mut dyn Observer> = Vec::with_capacity(watchers.len());
        for watcher in &mut watchers {
            observers.push(watcher.as_mut());
        }
        world.run(&mut observers)
    }));
    attempt.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let what = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        let violation = Violation { check: "no-panic", what: what.to_owned() };
        Err(Failure { violation, options: Box::new(options.clone()), at: 0, events: 0 })
    })
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed; each world is run with the next one.
    pub options: Options,
    /// One world of each of these in turn; none: always the one of `options`.
    pub profiles: Vec<Profile>,
    /// So many seeds at most.
    pub seeds: u64,
    /// No new one after so long.
    pub limit: Option<Duration>,
    /// Threads.
    pub jobs: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Their figures.
    pub total: Summary,
    /// Those that failed, by seed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Plan {
    /// The world with that number.
    #[must_use]
    pub fn world(&self, number: u64) -> Options {
        let seed = self.options.seed.wrapping_add(number);
        let count = self.profiles.len() as u64;
        let profile = number.checked_rem(count).and_then(|at| self.profiles.get(usize::try_from(at).ok()?));
        let Some(&profile) = profile else { return self.options.with_seed(seed) };
        let Options { faults_for, heal_within, .. } = self.options;
        Options { faults_for, heal_within, ..Options::of(profile, seed) }
    }

    /// Runs everything; `progress` hears of each seed. Ends after the first few failures.
    pub fn run(&self, watchers: &(dyn Fn(&World) -> Watchers + Sync), progress: &(dyn Fn(&Report) + Sync)) -> Report {
        let begun = Instant::now();
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) && self.limit.is_none_or(|limit| begun.elapsed() < limit) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds {
                            return;
                        }
                        let outcome = run(&self.world(number), watchers);
                        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                        report.seeds += 1;
                        match outcome {
                            Ok(summary) => report.total.add(&summary),
                            Err(failure) => report.failures.push(failure),
                        }
                        report.elapsed = begun.elapsed();
                        stop.fetch_or(report.failures.len() >= MAX_FAILURES, Ordering::Relaxed);
                        progress(&report);
                    }
                });
            }
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.failures.sort_by_key(|failure| failure.options.seed);
        report.elapsed = begun.elapsed();
        report
    }
}

/// More tell nothing new.
const MAX_FAILURES: usize = 10;

/// The same failure in a smaller world, found with at most `budget` runs.
#[must_use]
pub fn smaller(failure: &Failure, watchers: &dyn Fn(&World) -> Watchers, budget: usize) -> Failure {
    let broken = |failure: &Failure| Broken {
        violation: failure.violation.clone(),
        at: failure.at,
        strikes: World::new(&failure.options, Box::new(RegisterMachines)).strikes(),
    };
    let mut again = |options: &Options| run(options, watchers).err().as_ref().map(broken);
    let smallest = shrink(&failure.options, &broken(failure), budget, &mut again);
    run(&smallest.options, watchers).err().unwrap_or_else(|| failure.clone())
}
