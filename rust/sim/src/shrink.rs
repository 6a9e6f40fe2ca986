//! Makes a failure smaller: fewer kinds of faults, a shorter run, fewer nodes, clients, keys and strikes, as long as the same check
//! refuses.

use d_engine_raft::Micros;

use crate::fact::Violation;
use crate::options::{Faults, Options};

/// How a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What was refused.
    pub violation: Violation,
    /// When, in the world's time.
    pub at: Micros,
    /// Strikes that the run's plan has, carried out or not: numbers below this may be skipped.
    pub strikes: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest run that was found.
    pub options: Options,
    /// How it fails.
    pub broken: Broken,
    /// Runs that it took.
    pub runs: usize,
}

struct Search<'a> {
    best: Options,
    broken: Broken,
    runs: usize,
    budget: usize,
    run: &'a mut dyn FnMut(&Options) -> Option<Broken>,
}

/// Looks for a smaller run that fails by the same check, with at most `budget` runs. The numbers that a seed chooses (0 in the
/// options) count as larger than any that is tried.
pub fn shrink(
    options: &Options,
    broken: &Broken,
    budget: usize,
    run: &mut dyn FnMut(&Options) -> Option<Broken>,
) -> Shrunk {
    let mut search = Search { best: options.clone(), broken: broken.clone(), runs: 0, budget, run };
    // What changes the plan comes before the strikes, whose numbers the plan gives. A second round often finds more.
    while search.runs < search.budget {
        let before = search.best.clone();
        search.shorten();
        search.drop_kinds();
        search.lessen(&[1, 2, 3, 4, 5], |options| &mut options.nodes);
        search.lessen(&[1, 2, 4], |options| &mut options.clients);
        search.lessen(&[1, 2, 4], |options| &mut options.keys);
        search.skip_strikes();
        if search.best == before {
            break;
        }
    }
    Shrunk { options: search.best, broken: search.broken, runs: search.runs }
}

