//! What befalls a world: a plan drawn from the seed before anything happens, struck as far as the cluster stays repairable.
//!
//! The plan does not depend on what the world does, so that leaving out one fault of it leaves the others as they are.

mod atlas;
mod disks;
mod repair;
mod strike;

use d_engine_raft::{Micros, NodeId};

use crate::fact::Fault;
use crate::options::Options;
use crate::random::{Purpose, Stream};

/// A fault of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub at: Micros,
    pub fault: Fault,
    /// What decides whom it strikes, and how.
    pub dice: [u64; 3],
    /// How long it lasts, if it does.
    pub span: Micros,
    /// Whom it has struck.
    pub nodes: Vec<NodeId>,
    /// It lasts at this moment.
    pub active: bool,
    /// Parts of it that are over, of those that have several.
    pub round: u32,
}

/// The plan, and how far the repair of the cluster is.
#[derive(Debug, Default)]
pub(crate) struct Nemesis {
    pub strikes: Vec<Strike>,
    pub skip: Vec<u64>,
    pub repair: repair::Repair,
}

/// Until the first strike: a leader should be there, most of the time.
const FIRST: Micros = 700_000;
const BETWEEN: (Micros, Micros) = (250_000, 2_300_000);

/// The faults that every other one needs to meet: who is there, and who hears whom.
const COMMON: [Fault; 5] = [Fault::Crash, Fault::Partition, Fault::Isolation, Fault::PowerLoss, Fault::PowerLossOfAll];

impl Nemesis {
    pub fn new(options: &Options, nodes: u64) -> Self {
        let mut random = Stream::new(options.seed, Purpose::Faults);
        let mut strikes = Vec::new();
        let enabled: Vec<Fault> = options.faults.iter().collect();
        if !enabled.is_empty() && options.faults_for < Micros::MAX {
            // Few kinds at once meet more often than many do.
            let kinds: Vec<Fault> = (0..random.between(3, 8)).filter_map(|_| random.pick(&enabled).copied()).collect();
            let common: Vec<Fault> = COMMON.into_iter().filter(|fault| options.faults.has(*fault)).collect();
            let mut at = FIRST + random.below(500_000);
            while at < options.faults_for {
                let common_one = random.happens(280_000);
                let fault = random.pick(if common_one && !common.is_empty() { &common } else { &kinds });
                let fault = fault.copied().unwrap_or(Fault::Crash);
                let dice = [random.number(), random.number(), random.number()];
                let span = random.between(30_000, 400_000) << random.below(4);
                strikes.push(Strike { at, fault, dice, span, nodes: Vec::new(), active: false, round: 0 });
                at += random.between(BETWEEN.0, BETWEEN.1);
            }
        }
        Self { strikes, skip: options.skip.clone(), repair: repair::Repair::new(nodes) }
    }

    /// The numbers of the faults that are to strike, and when.
    pub fn plan(&self) -> Vec<(usize, Micros)> {
        let planned = self.strikes.iter().enumerate();
        planned
            .filter(|(number, _)| !self.skip.contains(&(*number as u64)))
            .map(|(number, strike)| (number, strike.at))
            .collect()
    }
}
