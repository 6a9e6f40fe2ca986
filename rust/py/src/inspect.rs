//! `log_inspect` and `log_verify`: a data directory, looked at from outside.

use std::fs;
use std::path::{Path, PathBuf};

use d_engine_raft::{Configuration, LogId};
use d_engine_wal::{DirectoryReport, Identity, LogReport, WalError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::Report;

/// Where the native storage keeps its snapshots, inside the data directory, and how it names them.
const SNAPSHOTS: &str = "snapshots";
const SNAPSHOT_SUFFIX: &str = ".snap";

/// Says what a data directory holds; changes nothing, takes no lock (a running node's log may look torn). Raises `StorageError`
/// where there is no log.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "extracted from a Python argument")]
pub fn log_inspect(py: Python<'_>, directory: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let (found, identity) = look(py, &directory)?;
    report(py, &directory, &found.log, &identity)
}

/// The same, and refuses a log that is not this directory's own. Every payload's checksum is checked by both.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "extracted from a Python argument")]
pub fn log_verify(py: Python<'_>, directory: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let (found, identity) = look(py, &directory)?;
    if let Some((cluster, group)) = found.log.cluster
        && (cluster, group) != (identity.cluster_id, identity.group)
    {
        let text = "the log in it belongs to another cluster than its identity file says";
        return Err(Report::new("WrongClusterError", format!("{}: {text}", directory.display()))
            .text("expected", format!("{:032x}", identity.cluster_id))
            .text("found", format!("{cluster:032x}"))
            .raise(py));
    }
    report(py, &directory, &found.log, &identity)
}

fn look(py: Python<'_>, directory: &Path) -> PyResult<(DirectoryReport, Identity)> {
    let mut found = py.detach(|| d_engine_wal::inspect(directory)).map_err(|error| failed(py, &error))?;
    match std::mem::replace(&mut found.identity, Ok(None)) {
        Ok(Some(identity)) => Ok((found, identity)),
        Ok(None) => {
            let text = format!("{} holds no log of a node: it has no identity file", directory.display());
            Err(Report::new("StorageError", text).text("hint", "Name the directory given to FileStorage").raise(py))
        }
        Err(error) => Err(failed(py, &error)),
    }
}

fn failed(py: Python<'_>, error: &WalError) -> PyErr {
    match error {
        WalError::CorruptLog { segment, offset, index, .. } => Report::new("CorruptLogError", error.to_string())
            .text("segment", segment.as_str())
            .number("offset", *offset)
            .number("index", *index)
            .raise(py),
        _ => Report::new("StorageError", error.to_string()).raise(py),
    }
}

fn report<'py>(
    py: Python<'py>,
    directory: &Path,
    log: &LogReport,
    identity: &Identity,
) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("directory", directory.display().to_string())?;
    fields.set_item("node_id", identity.node)?;
    fields.set_item("cluster", &identity.cluster)?;
    fields.set_item("cluster_id", format!("{:032x}", identity.cluster_id))?;
    fields.set_item("incarnation", identity.incarnation.to_string())?;
    fields.set_item("term", log.hard_state.term)?;
    fields.set_item("vote", log.hard_state.vote)?;
    fields.set_item("purged", (log.purged.index, log.purged.term))?;
    fields.set_item("last", (log.last.index, log.last.term))?;
    fields.set_item("synced_through", log.synced_through)?;
    fields.set_item("segments", segments(py, log)?)?;
    fields.set_item("terms", terms(log))?;
    let initial = identity.initial.iter().map(|configuration| (0, configuration));
    let later = log.configurations.iter().map(|(index, configuration)| (*index, configuration));
    let configurations: Vec<_> = initial.chain(later).map(|(index, members)| (index, text(members))).collect();
    fields.set_item("configurations", configurations)?;
    fields.set_item("snapshots", snapshots(&directory.join(SNAPSHOTS)))?;
    let torn = log.torn_tail.as_ref().map(|tail| {
        let whole = log.segments.iter().find(|segment| segment.name == tail.segment).map_or(0, |segment| segment.bytes);
        (&tail.segment, tail.offset, whole.saturating_sub(tail.offset))
    });
    fields.set_item("torn_tail", torn)?;
    let damage = log.damage.as_ref().map(|damage| (&damage.segment, damage.offset, damage.index, &damage.reason));
    fields.set_item("damage", damage)?;
    Ok(fields)
}

fn segments<'py>(py: Python<'py>, log: &LogReport) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for segment in &log.segments {
        let one = PyDict::new(py);
        one.set_item("name", &segment.name)?;
        one.set_item("bytes", segment.bytes)?;
        one.set_item("epoch", segment.epoch)?;
        one.set_item("first", segment.indexes.map(|(first, _)| first))?;
        one.set_item("last", segment.indexes.map(|(_, last)| last))?;
        one.set_item("batches", segment.batches)?;
        one.set_item("entries", segment.entries)?;
        list.append(one)?;
    }
    Ok(list)
}

/// (term, first index, last index) of every run.
fn terms(log: &LogReport) -> Vec<(u64, u64, u64)> {
    let ends = log.term_runs.iter().skip(1).map(|(next, _)| next - 1).chain([log.last.index]);
    log.term_runs.iter().zip(ends).map(|(&(first, term), last)| (term, first, last)).collect()
}

fn text(configuration: &Configuration) -> String {
    let members: Vec<String> =
        configuration.members.iter().map(|member| format!("{} at {}", member.id, member.address)).collect();
    let members = members.join(", ");
    if configuration.outgoing.is_empty() {
        return members;
    }
    let outgoing: Vec<String> = configuration.outgoing.iter().map(ToString::to_string).collect();
    format!("{members}; voters before: {}", outgoing.join(", "))
}

/// (index, term, bytes) of the committed ones, oldest first. A directory without any has none.
fn snapshots(directory: &Path) -> Vec<(u64, u64, u64)> {
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = files
        .flatten()
        .filter_map(|file| {
            let LogId { term, index } = named(file.file_name().to_str()?)?;
            Some((index, term, file.metadata().ok()?.len()))
        })
        .collect();
    found.sort_unstable();
    found
}

fn named(name: &str) -> Option<LogId> {
    let (index, term) = name.strip_suffix(SNAPSHOT_SUFFIX)?.split_once('-')?;
    Some(LogId::new(index.parse().ok()?, term.parse().ok()?))
}
