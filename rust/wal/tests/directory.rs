//! The data directory: one owner, one identity, and tools that look into it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{CLUSTER, append, entries};
use d_engine_raft::{Configuration, Incarnation, Member, MemberRole, Persist};
use d_engine_wal::{DEFAULT_SEGMENT_BYTES, Directory, DiskFiles, Identity, Options, Wal, WalError, inspect, verify};

fn identity(incarnation: u128) -> Identity {
    Identity {
        node: 2,
        cluster: "orders".to_owned(),
        cluster_id: CLUSTER,
        group: 0,
        recovery_epoch: 0,
        incarnation: Incarnation(incarnation),
        initial: Some(Configuration {
            members: vec![Member {
                id: 2,
                address: "127.0.0.1:7002".to_owned(),
                client_address: None,
                role: MemberRole::Voter,
                priority: 0,
                auto_promote: false,
                incarnation: None,
                leaving: false,
            }],
            outgoing: Vec::new(),
            min_election_timeout: 250_000,
        }),
    }
}

fn options() -> Options {
    Options { segment_bytes: 256 << 10, cluster_id: CLUSTER, ..Options::default() }
}

fn store(wal: &Wal<DiskFiles>, units: &[Persist]) {
    wal.sync(wal.write(units).unwrap()).unwrap();
}

#[test]
fn a_directory_has_one_owner_and_says_which() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a/b");
    let first = Directory::open(&path).unwrap();
    match Directory::open(&path) {
        Err(error @ WalError::DirectoryLocked { holder, .. }) => {
            assert_eq!(holder, Some(std::process::id()));
            assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let report = inspect(&path).unwrap();
    assert_eq!((report.locked, report.holder), (true, Some(std::process::id())));
    drop(first);
    assert!(!inspect(&path).unwrap().locked);
    Directory::open(&path).unwrap();
}

#[test]
fn the_first_identity_stays() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    assert_eq!(directory.identity().unwrap(), None);
    assert_eq!(directory.open_identity(identity(1)).unwrap(), identity(1));
    drop(directory);
    let directory = Directory::open(home.path()).unwrap();
    assert_eq!(directory.open_identity(identity(9)).unwrap(), identity(1));
    let recovered = Identity { recovery_epoch: 1, initial: None, ..identity(1) };
    directory.store_identity(&recovered).unwrap();
    assert_eq!(directory.identity().unwrap(), Some(recovered));
}

#[test]
fn every_flip_and_every_cut_of_an_identity_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    directory.open_identity(identity(0x1234)).unwrap();
    let path = home.path().join("identity");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        assert!(matches!(directory.open_identity(identity(7)), Err(WalError::CorruptIdentity { .. })), "byte {at}");
        fs::write(&path, &good[..at]).unwrap();
        assert!(matches!(directory.identity(), Err(WalError::CorruptIdentity { .. })), "{at} bytes");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(directory.identity().unwrap(), Some(identity(0x1234)));
}

#[test]
fn a_log_without_an_identity_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    directory.open_identity(identity(1)).unwrap();
    directory.open_log(options()).unwrap();
    fs::remove_file(home.path().join("identity")).unwrap();
    assert!(matches!(directory.open_identity(identity(2)), Err(WalError::IdentityMissing { .. })));
    assert!(matches!(verify(home.path()), Err(WalError::IdentityMissing { .. })));
}

#[test]
fn a_half_written_identity_does_not_count() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    fs::write(home.path().join("identity.new"), b"d-eng").unwrap();
    assert_eq!(directory.open_identity(identity(3)).unwrap(), identity(3));
}

#[test]
fn a_log_on_a_real_disk_is_inspected_while_it_is_written_and_afterwards() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    directory.open_identity(identity(1)).unwrap();
    let (wal, _) = directory.open_log(options()).unwrap();
    store(&wal, &[append(entries(1, 300, 1, 2000))]);
    store(
        &wal,
        &[Persist { truncate_from: Some(290), entries: entries(290, 299, 2, 10).into(), ..common::vote(2, Some(2)) }],
    );
    let report = verify(home.path()).unwrap();
    assert!(report.locked);
    assert_eq!(report.identity.unwrap(), Some(identity(1)));
    let log = report.log;
    assert_eq!((log.cluster, log.last.index, log.hard_state.vote), (Some((CLUSTER, 0)), 299, Some(2)));
    assert_eq!(log.term_runs, [(1, 1), (290, 2)]);
    assert_eq!(log.segments.iter().map(|segment| segment.entries).sum::<u64>(), 310);
    assert_eq!(log.segments.iter().flat_map(|segment| &segment.truncations).count(), 1);
    assert_eq!((log.torn_tail, log.damage), (None, None));
    wal.close().unwrap();
    drop(wal);

    let name = &log.segments[0].name;
    let first = home.path().join("log").join(name);
    let mut bytes = fs::read(&first).unwrap();
    bytes[9000] ^= 1;
    fs::write(&first, &bytes).unwrap();
    let damage = inspect(home.path()).unwrap().log.damage.unwrap();
    assert_eq!((&damage.segment, damage.offset, damage.index), (name, 0, 1));
    assert!(matches!(verify(home.path()), Err(WalError::CorruptLog { offset: 0, .. })));
    assert!(matches!(directory.open_log(options()), Err(WalError::CorruptLog { .. })));
    assert_eq!(fs::read(&first).unwrap(), bytes, "a refused log is left as it is");
}

#[test]
fn what_is_no_directory_is_named() {
    let error = inspect(Path::new("/nonexistent/of/course")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/of/course"), "{error}");
}

#[test]
fn a_new_log_takes_little_space_and_grows_to_full_segments() {
    let home = tempfile::tempdir().unwrap();
    let directory = Directory::open(home.path()).unwrap();
    let options = Options { segment_bytes: DEFAULT_SEGMENT_BYTES, cluster_id: CLUSTER, ..Options::default() };
    let (wal, _) = directory.open_log(options).unwrap();
    let used: u64 =
        fs::read_dir(home.path().join("log")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(used, 4 << 20);
    wal.close().unwrap();
}
