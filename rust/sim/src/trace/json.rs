//! A trace as JSON: what programs read, the page first of all.
//!
//! ```text
//! {"format": "d-engine-trace", "version": 1, "title", "command", "options": [[name, value]], "nodes": [id],
//!  "left_out", "quiet", "violation": null | {"at", "check", "what"}, "before": [row], "rows": [row]}
//! ```
//! A row is an object with `at` (microseconds of the world's time), `fact`, `text` (the fact in words) and what `Fact` has there
//! by the same names. The rows of `before` add up to what was at the beginning of `rows`. Indexes and terms are numbers; what may
//! use all 64 bits is text.

use std::io;

use d_engine_raft::{Entry, Index, LogId, Micros, NodeId, Term};
use serde::Serialize;

use super::told::{Begun, Told, Way};
use super::words::{Words, body_name, end, payload, phase_name, role_name};
use super::{About, Seen, Trace};
use crate::fact::{Outcome, Phase, Position};

/// The format that this build writes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    title: &'a str,
    command: &'a str,
    options: &'a [(String, String)],
    nodes: Vec<NodeId>,
    left_out: u64,
    quiet: u64,
    violation: Option<Refused<'a>>,
    before: Vec<Row<'a>>,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Refused<'a> {
    at: Micros,
    check: &'a str,
    what: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    at: Micros,
    #[serde(flatten)]
    shape: Shape<'a>,
    text: String,
}

/// Index and term.
type Place = (Index, Term);

#[derive(Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
enum Shape<'a> {
    Phase {
        phase: &'static str,
        name: &'static str,
    },
    Struck {
        fault: &'static str,
        nodes: &'a [NodeId],
        lasts: bool,
    },
    Ended {
        fault: &'static str,
        nodes: &'a [NodeId],
    },
    Started {
        node: NodeId,
        incarnation: String,
        term: Term,
        vote: Option<NodeId>,
        purged: Place,
        last: Index,
        runs: &'a [(Index, Term)],
        snapshot: Option<Place>,
        applied: Index,
        configuration: Option<(Index, String)>,
    },
    Clock {
        node: NodeId,
        shown: Micros,
        drift: i64,
    },
    Stopped {
        node: NodeId,
        why: String,
    },
    Stepped {
        node: NodeId,
        now: Micros,
        input: &'static str,
        role: &'static str,
        term: Term,
        leader: Option<NodeId>,
        commit: Index,
        last: Place,
        purged: Place,
        durable: Index,
        applied: Index,
        lease_until: Option<Micros>,
        waiting: usize,
        tail_bytes: usize,
    },
    Persist {
        node: NodeId,
        token: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        hard_state: Option<(Term, Option<NodeId>)>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reset_to: Option<Place>,
        #[serde(skip_serializing_if = "Option::is_none")]
        truncate_from: Option<Index>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<(Index, Term, String)>,
    },
    Durable {
        node: NodeId,
        token: u64,
    },
    Purged {
        node: NodeId,
        upto: Place,
    },
    Configured {
        node: NodeId,
        index: Index,
        configuration: String,
    },
    Sent(Envelope),
    Delivered(Envelope),
    Lost(Envelope),
    Applied {
        node: NodeId,
        first: Index,
        last: Place,
        given: usize,
        state: String,
    },
    Restored {
        node: NodeId,
        last: Place,
        state: String,
    },
    SnapshotKept {
        node: NodeId,
        last: Place,
        bytes: u64,
        received: bool,
    },
    Invoked {
        node: NodeId,
        id: u64,
        client: u64,
    },
    Returned {
        id: u64,
        outcome: &'static str,
    },
}

#[derive(Serialize)]
struct Envelope {
    number: u64,
    from: NodeId,
    to: NodeId,
    term: Term,
    kind: &'static str,
}

/// Writes everything that the trace keeps.
///
/// # Errors
/// Those of `out`.
pub fn json(trace: &Trace, about: &About, out: &mut dyn io::Write) -> io::Result<()> {
    let mut seen = Seen::default();
    let first = trace.records.front().map_or(0, |record| record.at);
    let before = trace.before.retold();
    let mut row = |at, told| {
        let text = Words { told, before: &seen }.to_string();
        seen.add(told);
        Row { at, shape: shape(told), text }
    };
    let before = before.iter().map(|told| row(first, told)).collect();
    let rows = trace.records.iter().map(|record| row(record.at, &record.told)).collect();
    let violation = about.violation.as_ref();
    let document = Document {
        format: "d-engine-trace",
        version: VERSION,
        title: &about.title,
        command: &about.command,
        options: &about.options,
        nodes: trace.nodes(),
        left_out: trace.left_out,
        quiet: trace.quiet,
        violation: violation.map(|(at, refused)| Refused { at: *at, check: refused.check, what: &refused.what }),
        before,
        rows,
    };
    serde_json::to_writer(out, &document).map_err(io::Error::from)
}

