//! Is a history linearizable? The search of Wing and Gong with the memory of Lowe, for any model.
//!
//! A history is linearizable if every call can be given one moment between its beginning and its end so that a single copy of
//! the thing, used at these moments by one caller after the other, gives the same results. The search tries the calls that may
//! come next, one after the other, undoes what leads nowhere, and remembers each pair (calls done, state) that it has been at.
//!
//! - Calls whose outcome nobody knows stay open to the end and may also never have happened.
//! - A history falls apart into partitions that are searched one by one, if the model says which calls concern each other.
//! - It is bounded: in moves, in memory, and by whoever watches. What was not decided is said to be so, never to be in order.
//! - A violation is explained: the first return that no order reaches, an order of everything before it, and the smallest
//!   window of calls that contradict each other.
//!
//! Nothing here depends on hashes' order, clocks or threads: the same history gives the same verdict with the same words.

mod check;
mod layout;
mod memo;
pub mod models;
mod observer;
mod search;
mod steps;
mod value;
mod window;

use std::hash::Hash;

pub use check::check;
pub use observer::Linear;
pub use value::Value;

/// The thing that is used, as one caller alone would see it.
pub trait Model {
    /// What is asked of it.
    type Call: Clone + Eq + Hash;
    /// What it answers.
    type Output: Clone + Eq + Hash;
    /// What it is between two calls. Equal states answer everything alike.
    type State: Clone + Eq + Hash;
    /// What calls have in common that concern each other.
    type Key: Clone + Eq + Hash;
    /// Why a step cannot even be judged.
    type Error;

    /// The state before all calls.
    ///
    /// # Errors
    /// The model itself fails.
    fn init(&mut self) -> Result<Self::State, Self::Error>;

    /// The state after `call` in `state`; `None` if the call would not have answered `output` there. Without an output nobody
    /// knows what it answered, and everything that it can answer will do.
    ///
    /// # Errors
    /// The model itself fails.
    fn step(
        &mut self,
        state: &Self::State,
        call: &Self::Call,
        output: Option<&Self::Output>,
    ) -> Result<Option<Self::State>, Self::Error>;

    /// Whether this call changes no state, whichever it comes upon: it is then done as soon as its answer fits, and no other
    /// order is tried.
    ///
    /// # Errors
    /// The model itself fails.
    fn reads(&mut self, _call: &Self::Call, _output: Option<&Self::Output>) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// What the call concerns; `None` if that is everything: the history then stays in one piece.
    ///
    /// # Errors
    /// The model itself fails.
    fn partition(&mut self, call: &Self::Call) -> Result<Option<Self::Key>, Self::Error>;
}

/// One call with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, O> {
    /// What was asked.
    pub call: C,
    /// When: any numbers that grow with time.
    pub invoked: u64,
    /// When it was answered, and what; `None`: nobody knows what became of it.
    pub returned: Option<(u64, O)>,
}

/// How long to search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps of the model that are tried, remembered ones included.
    pub moves: u64,
    /// Bytes for what the search remembers.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { moves: 100_000_000, memory: 1 << 30 }
    }
}

/// What came out. Operations are named by their place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<S> {
    /// An order of each partition. Of the calls with unknown outcome, only those that are needed are in it.
    Linearizable {
        /// The partitions, by their first calls.
        orders: Vec<Vec<usize>>,
    },
    /// There is no order.
    Violation(Box<Contradiction<S>>),
    /// The search was ended before it was through.
    Undecided {
        /// The calls of the partition that it was at.
        partition: Vec<usize>,
        /// Why it ended.
        why: Ended,
    },
}

/// Why a search was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has made all its moves.
    Moves,
    /// What it remembers has grown too large.
    Memory,
    /// Whoever watched has ended it.
    Stopped,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction<S> {
    /// All calls that were searched together.
    pub partition: Vec<usize>,
    /// The call with the first return that no order reaches: the history up to just before that return has an order.
    pub culprit: usize,
    /// Such an order: everything that had returned by then, and what had to come before that.
    pub prefix: Vec<usize>,
    /// All states that such orders lead to; the first is that of `prefix`. None of them lets the culprit return.
    pub states: Vec<S>,
    /// As few calls as were found that contradict each other, the culprit among them, by the time of their invocation: in
    /// whatever state the first of them began, of those possible by then, and whatever the calls beside and between them did.
    pub window: Vec<usize>,
}
