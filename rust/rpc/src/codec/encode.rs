//! Frames to bytes. Records are copied once, from the entries' own buffers to the frame.

use bytes::{BufMut, Bytes, BytesMut};
use d_engine_node::{Frame, Lane, Payload};
use d_engine_raft::{AppendReply, Body, Draft, Entries, LogId, Message, Refusal};
use prost::Message as _;
use prost::encoding::{self, WireType};

use super::{CodecError, MAX_FRAME_BYTES, NEWEST_FORMAT, change, snapshot};
use crate::wire;
use crate::wire::raft_message::Body as Wire;

// Field numbers of `Frame` and `SealedFrame` that are written by hand below.
const FRAME_MESSAGES: u32 = 9;
const FRAME_RECORDS: u32 = 10;
const FRAME_SNAPSHOT: u32 = 11;
const SEALED_CHECKSUM: u32 = 1;
const SEALED_FRAME: u32 = 2;

/// A message on its way out: the protobuf part, and the entries whose bytes follow in the frame's `records`.
#[derive(Debug)]
struct Outbound {
    message: wire::RaftMessage,
    records: Records,
    records_bytes: usize,
}

#[derive(Debug)]
enum Records {
    None,
    Entries(Entries),
    Draft(Draft),
}

impl Outbound {
    /// Takes a message apart.
    fn new(message: Message) -> Self {
        let (body, records) = body(message.body);
        let records_bytes = match &records {
            Records::None => 0,
            Records::Entries(entries) => entries.bytes(),
            Records::Draft(draft) => draft.size(),
        };
        Self { message: wire::RaftMessage { term: message.term, body: Some(body) }, records, records_bytes }
    }

    /// Bytes that it adds to a frame, without its records.
    fn message_bytes(&self) -> usize {
        encoding::message::encoded_len(FRAME_MESSAGES, &self.message)
    }
}

fn body(body: Body) -> (Wire, Records) {
    let wire = match body {
        Body::PreVote { last } => Wire::PreVote(wire::PreVote { last: Some(wire_id(last)) }),
        Body::PreVoteReply { granted } => Wire::PreVoteReply(wire::PreVoteReply { granted }),
        Body::Vote { last, transfer } => Wire::Vote(wire::Vote { last: Some(wire_id(last)), transfer }),
        Body::VoteReply { granted } => Wire::VoteReply(wire::VoteReply { granted }),
        Body::Append { prev, commit, entries } => {
            let records_bytes = entries.iter().map(|entry| entry.size() as u64).sum();
            let append = wire::Append { prev: Some(wire_id(prev)), commit, records_bytes };
            return (Wire::Append(append), Records::Entries(entries));
        }
        Body::AppendReply(reply) => Wire::AppendReply(append_reply(reply)),
        Body::Heartbeat { round, commit } => Wire::Heartbeat(wire::Heartbeat { round, commit }),
        Body::HeartbeatReply { round, last, apply_stopped } => {
            Wire::HeartbeatReply(wire::HeartbeatReply { round, last, apply_stopped })
        }
        Body::SnapshotReply { matched } => Wire::SnapshotReply(wire::SnapshotReply { matched }),
        Body::TimeoutNow { target } => Wire::TimeoutNow(wire::TimeoutNow { target: identity_bytes(target.0) }),
        Body::Propose { id, entries } => {
            let propose = wire::Propose { id, records_bytes: entries.size() as u64 };
            return (Wire::Propose(propose), Records::Draft(entries));
        }
        Body::ProposeReply { id, result } => {
            let result = match result {
                Ok(at) => wire::propose_reply::Result::At(wire_id(at)),
                Err(why) => wire::propose_reply::Result::Refusal(refusal(why).into()),
            };
            Wire::ProposeReply(wire::ProposeReply { id, result: Some(result) })
        }
        Body::ReadIndex { id, lease } => Wire::ReadIndex(wire::ReadIndex { id, lease }),
        Body::ReadIndexReply { id, result } => {
            let result = match result {
                Ok(index) => wire::read_index_reply::Result::Index(index),
                Err(why) => wire::read_index_reply::Result::Refusal(refusal(why).into()),
            };
            Wire::ReadIndexReply(wire::ReadIndexReply { id, result: Some(result) })
        }
        Body::Change { id, changes } => Wire::Change(change::changes_to_wire(id, changes)),
        Body::ChangeReply { id, result } => {
            let result = match result {
                Ok(at) => wire::change_reply::Result::At(wire_id(at)),
                Err(why) => wire::change_reply::Result::Error(change::error_to_wire(why)),
            };
            Wire::ChangeReply(wire::ChangeReply { id, result: Some(result) })
        }
    };
    (wire, Records::None)
}

