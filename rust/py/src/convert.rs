//! What Python gives, as the node wants it. Everything here runs attached, and touches no node.

use std::time::Duration;

use d_engine_node::{Consistency, NodeConfig};
use d_engine_raft::{Change, Draft, EntryKind, Incarnation, Member, MemberRole, NodeId};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMemoryView};

use crate::errors;

/// The most that one call may propose, whatever the settings say.
const MAX_CALL_BYTES: usize = 1 << 30;

/// One member as Python writes it: number, address, where clients connect, role, priority, whether it is promoted by itself.
pub type Peer = (NodeId, String, Option<String>, String, i32, bool);

/// The bytes of anything with the buffer protocol, as a `bytes` object: itself if it is one.
pub fn buffer<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if PyUntypedBuffer::get(object).is_err() {
        let kind = object.get_type().name().map_or_else(|_| "this object".into(), |name| name.to_string());
        return Err(PyTypeError::new_err(format!(
            "a bytes-like object is needed, not {kind}: encode it first, for instance with json.dumps(...).encode()"
        )));
    }
    let bytes = PyMemoryView::from(object)?.call_method0("tobytes")?;
    Ok(bytes.cast_into::<PyBytes>()?)
}

/// A proposal's place in a session: session, sequence (of the first entry), acknowledged below.
pub type Place = (u64, u64, u64);

/// One entry, checked and copied into a record.
pub fn draft(data: &Bound<'_, PyAny>, limit: usize, session: Option<Place>) -> PyResult<Draft> {
    let data = buffer(data)?;
    let payload = data.as_bytes();
    if payload.len() > limit {
        return Err(errors::too_large(payload.len(), limit).raise(data.py()));
    }
    let Some((session, sequence, ack_below)) = session else { return Ok(Draft::command(payload)) };
    let mut draft = Draft::with_capacity(1, payload.len());
    draft.push_in_session(EntryKind::Command, payload, session, sequence, ack_below);
    Ok(draft)
}

/// Contiguous entries. One that is too large refuses all.
pub fn drafts(items: &Bound<'_, PyAny>, limit: usize, session: Option<Place>) -> PyResult<Draft> {
    let py = items.py();
    if items.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err("a sequence of bytes-like objects is needed, not one bytes object"));
    }
    let mut payloads = Vec::with_capacity(items.len().unwrap_or(0));
    let mut total: usize = 0;
    for item in items.try_iter()? {
        let payload = buffer(&item?)?;
        let size = payload.as_bytes().len();
        if size > limit {
            return Err(errors::too_large(size, limit).raise(py));
        }
        total = total.saturating_add(size);
        payloads.push(payload);
    }
    if total > MAX_CALL_BYTES {
        let why = format!("one call proposes {total} bytes, at most {MAX_CALL_BYTES} can be taken at once");
        return Err(errors::Report::new("OverloadedError", why).raise(py));
    }
    let mut draft = Draft::with_capacity(payloads.len(), total);
    let (session, first, ack_below) = session.unwrap_or_default();
    for (payload, sequence) in payloads.iter().zip(first..) {
        let sequence = if session == 0 { 0 } else { sequence };
        draft.push_in_session(EntryKind::Command, payload.as_bytes(), session, sequence, ack_below);
    }
    Ok(draft)
}

/// Seconds as a span; `None` for ever.
pub fn span(seconds: f64) -> PyResult<Option<Duration>> {
    /// Longer than any process lives, and far from the end of what clocks can add.
    const FOR_EVER: f64 = 1e9;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout is not a number"));
    }
    Ok((seconds < FOR_EVER).then(|| Duration::from_secs_f64(seconds.max(0.0))))
}

pub fn consistency(name: &str) -> PyResult<Consistency> {
    match name {
        "linearizable" => Ok(Consistency::Linearizable),
        "lease" => Ok(Consistency::Lease),
        "eventual" => Ok(Consistency::Eventual),
        other => {
            Err(PyValueError::new_err(format!("consistency is {other:?}: write 'linearizable', 'lease' or 'eventual'")))
        }
    }
}

