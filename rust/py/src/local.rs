//! `LocalTransport`.

use d_engine_node::{LocalNetwork, Transport};
use pyo3::prelude::*;

use crate::fork::Native;

/// Passes messages between nodes of one process. One object is the whole network: give the same one to every node.
#[pyclass(frozen, module = "d_engine._core")]
pub struct LocalTransport {
    network: Native<LocalNetwork>,
}

impl LocalTransport {
    /// One node's end.
    pub fn end(&self, py: Python<'_>) -> PyResult<Box<dyn Transport>> {
        Ok(Box::new(self.network.get(py)?.transport()))
    }
}

#[pymethods]
impl LocalTransport {
    #[new]
    fn new() -> Self {
        Self { network: Native::new("LocalTransport", LocalNetwork::new()) }
    }
}
