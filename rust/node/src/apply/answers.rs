//! Who waits for which entries of a batch, and how a wait ends.

use std::ops::Range;

use d_engine_raft::RequestId;

use crate::driver::{Failure, Piece, Wanted};

/// A waiter's entries in a batch.
#[derive(Debug)]
pub struct Slot {
    pub(super) id: RequestId,
    /// Positions in the batch.
    pub(super) range: Range<usize>,
    pub(super) end: End,
}

/// How a waiter's range ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    More,
    Last,
    Cut(Failure),
}

impl Slot {
    /// Takes the waiter out, which is answered when the slot has ended. Its range is moved by `shift`, because the batch may hold
    /// the entries of several actions.
    pub fn of<P>(wanted: Wanted<P>, shift: usize) -> (Self, Option<P>) {
        let Wanted { range, id, piece, .. } = wanted;
        let (waiter, end) = match piece {
            Piece::More => (None, End::More),
            Piece::Last(waiter) => (Some(waiter), End::Last),
            Piece::Cut(waiter, failure) => (Some(waiter), End::Cut(failure)),
        };
        (Self { id, range: range.start + shift..range.end + shift, end }, waiter)
    }
}

/// Why a waiter gets no more outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What the driver said, or that apply has stopped.
    Failure(Failure),
    /// It was applied before, and its result is not kept any more.
    ResultLost {
        /// Of that session.
        session: u64,
        /// With that number; 0: the session's opening.
        sequence: u64,
    },
    /// Not applied: its session is not known.
    Expired {
        /// Which.
        session: u64,
    },
    /// Committed, and this node has become a witness, which gives no results.
    Passed,
    /// This node is a witness.
    Witness,
}

/// How a waiter's wait ended.
#[derive(Debug)]
pub struct Ended<O> {
    /// What its entries gave, from the first one on.
    pub outputs: Vec<O>,
    /// Why there are no more, if some are missing.
    pub why: Option<Why>,
}

/// What a waiter has so far.
pub(super) struct Pieces<O> {
    pub(super) outputs: Vec<O>,
    why: Option<Why>,
}

impl<O> Default for Pieces<O> {
    fn default() -> Self {
        Self { outputs: Vec::new(), why: None }
    }
}

impl<O> Pieces<O> {
    /// Adds the next output, unless there is a gap before it. `complete`: it covers all of its entries.
    pub(super) fn add(&mut self, output: Result<O, Why>, complete: bool) {
        if self.why.is_some() {
            return;
        }
        match output {
            Ok(output) => {
                self.outputs.push(output);
                self.why = (!complete).then_some(Why::Failure(Failure::ApplyStopped));
            }
            Err(why) => self.why = Some(why),
        }
    }

    pub(super) fn end(self, why: Option<Why>) -> Ended<O> {
        Ended { outputs: self.outputs, why: self.why.or(why) }
    }
}
