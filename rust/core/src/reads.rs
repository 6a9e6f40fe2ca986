//! Linearizable reads by `ReadIndex` (thesis 6.4): a round of heartbeats confirms only reads that were queued before it
//! was sent.

use std::collections::VecDeque;

use crate::raft::Digest;
use crate::types::{Index, NodeId, RequestId};

/// Reads that a leader lets wait at most; more are refused.
const LIMIT: usize = 4096;

/// Who asked: a member (maybe this one) and its number for the read.
pub type Asker = (NodeId, RequestId);

/// A leader's reads.
#[derive(Debug, Default)]
pub struct Reads {
    waiting: Vec<Asker>,
    confirming: VecDeque<(u64, Index, Vec<Asker>)>,
}

impl Reads {
    /// A read is asked for; `false`: too many wait already.
    pub fn ask(&mut self, asker: Asker) -> bool {
        let room = self.waiting.len() < LIMIT;
        if room {
            self.waiting.push(asker);
        }
        room
    }

    /// Whether a round should start now.
    #[must_use]
    pub fn want_round(&self) -> bool {
        !self.waiting.is_empty() && self.confirming.is_empty()
    }

    /// A round is about to be sent; all that wait are to be answered with `commit` once it is confirmed.
    pub fn round_starts(&mut self, round: u64, commit: Index) {
        if !self.waiting.is_empty() {
            self.confirming.push_back((round, commit, std::mem::take(&mut self.waiting)));
        }
    }

    /// A quorum has answered `round`, and with it every earlier one.
    pub fn confirmed(&mut self, round: u64, mut answer: impl FnMut(Asker, Index)) {
        while let Some((sent, _, _)) = self.confirming.front() {
            if *sent > round {
                break;
            }
            if let Some((_, index, askers)) = self.confirming.pop_front() {
                for asker in askers {
                    answer(asker, index);
                }
            }
        }
    }

    /// Leadership is over: all that are unanswered.
    pub fn abandon(&mut self) -> Vec<Asker> {
        let mut askers = Vec::new();
        for (_, _, confirming) in self.confirming.drain(..) {
            askers.extend(confirming);
        }
        askers.append(&mut self.waiting);
        askers
    }

    /// Who waits, and for which round.
    pub(crate) fn digest(&self, out: &mut Digest) {
        let askers = |out: &mut Digest, askers: &[Asker]| {
            out.list(askers.iter(), |out, &(node, id)| {
                out.number(node);
                out.number(id);
            });
        };
        askers(out, &self.waiting);
        out.list(self.confirming.iter(), |out, (round, index, confirming)| {
            out.number(*round);
            out.number(*index);
            askers(out, confirming);
        });
    }
}
