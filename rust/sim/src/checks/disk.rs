//! What leaves a node against what really is on its disk (Law 5): these are the checks that ask the platters.

use d_engine_raft::{AppendReply, Body, HardState, LogId, Micros, Start, Term};

use super::book::Book;
use super::view::LogView;
use super::{Check, Finding, Options, ensure};
use crate::fact::Fact;

/// Term and vote are on the platter before anything leaves that depends on them.
#[derive(Debug, Default)]
pub struct VoteOnDisk {
    /// What was found there, by directory; it does not go back.
    proven: Vec<Term>,
}

impl VoteOnDisk {
    pub const NAME: &str = "vote-on-disk";
}

impl Check for VoteOnDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Sent { message, platter, .. } = fact else { return Ok(()) };
        let (from, term) = (message.from, message.term);
        let vote = match message.body {
            Body::Vote { .. } => Some(from),
            Body::VoteReply { granted: true } => Some(message.to),
            Body::PreVote { .. } | Body::PreVoteReply { .. } => return Ok(()),
            _ => None,
        };
        let Some(place) = book.observed.node(from).map(|node| node.directory) else { return Ok(()) };
        if self.proven.len() <= place {
            self.proven.resize(place + 1, 0);
        }
        if vote.is_none() && term <= self.proven[place] || book.observed.directories[place].lied {
            return Ok(());
        }
        let Some(HardState { term: found, vote: given }) = platter.hard_state() else {
            return Err(format!("node {from} sent {:?} with a disk that no start would take", message.body));
        };
        ensure!(found >= term, "node {from} spoke in term {term} with term {found} on its disk");
        let kept = vote.is_none() || found > term || given == vote;
        ensure!(kept, "node {from} gave its vote of term {term} to {vote:?}, and its disk says {given:?}");
        self.proven[place] = found;
        Ok(())
    }
}

/// An acknowledgement covers only what is durable: by what the log said, always, and by what is on the platter, now and then.
#[derive(Debug)]
pub struct AckOnDisk {
    every: u64,
    seen: u64,
}

impl AckOnDisk {
    pub const NAME: &str = "ack-on-disk";

    pub const fn new(options: &Options) -> Self {
        Self { every: options.platter_every, seen: 0 }
    }
}

impl Check for AckOnDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Sent { message, platter, .. } = fact else { return Ok(()) };
        let (Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched }) = message.body
        else {
            return Ok(());
        };
        let from = message.from;
        let Some(own) = book.observed.directory(from) else { return Ok(()) };
        let durable = own.durable;
        ensure!(matched <= durable, "node {from} acknowledged {matched} and has {durable} durably");
        self.seen += 1;
        if self.every == 0 || !self.seen.is_multiple_of(self.every) || own.lied {
            return Ok(());
        }
        let found = platter.last();
        let kept = found.is_some_and(|last| last.index >= matched);
        ensure!(kept, "node {from} acknowledged {matched}, and its disk ends at {found:?}");
        Ok(())
    }
}

/// What was durable is there after a restart.
#[derive(Debug, Default)]
pub struct RestartKeeps;

impl RestartKeeps {
    pub const NAME: &str = "restart-keeps";
}

impl Check for RestartKeeps {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Started { node: id, incarnation, start } = fact else { return Ok(()) };
        let Start { hard_state, snapshot, .. } = start;
        let known = book.observed.directories.iter().find(|directory| directory.incarnation == *incarnation);
        let Some(before) = known.filter(|before| !before.lied) else { return Ok(()) };
        let promised = before.hard_state;
        let kept = hard_state.term > promised.term
            || hard_state.term == promised.term && (promised.vote.is_none() || hard_state.vote == promised.vote);
        ensure!(kept, "node {id} came back with {hard_state:?}, and {promised:?} was durable");
        let log = LogView::of(start);
        let last = LogId::new(before.durable, before.log.term(before.durable).unwrap_or(0));
        let kept = log.holds(last) || last.index <= log.purged.index;
        ensure!(kept, "node {id} came back with a log up to {}, and {last} was durable", log.last_id());
        let covered = before.snapshot;
        ensure!(*snapshot >= covered, "node {id} came back with snapshot {snapshot:?}, and {covered:?} was kept");
        Ok(())
    }
}
