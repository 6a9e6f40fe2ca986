//! Facts in words, one line each.

use std::fmt::{self, Write as _};

use d_engine_node::Consistency;
use d_engine_raft::{
    AppendReply, Body, Change, Entry, EntryKind, Incarnation, Index, LogId, NodeId, Persist, Role, Term,
};

use super::seen::{NodeSeen, Seen};
use super::told::{Begun, Told, Way};
use crate::fact::{End, Fault, Operation, Outcome, Phase, Position, Request};

/// A fact, told to somebody who knows what was before.
pub struct Words<'a> {
    /// What happened.
    pub told: &'a Told,
    /// Everything until then.
    pub before: &'a Seen,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.told {
            Told::Phase(phase) => write!(out, "== {}", phase_name(*phase)),
            Told::Struck { fault, nodes } => write!(out, "FAULT {}", struck(*fault, nodes)),
            Told::Ended { fault, nodes } => write!(out, "fault {} ends{}", fault.name(), at(nodes)),
            Told::Started { begun, .. } => started(out, begun),
            Told::Clock { shown, drift, .. } => {
                write!(out, "clock shows {} ms and runs {drift:+} ppm off", millis(*shown))
            }
            Told::Stopped { why, .. } => write!(out, "STOPS: {}", end(why)),
            Told::Stepped { node, input, position, .. } => {
                write!(out, "{input}: ")?;
                stepped(out, self.before.nodes.get(node), position)
            }
            Told::Persist { persist, .. } => persisted(out, persist),
            Told::Durable { token, .. } => write!(out, "durable: token {token}"),
            Told::Purged { upto, .. } => write!(out, "log purged up to {upto}"),
            Told::Configured { index, configuration, .. } => write!(out, "configuration of {index}: {configuration}"),
            Told::Message { way, number, message } => {
                let way = match way {
                    Way::Sent => "sends",
                    Way::Delivered => "gets",
                    Way::Lost => "never gets",
                };
                write!(out, "{way} #{number} {}>{} t{} ", message.from, message.to, message.term)?;
                body(out, &message.body)
            }
            Told::Applied { first, last, given, state, .. } => {
                write!(out, "applied {first}..{last}, {given} of them commands; state {state:016x}")
            }
            Told::Restored { last, state, .. } => {
                write!(out, "restored from the snapshot of {last}; state {state:016x}")
            }
            Told::SnapshotKept { last, bytes, received, .. } => {
                let how = if *received { "received" } else { "made" };
                write!(out, "snapshot of {last} {how}, {bytes} bytes")
            }
            Told::Invoked(operation) => call(out, operation),
            Told::Returned { id, outcome } => {
                write!(out, "call {id}: ")?;
                returned(out, outcome)
            }
        }
    }
}

/// A phase by name.
pub const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Faults => "faults strike",
        Phase::Healing => "faults have ended, the cluster heals",
        Phase::Over => "over, everything is compared",
    }
}

/// A role by name.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

/// What a message is, in one word.
pub const fn body_name(body: &Body) -> &'static str {
    match body {
        Body::PreVote { .. } => "pre-vote",
        Body::PreVoteReply { .. } => "pre-vote-reply",
        Body::Vote { .. } => "vote",
        Body::VoteReply { .. } => "vote-reply",
        Body::Append { .. } => "append",
        Body::AppendReply(_) => "append-reply",
        Body::Heartbeat { .. } => "heartbeat",
        Body::HeartbeatReply { .. } => "heartbeat-reply",
        Body::SnapshotReply { .. } => "snapshot-reply",
        Body::TimeoutNow { .. } => "timeout-now",
        Body::Propose { .. } => "propose",
        Body::ProposeReply { .. } => "propose-reply",
        Body::ReadIndex { .. } => "read-index",
        Body::ReadIndexReply { .. } => "read-index-reply",
        Body::Change { .. } => "change",
        Body::ChangeReply { .. } => "change-reply",
    }
}

/// Why a node does not run.
pub fn end(why: &End) -> String {
    match why {
        End::Crash => "crash".to_owned(),
        End::Power => "power loss".to_owned(),
        End::Closed => "closed".to_owned(),
        End::Storage(reason) => format!("storage: {reason}"),
        End::Wiped => "disk exchanged".to_owned(),
    }
}

/// What an entry carries, as far as it can be read.
pub fn payload(entry: &Entry) -> String {
    let text = match entry.kind() {
        EntryKind::Noop => return "no-op".to_owned(),
        EntryKind::Configuration => return "configuration".to_owned(),
        EntryKind::Session => return "opens a session".to_owned(),
        EntryKind::Command => readable(&entry.payload()),
    };
    let session = Some((entry.session(), entry.sequence())).filter(|(session, _)| *session != 0);
    format!("{text}{}", in_session(session))
}

