//! A Python state machine, as the node's apply thread sees it.

use std::io::{Read, Write};
use std::ops::Range;

use bytes::Bytes;
use d_engine_node::{Applied, Batch, PluginFailure, StateMachine, View};
use d_engine_raft::Index;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence};

use crate::boundary;
use crate::entries::Entries;
use crate::results::{self, Codec};
use crate::snapshot_file::{with_sink, with_source};
use crate::wake;

/// What one waiter gets of a batch's results.
#[derive(Debug)]
pub enum Results {
    /// The result of its one entry.
    One(Py<PyAny>),
    /// A slice of the list.
    Many(Py<PyList>),
}

/// `MachineHooks`, taken apart once.
pub struct Machine {
    apply: Apply,
    applied: Option<Py<PyAny>>,
    snapshot: Option<Py<PyAny>>,
    freeze: Option<(Py<PyAny>, Py<PyAny>)>,
    restore: Py<PyAny>,
    /// How results of sessions' entries are kept, where the machine knows better.
    codec: Option<Codec>,
}

enum Apply {
    Batch(Py<PyAny>),
    Durable(Py<PyAny>),
}

/// The batch's outcome as the hook returns it: (results, failure, callback).
type Returned<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, String);

impl Machine {
    /// Reads the hooks of `hooks`.
    pub fn new(hooks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| -> PyResult<Option<Py<PyAny>>> {
            let hook = hooks.getattr(name)?;
            Ok((!hook.is_none()).then(|| hook.unbind()))
        };
        let missing = |what: &str| PyTypeError::new_err(format!("machine hooks: {what} is missing"));
        let apply = match (hook("apply_batch")?, hook("apply_durable")?) {
            (_, Some(durable)) => Apply::Durable(durable),
            (Some(batch), None) => Apply::Batch(batch),
            (None, None) => return Err(missing("apply_batch")),
        };
        let freeze = match (hook("freeze")?, hook("write_view")?) {
            (Some(freeze), Some(write_view)) => Some((freeze, write_view)),
            _ => None,
        };
        let snapshot = hook("snapshot")?;
        if snapshot.is_none() && freeze.is_none() {
            return Err(missing("snapshot or freeze"));
        }
        let restore = hook("restore")?.ok_or_else(|| missing("restore"))?;
        let codec = match (hook("dump_result")?, hook("load_result")?) {
            (Some(dump), Some(load)) => Some(Codec { dump, load }),
            _ => None,
        };
        Ok(Self { apply, applied: hook("applied")?, snapshot, freeze, restore, codec })
    }

    fn call(&self, py: Python<'_>, batch: &Batch<'_>) -> Applied<Results> {
        let entries = Entries::of(py, batch.entries);
        let (hook, returned) = match &self.apply {
            Apply::Batch(hook) => ("apply_batch", hook.call1(py, (entries,))),
            Apply::Durable(hook) => {
                let sidecar = PyBytes::new(py, batch.sidecar);
                ("apply_durable", hook.call1(py, (entries, batch.last.index, sidecar)))
            }
        };
        let returned = returned.and_then(|returned| {
            let (results, failure, callback) = returned.bind(py).extract::<Returned<'_>>()?;
            Ok((results.cast_into::<PySequence>()?, failure, callback))
        });
        // The hook takes exceptions itself; one that comes out of it all the same counts as the machine's.
        returned
            .and_then(|(results, failure, callback)| {
                let applied = divide(batch, &results, failure, &callback)?;
                Ok(Applied { kept: self.keep(batch, &results), ..applied })
            })
            .unwrap_or_else(|error| stopped(batch, 0, boundary::failure(py, hook, error)))
    }
}

impl Machine {
    /// The results that sessions keep. One that cannot be made bytes of is no failure: its proposer has it, and a repetition is
    /// told that it was not kept.
    fn keep(&self, batch: &Batch<'_>, results: &Bound<'_, PySequence>) -> Vec<Option<Bytes>> {
        let dump = |at: &usize| results.get_item(*at).and_then(|one| results::dump(self.codec.as_ref(), &one));
        batch.keep.iter().map(|at| dump(at).unwrap_or_default()).collect()
    }
}

/// Nothing more is applied: `count` entries of the batch were.
fn stopped(batch: &Batch<'_>, count: usize, failure: PluginFailure) -> Applied<Results> {
    let index = batch.entries.get(count).map_or(batch.last.index, d_engine_raft::Entry::index);
    Applied { outputs: Vec::new(), kept: Vec::new(), failure: Some((count, failure.at(index))) }
}

