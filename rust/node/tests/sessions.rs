//! The session table alone: each proposal of a session is applied once, whatever is repeated, late, acknowledged or expired
//! (class 38).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use bytes::Bytes;
use d_engine_node::driver::{Limits, Sessions, Verdict};
use d_engine_raft::{Entry, EntryKind, LogId, SplitMix64};

const LIMITS: Limits = Limits { ttl: 1_000, max_sessions: 3, max_bytes: 1_000 };

/// A table with a log of its own.
#[derive(Default)]
struct World {
    table: Sessions,
    index: u64,
    time: u64,
}

impl World {
    fn entry(&mut self, kind: EntryKind, session: u64, sequence: u64, ack_below: u64, payload: &[u8]) -> Entry {
        self.index += 1;
        Entry::new(LogId::new(self.index, 1), kind, self.time, session, sequence, ack_below, payload)
    }

    fn open_with(&mut self, limits: Limits) -> u64 {
        let entry = self.entry(EntryKind::Session, 0, 0, 0, &limits.encode());
        assert_eq!(self.table.judge(&entry), Verdict::Opened);
        assert!(self.table.settle(|_| panic!("an opening has no result")).is_empty());
        self.index
    }

    fn open(&mut self) -> u64 {
        self.open_with(LIMITS)
    }

    fn judge(&mut self, session: u64, sequence: u64, ack_below: u64) -> Verdict {
        let entry = self.entry(EntryKind::Command, session, sequence, ack_below, b"x");
        self.table.judge(&entry)
    }

