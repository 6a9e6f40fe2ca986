//! What the log is applied to.

use std::io::{Read, Write};
use std::ops::Range;

use bytes::Bytes;
use d_engine_raft::{Entry, Index, LogId};

use crate::error::PluginFailure;

/// What writes a frozen state: runs on the snapshot thread while apply goes on.
pub type View = Box<dyn FnOnce(&mut dyn Write) -> Result<(), PluginFailure> + Send>;

/// Committed entries for one call of `apply`.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The commands, in log order; indexes rise, with gaps where the log holds entries that are not for the machine. May be
    /// empty for a durable machine.
    pub entries: &'a [Entry],
    /// The last entry that the batch covers, which may be one that is not a command.
    pub last: LogId,
    /// Opaque bytes that a durable machine stores together with `last.index`, in one transaction.
    pub sidecar: &'a [u8],
    /// Ranges of `entries` that somebody on this node waits for, ascending and disjoint: one output is wanted for each.
    pub wanted: &'a [Range<usize>],
    /// Positions of `entries` whose results the session table keeps, ascending: each is wanted as bytes, on every node.
    pub keep: &'a [usize],
}

/// What came of a batch.
#[derive(Debug)]
pub struct Applied<O> {
    /// One for each wanted range, in order. With a failure, for each range that begins before the entry that failed (of a
    /// range that it cuts, the output covers the part before it).
    pub outputs: Vec<O>,
    /// Results as bytes, one for each position of `keep` that was applied, in order. `None`: that one cannot be kept; what is
    /// missing at the end counts as that.
    pub kept: Vec<Option<Bytes>>,
    /// Why the machine stopped, and how many of the batch's entries were applied before. Apply ends here on this node.
    pub failure: Option<(usize, PluginFailure)>,
}

impl<O> Applied<O> {
    /// Everything was applied.
    #[must_use]
    pub const fn all(outputs: Vec<O>) -> Self {
        Self { outputs, kept: Vec::new(), failure: None }
    }
}

/// The user's state, a deterministic function of the log. All methods run on the apply thread, one at a time.
pub trait StateMachine: Send + 'static {
    /// What the entries of one wanted range gave.
    type Output: Send + 'static;

    /// Applies a batch.
    fn apply(&mut self, batch: &Batch<'_>) -> Applied<Self::Output>;

    /// The output of an entry that was applied before, from the bytes that were kept of its result. `None`: nothing can be made of
    /// them.
    fn load(&mut self, _kept: &Bytes) -> Option<Self::Output> {
        None
    }

    /// The output of an entry that opened a session. `None`: this machine has no sessions.
    fn opened(&mut self, _session: u64) -> Option<Self::Output> {
        None
    }

    /// Writes the whole state.
    ///
    /// # Errors
    /// What the machine raised; the snapshot is dropped, apply goes on. An error of `out` is remembered by `out` itself.
    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure>;

    /// Makes a view of the state that can be written on the snapshot thread. `None`: `snapshot` is called instead.
    ///
    /// # Errors
    /// What the machine raised; no snapshot is made.
    fn freeze(&mut self) -> Result<Option<View>, PluginFailure> {
        Ok(None)
    }

    /// Replaces the whole state by what `snapshot` or a view wrote. A durable machine is then called with an empty batch that
    /// carries the snapshot's position.
    ///
    /// # Errors
    /// What the machine raised; apply stops.
    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure>;

    /// A durable machine's own position and the sidecar stored with it (`(0, [])` on an empty one); `None` for machines that
    /// keep none. Asked once, at start.
    ///
    /// # Errors
    /// What the machine raised; the node does not start.
    fn applied(&mut self) -> Result<Option<(Index, Vec<u8>)>, PluginFailure> {
        Ok(None)
    }

    /// Runs one round of the apply thread: one merged batch with its completions, queries, snapshots. An adaptor that needs a
    /// lock of its own (an interpreter) for all of that takes it here once.
    fn round(&mut self, work: &mut dyn FnMut(&mut Self))
    where
        Self: Sized,
    {
        work(self);
    }
}

/// What a query sees.
#[derive(Debug)]
pub struct Reading<'a, S> {
    /// The machine, between two batches.
    pub machine: &'a mut S,
    /// The last index it has applied.
    pub applied: Index,
}
