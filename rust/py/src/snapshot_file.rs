//! `Sink` and `Source`: where a snapshot's user section goes, and where it comes from, as `_hooks.py` wraps them into files.

use std::io::{self, Read, Write};
use std::ptr::NonNull;
use std::sync::Arc;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert;
use crate::lend::{Lender, Loan};

/// More is not read at once.
const MAX_READ: usize = 1 << 20;

/// Takes a snapshot's bytes during the call that it is handed to.
#[pyclass(frozen, module = "d_engine._core", name = "_Sink")]
pub struct Sink {
    out: Arc<Loan<dyn Write>>,
}

#[pymethods]
impl Sink {
    /// Takes all of `data`, and says how much that was.
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = data.py();
        let data = convert::buffer(data)?;
        let bytes = data.as_bytes();
        self.out.with(py, |out| out.write_all(bytes))?.map_err(|error| os_error(&error))?;
        Ok(bytes.len())
    }
}

/// Gives a snapshot's bytes during the call that it is handed to.
#[pyclass(frozen, module = "d_engine._core", name = "_Source")]
pub struct Source {
    source: Arc<Loan<dyn Read>>,
}

#[pymethods]
impl Source {
    /// At most `limit` bytes, b"" at the end.
    fn read<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        if limit == 0 {
            return Err(PyValueError::new_err("limit must be above 0"));
        }
        let mut buffer = vec![0; limit.min(MAX_READ)];
        let count = self.source.with(py, |source| fill(source, &mut buffer))?.map_err(|error| os_error(&error))?;
        Ok(PyBytes::new(py, &buffer[..count]))
    }
}

fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn os_error(error: &io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// Calls `work` with a sink for `out`.
pub fn with_sink<R>(
    py: Python<'_>,
    out: &mut dyn Write,
    work: impl FnOnce(Bound<'_, Sink>) -> PyResult<R>,
) -> PyResult<R> {
    // SAFETY: only the lifetime is changed; `lender` ends the loan before `out`'s own borrow ends, on this thread.
    let target =
        unsafe { std::mem::transmute::<NonNull<dyn Write + '_>, NonNull<dyn Write + 'static>>(NonNull::from(out)) };
    // SAFETY: `out` is borrowed exclusively until this function returns, and `lender` is dropped here, on this thread.
    let lender = unsafe { Lender::new(target) };
    work(Bound::new(py, Sink { out: lender.loan() })?)
}

/// Calls `work` with a source for `source`.
pub fn with_source<R>(
    py: Python<'_>,
    source: &mut dyn Read,
    work: impl FnOnce(Bound<'_, Source>) -> PyResult<R>,
) -> PyResult<R> {
    // SAFETY: only the lifetime is changed; `lender` ends the loan before `source`'s own borrow ends, on this thread.
    let target =
        unsafe { std::mem::transmute::<NonNull<dyn Read + '_>, NonNull<dyn Read + 'static>>(NonNull::from(source)) };
    // SAFETY: `source` is borrowed exclusively until this function returns, and `lender` is dropped here, on this thread.
    let lender = unsafe { Lender::new(target) };
    work(Bound::new(py, Source { source: lender.loan() })?)
}
