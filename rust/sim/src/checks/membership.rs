//! Memberships: one leads to the next so that no two of them decide apart (section 6, thesis 4).

use d_engine_raft::{Configuration, EntryKind, Index, Member, Micros, NodeId, quorum::quorum};

use super::book::Book;
use super::{Check, Finding, ensure};
use crate::fact::Fact;

/// Whether a quorum of each half is among those.
pub fn by_quorum(configuration: &Configuration, counts: impl Fn(NodeId) -> bool) -> bool {
    let (mut voters, mut yes) = (0, 0);
    for voter in configuration.voters() {
        voters += 1;
        yes += usize::from(counts(voter));
    }
    let outgoing = configuration.outgoing.iter().filter(|&&voter| counts(voter)).count();
    let old = configuration.outgoing.is_empty() || outgoing >= quorum(configuration.outgoing.len());
    voters > 0 && yes >= quorum(voters) && old
}

/// Whether every majority of one set has a node in common with every majority of the other.
fn always_meet(one: &[NodeId], other: &[NodeId]) -> bool {
    let common = one.iter().filter(|id| other.contains(id)).count();
    let needed = |set: &[NodeId]| quorum(set.len()).saturating_sub(set.len() - common);
    needed(one) + needed(other) > common
}

/// Whether every quorum of one meets every quorum of the other.
fn meet(one: &Configuration, other: &Configuration) -> bool {
    let halves = |configuration: &Configuration| {
        let voters: Vec<NodeId> = configuration.voters().collect();
        [voters, configuration.outgoing.clone()]
    };
    let (ours, theirs) = (halves(one), halves(other));
    let filled = |half: &&Vec<NodeId>| !half.is_empty();
    ours.iter().filter(filled).any(|one| theirs.iter().filter(filled).any(|other| always_meet(one, other)))
}

/// A node, where what a unit leaves of its log ends, and the configurations that follow there.
type Stored = (NodeId, Index, Vec<(Index, Configuration)>);

/// Configurations among a unit's entries.
fn configurations(fact: &Fact<'_>) -> Option<Stored> {
    let Fact::Persist { node, persist } = fact else { return None };
    let memberships = persist.entries.iter().filter(|entry| entry.kind() == EntryKind::Configuration);
    let found: Vec<_> =
        memberships.filter_map(|entry| Some((entry.index(), Configuration::decode(&entry.payload()).ok()?))).collect();
    let kept = persist.entries.first().map_or(0, |first| first.index() - 1);
    (!found.is_empty() && persist.reset_to.is_none()).then_some((*node, kept, found))
}

/// Quorums of configurations that follow each other in a log meet.
#[derive(Debug, Default)]
pub struct QuorumsMeet;

impl QuorumsMeet {
    pub const NAME: &str = "quorums-meet";
}

impl Check for QuorumsMeet {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        let Some((id, kept, found)) = configurations(fact) else { return Ok(()) };
        let Some(node) = book.observed.node(id) else { return Ok(()) };
        let mut before = node.configurations.iter().rev().find(|(at, _)| *at <= kept).map(|(_, one)| one.as_ref());
        for (index, next) in &found {
            let apart = before.filter(|before| !before.members.is_empty() && !meet(before, next));
            ensure!(
                apart.is_none(),
                "on node {id}, a quorum of {next} (at {index}) may miss one of {}",
                apart.unwrap_or(next)
            );
            before = Some(next);
        }
        Ok(())
    }
}

/// A leader makes one change at a time: none before its term's first commit, none before the last one is committed; it leaves a
/// joint phase only for that one's new half, and once the joint configuration is committed.
#[derive(Debug, Default)]
pub struct JointPhase {
    /// What was appended in this turn.
    appended: Vec<Appended>,
}

#[derive(Debug)]
struct Appended {
    by: NodeId,
    at: Index,
    /// What it follows.
    before: Option<(Index, Configuration)>,
    configuration: Configuration,
}

impl JointPhase {
    pub const NAME: &str = "joint-phase";
}

impl Check for JointPhase {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, book: &Book) -> Finding {
        if matches!(fact, Fact::Stepped { .. }) {
            self.appended.clear();
        }
        let Some((id, kept, found)) = configurations(fact) else { return Ok(()) };
        let Some(node) = book.observed.node(id) else { return Ok(()) };
        let before = node.configurations.iter().rev().find(|(at, _)| *at <= kept);
        let mut before = before.map(|(at, one)| (*at, one.as_ref().clone()));
        for (index, next) in found {
            let follows = before.replace((index, next.clone()));
            self.appended.push(Appended { by: id, at: index, before: follows, configuration: next });
        }
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        if self.appended.is_empty() || !node.went_on_leading() {
            return Ok(());
        }
        let (id, commit, term) = (node.id, node.position.commit, node.position.term);
        let ready = book.observed.directories[node.directory].log.term(commit) == Some(term);
        for Appended { at: index, before, configuration: next, .. } in
            self.appended.drain(..).filter(|one| one.by == id)
        {
            let Some((at, before)) = before else { continue };
            if same_votes(&before, &next) {
                // A data directory is recorded, which changes no quorum.
                continue;
            }
            let settled = at <= commit;
            ensure!(settled, "node {id} changes the members at {index} before the change at {at} is committed");
            ensure!(ready, "node {id} changes the members at {index} before anything of its term {term} is committed");
            let follows = !before.is_joint() || same_votes(&before.incoming(), &next);
            ensure!(follows, "node {id} leaves the joint phase of {at} for {next}, at {index}");
        }
        Ok(())
    }
}

/// Whether the same members vote in the same halves.
fn same_votes(one: &Configuration, other: &Configuration) -> bool {
    let part = |member: &Member| (member.id, member.role, member.leaving);
    one.outgoing == other.outgoing && one.members.iter().map(part).eq(other.members.iter().map(part))
}
