//! What plugins and disks may do to a node, and what the others do meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Cluster, Door, PATIENCE, Tape, config, eventually, members, propose, read, submit};
use d_engine_node::storage::MemoryStorage;
use d_engine_node::{
    Consistency, Frame, FrameError, Identity, Lane, Loaded, LogStore, Node, NodeConfig, NodeError, PROTOCOL_VERSION,
    Park, Payload, SnapshotStore, Storage, StorageError, Transport, TransportError, TransportStart,
};
use d_engine_raft::{Entry, Incarnation, Index, LogId, Member, Persist};

/// A memory whose syncs wait at a door, and fail when told to.
#[derive(Clone, Default)]
struct Slow {
    memory: MemoryStorage,
    door: Arc<Door>,
    broken: Arc<AtomicBool>,
}

impl Storage for Slow {
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        self.memory.open(proposed)
    }

    fn load(&mut self) -> Result<Loaded, StorageError> {
        self.memory.load()
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        Ok(Arc::new(SlowLog { log: self.memory.log()?, slow: self.clone() }))
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        self.memory.snapshots()
    }

    fn close(&mut self, clean: bool) -> Result<(), StorageError> {
        self.memory.close(clean)
    }
}

struct SlowLog {
    log: Arc<dyn LogStore>,
    slow: Slow,
}

impl LogStore for SlowLog {
    fn pipelined(&self) -> bool {
        true
    }

    fn write(&self, units: &[Persist]) -> Result<(), StorageError> {
        self.log.write(units)
    }

    fn sync(&self) -> Result<bool, StorageError> {
        self.slow.door.pass();
        if self.slow.broken.load(Ordering::Acquire) {
            return Err(StorageError::io("syncing the log", std::io::Error::other("no such disk")));
        }
        self.log.sync()
    }

    fn read(&self, lo: Index, hi: Index, max_bytes: usize) -> Result<Option<Vec<Entry>>, StorageError> {
        self.log.read(lo, hi, max_bytes)
    }

    fn purge(&self, upto: LogId) -> Result<(), StorageError> {
        self.log.purge(upto)
    }
}

fn slow_cluster(config: NodeConfig) -> (Cluster, Vec<Slow>) {
    let mut cluster = Cluster::new(0, config);
    cluster.resize(3);
    let slow: Vec<Slow> = (0..3).map(|_| Slow::default()).collect();
    for (id, storage) in (1..).zip(&slow) {
        cluster.start_with(id, Box::new(storage.clone()), Tape::default());
    }
    (cluster, slow)
}

fn of(slow: &[Slow], id: u64) -> &Slow {
    &slow[usize::try_from(id).unwrap() - 1]
}

#[test]
fn class_34_nothing_that_waits_for_a_disk_leaves_the_node() {
    let (mut cluster, slow) = slow_cluster(config());
    let leader = cluster.leader();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    propose(&cluster.nodes[&leader], &[b"before"]).unwrap();

    // One follower's disk hangs: the others are a quorum, and it has acknowledged nothing.
    of(&slow, others[0]).door.shut();
    propose(&cluster.nodes[&leader], &[b"one"]).unwrap();
    let status = cluster.nodes[&leader].status();
    let progress = status.progress.unwrap();
    assert!(progress.iter().find(|one| one.id == others[0]).unwrap().matched < status.last.index);

    // Two hang: nothing is acknowledged, and nobody loses leadership.
    of(&slow, others[1]).door.shut();
    let waiting = submit(&cluster.nodes[&leader], &[b"two"], PATIENCE);
    assert!(waiting.recv_timeout(Duration::from_millis(700)).is_err());
    assert_eq!(cluster.nodes[&leader].summary().term, status.term);
    assert_eq!(cluster.nodes[&leader].summary().leader, Some(leader));

    of(&slow, others[1]).door.open();
    assert!(waiting.recv_timeout(PATIENCE).unwrap().error.is_none());
    of(&slow, others[0]).door.open();
    let expected = vec![b"before".to_vec(), b"one".to_vec(), b"two".to_vec()];
    for node in cluster.nodes.values() {
        assert_eq!(read(node, Consistency::Linearizable).unwrap(), expected);
    }
    cluster.close();
}

