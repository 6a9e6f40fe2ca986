//! The registers of whole worlds, under every kind of fault.

use std::cell::RefCell;
use std::rc::Rc;

use d_engine_raft::Micros;
use d_engine_sim::fact::{Fact, Observer, Violation};
use d_engine_sim::linear::Linear;
use d_engine_sim::options::{Options, Profile};
use d_engine_sim::runner::run;

/// The check, and what it has counted by the end.
#[derive(Default)]
struct Counted {
    check: Linear,
    checked: Rc<RefCell<u64>>,
}

impl Observer for Counted {
    fn fact(&mut self, at: Micros, fact: &Fact<'_>) -> Result<(), Violation> {
        self.check.fact(at, fact)?;
        *self.checked.borrow_mut() = self.check.checked();
        Ok(())
    }
}

#[test]
fn registers_are_linearizable_in_every_world() {
    let mut total = 0;
    for profile in Profile::ALL {
        for seed in 0..3 {
            let checked = Rc::new(RefCell::new(0));
            // Transfers of snapshots are not what is looked at here.
            let options = Options { snapshot_every: 100_000, ..Options::of(profile, seed) };
            let watchers = || Counted { check: Linear::default(), checked: Rc::clone(&checked) };
            let summary = run(&options, &|_| vec![Box::new(watchers())]).unwrap_or_else(|failure| panic!("{failure}"));
            let checked = *checked.borrow();
            assert!(checked > 0 && checked <= summary.operations, "{checked} of {}", summary.operations);
            total += checked;
        }
    }
    assert!(total > 5_000, "{total} calls are too few to say anything");
}
