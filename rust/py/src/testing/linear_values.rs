//! Values of Python as values of the built-in models, and back.

use std::collections::HashMap;

use d_engine_sim::linear::Value;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

/// Gives equal values to equal objects, and remembers an object for each value.
pub struct Values<'py> {
    py: Python<'py>,
    /// Objects of other types: their numbers.
    numbers: Bound<'py, PyDict>,
    others: Vec<Bound<'py, PyAny>>,
    /// What has no hash, and so is not in `numbers`: places in `others`.
    unhashable: Vec<u32>,
    originals: HashMap<Value, Bound<'py, PyAny>>,
}

impl<'py> Values<'py> {
    pub fn new(py: Python<'py>) -> Self {
        let numbers = PyDict::new(py);
        Self { py, numbers, others: Vec::new(), unhashable: Vec::new(), originals: HashMap::new() }
    }

    pub fn py(&self) -> Python<'py> {
        self.py
    }

    /// The value of an object. Lists and tuples of equal values are equal here.
    pub fn read(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Value> {
        if object.is_none() {
            return Ok(Value::Nil);
        }
        let value = if let Ok(text) = object.cast::<PyString>() {
            Value::Text(text.to_str()?.into())
        } else if let Ok(bytes) = object.cast::<PyBytes>() {
            Value::Bytes(bytes.as_bytes().into())
        } else if let Ok(bytes) = object.cast::<PyByteArray>() {
            Value::Bytes(bytes.to_vec().into())
        } else if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return self.read_all(object);
        } else if let Some(number) = whole_number(object) {
            Value::Int(number)
        } else {
            return self.read_other(object);
        };
        if !self.originals.contains_key(&value) {
            self.originals.insert(value.clone(), object.clone());
        }
        Ok(value)
    }

    /// The values of everything in an object, in its order.
    pub fn read_all(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Value> {
        let values = object.try_iter()?.map(|item| self.read(&item?)).collect::<PyResult<Vec<_>>>()?;
        Ok(Value::List(values.into()))
    }

    /// An object again. For what was read: the first that was equal to it.
    pub fn shown(&self, value: &Value) -> PyResult<Bound<'py, PyAny>> {
        if let Some(original) = self.originals.get(value) {
            return Ok(original.clone());
        }
        Ok(match value {
            Value::Nil => self.py.None().into_bound(self.py),
            Value::Int(number) => number.into_pyobject(self.py)?.into_any(),
            Value::Text(text) => PyString::new(self.py, text).into_any(),
            Value::Bytes(bytes) => PyBytes::new(self.py, bytes).into_any(),
            Value::List(values) => {
                let values = values.iter().map(|value| self.shown(value)).collect::<PyResult<Vec<_>>>()?;
                PyList::new(self.py, values)?.into_any()
            }
            Value::Other(number) => self.others[*number as usize].clone(),
        })
    }

    fn read_other(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Value> {
        if let Ok(set) = object.cast::<PySet>() {
            // It has no hash, but is equal to what has one.
            return self.read_other(PyFrozenSet::new(self.py, set)?.as_any());
        }
        let new = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
        if object.hash().is_ok() {
            if let Some(known) = self.numbers.get_item(object)? {
                return Ok(Value::Other(known.extract()?));
            }
            self.numbers.set_item(object, new)?;
        } else {
            for &known in &self.unhashable {
                if self.others[known as usize].eq(object)? {
                    return Ok(Value::Other(known));
                }
            }
            self.unhashable.push(new);
        }
        self.others.push(object.clone());
        Ok(Value::Other(new))
    }
}

/// Numbers that are equal in Python are equal here: 1, 1.0 and True.
fn whole_number(object: &Bound<'_, PyAny>) -> Option<i64> {
    if object.is_instance_of::<PyInt>() {
        return object.extract().ok();
    }
    if object.is_instance_of::<PyFloat>() {
        let whole: bool = object.call_method0("is_integer").ok()?.extract().ok()?;
        return whole.then(|| object.call_method0("__int__").ok()?.extract().ok()).flatten();
    }
    None
}

/// What a call of a built-in model does not take.
pub fn refused(at: usize, call: &Bound<'_, PyAny>, why: &str) -> PyErr {
    let call = call.repr().map_or_else(|_| "a call".to_owned(), |text| text.to_string_lossy().into_owned());
    PyTypeError::new_err(format!("operation {at}, {call}: {why}"))
}
