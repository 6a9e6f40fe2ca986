//! What must hold after every step of every schedule.

use std::collections::BTreeMap;

use bytes::Bytes;
use d_engine_raft::{
    AppendReply, Body, Core, Effect, Entry, Index, LogId, Message, NodeId, Reply, RequestId, Role, Term,
};

use super::cluster::Cluster;
use super::disk::Disk;

/// What was seen so far.
#[derive(Default)]
pub struct Checks {
    /// Who led which term.
    pub leaders: BTreeMap<Term, NodeId>,
    /// What any node counted as committed.
    pub committed: BTreeMap<Index, Term>,
    commits: BTreeMap<NodeId, Index>,
    /// What was applied where, by anybody.
    pub applied: BTreeMap<Index, Entry>,
    /// Reads under way: what was committed when they were asked for.
    reads: BTreeMap<RequestId, Index>,
    /// Proposals under way and their payloads.
    pub proposals: BTreeMap<RequestId, Bytes>,
    /// Certainly not done, says the core.
    pub refused: Vec<Bytes>,
    /// Answered reads.
    pub answered: usize,
}

impl Checks {
    pub fn newest(&self) -> Index {
        self.committed.last_key_value().map_or(0, |(&index, _)| index)
    }

    pub fn read_begins(&mut self, id: RequestId) {
        let newest = self.newest();
        self.reads.insert(id, newest);
    }

    pub fn restarted(&mut self, id: NodeId) {
        self.commits.remove(&id);
    }

    /// State machine safety: one entry at one index, on all nodes for ever.
    pub fn applies(&mut self, entry: &Entry) {
        let before = self.applied.entry(entry.index()).or_insert_with(|| entry.clone());
        assert_eq!(before, entry, "state machine safety");
    }

    /// Answers are true.
    pub fn replies(&mut self, reply: &Reply) {
        match reply {
            Reply::ReadReady { id, index } => {
                let begun = self.reads.remove(id).unwrap_or_default();
                assert!(*index >= begun, "read {id} got {index}, but {begun} was committed before it was asked");
                self.answered += 1;
            }
            Reply::Refused { id, .. } => {
                self.reads.remove(id);
                if let Some(payload) = self.proposals.remove(id) {
                    self.refused.push(payload);
                }
            }
            _ => {}
        }
    }

    /// What a step did to the core: election safety, leader completeness, leases, commits that stay.
    fn stepped(&mut self, id: NodeId, core: &Core, disk: &Disk) -> bool {
        let mut elected = false;
        if core.role() == Role::Leader {
            let term = core.term();
            elected = !self.leaders.contains_key(&term);
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "election safety: two leaders in term {term}");
            if elected {
                self.complete(id, term, disk);
            }
        }
        let before = self.commits.insert(id, core.commit()).unwrap_or_default();
        assert!(core.commit() >= before, "the commit index of node {id} went back from {before}");
        for index in before + 1..=core.commit() {
            if let Some(found) = disk.view(index) {
                let term = *self.committed.entry(index).or_insert(found);
                assert_eq!(term, found, "node {id} committed {index} in another term");
            }
        }
        elected
    }

    /// Leader completeness (section 5.4.3).
    fn complete(&self, id: NodeId, term: Term, disk: &Disk) {
        for (&index, &of) in &self.committed {
            if index > disk.begins().index {
                assert_eq!(disk.view(index), Some(of), "leader {id} of term {term} lacks {}", LogId::new(index, of));
            }
        }
    }

    /// No refused entry was applied, and none twice.
    pub fn exactly_once(&self) {
        let mut seen = BTreeMap::new();
        for entry in self.applied.values().filter(|entry| !entry.payload().is_empty()) {
            if let Some(before) = seen.insert(entry.payload(), entry.index()) {
                panic!("{:?} was applied at {before} and at {}", entry.payload(), entry.index());
            }
        }
        for payload in &self.refused {
            assert!(!seen.contains_key(payload), "{payload:?} was refused and applied");
        }
    }
}

impl Cluster {
    /// After every step of a node.
    pub fn check_step(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        let Some(core) = &node.core else { return };
        if self.checks.stepped(id, core, &node.disk) {
            for other in self.nodes.values().filter(|other| other.id != id) {
                let lease = other.core.as_ref().and_then(Core::lease_until).unwrap_or_default();
                assert!(lease <= other.clock(self.now), "node {id} was elected while node {} held a lease", other.id);
            }
        }
    }

    /// For every effect, when it is given out: what depends on the disk is on it (Laws 1 and 5).
    pub fn check_effect(&self, id: NodeId, effect: &Effect) {
        let disk = &self.nodes[&id].disk;
        match effect {
            Effect::Send(message) => check_gate(disk, message),
            Effect::Fetch { lo, hi, .. } => {
                assert!(lo < hi, "a fetch asks for something");
                assert!(*hi - 1 <= disk.last().index, "fetched before durable");
            }
            Effect::Apply(entries) => {
                for entry in entries.iter().filter(|entry| entry.index() > disk.purged.index) {
                    assert_eq!(disk.get(entry.index()), Some(entry), "applied before durable");
                }
            }
            _ => {}
        }
    }

    /// Log matching (section 5.3): the same term at one index means the same log up to there.
    pub fn check_logs(&self) {
        let disks: Vec<&Disk> = self.nodes.values().map(|node| &node.disk).collect();
        for (at, one) in disks.iter().enumerate() {
            for other in &disks[at + 1..] {
                let low = one.purged.index.max(other.purged.index) + 1;
                let high = one.last().index.min(other.last().index);
                let mut same = false;
                for index in (low..=high).rev() {
                    same |= one.term(index) == other.term(index);
                    assert!(!same || one.get(index) == other.get(index), "log matching at {index}");
                }
            }
        }
    }
}

fn check_gate(disk: &Disk, message: &Message) {
    let durable = disk.hard_state;
    let term = match message.body {
        Body::PreVote { .. } | Body::PreVoteReply { granted: true } => message.term - 1,
        _ => message.term,
    };
    assert!(
        term <= durable.term || matches!(message.body, Body::PreVoteReply { granted: true }),
        "{message:?} shows a term that is not durable: {durable:?}"
    );
    match &message.body {
        Body::VoteReply { granted: true } => {
            assert_eq!(
                (durable.term, durable.vote),
                (message.term, Some(message.to)),
                "a vote left before it was durable"
            );
        }
        Body::Vote { .. } => {
            assert_eq!((durable.term, durable.vote), (message.term, Some(message.from)), "a candidacy is not durable");
        }
        Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => {
            assert!(*matched <= disk.last().index, "acknowledged {matched}, durable {}", disk.last());
        }
        _ => {}
    }
}
