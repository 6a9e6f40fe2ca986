//! `CoreStatus`.

use d_engine_raft::{CoreStatus, ProgressStatus};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::configuration::give_numbers;
use super::effects::give_role;
use super::face::Face;
use super::records::{Classes, give, give_flag, give_maybe, give_name, records};

records! {
    /// What a core shows of itself.
    Shown of "d_engine.pure" {
        CoreStatus(
            id, role, term, vote, leader, commit, applied, last, durable, purged, snapshot, configuration,
            configuration_index, lease_until, storage_stalled, apply_stopped, missing, progress
        ),
        ProgressStatus(id, matched, next, state, inflight, heard, apply_stopped),
    }
}

impl Face {
    pub fn give_status<'py>(&mut self, py: Python<'py>, status: &CoreStatus) -> PyResult<Bound<'py, PyAny>> {
        let classes = Classes::<Shown>::get(py)?;
        let mut progress = Vec::with_capacity(status.progress.len());
        for follower in &status.progress {
            progress.push(give_progress(py, classes, follower)?);
        }
        let fields = [
            give(py, status.id),
            give_role(py, status.role),
            give(py, status.term),
            give_maybe(py, status.vote),
            give_maybe(py, status.leader),
            give(py, status.commit),
            give(py, status.applied),
            self.give_id(py, status.last)?,
            give(py, status.durable),
            self.give_id(py, status.purged)?,
            self.give_maybe_id(py, status.snapshot)?,
            self.give_configuration(py, &status.configuration)?,
            give(py, status.configuration_index),
            give_maybe(py, status.lease_until),
            give_flag(py, status.storage_stalled),
            give_flag(py, status.apply_stopped),
            give_numbers(py, &status.missing)?,
            PyTuple::new(py, progress)?.into_any(),
        ];
        classes.make(py, Shown::CoreStatus, fields)
    }
}

fn give_progress<'py>(
    py: Python<'py>,
    classes: &Classes<Shown>,
    follower: &ProgressStatus,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = [
        give(py, follower.id),
        give(py, follower.matched),
        give(py, follower.next),
        give_name(py, follower.state),
        give(py, follower.inflight as u64),
        give_maybe(py, follower.heard),
        give_flag(py, follower.apply_stopped),
    ];
    classes.make(py, Shown::ProgressStatus, fields)
}