pub(super) const fn wire_id(id: LogId) -> wire::LogId {
    wire::LogId { index: id.index, term: id.term }
}

fn append_reply(reply: AppendReply) -> wire::AppendReply {
    let result = match reply {
        AppendReply::Accepted { matched } => wire::append_reply::Result::Matched(matched),
        AppendReply::Rejected { prev, hint } => {
            wire::append_reply::Result::Mismatch(wire::Mismatch { prev, hint: Some(wire_id(hint)) })
        }
    };
    wire::AppendReply { result: Some(result) }
}

const fn refusal(why: Refusal) -> wire::Refusal {
    match why {
        Refusal::NotLeader => wire::Refusal::NotLeader,
        Refusal::Transferring => wire::Refusal::Transferring,
        Refusal::Overloaded => wire::Refusal::Overloaded,
        Refusal::StorageStalled => wire::Refusal::StorageStalled,
        Refusal::ApplyStopped => wire::Refusal::ApplyStopped,
        Refusal::Closing => wire::Refusal::Closing,
        Refusal::NoSuccessor => wire::Refusal::NoSuccessor,
        Refusal::UnknownMember => wire::Refusal::UnknownMember,
        Refusal::NotAVoter => wire::Refusal::NotAVoter,
        Refusal::TooFarBehind => wire::Refusal::TooFarBehind,
    }
}

/// The encoded header of all frames of one lane between two nodes.
#[derive(Clone, Debug)]
pub struct Head(Bytes);

impl Head {
    /// The header of that frame.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        let lane = match frame.lane {
            Lane::Control => wire::Lane::Control,
            Lane::Data => wire::Lane::Data,
            Lane::Bulk => wire::Lane::Bulk,
        };
        let head = wire::Frame {
            format: NEWEST_FORMAT,
            cluster_id: identity_bytes(frame.cluster_id),
            group: frame.group,
            recovery_epoch: frame.recovery_epoch,
            from: frame.from,
            to: frame.to,
            incarnation: identity_bytes(frame.incarnation.0),
            lane: lane.into(),
            messages: Vec::new(),
            records: Bytes::new(),
            snapshot: None,
        };
        Self(head.encode_to_vec().into())
    }
}

pub(crate) fn identity_bytes(identity: u128) -> Bytes {
    Bytes::copy_from_slice(&identity.to_be_bytes())
}

/// One frame, measured and ready to be written.
#[derive(Debug)]
pub struct Encoded {
    head: Head,
    body: EncodedBody,
    size: usize,
}

#[derive(Debug)]
enum EncodedBody {
    Messages { messages: Vec<Outbound>, records_bytes: usize },
    Snapshot(wire::SnapshotMessage),
}