/// The beginning of some bytes: as text if they are text, else in hexadecimal digits.
fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let is_text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let shown = if is_text { SHOWN } else { SHOWN / 2 };
    let mut text = String::new();
    for byte in bytes.iter().take(shown) {
        let _ = if is_text { write!(text, "{}", char::from(*byte)) } else { write!(text, "{byte:02x}") };
    }
    if bytes.len() > shown {
        text.push('…');
    }
    text
}

/// Which call of which session.
fn in_session(session: Option<(u64, u64)>) -> String {
    session.map_or(String::new(), |(session, sequence)| format!(" ({session}/{sequence})"))
}

/// A run of entries: `13..15@4`, with every term in it.
pub fn range(entries: &[Entry]) -> String {
    let mut runs: Vec<(u64, u64, Term)> = Vec::new();
    for entry in entries {
        match runs.last_mut() {
            Some((_, last, term)) if *term == entry.term() => *last = entry.index(),
            _ => runs.push((entry.index(), entry.index(), entry.term())),
        }
    }
    let words: Vec<_> = runs.iter().map(|(first, last, term)| run(*first, *last, *term)).collect();
    words.join(" ")
}

fn run(first: Index, last: Index, term: Term) -> String {
    if first == last { format!("{first}@{term}") } else { format!("{first}..{last}@{term}") }
}

/// Whom something concerns; nothing where it concerns all.
fn at(nodes: &[NodeId]) -> String {
    match nodes {
        [] => String::new(),
        [node] => format!(" at node {node}"),
        _ => format!(" at nodes {}", nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn struck(fault: Fault, nodes: &[NodeId]) -> String {
    let verb = if fault.lasts() { "begins" } else { "strikes" };
    format!("{} {verb}{}: {}", fault.name(), at(nodes), fault.describe())
}

/// Enough of 128 random bits to tell them apart.
fn short(incarnation: Incarnation) -> String {
    let mut text = incarnation.to_string();
    text.truncate(6);
    text
}

fn started(out: &mut fmt::Formatter<'_>, begun: &Begun) -> fmt::Result {
    write!(out, "STARTS: term {}", begun.hard_state.term)?;
    if let Some(vote) = begun.hard_state.vote {
        write!(out, " (voted for {vote})")?;
    }
    match begun.runs.as_slice() {
        [] => write!(out, ", log empty behind {}", begun.purged)?,
        runs => {
            let ends = runs.iter().skip(1).map(|(first, _)| first - 1).chain([begun.last]);
            let words: Vec<_> = runs.iter().zip(ends).map(|((first, term), last)| run(*first, last, *term)).collect();
            write!(out, ", log {}", words.join(" "))?;
        }
    }
    if let Some(snapshot) = begun.snapshot {
        write!(out, ", snapshot of {snapshot}")?;
    }
    write!(out, ", directory {}", short(begun.incarnation))
}

/// What a step changed. A step that follows a start tells everything.
fn stepped(out: &mut fmt::Formatter<'_>, before: Option<&NodeSeen>, position: &Position) -> fmt::Result {
    let Some((_, old)) = before.and_then(|seen| seen.step.as_ref()) else {
        return write!(
            out,
            "{} of term {}, commit {}, log {}..{}, durable {}, applied {}",
            role_name(position.role),
            position.term,
            position.commit,
            position.purged.index + 1,
            position.last,
            position.durable,
            position.applied
        );
    };
    let mut changes = Vec::new();
    if old.role != position.role {
        changes.push(format!("{} -> {}", role_name(old.role), role_name(position.role)));
    }
    if old.leader != position.leader {
        changes.push(position.leader.map_or("no leader".to_owned(), |leader| format!("leader {leader}")));
    }
    let mut number = |name: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("{name} {old} -> {new}"));
        }
    };
    number("term", old.term.to_string(), position.term.to_string());
    number("log", old.last.to_string(), position.last.to_string());
    number("durable", old.durable.to_string(), position.durable.to_string());
    number("commit", old.commit.to_string(), position.commit.to_string());
    number("applied", old.applied.to_string(), position.applied.to_string());
    number("purged", old.purged.to_string(), position.purged.to_string());
    if old.lease_until != position.lease_until {
        changes.push(
            position.lease_until.map_or("no lease".to_owned(), |until| format!("lease until {} ms", millis(until))),
        );
    }
    write!(out, "{}", if changes.is_empty() { "as before".to_owned() } else { changes.join(", ") })
}

fn persisted(out: &mut fmt::Formatter<'_>, persist: &Persist) -> fmt::Result {
    let mut parts = Vec::new();
    if let Some(hard_state) = persist.hard_state {
        let vote = hard_state.vote.map_or("no vote".to_owned(), |vote| format!("vote for {vote}"));
        parts.push(format!("term {}, {vote}", hard_state.term));
    }
    if let Some(base) = persist.reset_to {
        parts.push(format!("log begins behind {base}"));
    }
    if let Some(from) = persist.truncate_from {
        parts.push(format!("cut from {from}"));
    }
    if !persist.entries.is_empty() {
        parts.push(format!("entries {}", range(&persist.entries)));
    }
    write!(out, "wants on disk, token {}: {}", persist.token, parts.join(", "))
}

