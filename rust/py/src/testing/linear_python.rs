//! A model written in Python, stepped by the native search.

use d_engine_sim::linear::Model;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

/// Objects by number: equal ones have one number.
struct Numbers<'py> {
    known: Bound<'py, PyDict>,
    objects: Vec<Bound<'py, PyAny>>,
}

impl<'py> Numbers<'py> {
    fn new(py: Python<'py>) -> Self {
        Self { known: PyDict::new(py), objects: Vec::new() }
    }

    /// The number of an object; fails if it has no hash.
    fn number(&mut self, object: &Bound<'py, PyAny>) -> PyResult<u32> {
        if let Some(known) = self.known.get_item(object)? {
            return known.extract();
        }
        let new = self.add(object);
        self.known.set_item(object, new)?;
        Ok(new)
    }

    /// The number of an object; one of its own if it has no hash.
    fn lenient(&mut self, object: &Bound<'py, PyAny>) -> PyResult<u32> {
        if object.hash().is_ok() { self.number(object) } else { Ok(self.add(object)) }
    }

    fn add(&mut self, object: &Bound<'py, PyAny>) -> u32 {
        self.objects.push(object.clone());
        u32::try_from(self.objects.len() - 1).unwrap_or(u32::MAX)
    }

    fn object(&self, number: u32) -> &Bound<'py, PyAny> {
        &self.objects[number as usize]
    }
}

/// Calls, results, keys and states are numbers here: the objects stand in tables.
pub struct PythonModel<'py> {
    init: Bound<'py, PyAny>,
    step: Bound<'py, PyAny>,
    partition: Option<Bound<'py, PyAny>>,
    reads: Option<Bound<'py, PyAny>>,
    /// What a step is given for a result that nobody knows.
    unknown: Bound<'py, PyAny>,
    calls: Numbers<'py>,
    outputs: Numbers<'py>,
    keys: Numbers<'py>,
    states: Numbers<'py>,
    /// The hashes of the states, as they were when they came.
    hashes: Vec<isize>,
}

impl<'py> PythonModel<'py> {
    /// Of (init, step, partition or None, reads or None, unknown).
    pub fn new(parts: &Bound<'py, PyAny>) -> PyResult<Self> {
        let (init, step, partition, reads, unknown) = parts.extract()?;
        let numbers = || Numbers::new(parts.py());
        Ok(Self {
            init,
            step,
            partition,
            reads,
            unknown,
            calls: numbers(),
            outputs: numbers(),
            keys: numbers(),
            states: numbers(),
            hashes: Vec::new(),
        })
    }

    pub fn call(&mut self, call: &Bound<'py, PyAny>) -> PyResult<u32> {
        self.calls.lenient(call)
    }

    pub fn output(&mut self, output: &Bound<'py, PyAny>) -> PyResult<u32> {
        self.outputs.lenient(output)
    }

    pub fn shown(&self, state: u32) -> Bound<'py, PyAny> {
        self.states.object(state).clone()
    }

    /// A state's number.
    fn state(&mut self, state: &Bound<'py, PyAny>) -> PyResult<u32> {
        let hash = state.hash().map_err(|error| {
            let text = format!(
                "a state of the model is {}, which has no hash: the search keeps states apart by == and hash(). Give a tuple, a \
                 frozenset, or a frozen dataclass instead",
                kind(state)
            );
            let refused = PyTypeError::new_err(text);
            refused.set_cause(state.py(), Some(error));
            refused
        })?;
        let number = self.states.number(state)?;
        if number as usize == self.hashes.len() {
            self.hashes.push(hash);
        }
        Ok(number)
    }
}

fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| format!("of the type {name}"))
}

impl Model for PythonModel<'_> {
    type Call = u32;
    type Output = u32;
    type State = u32;
    type Key = u32;
    type Error = PyErr;

    fn init(&mut self) -> PyResult<u32> {
        let state = self.init.call0()?;
        self.state(&state)
    }

    fn step(&mut self, state: &u32, call: &u32, output: Option<&u32>) -> PyResult<Option<u32>> {
        let before = self.states.object(*state);
        let result = output.map_or(&self.unknown, |output| self.outputs.object(*output));
        let answer = self.step.call1((before, self.calls.object(*call), result))?;
        if before.hash()? != self.hashes[*state as usize] {
            let text = "step has changed the state that it was given: states are compared later, leave them as they are and return a new one";
            return Err(PyTypeError::new_err(text));
        }
        let pair = answer.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let truth = pair.and_then(|pair| Some((pair.get_item(0).ok()?.cast_into::<PyBool>().ok()?, pair)));
        let Some((possible, pair)) = truth else {
            let text = format!("step returned {}: (True, new state) or (False, anything) is needed", answer.repr()?);
            return Err(PyTypeError::new_err(text));
        };
        if !possible.is_true() {
            return Ok(None);
        }
        let after = pair.get_item(1)?;
        self.state(&after).map(Some)
    }

    fn reads(&mut self, call: &u32, _output: Option<&u32>) -> PyResult<bool> {
        self.reads.as_ref().map_or(Ok(false), |reads| reads.call1((self.calls.object(*call),))?.is_truthy())
    }

    fn partition(&mut self, call: &u32) -> PyResult<Option<u32>> {
        let Some(partition) = &self.partition else { return Ok(None) };
        let key = partition.call1((self.calls.object(*call),))?;
        if key.is_none() { Ok(None) } else { self.keys.number(&key).map(Some) }
    }
}
