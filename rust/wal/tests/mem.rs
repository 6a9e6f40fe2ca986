//! The disk for tests does what it says: what was not synced may go, what was synced stays, and accidents happen when they were
//! arranged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::io::IoSlice;

use common::{Random, append, entries, full, open, options, read_all, same, store, vote};
use d_engine_raft::HardState;
use d_engine_wal::mem::{MemFile, MemFiles};
use d_engine_wal::{File, Files, Wal, WalError, inspect_files, read_full, write_full};

fn write(file: &MemFile, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    write_full(file, &mut [IoSlice::new(bytes)], offset)
}

/// A durable file of eight sectors, each full of its number (from 1 on).
fn numbered() -> (MemFiles, MemFile) {
    let files = MemFiles::new(1);
    let sectors: Vec<u8> = (1..=8u8).flat_map(|number| [number; 512]).collect();
    files.put("file", &sectors);
    let file = files.open("file").unwrap();
    (files, file)
}

fn sectors(files: &MemFiles) -> Vec<u8> {
    files.contents("file").unwrap().chunks(512).map(|sector| sector[0]).collect()
}

#[test]
fn a_lost_write_is_shown_and_never_reaches_the_platter() {
    let (files, file) = numbered();
    files.lose_write(1);
    write(&file, 0, &[11; 512]).unwrap();
    write(&file, 512, &[12; 512]).unwrap();
    write(&file, 1024, &[13; 512]).unwrap();
    file.sync().unwrap();
    assert_eq!(sectors(&files), [11, 12, 13, 4, 5, 6, 7, 8]);
    assert_eq!(sectors(&files.platter()), [11, 2, 13, 4, 5, 6, 7, 8]);
    files.power_cut(3);
    assert_eq!(sectors(&files), [11, 2, 13, 4, 5, 6, 7, 8]);
}

#[test]
fn a_misdirected_write_stands_over_something_else() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let (files, _) = numbered();
        files.power_cut(seed);
        let file = files.open("file").unwrap();
        files.misdirect_write(0);
        write(&file, 512, &[12; 512]).unwrap();
        file.sync().unwrap();
        assert_eq!(sectors(&files), [1, 12, 3, 4, 5, 6, 7, 8]);
        let left = sectors(&files.platter());
        let place = left.iter().position(|&number| number == 12).unwrap();
        assert_ne!(place, 1);
        let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8];
        expected[place] = 12;
        assert_eq!(left, expected);
        seen.insert(place);
    }
    assert_eq!(seen.len(), 7, "everywhere but where it belongs");
}

#[test]
fn an_image_is_what_the_power_cut_of_that_seed_leaves_and_changes_nothing() {
    for seed in 0..60 {
        let (files, file) = numbered();
        write(&file, 0, &[21; 1024]).unwrap();
        write(&file, 512, &[22; 2048]).unwrap();
        files.create("new").unwrap();
        files.rename("file", "renamed").unwrap();
        let image = files.crash_image(seed);
        assert_eq!(files.crash_image(seed).list().unwrap(), image.list().unwrap());
        assert_eq!(files.list().unwrap(), ["new", "renamed"], "the disk itself goes on");
        assert_eq!(files.contents("renamed").unwrap()[512], 22);
        files.power_cut(seed);
        assert_eq!(files.list().unwrap(), image.list().unwrap());
        for name in image.list().unwrap() {
            assert_eq!(files.contents(&name), image.contents(&name), "seed {seed}, {name}");
        }
    }
}

#[test]
fn an_image_shares_nothing_that_is_written_afterwards() {
    let (files, file) = numbered();
    let (image, platter) = (files.crash_image(1), files.platter());
    write(&file, 0, &[31; 512]).unwrap();
    file.sync().unwrap();
    let other = image.open("file").unwrap();
    write(&other, 512, &[32; 512]).unwrap();
    other.sync().unwrap();
    assert_eq!(sectors(&files)[..2], [31, 2]);
    assert_eq!(sectors(&image)[..2], [1, 32]);
    assert_eq!(sectors(&platter)[..2], [1, 2]);
}