const fn place(id: LogId) -> Place {
    (id.index, id.term)
}

fn shape(told: &Told) -> Shape<'_> {
    match told {
        Told::Phase(phase) => Shape::Phase { phase: phase_word(*phase), name: phase_name(*phase) },
        Told::Struck { fault, nodes } => Shape::Struck { fault: fault.name(), nodes, lasts: fault.lasts() },
        Told::Ended { fault, nodes } => Shape::Ended { fault: fault.name(), nodes },
        Told::Started { node, begun } => started(*node, begun),
        Told::Clock { node, shown, drift } => Shape::Clock { node: *node, shown: *shown, drift: *drift },
        Told::Stopped { node, why } => Shape::Stopped { node: *node, why: end(why) },
        Told::Stepped { node, now, input, position } => stepped(*node, *now, input, position),
        Told::Persist { node, persist } => Shape::Persist {
            node: *node,
            token: persist.token,
            hard_state: persist.hard_state.map(|hard_state| (hard_state.term, hard_state.vote)),
            reset_to: persist.reset_to.map(place),
            truncate_from: persist.truncate_from,
            entries: persist.entries.iter().map(entry).collect(),
        },
        Told::Durable { node, token } => Shape::Durable { node: *node, token: *token },
        Told::Purged { node, upto } => Shape::Purged { node: *node, upto: place(*upto) },
        Told::Configured { node, index, configuration } => {
            Shape::Configured { node: *node, index: *index, configuration: configuration.to_string() }
        }
        Told::Message { way, number, message } => {
            let kind = body_name(&message.body);
            let envelope = Envelope { number: *number, from: message.from, to: message.to, term: message.term, kind };
            match way {
                Way::Sent => Shape::Sent(envelope),
                Way::Delivered => Shape::Delivered(envelope),
                Way::Lost => Shape::Lost(envelope),
            }
        }
        Told::Applied { node, first, last, given, state } => Shape::Applied {
            node: *node,
            first: *first,
            last: place(*last),
            given: *given,
            state: format!("{state:016x}"),
        },
        Told::Restored { node, last, state } => {
            Shape::Restored { node: *node, last: place(*last), state: format!("{state:016x}") }
        }
        Told::SnapshotKept { node, last, bytes, received } => {
            Shape::SnapshotKept { node: *node, last: place(*last), bytes: *bytes, received: *received }
        }
        Told::Invoked(operation) => Shape::Invoked { node: operation.node, id: operation.id, client: operation.client },
        Told::Returned { id, outcome } => Shape::Returned { id: *id, outcome: outcome_word(outcome) },
    }
}

const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Faults => "faults",
        Phase::Healing => "healing",
        Phase::Over => "over",
    }
}

const fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Written { .. }
        | Outcome::Answered { .. }
        | Outcome::Opened(_)
        | Outcome::Read { .. }
        | Outcome::Queried { .. }
        | Outcome::Done => "done",
        Outcome::Refused(_) => "refused",
        Outcome::Unknown(_) | Outcome::Gone => "unknown",
    }
}

fn started(node: NodeId, begun: &Begun) -> Shape<'_> {
    Shape::Started {
        node,
        incarnation: begun.incarnation.to_string(),
        term: begun.hard_state.term,
        vote: begun.hard_state.vote,
        purged: place(begun.purged),
        last: begun.last,
        runs: &begun.runs,
        snapshot: begun.snapshot.map(place),
        applied: begun.applied,
        configuration: begun.configuration.as_ref().map(|(index, members)| (*index, members.to_string())),
    }
}

const fn stepped(node: NodeId, now: Micros, input: &'static str, position: &Position) -> Shape<'static> {
    Shape::Stepped {
        node,
        now,
        input,
        role: role_name(position.role),
        term: position.term,
        leader: position.leader,
        commit: position.commit,
        last: place(position.last),
        purged: place(position.purged),
        durable: position.durable,
        applied: position.applied,
        lease_until: position.lease_until,
        waiting: position.waiting,
        tail_bytes: position.tail_bytes,
    }
}

fn entry(entry: &Entry) -> (Index, Term, String) {
    (entry.index(), entry.term(), payload(entry))
}
