//! Settings, configurations, entries and messages for tests.

use d_engine_raft::{
    Body, Configuration, Draft, Entry, EntryKind, Incarnation, Index, Member, MemberRole, Message, Micros, NodeId,
    Settings, Term,
};

pub const MS: Micros = 1_000;
pub const HEARTBEAT: Micros = 50 * MS;
pub const ELECTION: (Micros, Micros) = (150 * MS, 300 * MS);
pub const STALL: Micros = 15_000 * MS;

pub fn settings() -> Settings {
    Settings {
        heartbeat_interval: HEARTBEAT,
        election_timeout: ELECTION,
        drift_ppm: 1_000,
        storage_stall_timeout: STALL,
        max_append_bytes: 64 << 10,
        max_inflight_messages: 8,
        max_inflight_bytes: 256 << 10,
        max_uncommitted_bytes: 1 << 20,
        tail_bytes: 1 << 20,
        max_applying_bytes: 1 << 20,
    }
}

/// The data directory that a test's node starts with.
pub fn incarnation(id: NodeId) -> Incarnation {
    Incarnation(u128::from(id) << 64 | 0xD15C)
}

pub fn member(id: NodeId) -> Member {
    Member {
        id,
        address: format!("node-{id}:7000"),
        client_address: None,
        role: MemberRole::Voter,
        priority: 0,
        auto_promote: false,
        incarnation: None,
        leaving: false,
    }
}

/// Voters 1 to `nodes`, none of which has been seen.
pub fn unseen(nodes: u64) -> Configuration {
    Configuration { members: (1..=nodes).map(member).collect(), outgoing: Vec::new(), min_election_timeout: ELECTION.0 }
}

/// Voters 1 to `nodes`, with their incarnations.
pub fn seen(nodes: u64) -> Configuration {
    let mut configuration = unseen(nodes);
    for member in &mut configuration.members {
        member.incarnation = Some(incarnation(member.id));
    }
    configuration
}

/// A voter that is known, and votes at once when it is added.
pub fn known(id: NodeId) -> Member {
    Member { incarnation: Some(incarnation(id)), ..member(id) }
}

/// A voter to be: a learner that is promoted by itself.
pub fn candidate(id: NodeId) -> Member {
    Member { auto_promote: true, ..member(id) }
}

/// A learner that stays one.
pub fn learner(id: NodeId) -> Member {
    Member { role: MemberRole::Learner, ..member(id) }
}

/// One entry, as a leader of `term` would have made it.
pub fn entry(index: Index, term: Term, payload: &[u8]) -> Entry {
    stamped(index, term, EntryKind::Command, payload)
}

pub fn stamped(index: Index, term: Term, kind: EntryKind, payload: &[u8]) -> Entry {
    let mut draft = Draft::default();
    draft.push(kind, payload);
    let mut entries = Vec::new();
    draft.stamp(index, term, index, &mut entries);
    entries.remove(0)
}

/// A log written as the terms of its entries, from index 1 on.
pub fn log_of(terms: &[Term]) -> Vec<Entry> {
    (1..).zip(terms).map(|(index, &term)| entry(index, term, format!("{index}@{term}").as_bytes())).collect()
}

pub fn message(from: NodeId, to: NodeId, term: Term, body: Body) -> Message {
    Message { from, incarnation: incarnation(from), to, term, body }
}

/// What kind of message it is.
pub fn name(body: &Body) -> &'static str {
    match body {
        Body::PreVote { .. } => "PreVote",
        Body::PreVoteReply { .. } => "PreVoteReply",
        Body::Vote { .. } => "Vote",
        Body::VoteReply { .. } => "VoteReply",
        Body::Append { .. } => "Append",
        Body::AppendReply(_) => "AppendReply",
        Body::Heartbeat { .. } => "Heartbeat",
        Body::HeartbeatReply { .. } => "HeartbeatReply",
        Body::SnapshotReply { .. } => "SnapshotReply",
        Body::TimeoutNow { .. } => "TimeoutNow",
        Body::Propose { .. } => "Propose",
        Body::ProposeReply { .. } => "ProposeReply",
        Body::ReadIndex { .. } => "ReadIndex",
        Body::ReadIndexReply { .. } => "ReadIndexReply",
        Body::Change { .. } => "Change",
        Body::ChangeReply { .. } => "ChangeReply",
    }
}
