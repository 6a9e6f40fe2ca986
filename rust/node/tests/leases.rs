//! Reads while the network loses one direction: whoever began after a write was acknowledged sees it, by a quorum's word and by a
//! lease's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::{Cluster, TapeNode, config, submit};
use d_engine_node::Consistency;

const QUICK_CUTS: usize = 12;
const FULL_CUTS: usize = 120;
/// Longer than the longest election timeout: the other side has another leader by then.
const SPAN: Duration = Duration::from_millis(900);
const LIMIT: Duration = Duration::from_millis(600);

/// How many entries the read saw, unless it was not served in time.
fn read_length(node: &TapeNode, consistency: Consistency) -> Option<u64> {
    let (sender, receiver) = channel();
    let done = move |reading: Result<d_engine_node::Reading<'_, common::Tape>, _>| {
        let _ = sender.send(reading.ok().map(|reading| reading.machine.entries.len() as u64));
    };
    node.query(consistency, Some(LIMIT), Box::new(done));
    receiver.recv().expect("an answer")
}

#[test]
fn one_way_cuts_make_no_read_stale() {
    let cuts = if std::env::var_os("D_ENGINE_FULL").is_some() { FULL_CUTS } else { QUICK_CUTS };
    let mut cluster = Cluster::new(3, config());
    cluster.leader();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reads = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let mut threads = Vec::new();
    for node in cluster.nodes.values() {
        let (node, stop, acknowledged) = (Arc::clone(node), Arc::clone(&stop), Arc::clone(&acknowledged));
        threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let outcome = submit(&node, &[b"x"], LIMIT).recv().expect("an outcome");
                if let (None, Some(&position)) = (outcome.error, outcome.outputs.concat().last()) {
                    acknowledged.fetch_max(position, Ordering::AcqRel);
                }
            }
        }));
    }
    for (number, node) in cluster.nodes.values().cycle().take(8).enumerate() {
        let (node, stop, acknowledged) = (Arc::clone(node), Arc::clone(&stop), Arc::clone(&acknowledged));
        let reads = Arc::clone(&reads);
        let tier = number % 2;
        let consistency = [Consistency::Lease, Consistency::Linearizable][tier];
        threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let before = acknowledged.load(Ordering::Acquire);
                if let Some(seen) = read_length(&node, consistency) {
                    assert!(seen >= before, "a {consistency:?} read saw {seen} of {before} acknowledged entries");
                    reads[tier].fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    for cut in 0..cuts {
        let leader = cluster.nodes.values().find_map(|node| node.summary().leader).unwrap_or(1);
        let others = [leader % 3 + 1, (leader + 1) % 3 + 1];
        match cut % 3 {
            // It hears everybody, and nobody hears it.
            0 => others.iter().for_each(|&other| cluster.network.cut(leader, other)),
            // Everybody hears it, and it hears nobody.
            1 => others.iter().for_each(|&other| cluster.network.cut(other, leader)),
            // A ring of half connections.
            _ => {
                cluster.network.cut(leader, others[0]);
                cluster.network.cut(others[0], others[1]);
                cluster.network.cut(others[1], leader);
            }
        }
        let until = Instant::now() + SPAN;
        while Instant::now() < until && threads.iter().all(|thread| !thread.is_finished()) {
            thread::park_timeout(Duration::from_millis(20));
        }
        cluster.network.mend();
    }
    stop.store(true, Ordering::Release);
    for thread in threads {
        thread.join().expect("no stale read");
    }
    let counts = [reads[0].load(Ordering::Relaxed), reads[1].load(Ordering::Relaxed)];
    println!(
        "{cuts} cuts: {} lease and {} linearizable reads beside {} writes, 0 stale",
        counts[0],
        counts[1],
        acknowledged.load(Ordering::Acquire)
    );
    assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
    cluster.leader();
    cluster.close();
}
