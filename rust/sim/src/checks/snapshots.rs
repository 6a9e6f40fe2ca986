//! Snapshots, and what they allow to forget.

use d_engine_raft::Micros;

use super::book::Book;
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// An older snapshot never replaces a newer state.
#[derive(Debug, Default)]
pub struct SnapshotOrder;

impl SnapshotOrder {
    pub const NAME: &str = "snapshot-order";
}

impl Check for SnapshotOrder {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Restored { node: id, last, .. } = fact else { return Ok(()) };
        let Some(node) = book.observed.node(*id) else { return Ok(()) };
        let before = node.machine.index;
        ensure!(
            last.index >= before,
            "a snapshot of {last} replaced the state of node {id}, which had applied {before}"
        );
        Ok(())
    }
}

/// A snapshot covers exactly what was applied up to its index, and brings that state back.
#[derive(Debug, Default)]
pub struct SnapshotExact;

impl SnapshotExact {
    pub const NAME: &str = "snapshot-exact";
}

impl Check for SnapshotExact {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            Fact::Restored { node: id, last, state } => {
                ensure!(book.ledger.holds(*last), "node {id} restored a snapshot of {last}, which nobody has applied");
                let known = book.ledger.state(last.index);
                let same = known.is_none_or(|known| known == *state);
                ensure!(same, "a snapshot of {last} gave node {id} the state {state:016x}; it was {known:016x?}");
            }
            Fact::SnapshotKept { node: id, last, received, .. } => {
                let Some(node) = book.observed.node(*id) else { return Ok(()) };
                let applied = node.machine.index;
                let own = *received || last.index <= applied;
                ensure!(own, "node {id} has applied {applied} and made a snapshot of {last}");
                ensure!(book.ledger.holds(*last), "node {id} keeps a snapshot of {last}, which nobody has applied");
            }
            _ => {}
        }
        Ok(())
    }
}

/// A log is forgotten only as far as a snapshot covers it, and never less far than before.
#[derive(Debug, Default)]
pub struct PurgeCovered;

impl PurgeCovered {
    pub const NAME: &str = "purge-covered";
}

impl Check for PurgeCovered {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Purged { node: id, upto } = fact else { return Ok(()) };
        let Some(own) = book.observed.directory(*id) else { return Ok(()) };
        let covered = own.snapshot.map_or(0, |snapshot| snapshot.index);
        ensure!(
            upto.index <= covered,
            "node {id} forgot its log up to {upto}, and its newest snapshot ends at {covered}"
        );
        Ok(())
    }
}