fn body(out: &mut fmt::Formatter<'_>, body: &Body) -> fmt::Result {
    write!(out, "{}", body_name(body))?;
    let granted = |granted: bool| if granted { "yes" } else { "no" };
    match body {
        Body::PreVote { last } => write!(out, ", log ends at {last}"),
        Body::Vote { last, transfer } => {
            write!(out, ", log ends at {last}{}", if *transfer { ", after a transfer" } else { "" })
        }
        Body::PreVoteReply { granted: word } | Body::VoteReply { granted: word } => write!(out, ": {}", granted(*word)),
        Body::Append { prev, commit, entries } => match entries.len() {
            0 => write!(out, " after {prev}: nothing, commit {commit}"),
            _ => write!(out, " after {prev}: {}, commit {commit}", range(entries)),
        },
        Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => {
            write!(out, ": holds up to {matched}")
        }
        Body::AppendReply(AppendReply::Rejected { prev, hint }) => write!(out, ": not {prev}; hint {hint}"),
        Body::Heartbeat { round, commit } => write!(out, " round {round}, commit {commit}"),
        Body::HeartbeatReply { round, last, apply_stopped } => {
            let stopped = if *apply_stopped { ", apply has stopped" } else { "" };
            write!(out, " round {round}, log ends at {last}{stopped}")
        }
        Body::TimeoutNow { target } => write!(out, " for directory {}", short(*target)),
        Body::Propose { id, entries } => write!(out, " {id}: {} entries", entries.len()),
        Body::ProposeReply { id, result } => answer(out, *id, result.as_ref().map(|place| format!("from {place} on"))),
        Body::ReadIndex { id, lease } => write!(out, " {id}{}", if *lease { ", a lease will do" } else { "" }),
        Body::ReadIndexReply { id, result } => {
            answer(out, *id, result.as_ref().map(|index| format!("wait for {index}")))
        }
        Body::Change { id, changes } => write!(out, " {id}: {}", changes_in_words(changes)),
        Body::ChangeReply { id, result } => answer(out, *id, result.as_ref().map(LogId::to_string)),
    }
}

fn answer<E: fmt::Display>(out: &mut fmt::Formatter<'_>, id: u64, result: Result<String, E>) -> fmt::Result {
    match result {
        Ok(good) => write!(out, " {id}: {good}"),
        Err(refusal) => write!(out, " {id}: refused, {refusal}"),
    }
}

fn changes_in_words(changes: &[Change]) -> String {
    let words = changes.iter().map(|change| {
        let verb = match change {
            Change::Add(_) => "add",
            Change::Remove(_) => "remove",
            Change::Promote(_) => "promote",
            Change::Demote(_) => "demote",
        };
        format!("{verb} {}", change.id())
    });
    words.collect::<Vec<_>>().join(", ")
}

fn call(out: &mut fmt::Formatter<'_>, operation: &Operation) -> fmt::Result {
    write!(out, "call {} of client {} to {}: ", operation.id, operation.client, operation.node)?;
    match &operation.request {
        Request::Write { key, value, session } => write!(out, "k{key} := {value}{}", in_session(*session)),
        Request::Command { payload, session } => write!(out, "{}{}", readable(payload), in_session(*session)),
        Request::OpenSession => write!(out, "open a session"),
        Request::Read { key, consistency } => write!(out, "read k{key}, {}", consistency_name(*consistency)),
        Request::Query { query, consistency } => {
            write!(out, "query {}, {}", readable(query), consistency_name(*consistency))
        }
        Request::Change(changes) => write!(out, "{}", changes_in_words(changes)),
        Request::Transfer(Some(to)) => write!(out, "transfer to {to}"),
        Request::Transfer(None) => write!(out, "transfer to whom it likes"),
        Request::Snapshot => write!(out, "take a snapshot"),
        Request::Close => write!(out, "close"),
    }
}

const fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Linearizable => "linearizable",
        Consistency::Lease => "lease",
        Consistency::Eventual => "eventual",
    }
}

fn returned(out: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    match outcome {
        Outcome::Written { index, previous } => write!(out, "written at {index} over {previous}"),
        Outcome::Answered { index, result } => write!(out, "applied at {index}: {}", readable(result)),
        Outcome::Queried { answer, applied } => write!(out, "answer {}, {applied} applied", readable(answer)),
        Outcome::Opened(session) => write!(out, "session {session}"),
        Outcome::Read { value, applied } => write!(out, "reads {value}, {applied} applied"),
        Outcome::Done => write!(out, "done"),
        Outcome::Refused(reason) => write!(out, "refused, {reason}"),
        Outcome::Unknown(reason) => write!(out, "nobody knows, {reason}"),
        Outcome::Gone => write!(out, "the node is gone"),
    }
}

/// Microseconds as milliseconds with all their digits.
pub fn millis(at: u64) -> String {
    format!("{}.{:03}", at / 1000, at % 1000)
}
