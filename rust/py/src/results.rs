//! Results of sessions' entries as bytes, and back.
//!
//! ```text
//! 0 None   1 False   2 True   3 int: length 4, two's complement   4 float: 8   5 str: length 4, UTF-8   6 bytes: length 4, bytes
//! 7 list   8 tuple: count 4, items   9 dict: count 4, keys and values in its order
//! 10 CommandError: name of the class as str, arguments as tuple, attributes as dict
//! ```
//! Integers are little-endian. Only these very types: what a subclass is beyond them would be lost on the way.

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors;

/// What the bytes begin with: who made the rest.
const OWN: u8 = 0;
const MACHINE: u8 = 1;
/// Beyond that nothing is kept.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 32;

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const STR: u8 = 5;
const BYTES: u8 = 6;
const LIST: u8 = 7;
const TUPLE: u8 = 8;
const DICT: u8 = 9;
const REFUSAL: u8 = 10;

static COMMAND_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A machine's own two functions for its results.
pub struct Codec {
    pub dump: Py<PyAny>,
    pub load: Py<PyAny>,
}

/// The result as bytes. `None`: it is none of the types that can be kept. A `CommandError` never goes through the machine's own
/// functions.
pub fn dump(codec: Option<&Codec>, result: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    if let Some(codec) = codec.filter(|_| !errors::is_command_error(result)) {
        let dumped = codec.dump.bind(result.py()).call1((result,))?.cast_into::<PyBytes>()?;
        let dumped = dumped.as_bytes();
        return Ok((dumped.len() < MAX_BYTES).then(|| [&[MACHINE], dumped].concat().into()));
    }
    let mut out = vec![OWN];
    Ok(put(result, &mut out, 0)?.then(|| out.into()))
}

/// The result that `dump` made bytes of.
pub fn load(py: Python<'_>, codec: Option<&Codec>, kept: &[u8]) -> PyResult<Py<PyAny>> {
    match (kept, codec) {
        ([OWN, rest @ ..], _) => {
            let mut rest = rest;
            Ok(take(py, &mut rest)?.unbind())
        }
        ([MACHINE, rest @ ..], Some(codec)) => codec.load.call1(py, (PyBytes::new(py, rest),)),
        _ => Err(broken()),
    }
}

fn broken() -> PyErr {
    PyValueError::new_err("these bytes are no kept result")
}

