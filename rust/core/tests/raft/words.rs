//! The words that cores speak in: what is shown to people, and runs of entries that are shared.

use crate::common::{entry, incarnation, known, learner, seen};
use d_engine_raft::{Draft, Entries, Entry, EntryKind, LogId, Member, MemberRole};

#[test]
fn places_and_data_directories_are_shown_shortly() {
    assert_eq!(LogId::new(7, 3).to_string(), "7@3");
    assert_eq!(incarnation(1).to_string(), "0000000000000001000000000000d15c");
    assert_eq!(format!("{:?}", incarnation(1)), incarnation(1).to_string());
}

#[test]
fn a_configuration_is_shown_with_its_roles_and_who_leaves() {
    let mut configuration = seen(1);
    configuration.members.push(learner(2));
    configuration.members.push(Member { role: MemberRole::Witness, ..known(3) });
    assert_eq!(configuration.to_string(), "1=node-1:7000, 2=node-2:7000 (learner), 3=node-3:7000 (witness)");
    configuration.outgoing = vec![1, 4];
    assert!(configuration.to_string().ends_with("; leaving [1, 4]"));
}

#[test]
fn an_entry_made_of_its_parts_is_the_record_that_a_leader_stamps() {
    let mut draft = Draft::default();
    draft.push_in_session(EntryKind::Command, b"payload", 7, 8, 5);
    let stamped = draft.stamped(LogId::new(3, 2), 99);
    let made = Entry::new(LogId::new(3, 2), EntryKind::Command, 99, 7, 8, 5, b"payload");
    assert_eq!(stamped[0], made);
    assert_eq!(made.record(), stamped[0].record());
    assert_eq!(made.payload_crc(), crc32c::crc32c(b"payload"));
}

#[test]
fn a_part_of_a_run_is_the_same_entries() {
    let all: Vec<Entry> = (1..=5).map(|index| entry(index, 1, &vec![0; usize::try_from(index).unwrap()])).collect();
    let run = Entries::from(all.clone());
    assert_eq!(*run, all);
    assert_eq!(run.bytes(), all.iter().map(Entry::size).sum::<usize>());
    let part = run.part(1..4);
    assert_eq!(*part, all[1..4]);
    assert_eq!(part.bytes(), all[1..4].iter().map(Entry::size).sum::<usize>());
    // Not a copy: the records are the very same bytes.
    assert_eq!(part[0].record().as_ptr(), all[1].record().as_ptr());
    assert_eq!(part.part(1..2), Entries::from(vec![all[2].clone()]));
    assert_eq!(run.part(0..5), run);
    assert_ne!(part, run);
    assert!(run.part(5..5).is_empty());
    assert_eq!(format!("{part:?}"), format!("{:?}", &all[1..4]));
}

#[test]
fn a_run_can_be_taken_apart_and_put_together() {
    let all: Vec<Entry> = (1..=3).map(|index| entry(index, 1, b"x")).collect();
    let run: Entries = all.iter().cloned().collect();
    assert_eq!(run.clone().into_iter().len(), 3);
    assert_eq!(run.part(1..3).into_iter().collect::<Vec<_>>(), all[1..]);
    let indexes: Vec<u64> = (&run).into_iter().map(Entry::index).collect();
    assert_eq!(indexes, [1, 2, 3]);
    assert_eq!(Entries::default().bytes(), 0);
}