/// Measures a payload and puts it into frames within the bound: one, unless its messages together are over it. A single message
/// that is over the bound is left out and told to `oversized`.
pub fn encode(head: &Head, payload: Payload, mut oversized: impl FnMut(CodecError)) -> Vec<Encoded> {
    let head_bytes = head.0.len();
    let messages = match payload {
        Payload::Messages(messages) => messages,
        Payload::Snapshot(frame) => {
            let message = snapshot::to_wire(frame);
            let size = head_bytes + encoding::message::encoded_len(FRAME_SNAPSHOT, &message);
            if size > MAX_FRAME_BYTES {
                oversized(CodecError::Oversized { size });
                return Vec::new();
            }
            return vec![Encoded { head: head.clone(), body: EncodedBody::Snapshot(message), size }];
        }
    };
    let mut frames = Vec::with_capacity(1);
    let (mut batch, mut batch_records, mut batch_body) = (Vec::with_capacity(messages.len()), 0, 0);
    let whole = |body: usize, records: usize| head_bytes + body + records_field(records);
    let mut close = |messages: Vec<Outbound>, records_bytes: usize, body: usize| {
        if !messages.is_empty() {
            let size = whole(body, records_bytes);
            frames.push(Encoded { head: head.clone(), body: EncodedBody::Messages { messages, records_bytes }, size });
        }
    };
    for message in messages {
        let outbound = Outbound::new(message);
        let (body, records) = (outbound.message_bytes(), outbound.records_bytes);
        if whole(body, records) > MAX_FRAME_BYTES {
            oversized(CodecError::Oversized { size: whole(body, records) });
            continue;
        }
        if whole(batch_body + body, batch_records + records) > MAX_FRAME_BYTES {
            close(std::mem::take(&mut batch), batch_records, batch_body);
            (batch_records, batch_body) = (0, 0);
        }
        batch.push(outbound);
        batch_records += records;
        batch_body += body;
    }
    close(batch, batch_records, batch_body);
    frames
}

/// Bytes of the field `records` as a whole.
fn records_field(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    encoding::key_len(FRAME_RECORDS) + encoding::encoded_len_varint(bytes as u64) + bytes
}

impl Encoded {
    /// Bytes of the encoded frame.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Writes the frame.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_slice(&self.head.0);
        let (messages, records_bytes) = match &self.body {
            EncodedBody::Snapshot(message) => return encoding::message::encode(FRAME_SNAPSHOT, message, out),
            EncodedBody::Messages { messages, records_bytes } => (messages, *records_bytes),
        };
        for outbound in messages {
            encoding::message::encode(FRAME_MESSAGES, &outbound.message, out);
        }
        if records_bytes == 0 {
            return;
        }
        encoding::encode_key(FRAME_RECORDS, WireType::LengthDelimited, out);
        encoding::encode_varint(records_bytes as u64, out);
        for outbound in messages {
            match &outbound.records {
                Records::None => {}
                Records::Entries(entries) => entries.iter().for_each(|entry| out.put_slice(entry.record())),
                Records::Draft(draft) => out.put_slice(draft.as_bytes()),
            }
        }
    }
}

/// What `seal` made of a frame.
#[derive(Debug)]
pub struct Sealed {
    /// One encoding, or more if the messages of the frame were over the bound together.
    pub data: Vec<Bytes>,
    /// Messages that were over the bound by themselves and are left out.
    pub oversized: Vec<CodecError>,
}

/// Encodes a frame with a checksum of its own (`SealedFrame`), for transports that only move bytes.
#[must_use]
pub fn seal(frame: Frame) -> Sealed {
    let mut oversized = Vec::new();
    let frames = encode(&Head::of(&frame), frame.payload, |error| oversized.push(error));
    Sealed { data: frames.iter().map(seal_one).collect(), oversized }
}

fn seal_one(frame: &Encoded) -> Bytes {
    // Tag and checksum, tag and length.
    let mut out = BytesMut::with_capacity(16 + frame.size());
    encoding::encode_key(SEALED_CHECKSUM, WireType::ThirtyTwoBit, &mut out);
    let checksum_at = out.len();
    out.put_u32_le(0);
    encoding::encode_key(SEALED_FRAME, WireType::LengthDelimited, &mut out);
    encoding::encode_varint(frame.size() as u64, &mut out);
    let frame_at = out.len();
    frame.write(&mut out);
    let checksum = crc32c::crc32c(&out[frame_at..]);
    out[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
    out.freeze()
}
