//! A cluster in one process, with a machine that keeps everything it was given.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use d_engine_node::storage::MemoryStorage;
use d_engine_node::{
    Applied, Batch, Consistency, LocalNetwork, LogRecord, LogSink, Node, NodeConfig, NodeError, NodeParts, Outcome,
    PluginFailure, StateMachine, Storage,
};
use d_engine_node::{Level, NoHooks};
use d_engine_raft::{Draft, EntryKind, Member, MemberRole, NodeId, Role};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps every command. Fails at a command that begins with `fail`.
#[derive(Default)]
pub struct Tape {
    pub entries: Vec<Vec<u8>>,
    pub calls: usize,
    /// Called before each batch.
    pub gate: Option<Arc<dyn Fn() + Send + Sync>>,
    pub restored: usize,
    /// Fails at the next command while set.
    pub broken: Arc<AtomicBool>,
}

impl StateMachine for Tape {
    /// Positions of the range's entries.
    type Output = Vec<u64>;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<Vec<u64>> {
        if let Some(gate) = &self.gate {
            gate();
        }
        self.calls += 1;
        let mut positions = Vec::new();
        let mut failure = None;
        for (at, entry) in batch.entries.iter().enumerate() {
            assert_eq!(entry.kind(), EntryKind::Command);
            if entry.payload().starts_with(b"fail") || self.broken.load(Ordering::Acquire) {
                failure = Some((at, PluginFailure::new("StateMachine.apply", "told to fail")));
                break;
            }
            self.entries.push(entry.payload().to_vec());
            positions.push(self.entries.len() as u64);
        }
        let outputs = batch
            .wanted
            .iter()
            .take_while(|range| failure.is_none() || range.start < positions.len())
            .map(|range| positions[range.start..range.end.min(positions.len())].to_vec())
            .collect();
        let kept = batch.keep.iter().map_while(|&at| positions.get(at));
        let kept = kept.map(|position| Some(Bytes::copy_from_slice(&position.to_le_bytes()))).collect();
        Applied { outputs, kept, failure }
    }

    fn load(&mut self, kept: &Bytes) -> Option<Vec<u64>> {
        Some(vec![u64::from_le_bytes(kept[..].try_into().ok()?)])
    }

    fn opened(&mut self, session: u64) -> Option<Vec<u64>> {
        Some(vec![session])
    }

    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure> {
        let failed = |error: std::io::Error| PluginFailure::new("StateMachine.snapshot", error.to_string());
        for entry in &self.entries {
            out.write_all(&u32::try_from(entry.len()).unwrap().to_le_bytes()).map_err(failed)?;
            out.write_all(entry).map_err(failed)?;
        }
        Ok(())
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        let mut bytes = Vec::new();
        source
            .read_to_end(&mut bytes)
            .map_err(|error| PluginFailure::new("StateMachine.restore", error.to_string()))?;
        self.entries.clear();
        self.restored += 1;
        let mut rest = &bytes[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (entry, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            self.entries.push(entry.to_vec());
            rest = tail;
        }
        Ok(())
    }
}

/// Prints warnings, for whoever looks at a failed test.
pub struct Print;

impl LogSink for Print {
    fn enabled(&self, level: Level) -> bool {
        level >= Level::Info
    }

    fn log(&self, record: LogRecord) {
        println!("{:?} node {} {}: {}", record.level, record.node, record.part, record.message);
    }
}

pub fn members(count: u64) -> Vec<Member> {
    (1..=count)
        .map(|id| Member {
            id,
            address: format!("node-{id}"),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: true,
            incarnation: None,
            leaving: false,
        })
        .collect()
}

pub fn config() -> NodeConfig {
    NodeConfig { request_timeout: PATIENCE, ..NodeConfig::default() }
}

pub type TapeNode = Node<Tape>;

pub struct Cluster {
    pub network: LocalNetwork,
    pub nodes: BTreeMap<NodeId, Arc<TapeNode>>,
    pub storages: BTreeMap<NodeId, MemoryStorage>,
    pub config: NodeConfig,
    size: u64,
}

impl Cluster {
    pub fn new(size: u64, config: NodeConfig) -> Self {
        let mut cluster =
            Self { network: LocalNetwork::new(), nodes: BTreeMap::new(), storages: BTreeMap::new(), config, size };
        for id in 1..=size {
            cluster.start(id);
        }
        cluster
    }

    /// For nodes that are started one by one.
    pub fn resize(&mut self, size: u64) {
        self.size = size;
    }

