//! Writes: what clients were told of them.

use d_engine_raft::{Index, Micros};

use super::book::Book;
use super::ledger::command;
use super::{Check, Finding, Options, ensure};
use crate::fact::{Fact, Operation, Outcome, Request};

/// Values beyond the next one by so many are not followed: they are numbered densely.
const GAP: usize = 1 << 20;

/// What becomes of values, by value.
#[derive(Debug, Default)]
pub struct ByValue<T>(Vec<T>);

impl<T: Default + Clone> ByValue<T> {
    pub fn at(&mut self, value: u64) -> Option<&mut T> {
        let place = usize::try_from(value).ok().filter(|&place| place > 0 && place < self.0.len() + GAP)?;
        if self.0.len() <= place {
            self.0.resize(place + 1, T::default());
        }
        self.0.get_mut(place)
    }
}

/// The value that a call puts, and whether it belongs to a session.
fn written(request: &Request) -> Option<(u64, bool)> {
    match request {
        Request::Write { value, session, .. } => Some((*value, session.is_some())),
        _ => None,
    }
}

/// A write is acknowledged when it is applied, and where it is applied.
#[derive(Debug)]
pub struct AcknowledgedKept {
    registers: bool,
    /// Where each value was applied.
    applied: ByValue<Index>,
}

impl AcknowledgedKept {
    pub const NAME: &str = "acknowledged-kept";

    pub fn new(options: &Options) -> Self {
        Self { registers: options.registers, applied: ByValue::default() }
    }
}

impl Check for AcknowledgedKept {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            Fact::Applied { entries, given, .. } if self.registers => {
                for entry in entries.iter().filter(|entry| entry.index() > book.ledger.last()) {
                    if let (Some((_, value)), Ok(_)) = (command(entry), given.binary_search(&entry.index()))
                        && let Some(applied) = self.applied.at(value)
                    {
                        *applied = entry.index();
                    }
                }
            }
            Fact::Returned { id, outcome: Outcome::Written { index, .. } | Outcome::Answered { index, .. } } => {
                let Some(call) = book.call(*id) else { return Ok(()) };
                let (node, last) = (call.node, book.ledger.last());
                ensure!(
                    *index <= last,
                    "node {node} acknowledged {index} of call {id}, and nobody has applied beyond {last}"
                );
                let Some((value, session)) = written(&call.request).filter(|_| self.registers) else { return Ok(()) };
                let Some(&mut applied) = self.applied.at(value) else { return Ok(()) };
                ensure!(applied > 0, "node {node} acknowledged value {value} at {index}, and nobody has applied it");
                let there = session || applied == *index;
                ensure!(there, "node {node} acknowledged value {value} at {index}, and it stands at {applied}");
            }
            _ => {}
        }
        Ok(())
    }
}

/// What was refused for certain is not applied, before or after; and nothing is that nobody asked for.
#[derive(Debug)]
pub struct RefusedNeverApplied {
    registers: bool,
    values: ByValue<Fate>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Attempts under way, or of which nobody knows.
    open: u32,
    applied: Index,
}

impl RefusedNeverApplied {
    pub const NAME: &str = "refused-never-applied";

    pub fn new(options: &Options) -> Self {
        Self { registers: options.registers, values: ByValue::default() }
    }

    fn invoked(&mut self, operation: &Operation) {
        if let Some((value, _)) = written(&operation.request)
            && let Some(fate) = self.values.at(value)
        {
            fate.open += 1;
        }
    }
}

impl Check for RefusedNeverApplied {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            _ if !self.registers => {}
            Fact::Invoked(operation) => self.invoked(operation),
            // A node repeats what belongs to a session by itself: one that is not known any more says nothing of its first attempt.
            Fact::Returned { outcome: Outcome::Refused(why), .. } if why.contains("session is not known") => {}
            Fact::Returned { id, outcome: Outcome::Refused(why) } => {
                let value = book.call(*id).and_then(|call| written(&call.request));
                let Some(fate) = value.and_then(|(value, _)| self.values.at(value)) else { return Ok(()) };
                fate.open = fate.open.saturating_sub(1);
                let (applied, open) = (fate.applied, fate.open);
                let refused = applied == 0 || open > 0;
                ensure!(refused, "call {id} was refused ({why}), and its value was applied at {applied}");
            }
            Fact::Applied { entries, given, .. } => {
                for entry in entries.iter().filter(|entry| entry.index() > book.ledger.last()) {
                    let (Some((_, value)), Ok(_)) = (command(entry), given.binary_search(&entry.index())) else {
                        continue;
                    };
                    let Some(fate) = self.values.at(value) else { continue };
                    fate.applied = entry.index();
                    let asked = fate.open > 0;
                    ensure!(asked, "value {value} was applied at {}, and was refused or never asked for", entry.id());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A write's result is what its register held before, however often it is asked for.
#[derive(Debug)]
pub struct SameResult {
    registers: bool,
    /// Where each value was applied.
    applied: ByValue<Index>,
}

impl SameResult {
    pub const NAME: &str = "same-result";

    pub fn new(options: &Options) -> Self {
        Self { registers: options.registers, applied: ByValue::default() }
    }
}

impl Check for SameResult {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            _ if !self.registers => {}
            Fact::Applied { entries, given, .. } => {
                for entry in entries.iter().filter(|entry| entry.index() > book.ledger.last()) {
                    if let (Some((_, value)), Ok(_)) = (command(entry), given.binary_search(&entry.index()))
                        && let Some(applied) = self.applied.at(value)
                    {
                        *applied = entry.index();
                    }
                }
            }
            Fact::Returned { id, outcome: Outcome::Written { previous, .. } } => {
                let value = book.call(*id).and_then(|call| written(&call.request));
                let applied = value.and_then(|(value, _)| self.applied.at(value).copied());
                let Some(line) = applied.and_then(|index| book.ledger.line(index)) else { return Ok(()) };
                let before = line.previous;
                ensure!(
                    *previous == before,
                    "call {id} was told that {previous} stood there before, and it was {before}"
                );
            }
            _ => {}
        }
        Ok(())
    }
}
