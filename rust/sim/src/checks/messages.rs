//! Messages: nobody hears what nobody said.

use std::collections::VecDeque;

use d_engine_raft::{AppendReply, Body, Incarnation, LogId, Message, Micros};

use super::book::Book;
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// Messages that are remembered; an older one is taken as it comes.
const REMEMBERED: usize = 1 << 16;

/// What is delivered was sent, and is what was sent.
#[derive(Debug, Default)]
pub struct Conservation {
    /// By number; the last one is `newest`.
    prints: VecDeque<u64>,
    newest: u64,
}

impl Conservation {
    pub const NAME: &str = "message-conservation";

    fn print_of(&self, number: u64) -> Option<u64> {
        let back = usize::try_from(self.newest - number).ok()?;
        self.prints.len().checked_sub(back + 1).and_then(|place| self.prints.get(place)).copied()
    }
}

impl Check for Conservation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, _book: &Book) -> Finding {
        match fact {
            Fact::Sent { number, message, .. } => {
                let newest = self.newest;
                ensure!(*number > newest, "message {number} was sent after message {newest}");
                if *number > newest + 1 {
                    self.prints.clear();
                }
                self.newest = *number;
                self.prints.push_back(print(message));
                if self.prints.len() > REMEMBERED {
                    self.prints.pop_front();
                }
            }
            Fact::Delivered { number, message } => {
                let (from, to) = (message.from, message.to);
                ensure!(*number <= self.newest, "node {to} heard message {number} from node {from}, which nobody sent");
                let same = self.print_of(*number).is_none_or(|sent| sent == print(message));
                ensure!(same, "node {to} heard message {number} from node {from} otherwise than it was sent");
            }
            _ => {}
        }
        Ok(())
    }
}

fn low(incarnation: Incarnation) -> u64 {
    u64::try_from(incarnation.0 & u128::from(u64::MAX)).unwrap_or(0)
}

/// A few numbers of a message in one.
fn print(message: &Message) -> u64 {
    let mut print = (message.from << 8 | message.to) ^ message.term.rotate_left(16);
    let mut add = |number: u64| print = (print ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let place = |id: &LogId| id.index ^ id.term.rotate_left(40);
    add(low(message.incarnation));
    match &message.body {
        Body::PreVote { last } => add(place(last)),
        Body::Vote { last, transfer } => add(!place(last) ^ u64::from(*transfer) << 63),
        Body::PreVoteReply { granted } => add(2 + u64::from(*granted)),
        Body::VoteReply { granted } => add(4 + u64::from(*granted)),
        Body::Append { prev, commit, entries } => {
            add(place(prev));
            add(*commit ^ (entries.len() as u64) << 48);
            add(entries.last().map_or(0, super::ledger::print));
        }
        Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => add(*matched),
        Body::AppendReply(AppendReply::Rejected { prev, hint }) => add(*prev ^ place(hint)),
        Body::Heartbeat { round, commit } => add(*round ^ commit.rotate_left(32)),
        Body::HeartbeatReply { round, last, .. } => add(*round ^ last.rotate_left(32)),
        Body::Propose { id, .. } | Body::ReadIndex { id, .. } | Body::Change { id, .. } => add(*id),
        Body::ProposeReply { id, .. } | Body::ReadIndexReply { id, .. } | Body::ChangeReply { id, .. } => add(!*id),
        Body::TimeoutNow { target } => add(low(*target)),
    }
    print
}

/// Whoever sends runs, and speaks for itself.
#[derive(Debug, Default)]
pub struct SenderLives;

impl SenderLives {
    pub const NAME: &str = "sender-lives";
}

impl Check for SenderLives {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Fact::Sent { message, .. } = fact else { return Ok(()) };
        let from = message.from;
        let running = book.observed.node(from).is_some_and(|node| node.running);
        ensure!(running, "node {from} does not run and sent a message to node {}", message.to);
        let own = book.observed.directory(from).is_some_and(|own| own.incarnation == message.incarnation);
        ensure!(own, "node {from} sent a message in the name of another data directory, {}", message.incarnation);
        Ok(())
    }
}
