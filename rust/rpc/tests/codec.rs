//! Frames survive their encoding; nothing else survives decoding.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use bytes::{Bytes, BytesMut};
use d_engine_node::{Lane, Payload};
use d_engine_raft::{Body, Draft, EntryKind, LogId, RecordError};
use d_engine_rpc::codec::{CodecError, Head, MAX_FRAME_BYTES, decode, encode, open, seal, unseal};
use d_engine_rpc::wire;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use support::{any_frame, append, chunk, entries, frame, heartbeat, text};

fn bare(frame: d_engine_node::Frame) -> Bytes {
    let frames = encode(&Head::of(&frame), frame.payload, |error| panic!("{error}"));
    assert_eq!(frames.len(), 1);
    let mut out = BytesMut::new();
    frames[0].write(&mut out);
    assert_eq!(out.len(), frames[0].size());
    out.freeze()
}

fn sealed(frame: d_engine_node::Frame) -> Bytes {
    let mut sealed = seal(frame);
    assert!(sealed.oversized.is_empty());
    assert_eq!(sealed.data.len(), 1);
    sealed.data.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_survives(frame in any_frame()) {
        let before = text(&frame);
        let bytes = bare(frame);
        prop_assert_eq!(&text(&decode(bytes.clone()).unwrap()), &before);
        // What is written by hand is what any protobuf library would write.
        let generated = wire::Frame::decode(bytes.clone()).unwrap();
        prop_assert_eq!(generated.encode_to_vec(), bytes.to_vec());
    }

    #[test]
    fn a_sealed_frame_survives(frame in any_frame()) {
        let before = text(&frame);
        let bytes = sealed(frame);
        prop_assert_eq!(text(&unseal(bytes.clone()).unwrap()), before);
        let generated = wire::SealedFrame::decode(bytes.clone()).unwrap();
        prop_assert_eq!(generated.encode_to_vec(), bytes.to_vec());
    }

    #[test]
    fn a_truncated_sealed_frame_is_refused(frame in any_frame(), cut in any::<prop::sample::Index>()) {
        let bytes = sealed(frame);
        prop_assert!(unseal(bytes.slice(..cut.index(bytes.len()))).is_err());
    }

    #[test]
    fn a_damaged_sealed_frame_is_refused(frame in any_frame(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let before = text(&frame);
        let mut bytes = sealed(frame).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // Flips in the outer tags may give an equal frame in another encoding; never another frame.
        if let Ok(opened) = unseal(bytes.into()) {
            prop_assert_eq!(text(&opened), before);
        }
    }

    #[test]
    fn truncation_and_damage_of_a_bare_frame_never_panic(
        frame in any_frame(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8
    ) {
        let mut bytes = bare(frame).to_vec();
        drop(decode(Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())])));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        drop(decode(bytes.into()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        drop(decode(bytes.clone().into()));
        prop_assert!(unseal(bytes.into()).is_err());
    }
}

#[test]
fn entries_are_slices_of_the_received_bytes() {
    let bytes = bare(frame(1, 2, Lane::Data, vec![(4, append(LogId::new(9, 4), &[vec![1; 100], vec![2; 100]]))]));
    let range = bytes.as_ptr_range();
    for entry in entries(&decode(bytes.clone()).unwrap()) {
        assert!(range.contains(&entry.record().as_ptr()));
    }
}

#[test]
fn an_oversized_frame_is_refused_by_both_readers() {
    let bytes = Bytes::from(vec![0; MAX_FRAME_BYTES + 64]);
    assert_eq!(decode(bytes.clone()).unwrap_err(), CodecError::Oversized { size: bytes.len() });
    assert_eq!(unseal(bytes.clone()).unwrap_err(), CodecError::Oversized { size: bytes.len() });
}

#[test]
fn many_messages_are_split_and_one_too_large_is_left_out() {
    let large = |size| (1, append(LogId::new(0, 1), &[vec![7; size]]));
    let bodies = vec![large(600 << 10), heartbeat(1), large(600 << 10), large(2 << 20), heartbeat(2)];
    let sealed = seal(frame(1, 2, Lane::Data, bodies));
    assert!(matches!(sealed.oversized[..], [CodecError::Oversized { size }] if size > 2 << 20));
    let kinds: Vec<Vec<bool>> = sealed
        .data
        .into_iter()
        .map(|data| match unseal(data).unwrap().payload {
            Payload::Messages(messages) => {
                messages.iter().map(|message| matches!(message.body, Body::Append { .. })).collect()
            }
            Payload::Snapshot(_) => Vec::new(),
        })
        .collect();
    assert_eq!(kinds, [vec![true, false], vec![true, false]]);
}

#[test]
fn the_largest_entry_fits() {
    let mut draft = Draft::default();
    draft.push(EntryKind::Command, &vec![1; MAX_FRAME_BYTES - (4 << 10)]);
    let sealed = seal(frame(1, 2, Lane::Data, vec![(u64::MAX, Body::Propose { id: u64::MAX, entries: draft })]));
    assert!(sealed.oversized.is_empty());
    assert!(unseal(sealed.data[0].clone()).is_ok());
}

/// A frame of one append, as generated types.
fn wire_append() -> wire::Frame {
    let payloads = [vec![1; 10], vec![2; 10]];
    wire::Frame::decode(bare(frame(1, 2, Lane::Data, vec![(4, append(LogId::new(9, 4), &payloads))]))).unwrap()
}

fn change_append(change: impl FnOnce(&mut wire::Append)) -> wire::Frame {
    let mut frame = wire_append();
    match &mut frame.messages[0].body {
        Some(wire::raft_message::Body::Append(append)) => change(append),
        other => panic!("{other:?}"),
    }
    frame
}

#[test]
fn each_broken_promise_has_its_name() {
    let check = |frame: wire::Frame| open(frame).unwrap_err();
    assert!(open(wire_append()).is_ok());
    assert_eq!(check(wire::Frame { format: 2, ..wire_append() }), CodecError::Format { found: 2 });
    assert_eq!(check(wire::Frame { format: 0, ..wire_append() }), CodecError::Format { found: 0 });
    assert!(matches!(check(wire::Frame { from: 0, ..wire_append() }), CodecError::Value { found: 0, .. }));
    assert!(matches!(check(wire::Frame { to: 0, ..wire_append() }), CodecError::Value { found: 0, .. }));
    assert!(matches!(check(wire::Frame { lane: 0, ..wire_append() }), CodecError::Value { found: 0, .. }));
    assert!(matches!(check(wire::Frame { lane: 9, ..wire_append() }), CodecError::Value { found: 9, .. }));
    let short = Bytes::from_static(&[1; 15]);
    let error = check(wire::Frame { cluster_id: short.clone(), ..wire_append() });
    assert_eq!(error, CodecError::Length { field: "cluster_id", found: 15, expected: 16 });
    let error = check(wire::Frame { incarnation: short, ..wire_append() });
    assert_eq!(error, CodecError::Length { field: "incarnation", found: 15, expected: 16 });
    assert!(matches!(check(wire::Frame { messages: Vec::new(), ..wire_append() }), CodecError::Missing(_)));
    let mut headless = wire_append();
    headless.messages[0].body = None;
    assert!(matches!(check(headless), CodecError::Missing(_)));
    let snapshot = Some(wire::SnapshotMessage::default());
    assert_eq!(check(wire::Frame { snapshot: snapshot.clone(), ..wire_append() }), CodecError::Mixed);
    let alone = wire::Frame { snapshot, messages: Vec::new(), records: Bytes::new(), ..wire_append() };
    assert!(matches!(check(alone), CodecError::Missing(_)));
}

#[test]
fn a_frame_s_records_are_checked() {
    let check = |frame: wire::Frame| open(frame).unwrap_err();
    let size = wire_append().records.len();
    let more = change_append(|append| append.records_bytes += 1);
    assert_eq!(check(more), CodecError::Records { claimed: size as u64 + 1, found: size });
    assert!(matches!(check(change_append(|append| append.records_bytes = u64::MAX)), CodecError::Records { .. }));
    assert!(matches!(
        check(change_append(|append| append.records_bytes -= 1)),
        CodecError::Record(RecordError::Truncated { .. })
    ));
    let half = change_append(|append| append.records_bytes /= 2);
    assert_eq!(check(half), CodecError::Records { claimed: 0, found: size / 2 });
    let mut damaged = wire_append().records.to_vec();
    damaged[70] ^= 1;
    let damaged = wire::Frame { records: damaged.into(), ..wire_append() };
    assert_eq!(check(damaged), CodecError::Record(RecordError::Payload { index: 10 }));
    let gap = change_append(|append| append.prev = Some(wire::LogId { index: 7, term: 4 }));
    assert!(matches!(check(gap), CodecError::Order { index: 10, after: 7, .. }));
    let backwards = change_append(|append| append.prev = Some(wire::LogId { index: 9, term: 5 }));
    assert!(matches!(check(backwards), CodecError::Order { index: 10, after_term: 5, .. }));
    let mut early = wire_append();
    early.messages[0].term = 3;
    assert!(matches!(check(early), CodecError::Order { message_term: 3, .. }));
    assert!(matches!(check(change_append(|append| append.prev = None)), CodecError::Missing(_)));
}

#[test]
fn a_configuration_entry_must_hold_one() {
    let mut draft = Draft::default();
    draft.push(EntryKind::Configuration, b"nothing of the kind");
    let mut stamped = Vec::new();
    draft.stamp(1, 1, 0, &mut stamped);
    let body = Body::Append { prev: LogId::ZERO, commit: 0, entries: stamped.into() };
    let bytes = bare(frame(1, 2, Lane::Data, vec![(1, body)]));
    assert!(matches!(decode(bytes).unwrap_err(), CodecError::Configuration { index: 1, .. }));
}

#[test]
fn a_damaged_chunk_is_refused() {
    let payload = Payload::Snapshot(chunk(1, 77, vec![5; 50]));
    let made = d_engine_node::Frame { payload, ..frame(1, 2, Lane::Bulk, Vec::new()) };
    let mut bytes = bare(made).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(decode(bytes.into()).unwrap_err(), CodecError::Chunk { offset: 77 });
}
