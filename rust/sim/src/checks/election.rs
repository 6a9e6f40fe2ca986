//! Terms, votes, and who leads (sections 5.2 and 5.4 of the paper).

use std::collections::BTreeMap;

use d_engine_raft::{Body, Configuration, Index, LogId, MemberRole, Micros, NodeId, Role, Term};

use super::book::Book;
use super::observed::{Directory, Node};
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// A term never goes back: not in a process, and not behind what was told to others.
#[derive(Debug, Default)]
pub struct TermMonotonic;

impl TermMonotonic {
    pub const NAME: &str = "term-monotonic";
}

impl Check for TermMonotonic {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Stepped { node: id, position, .. } = fact else { return Ok(()) };
        let (Some(node), Some(own)) = (book.observed.node(*id), book.observed.directory(*id)) else { return Ok(()) };
        let (term, before) = (position.term, node.position.term);
        ensure!(term >= before, "node {id} went from term {before} back to term {term}");
        let shown = own.revealed;
        ensure!(term >= shown || own.lied, "node {id} is in term {term} after it has spoken in term {shown}");
        Ok(())
    }
}

/// One vote a term and data directory, the candidate's own included.
#[derive(Debug, Default)]
pub struct VoteOnce {
    /// The newest vote by directory.
    votes: Vec<(Term, NodeId)>,
}

impl VoteOnce {
    pub const NAME: &str = "vote-once";
}

impl Check for VoteOnce {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Sent { message, .. } = fact else { return Ok(()) };
        let candidate = match message.body {
            Body::Vote { .. } => message.from,
            Body::VoteReply { granted: true } => message.to,
            _ => return Ok(()),
        };
        let Some(node) = book.observed.node(message.from) else { return Ok(()) };
        if self.votes.len() <= node.directory {
            self.votes.resize(node.directory + 1, (0, 0));
        }
        let (term, voted) = self.votes[node.directory];
        let (from, now) = (message.from, message.term);
        ensure!(now != term || voted == candidate, "node {from} voted for {voted} and for {candidate} in term {term}");
        if now > term {
            self.votes[node.directory] = (now, candidate);
        }
        Ok(())
    }
}

/// One leader a term (section 5.2).
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    pub const NAME: &str = "election-safety";
}

impl Check for ElectionSafety {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Stepped { node: id, position, .. } = fact else { return Ok(()) };
        if position.role != Role::Leader {
            return Ok(());
        }
        let known = book.observed.node(*id).is_some_and(|node| {
            let before = &node.position;
            before.role == Role::Leader && before.term == position.term
        });
        if !known {
            let term = position.term;
            let first = *self.leaders.entry(term).or_insert(*id);
            ensure!(first == *id, "nodes {first} and {id} both lead term {term}");
        }
        Ok(())
    }
}

/// Nobody leads whom a quorum has not elected: of each half, of recorded data directories; or every voter, recorded or not.
#[derive(Debug, Default)]
pub struct ElectedByQuorum;

impl ElectedByQuorum {
    pub const NAME: &str = "elected-by-quorum";
}

impl Check for ElectedByQuorum {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, _fact: &Fact<'_>, _book: &Book) -> Finding {
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        if !node.was_elected() {
            return Ok(());
        }
        let own = &book.observed.directories[node.directory];
        let (id, term) = (node.id, node.position.term);
        let elected = node.former.as_ref().is_some_and(|configuration| elected(node, own, configuration));
        ensure!(elected, "node {id} leads term {term} by the votes of {:?}", node.votes);
        Ok(())
    }
}

fn elected(node: &Node, own: &Directory, configuration: &Configuration) -> bool {
    let term = node.position.term;
    // Whether it has that member's vote, and whether that is a vote of the directory that is recorded.
    let vote = |id: NodeId| {
        let recorded = configuration.member(id).and_then(|member| member.incarnation);
        let counts = |found| recorded.is_none_or(|known| known == found);
        let granted = if id == node.id {
            own.hard_state.term == term && own.hard_state.vote == Some(id) && counts(own.incarnation)
        } else {
            node.counting == term && node.votes.iter().any(|&(from, found)| from == id && counts(found))
        };
        (granted, granted && recorded.is_some())
    };
    let voters: Vec<NodeId> = configuration.voters().collect();
    let all = voters.iter().chain(&configuration.outgoing).all(|&id| vote(id).0);
    all || super::membership::by_quorum(configuration, |id| vote(id).1)
}

/// Who campaigns or leads has a vote by a configuration that may be in force, can lead, and is who was recorded.
#[derive(Debug, Default)]
pub struct MemberLeads;

impl MemberLeads {
    pub const NAME: &str = "member-leads";
}

impl Check for MemberLeads {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Sent { message, .. } = fact else { return Ok(()) };
        let asks = match message.body {
            Body::PreVote { .. } | Body::Vote { .. } => "campaigns",
            Body::Append { .. } => "leads",
            _ => return Ok(()),
        };
        let Some(node) = book.observed.node(message.from) else { return Ok(()) };
        if asks == "leads" && !node.was_elected() {
            return Ok(());
        }
        let may = |configuration: &Configuration| {
            configuration.is_voter(node.id)
                && configuration.member(node.id).is_some_and(|member| {
                    let known = member.incarnation.is_none_or(|known| known == message.incarnation);
                    member.role != MemberRole::Witness && known
                })
        };
        let may = node.former.iter().any(|one| may(one)) || node.configurations.iter().any(|(_, one)| may(one));
        ensure!(may, "node {} {asks} in term {} and has no vote", node.id, message.term);
        Ok(())
    }
}

/// A leader holds everything that was committed before its term (section 5.4.3).
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    committed: Index,
}

impl LeaderCompleteness {
    pub const NAME: &str = "leader-completeness";
}

impl Check for LeaderCompleteness {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, _fact: &Fact<'_>, _book: &Book) -> Finding {
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let committed = book.committed_at(book.committed()).unwrap_or(LogId::ZERO);
        if node.was_elected() {
            complete(book, node, committed)?;
        }
        if committed.index > self.committed {
            // A leader that is not one any more may commit late what its successors must have.
            self.committed = committed.index;
            let later = |node: &&Node| node.position.role == Role::Leader && node.position.term > committed.term;
            book.observed.nodes.iter().filter(later).try_for_each(|node| complete(book, node, committed))?;
        }
        Ok(())
    }
}

fn complete(book: &Book, node: &Node, committed: LogId) -> Finding {
    let log = &book.observed.directories[node.directory].log;
    let (id, term, last) = (node.id, node.position.term, log.last_id());
    ensure!(log.holds(committed), "node {id} leads term {term} without entry {committed}: its log ends at {last}");
    Ok(())
}
