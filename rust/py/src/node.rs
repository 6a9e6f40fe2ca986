//! `Node`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use d_engine_node::storage::FileStorage;
use d_engine_node::{Join, Metrics, NodeConfig, NodeParts, Storage, Summary, Transport};
use d_engine_raft::{Member, NodeId};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::calls::{Call, Registry};
use crate::completions::Completions;
use crate::convert::{self, Peer, Place};
use crate::errors::{self, Report};
use crate::fork::Native;
use crate::grpc::{GrpcTransport, Listening};
use crate::local::LocalTransport;
use crate::logs;
use crate::machine::Machine;
use crate::slot::Latch;
use crate::starting::start_apart;
use crate::status;
use crate::storage::Engine;
use crate::threads::KeepThreadState;
use crate::transport::PythonTransport;
use crate::watch::Watch;

/// How long a node that nobody closed may take to stop.
const ABANDONED: Duration = Duration::from_secs(5);
/// What "for ever" means to `close`, which adds it to a clock.
const LONGEST_CLOSE: Duration = Duration::from_secs(366 * 24 * 3600);

/// A node that was started.
pub struct Running {
    pub id: NodeId,
    pub node: d_engine_node::Node<Machine>,
    pub calls: Registry,
    pub watch: Arc<Watch>,
    /// Where its transport is bound.
    address: Option<String>,
}

impl Running {
    fn close(&self, handover: bool, limit: Duration) {
        self.node.close(handover, limit);
        self.watch.close();
    }
}

/// What the constructor was given, until `start`.
struct Parts {
    storage: Py<PyAny>,
    machine: Py<PyAny>,
    transport: Py<PyAny>,
    listen: Option<String>,
}

struct State {
    parts: Mutex<Option<Parts>>,
    running: OnceLock<Arc<Running>>,
    closed: AtomicBool,
    /// There from the first `close` on.
    closing: OnceLock<Arc<Latch>>,
    /// The threads have ended: dropping the node waits for nothing.
    ended: Arc<AtomicBool>,
}

impl State {
    fn parts(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        // Whoever drops the last reference may hold the interpreter that the node's threads need to end: it does not wait.
        let id = running.id;
        let stop = move || running.close(false, ABANDONED);
        // If even a thread cannot be had, the node goes on until the process ends.
        let _ = thread::Builder::new().name(format!("raft-{id}-close")).spawn(stop);
    }
}

/// One Raft node. Every method may be called from any thread, also at the same time, also from within hooks.
#[pyclass(frozen, module = "d_engine._core")]
pub struct Node {
    id: NodeId,
    config: NodeConfig,
    members: Vec<Member>,
    join: Option<Join>,
    state: Native<State>,
}

impl Node {
    /// The running node, or the reason why there is none.
    fn running(&self, py: Python<'_>) -> PyResult<&Arc<Running>> {
        let state = self.state.get(py)?;
        state.running.get().ok_or_else(|| {
            let why =
                if state.closed.load(Ordering::Acquire) { "the node is closed" } else { "the node is not started" };
            Report::new("ClosedError", why)
                .node(self.id)
                .text("hint", "Call start() once, before anything else")
                .raise(py)
        })
    }

    fn closed_error(&self, py: Python<'_>, why: &str) -> PyErr {
        Report::new("ClosedError", why).node(self.id).raise(py)
    }

    /// Runs a blocking call.
    fn wait(&self, py: Python<'_>, call: Call, timeout: f64) -> PyResult<Py<PyAny>> {
        let timeout = convert::span(timeout)?;
        call.wait(py, self.running(py)?, timeout)
    }

    /// Begins a call in completion form.
    fn begin(&self, py: Python<'_>, call: Call, timeout: f64, queue: &Completions, key: Py<PyAny>) -> PyResult<u64> {
        let timeout = convert::span(timeout)?;
        Ok(call.into_queue(py, self.running(py)?, timeout, queue.queue(py)?, key))
    }

    fn node_parts(&self, py: Python<'_>, parts: &Parts) -> PyResult<(NodeParts<Machine>, Option<Listening>)> {
        let storage: Box<dyn Storage> = match parts.storage.bind(py).cast::<PyString>() {
            Ok(directory) => {
                let directory: PathBuf = directory.extract()?;
                Box::new(FileStorage::new(directory, self.config.segment_bytes))
            }
            Err(_) => Engine::new(parts.storage.bind(py))?.into_storage(),
        };
        let (transport, listening) = self.transport(py, parts)?;
        let parts = NodeParts {
            id: self.id,
            config: self.config.clone(),
            members: self.members.clone(),
            join: self.join.clone(),
            storage,
            machine: Machine::new(parts.machine.bind(py))?,
            transport,
            log: Arc::new(logs::Sink),
            hooks: Arc::new(KeepThreadState),
        };
        Ok((parts, listening))
    }

