//! State machines that keep their own position, freeze, or watch the node; transfers that are interrupted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Cluster, Door, PATIENCE, config, eventually, members, propose, read};
use d_engine_node::storage::MemoryStorage;
use d_engine_node::{
    Applied, Batch, Consistency, LocalNetwork, NoHooks, Node, NodeConfig, NodeError, NodeParts, PluginFailure,
    StateMachine, View,
};
use d_engine_raft::{Draft, Role};

/// What a durable machine has on its disk: survives its node.
#[derive(Default)]
struct Disk {
    index: u64,
    sidecar: Vec<u8>,
    total: u64,
    applied: Vec<u64>,
}

#[derive(Clone, Default)]
struct Durable {
    disk: Arc<Mutex<Disk>>,
    door: Arc<Door>,
}

impl StateMachine for Durable {
    type Output = u64;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<u64> {
        let mut disk = self.disk.lock().unwrap();
        assert!(batch.last.index > disk.index || batch.entries.is_empty());
        disk.index = batch.last.index;
        disk.sidecar = batch.sidecar.to_vec();
        disk.total += batch.entries.len() as u64;
        disk.applied.extend(batch.entries.iter().map(d_engine_raft::Entry::index));
        Applied::all(batch.wanted.iter().map(|_| disk.total).collect())
    }

    fn snapshot(&mut self, _out: &mut dyn Write) -> Result<(), PluginFailure> {
        Err(PluginFailure::new("StateMachine.snapshot", "not called where freeze gives a view"))
    }

    fn freeze(&mut self) -> Result<Option<View>, PluginFailure> {
        let total = self.disk.lock().unwrap().total;
        let door = self.door.clone();
        Ok(Some(Box::new(move |out| {
            door.pass();
            out.write_all(&total.to_le_bytes())
                .map_err(|error| PluginFailure::new("StateMachine.write_view", error.to_string()))
        })))
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        let mut total = [0; 8];
        source.read_exact(&mut total).map_err(|error| PluginFailure::new("StateMachine.restore", error.to_string()))?;
        let mut disk = self.disk.lock().unwrap();
        disk.total = u64::from_le_bytes(total);
        disk.applied.clear();
        Ok(())
    }

    fn applied(&mut self) -> Result<Option<(u64, Vec<u8>)>, PluginFailure> {
        let disk = self.disk.lock().unwrap();
        Ok(Some((disk.index, disk.sidecar.clone())))
    }
}

fn start(network: &LocalNetwork, storage: &MemoryStorage, machine: &Durable) -> Result<Node<Durable>, NodeError> {
    Node::start(NodeParts {
        id: 1,
        config: NodeConfig { snapshot_every_entries: 0, snapshot_every_bytes: 0, trailing_entries: 0, ..config() },
        members: members(1),
        join: None,
        storage: Box::new(storage.clone()),
        machine: machine.clone(),
        transport: Box::new(network.transport()),
        log: Arc::new(common::Print),
        hooks: Arc::new(NoHooks),
    })
}

fn add(node: &Node<Durable>) -> u64 {
    let (sender, receiver) = channel();
    let done = move |outcome: d_engine_node::Outcome<u64>| sender.send((outcome.outputs, outcome.error)).unwrap();
    node.propose(Draft::command(b"x"), Some(PATIENCE), Box::new(done));
    let (outputs, error) = receiver.recv_timeout(PATIENCE * 2).unwrap();
    assert!(error.is_none(), "{error:?}");
    outputs[0]
}

fn demand(node: &Node<Durable>) -> std::sync::mpsc::Receiver<Result<u64, NodeError>> {
    let (sender, receiver) = channel();
    node.snapshot(Some(PATIENCE), Box::new(move |result| sender.send(result).unwrap()));
    receiver
}

