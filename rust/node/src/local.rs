//! A network inside one process: frames are handed over as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use d_engine_raft::{Member, NodeId};

use crate::error::TransportError;
use crate::runtime::park::lock;
use crate::traits::{Admission, Frame, Inbound, JoinError, JoinRequest, Park, Transport, TransportStart};

#[derive(Default)]
struct Network {
    nodes: BTreeMap<NodeId, (u64, Arc<dyn Inbound>)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    last: u64,
}

/// The whole network; clones are the same one.
#[derive(Clone, Default)]
pub struct LocalNetwork(Arc<Mutex<Network>>);

impl LocalNetwork {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node's way into it; used by one node, once.
    #[must_use]
    pub fn transport(&self) -> LocalTransport {
        LocalTransport { network: self.clone(), place: None }
    }

    /// Loses everything that goes from one node to another, until `mend`.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        lock(&self.0).cut.insert((from, to));
    }

    /// Loses nothing any more.
    pub fn mend(&self) {
        lock(&self.0).cut.clear();
    }

    fn find(&self, from: NodeId, to: NodeId) -> Option<Arc<dyn Inbound>> {
        let network = lock(&self.0);
        if network.cut.contains(&(from, to)) {
            return None;
        }
        network.nodes.get(&to).map(|(_, inbound)| Arc::clone(inbound))
    }
}

/// One node's end of a `LocalNetwork`.
pub struct LocalTransport {
    network: LocalNetwork,
    place: Option<(NodeId, u64, Arc<dyn Inbound>)>,
}

/// A member that does not answer is as good as gone.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);

impl Transport for LocalTransport {
    /// Addresses mean nothing here: the first node that answers will do.
    fn join(&mut self, _address: &str, request: &JoinRequest, limit: Duration) -> Result<Admission, JoinError> {
        let others: Vec<_> = {
            let network = lock(&self.network.0);
            let others = network.nodes.iter().filter(|(id, _)| **id != request.member.id);
            others.map(|(_, (_, inbound))| Arc::clone(inbound)).collect()
        };
        let mut last = JoinError::Unanswered("nobody else is on this local network".into());
        for inbound in others {
            let (answer, answered) = sync_channel(1);
            let patience = limit.min(JOIN_PATIENCE);
            // The asker may have gone meanwhile.
            inbound.join(request.clone(), patience, Box::new(move |result| drop(answer.try_send(result))));
            match answered.recv_timeout(patience) {
                Ok(Err(JoinError::Unanswered(why))) => last = JoinError::Unanswered(why),
                Ok(answer) => return answer,
                Err(_) => last = JoinError::Unanswered("no answer in time".into()),
            }
        }
        Err(last)
    }

    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError> {
        let node = start.hello.node;
        let mut network = lock(&self.network.0);
        if network.nodes.contains_key(&node) {
            return Err(TransportError::Other(format!("node {node} is on this local network already; close it first")));
        }
        network.last += 1;
        let number = network.last;
        network.nodes.insert(node, (number, Arc::clone(&start.inbound)));
        drop(network);
        self.place = Some((node, number, start.inbound));
        Ok(None)
    }

    fn set_peers(&mut self, _members: &[Member]) -> Result<(), TransportError> {
        Ok(())
    }

    fn send(&mut self, frames: &mut Vec<Frame>) {
        let Some((node, _, own)) = &self.place else { return };
        for frame in frames.drain(..) {
            // A refused frame is counted where it was refused.
            let delivered = self.network.find(*node, frame.to).is_some_and(|other| other.deliver(frame).is_ok());
            if !delivered {
                own.lost(1);
            }
        }
    }

    fn close(&mut self) {
        if let Some((node, number, _)) = self.place.take() {
            let mut network = lock(&self.network.0);
            if network.nodes.get(&node).is_some_and(|(current, _)| *current == number) {
                network.nodes.remove(&node);
            }
        }
    }
}
