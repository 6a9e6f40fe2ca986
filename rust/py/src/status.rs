//! What a node says of itself, as dictionaries and tuples.

use d_engine_node::{Status, Summary};
use d_engine_raft::{LogId, Member, NodeId, Role, Term};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::{convert, errors};

pub const fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "precandidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

/// (role, term, leader, commit, applied).
pub fn summary(summary: &Summary) -> (&'static str, Term, Option<NodeId>, u64, u64) {
    (role(summary.role), summary.term, summary.leader, summary.commit, summary.applied)
}

fn place(id: LogId) -> (u64, u64) {
    (id.index, id.term)
}

/// `RawMember`s of the stub.
pub fn members<'py>(py: Python<'py>, members: &[Member]) -> PyResult<Bound<'py, PyList>> {
    let row = |member: &Member| {
        let incarnation = member.incarnation.map(|incarnation| incarnation.to_string());
        (convert::peer(member), incarnation).into_pyobject(py).map(Bound::into_any)
    };
    PyList::new(py, members.iter().map(row).collect::<PyResult<Vec<_>>>()?)
}

/// `RawStatus` of the stub.
pub fn full<'py>(py: Python<'py>, status: &Status) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("id", status.id)?;
    fields.set_item("role", role(status.role))?;
    fields.set_item("term", status.term)?;
    fields.set_item("leader", status.leader)?;
    fields.set_item("commit", status.commit)?;
    fields.set_item("applied", status.applied)?;
    fields.set_item("last", place(status.last))?;
    fields.set_item("durable", status.durable)?;
    fields.set_item("purged", place(status.purged))?;
    fields.set_item("snapshot", status.snapshot.map(place))?;
    fields.set_item("members", members(py, &status.configuration.members)?)?;
    fields.set_item("missing", &status.missing)?;
    let apply_error =
        status.apply_error.as_ref().map(|failure| errors::plugin(status.id, failure).raise(py).into_value(py));
    fields.set_item("apply_error", apply_error)?;
    fields.set_item("storage_stalled", status.storage_stalled)?;
    let progress = match &status.progress {
        None => None,
        Some(followers) => {
            let list = PyList::empty(py);
            for follower in followers {
                let one = PyDict::new(py);
                one.set_item("id", follower.id)?;
                one.set_item("matched", follower.matched)?;
                one.set_item("next", follower.next)?;
                one.set_item("state", follower.state)?;
                one.set_item("active", follower.active)?;
                list.append(one)?;
            }
            Some(list)
        }
    };
    fields.set_item("progress", progress)?;
    Ok(fields)
}

/// The same of a node that was not started.
pub fn before_start<'py>(py: Python<'py>, id: NodeId, initial: &[Member]) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("id", id)?;
    fields.set_item("role", role(Role::Follower))?;
    for name in ["term", "commit", "applied", "durable"] {
        fields.set_item(name, 0)?;
    }
    for name in ["last", "purged"] {
        fields.set_item(name, (0, 0))?;
    }
    for name in ["leader", "snapshot", "apply_error", "progress"] {
        fields.set_item(name, py.None())?;
    }
    fields.set_item("members", members(py, initial)?)?;
    fields.set_item("missing", PyList::empty(py))?;
    fields.set_item("storage_stalled", false)?;
    Ok(fields)
}