#[test]
fn a_leader_whose_disk_hangs_gives_up() {
    let config = NodeConfig { storage_stall_timeout: Duration::from_millis(900), ..config() };
    let (mut cluster, slow) = slow_cluster(config);
    let leader = cluster.leader();
    of(&slow, leader).door.shut();
    let lost = submit(&cluster.nodes[&leader], &[b"x"], PATIENCE);
    let next = eventually("another leader", || {
        cluster.nodes.values().find_map(|node| node.summary().leader.filter(|id| *id != leader))
    });
    propose(&cluster.nodes[&next], &[b"y"]).unwrap();
    of(&slow, leader).door.open();
    assert!(lost.recv_timeout(PATIENCE).unwrap().error.is_none(), "the others had it");
    cluster.close();
}

#[test]
fn a_failed_sync_stops_the_node_and_nothing_else() {
    let (mut cluster, slow) = slow_cluster(config());
    let leader = cluster.leader();
    of(&slow, leader).broken.store(true, Ordering::Release);
    let node = cluster.nodes.remove(&leader).unwrap();
    let outcome = submit(&node, &[b"x"], PATIENCE).recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(outcome.error, None | Some(NodeError::OutcomeUnknown { .. } | NodeError::Closed { .. })),
        "{:?}",
        outcome.error
    );
    let failure = eventually("it stops", || node.failure());
    assert!(failure.to_string().contains("no such disk"), "{failure}");
    assert!(matches!(propose(&node, &[b"y"]), Err(NodeError::Closed { .. })));
    let next = cluster.leader();
    propose(&cluster.nodes[&next], &[b"z"]).unwrap();
    assert!(node.close(true, PATIENCE).left_behind.is_empty());
    cluster.close();
}

#[test]
fn a_failing_apply_stops_apply_on_that_node_only() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    let outcome =
        submit(&cluster.nodes[&leader], &[b"a", b"b", b"fail", b"c"], PATIENCE).recv_timeout(PATIENCE).unwrap();
    // Every machine fails at the same entry here: all stop, all go on voting.
    let Some(NodeError::Plugin { node, failure }) = &outcome.error else { panic!("{:?}", outcome.error) };
    assert_eq!((*node, failure.callback), (leader, "StateMachine.apply"));
    assert_eq!(failure.index, Some(4), "behind the term's first entry, the configuration or no-op, and a and b");
    assert_eq!(outcome.outputs.concat(), vec![1, 2]);
    eventually("all have stopped", || {
        cluster.nodes.values().all(|node| node.status().apply_error.is_some()).then_some(())
    });
    let error = propose(&cluster.nodes[&leader], &[b"d"]).unwrap_err();
    assert!(matches!(error, NodeError::Plugin { .. } | NodeError::NotAccepted { .. }), "{error}");
    // As far as it has applied, it answers.
    assert_eq!(read(&cluster.nodes[&leader], Consistency::Eventual).unwrap(), vec![b"a".to_vec(), b"b".to_vec()]);
    assert!(read(&cluster.nodes[&leader], Consistency::Linearizable).is_err());
    cluster.close();
}

#[test]
fn leadership_leaves_a_node_whose_apply_has_stopped() {
    let mut cluster = Cluster::new(0, config());
    cluster.resize(3);
    let broken: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    for (id, broken) in (1..).zip(&broken) {
        let machine = Tape { broken: broken.clone(), ..Tape::default() };
        cluster.start_with(id, Box::new(MemoryStorage::default()), machine);
    }
    let leader = cluster.leader();
    broken[usize::try_from(leader).unwrap() - 1].store(true, Ordering::Release);
    let error = propose(&cluster.nodes[&leader], &[b"a"]).unwrap_err();
    assert!(matches!(error, NodeError::Plugin { .. }), "{error}");
    let next = eventually("another leader", || {
        let known: Vec<_> = cluster.nodes.values().map(|node| node.summary().leader).collect();
        known.iter().all(|id| *id == known[0] && *id != Some(leader)).then_some(known[0]).flatten()
    });
    // Committed under the old leader, applied by the others.
    propose(&cluster.nodes[&next], &[b"b"]).unwrap();
    let expected = vec![b"a".to_vec(), b"b".to_vec()];
    assert_eq!(read(&cluster.nodes[&next], Consistency::Linearizable).unwrap(), expected);
    // It goes on replicating, and after a restart it applies from where it stopped.
    let last = cluster.nodes[&next].status().last;
    eventually("it replicates", || (cluster.nodes[&leader].status().last == last).then_some(()));
    cluster.close();
}

