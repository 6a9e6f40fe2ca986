//! The apply rule, without threads: what of the committed entries a state machine is given, what each waiter gets for them, what
//! a snapshot holds, and from where a machine goes on at a start. The apply thread and the simulator both follow it.

mod answers;
mod division;
mod role;
mod sidecar;
mod snapshots;
mod start;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use d_engine_raft::{Configuration, Entry, EntryKind, Index, LogId, RequestId, WallMicros};

use crate::driver::{Failure, Sessions};
use crate::error::PluginFailure;
use crate::traits::{Applied, Batch, StateMachine};
use answers::{End, Pieces};
use division::{Division, From, Part, Parts};

pub use answers::{Ended, Slot, Why};
pub use role::{RoleChange, is_witness, own_member, role_change};
pub use snapshots::{Making, Trouble};

/// Where a state machine stands in the log.
#[derive(Clone, Debug)]
pub struct Position {
    /// The last entry that it covers.
    pub last: LogId,
    /// That entry's time.
    pub time: WallMicros,
    /// The configuration in force there, and the index of its entry.
    pub configuration: (Index, Configuration),
}

/// Everything that a node keeps of its state machine beside the machine itself. `O` is the machine's output.
pub struct AppliedState<O> {
    position: Position,
    sessions: Sessions,
    /// The machine keeps its own position.
    durable: bool,
    stopped: bool,
    witness: bool,
    /// Proposals whose rest is still to come.
    partial: HashMap<RequestId, Pieces<O>>,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Done<O> {
    /// For each slot, in order: how its proposal ended; `None` if more of it follows.
    pub ended: Vec<Option<Ended<O>>>,
    /// What to report: the last entry applied, and the bytes of those that this batch added. `None`: apply had stopped before.
    pub applied: Option<(LogId, u64)>,
    /// Why apply has stopped at the entry behind that one.
    pub failure: Option<PluginFailure>,
    /// Entries that were applied before, and are answered from the session table.
    pub repeated: u64,
    /// A committed configuration that cannot be read: its index, and what is wrong.
    pub unreadable: Option<(Index, String)>,
}

impl<O> AppliedState<O> {
    /// Of a machine that has applied nothing; `configuration` holds at the log's beginning.
    #[must_use]
    pub fn new(configuration: (Index, Configuration)) -> Self {
        Self {
            position: Position { last: LogId::ZERO, time: 0, configuration },
            sessions: Sessions::default(),
            durable: false,
            stopped: false,
            witness: false,
            partial: HashMap::new(),
        }
    }

    /// The last entry that it covers.
    #[must_use]
    pub const fn last(&self) -> LogId {
        self.position.last
    }

    /// Where it stands.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// The session table.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Apply has ended on this node.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether this node is a witness: it votes and keeps the log, and has no state. What is committed is then passed over, and
    /// its snapshots are a head and nothing else: enough to purge the log behind them.
    pub const fn set_witness(&mut self, witness: bool) {
        self.witness = witness;
    }

    /// Whether a reader may be let in who must see everything up to `index`.
    ///
    /// # Errors
    /// Apply has stopped before, or there is no state here.
    pub fn check_read(&self, index: Index) -> Result<(), Why> {
        if self.witness {
            Err(Why::Witness)
        } else if self.position.last.index >= index {
            Ok(())
        } else {
            Err(Why::Failure(Failure::ApplyStopped))
        }
    }

    /// What a proposal gets whose rest is not applied: the outputs of the pieces that were, and why there are no more.
    pub fn fail(&mut self, id: RequestId, failure: Failure) -> Ended<O> {
        self.partial.remove(&id).unwrap_or_default().end(Some(Why::Failure(failure)))
    }

