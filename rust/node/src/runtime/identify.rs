//! Whose storage it is: the one of this node in this cluster, a fresh one, or one of a node that is about to join.

use std::time::Duration;

use d_engine_raft::{Configuration, Incarnation, Member, NodeId};

use super::join;
use super::start::Taken;
use crate::config::{NodeConfig, micros};
use crate::error::{NodeError, StorageError};
use crate::node::{Join, cluster_id};
use crate::traits::{Admission, Hello, Identity, Level, LogRecord, LogSink, PROTOCOL_VERSION};

/// Opens the storage and checks whose it is.
pub fn identify(
    taken: &mut Taken,
    id: NodeId,
    config: &NodeConfig,
    members: Vec<Member>,
    join: Option<&Join>,
    log: &dyn LogSink,
) -> Result<Hello, NodeError> {
    let given = !members.is_empty();
    let initial =
        if given { config.initial_configuration(id, members)? } else { nobody(micros(config.election_timeout.0)) };
    let proposed = Identity {
        node: id,
        cluster: config.cluster.clone(),
        // 0: the storage must hold an identity already.
        cluster_id: if given { cluster_id(&config.cluster, &initial) } else { 0 },
        group: 0,
        recovery_epoch: 0,
        incarnation: Incarnation(random(id)?),
        initial,
    };
    let stored = open(taken, id, config, &proposed, join)?;
    check(taken, id, config, &stored)?;
    if given && stored.initial.members != proposed.initial.members && log.enabled(Level::Warning) {
        let message = format!(
            "peers is ignored, because {} was started with other members: given {}; stored {}",
            taken.storage.place(),
            proposed.initial,
            stored.initial
        );
        log.log(LogRecord { level: Level::Warning, part: "node", message, node: id, term: None, index: None });
    }
    Ok(Hello {
        node: id,
        incarnation: stored.incarnation,
        cluster: stored.cluster,
        cluster_id: stored.cluster_id,
        group: stored.group,
        recovery_epoch: stored.recovery_epoch,
        version: PROTOCOL_VERSION,
        initial: stored.initial,
    })
}

/// An empty storage of a node that joins takes the cluster's identity from a member.
fn open(
    taken: &mut Taken,
    id: NodeId,
    config: &NodeConfig,
    proposed: &Identity,
    join: Option<&Join>,
) -> Result<Identity, NodeError> {
    let failed = |error| match error {
        StorageError::NoMembers { .. } => NodeError::Config(vec![error.to_string()]),
        error => NodeError::Storage { node: id, error },
    };
    let stored = match (taken.storage.open(proposed), join) {
        (Err(StorageError::NoMembers { .. }), Some(join)) => {
            let Admission { cluster, cluster_id, group, recovery_epoch, configuration } =
                ask(taken, id, config, join, None)?;
            let initial = nobody(configuration.min_election_timeout);
            let known = Identity { cluster, cluster_id, group, recovery_epoch, initial, ..proposed.clone() };
            taken.storage.open(&known)
        }
        (opened, _) => opened,
    };
    let stored = stored.map_err(failed)?;
    taken.opened = true;
    Ok(stored)
}

fn check(taken: &Taken, id: NodeId, config: &NodeConfig, stored: &Identity) -> Result<(), NodeError> {
    let refuse = |error| Err(NodeError::Storage { node: id, error });
    let place = || taken.storage.place();
    if stored.node != id {
        return refuse(StorageError::WrongNode { place: place(), expected: id, found: stored.node });
    }
    if stored.cluster != config.cluster {
        let (expected, found) = (config.cluster.clone(), stored.cluster.clone());
        return refuse(StorageError::WrongCluster { place: place(), expected, found });
    }
    let span = stored.initial.min_election_timeout;
    if micros(config.election_timeout.0) < span {
        return Err(NodeError::Config(vec![format!(
            "the shortest election_timeout ({:?}) must not be below the {:?} that this cluster was started with: its \
             leases rest on that",
            config.election_timeout.0,
            Duration::from_micros(span)
        )]));
    }
    Ok(())
}

/// Asks the cluster to take this node in, as often as it starts without knowing a single member: a crash may have come between
/// the storage's first opening and the answer. Gives the members.
pub fn become_member(
    taken: &mut Taken,
    id: NodeId,
    config: &NodeConfig,
    hello: &Hello,
    join: Option<&Join>,
) -> Result<Vec<Member>, NodeError> {
    let Some(join) = join else {
        let why =
            format!("{} is the storage of a node that has not joined yet: say where with join", taken.storage.place());
        return Err(NodeError::Config(vec![why]));
    };
    let admission = ask(taken, id, config, join, Some(hello.incarnation))?;
    if admission.cluster_id != hello.cluster_id {
        let (expected, found) = (format!("{:032x}", hello.cluster_id), format!("{:032x}", admission.cluster_id));
        return Err(NodeError::Storage {
            node: id,
            error: StorageError::WrongCluster { place: taken.storage.place(), expected, found },
        });
    }
    Ok(admission.configuration.members)
}

fn ask(
    taken: &mut Taken,
    id: NodeId,
    config: &NodeConfig,
    join: &Join,
    incarnation: Option<Incarnation>,
) -> Result<Admission, NodeError> {
    let Some(transport) = &mut taken.transport else { return Err(NodeError::Closed { node: id }) };
    join::ask(transport.as_mut(), join, &config.cluster, incarnation, config.request_timeout)
        .map_err(|error| NodeError::Join { node: id, error })
}

const fn nobody(min_election_timeout: u64) -> Configuration {
    Configuration { members: Vec::new(), outgoing: Vec::new(), min_election_timeout }
}

pub fn random(id: NodeId) -> Result<u128, NodeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::Storage {
        node: id,
        error: StorageError::io("drawing random numbers", std::io::Error::other(error.to_string())),
    })?;
    Ok(u128::from_le_bytes(bytes))
}
