//! Bytes to frames. Whatever comes in, only frames that keep the contract come out.

use bytes::Bytes;
use d_engine_node::{Frame, Lane, Payload};
use d_engine_raft::{
    AppendReply, Body, Configuration, Draft, Entry, EntryKind, Incarnation, LogId, Message, NodeId, Refusal, Term,
};
use prost::Message as _;

use super::{CodecError, MAX_FRAME_BYTES, NEWEST_FORMAT, OLDEST_FORMAT, change, snapshot};
use crate::wire;
use crate::wire::raft_message::Body as Wire;

/// What `SealedFrame` adds to a frame at most: two tags, the checksum, the length.
const SEAL_BYTES: usize = 16;

/// Reads a frame and its checksum as `seal` wrote them. Payloads are slices of `source`.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn unseal(source: Bytes) -> Result<Frame, CodecError> {
    if source.len() > MAX_FRAME_BYTES + SEAL_BYTES {
        return Err(CodecError::Oversized { size: source.len() });
    }
    let sealed = wire::SealedFrame::decode(source)?;
    let computed = crc32c::crc32c(&sealed.frame);
    if computed != sealed.crc32c {
        return Err(CodecError::Checksum { stored: sealed.crc32c, computed });
    }
    decode(sealed.frame)
}

/// Reads a frame without a checksum of its own. Payloads are slices of `source`.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode(source: Bytes) -> Result<Frame, CodecError> {
    if source.len() > MAX_FRAME_BYTES {
        return Err(CodecError::Oversized { size: source.len() });
    }
    open(wire::Frame::decode(source)?)
}

/// Checks a frame that is decoded as protobuf, and everything in it.
///
/// # Errors
/// Says what is wrong with it.
pub fn open(frame: wire::Frame) -> Result<Frame, CodecError> {
    if !(OLDEST_FORMAT..=NEWEST_FORMAT).contains(&frame.format) {
        return Err(CodecError::Format { found: frame.format });
    }
    let mut opened = Frame {
        cluster_id: identity(&frame.cluster_id, "cluster_id")?,
        group: frame.group,
        recovery_epoch: frame.recovery_epoch,
        version: frame.format,
        from: node_id(frame.from, "the sender")?,
        incarnation: Incarnation(identity(&frame.incarnation, "incarnation")?),
        to: node_id(frame.to, "the receiver")?,
        lane: lane(frame.lane)?,
        payload: Payload::Messages(Vec::with_capacity(frame.messages.len())),
    };
    let mut records = frame.records;
    match frame.snapshot {
        Some(_) if !frame.messages.is_empty() => return Err(CodecError::Mixed),
        Some(message) => opened.payload = Payload::Snapshot(snapshot::open(message)?),
        None if frame.messages.is_empty() => return Err(CodecError::Missing("what the frame carries")),
        None => {
            let (from, incarnation, to) = (opened.from, opened.incarnation, opened.to);
            let mut messages = Vec::with_capacity(frame.messages.len());
            for message in frame.messages {
                let term = message.term;
                let body = open_body(message, &mut records)?;
                messages.push(Message { from, incarnation, to, term, body });
            }
            opened.payload = Payload::Messages(messages);
        }
    }
    if records.is_empty() { Ok(opened) } else { Err(CodecError::Records { claimed: 0, found: records.len() }) }
}

fn lane(found: i32) -> Result<Lane, CodecError> {
    match wire::Lane::try_from(found) {
        Ok(wire::Lane::Control) => Ok(Lane::Control),
        Ok(wire::Lane::Data) => Ok(Lane::Data),
        Ok(wire::Lane::Bulk) => Ok(Lane::Bulk),
        Ok(wire::Lane::Unspecified) | Err(_) => {
            Err(CodecError::Value { field: "the lane", found: i64::from(found).cast_unsigned() })
        }
    }
}

/// Reads 16 bytes.
pub(crate) fn identity(bytes: &[u8], field: &'static str) -> Result<u128, CodecError> {
    let found = bytes.len() as u64;
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| CodecError::Length { field, found, expected: 16 })?;
    Ok(u128::from_be_bytes(bytes))
}

fn node_id(found: u64, field: &'static str) -> Result<NodeId, CodecError> {
    if found == 0 { Err(CodecError::Value { field, found }) } else { Ok(found) }
}

