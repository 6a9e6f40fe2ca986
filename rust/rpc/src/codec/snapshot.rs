//! Messages about snapshot transfers.

use bytes::Bytes;
use d_engine_node::{SnapshotFrame, SnapshotMeta};
use d_engine_raft::LogId;

use super::CodecError;
use super::decode::log_id;
use super::encode::wire_id;
use crate::wire;
use crate::wire::snapshot_message::Body;

pub(super) fn to_wire(frame: SnapshotFrame) -> wire::SnapshotMessage {
    let (transfer, body) = match frame {
        SnapshotFrame::Offer { transfer, term, meta } => {
            let digest = meta.digest.map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(&digest));
            (
                transfer,
                Body::Offer(wire::SnapshotOffer { term, last: Some(wire_id(meta.last)), digest, size: meta.size }),
            )
        }
        SnapshotFrame::Accept { transfer, offset } => (transfer, Body::Accept(wire::SnapshotAccept { offset })),
        SnapshotFrame::Chunk { transfer, offset, crc, data } => {
            (transfer, Body::Chunk(wire::SnapshotChunk { offset, crc32c: crc, data }))
        }
        SnapshotFrame::Ack { transfer, offset } => (transfer, Body::Ack(wire::SnapshotAck { offset })),
        SnapshotFrame::Done { transfer, installed } => {
            (transfer, Body::Done(wire::SnapshotDone { installed: installed.map(wire_id) }))
        }
    };
    wire::SnapshotMessage { transfer, body: Some(body) }
}

pub(super) fn open(message: wire::SnapshotMessage) -> Result<SnapshotFrame, CodecError> {
    let transfer = message.transfer;
    Ok(match message.body.ok_or(CodecError::Missing("the body of a snapshot message"))? {
        Body::Offer(wire::SnapshotOffer { term, last, digest, size }) => {
            let found = digest.len() as u64;
            let digest: [u8; 32] =
                digest.as_ref().try_into().map_err(|_| CodecError::Length { field: "digest", found, expected: 32 })?;
            let last = log_id(last, "last of a snapshot")?;
            SnapshotFrame::Offer { transfer, term, meta: SnapshotMeta { last, digest: Some(digest), size } }
        }
        Body::Accept(wire::SnapshotAccept { offset }) => SnapshotFrame::Accept { transfer, offset },
        Body::Chunk(wire::SnapshotChunk { offset, crc32c: crc, data }) => {
            if crc32c::crc32c(&data) != crc {
                return Err(CodecError::Chunk { offset });
            }
            SnapshotFrame::Chunk { transfer, offset, crc, data }
        }
        Body::Ack(wire::SnapshotAck { offset }) => SnapshotFrame::Ack { transfer, offset },
        Body::Done(wire::SnapshotDone { installed }) => {
            SnapshotFrame::Done { transfer, installed: installed.map(|id| LogId::new(id.index, id.term)) }
        }
    })
}
