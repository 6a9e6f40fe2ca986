//! What a durable state machine keeps for the node beside its own position.

use d_engine_raft::{LogId, Term, WallMicros};

const VERSION: u8 = 1;

/// The bytes to store.
pub fn encode(last: LogId, time: WallMicros) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&last.term.to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
    out
}

/// The term and time of the last applied entry.
pub fn decode(bytes: &[u8]) -> Result<(Term, WallMicros), &'static str> {
    let [VERSION, rest @ ..] = bytes else { return Err("its format is unknown") };
    let (Some(term), Some(time)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) else {
        return Err("it is cut off");
    };
    if rest.len() != 16 {
        return Err("its length is wrong");
    }
    Ok((u64::from_le_bytes(*term), u64::from_le_bytes(*time)))
}
