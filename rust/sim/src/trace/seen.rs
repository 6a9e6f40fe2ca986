//! What facts add up to: what each node is, and which faults last.

use std::collections::BTreeMap;

use d_engine_raft::{Configuration, HardState, Incarnation, Index, LogId, Micros, NodeId, Role, Term};

use super::told::{Begun, Told};
use crate::fact::{End, Fault, Phase, Position};

/// One node, as its facts show it.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    /// Why it does not run, if it does not.
    pub stopped: Option<End>,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// What it last wanted on its disk.
    pub hard_state: HardState,
    /// What stands before its first entry.
    pub purged: LogId,
    /// The end of its log.
    pub last: Index,
    /// `(first index, term)` for every change of term after `purged`.
    pub runs: Vec<(Index, Term)>,
    /// Its newest snapshot.
    pub snapshot: Option<LogId>,
    /// Known to be committed when it started.
    pub applied: Index,
    /// The configuration that counts.
    pub configuration: Option<(Index, Configuration)>,
    /// After its last step since it started, with its own clock then.
    pub step: Option<(Micros, Position)>,
}

impl NodeSeen {
    /// Term, role, commit index and last index in a few letters: `L4 12/15`.
    #[must_use]
    pub fn cell(&self) -> String {
        if self.stopped.is_some() {
            return "-".to_owned();
        }
        let Some((_, position)) = &self.step else {
            return format!("f{} {}/{}", self.hard_state.term, self.applied, self.last);
        };
        let letter = match position.role {
            Role::Leader => 'L',
            Role::Candidate => 'C',
            Role::PreCandidate => 'P',
            Role::Follower => 'f',
        };
        format!("{letter}{} {}/{}", position.term, position.commit, position.last.index)
    }

    fn begun(&self) -> Begun {
        Begun {
            incarnation: self.incarnation,
            hard_state: self.hard_state,
            purged: self.purged,
            last: self.last,
            runs: self.runs.clone(),
            snapshot: self.snapshot,
            applied: self.applied,
            configuration: self.configuration.clone(),
        }
    }

    fn started(begun: &Begun) -> Self {
        Self {
            stopped: None,
            incarnation: begun.incarnation,
            hard_state: begun.hard_state,
            purged: begun.purged,
            last: begun.last,
            runs: begun.runs.clone(),
            snapshot: begun.snapshot,
            applied: begun.applied,
            configuration: begun.configuration.clone(),
            step: None,
        }
    }

    fn persist(&mut self, persist: &d_engine_raft::Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(base) = persist.reset_to {
            self.runs.clear();
            (self.purged, self.last) = (base, base.index);
        }
        if let Some(from) = persist.truncate_from {
            self.runs.retain(|(first, _)| *first < from);
            self.last = self.last.min(from.saturating_sub(1));
        }
        for entry in &persist.entries {
            if self.runs.last().is_none_or(|(_, term)| *term != entry.term()) {
                self.runs.push((entry.index(), entry.term()));
            }
            self.last = entry.index();
        }
    }

    fn purge(&mut self, upto: LogId) {
        self.purged = upto;
        // The run that `upto` stands in begins behind it now, unless `upto` ended it.
        let kept = self.runs.iter().rposition(|(first, _)| *first <= upto.index + 1).unwrap_or(0);
        self.runs.drain(..kept);
        if let Some((first, _)) = self.runs.first_mut() {
            *first = (*first).max(upto.index + 1);
        }
        if self.last <= upto.index {
            self.runs.clear();
            self.last = upto.index;
        }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Every node that ever ran.
    pub nodes: BTreeMap<NodeId, NodeSeen>,
    /// What lasts: fault, whom, since when.
    pub faults: Vec<(Fault, Box<[NodeId]>)>,
    /// The phase.
    pub phase: Option<Phase>,
}

impl Seen {
    /// Takes in what happened next.
    pub fn add(&mut self, told: &Told) {
        match told {
            Told::Phase(phase) => self.phase = Some(*phase),
            Told::Struck { fault, nodes } if fault.lasts() => self.faults.push((*fault, nodes.clone())),
            Told::Ended { fault, nodes } => {
                if let Some(at) = self.faults.iter().position(|(kind, whom)| kind == fault && whom == nodes) {
                    self.faults.remove(at);
                }
            }
            Told::Started { node, begun } => {
                self.nodes.insert(*node, NodeSeen::started(begun));
            }
            _ => {
                if let Some(seen) = told.node().and_then(|node| self.nodes.get_mut(&node)) {
                    Self::add_to(seen, told);
                }
            }
        }
    }

    fn add_to(seen: &mut NodeSeen, told: &Told) {
        match told {
            Told::Stopped { why, .. } => seen.stopped = Some(why.clone()),
            Told::Stepped { now, position, .. } => seen.step = Some((*now, *position)),
            Told::Persist { persist, .. } => seen.persist(persist),
            Told::Purged { upto, .. } => seen.purge(*upto),
            Told::Configured { index, configuration, .. } => {
                seen.configuration = Some((*index, (**configuration).clone()));
            }
            Told::SnapshotKept { last, .. } => seen.snapshot = Some(*last),
            _ => {}
        }
    }

    /// Facts that add up to this.
    #[must_use]
    pub fn retold(&self) -> Vec<Told> {
        let mut all: Vec<_> = self.phase.map(Told::Phase).into_iter().collect();
        for (&node, seen) in &self.nodes {
            all.push(Told::Started { node, begun: Box::new(seen.begun()) });
            if let Some((now, position)) = seen.step {
                all.push(Told::Stepped { node, now, input: "earlier", position });
            }
            if let Some(why) = &seen.stopped {
                all.push(Told::Stopped { node, why: why.clone() });
            }
        }
        all.extend(self.faults.iter().map(|(fault, nodes)| Told::Struck { fault: *fault, nodes: nodes.clone() }));
        all
    }
}
