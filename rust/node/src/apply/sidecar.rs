//! What a durable state machine keeps for the node beside its own position.

use d_engine_raft::{LogId, Term, WallMicros};

use crate::driver::Sessions;

/// Version 1 ended behind the time.
const VERSION: u8 = 2;
/// It is written with every batch: no more than that of kept results is worth it.
const MAX_RESULT_BYTES: u64 = 64 << 10;

/// The bytes to store. Of a batch that is still to be applied no result is in them: after a restart they are lost, and the entries
/// are known as applied all the same.
pub fn encode(last: LogId, time: WallMicros, sessions: &Sessions) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&last.term.to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&sessions.encode_within(MAX_RESULT_BYTES));
    out
}

/// The term and time of the last applied entry, and the sessions.
pub fn decode(bytes: &[u8]) -> Result<(Term, WallMicros, Sessions), &'static str> {
    let [version @ 1..=VERSION, rest @ ..] = bytes else { return Err("its format is unknown") };
    let Some((term, rest)) = rest.split_first_chunk::<8>() else { return Err("it is cut off") };
    let Some((time, rest)) = rest.split_first_chunk::<8>() else { return Err("it is cut off") };
    if *version == 1 && !rest.is_empty() {
        return Err("its length is wrong");
    }
    Ok((u64::from_le_bytes(*term), u64::from_le_bytes(*time), Sessions::decode(rest)?))
}
