//! Whole nodes over gRPC on the loopback: writes from all of them, crashes, snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

// The machine and the calls of the node's own tests.
#[path = "../../node/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use common::{PATIENCE, Print, Tape, TapeNode, config, eventually, propose, read, submit, wait_ready};
use d_engine_node::storage::MemoryStorage;
use d_engine_node::{Consistency, NoHooks, Node, NodeConfig, NodeError, NodeParts};
use d_engine_raft::{Member, MemberRole, NodeId, Role};
use d_engine_rpc::{GrpcHandle, GrpcOptions, GrpcTransport};

struct Cluster {
    members: Vec<Member>,
    storages: BTreeMap<NodeId, MemoryStorage>,
    nodes: BTreeMap<NodeId, TapeNode>,
    handles: BTreeMap<NodeId, GrpcHandle>,
    config: NodeConfig,
}

impl Cluster {
    fn new(config: NodeConfig) -> Self {
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let members = listeners.iter().zip(1..).map(|(listener, id)| Member {
            id,
            address: listener.local_addr().unwrap().to_string(),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: true,
            incarnation: None,
            leaving: false,
        });
        let mut cluster = Self {
            members: members.collect(),
            storages: BTreeMap::new(),
            nodes: BTreeMap::new(),
            handles: BTreeMap::new(),
            config,
        };
        for (listener, id) in listeners.into_iter().zip(1..) {
            cluster.start(id, Some(listener));
        }
        cluster
    }

    /// Without a listener the node takes its address again.
    fn start(&mut self, id: NodeId, listener: Option<TcpListener>) {
        let transport = GrpcTransport::new(GrpcOptions { listener, ..GrpcOptions::default() });
        self.handles.insert(id, transport.handle());
        let parts = NodeParts {
            id,
            config: self.config.clone(),
            members: self.members.clone(),
            join: None,
            storage: Box::new(self.storages.entry(id).or_default().clone()),
            machine: Tape::default(),
            transport: Box::new(transport),
            log: Arc::new(Print),
            hooks: Arc::new(NoHooks),
        };
        self.nodes.insert(id, Node::start(parts).expect("a node starts"));
    }

    fn crash(&mut self, id: NodeId) {
        self.nodes.remove(&id).expect("a running node").crash();
    }

    fn leader(&self) -> NodeId {
        for node in self.nodes.values() {
            wait_ready(node).expect("the node becomes ready");
        }
        eventually("one leader", || {
            let leader = self.nodes.values().next()?.summary().leader?;
            let agreed = self.nodes.values().all(|node| node.summary().leader == Some(leader));
            (agreed && self.nodes.get(&leader)?.summary().role == Role::Leader).then_some(leader)
        })
    }

    fn follower(&self) -> NodeId {
        let leader = self.leader();
        *self.nodes.keys().find(|&&id| id != leader).expect("a follower")
    }

    fn close(self) {
        for (id, node) in self.nodes {
            let report = node.close(false, PATIENCE);
            assert!(report.left_behind.is_empty(), "node {id} left behind {:?}", report.left_behind);
            assert!(self.handles[&id].peers().is_empty(), "node {id} goes on talking");
        }
    }
}

#[test]
fn every_node_takes_proposals_and_large_ones_too() {
    let cluster = Cluster::new(config());
    cluster.leader();
    let mut expected = Vec::new();
    for round in 0..20_u64 {
        for (&id, node) in &cluster.nodes {
            let mut item = format!("{id}-{round}").into_bytes();
            if round % 10 == 9 {
                item.resize(cluster.config.max_entry_bytes, 7);
            }
            assert_eq!(propose(node, &[&item]).unwrap(), vec![expected.len() as u64 + 1]);
            expected.push(item);
        }
    }
    for node in cluster.nodes.values() {
        assert!(read(node, Consistency::Linearizable).unwrap() == expected);
    }
    cluster.close();
}

#[test]
fn thousands_in_flight_are_all_acknowledged_in_order() {
    let cluster = Cluster::new(config());
    let leader = cluster.leader();
    let items: Vec<Vec<u8>> = (0..4096_u32).map(|at| at.to_le_bytes().to_vec()).collect();
    let waiting: Vec<_> = items.iter().map(|item| submit(&cluster.nodes[&leader], &[item], PATIENCE)).collect();
    for (receiver, at) in waiting.into_iter().zip(1..) {
        let outcome = receiver.recv_timeout(PATIENCE).unwrap();
        assert!(outcome.error.is_none());
        assert_eq!(outcome.outputs.concat(), vec![at]);
    }
    for node in cluster.nodes.values() {
        assert!(read(node, Consistency::Linearizable).unwrap() == items);
    }
    cluster.close();
}

#[test]
fn leaders_crash_and_come_back() {
    let mut cluster = Cluster::new(config());
    let mut expected = Vec::new();
    for round in 0..3_u8 {
        let leader = cluster.leader();
        expected.push(vec![round, 0]);
        propose(&cluster.nodes[&leader], &[&[round, 0]]).unwrap();
        cluster.crash(leader);
        let next = cluster.leader();
        assert_ne!(next, leader);
        expected.push(vec![round, 1]);
        propose(&cluster.nodes[&next], &[&[round, 1]]).unwrap();
        cluster.start(leader, None);
        assert_eq!(read(&cluster.nodes[&leader], Consistency::Linearizable).unwrap(), expected);
    }
    cluster.close();
}

#[test]
fn a_snapshot_travels_over_its_own_stream() {
    let config = NodeConfig { snapshot_every_entries: 50, trailing_entries: 10, ..config() };
    let mut cluster = Cluster::new(config);
    let follower = cluster.follower();
    cluster.crash(follower);
    let leader = cluster.leader();
    let large = vec![7; 20_000];
    let items: Vec<Vec<u8>> = (0..300_u32).map(|at| [&at.to_le_bytes()[..], &large].concat()).collect();
    for item in &items {
        propose(&cluster.nodes[&leader], &[item]).unwrap();
    }
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index > 100).then_some(()));
    cluster.start(follower, None);
    assert!(read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap() == items);
    assert_eq!(cluster.nodes[&follower].metrics().snapshots_installed, 1);
    cluster.close();
}

#[test]
fn a_wiped_member_is_told_and_the_others_go_on() {
    let mut cluster = Cluster::new(config());
    let follower = cluster.follower();
    propose(&cluster.nodes[&follower], &[b"a"]).unwrap();
    cluster.crash(follower);
    cluster.storages.remove(&follower);
    cluster.start(follower, None);
    let refused = eventually("the refusal", || {
        cluster.handles[&follower]
            .peers()
            .into_iter()
            .find_map(|peer| peer.error.filter(|error| error.text.contains("wiped")))
    });
    assert!(refused.text.contains(&format!("for node {follower}")), "{refused}");
    let survivor = *cluster.nodes.keys().find(|&&id| id != follower).unwrap();
    assert_eq!(propose(&cluster.nodes[&survivor], &[b"b"]).unwrap(), vec![2]);
    let alone = submit(&cluster.nodes[&follower], &[b"c"], std::time::Duration::from_millis(300));
    assert!(matches!(alone.recv_timeout(PATIENCE).unwrap().error, Some(NodeError::NotLeader { leader: None, .. })));
    cluster.close();
}