impl Search<'_> {
    /// Runs that; keeps it if the same check refuses.
    fn keeps(&mut self, options: Options) -> bool {
        if self.runs >= self.budget || options == self.best {
            return false;
        }
        self.runs += 1;
        match (self.run)(&options) {
            Some(broken) if broken.violation.check == self.broken.violation.check => {
                (self.best, self.broken) = (options, broken);
                true
            }
            _ => false,
        }
    }

    /// Faults end when it has failed, or even earlier.
    fn shorten(&mut self) {
        let end = (self.broken.at + 1).min(self.best.faults_for);
        if end < self.best.faults_for {
            self.keeps(Options { faults_for: end, ..self.best.clone() });
        }
        // Halving finds the smallest power of two parts; below a tenth of a second there is nothing to be won.
        while self.best.faults_for > 100_000 {
            if !self.keeps(Options { faults_for: self.best.faults_for / 2, ..self.best.clone() }) {
                break;
            }
        }
    }

    /// No faults at all, then each kind by itself.
    fn drop_kinds(&mut self) {
        if self.best.faults.is_empty() || self.keeps(Options { faults: Faults::NONE, ..self.best.clone() }) {
            return;
        }
        let kinds: Vec<_> = self.best.faults.iter().collect();
        self.remove(&kinds, |options, gone| {
            options.faults = gone.iter().fold(options.faults, |faults, kind| faults.without(*kind));
        });
    }

    /// The first of the numbers that does, if it is less.
    fn lessen(&mut self, numbers: &[u64], field: fn(&mut Options) -> &mut u64) {
        for &number in numbers {
            let mut less = self.best.clone();
            let value = field(&mut less);
            if *value != 0 && *value <= number {
                return;
            }
            *value = number;
            if self.keeps(less) {
                return;
            }
        }
    }

    /// Later strikes first: what led to the failure tends to be early.
    fn skip_strikes(&mut self) {
        let left: Vec<u64> = (0..self.broken.strikes).rev().filter(|number| !self.best.skip.contains(number)).collect();
        self.remove(&left, |options, gone| {
            options.skip.extend_from_slice(gone);
            options.skip.sort_unstable();
        });
    }

    /// Removes as many of `all` as it can: large parts first, then smaller ones (Zeller's delta debugging, greedy).
    fn remove<T: Copy>(&mut self, all: &[T], remove: impl Fn(&mut Options, &[T])) {
        let mut left = all.to_vec();
        let mut size = left.len();
        while size > 0 {
            let mut at = 0;
            while at < left.len() {
                let end = (at + size).min(left.len());
                let mut less = self.best.clone();
                remove(&mut less, &left[at..end]);
                if self.keeps(less) {
                    left.drain(at..end);
                } else {
                    at = end;
                }
            }
            size /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fault;
    use crate::options::Profile;

    fn broken(check: &'static str, at: Micros) -> Broken {
        Broken { violation: Violation { check, what: String::new() }, at, strikes: 40 }
    }

    /// Fails from 5 s on, if these strikes are carried out and there are three nodes, two clients, crashes and partitions.
    fn fake(options: &Options) -> Option<Broken> {
        let or = |number: u64, seeds: u64| if number == 0 { seeds } else { number };
        let strikes = [3, 17].iter().all(|strike| !options.skip.contains(strike));
        let large = or(options.nodes, 5) >= 3 && or(options.clients, 9) >= 2 && options.faults_for >= 5_000_000;
        let kinds = [Fault::Crash, Fault::Partition].iter().all(|kind| options.faults.has(*kind));
        (strikes && large && kinds).then(|| broken("log-matching", 7_000_000))
    }

    fn shrunk(budget: usize, run: fn(&Options) -> Option<Broken>) -> Shrunk {
        let mut runs = 0;
        let options = Options::of(Profile::All, 42);
        let first = run(&options).expect("a failing run");
        let shrunk = shrink(&options, &first, budget, &mut |options| {
            runs += 1;
            run(options)
        });
        assert_eq!(shrunk.runs, runs);
        assert!(runs <= budget);
        assert_eq!(run(&shrunk.options), Some(shrunk.broken.clone()), "what is told fails");
        shrunk
    }

    #[test]
    fn everything_that_does_not_matter_goes() {
        let found = shrunk(500, fake).options;
        assert_eq!(found.faults, Faults::of(&[Fault::Crash, Fault::Partition]));
        assert_eq!((found.nodes, found.clients, found.keys), (3, 2, 1));
        assert!((5_000_000..=7_000_001).contains(&found.faults_for), "{}", found.faults_for);
        assert_eq!(found.skip, (0..40).filter(|strike| ![3, 17].contains(strike)).collect::<Vec<_>>());
        assert_eq!(found.seed, 42);
    }

    #[test]
    fn a_failure_that_needs_nothing_becomes_the_smallest_world() {
        let found = shrunk(100, |_| Some(broken("bounded-memory", 1_000))).options;
        assert_eq!((found.nodes, found.clients, found.keys), (1, 1, 1));
        assert!(found.faults.is_empty() && found.faults_for <= 100_000);
        assert_eq!(found.skip.len(), 40);
    }

    #[test]
    fn another_check_is_another_failure() {
        // Smaller worlds fail too, but by another check: none of them is taken.
        let found = shrunk(200, |options| {
            let whole = *options == Options::of(Profile::All, 42);
            Some(broken(if whole { "exactly-once" } else { "progress" }, 30_000_000))
        });
        assert_eq!(found.options, Options::of(Profile::All, 42));
        assert!(found.runs > 50);
    }

    #[test]
    fn the_budget_is_kept_and_what_was_found_until_then_stays() {
        for budget in [0, 1, 2, 10, 60] {
            let found = shrunk(budget, fake);
            assert!(found.options.faults_for <= Options::of(Profile::All, 42).faults_for);
        }
    }
}
