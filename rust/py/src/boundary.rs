//! The one helper for the boundary: attaching, and exceptions of plugins on their way into the node.

use std::sync::Arc;

use d_engine_node::PluginFailure;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// What a plugin's callback is told when there is no interpreter any more.
const GONE: &str = "the interpreter is shutting down";

/// Calls a plugin: attaches (cheap on a thread that keeps its thread state), runs `call`, and turns what it raises into a failure
/// of `callback`.
pub fn call<R>(callback: &'static str, call: impl FnOnce(Python<'_>) -> PyResult<R>) -> Result<R, PluginFailure> {
    Python::try_attach(|py| call(py).map_err(|error| failure(py, callback, error)))
        .unwrap_or_else(|| Err(PluginFailure::new(callback, GONE)))
}

/// The failure of a callback, with its exception kept for `__cause__`.
pub fn failure(py: Python<'_>, callback: &'static str, error: PyErr) -> PluginFailure {
    let mut failure = PluginFailure::new(callback, describe(py, &error));
    failure.cause = Some(Arc::new(error));
    failure
}

/// A plugin's own exception, if the failure came from one.
pub fn cause(failure: &PluginFailure) -> Option<&PyErr> {
    failure.cause.as_ref()?.downcast_ref()
}

/// Class and text of an exception; the exception's own `__str__` may fail, too.
pub fn describe(py: Python<'_>, error: &PyErr) -> String {
    let kind: Bound<'_, PyType> = error.get_type(py);
    let kind = kind.name().map_or_else(|_| "exception".to_owned(), |name| name.to_string_lossy().into_owned());
    match error.value(py).str() {
        Ok(text) if text.to_string_lossy().is_empty() => kind,
        Ok(text) => format!("{kind}: {}", text.to_string_lossy()),
        Err(_) => kind,
    }
}
