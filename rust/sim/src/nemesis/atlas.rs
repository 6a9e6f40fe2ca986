//! What may be struck so that the cluster stays repairable: a quorum of good copies survives everything.

use std::sync::Arc;

use d_engine_raft::{Configuration, Index, NodeId, Role};

use crate::world::{Standing, World};

impl World {
    /// The members as the newest leader has them, and whether that is committed.
    pub(crate) fn membership(&self) -> Option<(Index, Arc<Configuration>, bool)> {
        let leader = self.leader()?;
        let process = self.hosts.get(&leader)?.process.as_ref()?;
        let (index, configuration) = process.configuration.clone()?;
        let committed = process.driver.position().commit >= index;
        Some((index, configuration, committed))
    }

    /// The leader of the newest term that runs.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let running = self.hosts.values().filter(|host| host.runs());
        let leading = running.filter_map(|host| {
            let process = host.process.as_ref()?;
            (process.role == Role::Leader).then(|| (process.driver.position().term, host.id))
        });
        leading.max().map(|(_, id)| id)
    }

    /// Hosts that take part, or did before they were struck.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.hosts.values().filter(|host| host.standing != Standing::Outside).map(|host| host.id).collect()
    }

    pub(crate) fn outsiders(&self) -> Vec<NodeId> {
        self.hosts.values().filter(|host| host.standing == Standing::Outside).map(|host| host.id).collect()
    }

    /// Whether one more disk may lose what it holds: all others are sound, the membership is settled, and enough voters are
    /// left.
    pub(crate) fn may_lose_a_copy(&self) -> bool {
        let sound =
            self.members().iter().all(|id| self.hosts.get(id).is_some_and(|host| host.standing == Standing::Sound));
        sound && !self.nemesis.repair.is_busy() && self.is_settled(3)
    }

    /// Whether a leader knows of a committed membership with so many voters, all of which it can count on.
    pub(crate) fn is_settled(&self, voters: usize) -> bool {
        self.membership().is_some_and(|(_, configuration, committed)| {
            let known = configuration.voters().all(|id| configuration.is_recorded(id));
            committed && known && !configuration.is_joint() && configuration.voters().count() >= voters
        })
    }
}
