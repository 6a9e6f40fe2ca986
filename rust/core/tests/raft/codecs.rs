//! Records, proposals and configurations as bytes: what is written is read, and nothing else is taken for it.

use bytes::Bytes;
use d_engine_raft::{
    Configuration, Draft, Entry, EntryKind, HEADER_BYTES, Incarnation, Member, MemberRole, RECORD_VERSION, RecordError,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        Just(EntryKind::Noop),
        Just(EntryKind::Command),
        Just(EntryKind::Configuration),
        Just(EntryKind::Session)
    ]
}

fn member(id: u64) -> impl Strategy<Value = Member> {
    let role = prop_oneof![Just(MemberRole::Voter), Just(MemberRole::Learner), Just(MemberRole::Witness)];
    (".{0,12}", option::of(".{0,12}"), role, any::<i32>(), any::<(bool, bool)>(), option::of(any::<u128>())).prop_map(
        move |(address, client_address, role, priority, (auto_promote, leaving), incarnation)| Member {
            id,
            address,
            client_address,
            role,
            priority,
            auto_promote,
            incarnation: incarnation.map(Incarnation),
            leaving,
        },
    )
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let ids = proptest::collection::btree_set(any::<u64>(), 0..6);
    let members = ids.prop_flat_map(|ids| ids.into_iter().map(member).collect::<Vec<_>>());
    (members, vec(any::<u64>(), 0..6), any::<u64>())
        .prop_map(|(members, outgoing, min_election_timeout)| Configuration { members, outgoing, min_election_timeout })
}

fn stamp(draft: Draft, first: u64, term: u64, time: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    draft.stamp(first, term, time, &mut entries);
    entries
}

fn stamped(payload: &[u8]) -> Entry {
    stamp(Draft::command(payload), 7, 3, 99).remove(0)
}

proptest! {
    #[test]
    fn a_stamped_batch_reads_back(
        commands in vec((kind(), vec(any::<u8>(), 0..200), any::<[u64; 3]>()), 0..20),
        first in 1..u64::MAX - 100, term: u64, time: u64,
    ) {
        let mut draft = Draft::with_capacity(commands.len(), 100);
        for (kind, payload, [session, sequence, ack_below]) in &commands {
            draft.push_in_session(*kind, payload, *session, *sequence, *ack_below);
        }
        prop_assert_eq!(draft.len(), commands.len());
        let size = draft.size();
        let entries = stamp(draft, first, term, time);
        prop_assert_eq!(entries.iter().map(Entry::size).sum::<usize>(), size);
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.record().to_vec()).collect();
        let read = Entry::decode_all(Bytes::from(bytes)).unwrap();
        prop_assert_eq!(&read, &entries);
        for ((entry, index), (kind, payload, session)) in read.iter().zip(first..).zip(&commands) {
            prop_assert_eq!((entry.index(), entry.term(), entry.time(), entry.kind()), (index, term, time, *kind));
            prop_assert_eq!(entry.payload(), payload.as_slice());
            prop_assert_eq!([entry.session(), entry.sequence(), entry.ack_below()], *session);
        }
    }

    #[test]
    fn a_forwarded_batch_reads_back(payloads in vec(vec(any::<u8>(), 0..100), 0..20)) {
        let mut draft = Draft::default();
        for payload in &payloads {
            draft.push(EntryKind::Command, payload);
        }
        let copy = Draft::from_bytes(draft.as_bytes()).unwrap();
        prop_assert_eq!(copy.len(), draft.len());
        prop_assert_eq!(stamp(copy, 5, 2, 1), stamp(draft, 5, 2, 1));
    }

    #[test]
    fn a_record_with_any_bit_changed_or_cut_off_is_refused(
        payload in vec(any::<u8>(), 0..100), place: proptest::sample::Index, bit in 0_u32..8, cut: proptest::sample::Index,
    ) {
        let whole = stamped(&payload).record().to_vec();
        let mut flipped = whole.clone();
        flipped[place.index(whole.len())] ^= 1_u8 << bit;
        let mut source = Bytes::from(flipped.clone());
        prop_assert!(Entry::decode(&mut source).is_err());
        prop_assert_eq!(source, flipped, "the source is left as it was");
        let mut short = Bytes::from(whole).slice(..cut.index(HEADER_BYTES + payload.len()));
        let cut_off = matches!(Entry::decode(&mut short), Err(RecordError::Truncated { .. }));
        prop_assert!(cut_off);
    }

    #[test]
    fn random_bytes_are_no_record_and_no_proposal(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Entry::decode(&mut Bytes::from(bytes.clone())).map(|entry| panic!("{entry:?}"));
        let _ = Entry::decode_all(Bytes::from(bytes.clone()));
        let _ = Entry::record_len(&bytes);
        let _ = Draft::from_bytes(&bytes);
        let _ = Configuration::decode(&bytes);
    }

    #[test]
    fn a_damaged_proposal_never_becomes_another_payload(
        payloads in vec(vec(any::<u8>(), 0..50), 1..5), place: proptest::sample::Index, bit in 0_u32..8,
    ) {
        let mut draft = Draft::default();
        for payload in &payloads {
            draft.push(EntryKind::Command, payload);
        }
        let mut bytes = draft.as_bytes().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(draft) = Draft::from_bytes(&bytes) {
            // What is not covered by the payload's checksum is stamped, unused, or a session's.
            let read: Vec<Bytes> = stamp(draft, 1, 1, 1).iter().map(Entry::payload).collect();
            prop_assert_eq!(read, payloads);
        }
    }

    #[test]
    fn a_configuration_reads_back_and_every_shorter_one_is_refused(configuration in configuration()) {
        let bytes = configuration.encode();
        prop_assert_eq!(Configuration::decode(&bytes).unwrap(), configuration);
        for end in 0..bytes.len() {
            prop_assert!(Configuration::decode(&bytes[..end]).is_err(), "cut at {}", end);
        }
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(Configuration::decode(&longer).is_err());
    }

    #[test]
    fn a_damaged_configuration_does_not_panic(
        configuration in configuration(), place: proptest::sample::Index, byte: u8,
    ) {
        let mut bytes = configuration.encode();
        let at = place.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Configuration::decode(&bytes) {
            prop_assert!(read.members.windows(2).all(|pair| pair[0].id < pair[1].id));
        }
    }
}

