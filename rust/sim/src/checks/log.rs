//! Logs: what is appended, what is cut, and what two of them have in common (section 5.3).

use std::collections::BTreeMap;

use d_engine_raft::{Index, LogId, Micros, Term};

use super::book::Book;
use super::ledger::print;
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// Entries follow each other, in index and in term; and what a node says of its log is what it wants on its disk.
#[derive(Debug, Default)]
pub struct LogContiguous;

impl LogContiguous {
    pub const NAME: &str = "log-contiguous";
}

impl Check for LogContiguous {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Persist { node: id, persist } = fact else { return Ok(()) };
        let Some(own) = book.observed.directory(*id) else { return Ok(()) };
        let Some(mut before) = own.log.before(persist) else { return Ok(()) };
        for entry in &persist.entries {
            let (follows, now) = (entry.index() == before.index + 1 && entry.term() >= before.term, entry.id());
            ensure!(follows, "node {id} appends {now} behind {before}");
            before = now;
        }
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let (said, log) = (node.position.last, &book.observed.directories[node.directory].log);
        let last = log.last_id();
        ensure!(said.index == last.index, "node {} says that its log ends at {said}, and it ends at {last}", node.id);
        Ok(())
    }
}

/// A leader only appends, and only entries of its term.
#[derive(Debug, Default)]
pub struct LeaderAppendOnly {
    /// What was cut in this turn, and whose it is.
    cut: Option<(u64, String)>,
    /// The first entry of another term than the last one, of this turn.
    foreign: Option<(u64, LogId)>,
}

impl LeaderAppendOnly {
    pub const NAME: &str = "leader-append-only";
}

impl Check for LeaderAppendOnly {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        match fact {
            Fact::Stepped { .. } => (self.cut, self.foreign) = (None, None),
            Fact::Persist { node, persist } => {
                let Some(term) = book.observed.node(*node).map(|node| node.position.term) else { return Ok(()) };
                if let Some(from) = persist.truncate_from {
                    self.cut = Some((*node, format!("cut its log from {from} on")));
                }
                if let Some(to) = persist.reset_to {
                    self.cut = Some((*node, format!("reset its log to {to}")));
                }
                let foreign = persist.entries.iter().find(|entry| entry.term() != term);
                self.foreign = self.foreign.or(foreign.map(|entry| (*node, entry.id())));
            }
            _ => {}
        }
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let (id, term) = (node.id, node.position.term);
        if !node.went_on_leading() {
            return Ok(());
        }
        if let Some((_, what)) = self.cut.take().filter(|(whose, _)| *whose == id) {
            return Err(format!("node {id}, leader of term {term}, {what}"));
        }
        if let Some((_, entry)) = self.foreign.take().filter(|(whose, _)| *whose == id) {
            return Err(format!("node {id}, leader of term {term}, appended entry {entry}"));
        }
        Ok(())
    }
}

/// Two logs that have an entry in common have everything before it in common: an entry of an index and a term is always the same,
/// and so is the one that it follows.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index: the first entry that stood there anywhere.
    first: Vec<Kept>,
    others: BTreeMap<(Index, Term), Kept>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kept {
    term: Term,
    /// The term of the entry before.
    before: Term,
    print: u64,
}

impl LogMatching {
    pub const NAME: &str = "log-matching";

    fn known(&mut self, index: Index, found: Kept) -> Kept {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if place == self.first.len() {
            self.first.push(found);
        }
        match self.first.get(place) {
            Some(kept) if kept.term == found.term => *kept,
            _ => *self.others.entry((index, found.term)).or_insert(found),
        }
    }
}

impl Check for LogMatching {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Persist { node: id, persist } = fact else { return Ok(()) };
        if persist.entries.is_empty() {
            return Ok(());
        }
        let Some(own) = book.observed.directory(*id) else { return Ok(()) };
        let Some(LogId { term: mut before, .. }) = own.log.before(persist) else { return Ok(()) };
        if self.first.is_empty() {
            self.first.push(Kept::default());
        }
        for entry in &persist.entries {
            let found = Kept { term: entry.term(), before, print: print(entry) };
            let known = self.known(entry.index(), found);
            let now = entry.id();
            ensure!(known.print == found.print, "node {id} holds another entry {now} than others did");
            let follows = known.before == before;
            ensure!(follows, "entry {now} follows term {before} on node {id}, and term {} elsewhere", known.before);
            before = now.term;
        }
        Ok(())
    }
}
