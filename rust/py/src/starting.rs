//! Starting a node in a way that Ctrl-C can end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use d_engine_node::{NodeError, NodeParts};
use pyo3::prelude::*;

use crate::errors::Report;
use crate::machine::Machine;
use crate::slot::Slot;

type Started = Result<d_engine_node::Node<Machine>, NodeError>;

/// Starts a node on a thread of its own, so that Ctrl-C ends the wait: the node is then taken down again. Reading a log, and
/// `restore` on the apply thread, may take long.
pub fn start_apart(py: Python<'_>, parts: NodeParts<Machine>) -> PyResult<Started> {
    let slot: Arc<Slot<Started>> = Slot::new();
    let abandoned = Arc::new(AtomicBool::new(false));
    let (reply, given_up, id) = (Arc::clone(&slot), Arc::clone(&abandoned), parts.id);
    let start = move || {
        let started = d_engine_node::Node::start(parts);
        if given_up.load(Ordering::Acquire) {
            drop(started);
        } else {
            reply.put(started);
        }
    };
    if let Err(error) = thread::Builder::new().name(format!("raft-{id}-start")).spawn(start) {
        return Err(Report::new("DEngineError", format!("cannot start a thread: {error}")).node(id).raise(py));
    }
    match slot.wait(py, None) {
        Ok(Some(started)) => Ok(started),
        Ok(None) => Ok(Err(NodeError::Closed { node: id })),
        Err(interrupt) => {
            abandoned.store(true, Ordering::Release);
            // It may hold the node by now, whose threads need the interpreter to end.
            py.detach(|| drop(slot));
            Err(interrupt)
        }
    }
}