#[test]
fn a_panicking_machine_stops_its_node() {
    let mut cluster = Cluster::new(3, config());
    let leader = cluster.leader();
    cluster.crash(leader);
    let storage = cluster.storages[&leader].clone();
    // This one's machine alone fails, at its next batch.
    let first = AtomicBool::new(true);
    let gate = move || assert!(!first.swap(false, Ordering::Relaxed), "told to panic");
    let survivor = cluster.leader();
    cluster.start_with(leader, Box::new(storage), Tape { gate: Some(Arc::new(gate)), ..Tape::default() });
    propose(&cluster.nodes[&survivor], &[b"a"]).unwrap();
    let failure = eventually("a panic stops the node", || cluster.nodes[&leader].failure());
    assert!(matches!(failure, NodeError::Panic { ref thread, .. } if thread == "apply"), "{failure}");
    propose(&cluster.nodes[&survivor], &[b"b"]).unwrap();
    cluster.nodes.remove(&leader).unwrap().close(false, PATIENCE);
    cluster.close();
}

#[test]
fn class_41_a_hanging_apply_delays_nobody_else_and_no_close() {
    let door = Arc::new(Door::default());
    let mut cluster = Cluster::new(0, config());
    cluster.resize(3);
    let hang = door.clone();
    let gate: Arc<dyn Fn() + Send + Sync> = Arc::new(move || hang.pass());
    cluster.start_with(1, Box::new(MemoryStorage::default()), Tape { gate: Some(gate), ..Tape::default() });
    cluster.start(2);
    cluster.start(3);
    let leader = cluster.leader();
    propose(&cluster.nodes[&leader], &[b"a"]).unwrap();
    eventually("node 1 has it", || (cluster.nodes[&1].summary().applied >= 2).then_some(()));

    door.shut();
    let before = cluster.nodes[&leader].summary().term;
    let mine = submit(&cluster.nodes[&1], &[b"b"], Duration::from_millis(600));
    let late = mine.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(late.error, Some(NodeError::OutcomeUnknown { .. })), "{:?}", late.error);
    let other = if leader == 1 { 2 } else { leader };
    propose(&cluster.nodes[&other], &[b"c"]).unwrap();
    assert_eq!(cluster.nodes[&leader].summary().term, before, "nobody noticed");

    let node = cluster.nodes.remove(&1).unwrap();
    let report = node.close(true, Duration::from_millis(900));
    assert_eq!(report.left_behind, vec!["apply".to_owned()]);
    door.open();
    cluster.close();
}

/// A transport that fails to start, or shows what it was given.
#[derive(Default)]
struct Odd {
    fails: bool,
    closed: Arc<AtomicBool>,
    inbound: Arc<Mutex<Option<TransportStart>>>,
}

impl Transport for Odd {
    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError> {
        *self.inbound.lock().unwrap() = Some(start);
        if self.fails {
            return Err(TransportError::Bind { address: "here".into(), why: "taken".into() });
        }
        Ok(None)
    }

    fn set_peers(&mut self, _members: &[Member]) -> Result<(), TransportError> {
        Ok(())
    }

    fn send(&mut self, frames: &mut Vec<Frame>) {
        frames.clear();
    }

