//! What becomes of a call: carried between threads without touching the interpreter, turned into a Python value by who takes it.

use std::sync::Weak;

use d_engine_node::{Change, NodeError, Outcome};
use d_engine_raft::Member;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::errors;
use crate::machine::Results;
use crate::node::Running;
use crate::status;

/// The answer to one call.
pub enum Answer {
    /// Of `propose`.
    One(Outcome<Results>),
    /// Of `propose_many`.
    Many(Outcome<Results>),
    /// Of a read: what the function returned.
    Object(Py<PyAny>),
    /// Of a read: what is to be raised.
    Raised(PyErr),
    /// Of a barrier, a snapshot or a transfer.
    Index(u64),
    /// Of a change of the members.
    Members(Vec<Member>),
    /// Of `next_change`.
    Change(Change),
    /// There is nothing to say.
    Nothing,
    /// The node's own error.
    Failed(NodeError),
}

impl Answer {
    /// The value to return, or the exception to raise.
    pub fn finish(self, py: Python<'_>, origin: &Weak<Running>) -> PyResult<Py<PyAny>> {
        match self {
            Self::One(outcome) => one(py, outcome, origin),
            Self::Many(outcome) => many(py, outcome, origin),
            Self::Object(object) => Ok(object),
            Self::Raised(error) => Err(error),
            Self::Members(members) => Ok(status::members(py, &members)?.into_any().unbind()),
            Self::Index(index) => Ok(index.into_pyobject(py)?.into_any().unbind()),
            Self::Change(change) => {
                let change = (change.version, status::role(change.role), change.term, change.leader);
                Ok(change.into_pyobject(py)?.into_any().unbind())
            }
            Self::Nothing => Ok(py.None()),
            Self::Failed(error) => Err(failed(py, &error, origin)),
        }
    }

    /// The same as a (value, error) pair of `Completions`.
    pub fn pair(self, py: Python<'_>, origin: &Weak<Running>) -> (Py<PyAny>, Py<PyAny>) {
        match self.finish(py, origin) {
            Ok(value) => (value, py.None()),
            Err(error) => (py.None(), error.into_value(py).into_any()),
        }
    }
}

fn failed(py: Python<'_>, error: &NodeError, origin: &Weak<Running>) -> PyErr {
    let stopped = match error {
        NodeError::Closed { .. } => origin.upgrade().and_then(|running| running.node.failure()),
        _ => None,
    };
    errors::raised(py, error, stopped.as_ref())
}

fn nothing(py: Python<'_>) -> PyErr {
    errors::Report::new("DEngineError", "the node answered without a result or an error").raise(py)
}

fn one(py: Python<'_>, outcome: Outcome<Results>, origin: &Weak<Running>) -> PyResult<Py<PyAny>> {
    let first = outcome.outputs.into_iter().next();
    match (first, outcome.error) {
        (Some(Results::One(result)), _) => one_result(py, result),
        (Some(Results::Many(list)), _) => one_result(py, list.bind(py).get_item(0)?.unbind()),
        (None, Some(error)) => Err(failed(py, &error, origin)),
        (None, None) => Err(nothing(py)),
    }
}

fn one_result(py: Python<'_>, result: Py<PyAny>) -> PyResult<Py<PyAny>> {
    if errors::is_command_error(result.bind(py)) { Err(PyErr::from_value(result.into_bound(py))) } else { Ok(result) }
}

fn many(py: Python<'_>, outcome: Outcome<Results>, origin: &Weak<Running>) -> PyResult<Py<PyAny>> {
    let list = whole(py, outcome.outputs)?;
    let Some(error) = outcome.error else { return Ok(list.into_any()) };
    let error = failed(py, &error, origin);
    error.value(py).setattr("results", list)?;
    Err(error)
}

/// The pieces as one list. Nearly always there is one piece, and it is the list.
fn whole(py: Python<'_>, mut pieces: Vec<Results>) -> PyResult<Py<PyList>> {
    if let [Results::Many(_)] = pieces.as_slice()
        && let Some(Results::Many(list)) = pieces.pop()
    {
        return Ok(list);
    }
    let list = PyList::empty(py);
    for piece in pieces {
        match piece {
            Results::One(result) => list.append(result)?,
            Results::Many(part) => part.bind(py).iter().try_for_each(|result| list.append(result))?,
        }
    }
    Ok(list.unbind())
}

/// (key, value, error), as `Completions` hands them out.
pub fn triple(py: Python<'_>, item: crate::queue::Item) -> PyResult<Bound<'_, PyTuple>> {
    let (value, error) = item.answer.pair(py, &item.origin);
    PyTuple::new(py, [item.key, value, error])
}
