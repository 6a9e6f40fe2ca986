//! What the people who run a cluster do: they exchange broken disks, take nodes in again, and see to it in the end that
//! everything works.

use d_engine_raft::{Change, Index, Micros, NodeId};

use crate::fact::{Fact, Outcome, Phase, Request};
use crate::world::{Event, Standing, Tell, World, voter};

/// Between two looks at the cluster.
const LOOK: Micros = 150_000;

/// How far the repair is.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    /// The change of the membership that is under way.
    change: Option<u64>,
    /// A damaged disk is exchanged when this comes.
    exchange_at: Option<Micros>,
    /// Faults have ended then.
    healing_since: Option<Micros>,
    /// The write that proves that the cluster works, and where it stands in the log.
    proof: Option<u64>,
    proven: Option<Index>,
    reads: Vec<u64>,
    looking: bool,
    voters: u64,
}

impl Repair {
    pub fn new(voters: u64) -> Self {
        Self { voters, ..Self::default() }
    }

    /// Whether a member is being taken in again.
    pub const fn is_busy(&self) -> bool {
        self.change.is_some() || self.exchange_at.is_some()
    }

    /// Somebody asked for these changes.
    pub const fn asked(&mut self, _changes: &[Change]) {
        self.looking = true;
    }
}

impl World {
    /// A phase ends, and the next one begins.
    pub(crate) fn next_phase(&mut self, tell: &mut Tell<'_, '_>) {
        match self.phase {
            Phase::Faults => self.heal(tell),
            Phase::Healing => {
                let missing = self.missing();
                tell.broken(
                    "progress",
                    format!("{} s after the last fault {missing}", self.options.heal_within / 1_000_000),
                );
            }
            Phase::Over => {}
        }
    }

    /// All faults end; whoever is down starts.
    pub(crate) fn heal(&mut self, tell: &mut Tell<'_, '_>) {
        for number in 0..self.nemesis.strikes.len() {
            if let Some(strike) = self.nemesis.strikes.get_mut(number) {
                strike.round = u32::MAX;
            }
            self.cease(number, tell);
        }
        self.network.mend_all();
        self.phase = Phase::Healing;
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        for node in nodes {
            self.make_well(node, tell);
        }
        tell.fact(&Fact::Phase(Phase::Healing));
        self.nemesis.repair.healing_since = Some(self.now);
        self.agenda.add(self.now + self.options.heal_within, Event::Phase);
        self.agenda.add(self.now, Event::Repair);
    }

    fn make_well(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        self.check_power(node, tell);
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.disk.files.calm();
        host.disk.files.set_capacity(None);
        host.hindered_until = self.now;
        let down = host.process.is_none() && host.standing != Standing::Outside;
        let stopped = host.process.as_ref().is_some_and(|process| process.state.stopped());
        if down {
            host.held_down = false;
            self.start(node, tell);
        } else if stopped {
            self.kill(node, tell);
        }
    }

    /// Looks at the cluster, and does the next thing that it needs.
    pub(crate) fn repair(&mut self, tell: &mut Tell<'_, '_>) {
        if self.phase == Phase::Over {
            return;
        }
        self.settle_change();
        self.exchange_disks(tell);
        self.welcome(tell);
        self.say_goodbye(tell);
        if self.phase == Phase::Healing && self.is_healed(tell) {
            self.phase = Phase::Over;
            tell.tally.summary.healed_after = self.now - self.nemesis.repair.healing_since.unwrap_or(self.now);
            tell.fact(&Fact::Phase(Phase::Over));
            self.end();
            return;
        }
        self.agenda.add(self.now + LOOK, Event::Repair);
    }

    /// A change that was asked for has an answer.
    fn settle_change(&mut self) {
        let Some(change) = self.nemesis.repair.change else { return };
        if self.outcome(change).is_some() {
            self.nemesis.repair.change = None;
        }
    }

    /// A damaged disk is exchanged when somebody has noticed.
    fn exchange_disks(&mut self, tell: &mut Tell<'_, '_>) {
        let damaged = self.hosts.values().find(|host| host.standing == Standing::Damaged).map(|host| host.id);
        let Some(node) = damaged else { return };
        let at = *self.nemesis.repair.exchange_at.get_or_insert(self.now + 1_200_000);
        if at <= self.now || self.phase == Phase::Healing {
            self.nemesis.repair.exchange_at = None;
            self.wipe(node, tell);
        }
    }

