//! Changes of the membership on their way: held until a leader is known, asked for, placed in the log, done when the
//! configuration that ends them is committed.

use std::collections::{BTreeMap, VecDeque};

use d_engine_raft::{
    Change, ChangeError, Configuration, Entry, EntryKind, Index, LogId, Micros, NodeId, RequestId, Term, mutants,
};

use super::digest::Digest;
use super::take_if;
use super::types::{Action, Calls, Failure, Unknown};

/// Not stepped yet, or certainly refused for a reason that passes.
struct Held<W> {
    changes: Vec<Change>,
    /// Why it was not taken when it was asked for last.
    refused: Option<ChangeError>,
    waiter: W,
    deadline: Option<Micros>,
}

/// Stepped, and no answer yet.
struct Asked<W> {
    changes: Vec<Change>,
    /// To whom, and in which term.
    forwarded: Option<(NodeId, Term)>,
    waiter: W,
    deadline: Option<Micros>,
}

/// In the log, with the first configuration that it led to.
struct Placed<W> {
    at: LogId,
    /// That configuration is committed.
    committed: bool,
    waiter: W,
    deadline: Option<Micros>,
}

pub(super) struct Changes<W> {
    held: VecDeque<Held<W>>,
    asked: BTreeMap<RequestId, Asked<W>>,
    placed: Vec<Placed<W>>,
    /// No asking before that, after a refusal.
    paused_until: Micros,
}

impl<W> Default for Changes<W> {
    fn default() -> Self {
        Self { held: VecDeque::new(), asked: BTreeMap::new(), placed: Vec::new(), paused_until: 0 }
    }
}

impl<W> Changes<W> {
    pub(super) fn len(&self) -> usize {
        self.held.len() + self.asked.len() + self.placed.len()
    }

    pub(super) fn hold(&mut self, changes: Vec<Change>, waiter: W, deadline: Option<Micros>) {
        self.held.push_back(Held { changes, refused: None, waiter, deadline });
    }

    pub(super) fn can_ask(&self, now: Micros) -> bool {
        !self.held.is_empty() && now >= self.paused_until
    }

    /// The next one that is held.
    pub(super) fn ask(&mut self, id: RequestId) -> Option<Vec<Change>> {
        let Held { changes, waiter, deadline, .. } = self.held.pop_front()?;
        self.asked.insert(id, Asked { changes: changes.clone(), forwarded: None, waiter, deadline });
        Some(changes)
    }

    pub(super) fn deadline(&self, leader_known: bool) -> Option<Micros> {
        let ask = (leader_known && !self.held.is_empty()).then_some(self.paused_until);
        let held = self.held.iter().filter_map(|one| one.deadline);
        let asked = self.asked.values().filter_map(|one| one.deadline);
        let placed = self.placed.iter().filter_map(|one| one.deadline);
        held.chain(asked).chain(placed).chain(ask).min()
    }

