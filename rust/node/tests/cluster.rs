//! Three nodes in one process: writes, reads, crashes, snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Cluster, PATIENCE, config, eventually, propose, read, snapshot, submit};
use d_engine_node::{Consistency, NodeConfig, NodeError};

#[test]
fn every_node_takes_proposals_and_answers_from_its_own_apply() {
    let mut cluster = Cluster::new(3, config());
    cluster.leader();
    let mut expected = Vec::new();
    for round in 0..10_u64 {
        for (&id, node) in &cluster.nodes {
            let item = format!("{id}-{round}").into_bytes();
            expected.push(item.clone());
            assert_eq!(propose(node, &[&item]).unwrap(), vec![expected.len() as u64]);
        }
    }
    for node in cluster.nodes.values() {
        assert_eq!(read(node, Consistency::Linearizable).unwrap(), expected);
    }
    cluster.close();
}

#[test]
fn a_batch_is_contiguous_and_gets_one_result_an_entry() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let items: Vec<Vec<u8>> = (0..500_u32).map(|at| at.to_le_bytes().to_vec()).collect();
    let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
    assert_eq!(propose(&cluster.nodes[&leader], &items).unwrap(), (1..=500).collect::<Vec<_>>());
    let follower = cluster.follower();
    assert_eq!(propose(&cluster.nodes[&follower], &items).unwrap(), (501..=1000).collect::<Vec<_>>());
    cluster.close();
}

#[test]
fn a_single_node_needs_nobody() {
    let mut cluster = Cluster::new(1, config());
    cluster.leader();
    assert_eq!(propose(&cluster.nodes[&1], &[b"a", b"b"]).unwrap(), vec![1, 2]);
    cluster.close();
    cluster.start(1);
    assert_eq!(read(&cluster.nodes[&1], Consistency::Linearizable).unwrap(), vec![b"a".to_vec(), b"b".to_vec()]);
    cluster.close();
}

#[test]
fn a_new_leader_takes_over_and_the_old_one_comes_back() {
    let mut cluster = Cluster::new(3, config());
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
        cluster.start(leader);
        assert_eq!(read(&cluster.nodes[&leader], Consistency::Linearizable).unwrap(), expected);
    }
    cluster.close();
}

#[test]
fn all_nodes_crash_at_once_and_nothing_is_lost() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let items: Vec<Vec<u8>> = (0..100_u8).map(|at| vec![at]).collect();
    let waiting: Vec<_> = items.iter().map(|item| submit(&cluster.nodes[&leader], &[item], PATIENCE)).collect();
    for receiver in waiting {
        assert!(receiver.recv_timeout(PATIENCE).unwrap().error.is_none());
    }
    for id in 1..=3 {
        cluster.crash(id);
    }
    for id in 1..=3 {
        cluster.start(id);
    }
    for node in cluster.nodes.values() {
        assert_eq!(read(node, Consistency::Linearizable).unwrap(), items);
    }
    cluster.close();
}

#[test]
fn a_follower_behind_the_purged_log_gets_a_snapshot() {
    let config = NodeConfig { snapshot_every_entries: 50, trailing_entries: 10, ..config() };
    let mut cluster = Cluster::new(3, config);
    let follower = cluster.follower();
    cluster.crash(follower);
    let leader = cluster.leader();
    let mut expected = Vec::new();
    let large = vec![7; 10_000];
    for at in 0..300_u32 {
        let item = [&at.to_le_bytes()[..], &large].concat();
        propose(&cluster.nodes[&leader], &[&item]).unwrap();
        expected.push(item);
    }
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index > 100).then_some(()));
    cluster.start(follower);
    assert_eq!(read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap(), expected);
    assert_eq!(cluster.nodes[&follower].metrics().snapshots_installed, 1);
    // And again from its own snapshot after a restart.
    cluster.crash(follower);
    cluster.start(follower);
    assert_eq!(read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap(), expected);
    cluster.close();
}

#[test]
fn a_snapshot_can_be_demanded() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    propose(&cluster.nodes[&leader], &[b"a"]).unwrap();
    let index = snapshot(&cluster.nodes[&leader]).unwrap();
    assert_eq!(cluster.nodes[&leader].status().snapshot.unwrap().index, index);
    assert_eq!(index, cluster.nodes[&leader].summary().applied);
    // Nothing new: the same one.
    assert_eq!(snapshot(&cluster.nodes[&leader]).unwrap(), index);
    cluster.close();
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_every_wait_ends() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.crash(id);
    }
    let node = &cluster.nodes[&leader];
    let stuck = submit(node, &[b"x"], Duration::from_millis(300)).recv_timeout(PATIENCE).unwrap();
    assert!(matches!(stuck.error, Some(NodeError::OutcomeUnknown { .. })), "{:?}", stuck.error);
    eventually("it steps down", || node.summary().leader.is_none().then_some(()));
    let refused = submit(node, &[b"y"], Duration::from_millis(100)).recv_timeout(PATIENCE).unwrap();
    assert!(matches!(refused.error, Some(NodeError::NotLeader { leader: None, .. })), "{:?}", refused.error);
    cluster.close();
}

#[test]
fn closing_hands_leadership_over() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    propose(&cluster.nodes[&leader], &[b"a"]).unwrap();
    let node = cluster.nodes.remove(&leader).unwrap();
    let before = node.summary().term;
    assert!(node.close(true, PATIENCE).left_behind.is_empty());
    assert!(matches!(propose(&node, &[b"b"]), Err(NodeError::Closed { .. })));
    let next = cluster.leader();
    assert_eq!(cluster.nodes[&next].summary().term, before + 1);
    // Once more: the same report, at once.
    node.close(true, PATIENCE);
    cluster.close();
}

#[test]
fn closing_with_calls_in_flight_answers_every_one() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let node = cluster.nodes[&leader].clone();
    let waiting: Vec<_> = (0..1000_u32).map(|at| submit(&node, &[&at.to_le_bytes()], PATIENCE)).collect();
    cluster.crash(leader);
    let mut known = 0;
    for receiver in waiting {
        match receiver.recv_timeout(PATIENCE).expect("an answer").error {
            None => known += 1,
            Some(NodeError::OutcomeUnknown { .. } | NodeError::Closed { .. }) => {}
            Some(other) => panic!("{other}"),
        }
    }
    println!("{known} of 1000 were acknowledged before the crash");
    cluster.close();
}
