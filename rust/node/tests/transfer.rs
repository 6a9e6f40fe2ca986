//! Snapshots from node to node without a thread, over lanes that lose and repeat frames and disks that lose power.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use common::Tape;
use d_engine_node::apply::AppliedState;
use d_engine_node::storage::DirectorySnapshots;
use d_engine_node::transfer::{TransferAction, TransferInput, Transfers};
use d_engine_node::{Hello, PROTOCOL_VERSION, SnapshotFrame, SnapshotHead, SnapshotStore, StateMachine};
use d_engine_raft::{Configuration, Draft, Entry, Incarnation, LogId, Micros, NodeId, SplitMix64};
use d_engine_wal::Files;
use d_engine_wal::mem::MemFiles;

fn hello(node: NodeId, cluster_id: u128) -> Hello {
    Hello {
        node,
        incarnation: Incarnation(u128::from(node)),
        cluster: "transfer".into(),
        cluster_id,
        group: 0,
        recovery_epoch: 0,
        version: PROTOCOL_VERSION,
        initial: Configuration { members: Vec::new(), outgoing: Vec::new(), min_election_timeout: 1 },
    }
}

fn store(disk: &MemFiles) -> Arc<DirectorySnapshots<MemFiles>> {
    Arc::new(DirectorySnapshots::over(disk.directory("snapshots"), "snapshots"))
}

/// Makes a snapshot of so many entries of 1000 bytes.
fn make(disk: &MemFiles, hello: &Hello, entries: u64) -> SnapshotHead {
    let mut machine = Tape::default();
    let mut state = AppliedState::new((0, hello.initial.clone()));
    let mut all: Vec<Entry> = Vec::new();
    for index in 1..=entries {
        Draft::command(&[u8::try_from(index % 251).unwrap(); 1000]).stamp(index, 3, index, &mut all);
    }
    state.apply(&mut machine, &all, Vec::new(), StateMachine::apply);
    let store = store(disk);
    state.snapshot(&mut machine, store.as_ref(), hello).unwrap().unwrap().finish(store.as_ref()).unwrap()
}

fn whole(disk: &MemFiles) -> Bytes {
    let store = store(disk);
    let meta = store.latest().unwrap().unwrap();
    store.open(&meta).unwrap().read(0, usize::try_from(meta.size).unwrap() + 1).unwrap()
}

/// A leader (1) and a follower (2).
struct Pair {
    now: Micros,
    disks: [MemFiles; 2],
    nodes: [Transfers; 2],
    lanes: [VecDeque<SnapshotFrame>; 2],
    random: SplitMix64,
    /// Of 16 frames so many are lost, and as many come twice.
    bad: u64,
    sent_bytes: u64,
    #[expect(clippy::option_option, reason = "none ended yet, one ended without being taken, one was taken")]
    delivered: Option<Option<u64>>,
    received: Vec<LogId>,
}

impl Pair {
    fn new(seed: u64, bad: u64, pace: u64, follower: u128) -> Self {
        let disks = [MemFiles::new(seed), MemFiles::new(seed + 1)];
        let node = |at: usize, cluster| Transfers::new(1, hello(at as u64 + 1, cluster), store(&disks[at]), pace, 7);
        Self {
            now: 1,
            nodes: [node(0, 5), node(1, follower)],
            disks: disks.clone(),
            lanes: [VecDeque::new(), VecDeque::new()],
            random: SplitMix64::new(seed),
            bad,
            sent_bytes: 0,
            delivered: None,
            received: Vec::new(),
        }
    }

    fn handle(&mut self, at: usize, input: Option<TransferInput>) {
        let mut actions = Vec::new();
        self.nodes[at].handle(self.now, input, &mut actions);
        for action in actions {
            match action {
                TransferAction::Send(to, frame) => {
                    assert_eq!(to, 2 - at as u64);
                    if let SnapshotFrame::Chunk { data, .. } = &frame {
                        self.sent_bytes += data.len() as u64;
                    }
                    let draw = self.random.next() % 16;
                    if draw < self.bad {
                        continue;
                    }
                    if draw >= 16 - self.bad {
                        self.lanes[1 - at].push_back(frame.clone());
                    }
                    self.lanes[1 - at].push_back(frame);
                }
                TransferAction::Sent { to: 2, delivered } => self.delivered = Some(delivered),
                TransferAction::Received { from: 1, last, .. } => self.received.push(last),
                TransferAction::Log { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Delivers a frame, or lets time pass until something is due.
    fn step(&mut self) {
        for at in [1, 0] {
            if let Some(frame) = self.lanes[at].pop_front() {
                self.now += 1_000;
                self.handle(at, Some(TransferInput::Frame(2 - at as u64, frame)));
                return;
            }
        }
        let due = self.nodes.iter().filter_map(Transfers::deadline).min().unwrap_or(self.now);
        self.now = self.now.max(due);
        for at in [0, 1] {
            self.handle(at, None);
        }
    }

    fn begin(&mut self, at_least: u64, term: u64) {
        self.delivered = None;
        self.handle(0, Some(TransferInput::Send { to: 2, at_least, term }));
    }

    fn run(&mut self) -> Option<u64> {
        for _ in 0..20_000 {
            if let Some(delivered) = self.delivered {
                return delivered;
            }
            self.step();
        }
        panic!("it never ends");
    }
}

#[test]
fn it_arrives_over_a_bad_lane_and_is_committed_once_it_is_whole() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed, seed % 5, 0, 5);
        let head = make(&pair.disks[0], &hello(1, 5), 1_500);
        let mut delivered = None;
        // A lane that loses much lets the leader give up; it tries again as the core would have it.
        for term in 3..10 {
            pair.begin(1_500, term);
            delivered = pair.run();
            if delivered.is_some() {
                break;
            }
        }
        assert_eq!(delivered, Some(1_500), "seed {seed}");
        assert_eq!(pair.received.first(), Some(&head.last));
        assert_eq!(whole(&pair.disks[1]), whole(&pair.disks[0]));
        assert!(seed % 5 > 0 || pair.sent_bytes == head.size, "nothing is sent twice over a good lane");
        // What was reported is durable.
        pair.disks[1].power_cut(seed);
        assert_eq!(whole(&pair.disks[1]), whole(&pair.disks[0]));
    }
}

/// The follower's process ends in the middle: what is there is not sent again.
#[test]
fn it_goes_on_where_it_stopped() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, 0, 1 << 20, 5);
        let head = make(&pair.disks[0], &hello(1, 5), 1_500);
        pair.begin(1_500, 3);
        while pair.sent_bytes < 500_000 {
            pair.step();
        }
        pair.lanes[1].clear();
        pair.nodes[1] = Transfers::new(pair.now, hello(2, 5), store(&pair.disks[1]), 0, 9);
        assert_eq!(pair.run(), Some(1_500), "seed {seed}");
        assert_eq!(whole(&pair.disks[1]), whole(&pair.disks[0]), "seed {seed}");
        // But for what was under way.
        assert!(pair.sent_bytes <= head.size + (1 << 20), "{} of {}", pair.sent_bytes, head.size);
    }
}