    /// Empty hosts are taken in again; those whose membership has come are counted on.
    fn welcome(&mut self, tell: &mut Tell<'_, '_>) {
        let Some((_, configuration, committed)) = self.membership() else { return };
        let Some(leader) = self.leader() else { return };
        let mut wanted = None;
        for host in self.hosts.values_mut() {
            let Some(hello) = &host.hello else { continue };
            let member = configuration.member(host.id).filter(|member| member.incarnation == Some(hello.incarnation));
            match (host.standing, member) {
                (Standing::Empty, Some(member)) if member.votes() && committed => host.standing = Standing::Sound,
                // Removed meanwhile, or never there.
                (Standing::Empty, None) if configuration.member(host.id).is_none() && committed => {
                    wanted = wanted.or(Some((host.id, hello.incarnation)));
                }
                (Standing::Empty, None) => wanted = wanted.or(Some((host.id, hello.incarnation))),
                (Standing::Outside, Some(_)) if committed => host.standing = Standing::Sound,
                _ => {}
            }
        }
        if let Some((node, incarnation)) = wanted.filter(|_| self.nemesis.repair.change.is_none() && committed) {
            let mut member = configuration.member(node).cloned().unwrap_or_else(|| voter(node));
            member.role = d_engine_raft::MemberRole::Voter;
            (member.incarnation, member.auto_promote, member.leaving) = (Some(incarnation), true, false);
            let call = self.ask(leader, Request::Change(vec![Change::Add(member)]), tell);
            self.nemesis.repair.change = Some(call);
        }
    }

    /// Whoever is no member any more is shut down.
    fn say_goodbye(&mut self, tell: &mut Tell<'_, '_>) {
        let Some((_, configuration, true)) = self.membership() else { return };
        let gone: Vec<NodeId> = self
            .hosts
            .values()
            .filter(|host| host.standing == Standing::Sound && configuration.member(host.id).is_none())
            .map(|host| host.id)
            .collect();
        for node in gone {
            if let Some(host) = self.hosts.get_mut(&node) {
                host.standing = Standing::Outside;
                host.held_down = true;
            }
            self.kill(node, tell);
        }
    }

    /// Whether everything works: a new write is applied by every member, and every member answers a read.
    fn is_healed(&mut self, tell: &mut Tell<'_, '_>) -> bool {
        let sound = self.members().iter().all(|id| {
            self.hosts.get(id).is_some_and(|host| host.standing == Standing::Sound && host.process.is_some())
        });
        if !sound || !self.is_settled(1) || self.nemesis.repair.is_busy() {
            return false;
        }
        let Some(leader) = self.leader() else { return false };
        if self.nemesis.repair.proven.is_none() {
            self.prove(leader, tell);
            return false;
        }
        let proven = self.nemesis.repair.proven.unwrap_or(0);
        let Some((_, configuration, _)) = self.membership() else { return false };
        let applied = |id: NodeId| {
            let process = self.hosts.get(&id).and_then(|host| host.process.as_ref());
            process.is_some_and(|process| process.state.last().index >= proven)
        };
        if !configuration.members.iter().all(|member| applied(member.id)) {
            return false;
        }
        if self.nemesis.repair.reads.is_empty() {
            let members: Vec<NodeId> = configuration.members.iter().map(|member| member.id).collect();
            for id in members {
                let consistency = d_engine_node::Consistency::Linearizable;
                let request = self.clients.any_read(consistency);
                let call = self.ask(id, request, tell);
                self.nemesis.repair.reads.push(call);
            }
            return false;
        }
        let reads = self.nemesis.repair.reads.clone();
        let outcomes: Vec<Option<&Outcome>> = reads.iter().map(|&call| self.outcome(call)).collect();
        if outcomes.iter().any(Option::is_none) {
            return false;
        }
        let fine = outcomes
            .into_iter()
            .flatten()
            .all(|outcome| matches!(outcome, Outcome::Read { .. } | Outcome::Queried { .. }));
        if !fine {
            self.nemesis.repair.reads.clear();
        }
        fine
    }

    fn prove(&mut self, leader: NodeId, tell: &mut Tell<'_, '_>) {
        match self.nemesis.repair.proof {
            None => {
                let request = self.clients.any_write();
                let call = self.ask(leader, request, tell);
                self.nemesis.repair.proof = Some(call);
            }
            Some(call) => match self.outcome(call) {
                Some(Outcome::Written { index, .. } | Outcome::Answered { index, .. }) => {
                    self.nemesis.repair.proven = Some(*index);
                }
                Some(_) => self.nemesis.repair.proof = None,
                None => {}
            },
        }
    }

    /// What does not work yet, in words.
    fn missing(&self) -> String {
        let mut missing = Vec::new();
        for host in self.hosts.values().filter(|host| host.standing != Standing::Outside) {
            let state = host.process.as_ref().map(|process| {
                let position = process.driver.position();
                format!(
                    "{:?} in term {}, log to {}, commit {}, applied {}",
                    position.role, position.term, position.last, position.commit, position.applied
                )
            });
            missing.push(format!("node {} ({:?}): {}", host.id, host.standing, state.unwrap_or_else(|| "down".into())));
        }
        let repair = &self.nemesis.repair;
        let stage = match (repair.proven, &repair.proof) {
            (Some(index), _) => format!("not every member has applied {index} and answers a read"),
            (None, Some(_)) => "a write has no answer".to_owned(),
            (None, None) => format!("no settled leadership over {} voters", repair.voters),
        };
        format!("{stage}: {}", missing.join("; "))
    }
}