/// Whether all of it could be written.
fn put(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<bool> {
    if depth > MAX_DEPTH || out.len() > MAX_BYTES {
        return Ok(false);
    }
    if value.is_none() {
        out.push(NONE);
    } else if let Ok(value) = value.cast_exact::<PyBool>() {
        out.push(if value.is_true() { TRUE } else { FALSE });
    } else if let Ok(value) = value.cast_exact::<PyInt>() {
        out.push(INT);
        return put_int(value, out);
    } else if let Ok(value) = value.cast_exact::<PyFloat>() {
        out.push(FLOAT);
        out.extend_from_slice(&value.value().to_le_bytes());
    } else if let Ok(value) = value.cast_exact::<PyString>() {
        // Half of a surrogate pair has no UTF-8.
        let Ok(text) = value.to_cow() else { return Ok(false) };
        return Ok(put_bytes(STR, text.as_bytes(), out));
    } else if let Ok(value) = value.cast_exact::<PyBytes>() {
        return Ok(put_bytes(BYTES, value.as_bytes(), out));
    } else if let Ok(value) = value.cast_exact::<PyList>() {
        return put_items(LIST, value.len(), value.iter(), out, depth);
    } else if let Ok(value) = value.cast_exact::<PyTuple>() {
        return put_items(TUPLE, value.len(), value.iter(), out, depth);
    } else if let Ok(value) = value.cast_exact::<PyDict>() {
        let flat = value.iter().flat_map(|(key, value)| [key, value]);
        return put_items(DICT, value.len(), flat, out, depth);
    } else if errors::is_command_error(value) {
        return put_refusal(value, out, depth);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) -> bool {
    if out.len() + bytes.len() >= MAX_BYTES {
        return false;
    }
    out.push(tag);
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
    true
}

fn put_int(value: &Bound<'_, PyInt>, out: &mut Vec<u8>) -> PyResult<bool> {
    if let Ok(small) = value.extract::<i64>() {
        let bits = 64 - (if small < 0 { !small } else { small }).leading_zeros() as usize;
        let length = bits / 8 + 1;
        put_length(length, out);
        out.extend_from_slice(&small.to_le_bytes()[..length]);
        return Ok(true);
    }
    let length = value.call_method0("bit_length")?.extract::<usize>()? / 8 + 1;
    if out.len() + length >= MAX_BYTES {
        return Ok(false);
    }
    let options = PyDict::new(value.py());
    options.set_item("signed", true)?;
    let bytes = value.call_method("to_bytes", (length, "little"), Some(&options))?.cast_into::<PyBytes>()?;
    put_length(length, out);
    out.extend_from_slice(bytes.as_bytes());
    Ok(true)
}

fn put_items<'py>(
    tag: u8,
    count: usize,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> PyResult<bool> {
    out.push(tag);
    put_length(count, out);
    for item in items {
        if !put(&item, out, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Name of the class, arguments, and attributes if all of those can be kept.
fn put_refusal(error: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<bool> {
    let class = error.get_type();
    let name = format!("{}:{}", class.module()?, class.qualname()?);
    out.push(REFUSAL);
    if !put_bytes(STR, name.as_bytes(), out) || !put(&error.getattr("args")?, out, depth + 1)? {
        return Ok(false);
    }
    let attributes = error.getattr("__dict__")?.cast_into::<PyDict>()?.copy()?;
    if attributes.contains("results")? {
        attributes.del_item("results")?;
    }
    let before = out.len();
    if !put(attributes.as_any(), out, depth + 1)? {
        out.truncate(before);
        return put(PyDict::new(error.py()).as_any(), out, depth + 1);
    }
    Ok(true)
}

fn split<'a>(source: &mut &'a [u8], length: usize) -> PyResult<&'a [u8]> {
    let (bytes, rest) = source.split_at_checked(length).ok_or_else(broken)?;
    *source = rest;
    Ok(bytes)
}

fn length(source: &mut &[u8]) -> PyResult<usize> {
    let (length, rest) = source.split_first_chunk::<4>().ok_or_else(broken)?;
    *source = rest;
    Ok(u32::from_le_bytes(*length) as usize)
}

fn sized<'a>(source: &mut &'a [u8]) -> PyResult<&'a [u8]> {
    let length = length(source)?;
    split(source, length)
}

fn take<'py>(py: Python<'py>, source: &mut &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (&tag, rest) = source.split_first().ok_or_else(broken)?;
    *source = rest;
    Ok(match tag {
        NONE => py.None().into_bound(py),
        FALSE | TRUE => PyBool::new(py, tag == TRUE).to_owned().into_any(),
        INT => {
            let options = PyDict::new(py);
            options.set_item("signed", true)?;
            let bytes = PyBytes::new(py, sized(source)?);
            py.get_type::<PyInt>().call_method("from_bytes", (bytes, "little"), Some(&options))?
        }
        FLOAT => {
            let bytes: [u8; 8] = split(source, 8)?.try_into().map_err(|_| broken())?;
            PyFloat::new(py, f64::from_le_bytes(bytes)).into_any()
        }
        STR => PyString::from_bytes(py, sized(source)?)?.into_any(),
        BYTES => PyBytes::new(py, sized(source)?).into_any(),
        LIST => PyList::new(py, items(py, source, 1)?)?.into_any(),
        TUPLE => PyTuple::new(py, items(py, source, 1)?)?.into_any(),
        DICT => {
            let dict = PyDict::new(py);
            for pair in items(py, source, 2)?.chunks(2) {
                dict.set_item(&pair[0], &pair[1])?;
            }
            dict.into_any()
        }
        REFUSAL => {
            let (name, args, attributes) = (take(py, source)?, take(py, source)?, take(py, source)?);
            let make = COMMAND_ERROR.import(py, "d_engine.errors", "command_error")?;
            make.call1((name, args, attributes))?
        }
        _ => return Err(broken()),
    })
}

fn items<'py>(py: Python<'py>, source: &mut &[u8], each: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let count = length(source)?;
    if count > source.len() {
        return Err(broken());
    }
    (0..count * each).map(|_| take(py, source)).collect()
}
