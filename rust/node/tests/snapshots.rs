//! Snapshots on their way: cut off again and again, limited in rate, damaged, of another cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Cluster, Tape, config, eventually, propose, read};
use d_engine_node::{
    Consistency, Frame, LocalTransport, Node, NodeConfig, NodeParts, Park, Payload, SnapshotFrame, Transport,
    TransportError, TransportStart,
};
use d_engine_raft::{Member, NodeId};

const ITEM: usize = 500_000;

fn by_hand() -> NodeConfig {
    NodeConfig { trailing_entries: 0, snapshot_every_entries: 0, snapshot_every_bytes: 0, ..config() }
}

/// A cluster of three with so much state in the snapshot of its leader, and one follower that needs it and is down.
fn prepare(items: u8, config: NodeConfig) -> (Cluster, NodeId, NodeId) {
    let mut cluster = Cluster::new(3, config);
    let follower = cluster.follower();
    cluster.crash(follower);
    let leader = cluster.leader();
    for at in 0..items {
        propose(&cluster.nodes[&leader], &[&vec![at; ITEM]]).unwrap();
    }
    let index = common::snapshot(&cluster.nodes[&leader]).unwrap();
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index == index).then_some(()));
    (cluster, leader, follower)
}

fn check(cluster: &Cluster, node: NodeId, items: u8) {
    let all = read(&cluster.nodes[&node], Consistency::Linearizable).unwrap();
    assert_eq!(all.len(), usize::from(items));
    assert!(all.iter().zip(0..items).all(|(item, at)| item.len() == ITEM && item[0] == at));
    assert_eq!(cluster.nodes[&node].metrics().snapshots_installed, 1);
}

#[test]
fn a_transfer_that_is_cut_off_again_and_again_sends_little_twice() {
    // Slow enough to be cut often.
    let config = NodeConfig { snapshot_bytes_per_second: 40 << 20, ..by_hand() };
    let (mut cluster, leader, follower) = prepare(160, config);
    cluster.start(follower);
    let mut cuts = 0;
    while cluster.nodes[&follower].metrics().snapshots_installed == 0 {
        std::thread::park_timeout(Duration::from_millis(400));
        let (one, other) = if cuts % 2 == 0 { (leader, follower) } else { (follower, leader) };
        cluster.network.cut(one, other);
        std::thread::park_timeout(Duration::from_millis(20));
        cluster.network.mend();
        cuts += 1;
        assert!(cuts < 300, "it never ends");
    }
    check(&cluster, follower, 160);
    let (sent, size) = (cluster.nodes[&leader].metrics().bytes_sent_bulk, 160 * ITEM as u64);
    let again = sent.saturating_sub(size);
    println!("{cuts} cuts, {sent} bytes sent of {size}: {again} again");
    assert!(cuts > 3);
    assert!(again * 10 < size, "{again} of {size} bytes were sent again");
    cluster.close();
}

#[test]
fn a_rate_is_kept() {
    let config = NodeConfig { snapshot_bytes_per_second: 5 << 20, ..by_hand() };
    let (mut cluster, leader, follower) = prepare(20, config);
    let begun = Instant::now();
    cluster.start(follower);
    check(&cluster, follower, 20);
    let took = begun.elapsed();
    println!("10 MB at 5 MiB/s took {took:?}");
    assert!(took > Duration::from_millis(1_800), "{took:?}");
    let sent = cluster.nodes[&leader].metrics().bytes_sent_bulk;
    assert!(sent < 11 * ITEM as u64 * 2, "{sent} bytes were sent for {}", 20 * ITEM);
    cluster.close();
}

type Spoil = Box<dyn FnMut(&mut Vec<u8>, u64) + Send>;

/// Spoils chunks of snapshots, and gives them a fitting checksum.
struct Spoiling {
    inner: LocalTransport,
    spoil: Arc<Mutex<Spoil>>,
    on: Arc<AtomicBool>,
}

impl Transport for Spoiling {
    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError> {
        self.inner.start(start)
    }

    fn set_peers(&mut self, members: &[Member]) -> Result<(), TransportError> {
        self.inner.set_peers(members)
    }

    fn send(&mut self, frames: &mut Vec<Frame>) {
        for frame in frames.iter_mut() {
            if let Payload::Snapshot(SnapshotFrame::Chunk { offset, crc, data, .. }) = &mut frame.payload
                && self.on.load(Ordering::Acquire)
            {
                let mut bytes = data.to_vec();
                self.spoil.lock().unwrap()(&mut bytes, *offset);
                *crc = crc32c::crc32c(&bytes);
                *data = bytes.into();
            }
        }
        self.inner.send(frames);
    }

    fn close(&mut self) {
        self.inner.close();
    }
}

/// Nothing of a spoiled snapshot is installed; once it comes as it is, it is.
fn refused_then_taken(spoil: impl FnMut(&mut Vec<u8>, u64) + Send + 'static) {
    let on = Arc::new(AtomicBool::new(true));
    let mut cluster = Cluster::new(3, by_hand());
    let spoil: Arc<Mutex<Spoil>> = Arc::new(Mutex::new(Box::new(spoil)));
    // Whoever leads spoils what it sends.
    for id in 1..=3 {
        cluster.crash(id);
        let storage = cluster.storages[&id].clone();
        let parts = cluster.parts(id, Box::new(storage), Tape::default());
        let transport = Spoiling { inner: cluster.network.transport(), spoil: Arc::clone(&spoil), on: Arc::clone(&on) };
        let parts = NodeParts { transport: Box::new(transport), ..parts };
        cluster.nodes.insert(id, Arc::new(Node::start(parts).unwrap()));
    }
    let follower = cluster.follower();
    cluster.crash(follower);
    let leader = cluster.leader();
    for at in 0..4 {
        propose(&cluster.nodes[&leader], &[&vec![at; ITEM]]).unwrap();
    }
    let index = common::snapshot(&cluster.nodes[&leader]).unwrap();
    eventually("the log is purged", || (cluster.nodes[&leader].status().purged.index == index).then_some(()));
    cluster.start(follower);
    // It comes twice in vain.
    eventually("it is sent again", || {
        (cluster.nodes[&leader].metrics().bytes_sent_bulk > 8 * ITEM as u64).then_some(())
    });
    assert_eq!(cluster.nodes[&follower].metrics().snapshots_installed, 0);
    assert!(cluster.nodes[&follower].summary().applied < index);
    on.store(false, Ordering::Release);
    check(&cluster, follower, 4);
    cluster.close();
}

#[test]
fn a_snapshot_with_a_wrong_checksum_is_not_taken() {
    let spoiled = AtomicUsize::new(0);
    refused_then_taken(move |bytes, offset| {
        if offset > ITEM as u64 {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            spoiled.fetch_add(1, Ordering::Relaxed);
        }
    });
}

#[test]
fn a_snapshot_of_another_cluster_is_not_taken() {
    refused_then_taken(|bytes, offset| {
        if offset == 0 {
            // Cluster id behind magic, length and checksum, which is made to fit again.
            bytes[16] ^= 1;
            let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..16 + length]);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        }
    });
}