    fn close(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[test]
fn a_start_that_fails_gives_everything_back() {
    let cluster = Cluster::new(0, config());
    let storage = MemoryStorage::default();
    let closed = Arc::new(AtomicBool::new(false));
    let mut parts = cluster.parts(1, Box::new(storage.clone()), Tape::default());
    parts.members = members(3);
    parts.transport = Box::new(Odd { fails: true, closed: closed.clone(), ..Odd::default() });
    let error = Node::start(parts).err().expect("it fails");
    assert!(matches!(error, NodeError::Transport { .. }), "{error}");
    assert!(closed.load(Ordering::Acquire));

    // The storage is free, and belongs to node 1 of this cluster.
    let mut parts = cluster.parts(2, Box::new(storage.clone()), Tape::default());
    parts.members = members(3);
    let error = Node::start(parts).err().expect("it fails");
    assert!(
        matches!(error, NodeError::Storage { error: StorageError::WrongNode { expected: 2, found: 1, .. }, .. }),
        "{error}"
    );
    let mut parts = cluster.parts(1, Box::new(storage.clone()), Tape::default());
    parts.members = members(3);
    parts.config.cluster = "another".into();
    let error = Node::start(parts).err().expect("it fails");
    assert!(matches!(error, NodeError::Storage { error: StorageError::WrongCluster { .. }, .. }), "{error}");

    let mut parts = cluster.parts(1, Box::new(storage.clone()), Tape::default());
    parts.members = members(3);
    let node = Node::start(parts).expect("it starts");
    let mut parts = cluster.parts(1, Box::new(storage), Tape::default());
    parts.members = members(3);
    let error = Node::start(parts).err().expect("it is in use");
    assert!(matches!(error, NodeError::Storage { error: StorageError::Locked { .. }, .. }), "{error}");
    node.close(false, PATIENCE);
}

#[test]
fn frames_of_others_are_refused() {
    let cluster = Cluster::new(0, config());
    let shown = Arc::new(Mutex::new(None));
    let mut parts = cluster.parts(1, Box::new(MemoryStorage::default()), Tape::default());
    parts.members = members(3);
    parts.transport = Box::new(Odd { inbound: shown.clone(), ..Odd::default() });
    let node = Node::start(parts).expect("it starts");
    let start = shown.lock().unwrap().clone().unwrap();
    let hello = &start.hello;
    let frame = || Frame {
        cluster_id: hello.cluster_id,
        group: 0,
        recovery_epoch: 0,
        version: PROTOCOL_VERSION,
        from: 2,
        incarnation: Incarnation(7),
        to: 1,
        lane: Lane::Control,
        payload: Payload::Messages(Vec::new()),
    };
    assert_eq!(start.inbound.deliver(frame()), Ok(()));
    let wrong = |frame: Frame| start.inbound.deliver(frame).unwrap_err();
    assert!(matches!(wrong(Frame { cluster_id: 3, ..frame() }), FrameError::Cluster { .. }));
    assert!(matches!(wrong(Frame { group: 3, ..frame() }), FrameError::Group(3)));
    assert!(matches!(wrong(Frame { recovery_epoch: 3, ..frame() }), FrameError::Epoch { .. }));
    assert!(matches!(wrong(Frame { version: 3, ..frame() }), FrameError::Version(3)));
    assert!(matches!(wrong(Frame { to: 3, ..frame() }), FrameError::Recipient { .. }));
    assert!(matches!(wrong(Frame { from: 1, ..frame() }), FrameError::Envelope));
    start.inbound.invalid("somewhere", "garbage");
    assert_eq!(node.metrics().invalid_messages, 7);
    node.close(false, PATIENCE);
    assert_eq!(start.inbound.deliver(frame()), Err(FrameError::Closed));
}

#[test]
fn what_is_too_much_is_refused() {
    let config = NodeConfig { max_waiting_calls: 4, ..config() };
    let mut cluster = Cluster::new(0, config);
    cluster.resize(3);
    cluster.start(1);
    // No leader: everything waits.
    let waiting: Vec<_> = (0..4).map(|_| submit(&cluster.nodes[&1], &[b"x"], Duration::from_millis(300))).collect();
    let error = propose(&cluster.nodes[&1], &[b"y"]).unwrap_err();
    assert!(matches!(error, NodeError::Overloaded { .. }), "{error}");
    for receiver in waiting {
        let outcome = receiver.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(outcome.error, Some(NodeError::NotLeader { .. })), "{:?}", outcome.error);
    }
    assert!(cluster.nodes[&1].check_entry(1 << 20).is_err());
    cluster.close();
}

#[test]
fn a_crowd_that_waits_long_gets_no_longer() {
    let config = NodeConfig { request_timeout: Duration::from_millis(1_600), ..config() };
    let door = Arc::new(Door::default());
    let mut cluster = Cluster::new(0, config);
    cluster.resize(1);
    let at_the_door = Arc::clone(&door);
    let tape = Tape { gate: Some(Arc::new(move || at_the_door.pass())), ..Tape::default() };
    cluster.start_with(1, Box::new(MemoryStorage::default()), tape);
    let node = Arc::clone(&cluster.nodes[&cluster.leader()]);
    door.shut();
    // A burst is taken in, though it is long: nothing says yet that it waits long.
    let burst: Vec<_> = (0..3_000).map(|_| submit(&node, &[b"x"], PATIENCE)).collect();
    assert_eq!(node.metrics().overloaded, 0);
    // Nothing ends for a sixteenth of the timeout: what comes now would only wait.
    eventually("a refusal", || {
        let outcome = submit(&node, &[b"y"], PATIENCE).recv_timeout(Duration::from_millis(1)).ok()?;
        matches!(outcome.error, Some(NodeError::Overloaded { .. })).then_some(())
    });
    door.open();
    for one in burst {
        assert!(one.recv_timeout(PATIENCE).unwrap().error.is_none());
    }
    // The crowd is gone, and with it what it taught.
    for _ in 0..3 {
        propose(&node, &[b"z"]).unwrap();
    }
    cluster.close();
}
