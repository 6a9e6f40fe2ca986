//! Sessions on running nodes: repeated through any of them, across crashes, restarts and snapshots, applied once (class 38).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, PATIENCE, TapeNode, config, eventually, members, submit_draft};
use d_engine_node::storage::MemoryStorage;
use d_engine_node::{
    Applied, Batch, Consistency, LocalNetwork, NoHooks, Node, NodeConfig, NodeError, NodeParts, PluginFailure,
    StateMachine,
};
use d_engine_raft::{Draft, EntryKind};

fn in_session(session: u64, first: u64, ack_below: u64, items: &[&[u8]]) -> Draft {
    let mut draft = Draft::default();
    for (item, sequence) in items.iter().zip(first..) {
        draft.push_in_session(EntryKind::Command, item, session, sequence, ack_below);
    }
    draft
}

fn run(node: &TapeNode, draft: Draft) -> Result<Vec<u64>, NodeError> {
    let outcome = submit_draft(node, draft, PATIENCE).recv_timeout(PATIENCE * 2).expect("an outcome");
    outcome.error.map_or_else(|| Ok(outcome.outputs.concat()), Err)
}

fn open(node: &TapeNode) -> u64 {
    run(node, node.config().session_draft()).unwrap()[0]
}

#[test]
fn a_repetition_through_any_node_gets_the_first_result() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let session = open(&cluster.nodes[&leader]);
    let first = run(&cluster.nodes[&leader], in_session(session, 1, 0, &[b"a", b"b", b"c"])).unwrap();
    assert_eq!(first, [1, 2, 3]);
    for node in cluster.nodes.values() {
        assert_eq!(run(node, in_session(session, 2, 0, &[b"b"])).unwrap(), [2]);
        // Some were applied before, others are new: each result stands in its place.
        let mixed = run(node, in_session(session, 3, 0, &[b"c", b"x", b"y"])).unwrap();
        assert_eq!(mixed, [3, 4, 5]);
    }
    let all = common::read(&cluster.nodes[&leader], Consistency::Linearizable).unwrap();
    assert_eq!(all, [b"a", b"b", b"c", b"x", b"y"]);
    assert!(cluster.nodes[&leader].metrics().repeated_entries > 0);
    cluster.close();
}

#[test]
fn lost_results_and_unknown_sessions_have_errors_of_their_own() {
    let mut cluster = Cluster::new(1, config());
    let node = Arc::clone(&cluster.nodes[&cluster.leader()]);
    let session = open(&node);
    run(&node, in_session(session, 1, 0, &[b"a", b"b"])).unwrap();
    run(&node, in_session(session, 3, 3, &[b"c"])).unwrap();
    let error = run(&node, in_session(session, 1, 0, &[b"a"])).unwrap_err();
    assert!(matches!(error, NodeError::ResultLost { sequence: 1, .. }), "{error}");
    // The results before the first that is missing are given.
    let outcome = submit_draft(&node, in_session(session, 3, 0, &[b"c", b"d"]), PATIENCE).recv().unwrap();
    assert_eq!(outcome.outputs.concat(), [3, 4]);
    let error = run(&node, in_session(session + 1, 1, 0, &[b"z"])).unwrap_err();
    assert!(matches!(error, NodeError::SessionExpired { .. }), "{error}");
    assert_eq!(common::read(&node, Consistency::Linearizable).unwrap().concat(), b"abcd");
    cluster.close();
}

#[test]
fn sessions_outlive_crashes_restarts_and_snapshots() {
    let config = NodeConfig { trailing_entries: 0, snapshot_every_entries: 0, snapshot_every_bytes: 0, ..config() };
    let mut cluster = Cluster::new(3, config);
    let leader = cluster.leader();
    let session = open(&cluster.nodes[&leader]);
    let follower = cluster.follower();
    cluster.crash(follower);
    let first = run(&cluster.nodes[&leader], in_session(session, 1, 0, &[b"a", b"b"])).unwrap();
    let index = common::snapshot(&cluster.nodes[&leader]).unwrap();
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index == index).then_some(()));
    // The follower knows of the session through the snapshot alone.
    cluster.start(follower);
    assert_eq!(run(&cluster.nodes[&follower], in_session(session, 1, 0, &[b"a", b"b"])).unwrap(), first);
    assert_eq!(cluster.nodes[&follower].metrics().snapshots_installed, 1);
    // And the old leader through its own.
    cluster.crash(leader);
    let next = cluster.leader();
    assert_eq!(run(&cluster.nodes[&next], in_session(session, 2, 0, &[b"b"])).unwrap(), first[1..]);
    cluster.start(leader);
    assert_eq!(run(&cluster.nodes[&leader], in_session(session, 1, 0, &[b"a"])).unwrap(), first[..1]);
    assert_eq!(common::read(&cluster.nodes[&leader], Consistency::Linearizable).unwrap(), [b"a", b"b"]);
    cluster.close();
}