#[test]
fn a_torn_sector_has_the_beginning_of_one_version_and_the_end_of_another() {
    let mut torn = 0;
    for seed in 0..300 {
        let (files, file) = numbered();
        files.tear_sectors(seed % 2 == 0);
        write(&file, 0, &[41; 4096]).unwrap();
        files.power_cut(seed);
        for (number, sector) in (1..).zip(files.contents("file").unwrap().chunks(512)) {
            let new = sector.iter().take_while(|&&byte| byte == 41).count();
            assert!(sector[new..].iter().all(|&byte| byte == number), "seed {seed}");
            assert!(seed % 2 == 0 || new == 0 || new == 512, "seed {seed}: nobody asked for it");
            torn += usize::from(new > 0 && new < 512);
        }
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_read_fails_once() {
    let (files, file) = numbered();
    files.fail_read(1);
    let mut buffer = [0; 10];
    assert!(read_full(&file, &mut buffer, 0).is_ok());
    assert!(read_full(&file, &mut buffer, 0).is_err());
    assert!(read_full(&file, &mut buffer, 0).is_ok());
    files.fail_read(0);
    files.calm();
    assert!(read_full(&file, &mut buffer, 0).is_ok());
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    for seed in 0..40 {
        let (files, file) = numbered();
        write(&file, 700, &[51; 2000]).unwrap();
        file.set_len(1000).unwrap();
        file.set_len(4096).unwrap();
        let shown = files.contents("file").unwrap();
        assert_eq!((shown[999], shown[1000], shown[4095]), (51, 0, 0));
        file.sync().unwrap();
        files.power_cut(seed);
        assert_eq!(files.contents("file").unwrap(), shown);
    }
}

#[test]
fn a_directory_of_its_own_has_names_of_its_own() {
    let files = MemFiles::new(1);
    let (log, snapshots) = (files.directory("log"), files.directory("snapshots"));
    for place in [&files, &log, &snapshots] {
        write(&place.create("same").unwrap(), 0, b"x").unwrap();
    }
    assert_eq!(log.list().unwrap(), ["same"]);
    log.create("other").unwrap();
    assert_eq!((files.list().unwrap().len(), snapshots.list().unwrap().len()), (1, 1));
    log.sync_directory().unwrap();
    assert_eq!(log.platter().list().unwrap(), ["other", "same"]);
    assert_eq!((files.platter().list().unwrap().len(), snapshots.platter().list().unwrap().len()), (0, 0));
    files.set_capacity(Some(4));
    let file = snapshots.open("same").unwrap();
    assert!(write(&file, 0, b"xx").is_ok());
    assert!(write(&file, 0, b"xxx").is_err(), "one disk, one size");
}

#[test]
fn rot_strikes_what_is_there() {
    let mut hit = BTreeSet::new();
    for seed in 0..200 {
        let (files, _) = numbered();
        files.put("empty", &[]);
        let rotten = files.rot(seed).unwrap();
        assert_eq!(rotten.file, "file");
        let at = usize::try_from(rotten.offset).unwrap();
        let before = u8::try_from(at / 512 + 1).unwrap();
        assert_eq!((files.contents("file").unwrap()[at] ^ before).count_ones(), 1);
        assert_eq!(files.contents("file"), files.platter().contents("file"));
        hit.insert(at / 512);
    }
    assert_eq!(hit.len(), 8);
    assert_eq!(MemFiles::new(1).rot(1), None);
}

#[test]
fn the_platter_tells_when_it_may_differ() {
    let files = MemFiles::new(1);
    let (wal, _) = open(&files);
    let version = files.platter_version();
    let written = wal.write(&[vote(7, Some(2))]).unwrap();
    assert_eq!(files.platter_version(), version);
    assert_eq!(inspect_files(&files.platter()).unwrap().hard_state, HardState::default());
    assert_eq!(inspect_files(&files).unwrap().hard_state.term, 7, "the system shows it all the same");
    wal.sync(written).unwrap();
    assert_ne!(files.platter_version(), version);
    assert_eq!(inspect_files(&files.platter()).unwrap().hard_state, HardState { term: 7, vote: Some(2) });
}

/// Many crash images of one log: each opens, with everything that was durable and nothing that was never written.
#[test]
fn every_crash_image_holds_what_was_durable() {
    let images = if full() { 200 } else { 12 };
    let mut count = 0;
    for seed in 0..24 {
        let files = MemFiles::new(seed);
        files.tear_sectors(seed % 2 == 1);
        let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
        let mut random = Random(seed);
        let (mut durable, mut last) = (0, 0);
        let mut pending = Vec::new();
        for _ in 0..40 {
            match random.below(4) {
                0 if !pending.is_empty() => {
                    let (written, upto) = pending.remove(0);
                    wal.sync(written).unwrap();
                    durable = upto;
                }
                1 => drop(wal.idle().unwrap()),
                _ => {
                    let count = 1 + random.below(6);
                    pending
                        .push((wal.write(&[append(entries(last + 1, last + count, 1, 700))]).unwrap(), last + count));
                    last += count;
                }
            }
            let all = entries(1, last, 1, 700);
            for image in 0..images / 4 {
                let image = files.crash_image(random.next() ^ image);
                let (wal, found) = Wal::open(image.clone(), options(64 << 10)).unwrap();
                assert!((durable..=last).contains(&found.last.index), "seed {seed}: {found:?}");
                let held = read_all(&wal);
                same(&held, &all[..held.len()]);
                // What was found counts: it survives the next cut, too.
                drop(wal);
                image.power_cut(seed);
                assert_eq!(Wal::open(image, options(64 << 10)).unwrap().1.last, found.last);
                count += 1;
            }
        }
    }
    println!("{count} images");
    assert!(count >= 24 * 40 * images / 4);
}

/// Damage that was planted in what is known to be durable: refused by name, or without any effect.
#[test]
fn damage_is_refused_or_harmless() {
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..if full() { 3_000 } else { 300 } {
        let files = MemFiles::new(seed);
        let (wal, _) = Wal::open(files.clone(), options(64 << 10)).unwrap();
        let mut random = Random(seed);
        let accident = random.below(3);
        let after = random.below(12);
        match accident {
            0 => files.lose_write(after),
            1 => files.misdirect_write(after),
            _ => {}
        }
        for first in (1..=60).step_by(4) {
            store(&wal, &[append(entries(first, first + 3, 1, 900))]);
        }
        // A marker behind it vouches for all of it.
        wal.close().unwrap();
        drop(wal);
        if accident == 2 {
            files.rot(seed).unwrap();
        }
        files.power_cut(seed);
        match Wal::open(files, options(64 << 10)) {
            Ok((wal, found)) => {
                assert_eq!(found.last.index, 60, "seed {seed}: shortened");
                same(&read_all(&wal), &entries(1, 60, 1, 900));
                harmless += 1;
            }
            Err(WalError::CorruptLog { segment, .. }) => {
                assert!(segment.starts_with("log-"));
                refused += 1;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > harmless, "{refused} refused, {harmless} harmless");
}
