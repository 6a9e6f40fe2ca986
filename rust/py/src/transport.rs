//! A Python transport, as the node's send thread sees it.

use std::sync::Arc;

use bytes::Bytes;
use d_engine_node::{Frame, Lane, Park, PluginFailure, Transport, TransportError, TransportStart};
use d_engine_raft::{Member, NodeId};
use d_engine_rpc::codec;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::boundary;
use crate::convert;
use crate::receive::{Door, Receive};

/// `TransportHooks`, taken apart.
pub struct PythonTransport {
    start: Py<PyAny>,
    set_peers: Py<PyAny>,
    send: Py<PyAny>,
    close: Py<PyAny>,
    door: Option<Arc<Door>>,
}

impl PythonTransport {
    /// Reads the hooks of `hooks`.
    pub fn new(hooks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| hooks.getattr(name).map(Bound::unbind);
        Ok(Self {
            start: hook("start")?,
            set_peers: hook("set_peers")?,
            send: hook("send")?,
            close: hook("close")?,
            door: None,
        })
    }

    /// What cannot be sent counts as lost.
    fn lost(&self, frames: usize, failure: &PluginFailure) {
        if let Some(inbound) = self.door.as_ref().and_then(|door| door.inbound()) {
            inbound.lost(frames as u64);
            inbound.warn(format!("{failure}; {frames} frames are lost"));
        }
    }
}

const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Data => "data",
        Lane::Bulk => "bulk",
    }
}

impl Transport for PythonTransport {
    fn blocking(&self) -> bool {
        true
    }

    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError> {
        let node = start.hello.node;
        let door = Door::new(node, start.inbound);
        let receive = Arc::clone(&door);
        let started = boundary::call("Transport.start", |py| {
            self.start.bind(py).call1((node, Bound::new(py, Receive::new(receive))?)).map(drop)
        });
        match started {
            Ok(()) => {
                self.door = Some(door);
                Ok(None)
            }
            Err(failure) => {
                door.shut();
                Err(failure.into())
            }
        }
    }

    fn set_peers(&mut self, members: &[Member]) -> Result<(), TransportError> {
        boundary::call("Transport.set_peers", |py| {
            let members = members.iter().map(convert::peer);
            self.set_peers.bind(py).call1((PyList::new(py, members)?,)).map(drop)
        })?;
        Ok(())
    }

    fn send(&mut self, frames: &mut Vec<Frame>) {
        let mut batch: Vec<(NodeId, &'static str, Bytes)> = Vec::with_capacity(frames.len());
        for frame in frames.drain(..) {
            let (to, lane) = (frame.to, lane(frame.lane));
            let sealed = codec::seal(frame);
            batch.extend(sealed.data.into_iter().map(|data| (to, lane, data)));
            for error in &sealed.oversized {
                self.lost(1, &PluginFailure::new("Transport.send", error.to_string()));
            }
        }
        if batch.is_empty() {
            return;
        }
        let sent = boundary::call("Transport.send", |py| {
            let rows = batch
                .iter()
                .map(|(to, lane, data)| (*to, *lane, PyBytes::new(py, data)).into_pyobject(py))
                .collect::<PyResult<Vec<Bound<'_, PyTuple>>>>()?;
            self.send.bind(py).call1((PyList::new(py, rows)?,)).map(drop)
        });
        if let Err(failure) = sent {
            self.lost(batch.len(), &failure);
        }
    }

    fn close(&mut self) {
        let Some(door) = self.door.take() else { return };
        // A failure to close is told while the door is still there to tell it to.
        if let Err(failure) = boundary::call("Transport.close", |py| self.close.bind(py).call0().map(drop))
            && let Some(inbound) = door.inbound()
        {
            inbound.warn(failure.to_string());
        }
        door.shut();
    }
}
