//! Reads: how fresh, and what they see. The log index of each write is the oracle, so that a read costs a few comparisons.

use d_engine_node::Consistency;
use d_engine_raft::{Index, Micros, NodeId};

use super::book::{Book, Call};
use super::leases::Clocks;
use super::{Check, Finding, Options, ensure};
use crate::fact::{Fact, Outcome, Request};

/// A read that has come back.
struct Answer<'a> {
    call: &'a Call,
    consistency: Consistency,
    /// What its reader saw applied.
    applied: Index,
    /// Which register, and what it held.
    register: Option<(u64, u64)>,
}

fn answered<'a>(fact: &Fact<'_>, book: &'a Book) -> Option<Answer<'a>> {
    let Fact::Returned { id, outcome: outcome @ (Outcome::Read { applied, .. } | Outcome::Queried { applied, .. }) } =
        fact
    else {
        return None;
    };
    let call = book.call(*id)?;
    match (&call.request, outcome) {
        (&Request::Read { key, consistency }, Outcome::Read { value, .. }) => {
            Some(Answer { call, consistency, applied: *applied, register: Some((key, *value)) })
        }
        (&Request::Query { consistency, .. }, _) => {
            Some(Answer { call, consistency, applied: *applied, register: None })
        }
        _ => None,
    }
}

fn fresh(read: &Answer<'_>) -> Finding {
    let (node, applied, since) = (read.call.node, read.applied, read.call.committed);
    ensure!(
        applied >= since,
        "node {node} answered a read at {applied}, and {since} was committed before it was asked"
    );
    Ok(())
}

/// A linearizable read sees everything that was committed, and so everything that was acknowledged, before it was asked for.
#[derive(Debug, Default)]
pub struct LinearizableReads;

impl LinearizableReads {
    pub const NAME: &str = "linearizable-reads";
}

impl Check for LinearizableReads {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let read = answered(fact, book).filter(|read| read.consistency == Consistency::Linearizable);
        read.as_ref().map_or(Ok(()), fresh)
    }
}

/// So does a read by lease, as long as clocks keep within their bound.
#[derive(Debug)]
pub struct LeaseReads {
    clocks: Clocks,
}

impl LeaseReads {
    pub const NAME: &str = "lease-reads";

    pub const fn new(options: &Options) -> Self {
        Self { clocks: Clocks::new(options) }
    }
}

impl Check for LeaseReads {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        self.clocks.fact(at, fact);
        let read = answered(fact, book).filter(|read| read.consistency == Consistency::Lease);
        read.filter(|read| self.clocks.kept_since(read.call.at, at)).as_ref().map_or(Ok(()), fresh)
    }
}

/// An eventual read never goes back on its node, and sees nothing that is not applied there.
#[derive(Debug, Default)]
pub struct EventualReads {
    /// By node: the newest that a reader of its process saw.
    seen: Vec<(NodeId, Index)>,
}

impl EventualReads {
    pub const NAME: &str = "eventual-reads";
}

impl Check for EventualReads {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        if let Fact::Started { node, .. } = fact {
            self.seen.retain(|(seen, _)| seen != node);
        }
        let Some(Answer { call, applied, .. }) = answered(fact, book) else { return Ok(()) };
        let id = call.node;
        let Some(node) = book.observed.node(id) else { return Ok(()) };
        let last = node.machine.index;
        ensure!(applied <= last, "node {id} answered a read at {applied}, and has applied {last}");
        match self.seen.iter_mut().find(|(seen, _)| *seen == id) {
            Some((_, before)) => {
                ensure!(applied >= *before, "node {id} answered a read at {applied} after one at {before}");
                *before = applied;
            }
            None => self.seen.push((id, applied)),
        }
        Ok(())
    }
}

/// A read's value is what the register held after what its reader saw applied: none of the past, none of the future.
#[derive(Debug)]
pub struct ReadValues {
    registers: bool,
}

impl ReadValues {
    pub const NAME: &str = "read-values";

    pub const fn new(options: &Options) -> Self {
        Self { registers: options.registers }
    }
}

impl Check for ReadValues {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Some(Answer { call, applied, register, .. }) = answered(fact, book) else { return Ok(()) };
        if let (true, Some((key, value))) = (self.registers, register) {
            let (node, held) = (call.node, book.ledger.register(key, applied));
            ensure!(value == held, "node {node} read {value} from register {key} at {applied}, and it held {held}");
        }
        Ok(())
    }
}