#[test]
fn what_is_under_way_when_the_leader_crashes_has_one_result() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let follower = cluster.follower();
    let session = open(&cluster.nodes[&follower]);
    let waiting: Vec<_> = (1..=200_u64)
        .map(|sequence| {
            let item = sequence.to_le_bytes();
            submit_draft(&cluster.nodes[&follower], in_session(session, sequence, 0, &[&item]), PATIENCE)
        })
        .collect();
    cluster.crash(leader);
    for (one, sequence) in waiting.into_iter().zip(1_u64..) {
        let outcome = one.recv_timeout(PATIENCE * 2).unwrap();
        assert!(outcome.error.is_none(), "proposal {sequence}: {:?}", outcome.error);
    }
    let mut all = common::read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap();
    all.sort_unstable_by_key(|item| u64::from_le_bytes(item[..].try_into().unwrap()));
    let expected: Vec<Vec<u8>> = (1..=200_u64).map(|sequence| sequence.to_le_bytes().to_vec()).collect();
    assert_eq!(all, expected);
    cluster.close();
}

#[derive(Default)]
struct Disk {
    index: u64,
    sidecar: Vec<u8>,
    total: u64,
}

/// A machine with a disk of its own.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<Disk>>);

impl StateMachine for Counter {
    type Output = u64;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<u64> {
        let mut disk = self.0.lock().unwrap();
        let before = disk.total;
        (disk.index, disk.sidecar) = (batch.last.index, batch.sidecar.to_vec());
        disk.total += batch.entries.len() as u64;
        let result = |at: usize| before + at as u64 + 1;
        let kept = |&at: &usize| Some(Bytes::copy_from_slice(&result(at).to_le_bytes()));
        Applied {
            kept: batch.keep.iter().map(kept).collect(),
            ..Applied::all(batch.wanted.iter().map(|range| result(range.start)).collect())
        }
    }

    fn load(&mut self, kept: &Bytes) -> Option<u64> {
        Some(u64::from_le_bytes(kept[..].try_into().ok()?))
    }

    fn opened(&mut self, session: u64) -> Option<u64> {
        Some(session)
    }

    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure> {
        out.write_all(&self.0.lock().unwrap().total.to_le_bytes()).unwrap();
        Ok(())
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        let mut total = [0; 8];
        source.read_exact(&mut total).unwrap();
        self.0.lock().unwrap().total = u64::from_le_bytes(total);
        Ok(())
    }

    fn applied(&mut self) -> Result<Option<(u64, Vec<u8>)>, PluginFailure> {
        let disk = self.0.lock().unwrap();
        Ok(Some((disk.index, disk.sidecar.clone())))
    }
}

fn start(storage: &MemoryStorage, machine: &Counter) -> Node<Counter> {
    Node::start(NodeParts {
        id: 1,
        config: NodeConfig { session_ttl: Duration::from_secs(60), ..config() },
        members: members(1),
        join: None,
        storage: Box::new(storage.clone()),
        machine: machine.clone(),
        transport: Box::new(LocalNetwork::new().transport()),
        log: Arc::new(common::Print),
        hooks: Arc::new(NoHooks),
    })
    .unwrap()
}

fn count(node: &Node<Counter>, draft: Draft) -> Result<u64, NodeError> {
    let (sender, receiver) = channel();
    let done = move |outcome: d_engine_node::Outcome<u64>| sender.send((outcome.outputs, outcome.error)).unwrap();
    node.propose(draft, Some(PATIENCE), Box::new(done));
    let (outputs, error) = receiver.recv_timeout(PATIENCE * 2).unwrap();
    error.map_or_else(|| Ok(outputs[0]), Err)
}

#[test]
fn a_durable_machine_keeps_the_sessions_with_its_position() {
    let (storage, machine) = (MemoryStorage::default(), Counter::default());
    let node = start(&storage, &machine);
    let session = count(&node, node.config().session_draft()).unwrap();
    assert_eq!(count(&node, in_session(session, 1, 0, &[b"x"])).unwrap(), 1);
    assert_eq!(count(&node, in_session(session, 2, 0, &[b"x"])).unwrap(), 2);
    assert_eq!(count(&node, in_session(session, 1, 0, &[b"x"])).unwrap(), 1);
    node.crash();

    // The log is not applied again: what is known comes from the machine's own disk. The newest batch's results are not in it.
    let node = start(&storage, &machine);
    assert_eq!(count(&node, in_session(session, 1, 0, &[b"x"])).unwrap(), 1);
    let again = count(&node, in_session(session, 2, 0, &[b"x"]));
    assert!(matches!(again, Ok(2) | Err(NodeError::ResultLost { .. })), "{again:?}");
    assert_eq!(count(&node, in_session(session, 3, 0, &[b"x"])).unwrap(), 3);
    node.close(false, PATIENCE);
    assert_eq!(machine.0.lock().unwrap().total, 3);
}
