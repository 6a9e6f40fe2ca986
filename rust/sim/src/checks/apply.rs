//! What state machines are given.

use std::collections::BTreeMap;

use d_engine_raft::{Entry, EntryKind, Index, Micros, WallMicros};

use super::book::Book;
use super::ledger::{command, print};
use super::writes::ByValue;
use super::{Check, Finding, Options, ensure};
use crate::fact::Fact;

/// Entries are applied one after the other, none twice and none left out, and what is reported never goes back.
#[derive(Debug, Default)]
pub struct AppliedMonotonic;

impl AppliedMonotonic {
    pub const NAME: &str = "applied-monotonic";
}

impl Check for AppliedMonotonic {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            Fact::Stepped { node: id, position, .. } => {
                let Some(node) = book.observed.node(*id) else { return Ok(()) };
                let (applied, before) = (position.applied, node.position.applied);
                ensure!(applied >= before, "node {id} went from applied index {before} back to {applied}");
            }
            Fact::Applied { node: id, entries, .. } => {
                let Some(node) = book.observed.node(*id) else { return Ok(()) };
                let mut last = node.machine.index;
                for entry in *entries {
                    let now = entry.index();
                    ensure!(now == last + 1, "the state machine of node {id} was given {now} after {last}");
                    last = now;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Nothing is applied that is not committed, and durable on that very node.
#[derive(Debug, Default)]
pub struct AppliedWithin;

impl AppliedWithin {
    pub const NAME: &str = "applied-within";
}

impl Check for AppliedWithin {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Applied { node: id, entries, .. } = fact else { return Ok(()) };
        let (Some(node), Some(last)) = (book.observed.node(*id), entries.last()) else { return Ok(()) };
        let (last, commit) = (last.id(), node.position.commit);
        ensure!(last.index <= commit, "node {id} has applied {last} and committed {commit}");
        let own = &book.observed.directories[node.directory];
        let durable = own.durable;
        ensure!(own.keeps(last), "node {id} has applied {last}, and its log is durable up to {durable}");
        Ok(())
    }
}

/// The same entry at the same index on every node (section 5.4.3).
#[derive(Debug, Default)]
pub struct StateMachineSafety;

impl StateMachineSafety {
    pub const NAME: &str = "state-machine-safety";
}

impl Check for StateMachineSafety {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Applied { node: id, entries, .. } = fact else { return Ok(()) };
        for entry in *entries {
            let Some(line) = book.ledger.line(entry.index()) else { break };
            let same = line.term == entry.term() && line.print == print(entry);
            let (now, term) = (entry.id(), line.term);
            ensure!(same, "node {id} has applied {now}, and others another entry of term {term} there");
        }
        Ok(())
    }
}

/// The time on entries, which sessions expire by, never goes back.
#[derive(Debug, Default)]
pub struct TimeMonotonic {
    last: WallMicros,
}

impl TimeMonotonic {
    pub const NAME: &str = "time-monotonic";
}

impl Check for TimeMonotonic {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Applied { entries, .. } = fact else { return Ok(()) };
        let new = entries.iter().skip_while(|entry| entry.index() <= book.ledger.last());
        for entry in new {
            let (now, time, before) = (entry.id(), entry.time(), self.last);
            ensure!(time >= before, "entry {now} was stamped {time}, and one before it {before}");
            self.last = time;
        }
        Ok(())
    }
}

/// Every number of a session, and every command without one, is given to machines at one index only; and whether an entry is given
/// is the same everywhere.
#[derive(Debug)]
pub struct ExactlyOnce {
    given: BTreeMap<(u64, u64), Index>,
    registers: bool,
    /// Where each value was applied.
    values: ByValue<Index>,
}

impl ExactlyOnce {
    pub const NAME: &str = "exactly-once";

    pub fn new(options: &Options) -> Self {
        Self { given: BTreeMap::new(), registers: options.registers, values: ByValue::default() }
    }

    /// A client puts each value once, so that a value that comes again is a command that was taken for two.
    fn value(&mut self, entry: &Entry) -> Finding {
        if let Some((_, value)) = command(entry).filter(|_| self.registers)
            && let Some(before) = self.values.at(value)
        {
            let (first, now) = (*before, entry.id());
            ensure!(first == 0, "value {value} was applied at {first} and again at {now}");
            *before = entry.index();
        }
        Ok(())
    }

    fn entry(&mut self, id: u64, entry: &Entry, given: bool, book: &Book) -> Finding {
        let now = entry.id();
        if let Some(line) = book.ledger.line(entry.index()) {
            let (here, there) = if given { ("was", "not") } else { ("was not", "was") };
            ensure!(line.given == given, "{now} {here} given to the machine of node {id}, and {there} to others");
            return Ok(());
        }
        if !given {
            let lost = entry.kind() == EntryKind::Command && entry.session() == 0;
            ensure!(!lost, "{now} belongs to no session and was not given to the machine of node {id}");
            return Ok(());
        }
        let kind = entry.kind();
        ensure!(kind == EntryKind::Command, "{now}, a {kind:?}, was given to the machine of node {id}");
        if entry.session() != 0 {
            let number = (entry.session(), entry.sequence());
            let first = *self.given.entry(number).or_insert(now.index);
            let (session, sequence) = number;
            let once = first == now.index;
            ensure!(once, "number {sequence} of session {session} was applied at {first} and again at {now}");
        }
        self.value(entry)
    }
}

impl Check for ExactlyOnce {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Applied { node, entries, given, .. } = fact else { return Ok(()) };
        let mut rest = given.iter().copied().peekable();
        for entry in *entries {
            let given = rest.next_if_eq(&entry.index()).is_some();
            self.entry(*node, entry, given, book)?;
        }
        ensure!(rest.peek().is_none(), "the machine of node {node} was given {:?}, out of their order", given);
        Ok(())
    }
}

/// The same state after the same index on every node.
#[derive(Debug, Default)]
pub struct StateAgrees;

impl StateAgrees {
    pub const NAME: &str = "state-agrees";
}

impl Check for StateAgrees {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Applied { node: id, entries, state, .. } = fact else { return Ok(()) };
        let Some(last) = entries.last() else { return Ok(()) };
        let known = book.ledger.state(last.index());
        let same = known.is_none_or(|known| known == *state);
        ensure!(same, "after {} the state of node {id} is {state:016x}, and elsewhere {known:016x?}", last.id());
        Ok(())
    }
}