#[test]
fn a_later_format_and_an_unknown_kind_are_named() {
    let change = |at: usize, value: u8| {
        let mut bytes = stamped(b"x").record().to_vec();
        bytes[at] = value;
        let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&crc);
        Entry::decode(&mut Bytes::from(bytes)).unwrap_err()
    };
    let later = RECORD_VERSION + 1;
    assert_eq!(change(6, later.to_le_bytes()[0]), RecordError::Version { index: 7, version: later });
    assert_eq!(change(6, 0), RecordError::Version { index: 7, version: 0 });
    assert_eq!(change(4, 9), RecordError::Kind { index: 7, kind: 9 });
    assert!(change(6, later.to_le_bytes()[0]).to_string().contains("reads up to"));
}

#[test]
fn only_what_users_propose_is_forwarded() {
    for kind in [EntryKind::Command, EntryKind::Session] {
        let mut draft = Draft::default();
        draft.push(kind, b"x");
        let copy = Draft::from_bytes(draft.as_bytes()).unwrap();
        assert_eq!(stamp(copy, 1, 1, 1)[0].kind(), kind);
    }
    for kind in [EntryKind::Noop, EntryKind::Configuration] {
        let mut draft = Draft::default();
        draft.push(kind, b"");
        assert!(matches!(Draft::from_bytes(draft.as_bytes()), Err(RecordError::Kind { .. })));
    }
}

#[test]
fn a_proposal_of_a_later_format_is_refused_before_it_gets_into_a_log() {
    let mut bytes = Draft::command(b"x").as_bytes().to_vec();
    bytes[6] = 2;
    assert_eq!(Draft::from_bytes(&bytes).unwrap_err(), RecordError::Version { index: 0, version: 2 });
}

#[test]
fn a_record_is_the_documented_bytes() {
    // Golden: what stands on disks and goes over wires.
    let mut draft = Draft::default();
    draft.push_in_session(EntryKind::Command, b"d-engine", 0x5E55, 2, 1);
    let entries = stamp(draft, 0x0102, 0x03, 0x04);
    let header: Vec<u8> = entries[0].record()[..56].to_vec();
    let mut expected = vec![8, 0, 0, 0, 1, 0, 1, 0];
    for word in [0x0102_u64, 0x03, 0x04, 0x5E55, 2, 1] {
        expected.extend_from_slice(&word.to_le_bytes());
    }
    assert_eq!(header, expected);
    assert_eq!(entries[0].record()[56..60], crc32c::crc32c(b"d-engine").to_le_bytes());
    assert_eq!(entries[0].record()[60..64], crc32c::crc32c(&entries[0].record()[..60]).to_le_bytes());
    assert_eq!(&entries[0].record()[64..], b"d-engine");
}

#[test]
fn a_configuration_tells_who_votes() {
    let with = |id, role| Member {
        id,
        address: format!("h:{id}"),
        client_address: None,
        role,
        priority: 0,
        auto_promote: false,
        incarnation: (id == 1).then_some(Incarnation(1)),
        leaving: false,
    };
    let configuration = Configuration {
        members: vec![with(1, MemberRole::Voter), with(2, MemberRole::Learner), with(3, MemberRole::Witness)],
        outgoing: vec![2],
        min_election_timeout: 5,
    };
    assert_eq!(configuration.voters().collect::<Vec<_>>(), [1, 3]);
    assert_eq!([1, 2, 3, 4].map(|id| configuration.is_voter(id)), [true, true, true, false]);
    assert_eq!(configuration.unknown_voters().collect::<Vec<_>>(), [3]);
    assert!(configuration.is_joint());
    assert_eq!(configuration.to_string(), "1=h:1, 2=h:2 (learner), 3=h:3 (witness); leaving [2]");
}