fn open_body(message: wire::RaftMessage, records: &mut Bytes) -> Result<Body, CodecError> {
    Ok(match message.body.ok_or(CodecError::Missing("the body of a message"))? {
        Wire::PreVote(wire::PreVote { last }) => Body::PreVote { last: log_id(last, "last of a pre-vote")? },
        Wire::PreVoteReply(wire::PreVoteReply { granted }) => Body::PreVoteReply { granted },
        Wire::Vote(wire::Vote { last, transfer }) => Body::Vote { last: log_id(last, "last of a vote")?, transfer },
        Wire::VoteReply(wire::VoteReply { granted }) => Body::VoteReply { granted },
        Wire::Append(append) => open_append(message.term, &append, records)?,
        Wire::AppendReply(reply) => Body::AppendReply(append_reply(&reply)?),
        Wire::Heartbeat(wire::Heartbeat { round, commit }) => Body::Heartbeat { round, commit },
        Wire::HeartbeatReply(wire::HeartbeatReply { round, last, apply_stopped }) => {
            Body::HeartbeatReply { round, last, apply_stopped }
        }
        Wire::SnapshotReply(wire::SnapshotReply { matched }) => Body::SnapshotReply { matched },
        Wire::TimeoutNow(wire::TimeoutNow { target }) => {
            Body::TimeoutNow { target: Incarnation(identity(&target, "the target of a transfer")?) }
        }
        Wire::Propose(wire::Propose { id, records_bytes }) => {
            let entries = Draft::from_bytes(&take(records, records_bytes)?)?;
            if entries.is_empty() {
                return Err(CodecError::Missing("what a forwarded proposal proposes"));
            }
            Body::Propose { id, entries }
        }
        Wire::ProposeReply(wire::ProposeReply { id, result }) => {
            let result = match result.ok_or(CodecError::Missing("the result of a forwarded proposal"))? {
                wire::propose_reply::Result::At(at) => Ok(LogId::new(at.index, at.term)),
                wire::propose_reply::Result::Refusal(why) => Err(refusal(why)?),
            };
            Body::ProposeReply { id, result }
        }
        Wire::ReadIndex(wire::ReadIndex { id, lease }) => Body::ReadIndex { id, lease },
        Wire::ReadIndexReply(wire::ReadIndexReply { id, result }) => {
            let result = match result.ok_or(CodecError::Missing("the result of a read"))? {
                wire::read_index_reply::Result::Index(index) => Ok(index),
                wire::read_index_reply::Result::Refusal(why) => Err(refusal(why)?),
            };
            Body::ReadIndexReply { id, result }
        }
        Wire::Change(wire::Change { id, changes }) => {
            let changes = changes.into_iter().map(change::open_change).collect::<Result<_, _>>()?;
            Body::Change { id, changes }
        }
        Wire::ChangeReply(wire::ChangeReply { id, result }) => {
            let result = match result.ok_or(CodecError::Missing("the result of a forwarded change"))? {
                wire::change_reply::Result::At(at) => Ok(LogId::new(at.index, at.term)),
                wire::change_reply::Result::Error(why) => Err(change::open_error(why)?),
            };
            Body::ChangeReply { id, result }
        }
    })
}

fn open_append(message_term: Term, append: &wire::Append, records: &mut Bytes) -> Result<Body, CodecError> {
    let prev = log_id(append.prev, "prev of an append")?;
    let entries = Entry::decode_all(take(records, append.records_bytes)?)?;
    let mut after = prev;
    for entry in &entries {
        let id = entry.id();
        if after.index.checked_add(1) != Some(id.index) || id.term < after.term || id.term > message_term {
            return Err(CodecError::Order {
                index: id.index,
                term: id.term,
                after: after.index,
                after_term: after.term,
                message_term,
            });
        }
        if entry.kind() == EntryKind::Configuration {
            Configuration::decode(&entry.payload())
                .map_err(|source| CodecError::Configuration { index: id.index, source })?;
        }
        after = id;
    }
    Ok(Body::Append { prev, commit: append.commit, entries: entries.into() })
}

fn append_reply(reply: &wire::AppendReply) -> Result<AppendReply, CodecError> {
    Ok(match reply.result.ok_or(CodecError::Missing("the result of an append"))? {
        wire::append_reply::Result::Matched(matched) => AppendReply::Accepted { matched },
        wire::append_reply::Result::Mismatch(wire::Mismatch { prev, hint }) => {
            AppendReply::Rejected { prev, hint: log_id(hint, "hint of a mismatch")? }
        }
    })
}

/// The next message's share of the frame's records.
fn take(records: &mut Bytes, claimed: u64) -> Result<Bytes, CodecError> {
    match usize::try_from(claimed) {
        Ok(length) if length <= records.len() => Ok(records.split_to(length)),
        _ => Err(CodecError::Records { claimed, found: records.len() }),
    }
}

pub(super) fn log_id(id: Option<wire::LogId>, what: &'static str) -> Result<LogId, CodecError> {
    id.map(|id| LogId::new(id.index, id.term)).ok_or(CodecError::Missing(what))
}

fn refusal(why: i32) -> Result<Refusal, CodecError> {
    match wire::Refusal::try_from(why) {
        Ok(wire::Refusal::NotLeader) => Ok(Refusal::NotLeader),
        Ok(wire::Refusal::Transferring) => Ok(Refusal::Transferring),
        Ok(wire::Refusal::Overloaded) => Ok(Refusal::Overloaded),
        Ok(wire::Refusal::StorageStalled) => Ok(Refusal::StorageStalled),
        Ok(wire::Refusal::ApplyStopped) => Ok(Refusal::ApplyStopped),
        Ok(wire::Refusal::Closing) => Ok(Refusal::Closing),
        Ok(wire::Refusal::NoSuccessor) => Ok(Refusal::NoSuccessor),
        Ok(wire::Refusal::UnknownMember) => Ok(Refusal::UnknownMember),
        Ok(wire::Refusal::NotAVoter) => Ok(Refusal::NotAVoter),
        Ok(wire::Refusal::TooFarBehind) => Ok(Refusal::TooFarBehind),
        Ok(wire::Refusal::Unspecified) | Err(_) => {
            Err(CodecError::Value { field: "a refusal", found: i64::from(why).cast_unsigned() })
        }
    }
}