    fn transport(&self, py: Python<'_>, parts: &Parts) -> PyResult<(Box<dyn Transport>, Option<Listening>)> {
        let transport = parts.transport.bind(py);
        if let Ok(local) = transport.cast::<LocalTransport>() {
            return Ok((local.get().end(py)?, None));
        }
        if transport.is_instance_of::<GrpcTransport>() {
            let (transport, listening) = GrpcTransport::end(parts.listen.clone(), self.config.insecure);
            return Ok((transport, Some(listening)));
        }
        Ok((Box::new(PythonTransport::new(transport)?), None))
    }

    /// Whether nothing of Python is called on the thread that starts the node.
    fn all_native(py: Python<'_>, parts: &Parts) -> bool {
        let transport = parts.transport.bind(py);
        parts.storage.bind(py).is_instance_of::<PyString>()
            && (transport.is_instance_of::<LocalTransport>() || transport.is_instance_of::<GrpcTransport>())
    }

    fn summary_now(&self, py: Python<'_>) -> PyResult<Summary> {
        Ok(self.state.get(py)?.running.get().map_or_else(Summary::default, |running| running.node.summary()))
    }
}

#[pymethods]
impl Node {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the stub's signature")]
    fn new(
        node_id: NodeId,
        settings: &Bound<'_, PyDict>,
        peers: Option<Vec<Peer>>,
        join: Option<(Vec<String>, Peer)>,
        listen: Option<String>,
        storage: Py<PyAny>,
        machine: Py<PyAny>,
        transport: Py<PyAny>,
    ) -> PyResult<Self> {
        let state = State {
            parts: Mutex::new(Some(Parts { storage, machine, transport, listen })),
            running: OnceLock::new(),
            closed: AtomicBool::new(false),
            closing: OnceLock::new(),
            ended: Arc::default(),
        };
        Ok(Self {
            id: node_id,
            config: convert::settings(settings)?,
            members: convert::members(peers.unwrap_or_default())?,
            join: join
                .map(|(addresses, own)| Ok::<_, PyErr>(Join { addresses, member: convert::member(own)? }))
                .transpose()?,
            state: Native::new("Node", state),
        })
    }

