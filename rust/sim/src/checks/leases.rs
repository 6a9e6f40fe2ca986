//! Leases, in the world's own time (thesis 6.4.1).

use d_engine_raft::{Micros, NodeId, Role};

use super::book::Book;
use super::{Check, Finding, Options, ensure};
use crate::clock::Clock;
use crate::fact::Fact;

/// Every node's clock, and whether they keep the bound that leases rest on.
#[derive(Debug)]
pub struct Clocks {
    shown: Vec<(NodeId, Clock, i64)>,
    drift_ppm: u64,
    /// How long a lease may run on after the clocks broke their bound.
    span: Micros,
    /// Since when they keep it, as far as that matters.
    kept_since: Micros,
}

impl Clocks {
    pub const fn new(options: &Options) -> Self {
        let settings = &options.settings;
        // The longest a lease can be in the world's time, whatever the clock.
        let span = settings.election_timeout.1 * 2;
        Self { shown: Vec::new(), drift_ppm: settings.drift_ppm, span, kept_since: 0 }
    }

    pub fn fact(&mut self, at: Micros, fact: &Fact<'_>) {
        if let Fact::Started { node, .. } = fact {
            // Whatever the clock showed before, nothing of this process rests on it.
            self.shown.retain(|(id, ..)| id != node);
        }
        let Fact::Clock { node, shown, drift } = *fact else { return };
        let kept = self.within_bound();
        match self.shown.iter_mut().find(|(id, ..)| *id == node) {
            Some((_, clock, rate)) => {
                let jumped = clock.local(at) != shown;
                (*clock, *rate) = (Clock::new(at, shown, drift), drift);
                if jumped {
                    self.kept_since = self.kept_since.max(at + self.span);
                }
            }
            None => self.shown.push((node, Clock::new(at, shown, drift), drift)),
        }
        if !(kept && self.within_bound()) {
            self.kept_since = self.kept_since.max(at + self.span);
        }
    }

    /// A lease is shortened by the bound: on the slowest clock it must still end before the span does on the fastest.
    fn within_bound(&self) -> bool {
        let rate = |drift: i64| u64::try_from(1_000_000 + drift).unwrap_or(0);
        let rates = || self.shown.iter().map(|&(_, _, drift)| rate(drift));
        let (Some(slowest), Some(fastest)) = (rates().min(), rates().max()) else { return true };
        (1_000_000 - self.drift_ppm.min(1_000_000)) * fastest <= 1_000_000 * slowest
    }

    /// Whether leases of that time were good.
    pub fn kept_since(&self, from: Micros, at: Micros) -> bool {
        from >= self.kept_since && at >= self.kept_since && self.within_bound()
    }

    fn local(&self, node: NodeId, at: Micros) -> Option<Micros> {
        self.shown.iter().find(|(id, ..)| *id == node).map(|(_, clock, _)| clock.local(at))
    }
}

/// Nobody is elected while another's lease runs.
#[derive(Debug)]
pub struct LeaseOverlap {
    clocks: Clocks,
}

impl LeaseOverlap {
    pub const NAME: &str = "lease-overlap";

    pub const fn new(options: &Options) -> Self {
        Self { clocks: Clocks::new(options) }
    }
}

impl Check for LeaseOverlap {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, at: Micros, fact: &Fact<'_>, _book: &Book) -> Finding {
        self.clocks.fact(at, fact);
        Ok(())
    }

    fn turned(&mut self, at: Micros, place: usize, book: &Book) -> Finding {
        let elected = &book.observed.nodes[place];
        if !elected.was_elected() || !self.clocks.kept_since(at, at) {
            return Ok(());
        }
        let (id, term) = (elected.id, elected.position.term);
        for other in book.observed.nodes.iter().filter(|other| other.id != id && other.running) {
            let (Role::Leader, Some(until)) = (other.position.role, other.position.lease_until) else { continue };
            let over = self.clocks.local(other.id, at).is_none_or(|now| now >= until);
            let before = other.position.term;
            ensure!(over, "node {id} leads term {term} while node {} has a lease in term {before}", other.id);
        }
        Ok(())
    }
}