/// Gives every waiter its part.
fn divide(
    batch: &Batch<'_>,
    results: &Bound<'_, PySequence>,
    failure: Option<Bound<'_, PyAny>>,
    callback: &str,
) -> PyResult<Applied<Results>> {
    let py = results.py();
    let count = results.len()?;
    let expected = batch.entries.len();
    let failure = match failure {
        None if count == expected => None,
        None => {
            let why = format!("{count} results for {expected} entries");
            return Ok(stopped(batch, 0, PluginFailure::new(known(callback), why)));
        }
        Some(error) => Some(boundary::failure(py, known(callback), PyErr::from_value(error))),
    };
    let applied = count.min(expected);
    let mut outputs = Vec::with_capacity(batch.wanted.len());
    for wanted in batch.wanted {
        if failure.is_some() && wanted.start >= applied {
            break;
        }
        outputs.push(part(results, wanted, applied)?);
    }
    match failure {
        None => Ok(Applied::all(outputs)),
        Some(failure) => Ok(Applied { outputs, ..stopped(batch, applied, failure) }),
    }
}

fn part(results: &Bound<'_, PySequence>, wanted: &Range<usize>, applied: usize) -> PyResult<Results> {
    if wanted.len() == 1 {
        return match results.cast::<PyList>() {
            Ok(list) => Ok(Results::One(list.get_item(wanted.start)?.unbind())),
            Err(_) => Ok(Results::One(results.get_item(wanted.start)?.unbind())),
        };
    }
    let end = wanted.end.min(applied);
    match results.cast::<PyList>() {
        Ok(list) => Ok(Results::Many(list.get_slice(wanted.start, end).unbind())),
        Err(_) => Ok(Results::Many(results.get_slice(wanted.start, end)?.to_list()?.unbind())),
    }
}

/// The callbacks that can fail in a batch.
fn known(callback: &str) -> &'static str {
    match callback {
        "apply" => "apply",
        "apply_durable" => "apply_durable",
        _ => "apply_batch",
    }
}

impl StateMachine for Machine {
    type Output = Results;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<Results> {
        wake::flush();
        if batch.entries.is_empty() && matches!(self.apply, Apply::Batch(_)) {
            return Applied::all(Vec::new());
        }
        boundary::call("apply_batch", |py| Ok(self.call(py, batch)))
            .unwrap_or_else(|failure| stopped(batch, 0, failure))
    }

    fn load(&mut self, kept: &Bytes) -> Option<Results> {
        Python::try_attach(|py| results::load(py, self.codec.as_ref(), kept).ok()).flatten().map(Results::One)
    }

    fn opened(&mut self, session: u64) -> Option<Results> {
        Python::try_attach(|py| session.into_pyobject(py).ok().map(|number| Results::One(number.into_any().unbind())))
            .flatten()
    }

    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure> {
        wake::flush();
        let Some(snapshot) = &self.snapshot else {
            return Err(PluginFailure::new("snapshot", "the state machine has none"));
        };
        boundary::call("snapshot", |py| with_sink(py, out, |sink| snapshot.call1(py, (sink,)).map(drop)))
    }

    fn freeze(&mut self) -> Result<Option<View>, PluginFailure> {
        let Some((freeze, write_view)) = &self.freeze else { return Ok(None) };
        wake::flush();
        boundary::call("freeze", |py| {
            let view = freeze.call0(py)?;
            let write_view = write_view.clone_ref(py);
            let write: View = Box::new(move |out| {
                // `view` goes here, while this thread is attached.
                boundary::call("write_view", move |py| {
                    with_sink(py, out, |sink| write_view.call1(py, (view, sink)).map(drop))
                })
            });
            Ok(Some(write))
        })
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        wake::flush();
        boundary::call("restore", |py| with_source(py, source, |source| self.restore.call1(py, (source,)).map(drop)))
    }

    fn applied(&mut self) -> Result<Option<(Index, Vec<u8>)>, PluginFailure> {
        let Some(applied) = &self.applied else { return Ok(None) };
        boundary::call("applied", |py| {
            let (index, sidecar) = applied.call0(py)?.extract::<(Index, Vec<u8>)>(py)?;
            Ok(Some((index, sidecar)))
        })
    }

    fn round(&mut self, work: &mut dyn FnMut(&mut Self)) {
        wake::round(|| {
            // One attach for everything the round has to do; without an interpreter every callback fails by itself.
            if Python::try_attach(|_py| work(self)).is_none() {
                work(self);
            }
        });
    }
}