    pub fn parts(&self, id: NodeId, storage: Box<dyn Storage>, machine: Tape) -> NodeParts<Tape> {
        NodeParts {
            id,
            config: self.config.clone(),
            members: members(self.size),
            join: None,
            storage,
            machine,
            transport: Box::new(self.network.transport()),
            log: Arc::new(Print),
            hooks: Arc::new(NoHooks),
        }
    }

    pub fn start(&mut self, id: NodeId) {
        let storage = self.storages.entry(id).or_default().clone();
        self.start_with(id, Box::new(storage), Tape::default());
    }

    pub fn start_with(&mut self, id: NodeId, storage: Box<dyn Storage>, machine: Tape) {
        let node = Node::start(self.parts(id, storage, machine)).expect("a node starts");
        self.nodes.insert(id, Arc::new(node));
    }

    pub fn crash(&mut self, id: NodeId) {
        self.nodes.remove(&id).expect("a running node").crash();
    }

    /// The leader, once a live node leads and all live nodes follow it with its first entry applied.
    pub fn leader(&self) -> NodeId {
        for node in self.nodes.values() {
            wait_ready(node).expect("the node becomes ready");
        }
        eventually("one leader", || {
            let leaders: Vec<_> = self.nodes.values().map(|node| node.summary().leader).collect();
            let first = leaders[0]?;
            let leads = self.nodes.get(&first)?.summary().role == Role::Leader;
            (leads && leaders.iter().all(|leader| *leader == Some(first))).then_some(first)
        })
    }

    pub fn follower(&self) -> NodeId {
        let leader = self.leader();
        *self.nodes.keys().find(|&&id| id != leader).expect("a follower")
    }

    pub fn close(&mut self) {
        for (id, node) in std::mem::take(&mut self.nodes) {
            let report = node.close(false, PATIENCE);
            assert!(report.left_behind.is_empty(), "node {id} left behind {:?}", report.left_behind);
        }
    }
}

/// Polls what has no event of its own.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        // Woken by nobody: leaves the processor to the nodes for a moment.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub fn draft(items: &[&[u8]]) -> Draft {
    let mut draft = Draft::default();
    for item in items {
        draft.push(EntryKind::Command, item);
    }
    draft
}

pub fn submit(node: &TapeNode, items: &[&[u8]], timeout: Duration) -> Receiver<Outcome<Vec<u64>>> {
    submit_draft(node, draft(items), timeout)
}

pub fn submit_draft(node: &TapeNode, draft: Draft, timeout: Duration) -> Receiver<Outcome<Vec<u64>>> {
    let (sender, receiver) = channel();
    node.propose(
        draft,
        Some(timeout),
        Box::new(move |outcome| {
            let _ = sender.send(outcome);
        }),
    );
    receiver
}

pub fn propose(node: &TapeNode, items: &[&[u8]]) -> Result<Vec<u64>, NodeError> {
    let outcome = submit(node, items, PATIENCE).recv_timeout(PATIENCE * 2).expect("an outcome");
    match outcome.error {
        Some(error) => Err(error),
        None => Ok(outcome.outputs.concat()),
    }
}

pub fn read(node: &TapeNode, consistency: Consistency) -> Result<Vec<Vec<u8>>, NodeError> {
    let (sender, receiver) = channel();
    node.query(
        consistency,
        Some(PATIENCE),
        Box::new(move |reading| {
            let _ = sender.send(reading.map(|reading| reading.machine.entries.clone()));
        }),
    );
    receiver.recv_timeout(PATIENCE * 2).expect("an answer")
}

pub fn wait_ready(node: &TapeNode) -> Result<(), NodeError> {
    let (sender, receiver) = channel();
    node.wait_ready(
        Some(PATIENCE),
        Box::new(move |result| {
            let _ = sender.send(result);
        }),
    );
    receiver.recv_timeout(PATIENCE * 2).expect("an answer")
}

pub fn snapshot(node: &TapeNode) -> Result<u64, NodeError> {
    let (sender, receiver) = channel();
    node.snapshot(
        Some(PATIENCE),
        Box::new(move |result| {
            let _ = sender.send(result);
        }),
    );
    receiver.recv_timeout(PATIENCE * 2).expect("an answer")
}

/// A door that threads wait at while it is shut.
#[derive(Default)]
pub struct Door(Mutex<bool>, std::sync::Condvar);

impl Door {
    pub fn shut(&self) {
        *self.0.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.0.lock().unwrap() = false;
        self.1.notify_all();
    }

    pub fn pass(&self) {
        let mut shut = self.0.lock().unwrap();
        while *shut {
            shut = self.1.wait(shut).unwrap();
        }
    }
}
