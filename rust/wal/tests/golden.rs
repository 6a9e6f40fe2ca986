//! The formats on disk, byte for byte: what a release has written, every later one reads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{CLUSTER, append, entries, read_all, same, store, vote};
use d_engine_raft::{Configuration, Draft, EntryKind, HardState, Incarnation, LogId, Member, MemberRole, Persist};
use d_engine_wal::mem::MemFiles;
use d_engine_wal::{Directory, Identity, Options, Recovered, Wal};

const SEGMENT: &str = "log-0000000000000001";
const BATCHES: u64 = 8;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wal/v1").join(name)
}

fn configuration() -> Configuration {
    let member = |id, role, client: Option<&str>, incarnation| Member {
        id,
        address: format!("10.0.0.{id}:7000"),
        client_address: client.map(str::to_owned),
        role,
        priority: 5 - 2 * i32::try_from(id).unwrap(),
        auto_promote: role == MemberRole::Learner,
        incarnation,
        leaving: false,
    };
    Configuration {
        members: vec![
            member(1, MemberRole::Voter, Some("node1.example:80"), Some(Incarnation(0xabcd << 100))),
            member(2, MemberRole::Voter, None, None),
            member(3, MemberRole::Witness, None, None),
            member(4, MemberRole::Learner, None, Some(Incarnation(4))),
        ],
        outgoing: vec![1, 2],
        min_election_timeout: 250_000,
    }
}

fn identity() -> Identity {
    Identity {
        node: 2,
        cluster: "Aufträge".to_owned(),
        cluster_id: CLUSTER,
        group: 3,
        recovery_epoch: 1,
        incarnation: Incarnation(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        initial: Some(configuration()),
    }
}

fn options() -> Options {
    Options { segment_bytes: 64 << 10, cluster_id: CLUSTER, group: 3, salt: 0x5a17_5a17, background: false }
}

/// One batch of every sort.
fn write(files: &MemFiles) {
    let (wal, _) = Wal::open(files.clone(), options()).unwrap();
    let mut draft = Draft::default();
    draft.push(EntryKind::Noop, b"");
    draft.push(EntryKind::Configuration, &configuration().encode());
    draft.push_in_session(EntryKind::Command, b"hello", 7, 8, 9);
    let mut first = Vec::new();
    draft.stamp(1, 1, 1_700_000_000_000_000, &mut first);
    store(&wal, &[Persist { entries: first.into(), ..vote(1, Some(2)) }]);
    store(&wal, &[append(entries(4, 6, 1, 100))]);
    store(&wal, &[Persist { truncate_from: Some(6), entries: entries(6, 7, 2, 10).into(), ..vote(2, None) }]);
    wal.purge(LogId::new(1, 1)).unwrap();
    assert!(wal.idle().unwrap());
    store(&wal, &[vote(4, Some(3))]);
    store(&wal, &[Persist { reset_to: Some(LogId::new(20, 4)), ..Persist::default() }]);
    store(&wal, &[append(entries(21, 22, 5, 64))]);
}

fn used(files: &MemFiles) -> Vec<u8> {
    let mut bytes = files.contents(SEGMENT).unwrap();
    bytes.truncate(usize::try_from(BATCHES * 4096).unwrap());
    bytes
}

#[test]
fn version_1_of_the_log_is_read() {
    let bytes = fs::read(golden(SEGMENT)).unwrap();
    let files = MemFiles::new(1);
    files.put(SEGMENT, &bytes);
    let (wal, found) = Wal::open(files, options()).unwrap();
    let expected = Recovered {
        hard_state: HardState { term: 4, vote: Some(3) },
        purged: LogId::new(20, 4),
        last: LogId::new(22, 5),
        term_runs: vec![(21, 5)],
        last_time: 1_700_000_000_000_022,
        ..Recovered::default()
    };
    assert_eq!(found, expected);
    same(&read_all(&wal), &entries(21, 22, 5, 64));
}

#[test]
fn version_1_of_the_log_is_read_up_to_where_it_is_cut() {
    let bytes = fs::read(golden(SEGMENT)).unwrap();
    let files = MemFiles::new(1);
    files.put(SEGMENT, &bytes[..4 * 4096]);
    let (wal, found) = Wal::open(files, options()).unwrap();
    assert_eq!(found.hard_state, HardState { term: 2, vote: None });
    assert_eq!((found.purged, found.last), (LogId::ZERO, LogId::new(7, 2)));
    assert_eq!(found.term_runs, [(1, 1), (6, 2)]);
    assert_eq!(found.configurations, [(2, configuration())]);
    let all = read_all(&wal);
    assert_eq!((all[2].payload().as_ref(), all[2].session(), all[2].sequence()), (&b"hello"[..], 7, 8));
}

#[test]
fn the_log_is_written_as_version_1() {
    let files = MemFiles::new(1);
    write(&files);
    // To make the file of a new version: D_ENGINE_WRITE_GOLDEN=1. Those of released versions are never changed.
    if std::env::var_os("D_ENGINE_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(golden("")).unwrap();
        fs::write(golden(SEGMENT), used(&files)).unwrap();
    }
    assert!(used(&files) == fs::read(golden(SEGMENT)).unwrap(), "the log's format has changed");
}

#[test]
fn version_1_of_the_identity_is_read_and_written() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    directory.open_identity(identity()).unwrap();
    let written = fs::read(home.path().join("identity")).unwrap();
    if std::env::var_os("D_ENGINE_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(golden("")).unwrap();
        fs::write(golden("identity"), &written).unwrap();
    }
    assert!(written == fs::read(golden("identity")).unwrap(), "the identity's format has changed");
    fs::copy(golden("identity"), home.path().join("identity")).unwrap();
    assert_eq!(directory.identity().unwrap(), Some(identity()));
}
