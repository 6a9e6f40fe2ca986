//! `linear_check`: a history, judged by the search of `d-engine-sim`.

use std::time::{Duration, Instant};

use d_engine_sim::linear::models::{AppendList, Counter, Lock, Map, ModelError, Queue, Register, Set};
use d_engine_sim::linear::{Ended, Limits, Model, Operation, Value, Verdict, check};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use super::linear_calls::{Calls, Read};
use super::linear_python::PythonModel;
use super::linear_values::Values;

/// How often signals are looked for while a search runs detached.
const SIGNALS: Duration = Duration::from_millis(50);

/// One call of a history: (call, result, known, invoked, returned).
type Raw<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, bool, u64, u64);

/// Looks for an order of the operations that the model allows.
///
/// `model` is a built-in one's name, or (init, step, partition or None, reads or None, unknown). Gives ("ok", orders),
/// ("violation", partition, culprit, prefix, states, window) or ("undecided", partition, why), with operations as places in
/// `operations`.
#[pyfunction]
pub fn linear_check<'py>(
    model: &Bound<'py, PyAny>,
    initial: &Bound<'py, PyAny>,
    operations: Vec<Raw<'py>>,
    max_moves: u64,
    max_bytes: usize,
    timeout: f64,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = model.py();
    let limits = Limits { moves: max_moves, memory: max_bytes };
    let deadline = Duration::try_from_secs_f64(timeout).ok().and_then(|timeout| Instant::now().checked_add(timeout));
    let Ok(name) = model.cast::<PyString>() else {
        return check_python(model, &operations, limits, deadline);
    };
    let mut values = Values::new(py);
    let initial = values.read(initial)?;
    let mut native = Native { values, limits, deadline, operations };
    match name.to_str()? {
        "register" => native.check(&mut Register { initial }, |_, state| state.clone()),
        "map" => native.check(&mut Map { initial }, |_, state| state.clone()),
        "counter" => {
            let initial = match initial {
                Value::Nil => 0,
                Value::Int(initial) => initial,
                _ => return Err(PyValueError::new_err("initial: a counter begins with a number of at most 64 bits")),
            };
            native.check(&mut Counter { initial }, |_, state| Value::Int(*state))
        }
        "append-list" => native.check(&mut AppendList::default(), |model, state| model.shown(*state)),
        "queue" => native.check(&mut Queue, |_, state| state.iter().cloned().collect()),
        "set" => native.check(&mut Set, |_, state| state.iter().cloned().collect()),
        "lock" => native.check(&mut Lock, |_, state| state.clone().unwrap_or_default()),
        name => Err(PyValueError::new_err(format!("no model is called {name:?}"))),
    }
}

/// A check with a built-in model, which needs no interpreter.
struct Native<'py> {
    values: Values<'py>,
    limits: Limits,
    deadline: Option<Instant>,
    operations: Vec<Raw<'py>>,
}

impl<'py> Native<'py> {
    fn check<M>(&mut self, model: &mut M, shown: impl Fn(&M, &M::State) -> Value) -> PyResult<Bound<'py, PyTuple>>
    where
        M: Model<Call: Calls + Send + Sync, Output = Value, State: Send, Error = ModelError> + Send,
    {
        let py = self.values.py();
        let mut history = Vec::with_capacity(self.operations.len());
        for (at, (call, result, known, invoked, returned)) in self.operations.iter().enumerate() {
            let result = known.then_some(result);
            let read = Read { at, call, result };
            let (call, output) = M::Call::read(&read, &mut self.values)?;
            let returned = output.map(|output| (*returned, output));
            history.push(Operation { call, invoked: *invoked, returned });
        }
        let (limits, deadline) = (self.limits, self.deadline);
        let mut interrupted = None;
        let verdict = py.detach(|| {
            let mut looked = Instant::now();
            check(model, &history, limits, &mut || {
                let now = Instant::now();
                if now.duration_since(looked) >= SIGNALS {
                    looked = now;
                    interrupted = Python::attach(|py| -> PyResult<()> { py.check_signals() }).err();
                }
                Ok(interrupted.is_some() || deadline.is_some_and(|deadline| now >= deadline))
            })
        });
        if let Some(interrupt) = interrupted {
            return Err(interrupt);
        }
        let verdict = verdict.map_err(|ModelError(why)| PyOverflowError::new_err(why))?;
        answer(py, &verdict, |state| self.values.shown(&shown(model, state)))
    }
}

fn check_python<'py>(
    model: &Bound<'py, PyAny>,
    operations: &[Raw<'py>],
    limits: Limits,
    deadline: Option<Instant>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = model.py();
    let mut model = PythonModel::new(model)?;
    let mut history = Vec::with_capacity(operations.len());
    for (call, result, known, invoked, returned) in operations {
        let call = model.call(call)?;
        let returned = if *known { Some((*returned, model.output(result)?)) } else { None };
        history.push(Operation { call, invoked: *invoked, returned });
    }
    let mut watch = || {
        py.check_signals()?;
        Ok(deadline.is_some_and(|deadline| Instant::now() >= deadline))
    };
    let verdict = check(&mut model, &history, limits, &mut watch)?;
    answer(py, &verdict, |state| Ok(model.shown(*state)))
}

fn answer<'py, S>(
    py: Python<'py>,
    verdict: &Verdict<S>,
    shown: impl Fn(&S) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    match verdict {
        Verdict::Linearizable { orders } => ("ok", orders).into_pyobject(py),
        Verdict::Violation(found) => {
            let states = found.states.iter().map(shown).collect::<PyResult<Vec<_>>>()?;
            let states = PyList::new(py, states)?;
            ("violation", &found.partition, found.culprit, &found.prefix, states, &found.window).into_pyobject(py)
        }
        Verdict::Undecided { partition, why } => {
            let why = match why {
                Ended::Moves => "moves",
                Ended::Memory => "memory",
                Ended::Stopped => "time",
            };
            ("undecided", partition, why).into_pyobject(py)
        }
    }
}
