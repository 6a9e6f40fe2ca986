//! Frames of every kind, for all tests of this crate.
#![allow(dead_code, reason = "each test program uses its own part")]

use bytes::Bytes;
use d_engine_node::{Frame, Lane, Payload, SnapshotFrame, SnapshotMeta};
use d_engine_raft::{
    AppendReply, Body, Configuration, Draft, Entry, EntryKind, Incarnation, LogId, Member, MemberRole, Message, NodeId,
    Refusal,
};
use proptest::collection::vec;
use proptest::prelude::*;

pub fn member(id: NodeId, address: &str) -> Member {
    Member {
        id,
        address: address.into(),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    }
}

pub fn configuration(members: Vec<Member>) -> Configuration {
    Configuration { members, outgoing: Vec::new(), min_election_timeout: 250_000 }
}

pub fn frame(from: NodeId, to: NodeId, lane: Lane, bodies: Vec<(u64, Body)>) -> Frame {
    let incarnation = Incarnation(u128::from(from) << 64 | 7);
    let messages =
        bodies.into_iter().map(|(term, body)| Message { from, incarnation, to, term, body }).collect::<Vec<_>>();
    Frame {
        cluster_id: 0x00c1_0573,
        group: 0,
        recovery_epoch: 3,
        version: d_engine_node::PROTOCOL_VERSION,
        from,
        incarnation,
        to,
        lane,
        payload: Payload::Messages(messages),
    }
}

pub fn heartbeat(round: u64) -> (u64, Body) {
    (1, Body::Heartbeat { round, commit: 0 })
}

/// Entries behind `prev`, of its term.
pub fn append(prev: LogId, payloads: &[Vec<u8>]) -> Body {
    let mut draft = Draft::default();
    for (at, payload) in payloads.iter().enumerate() {
        if at % 5 == 4 {
            draft.push(EntryKind::Configuration, &configuration(vec![member(1, "a:1"), member(2, "b:2")]).encode());
        } else {
            draft.push(EntryKind::Command, payload);
        }
    }
    let mut entries = Vec::new();
    draft.stamp(prev.index + 1, prev.term, 123_456, &mut entries);
    Body::Append { prev, commit: prev.index / 2, entries: entries.into() }
}

fn drafted(payloads: &[Vec<u8>]) -> Draft {
    let mut draft = Draft::default();
    for (payload, number) in payloads.iter().zip(1..) {
        draft.push_in_session(EntryKind::Command, payload, 7, number, number / 2);
    }
    draft
}

fn log_id() -> impl Strategy<Value = LogId> {
    (0..u64::MAX / 2, any::<u64>()).prop_map(|(index, term)| LogId::new(index, term))
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::NotLeader),
        Just(Refusal::Transferring),
        Just(Refusal::Overloaded),
        Just(Refusal::StorageStalled),
        Just(Refusal::ApplyStopped),
        Just(Refusal::NoSuccessor),
        Just(Refusal::Closing),
        Just(Refusal::UnknownMember),
        Just(Refusal::NotAVoter),
        Just(Refusal::TooFarBehind),
    ]
}

fn result<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Result<T, Refusal>> {
    prop_oneof![value.prop_map(Ok), refusal().prop_map(Err)]
}

