//! Clusters on files and on plain stores; what a start makes of what it finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Cluster, PATIENCE, Tape, config, eventually, propose, read, snapshot};
use d_engine_node::storage::{DirectorySnapshots, FileStorage, PluginStorage, StorageOwner};
use d_engine_node::{
    Consistency, Identity, LogBounds, MetaStore, Node, NodeConfig, NodeError, RecordStore, SnapshotStore, Storage,
    StorageError,
};
use d_engine_raft::{Entry, HardState, Index, LogId, Term};

fn file(directory: &tempfile::TempDir, id: u64) -> Box<dyn Storage> {
    Box::new(FileStorage::new(directory.path().join(id.to_string()), 1 << 20))
}

fn items(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|at| [&at.to_le_bytes()[..], &[9; 3000]].concat()).collect()
}

#[test]
fn files_survive_close_crash_and_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let config = NodeConfig { snapshot_every_entries: 64, trailing_entries: 16, ..config() };
    let mut cluster = Cluster::new(0, config);
    cluster.resize(3);
    let mut expected = Vec::new();
    for round in 0..3_u32 {
        for id in 1..=3 {
            cluster.start_with(id, file(&directory, id), Tape::default());
        }
        let leader = cluster.leader();
        for item in items(round * 100..round * 100 + 100) {
            propose(&cluster.nodes[&leader], &[&item]).unwrap();
            expected.push(item);
        }
        for node in cluster.nodes.values() {
            assert_eq!(read(node, Consistency::Linearizable).unwrap(), expected);
        }
        let metrics = cluster.nodes[&leader].metrics();
        assert!(metrics.log_syncs >= 100, "one proposal in flight: {} syncs", metrics.log_syncs);
        if round == 1 {
            for id in 1..=3 {
                cluster.crash(id);
            }
        } else {
            cluster.close();
        }
    }
}

#[test]
fn a_directory_serves_one_node_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(0, config());
    cluster.resize(1);
    cluster.start_with(1, file(&directory, 1), Tape::default());
    let error = Node::start(cluster.parts(1, file(&directory, 1), Tape::default())).err().expect("it is in use");
    assert!(matches!(error, NodeError::Storage { error: StorageError::Locked { .. }, .. }), "{error}");
    cluster.close();
    // Without members, a directory that has some is enough; an empty one is refused and stays empty.
    let mut parts = cluster.parts(1, file(&directory, 1), Tape::default());
    parts.members.clear();
    Node::start(parts).expect("it starts").close(false, PATIENCE);
    let mut parts = cluster.parts(2, file(&directory, 2), Tape::default());
    parts.members.clear();
    assert!(Node::start(parts).is_err());
    cluster.resize(2);
    Node::start(cluster.parts(2, file(&directory, 2), Tape::default())).expect("it starts").close(false, PATIENCE);
}

#[test]
fn a_lost_snapshot_is_not_overlooked() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(0, NodeConfig { trailing_entries: 0, ..config() });
    cluster.resize(1);
    cluster.start_with(1, file(&directory, 1), Tape::default());
    cluster.leader();
    for item in items(0..20) {
        propose(&cluster.nodes[&1], &[&item]).unwrap();
    }
    let index = snapshot(&cluster.nodes[&1]).unwrap();
    eventually("the log is purged", || (cluster.nodes[&1].status().purged.index == index).then_some(()));
    propose(&cluster.nodes[&1], &[b"after"]).unwrap();
    cluster.close();
    let snapshots = directory.path().join("1/snapshots");
    let found: Vec<_> = std::fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1);
    let bytes = std::fs::read(&found[0]).unwrap();

    // A flipped byte in the state: the restore says so, and the start fails.
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&found[0], &flipped).unwrap();
    let error = Node::start(cluster.parts(1, file(&directory, 1), Tape::default())).err().expect("it is damaged");
    assert!(matches!(error, NodeError::Storage { error: StorageError::Corrupt { .. }, .. }), "{error}");
    std::fs::remove_file(&found[0]).unwrap();
    let error = Node::start(cluster.parts(1, file(&directory, 1), Tape::default())).err().expect("it is gone");
    assert!(error.to_string().contains("no snapshot covers"), "{error}");

    std::fs::write(&found[0], &bytes).unwrap();
    cluster.start_with(1, file(&directory, 1), Tape::default());
    assert_eq!(read(&cluster.nodes[&1], Consistency::Linearizable).unwrap().len(), 21);
    cluster.close();
}

/// What a plugin keeps: survives its node.
#[derive(Clone, Default)]
struct Plain(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    identity: Option<Identity>,
    state: Option<HardState>,
    purged: LogId,
    records: BTreeMap<Index, (Term, Bytes)>,
    closed: usize,
    appends: usize,
    directory: Option<tempfile::TempDir>,
}

impl StorageOwner for Plain {
    fn open(&mut self, proposed: &Identity) -> Result<Identity, StorageError> {
        Ok(self.0.lock().unwrap().identity.get_or_insert_with(|| proposed.clone()).clone())
    }