    /// Applies contiguous committed entries. `call` has to call the machine's `apply` with the batch, once.
    pub fn apply<S: StateMachine<Output = O>>(
        &mut self,
        machine: &mut S,
        entries: &[Entry],
        slots: Vec<Slot>,
        call: impl FnOnce(&mut S, &Batch<'_>) -> Applied<O>,
    ) -> Done<O> {
        let mut done = Done { ended: Vec::new(), applied: None, failure: None, repeated: 0, unreadable: None };
        if self.stopped {
            done.ended = self.end_all(slots, Why::Failure(Failure::ApplyStopped));
            return done;
        }
        if self.witness {
            // Whoever waits asked before this node was a witness.
            done.ended = self.end_all(slots, Why::Passed);
            self.advance(entries, &mut done);
            return done;
        }
        let ranges = slots.iter().map(|slot| slot.range.clone()).collect();
        let division = Division::new(entries, ranges, &mut self.sessions);
        let mut applied = self.call(machine, entries, &division, call);
        let through =
            applied.failure.as_ref().map_or(entries.len(), |(applied, _)| division.through(entries, *applied));
        let answers = division.settle(std::mem::take(&mut applied.kept), entries, &mut self.sessions);
        self.advance(&entries[..through], &mut done);
        if let Some((_, failure)) = applied.failure.take() {
            self.stopped = true;
            done.failure = Some(match entries.get(through) {
                Some(entry) => failure.at(entry.index()),
                None => failure,
            });
        }
        self.answer_all(machine, applied.outputs, slots, division.parts, &answers, through, &mut done);
        done
    }

    fn call<S: StateMachine<Output = O>>(
        &self,
        machine: &mut S,
        entries: &[Entry],
        division: &Division,
        call: impl FnOnce(&mut S, &Batch<'_>) -> Applied<O>,
    ) -> Applied<O> {
        let commands = division.commands(entries);
        let Some(newest) = entries.last() else { return Applied::all(Vec::new()) };
        if commands.is_empty() && !self.durable {
            return Applied::all(Vec::new());
        }
        let last = newest.id();
        let sidecar = if self.durable { sidecar::encode(last, newest.time(), &self.sessions) } else { Vec::new() };
        let (wanted, keep) = (&division.ranges, &division.keep);
        call(machine, &Batch { entries: commands, last, sidecar: &sidecar, wanted, keep })
    }

    fn advance(&mut self, entries: &[Entry], done: &mut Done<O>) {
        for entry in entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration) {
            match Configuration::decode(&entry.payload()) {
                Ok(configuration) => self.position.configuration = (entry.index(), configuration),
                Err(error) => done.unreadable = Some((entry.index(), error.to_string())),
            }
        }
        if let Some(entry) = entries.last() {
            self.position.last = entry.id();
            self.position.time = entry.time();
        }
        let bytes: usize = entries.iter().map(Entry::size).sum();
        done.applied = Some((self.position.last, bytes as u64));
    }

    #[expect(clippy::too_many_arguments, reason = "what came of one batch, taken apart")]
    fn answer_all<S: StateMachine<Output = O>>(
        &mut self,
        machine: &mut S,
        outputs: Vec<O>,
        slots: Vec<Slot>,
        parts: Vec<Parts>,
        answers: &BTreeMap<Index, Option<Bytes>>,
        through: usize,
        done: &mut Done<O>,
    ) {
        let mut outputs = outputs.into_iter();
        done.ended.reserve(slots.len());
        for (slot, parts) in slots.into_iter().zip(parts) {
            let mut pieces = self.partial.remove(&slot.id).unwrap_or_default();
            let mut next = || outputs.next().ok_or(Why::Failure(Failure::ApplyStopped));
            match parts {
                Parts::Whole => pieces.add(next(), slot.range.end <= through),
                Parts::Several(parts) => {
                    for Part { stop, from } in parts {
                        let output = match from {
                            From::Machine => next(),
                            from => answer(machine, from, answers, done),
                        };
                        pieces.add(output, stop <= through);
                    }
                }
            }
            done.ended.push(self.end(&slot, pieces));
        }
    }

    fn end(&mut self, slot: &Slot, pieces: Pieces<O>) -> Option<Ended<O>> {
        match slot.end {
            End::More => {
                self.partial.insert(slot.id, pieces);
                None
            }
            End::Last => Some(pieces.end(None)),
            End::Cut(failure) => Some(pieces.end(Some(Why::Failure(failure)))),
        }
    }

    /// Ends every waiter for one reason, with what it has so far; those of whom more follows when that comes.
    fn end_all(&mut self, slots: Vec<Slot>, why: Why) -> Vec<Option<Ended<O>>> {
        let end = |slot: Slot| match slot.end {
            End::More => None,
            End::Last | End::Cut(_) => {
                let outputs = self.partial.remove(&slot.id).unwrap_or_default().outputs;
                Some(Ended { outputs, why: Some(why) })
            }
        };
        slots.into_iter().map(end).collect()
    }
}

/// What an entry that the machine was not given has for an answer.
fn answer<S: StateMachine>(
    machine: &mut S,
    from: From,
    answers: &BTreeMap<Index, Option<Bytes>>,
    done: &mut Done<S::Output>,
) -> Result<S::Output, Why> {
    match from {
        From::Table { index, session, sequence } => {
            done.repeated += 1;
            let kept = answers.get(&index).and_then(Option::as_ref);
            kept.and_then(|kept| machine.load(kept)).ok_or(Why::ResultLost { session, sequence })
        }
        From::Opened(session) => machine.opened(session).ok_or(Why::ResultLost { session, sequence: 0 }),
        From::Expired(session) => Err(Why::Expired { session }),
        From::Machine => Err(Why::Failure(Failure::ApplyStopped)),
    }
}
