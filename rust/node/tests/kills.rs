//! Nodes die at random under load: what was acknowledged is there afterwards, once, in one order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use common::{Cluster, PATIENCE, Tape, TapeNode, config, read, submit};
use d_engine_node::storage::FileStorage;
use d_engine_node::{Consistency, NodeConfig, NodeError, Outcome, Storage};
use d_engine_raft::SplitMix64;

const IN_FLIGHT: usize = 64;
/// A forward to a dead leader ends at its timeout: soon, so that the load does not stand still.
const FORWARD_PATIENCE: Duration = Duration::from_secs(1);
const KILLS: u64 = 12;
const BETWEEN: usize = 400;

struct Load {
    next: u64,
    flying: VecDeque<(u64, Receiver<Outcome<Vec<u64>>>)>,
    acknowledged: BTreeMap<u64, u64>,
    unknown: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

impl Load {
    fn send(&mut self, node: &TapeNode) {
        self.flying.push_back((self.next, submit(node, &[&self.next.to_le_bytes()], FORWARD_PATIENCE)));
        self.next += 1;
    }

    fn take(&mut self) {
        let Some((number, receiver)) = self.flying.pop_front() else { return };
        let outcome = receiver.recv_timeout(PATIENCE * 2).expect("every call is answered");
        match outcome.error {
            None => {
                self.acknowledged.insert(number, outcome.outputs.concat()[0]);
            }
            Some(NodeError::OutcomeUnknown { .. }) => {
                self.unknown.insert(number);
            }
            Some(error) => {
                assert!(error.retryable() || matches!(error, NodeError::Closed { .. }), "{error}");
                self.refused.insert(number);
            }
        }
    }
}

fn storage(directory: &tempfile::TempDir, id: u64) -> Box<dyn Storage> {
    Box::new(FileStorage::new(directory.path().join(id.to_string()), 1 << 20))
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let config = NodeConfig { snapshot_every_entries: 1_000, trailing_entries: 200, ..config() };
    let mut cluster = Cluster::new(0, config);
    cluster.resize(3);
    for id in 1..=3 {
        cluster.start_with(id, storage(&directory, id), Tape::default());
    }
    let mut random = SplitMix64::new(7);
    let mut load = Load {
        next: 0,
        flying: VecDeque::new(),
        acknowledged: BTreeMap::new(),
        unknown: BTreeSet::new(),
        refused: BTreeSet::new(),
    };
    let mut leaders_killed = 0;
    for _ in 0..KILLS {
        let leader = cluster.leader();
        for _ in 0..BETWEEN {
            let id = if random.between(0, 1) == 0 { leader } else { random.between(1, 3) };
            load.send(&cluster.nodes[&id]);
            if load.flying.len() >= IN_FLIGHT {
                load.take();
            }
        }
        let victim = if random.between(0, 2) > 0 { leader } else { random.between(1, 3) };
        leaders_killed += u64::from(victim == leader);
        cluster.crash(victim);
        while !load.flying.is_empty() {
            load.take();
        }
        cluster.start_with(victim, storage(&directory, victim), Tape::default());
    }
    cluster.leader();
    let logs: Vec<Vec<u64>> = cluster
        .nodes
        .values()
        .map(|node| {
            let entries = read(node, Consistency::Linearizable).unwrap();
            entries.iter().map(|entry| u64::from_le_bytes(entry[..].try_into().unwrap())).collect()
        })
        .collect();
    let shortest = logs.iter().map(Vec::len).min().unwrap();
    for log in &logs {
        assert_eq!(log[..shortest], logs[0][..shortest], "one order");
    }
    let log = logs.iter().max_by_key(|log| log.len()).unwrap();
    let there: BTreeSet<u64> = log.iter().copied().collect();
    assert_eq!(there.len(), log.len(), "none twice");
    for (number, position) in &load.acknowledged {
        assert_eq!(log.get(usize::try_from(*position).unwrap() - 1), Some(number), "acknowledged at its position");
    }
    assert!(load.refused.is_disjoint(&there), "certainly not accepted");
    println!(
        "{KILLS} kills, {leaders_killed} of leaders: {} acknowledged, {} unknown ({} of them applied), {} refused",
        load.acknowledged.len(),
        load.unknown.len(),
        load.unknown.intersection(&there).count(),
        load.refused.len()
    );
    cluster.close();
}