/// Pages of the partial file that a power cut lost are not taken for what was received.
#[test]
fn what_a_power_cut_left_of_it_is_not_trusted() {
    let mut begun_again = 0;
    for seed in 0..30 {
        let mut pair = Pair::new(seed, 0, 1 << 20, 5);
        make(&pair.disks[0], &hello(1, 5), 1_500);
        pair.begin(1_500, 3);
        while pair.sent_bytes < 900_000 {
            pair.step();
        }
        pair.disks[1].directory("snapshots").sync_directory().unwrap();
        pair.disks[1].power_cut(seed);
        pair.lanes[1].clear();
        pair.nodes[1] = Transfers::new(pair.now, hello(2, 5), store(&pair.disks[1]), 0, 9);
        // Refused in the end, if what was lost cannot be told from what came: then it begins anew.
        for term in 4..8 {
            if pair.run() == Some(1_500) {
                break;
            }
            begun_again += 1;
            pair.begin(1_500, term);
        }
        assert_eq!(whole(&pair.disks[1]), whole(&pair.disks[0]), "seed {seed}");
    }
    assert!(begun_again > 0);
}

#[test]
fn the_newest_is_sent_and_a_running_one_is_not_replaced() {
    let mut pair = Pair::new(1, 0, 0, 5);
    make(&pair.disks[0], &hello(1, 5), 400);
    pair.begin(400, 3);
    pair.step();
    make(&pair.disks[0], &hello(1, 5), 600);
    pair.handle(0, Some(TransferInput::Tidy));
    pair.handle(0, Some(TransferInput::Send { to: 2, at_least: 500, term: 3 }));
    assert_eq!(pair.run(), Some(400));
    pair.begin(500, 3);
    assert_eq!(pair.run(), Some(600));
    assert_eq!(pair.received, [LogId::new(400, 3), LogId::new(600, 3)]);
    // Offered once more, it is here already.
    pair.sent_bytes = 0;
    pair.begin(500, 4);
    assert_eq!((pair.run(), pair.sent_bytes), (Some(600), 0));
    // There is none that covers more.
    pair.begin(601, 4);
    assert_eq!(pair.run(), None);
}

#[test]
fn another_clusters_snapshot_is_not_taken() {
    let mut pair = Pair::new(1, 0, 0, 6);
    make(&pair.disks[0], &hello(1, 5), 100);
    pair.begin(100, 3);
    assert_eq!(pair.run(), None);
    assert_eq!((store(&pair.disks[1]).latest().unwrap(), pair.received.len()), (None, 0));
}

#[test]
fn a_rotten_one_is_not_taken_and_a_stale_leader_not_listened_to() {
    let mut refused = 0;
    for seed in 0..20 {
        let mut pair = Pair::new(seed, 0, 0, 5);
        make(&pair.disks[0], &hello(1, 5), 300);
        let rotten = pair.disks[0].directory("snapshots").rot(seed).unwrap();
        pair.begin(300, 3);
        if pair.run().is_none() {
            refused += 1;
            assert!(store(&pair.disks[1]).latest().unwrap().is_none(), "seed {seed}: {rotten:?}");
        }
    }
    assert_eq!(refused, 20);

    let mut pair = Pair::new(1, 0, 1 << 20, 5);
    let head = make(&pair.disks[0], &hello(1, 5), 1_000);
    pair.begin(1_000, 3);
    while pair.sent_bytes < 300_000 {
        pair.step();
    }
    let older = d_engine_node::SnapshotMeta { last: LogId::new(999, 2), ..head.meta() };
    pair.handle(1, Some(TransferInput::Frame(1, SnapshotFrame::Offer { transfer: 1, term: 2, meta: older })));
    assert_eq!(pair.run(), Some(1_000));
}