/// Every message a core can send, with its term.
pub fn any_body() -> impl Strategy<Value = (u64, Body)> {
    let payloads = || vec(vec(any::<u8>(), 0..200), 1..12);
    let num = any::<u64>();
    prop_oneof![
        (num, log_id()).prop_map(|(term, last)| (term, Body::PreVote { last })),
        (num, any::<bool>()).prop_map(|(term, granted)| (term, Body::PreVoteReply { granted })),
        (num, log_id(), any::<bool>()).prop_map(|(term, last, transfer)| (term, Body::Vote { last, transfer })),
        (num, any::<bool>()).prop_map(|(term, granted)| (term, Body::VoteReply { granted })),
        (log_id(), payloads()).prop_map(|(prev, payloads)| (prev.term, append(prev, &payloads))),
        log_id().prop_map(|prev| (prev.term, append(prev, &[]))),
        (num, num).prop_map(|(term, matched)| (term, Body::AppendReply(AppendReply::Accepted { matched }))),
        (num, num, log_id())
            .prop_map(|(term, prev, hint)| (term, Body::AppendReply(AppendReply::Rejected { prev, hint }))),
        (num, num, num).prop_map(|(term, round, commit)| (term, Body::Heartbeat { round, commit })),
        (num, num, num, any::<bool>()).prop_map(|(term, round, last, apply_stopped)| {
            (term, Body::HeartbeatReply { round, last, apply_stopped })
        }),
        (num, num).prop_map(|(term, matched)| (term, Body::SnapshotReply { matched })),
        (num, any::<u128>()).prop_map(|(term, target)| (term, Body::TimeoutNow { target: Incarnation(target) })),
        (num, num, payloads())
            .prop_map(|(term, id, payloads)| (term, Body::Propose { id, entries: drafted(&payloads) })),
        (num, num, result(log_id())).prop_map(|(term, id, result)| (term, Body::ProposeReply { id, result })),
        (num, num, any::<bool>()).prop_map(|(term, id, lease)| (term, Body::ReadIndex { id, lease })),
        (num, num, result(num)).prop_map(|(term, id, result)| (term, Body::ReadIndexReply { id, result })),
    ]
}

pub fn any_snapshot() -> impl Strategy<Value = SnapshotFrame> {
    let num = any::<u64>();
    prop_oneof![
        (num, num, log_id(), any::<[u8; 32]>(), num).prop_map(|(transfer, term, last, digest, size)| {
            SnapshotFrame::Offer { transfer, term, meta: SnapshotMeta { last, digest: Some(digest), size } }
        }),
        (num, num).prop_map(|(transfer, offset)| SnapshotFrame::Accept { transfer, offset }),
        (num, num, vec(any::<u8>(), 0..2000)).prop_map(|(transfer, offset, data)| chunk(transfer, offset, data)),
        (num, num).prop_map(|(transfer, offset)| SnapshotFrame::Ack { transfer, offset }),
        (num, proptest::option::of(log_id()))
            .prop_map(|(transfer, installed)| SnapshotFrame::Done { transfer, installed }),
    ]
}

pub fn chunk(transfer: u64, offset: u64, data: impl Into<Bytes>) -> SnapshotFrame {
    let data = data.into();
    SnapshotFrame::Chunk { transfer, offset, crc: crc32c::crc32c(&data), data }
}

pub fn any_frame() -> impl Strategy<Value = Frame> {
    let lane = prop_oneof![Just(Lane::Control), Just(Lane::Data), Just(Lane::Bulk)];
    let payload = prop_oneof![vec(any_body(), 1..8).prop_map(Ok), any_snapshot().prop_map(Err::<Vec<(u64, Body)>, _>)];
    (1..u64::MAX, 1..u64::MAX, lane, payload, any::<(u128, u64, u64)>()).prop_map(
        |(from, to, lane, payload, (cluster_id, group, recovery_epoch))| {
            let mut made = match payload {
                Ok(bodies) => frame(from, to, lane, bodies),
                Err(snapshot) => Frame { payload: Payload::Snapshot(snapshot), ..frame(from, to, lane, Vec::new()) },
            };
            made.cluster_id = cluster_id;
            made.group = group;
            made.recovery_epoch = recovery_epoch;
            made
        },
    )
}

/// What two frames must share to be the same: everything, as text (a draft has no equality of its own).
pub fn text(frame: &Frame) -> String {
    format!("{frame:?}")
}

/// The entries of the first message.
pub fn entries(frame: &Frame) -> Vec<Entry> {
    match &frame.payload {
        Payload::Messages(messages) => match messages.first().map(|message| &message.body) {
            Some(Body::Append { entries, .. }) => entries.to_vec(),
            _ => Vec::new(),
        },
        Payload::Snapshot(_) => Vec::new(),
    }
}
