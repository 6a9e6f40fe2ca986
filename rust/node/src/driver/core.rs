//! The native core, as a driver uses it.

use d_engine_raft::{Core, Effect, Index, Input, Micros, NodeId, Role, Term};

use super::types::Raft;

impl Raft for Core {
    fn step(&mut self, now: Micros, input: Input, out: &mut Vec<Effect>) {
        Self::step(self, now, input, out);
    }

    fn deadline(&self) -> Option<Micros> {
        Self::deadline(self)
    }

    fn role(&self) -> Role {
        Self::role(self)
    }

    fn term(&self) -> Term {
        Self::term(self)
    }

    fn leader(&self) -> Option<NodeId> {
        Self::leader(self)
    }

    fn commit(&self) -> Index {
        Self::commit(self)
    }

    fn matched(&self, node: NodeId) -> Option<Index> {
        self.status().progress.iter().find(|follower| follower.id == node).map(|follower| follower.matched)
    }
}
