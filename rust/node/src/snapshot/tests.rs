//! Files of snapshots: what was written comes back, and nothing else is taken for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::io::{Read, Write};

use d_engine_raft::{Configuration, LogId, Member, MemberRole};

use super::{Decoder, Encoder, SECTION_SESSIONS, SECTION_USER, SnapshotHead, Verifier};
use crate::storage::DirectorySnapshots;
use crate::traits::{SnapshotMeta, SnapshotStore};

fn head() -> SnapshotHead {
    let member = Member {
        id: 1,
        address: "node-1:9081".into(),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    };
    SnapshotHead {
        cluster_id: 7,
        group: 0,
        last: LogId::new(42, 3),
        time: 1_700_000_000_000_000,
        size: 0,
        digest: [0; 32],
        configuration: (
            5,
            Configuration { members: vec![member], outgoing: Vec::new(), min_election_timeout: 250_000 },
        ),
    }
}

fn make(store: &DirectorySnapshots, user: &[u8]) -> SnapshotHead {
    let mut encoder = Encoder::begin(store, head()).unwrap();
    encoder.section(SECTION_SESSIONS).unwrap();
    encoder.end_section().unwrap();
    encoder.section(SECTION_USER).unwrap();
    encoder.write_all(user).unwrap();
    encoder.end_section().unwrap();
    encoder.finish().unwrap().commit().unwrap()
}

fn bytes(store: &DirectorySnapshots, meta: &SnapshotMeta) -> Vec<u8> {
    let size = usize::try_from(meta.size).unwrap();
    store.open(meta).unwrap().read(0, size + 1).unwrap().to_vec()
}

#[test]
fn what_was_written_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectorySnapshots::open(directory.path()).unwrap();
    for length in [0, 1, 300_000] {
        let user: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
        let made = make(&store, &user);
        let meta = store.latest().unwrap().unwrap();
        assert_eq!(meta, made.meta());
        assert_eq!(bytes(&store, &meta).len() as u64, meta.size);
        let (found, mut decoder) = Decoder::open(store.open(&meta).unwrap()).unwrap();
        assert_eq!(found, made);
        assert_eq!(decoder.next_section().unwrap().as_deref(), Some(SECTION_SESSIONS));
        assert_eq!(decoder.next_section().unwrap().as_deref(), Some(SECTION_USER));
        let mut back = Vec::new();
        decoder.read_to_end(&mut back).unwrap();
        assert_eq!(back, user);
        assert_eq!(decoder.next_section().unwrap(), None);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectorySnapshots::open(directory.path()).unwrap();
    let meta = make(&store, b"some state of some machine").meta();
    let whole = bytes(&store, &meta);
    let check = |bytes: &[u8], step: usize| {
        let mut verifier = Verifier::new(meta);
        bytes.chunks(step).try_for_each(|piece| verifier.push(piece)).and_then(|()| verifier.finish())
    };
    for step in [1, 7, 64, whole.len()] {
        assert!(check(&whole, step).is_ok(), "in pieces of {step}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(check(&flipped, 64).is_err(), "byte {at}");
        assert!(check(&whole[..at], 64).is_err(), "cut at {at}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(check(&longer, 64).is_err());
    // A sound file, but not the one that was offered.
    let other = SnapshotMeta { last: LogId::new(43, 3), ..meta };
    assert!(Verifier::new(other).push(&whole).is_err());
}

#[test]
fn a_partial_one_is_found_again_by_its_identity() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectorySnapshots::open(directory.path()).unwrap();
    let meta = SnapshotMeta { last: LogId::new(9, 2), digest: Some([0xab; 32]), size: 100 };
    let mut writer = store.create(&meta).unwrap();
    writer.write(0, b"beginning").unwrap();
    drop(writer);
    let again = DirectorySnapshots::open(directory.path()).unwrap();
    assert_eq!(again.partial().unwrap(), Some((meta, 9)));
    assert_eq!(again.latest().unwrap(), None);
    let mut writer = again.create(&meta).unwrap();
    assert_eq!(writer.read_back(0, 50).unwrap().unwrap(), &b"beginning"[..]);
    writer.abort().unwrap();
    assert_eq!(again.partial().unwrap(), None);
    // Another one takes its place.
    drop(again.create(&meta).unwrap());
    let newer = SnapshotMeta { last: LogId::new(10, 2), ..meta };
    drop(again.create(&newer).unwrap());
    assert_eq!(again.partial().unwrap(), Some((newer, 0)));
}