    /// Takes directory, port and threads; undoes all of it if one fails. Once only.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.get(py)?;
        if state.closed.load(Ordering::Acquire) {
            return Err(self.closed_error(py, "the node is closed"));
        }
        let parts = state.parts().take();
        let Some(parts) = parts else {
            return Err(self.closed_error(py, "the node was started before"));
        };
        let (node_parts, listening) = self.node_parts(py, &parts)?;
        let started = if Self::all_native(py, &parts) {
            start_apart(py, node_parts)?
        } else {
            py.detach(|| d_engine_node::Node::start(node_parts))
        };
        let node = started.map_err(|error| errors::start_failed(py, &error))?;
        // Asked now and not kept: it would keep a closed transport's files open.
        let address = listening.and_then(Listening::address);
        let watch = Arc::new(Watch::new(self.id));
        let running = Arc::new(Running { id: self.id, node, calls: Registry::default(), watch, address });
        let running = state.running.get_or_init(|| running);
        if state.closed.load(Ordering::Acquire) {
            py.detach(|| running.close(false, ABANDONED));
            return Err(self.closed_error(py, "the node was closed while it started"));
        }
        Ok(())
    }

    /// Hands leadership over (if asked to, and if this leads), drains and stops, all within `timeout`.
    fn close(&self, py: Python<'_>, handover: bool, timeout: f64) -> PyResult<()> {
        let state = self.state.get(py)?;
        let limit = convert::span(timeout)?.unwrap_or(LONGEST_CLOSE);
        state.closed.store(true, Ordering::Release);
        let parts = state.parts().take();
        drop(parts);
        let Some(running) = state.running.get() else { return Ok(()) };
        let latch = Arc::new(Latch::default());
        if state.closing.set(Arc::clone(&latch)).is_ok() {
            // On a thread of its own, so that Ctrl-C ends the wait and not the closing.
            let (node, opened, ended) = (Arc::clone(running), Arc::clone(&latch), Arc::clone(&state.ended));
            let stop = move || {
                node.close(handover, limit);
                ended.store(true, Ordering::Release);
                opened.open();
            };
            if thread::Builder::new().name(format!("raft-{}-close", self.id)).spawn(stop).is_err() {
                py.detach(|| running.close(handover, limit));
                latch.open();
            }
        }
        state.closing.get().map_or(Ok(()), |latch| latch.wait(py))
    }

    /// Stops as `kill -9` would: nothing is flushed, handed over or answered on the network.
    fn crash(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.get(py)?;
        state.closed.store(true, Ordering::Release);
        let parts = state.parts().take();
        drop(parts);
        if let Some(running) = state.running.get() {
            py.detach(|| {
                running.node.crash();
                running.watch.close();
            });
            state.ended.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether `close` or `crash` was called or the node stopped by itself.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        let state = self.state.get(py)?;
        Ok(state.closed.load(Ordering::Acquire) || state.running.get().is_some_and(|running| running.node.is_closed()))
    }

    /// Why the node stopped by itself, if it did.
    fn failure(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let failure = self.state.get(py)?.running.get().and_then(|running| running.node.failure());
        Ok(failure.map(|error| errors::raised(py, &error, None).into_value(py).into_any()))
    }

    /// What apply returned for this entry here.
    #[pyo3(signature = (data, timeout, session=None))]
    fn propose(&self, data: &Bound<'_, PyAny>, timeout: f64, session: Option<Place>) -> PyResult<Py<PyAny>> {
        let call = Call::Propose(convert::draft(data, self.config.max_entry_bytes, session)?);
        self.wait(data.py(), call, timeout)
    }

    #[pyo3(signature = (queue, key, data, timeout, session=None))]
    fn propose_to(
        &self,
        queue: &Completions,
        key: Py<PyAny>,
        data: &Bound<'_, PyAny>,
        timeout: f64,
        session: Option<Place>,
    ) -> PyResult<u64> {
        let call = Call::Propose(convert::draft(data, self.config.max_entry_bytes, session)?);
        self.begin(data.py(), call, timeout, queue, key)
    }

    /// The results of contiguous entries; `CommandError`s stand in their places.
    #[pyo3(signature = (items, timeout, session=None))]
    fn propose_many(&self, items: &Bound<'_, PyAny>, timeout: f64, session: Option<Place>) -> PyResult<Py<PyAny>> {
        let call = Call::ProposeMany(convert::drafts(items, self.config.max_entry_bytes, session)?);
        self.wait(items.py(), call, timeout)
    }

    #[pyo3(signature = (queue, key, items, timeout, session=None))]
    fn propose_many_to(
        &self,
        queue: &Completions,
        key: Py<PyAny>,
        items: &Bound<'_, PyAny>,
        timeout: f64,
        session: Option<Place>,
    ) -> PyResult<u64> {
        let call = Call::ProposeMany(convert::drafts(items, self.config.max_entry_bytes, session)?);
        self.begin(items.py(), call, timeout, queue, key)
    }

    /// Opens a session; returns its number.
    fn open_session(&self, py: Python<'_>, timeout: f64) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::Propose(self.config.session_draft()), timeout)
    }

    fn open_session_to(&self, py: Python<'_>, queue: &Completions, key: Py<PyAny>, timeout: f64) -> PyResult<u64> {
        self.begin(py, Call::Propose(self.config.session_draft()), timeout, queue, key)
    }

    /// `fn(argument)` on the apply thread between two batches, fresh as asked.
    #[pyo3(signature = (r#fn, argument, callback, consistency, timeout))]
    fn read(
        &self,
        py: Python<'_>,
        r#fn: Py<PyAny>,
        argument: Py<PyAny>,
        callback: String,
        consistency: &str,
        timeout: f64,
    ) -> PyResult<Py<PyAny>> {
        let consistency = convert::consistency(consistency)?;
        self.wait(py, Call::Read { function: r#fn, argument, callback, consistency }, timeout)
    }

    #[expect(clippy::too_many_arguments, reason = "the stub's signature")]
    #[pyo3(signature = (queue, key, r#fn, argument, callback, consistency, timeout))]
    fn read_to(
        &self,
        py: Python<'_>,
        queue: &Completions,
        key: Py<PyAny>,
        r#fn: Py<PyAny>,
        argument: Py<PyAny>,
        callback: String,
        consistency: &str,
        timeout: f64,
    ) -> PyResult<u64> {
        let consistency = convert::consistency(consistency)?;
        self.begin(py, Call::Read { function: r#fn, argument, callback, consistency }, timeout, queue, key)
    }

    /// Waits until the state machine holds everything acknowledged before the call; returns the applied index.
    fn read_barrier(&self, py: Python<'_>, consistency: &str, timeout: f64) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::Barrier(convert::consistency(consistency)?), timeout)
    }

    fn read_barrier_to(
        &self,
        py: Python<'_>,
        queue: &Completions,
        key: Py<PyAny>,
        consistency: &str,
        timeout: f64,
    ) -> PyResult<u64> {
        self.begin(py, Call::Barrier(convert::consistency(consistency)?), timeout, queue, key)
    }

    /// Changes the members, all of it together; returns them once that is committed.
    fn change(
        &self,
        py: Python<'_>,
        add: Vec<Peer>,
        remove: Vec<NodeId>,
        promote: Vec<NodeId>,
        demote: Vec<NodeId>,
        timeout: f64,
    ) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::Change(convert::changes(add, remove, promote, demote)?), timeout)
    }

    #[expect(clippy::too_many_arguments, reason = "the stub's signature")]
    fn change_to(
        &self,
        py: Python<'_>,
        queue: &Completions,
        key: Py<PyAny>,
        add: Vec<Peer>,
        remove: Vec<NodeId>,
        promote: Vec<NodeId>,
        demote: Vec<NodeId>,
        timeout: f64,
    ) -> PyResult<u64> {
        self.begin(py, Call::Change(convert::changes(add, remove, promote, demote)?), timeout, queue, key)
    }

    /// Gives leadership away; returns who leads then.
    fn transfer(&self, py: Python<'_>, to: Option<NodeId>, timeout: f64) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::Transfer(to), timeout)
    }

    fn transfer_to(
        &self,
        py: Python<'_>,
        queue: &Completions,
        key: Py<PyAny>,
        to: Option<NodeId>,
        timeout: f64,
    ) -> PyResult<u64> {
        self.begin(py, Call::Transfer(to), timeout, queue, key)
    }

    /// Until a leader is known and the first entry of its term is applied here.
    fn wait_ready(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        self.wait(py, Call::WaitReady, timeout).map(drop)
    }

    fn wait_ready_to(&self, py: Python<'_>, queue: &Completions, key: Py<PyAny>, timeout: f64) -> PyResult<u64> {
        self.begin(py, Call::WaitReady, timeout, queue, key)
    }

    /// Makes a snapshot now; returns its index once it is committed.
    fn snapshot(&self, py: Python<'_>, timeout: f64) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::Snapshot, timeout)
    }

    fn snapshot_to(&self, py: Python<'_>, queue: &Completions, key: Py<PyAny>, timeout: f64) -> PyResult<u64> {
        self.begin(py, Call::Snapshot, timeout, queue, key)
    }

    /// (version, role, term, leader) as soon as version > `seen`; None at the timeout.
    fn next_change(&self, py: Python<'_>, seen: u64, timeout: f64) -> PyResult<Py<PyAny>> {
        self.wait(py, Call::NextChange(seen), timeout)
    }

    fn next_change_to(
        &self,
        py: Python<'_>,
        queue: &Completions,
        key: Py<PyAny>,
        seen: u64,
        timeout: f64,
    ) -> PyResult<u64> {
        self.begin(py, Call::NextChange(seen), timeout, queue, key)
    }

    /// Gives up waiting for a `*_to` call.
    fn withdraw(&self, py: Python<'_>, call: u64) -> PyResult<()> {
        if let Some(running) = self.state.get(py)?.running.get() {
            running.calls.withdraw(call);
        }
        Ok(())
    }

    /// Whom this node follows, itself included.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<NodeId>> {
        Ok(self.summary_now(py)?.leader)
    }

    /// (role, term, leader, commit, applied), for `repr`.
    fn summary(&self, py: Python<'_>) -> PyResult<(&'static str, u64, Option<NodeId>, u64, u64)> {
        Ok(status::summary(&self.summary_now(py)?))
    }

    /// Everything, as the core last published it.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self.state.get(py)?.running.get() {
            None => status::before_start(py, self.id, &self.members),
            Some(running) => status::full(py, &py.detach(|| running.node.status())),
        }
    }

    /// Counters since start, by name.
    fn metrics(&self, py: Python<'_>) -> PyResult<HashMap<&'static str, u64>> {
        let running = self.state.get(py)?.running.get();
        let metrics = running.map_or_else(Metrics::default, |running| py.detach(|| running.node.metrics()));
        Ok(metrics.pairs().into_iter().collect())
    }

    /// Where a native network transport is bound (port 0 resolved); None before start and without one.
    fn listen_address(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let running = self.state.get(py)?.running.get();
        Ok(running.and_then(|running| running.address.clone()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.peek() else { return Ok(()) };
        // A lock that is held means that the parts are on their way out: nothing to see.
        if let Ok(parts) = state.parts.try_lock()
            && let Some(parts) = &*parts
        {
            for part in [&parts.storage, &parts.machine, &parts.transport] {
                visit.call(part)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        if let Some(state) = self.state.peek() {
            let parts = state.parts().take();
            drop(parts);
        }
    }
}
