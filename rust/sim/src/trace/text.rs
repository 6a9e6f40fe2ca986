//! A trace as text: one line a fact, aligned, with a column for each node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use d_engine_raft::NodeId;

use super::words::{Words, millis};
use super::{About, Seen, Told, Trace};

const LEGEND: &str = "in a node's column: role (L leader, C candidate, P pre-candidate, f follower, - does not run) and term, \
                      then commit index/last index; #n is a message, a@b the entry of index a and term b";

/// Some facts between two looks at all nodes.
const BETWEEN_LOOKS: usize = 40;

struct Line {
    at: String,
    cells: BTreeMap<NodeId, String>,
    words: String,
}

/// The last facts of a trace, at most so many, under a heading.
#[must_use]
pub fn text(trace: &Trace, about: &About, last: usize) -> String {
    let skipped = trace.records.len().saturating_sub(last);
    let mut seen = trace.before.clone();
    for record in trace.records.iter().take(skipped) {
        seen.add(&record.told);
    }
    let mut out = heading(about, trace.left_out + skipped as u64, trace.quiet);
    let first = trace.records.get(skipped).map_or(0, |record| record.at);
    let mut lines = vec![look(first, &seen, "so far")];
    for (number, record) in trace.records.iter().skip(skipped).enumerate() {
        if number > 0 && number % BETWEEN_LOOKS == 0 {
            lines.push(look(record.at, &seen, ""));
        }
        let words = Words { told: &record.told, before: &seen }.to_string();
        seen.add(&record.told);
        lines.push(Line { at: millis(record.at), cells: cells(&record.told, &seen), words });
    }
    if let Some((at, violation)) = &about.violation {
        lines.push(look(*at, &seen, &format!("VIOLATION {violation}")));
    }
    write_lines(&mut out, &trace.nodes(), &lines);
    out
}

fn heading(about: &About, left_out: u64, quiet: u64) -> String {
    let mut out = String::new();
    if !about.title.is_empty() {
        let _ = writeln!(out, "{}", about.title);
    }
    if let Some((at, violation)) = &about.violation {
        let _ = writeln!(out, "violation after {} ms: {violation}", millis(*at));
    }
    let width = about.options.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &about.options {
        let _ = writeln!(out, "  {name:width$}  {value}");
    }
    if !about.command.is_empty() {
        let _ = writeln!(out, "again: {}", about.command);
    }
    let _ = writeln!(out, "{LEGEND}");
    let _ = writeln!(out, "{left_out} earlier facts and {quiet} steps that changed nothing are left out\n");
    out
}

fn look(at: u64, seen: &Seen, words: &str) -> Line {
    let cells = seen.nodes.iter().map(|(id, node)| (*id, node.cell())).collect();
    Line { at: millis(at), cells, words: words.to_owned() }
}

/// The columns that a fact is about.
fn cells(told: &Told, seen: &Seen) -> BTreeMap<NodeId, String> {
    let whom: Vec<NodeId> = match told {
        Told::Struck { nodes, .. } | Told::Ended { nodes, .. } => nodes.to_vec(),
        Told::Phase(_) => seen.nodes.keys().copied().collect(),
        _ => told.node().into_iter().collect(),
    };
    whom.into_iter().filter_map(|id| seen.nodes.get(&id).map(|node| (id, node.cell()))).collect()
}

fn write_lines(out: &mut String, nodes: &[NodeId], lines: &[Line]) {
    let time = lines.iter().map(|line| line.at.len()).max().unwrap_or(0).max("ms".len());
    let widths: Vec<_> = nodes
        .iter()
        .map(|id| {
            let head = format!("node {id}").len();
            lines.iter().filter_map(|line| line.cells.get(id)).map(String::len).max().unwrap_or(0).max(head)
        })
        .collect();
    let mut write = |at: &str, cell: &dyn Fn(NodeId) -> String, words: &str| {
        let mut line = format!("{at:>time$}");
        for (id, width) in nodes.iter().zip(&widths) {
            let _ = write!(line, "  {:width$}", cell(*id));
        }
        let _ = write!(line, "  {words}");
        out.push_str(line.trim_end());
        out.push('\n');
    };
    write("ms", &|id| format!("node {id}"), "");
    for line in lines {
        write(&line.at, &|id| line.cells.get(&id).cloned().unwrap_or_default(), &line.words);
    }
}