    /// One entry in a batch of its own; its result is its index, in a hundred bytes: it counts for 164.
    fn run(&mut self, session: u64, sequence: u64, ack_below: u64) -> Got {
        let verdict = self.judge(session, sequence, ack_below);
        let answers = self.table.settle(|index| Some([&index.to_le_bytes()[..], &[0; 92]].concat().into()));
        match (verdict, answers.get(&self.index)) {
            (Verdict::Apply, None) => Got::Applied(self.index),
            (Verdict::Repeat, Some(Some(kept))) => Got::Again(u64::from_le_bytes(kept[..8].try_into().unwrap())),
            (Verdict::Repeat, Some(None)) => Got::Lost,
            (Verdict::Expired, None) => Got::Expired,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Got {
    Applied(u64),
    Again(u64),
    Lost,
    Expired,
}

#[test]
fn a_repetition_gets_the_first_result_and_is_not_applied() {
    let mut world = World::default();
    let session = world.open();
    assert_eq!(world.run(session, 1, 0), Got::Applied(2));
    assert_eq!(world.run(session, 1, 0), Got::Again(2));
    // Numbers come in any order.
    assert_eq!(world.run(session, 7, 0), Got::Applied(4));
    assert_eq!(world.run(session, 3, 0), Got::Applied(5));
    assert_eq!(world.run(session, 7, 0), Got::Again(4));
    assert_eq!(world.run(session, 1, 0), Got::Again(2));
    // Another session has numbers of its own.
    let other = world.open();
    assert_eq!(world.run(other, 1, 0), Got::Applied(world.index));
}

#[test]
fn what_is_acknowledged_is_forgotten_and_never_applied_again() {
    let mut world = World::default();
    let session = world.open();
    for sequence in 1..=4 {
        world.run(session, sequence, 0);
    }
    let full = world.table.result_bytes();
    assert_eq!(world.run(session, 5, 4), Got::Applied(6));
    assert_eq!(world.table.result_bytes(), full / 2);
    assert_eq!(world.run(session, 3, 0), Got::Lost);
    assert_eq!(world.run(session, 4, 0), Got::Again(5));
    // A number never acknowledges itself, nor does acknowledging go back.
    assert_eq!(world.run(session, 6, 100), Got::Applied(world.index));
    assert_eq!(world.run(session, 5, 1), Got::Lost);
    assert_eq!(world.run(session, 6, 100), Got::Again(world.index - 2));
}

#[test]
fn unknown_sessions_apply_nothing() {
    let mut world = World::default();
    assert_eq!(world.run(5, 1, 0), Got::Expired);
    let session = world.open();
    assert_eq!(world.run(session + 1, 1, 0), Got::Expired);
    // Limits of a later format open nothing.
    let entry = world.entry(EntryKind::Session, 0, 0, 0, b"\x09123");
    assert_eq!(world.table.judge(&entry), Verdict::Expired);
    assert_eq!(world.table.len(), 1);
}

#[test]
fn a_session_expires_by_the_times_of_entries() {
    let mut world = World::default();
    let (first, second) = (world.open(), world.open());
    world.time = 1_000;
    assert_eq!(world.run(first, 1, 0), Got::Applied(3));
    world.time = 1_001;
    assert_eq!(world.run(second, 1, 0), Got::Expired, "unused for more than its time");
    world.time = 2_000;
    assert_eq!(world.run(first, 1, 0), Got::Again(3));
    world.time = 3_001;
    assert_eq!(world.run(first, 2, 0), Got::Expired);
    assert!(world.table.is_empty());
    assert_eq!(world.table.result_bytes(), 0);
}

#[test]
fn the_least_recently_used_session_makes_room() {
    let mut world = World::default();
    let (first, second, third) = (world.open(), world.open(), world.open());
    world.run(first, 1, 0);
    let fourth = world.open();
    assert_eq!(world.run(second, 1, 0), Got::Expired);
    for session in [first, third, fourth] {
        assert!(matches!(world.run(session, 2, 0), Got::Applied(_)));
    }
    // The newest opening's limits hold for all.
    let last = world.open_with(Limits { max_sessions: 1, ..LIMITS });
    assert_eq!(world.run(fourth, 3, 0), Got::Expired);
    assert!(matches!(world.run(last, 1, 0), Got::Applied(_)));
}

#[test]
fn the_oldest_results_are_lost_first() {
    let mut world = World::default();
    let session = world.open();
    // Six of them fit.
    for sequence in 1..=8 {
        world.run(session, sequence, 0);
    }
    assert_eq!(world.run(session, 2, 0), Got::Lost);
    assert_eq!(world.run(session, 3, 0), Got::Again(4));
    assert!(world.table.result_bytes() <= LIMITS.max_bytes);
    // What cannot be kept at all is lost at once, and pushes nothing out.
    world.judge(session, 16, 0);
    world.table.settle(|_| Some(Bytes::from(vec![0; 2_000])));
    assert_eq!(world.run(session, 16, 0), Got::Lost);
    assert_eq!(world.run(session, 3, 0), Got::Again(4));
}

#[test]
fn whoever_acknowledges_nothing_loses_the_session() {
    let mut world = World::default();
    let (patient, greedy) = (world.open(), world.open());
    world.run(patient, 1, 0);
    let gone = (1..100).find(|&sequence| world.run(greedy, sequence, 0) == Got::Expired);
    assert_eq!(gone, Some(15), "sixteen numbers together are more than 1,000 bytes");
    assert_eq!(world.run(greedy, 1, 0), Got::Expired);
    assert_eq!(world.run(patient, 1, 0), Got::Lost, "its result made room, but it is not applied again");
}

#[test]
fn a_table_survives_its_encoding() {
    let mut world = World::default();
    assert!(world.table.encode().is_empty());
    let (a, b) = (world.open(), world.open());
    for sequence in [4, 1, 9] {
        world.run(a, sequence, 0);
    }
    world.judge(b, 1, 0);
    world.table.settle(|_| None);
    let bytes = world.table.encode();
    world.table = Sessions::decode(&bytes).unwrap();
    assert_eq!(world.table.encode(), bytes);
    assert_eq!(world.run(a, 9, 0), Got::Again(5));
    assert_eq!(world.run(b, 1, 0), Got::Lost);
    assert_eq!(world.run(b, 2, 0), Got::Applied(9));
    // With little room the newest results are written.
    let tight = Sessions::decode(&world.table.encode_within(200)).unwrap();
    assert_eq!(tight.result_bytes(), 164);
    assert_eq!(tight.len(), 2);
    for end in 1..bytes.len() {
        assert!(Sessions::decode(&bytes[..end]).is_err(), "cut off at {end}");
    }
    assert!(Sessions::decode(&[&bytes[..], b"x"].concat()).is_err());
    assert!(Sessions::decode(b"\x02").is_err());
}

fn below(random: &mut SplitMix64, bound: u64) -> u64 {
    random.between(0, bound - 1)
}

/// Random sessions, repetitions, acknowledgements and expiries, cut into batches in two ways: both tables are the same at every
/// common end, nothing is applied twice within a session's life, and the bounds hold.
#[test]
fn batches_make_no_difference() {
    for seed in 0..200 {
        let mut random = SplitMix64::new(seed);
        let mut world = World::default();
        let mut batched = Sessions::default();
        let mut ids = vec![1];
        let mut applied = std::collections::BTreeSet::new();
        let mut judged = Vec::new();
        for _ in 0..300 {
            world.time += below(&mut random, 120);
            let entry = if below(&mut random, 12) == 0 {
                let limits = Limits { max_bytes: 300 + below(&mut random, 1_500), ..LIMITS };
                let entry = world.entry(EntryKind::Session, 0, 0, 0, &limits.encode());
                ids.push(world.index);
                entry
            } else {
                let recent = ids.len() - usize::try_from(below(&mut random, 4)).unwrap().min(ids.len() - 1) - 1;
                let (sequence, ack_below) = (below(&mut random, 30), below(&mut random, 20));
                world.entry(EntryKind::Command, ids[recent], sequence, ack_below, b"x")
            };
            let result = |index: u64| {
                (!index.is_multiple_of(5)).then(|| Bytes::from(vec![0; usize::try_from(index * 37 % 200).unwrap()]))
            };
            let verdict = world.table.judge(&entry);
            let answers = world.table.settle(result);
            if verdict == Verdict::Apply {
                assert!(applied.insert((entry.session(), entry.sequence())), "seed {seed}: applied twice");
            }
            judged.push((batched.judge(&entry), verdict));
            if below(&mut random, 6) == 0 {
                let together = batched.settle(result);
                assert!(judged.drain(..).all(|(one, other)| one == other), "seed {seed}");
                assert!(answers.iter().all(|(index, kept)| together[index] == *kept), "seed {seed}");
                assert_eq!(world.table.encode(), batched.encode(), "seed {seed}");
                let copy = Sessions::decode(&batched.encode()).unwrap();
                assert_eq!(copy.encode(), batched.encode(), "seed {seed}");
                if below(&mut random, 3) == 0 {
                    batched = copy;
                }
            }
            assert!(world.table.len() as u64 <= LIMITS.max_sessions, "seed {seed}");
        }
    }
}
