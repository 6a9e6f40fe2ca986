//! The commit index: by whom, and what it means.

use d_engine_raft::{Configuration, LogId, Micros};

use super::book::Book;
use super::membership::by_quorum;
use super::observed::Node;
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// A commit index never goes back in a process, and is within the log.
#[derive(Debug, Default)]
pub struct CommitMonotonic;

impl CommitMonotonic {
    pub const NAME: &str = "commit-monotonic";
}

impl Check for CommitMonotonic {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Stepped { node: id, position, .. } = fact else { return Ok(()) };
        let Some(node) = book.observed.node(*id) else { return Ok(()) };
        let (commit, before, last) = (position.commit, node.position.commit, position.last);
        ensure!(commit >= before, "node {id} went from commit index {before} back to {commit}");
        ensure!(commit <= last.index, "node {id} has committed {commit} in a log that ends at {last}");
        Ok(())
    }
}

/// What a leader has just committed: the entry, and the configurations that may have counted for it.
fn advance<'a>(node: &'a Node, book: &Book) -> Option<(LogId, [Option<&'a Configuration>; 2])> {
    let commit = node.position.commit;
    if !node.has_led() || commit <= node.before.commit {
        return None;
    }
    let log = &book.observed.directories[node.directory].log;
    let entry = LogId::new(commit, log.term(commit)?);
    // A turn may commit and then put another configuration in force, or the other way round.
    Some((entry, [node.former.as_deref(), node.configuration()]))
}

/// A leader commits what a quorum of each half has acknowledged to it in its term, and only entries of its term (section 5.4.2).
#[derive(Debug, Default)]
pub struct CommittedByQuorum;

impl CommittedByQuorum {
    pub const NAME: &str = "committed-by-quorum";
}

impl Check for CommittedByQuorum {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, _fact: &Fact<'_>, _book: &Book) -> Finding {
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let Some((entry, configurations)) = advance(node, book) else { return Ok(()) };
        let (id, term) = (node.id, node.position.term);
        ensure!(entry.term == term, "node {id}, leader of term {term}, has committed entry {entry} by counting");
        let own = &book.observed.directories[node.directory];
        let counted = |configuration: &Configuration| {
            by_quorum(configuration, |voter| {
                let recorded = configuration.member(voter).and_then(|member| member.incarnation);
                if voter == id {
                    return own.durable >= entry.index;
                }
                node.counting == term
                    && node
                        .acks
                        .iter()
                        .any(|ack| ack.from == voter && Some(ack.incarnation) == recorded && ack.matched >= entry.index)
            })
        };
        let counted = configurations.into_iter().flatten().any(counted);
        ensure!(counted, "node {id} has committed {entry} by the acknowledgements {:?}", node.acks);
        Ok(())
    }
}

/// What is committed is durable in the directories of a quorum of each half, whatever they said.
#[derive(Debug, Default)]
pub struct CommittedDurably;

impl CommittedDurably {
    pub const NAME: &str = "committed-durably";
}

impl Check for CommittedDurably {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, _fact: &Fact<'_>, _book: &Book) -> Finding {
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let Some((entry, configurations)) = advance(node, book) else { return Ok(()) };
        let own = &book.observed.directories[node.directory];
        let kept = |configuration: &Configuration| {
            by_quorum(configuration, |voter| {
                let recorded = configuration.member(voter).and_then(|member| book.observed.recorded(member));
                let keeps = if voter == node.id { Some(own) } else { recorded };
                keeps.is_some_and(|directory| directory.keeps(entry))
            })
        };
        let kept = configurations.into_iter().flatten().any(kept);
        ensure!(kept, "node {} has committed {entry}, which no quorum keeps durably", node.id);
        Ok(())
    }
}

/// Followers commit what a leader has committed, and nothing else.
#[derive(Debug, Default)]
pub struct CommitAgrees;

impl CommitAgrees {
    pub const NAME: &str = "commit-agrees";
}

impl Check for CommitAgrees {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, _fact: &Fact<'_>, _book: &Book) -> Finding {
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let commit = node.position.commit;
        if commit <= node.before.commit {
            return Ok(());
        }
        let id = node.id;
        let Some(entry) = book.committed_at(commit) else {
            return Err(format!("node {id} has committed {commit}, which no leader has"));
        };
        let log = &book.observed.directories[node.directory].log;
        let found = log.term(commit).map(|term| LogId::new(commit, term));
        ensure!(log.holds(entry), "node {id} has committed {found:?} where {entry} is committed");
        Ok(())
    }
}
