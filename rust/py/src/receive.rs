//! `Receive`: what a Python transport hands received bytes to.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use d_engine_node::{FrameError, Inbound};
use d_engine_raft::NodeId;
use d_engine_rpc::codec;
use pyo3::prelude::*;

use crate::convert;
use crate::errors::Report;
use crate::fork::Native;

/// The way into a node; shut when its transport is closed.
pub struct Door {
    node: NodeId,
    inbound: Mutex<Option<Arc<dyn Inbound>>>,
}

impl Door {
    pub fn new(node: NodeId, inbound: Arc<dyn Inbound>) -> Arc<Self> {
        Arc::new(Self { node, inbound: Mutex::new(Some(inbound)) })
    }

    /// Nothing is delivered afterwards.
    pub fn shut(&self) {
        let inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(inbound);
    }

    /// The node behind it, while it is open.
    pub fn inbound(&self) -> Option<Arc<dyn Inbound>> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

enum Refused {
    Garbage(String),
    Frame(FrameError),
}

/// Hands one received frame to the node. Thread-safe, never blocks, drops (and counts) when the node is full or closed.
///
/// Raises `InvalidMessageError` for bytes that are no frame of ours, `WrongClusterError` for one of another cluster, `TypeError`.
#[pyclass(frozen, module = "d_engine._core")]
pub struct Receive {
    door: Native<Arc<Door>>,
}

impl Receive {
    pub fn new(door: Arc<Door>) -> Self {
        Self { door: Native::new("Receive", door) }
    }
}

#[pymethods]
impl Receive {
    fn __call__(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        let door = self.door.get(py)?;
        let data = Bytes::copy_from_slice(convert::buffer(data)?.as_bytes());
        py.detach(|| deliver(door, data)).map_err(|refused| refused.raise(py, door.node))
    }
}

fn deliver(door: &Door, data: Bytes) -> Result<(), Refused> {
    let Some(inbound) = door.inbound() else { return Ok(()) };
    let frame = codec::unseal(data).map_err(|error| {
        let why = error.to_string();
        inbound.invalid("Transport.receive", &why);
        Refused::Garbage(why)
    })?;
    match inbound.deliver(frame) {
        // A frame that is lost is nothing special: the protocol sends again.
        Ok(()) | Err(FrameError::Full | FrameError::Closed) => Ok(()),
        Err(error) => Err(Refused::Frame(error)),
    }
}

impl Refused {
    fn raise(self, py: Python<'_>, node: NodeId) -> PyErr {
        let report = match self {
            Self::Garbage(why) => Report::new("InvalidMessageError", why),
            Self::Frame(FrameError::Cluster { expected, found }) => {
                Report::new("WrongClusterError", format!("a frame came from cluster {found:032x}"))
                    .text("expected", format!("{expected:032x}"))
                    .text("found", format!("{found:032x}"))
            }
            Self::Frame(error) => Report::new("InvalidMessageError", format!("the frame was not taken: {error}")),
        };
        report.node(node).raise(py)
    }
}