    pub(super) fn forwarded(&mut self, id: RequestId, to: NodeId, term: Term) {
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.forwarded = Some((to, term));
        }
    }

    /// Another leader: what was passed on to one before is never sent again, and waited for a little longer.
    pub(super) fn leader_changed(&mut self, term: Term, answer_by: Micros) {
        self.paused_until = 0;
        for asked in self.asked.values_mut().filter(|asked| asked.forwarded.is_some_and(|(_, before)| before < term)) {
            asked.deadline = Some(sooner(asked.deadline, answer_by));
        }
    }

    pub(super) fn place<K: Calls<Change = W>>(
        &mut self,
        id: RequestId,
        at: LogId,
        handed: Index,
        out: &mut Vec<Action<K>>,
    ) {
        let Some(Asked { waiter, deadline, .. }) = self.asked.remove(&id) else { return };
        if at.index <= handed {
            out.push(end(waiter, Err(Failure::Unknown(Unknown::Applied(at)))));
        } else {
            self.placed.push(Placed { at, committed: false, waiter, deadline });
        }
    }

    /// What passes by itself is asked for again.
    pub(super) fn refused<K: Calls<Change = W>>(
        &mut self,
        id: RequestId,
        why: ChangeError,
        again: Micros,
        closing: bool,
        out: &mut Vec<Action<K>>,
    ) {
        let Some(Asked { changes, waiter, deadline, .. }) = self.asked.remove(&id) else { return };
        // A leader records incarnations and promotes learners by itself: what is in the way may soon be through.
        let passes = matches!(
            why,
            ChangeError::InFlight(_) | ChangeError::NotLeader | ChangeError::NotReady | ChangeError::Transferring
        );
        if passes && !closing {
            self.paused_until = again;
            self.held.push_back(Held { changes, refused: Some(why), waiter, deadline });
        } else {
            out.push(end(waiter, Err(Failure::ChangeRefused(why))));
        }
    }

    /// Committed entries: the first configuration that is not joint, from a change's own one on, ends it.
    pub(super) fn hand_out<K: Calls<Change = W>>(&mut self, entries: &[Entry], out: &mut Vec<Action<K>>) {
        if self.placed.is_empty() {
            return;
        }
        for entry in entries {
            let here = |placed: &mut Placed<W>| placed.at.index == entry.index() && placed.at != entry.id();
            for Placed { at, waiter, .. } in self.placed.extract_if(.., here) {
                out.push(end(waiter, Err(Failure::Overwritten { at, by: entry.term() })));
            }
            if entry.kind() != EntryKind::Configuration {
                continue;
            }
            let complete = |found: &Configuration| !found.is_joint() || mutants::on("21-joint-is-enough");
            let configuration = Configuration::decode(&entry.payload()).ok().filter(complete);
            for placed in self.placed.iter_mut().filter(|placed| placed.at == entry.id()) {
                placed.committed = true;
            }
            if let Some(configuration) = configuration {
                for Placed { waiter, .. } in self.placed.extract_if(.., |placed| placed.committed) {
                    out.push(end(waiter, Ok(configuration.clone())));
                }
            }
        }
    }

    /// What a snapshot covers was made or not: nobody sees it here.
    pub(super) fn restored<K: Calls<Change = W>>(&mut self, last: LogId, out: &mut Vec<Action<K>>) {
        for Placed { waiter, .. } in self.placed.extract_if(.., |placed| placed.at.index <= last.index) {
            out.push(end(waiter, Err(Failure::Unknown(Unknown::Restored(last)))));
        }
    }

    /// This node is no member any more: what it waits for comes soon, if at all.
    pub(super) fn removed(&mut self, answer_by: Micros) {
        let asked = self.asked.values_mut().map(|one| &mut one.deadline);
        for deadline in asked.chain(self.placed.iter_mut().map(|one| &mut one.deadline)) {
            *deadline = Some(sooner(*deadline, answer_by));
        }
    }

    pub(super) fn fail_held<K: Calls<Change = W>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        out.extend(self.held.drain(..).map(|held| end(held.waiter, Err(*failure))));
    }

    /// Fails what may stand in a log.
    pub(super) fn fail_placed<K: Calls<Change = W>>(&mut self, failure: &Failure, out: &mut Vec<Action<K>>) {
        out.extend(std::mem::take(&mut self.asked).into_values().map(|asked| end(asked.waiter, Err(*failure))));
        out.extend(self.placed.drain(..).map(|placed| end(placed.waiter, Err(*failure))));
    }

    pub(super) fn expire<K: Calls<Change = W>>(&mut self, now: Micros, term: Term, out: &mut Vec<Action<K>>) {
        let due = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= now);
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { break };
            if due(held.deadline) {
                let nobody = Failure::NotLeader { leader: None, term };
                out.push(end(held.waiter, Err(held.refused.map_or(nobody, Failure::ChangeRefused))));
            } else {
                self.held.push_back(held);
            }
        }
        for (_, Asked { waiter, forwarded, .. }) in take_if(&mut self.asked, |asked| due(asked.deadline)) {
            let why = forwarded.map_or(Unknown::Closed, |(to, _)| Unknown::Forwarded(to));
            out.push(end(waiter, Err(Failure::Unknown(why))));
        }
        for Placed { at, waiter, .. } in self.placed.extract_if(.., |placed| due(placed.deadline)) {
            out.push(end(waiter, Err(Failure::Unknown(Unknown::Timeout(at)))));
        }
    }

    /// All of it but the callers.
    pub(super) fn digest(&self, out: &mut Digest) {
        out.list(self.held.iter(), |out, held| {
            out.size(held.changes.len());
            out.flag(held.refused.is_some());
            out.maybe(held.deadline);
        });
        out.list(self.asked.iter(), |out, (&id, asked)| {
            out.number(id);
            out.size(asked.changes.len());
            out.forwarded(asked.forwarded);
            out.maybe(asked.deadline);
        });
        out.list(self.placed.iter(), |out, placed| {
            out.id(placed.at);
            out.flag(placed.committed);
            out.maybe(placed.deadline);
        });
        out.number(self.paused_until);
    }
}

fn sooner(deadline: Option<Micros>, by: Micros) -> Micros {
    deadline.map_or(by, |deadline| deadline.min(by))
}

const fn end<K: Calls>(waiter: K::Change, result: Result<Configuration, Failure>) -> Action<K> {
    Action::EndChange { waiter, result }
}
