//! What waits for the disk: outstanding persist tokens, and the messages that depend on them (Law 1).

use std::collections::VecDeque;
use std::mem::discriminant;

use crate::effect::Persist;
use crate::entries::Entries;
use crate::message::{AppendReply, Body, Message};
use crate::mutants;
use crate::raft::Digest;
use crate::types::{HardState, Index, LogId, Micros, Token};

#[derive(Debug)]
struct Outstanding {
    token: Token,
    /// The log is durable up to here once the token is; lowered by every later truncation.
    upto: Index,
    issued: Micros,
}

/// Persist effects from being put together to being durable.
#[derive(Debug)]
pub struct Durability {
    next: Token,
    staged: Option<Persist>,
    outstanding: VecDeque<Outstanding>,
    /// The token that makes the current term and vote durable; `None`: they are.
    hard_state: Option<Token>,
    withheld: Vec<(Token, Message)>,
}

impl Durability {
    /// Nothing is outstanding.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 1, staged: None, outstanding: VecDeque::new(), hard_state: None, withheld: Vec::new() }
    }

    /// Term and vote have changed.
    pub fn stage_hard_state(&mut self, state: HardState) {
        self.hard_state = Some(self.next);
        self.staged().hard_state = Some(state);
    }

    /// Entries are appended.
    pub fn stage_entries(&mut self, entries: &Entries) {
        let staged = &mut self.staged().entries;
        *staged = if staged.is_empty() || mutants::on("33-staged-again") {
            entries.clone()
        } else {
            staged.iter().chain(entries).cloned().collect()
        };
    }

    /// Entries from `from` on are dropped: what earlier tokens make durable ends before it (etcd/raft #8).
    pub fn stage_truncation(&mut self, from: Index) {
        for earlier in self.outstanding.iter_mut().filter(|_| !mutants::on("32-stale-completion")) {
            earlier.upto = earlier.upto.min(from - 1);
        }
        let staged = self.staged();
        let kept = staged.entries.iter().take_while(|entry| entry.index() < from).count();
        staged.entries = staged.entries.part(0..kept);
        staged.truncate_from = Some(staged.truncate_from.map_or(from, |before| before.min(from)));
    }

    /// The log is emptied and begins behind `to`: earlier tokens make nothing of it durable.
    pub fn stage_reset(&mut self, to: LogId) {
        for earlier in &mut self.outstanding {
            earlier.upto = 0;
        }
        let staged = self.staged();
        staged.entries = Entries::default();
        staged.truncate_from = None;
        staged.reset_to = Some(to);
    }

    /// Closes what was staged; the log then ends at `last`.
    pub fn flush(&mut self, last: Index, now: Micros) -> Option<Persist> {
        let staged = self.staged.take()?;
        self.outstanding.push_back(Outstanding { token: staged.token, upto: last, issued: now });
        self.next += 1;
        Some(staged)
    }

    /// All tokens up to `token` are durable: up to which index the log is now.
    pub fn persisted(&mut self, token: Token) -> Option<Index> {
        let mut upto = None;
        while let Some(oldest) = self.outstanding.front() {
            if oldest.token > token {
                break;
            }
            upto = upto.max(Some(oldest.upto));
            self.outstanding.pop_front();
        }
        if self.hard_state.is_some_and(|waiting| waiting <= token) {
            self.hard_state = None;
        }
        upto
    }

    /// The token that the current term and vote wait for.
    #[must_use]
    pub const fn hard_state_token(&self) -> Option<Token> {
        self.hard_state
    }

    /// The token that makes the log durable up to `index`; `None` where no outstanding one does, so that it is.
    #[must_use]
    pub fn token_for(&self, index: Index, durable: Index) -> Option<Token> {
        if index <= durable {
            return None;
        }
        let covers = self.outstanding.iter().find(|waiting| waiting.upto >= index);
        Some(covers.map_or(self.next, |waiting| waiting.token))
    }

    /// The token of what is being staged in this step.
    #[must_use]
    pub const fn current_token(&self) -> Token {
        self.next
    }

    /// Keeps a message until that token is durable. Of several answers of one kind that wait for the same token only the
    /// newest is kept, so that a disk that hangs does not fill the memory.
    pub fn withhold(&mut self, token: Token, message: Message) {
        let same = |waiting: &&mut (Token, Message)| waiting.0 == token && same_kind(&waiting.1, &message);
        match self.withheld.iter_mut().rev().find(same) {
            Some((_, before)) => supersede(before, message),
            None => self.withheld.push((token, message)),
        }
    }

    /// Messages that no longer wait, in their order. Of several accepted appends only the furthest is worth sending.
    pub fn release(&mut self, token: Token, ready: &mut Vec<Message>) {
        for (_, message) in self.withheld.extract_if(.., |(waits_for, _)| *waits_for <= token) {
            match ready.last_mut() {
                Some(before) if accepted(before).is_some() && same_kind(before, &message) => supersede(before, message),
                _ => ready.push(message),
            }
        }
    }

    /// When the oldest outstanding effect was given out.
    #[must_use]
    pub fn oldest(&self) -> Option<Micros> {
        self.outstanding.front().map(|waiting| waiting.issued)
    }

    /// What is outstanding, and what waits for it.
    pub(crate) fn digest(&self, out: &mut Digest) {
        out.number(self.next);
        out.list(self.outstanding.iter(), |out, waiting| {
            out.number(waiting.token);
            out.number(waiting.upto);
            out.number(waiting.issued);
        });
        out.maybe(self.hard_state);
        out.list(self.withheld.iter(), |out, (token, message)| {
            out.number(*token);
            out.number(message.to);
            out.number(message.term);
        });
    }

    fn staged(&mut self) -> &mut Persist {
        let token = self.next;
        self.staged.get_or_insert_with(|| Persist { token, ..Persist::default() })
    }
}

/// What an append was accepted up to.
const fn accepted(message: &Message) -> Option<Index> {
    match message.body {
        Body::AppendReply(AppendReply::Accepted { matched }) => Some(matched),
        _ => None,
    }
}

/// Whether two messages say the same kind of thing to the same member, in the same term.
fn same_kind(one: &Message, other: &Message) -> bool {
    one.to == other.to
        && one.term == other.term
        && discriminant(&one.body) == discriminant(&other.body)
        && accepted(one).is_some() == accepted(other).is_some()
}

/// The later message takes the earlier one's place, unless it is the answer to an older append that came late.
fn supersede(before: &mut Message, message: Message) {
    if accepted(&message) >= accepted(before) {
        *before = message;
    }
}