    fn snapshots(&mut self, _identity: &Identity) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        let mut kept = self.0.lock().unwrap();
        let directory = kept.directory.get_or_insert_with(|| tempfile::tempdir().unwrap());
        Ok(Arc::new(DirectorySnapshots::open(directory.path())?))
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.0.lock().unwrap().closed += 1;
        Ok(())
    }
}

impl MetaStore for Plain {
    fn load(&mut self) -> Result<Option<HardState>, StorageError> {
        Ok(self.0.lock().unwrap().state)
    }

    fn save(&mut self, state: HardState) -> Result<(), StorageError> {
        self.0.lock().unwrap().state = Some(state);
        Ok(())
    }
}

impl RecordStore for Plain {
    fn bounds(&mut self) -> Result<LogBounds, StorageError> {
        let kept = self.0.lock().unwrap();
        let last = kept.records.last_key_value().map_or(kept.purged, |(&index, &(term, _))| LogId::new(index, term));
        Ok(LogBounds { purged: kept.purged, last })
    }

    fn read(&mut self, start: Index, stop: Index, max_bytes: usize) -> Result<Vec<(Index, Term, Bytes)>, StorageError> {
        let kept = self.0.lock().unwrap();
        let mut bytes = 0;
        let fits = |record: &(&Index, &(Term, Bytes))| {
            bytes += record.1.1.len();
            *record.0 == start || bytes <= max_bytes
        };
        let records = kept.records.range(start..stop).take_while(fits);
        Ok(records.map(|(&index, (term, record))| (index, *term, record.clone())).collect())
    }

    fn append(&mut self, entries: &[Entry], truncate_from: Option<Index>) -> Result<(), StorageError> {
        let mut kept = self.0.lock().unwrap();
        kept.appends += 1;
        if let Some(from) = truncate_from {
            drop(kept.records.split_off(&from));
        }
        for entry in entries {
            let end = kept.records.last_key_value().map_or(kept.purged.index, |(&index, _)| index);
            assert_eq!(entry.index(), end + 1, "contiguous");
            kept.records.insert(entry.index(), (entry.term(), entry.record().clone()));
        }
        Ok(())
    }

    fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let mut kept = self.0.lock().unwrap();
        let held = kept.records.get(&upto.index).is_some_and(|(term, _)| *term == upto.term);
        kept.records = if held { kept.records.split_off(&(upto.index + 1)) } else { BTreeMap::new() };
        kept.purged = upto;
        Ok(())
    }
}

fn plugin(plain: &Plain) -> Box<dyn Storage> {
    Box::new(PluginStorage::new(Box::new(plain.clone()), Box::new(plain.clone()), Box::new(plain.clone())))
}

#[test]
fn plain_stores_run_a_cluster() {
    let plains: Vec<Plain> = (0..3).map(|_| Plain::default()).collect();
    let config = NodeConfig { snapshot_every_entries: 50, trailing_entries: 10, ..config() };
    let mut cluster = Cluster::new(0, config);
    cluster.resize(3);
    let at = |id: u64| &plains[usize::try_from(id).unwrap() - 1];
    for id in 1..=3 {
        cluster.start_with(id, plugin(at(id)), Tape::default());
    }
    let follower = cluster.follower();
    cluster.crash(follower);
    assert_eq!(at(follower).0.lock().unwrap().closed, 0, "a crash closes nothing");
    let leader = cluster.leader();
    let mut expected = Vec::new();
    for item in items(0..200) {
        propose(&cluster.nodes[&leader], &[&item]).unwrap();
        expected.push(item);
    }
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index > 50).then_some(()));
    cluster.start_with(follower, plugin(at(follower)), Tape::default());
    assert_eq!(read(&cluster.nodes[&follower], Consistency::Linearizable).unwrap(), expected);
    cluster.close();
    for id in 1..=3 {
        assert_eq!(at(id).0.lock().unwrap().closed, 1);
        cluster.start_with(id, plugin(at(id)), Tape::default());
    }
    for node in cluster.nodes.values() {
        assert_eq!(read(node, Consistency::Linearizable).unwrap(), expected);
    }
    cluster.close();
    drop(cluster);
}

#[test]
fn a_record_that_was_changed_is_refused() {
    let plain = Plain::default();
    let mut cluster = Cluster::new(0, config());
    cluster.resize(1);
    cluster.start_with(1, plugin(&plain), Tape::default());
    cluster.leader();
    propose(&cluster.nodes[&1], &[b"precious"]).unwrap();
    cluster.close();
    let mut kept = plain.0.lock().unwrap();
    let last = *kept.records.last_key_value().unwrap().0;
    let (term, record) = kept.records[&last].clone();
    let mut changed = record.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    kept.records.insert(last, (term, changed.into()));
    drop(kept);
    let error = Node::start(cluster.parts(1, plugin(&plain), Tape::default())).err().expect("it is damaged");
    assert!(
        matches!(&error, NodeError::Storage { error: StorageError::Corrupt { index: Some(index), .. }, .. } if *index == last),
        "{error}"
    );
}