/// `Settings` of the stub.
pub fn settings(settings: &Bound<'_, PyDict>) -> PyResult<NodeConfig> {
    let micros = |name: &str| -> PyResult<Duration> { Ok(Duration::from_micros(field(settings, name)?)) };
    Ok(NodeConfig {
        cluster: field(settings, "cluster")?,
        heartbeat_interval: micros("heartbeat_interval_micros")?,
        election_timeout: (micros("election_timeout_min_micros")?, micros("election_timeout_max_micros")?),
        drift_bound: f64::from(field::<u32>(settings, "drift_ppm")?) / 1e6,
        request_timeout: micros("request_timeout_micros")?,
        storage_stall_timeout: micros("storage_stall_timeout_micros")?,
        forward: field(settings, "forward")?,
        insecure: field(settings, "insecure")?,
        max_entry_bytes: field(settings, "max_entry_bytes")?,
        max_inflight_messages: field(settings, "max_inflight_messages")?,
        max_inflight_bytes: field(settings, "max_inflight_bytes")?,
        max_uncommitted_bytes: field(settings, "max_uncommitted_bytes")?,
        snapshot_every_entries: field(settings, "snapshot_every_entries")?,
        snapshot_every_bytes: field(settings, "snapshot_every_bytes")?,
        trailing_entries: field(settings, "trailing_entries")?,
        snapshot_pin_bytes: field(settings, "snapshot_pin_bytes")?,
        snapshot_bytes_per_second: field(settings, "snapshot_bytes_per_second")?,
        max_sessions: field(settings, "max_sessions")?,
        session_ttl: micros("session_ttl_micros")?,
        segment_bytes: field(settings, "segment_bytes")?,
        ..NodeConfig::default()
    })
}

fn field<T>(settings: &Bound<'_, PyDict>, name: &str) -> PyResult<T>
where
    T: for<'a, 'py> FromPyObject<'a, 'py, Error: Into<PyErr>>,
{
    let value = settings.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("settings: {name} is missing")))?;
    value.extract::<T>().map_err(|error| PyTypeError::new_err(format!("settings: {name}: {}", error.into())))
}

/// A member whose data directory is not known yet.
pub fn member((id, address, client_address, role, priority, auto_promote): Peer) -> PyResult<Member> {
    let role = match role.as_str() {
        "voter" => MemberRole::Voter,
        "learner" => MemberRole::Learner,
        "witness" => MemberRole::Witness,
        other => {
            return Err(PyValueError::new_err(format!("role is {other:?}: write 'voter', 'learner' or 'witness'")));
        }
    };
    Ok(Member { id, address, client_address, role, priority, auto_promote, incarnation: None, leaving: false })
}

pub fn members(peers: Vec<Peer>) -> PyResult<Vec<Member>> {
    peers.into_iter().map(member).collect()
}

/// The same for Python.
pub fn peer(member: &Member) -> (NodeId, &str, Option<&str>, &'static str, i32, bool) {
    let role = match member.role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Witness => "witness",
    };
    (member.id, &member.address, member.client_address.as_deref(), role, member.priority, member.auto_promote)
}

/// One change of the members, all of it together.
pub fn changes(
    add: Vec<Peer>,
    remove: Vec<NodeId>,
    promote: Vec<NodeId>,
    demote: Vec<NodeId>,
) -> PyResult<Vec<Change>> {
    let mut changes: Vec<Change> = members(add)?.into_iter().map(Change::Add).collect();
    changes.extend(remove.into_iter().map(Change::Remove));
    changes.extend(promote.into_iter().map(Change::Promote));
    changes.extend(demote.into_iter().map(Change::Demote));
    Ok(changes)
}

pub fn identity_bytes(value: u128) -> [u8; 16] {
    value.to_be_bytes()
}

/// Sixteen bytes as a number: `what` says whose they are.
pub fn identity_number(bytes: &[u8], what: &str) -> PyResult<u128> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("{what} has {} bytes, 16 are needed", bytes.len())))?;
    Ok(u128::from_be_bytes(bytes))
}

pub fn incarnation(bytes: &[u8]) -> PyResult<Incarnation> {
    identity_number(bytes, "incarnation").map(Incarnation)
}
