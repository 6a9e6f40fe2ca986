//! The arithmetic of quorums and memberships by itself.

use std::collections::BTreeMap;

use d_engine_raft::NodeId;
use d_engine_raft::quorum::{self, VoteResult};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBoolMethods, PyDict, PyMapping, PyTuple};

use super::face::Face;
use super::records::{Place, number};

static REFUSED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The highest index that a quorum of `voters`, and one of `outgoing`, have reached; whoever is not in `acked` has reached 0.
///
/// An empty set constrains nothing: without any voters it is 2**64 - 1.
#[pyfunction]
#[pyo3(signature = (acked, voters, outgoing = None), text_signature = "(acked, voters, outgoing=())")]
pub fn committed_index(
    acked: &Bound<'_, PyAny>,
    voters: &Bound<'_, PyAny>,
    outgoing: Option<&Bound<'_, PyAny>>,
) -> PyResult<u64> {
    let place = Place::new("committed_index", "acked");
    let acked = by_voter(acked, place, |value| number(value, place))?;
    let (voters, outgoing) = halves("committed_index", voters, outgoing)?;
    Ok(quorum::committed_index(|id| acked.get(&id).copied().unwrap_or_default(), &voters, &outgoing))
}

/// Whether a quorum of `voters`, and one of `outgoing`, have granted their votes: "won", "lost" or "pending".
///
/// Whoever is not in `votes` has not voted yet. An empty set is won.
#[expect(clippy::similar_names, reason = "votes are given by voters")]
#[pyfunction]
#[pyo3(signature = (votes, voters, outgoing = None), text_signature = "(votes, voters, outgoing=())")]
pub fn vote_result(
    votes: &Bound<'_, PyAny>,
    voters: &Bound<'_, PyAny>,
    outgoing: Option<&Bound<'_, PyAny>>,
) -> PyResult<&'static str> {
    let place = Place::new("vote_result", "votes");
    let votes = by_voter(votes, place, |value| {
        value.cast::<PyBool>().map(PyBoolMethods::is_true).map_err(|_| place.wrong_type("a bool", value))
    })?;
    let (voters, outgoing) = halves("vote_result", voters, outgoing)?;
    Ok(match quorum::vote_result(|id| votes.get(&id).copied(), &voters, &outgoing) {
        VoteResult::Won => "won",
        VoteResult::Lost => "lost",
        VoteResult::Pending => "pending",
    })
}

/// The configurations that `current` goes through: one, or the joint one and the one after it.
///
/// Raises `ChangeRefusedError` where the changes do not fit each other or the configuration.
#[pyfunction]
pub fn change<'py>(
    py: Python<'py>,
    current: &Bound<'py, PyAny>,
    changes: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    let mut face = Face::new(py)?;
    let current = face.read_configuration(current, Place::new("change", "current"))?;
    let changes = face.read_changes(changes, Place::new("change", "changes"))?;
    match d_engine_raft::change(&current, &changes) {
        Ok(configurations) => {
            let mut given = Vec::with_capacity(configurations.len());
            for configuration in &configurations {
                given.push(face.give_configuration(py, configuration)?);
            }
            PyTuple::new(py, given)
        }
        Err(why) => {
            let why = face.give_change_error(py, why)?;
            let class = REFUSED.import(py, "d_engine.pure", "ChangeRefusedError")?;
            Err(PyErr::from_value(class.call1((why,))?))
        }
    }
}

/// A mapping, read as a whole.
fn by_voter<V>(
    mapping: &Bound<'_, PyAny>,
    place: Place,
    read: impl Fn(&Bound<'_, PyAny>) -> PyResult<V>,
) -> PyResult<BTreeMap<NodeId, V>> {
    let mut found = BTreeMap::new();
    if let Ok(dict) = mapping.cast::<PyDict>() {
        for (id, value) in dict {
            found.insert(number(&id, place)?, read(&value)?);
        }
    } else if let Ok(mapping) = mapping.cast::<PyMapping>() {
        for item in mapping.items()? {
            let (id, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            found.insert(number(&id, place)?, read(&value)?);
        }
    } else {
        return Err(place.wrong_type("a mapping", mapping));
    }
    Ok(found)
}

/// Both halves as sets: ascending, nobody twice.
fn halves(
    function: &'static str,
    voters: &Bound<'_, PyAny>,
    outgoing: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Vec<NodeId>, Vec<NodeId>)> {
    let half = |ids: &Bound<'_, PyAny>, name| {
        let place = Place::new(function, name);
        let mut half = Vec::new();
        for id in ids.try_iter().map_err(|_| place.wrong_type("a collection of numbers", ids))? {
            half.push(number(&id?, place)?);
        }
        half.sort_unstable();
        half.dedup();
        Ok::<_, PyErr>(half)
    };
    let outgoing = outgoing.map_or_else(|| Ok(Vec::new()), |ids| half(ids, "outgoing"))?;
    Ok((half(voters, "voters")?, outgoing))
}
