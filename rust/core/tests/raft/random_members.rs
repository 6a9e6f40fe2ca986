//! Random schedules in which members join, leave, change their roles, and lose their disks: what random.rs checks holds there too.

use crate::common::{ELECTION, incarnation, member};
use crate::random::{Chaos, run_all};
use d_engine_raft::{Change, Configuration, Core, CoreStatus, LogId, Member, MemberRole, NodeId};

impl Chaos {
    /// Asks for some change of the membership, or takes a disk away.
    pub fn reshape(&mut self) {
        if self.chance(4) {
            return self.lose_disk();
        }
        let count = self.random.between(0, 3).max(1);
        let id = self.cluster.leader().filter(|_| self.random.between(0, 2) > 0).unwrap_or_else(|| self.any());
        let changes = (0..count).map(|_| self.any_change()).collect();
        if self.cluster.nodes[&id].core.is_some() {
            self.cluster.change(id, changes);
        }
    }

    fn any_change(&mut self) -> Change {
        let id = self.any();
        match self.random.between(0, 9) {
            0..=4 => Change::Add(self.any_member(id)),
            5..=6 => Change::Remove(id),
            7..=8 => Change::Promote(id),
            _ => Change::Demote(id),
        }
    }

    fn any_member(&mut self, id: NodeId) -> Member {
        let role = match self.random.between(0, 5) {
            0 => MemberRole::Witness,
            1 => MemberRole::Learner,
            _ => MemberRole::Voter,
        };
        let shown = self.cluster.nodes[&id].incarnation;
        Member {
            role,
            auto_promote: self.chance(60),
            priority: i32::try_from(self.random.between(0, 2)).unwrap(),
            incarnation: self.chance(30).then_some(shown),
            ..member(id)
        }
    }

    /// One at a time, and only where enough others are left to go on: everything else is a cluster that has lost its quorum.
    fn lose_disk(&mut self) {
        let id = self.any();
        let statuses: Vec<CoreStatus> =
            self.cluster.nodes.values().filter_map(|node| node.core.as_ref()).map(Core::status).collect();
        // The first leader records all that it has seen at once, so one that is recorded tells for all.
        let formed = statuses.iter().all(|status| {
            let members = &status.configuration.members;
            members.is_empty() || members.iter().any(|member| member.incarnation.is_some())
        });
        let lost = statuses.iter().any(|status| {
            status.configuration.members.iter().any(|member| {
                member.id != id
                    && member.incarnation.is_some_and(|known| known != self.cluster.nodes[&member.id].incarnation)
            })
        });
        let small = statuses.iter().any(|status| {
            let voters = status.configuration.voters().count();
            voters > 0 && voters < 3
        });
        // All of the first voters on empty disks are a first start, whoever else there is by then.
        let remembers = |other| other != id && self.cluster.nodes[&other].incarnation == incarnation(other);
        let founded = (1..=self.founders).any(remembers);
        if formed && founded && !lost && !small && self.cluster.nodes[&id].core.is_some() {
            self.wiped += 1;
            self.cluster.wipe(id);
            self.cluster.start(id);
        }
    }

    /// Everything works again: where anybody can be elected somebody is, a write goes through, and all members hold the same.
    /// `false`: nobody can be.
    pub fn heal_members(&mut self) -> bool {
        self.cluster.heal();
        self.revive();
        self.cluster.advance(2 * ELECTION.1);
        self.revive();
        if self.cluster.leader().is_none() && !self.can_elect() {
            return false;
        }
        for _ in 0..6 {
            self.cluster.advance(12 * ELECTION.1);
            let Some(leader) = self.cluster.leader() else { continue };
            let request = self.cluster.propose(leader, b"at last");
            self.cluster.advance(12 * ELECTION.0);
            let Some(at) = self.cluster.placed(leader, request) else { continue };
            if self.cluster.nodes[&leader].machine.applied < at {
                continue;
            }
            self.members_are_equal(leader, at);
            self.cluster.check_logs();
            self.kept();
            return true;
        }
        let seen: Vec<CoreStatus> = self.cluster.ids().into_iter().map(|id| self.cluster.status(id)).collect();
        panic!("no progress after healing: {seen:#?}");
    }

    /// Whether some node would get the votes of a quorum of each half, if all were asked.
    fn can_elect(&self) -> bool {
        self.cluster.ids().into_iter().any(|id| {
            let status = self.cluster.status(id);
            let configuration = &status.configuration;
            let own = configuration.member(id).filter(|own| own.votes() && own.role == MemberRole::Voter);
            let voters: Vec<NodeId> = configuration.voters().collect();
            let halves = [&voters, &configuration.outgoing];
            let grants = |voter: &NodeId| *voter == id || self.grants(configuration, *voter, id, status.last);
            let counts = |voter: &NodeId| configuration.is_recorded(*voter) && grants(voter);
            let majority =
                |half: &[NodeId]| half.is_empty() || 2 * half.iter().filter(|voter| counts(voter)).count() > half.len();
            let unanimous = halves.iter().all(|half| half.iter().all(grants));
            own.is_some_and(|own| own.incarnation.is_none_or(|known| known == self.cluster.nodes[&id].incarnation))
                && (unanimous || halves.iter().all(|half| majority(half)))
        })
    }

    fn grants(&self, configuration: &Configuration, voter: NodeId, candidate: NodeId, last: LogId) -> bool {
        let Some(node) = self.cluster.nodes.get(&voter) else { return false };
        let shown = configuration.member(voter).and_then(|member| member.incarnation);
        let status = self.cluster.status(voter);
        let admitted = status.configuration.member(candidate).and_then(|member| member.incarnation);
        shown.is_none_or(|known| known == node.incarnation)
            && last >= status.last
            && admitted.is_none_or(|known| known == self.cluster.nodes[&candidate].incarnation)
    }

    fn members_are_equal(&self, leader: NodeId, at: LogId) {
        for member in &self.cluster.status(leader).configuration.members {
            let Some(node) = self.cluster.nodes.get(&member.id) else { continue };
            if member.incarnation == Some(node.incarnation) && !member.leaving {
                assert!(node.machine.applied >= at, "node {} lags after healing", member.id);
                assert_eq!(node.machine, self.cluster.nodes[&leader].machine, "node {}", member.id);
            }
        }
    }
}

#[test]
fn nothing_breaks_while_members_come_and_go() {
    let tally = run_all(1_000, 1_500, true);
    assert!(
        // One that is played again shows nothing of all.
        tally.schedules == 1
            || tally.changes > 2 * tally.schedules
                && tally.joint > tally.schedules
                && tally.dead < tally.schedules / 10,
        "{tally:?}"
    );
}