#[test]
fn a_durable_machine_is_given_each_entry_once() {
    let (network, storage, machine) = (LocalNetwork::new(), MemoryStorage::default(), Durable::default());
    let node = start(&network, &storage, &machine).unwrap();
    for expected in 1..=5 {
        assert_eq!(add(&node), expected);
    }
    node.crash();
    let node = start(&network, &storage, &machine).unwrap();
    assert_eq!(add(&node), 6);
    let applied = machine.disk.lock().unwrap().applied.clone();
    assert!(applied.is_sorted_by(|one, next| one < next), "{applied:?}");
    assert_eq!(applied.len(), 6);
    node.close(false, PATIENCE);

    // Another machine's disk knows entries that this log does not hold.
    machine.disk.lock().unwrap().index += 100;
    let error = start(&network, &storage, &machine).err().expect("they do not belong together");
    assert!(error.to_string().contains("do not belong together"), "{error}");
    // An empty one gets everything again.
    let fresh = Durable::default();
    let node = start(&network, &storage, &fresh).unwrap();
    assert_eq!(add(&node), 7);
    node.close(false, PATIENCE);
}

#[test]
fn apply_goes_on_while_a_view_is_written() {
    let (network, storage, machine) = (LocalNetwork::new(), MemoryStorage::default(), Durable::default());
    let node = start(&network, &storage, &machine).unwrap();
    add(&node);
    machine.door.shut();
    let demanded = demand(&node);
    assert_eq!(add(&node), 2);
    let applied = node.summary().applied;
    machine.door.open();
    let index = demanded.recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(index <= applied);
    eventually("the log is purged", || (node.status().purged.index == index).then_some(()));
    node.close(false, PATIENCE);

    // A machine behind the snapshot is restored from it, and told where it stands.
    let fresh = Durable::default();
    let node = start(&network, &storage, &fresh).unwrap();
    assert_eq!(add(&node), 3);
    node.close(false, PATIENCE);
}

#[test]
fn changes_begin_with_what_is() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let next = |id: u64, seen: u64, timeout: Duration| {
        let (sender, receiver) = channel();
        cluster.nodes[&id].next_change(seen, Some(timeout), Box::new(move |result| sender.send(result).unwrap()));
        receiver
    };
    let current = next(leader, 0, PATIENCE).recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((current.role, current.leader), (Role::Leader, Some(leader)));
    let late = next(leader, current.version, Duration::from_millis(50)).recv_timeout(PATIENCE).unwrap();
    assert!(matches!(late, Err(NodeError::Deadline { .. })), "{late:?}");

    let follower = *cluster.nodes.keys().find(|&&id| id != leader).unwrap();
    let seen = next(follower, 0, PATIENCE).recv_timeout(PATIENCE).unwrap().unwrap();
    let waiting = next(follower, seen.version, PATIENCE);
    let open = next(leader, current.version, PATIENCE);
    cluster.nodes[&leader].close(false, PATIENCE);
    assert!(matches!(open.recv_timeout(PATIENCE).unwrap(), Ok(_) | Err(NodeError::Closed { .. })));
    let change = waiting.recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(change.version > seen.version);
    cluster.nodes.remove(&leader);
    cluster.close();
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_was() {
    let config = NodeConfig { trailing_entries: 0, snapshot_every_entries: 0, snapshot_every_bytes: 0, ..config() };
    let mut cluster = Cluster::new(3, config);
    let follower = cluster.follower();
    cluster.crash(follower);
    let leader = cluster.leader();
    let mut expected = Vec::new();
    for at in 0..40_u8 {
        let item = vec![at; 500_000];
        propose(&cluster.nodes[&leader], &[&item]).unwrap();
        expected.push(item);
    }
    let index = common::snapshot(&cluster.nodes[&leader]).unwrap();
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index == index).then_some(()));
    let size = 40 * 500_000;

    cluster.start(follower);
    eventually("some of it has come", || {
        (cluster.nodes[&follower].metrics().bytes_received_bulk > size / 8).then_some(())
    });
    // The process dies; its disk keeps what came.
    let before = cluster.nodes[&follower].metrics().bytes_received_bulk;
    cluster.crash(follower);
    cluster.start(follower);
    assert_eq!(read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap(), expected);
    let after = cluster.nodes[&follower].metrics().bytes_received_bulk;
    println!("{before} bytes before the crash, {after} after it, of {size}");
    assert!(before >= size || after < size, "{before} bytes before, {after} after: it began again");
    assert_eq!(cluster.nodes[&follower].metrics().snapshots_installed, 1);
    cluster.close();
}
