//! The half of a node that decides: the native core in the native driver, or whatever takes their place.

use d_engine_node::driver::{Action, Calls, Driver, DriverInput, DriverSettings, DriverStart, Raft};
use d_engine_raft::{Core, Effect, Index, Input, Micros, NodeId, Role, Settings, Start, Term, WallMicros};

use crate::fact::Position;

/// Callers are known by the numbers of their calls.
#[derive(Debug)]
pub struct SimCalls;

impl Calls for SimCalls {
    type Proposal = u64;
    type Read = u64;
    type Snapshot = u64;
    type Change = u64;
    type Transfer = u64;
}

/// A driver with its core, as the world uses it.
pub trait SimDriver {
    /// Takes in one thing that happened.
    fn handle(&mut self, now: Micros, wall: WallMicros, input: DriverInput<SimCalls>, out: &mut Vec<Action<SimCalls>>);
    /// Ends a turn: steps what has been collected, then fires what is due.
    fn flush(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<SimCalls>>);
    /// When `flush` must be called at the latest.
    fn deadline(&self) -> Option<Micros>;
    /// What the node is now.
    fn position(&self) -> Position;
    /// Inputs that the core was given since it was made.
    fn inputs(&self) -> u64;
    /// Whether nothing is left to do.
    fn closed(&self) -> bool;
    /// Ends every call that waits in it, for a node that stops without closing its core.
    fn fail_everything(&mut self, out: &mut Vec<Action<SimCalls>>);
    /// Everything that it and its core decide by, for comparing.
    fn state(&self) -> Vec<u8>;
}

/// Makes drivers: one for every start of a node.
pub trait Drivers {
    /// A core that comes up from its storage, in a driver.
    fn start(
        &mut self,
        now: Micros,
        settings: Settings,
        start: Start,
        driver: DriverSettings,
        from: DriverStart,
    ) -> Box<dyn SimDriver>;
}

/// The native core and driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeDrivers;

impl Drivers for NativeDrivers {
    fn start(
        &mut self,
        now: Micros,
        settings: Settings,
        start: Start,
        driver: DriverSettings,
        from: DriverStart,
    ) -> Box<dyn SimDriver> {
        let core = Counted { core: Core::new(now, settings, start), inputs: 0 };
        Box::new(Driver::<_, SimCalls>::new(core, driver, &from))
    }
}

/// A core that counts what it is given.
struct Counted {
    core: Core,
    inputs: u64,
}

impl Raft for Counted {
    fn step(&mut self, now: Micros, input: Input, out: &mut Vec<Effect>) {
        self.inputs += 1;
        self.core.step(now, input, out);
    }

    fn deadline(&self) -> Option<Micros> {
        self.core.deadline()
    }

    fn role(&self) -> Role {
        self.core.role()
    }

    fn term(&self) -> Term {
        self.core.term()
    }

    fn leader(&self) -> Option<NodeId> {
        self.core.leader()
    }

    fn commit(&self) -> Index {
        self.core.commit()
    }

    fn matched(&self, node: NodeId) -> Option<Index> {
        Raft::matched(&self.core, node)
    }
}

impl SimDriver for Driver<Counted, SimCalls> {
    fn handle(&mut self, now: Micros, wall: WallMicros, input: DriverInput<SimCalls>, out: &mut Vec<Action<SimCalls>>) {
        Self::handle(self, now, wall, input, out);
    }

    fn flush(&mut self, now: Micros, wall: WallMicros, out: &mut Vec<Action<SimCalls>>) {
        Self::flush(self, now, wall, out);
    }

    fn deadline(&self) -> Option<Micros> {
        Self::deadline(self)
    }

    fn position(&self) -> Position {
        let core = &self.core().core;
        Position {
            role: core.role(),
            term: core.term(),
            leader: core.leader(),
            commit: core.commit(),
            last: core.last(),
            purged: core.purged(),
            durable: core.durable(),
            applied: self.applied().index,
            lease_until: core.lease_until(),
            waiting: self.waiting(),
            tail_bytes: core.tail_bytes(),
        }
    }

    fn inputs(&self) -> u64 {
        self.core().inputs
    }

    fn closed(&self) -> bool {
        Self::closed(self)
    }

    fn fail_everything(&mut self, out: &mut Vec<Action<SimCalls>>) {
        Self::fail_everything(self, out);
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Self::state(self);
        state.extend(self.core().core.digest());
        state
    }
}
