//! Errors on their way to Python: `d_engine.errors` makes the exceptions, here is only said which one and with what in it.

use std::sync::Arc;

use d_engine_node::{JoinError, NodeError, PluginFailure, StorageError, TransportError, passes};
use d_engine_raft::{ChangeError, NodeId, Refusal};
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::boundary;

static FROM_NATIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ROOT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static COMMAND_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

enum Attribute {
    Number(u64),
    Text(String),
    Texts(Vec<String>),
    Nothing,
}

/// An exception that is still to be made: class, message, attributes, cause. Can be built on any thread.
pub struct Report {
    name: &'static str,
    message: String,
    attributes: Vec<(&'static str, Attribute)>,
    cause: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl Report {
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), attributes: Vec::new(), cause: None }
    }

    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.attributes.push((name, Attribute::Number(value)));
        self
    }

    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, Attribute::Text(value.into())));
        self
    }

    pub fn node(self, node: NodeId) -> Self {
        self.number("node", node)
    }

    /// The same with another exception as its cause.
    pub fn because(mut self, error: PyErr) -> Self {
        self.cause = Some(Arc::new(error));
        self
    }

    fn maybe_number(mut self, name: &'static str, value: Option<u64>) -> Self {
        self.attributes.push((name, value.map_or(Attribute::Nothing, Attribute::Number)));
        self
    }

    fn maybe_text(mut self, name: &'static str, value: Option<&String>) -> Self {
        self.attributes.push((name, value.map_or(Attribute::Nothing, |value| Attribute::Text(value.clone()))));
        self
    }

    /// Makes the exception. If even that fails (the package is broken, the interpreter out of memory), its failure is the result.
    pub fn raise(self, py: Python<'_>) -> PyErr {
        self.make(py).unwrap_or_else(|error| error)
    }

    fn make(self, py: Python<'_>) -> PyResult<PyErr> {
        let attributes = PyDict::new(py);
        for (name, value) in self.attributes {
            match value {
                Attribute::Number(value) => attributes.set_item(name, value)?,
                Attribute::Text(value) => attributes.set_item(name, value)?,
                Attribute::Texts(value) => attributes.set_item(name, value)?,
                Attribute::Nothing => attributes.set_item(name, py.None())?,
            }
        }
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<PyErr>()).map(|error| error.value(py));
        let from_native = FROM_NATIVE.import(py, "d_engine.errors", "from_native")?;
        Ok(PyErr::from_value(from_native.call1((self.name, self.message, attributes, cause))?))
    }
}

/// Whether that is a `CommandError`: a deterministic refusal by the state machine, which is an answer.
pub fn is_command_error(object: &Bound<'_, PyAny>) -> bool {
    // Most results are no exceptions at all: that look costs nothing.
    object.is_instance_of::<PyBaseException>() && is_instance(object, &COMMAND_ERROR, "CommandError")
}

fn is_instance(object: &Bound<'_, PyAny>, class: &PyOnceLock<Py<PyAny>>, name: &str) -> bool {
    class.import(object.py(), "d_engine.errors", name).and_then(|class| object.is_instance(class)).unwrap_or(false)
}

/// What a call that failed raises. `stopped` is why the node stopped by itself, if it did: the cause of a `ClosedError`.
pub fn raised(py: Python<'_>, error: &NodeError, stopped: Option<&NodeError>) -> PyErr {
    let report = report(error);
    match (error, stopped) {
        (NodeError::Closed { .. }, Some(stopped)) => report.because(raised(py, stopped, None)).raise(py),
        _ => report.raise(py),
    }
}

/// What a failed start raises: a plugin's exception is a `PluginError` then, and one of our own kind passes as it is.
pub fn start_failed(py: Python<'_>, error: &NodeError) -> PyErr {
    let (node, failure) = match error {
        NodeError::Storage { node, error: StorageError::Plugin(failure) }
        | NodeError::Transport { node, error: TransportError::Plugin(failure) }
        | NodeError::Plugin { node, failure } => (*node, failure),
        _ => return report(error).raise(py),
    };
    match boundary::cause(failure) {
        // Ctrl-C in a plugin's callback on the starting thread is no failure of the plugin.
        Some(own) if !own.value(py).is_instance_of::<PyException>() => own.clone_ref(py),
        Some(own) if is_instance(own.value(py).as_any(), &ROOT, "DEngineError") => own.clone_ref(py),
        _ => plugin(node, failure).raise(py),
    }
}

/// The `PluginError` of a failure.
pub fn plugin(node: NodeId, failure: &PluginFailure) -> Report {
    of_plugin("PluginError", node, failure)
}

fn of_plugin(name: &'static str, node: NodeId, failure: &PluginFailure) -> Report {
    let mut report = Report::new(name, format!("{} failed: {}", failure.callback, failure.message))
        .node(node)
        .text("callback", failure.callback)
        .maybe_number("index", failure.index);
    report.cause.clone_from(&failure.cause);
    report
}

/// The `PluginError` of a callback whose name is known at run time only.
pub fn plugin_named(py: Python<'_>, node: NodeId, callback: &str, error: PyErr) -> PyErr {
    Report::new("PluginError", format!("{callback} failed: {}", boundary::describe(py, &error)))
        .node(node)
        .text("callback", callback)
        .because(error)
        .raise(py)
}

fn report(error: &NodeError) -> Report {
    match error {
        NodeError::Config(problems) => {
            let mut report = Report::new("ConfigError", problems.join("; "));
            report.attributes.push(("problems", Attribute::Texts(problems.clone())));
            report
        }
        NodeError::Closed { node } => Report::new("ClosedError", "the node is closed").node(*node),
        NodeError::NotLeader { node, leader, address, term } => {
            let message = match (leader, address) {
                (None, _) => "no leader is known".to_owned(),
                (Some(leader), None) => format!("not the leader: node {leader} leads"),
                (Some(leader), Some(address)) => format!("not the leader: node {leader} at {address} leads"),
            };
            Report::new("NotLeaderError", message)
                .node(*node)
                .maybe_number("leader_id", *leader)
                .maybe_text("address", address.as_ref())
                .number("term", *term)
        }
        NodeError::Overloaded { node, why } => {
            Report::new("OverloadedError", why.as_str()).node(*node).text("hint", "Wait a moment, then repeat the call")
        }
        NodeError::TooLarge { size, limit } => too_large(*size, *limit),
        NodeError::NotAccepted { node, why } => {
            Report::new("NotAcceptedError", format!("the proposal was not accepted: {why}")).node(*node)
        }
        NodeError::ChangeRefused { node, why } => refused_change(*node, *why),
        NodeError::TransferRefused { node, why } => {
            // What names the wrong node is wrong tomorrow, too.
            let class = match why {
                Refusal::UnknownMember | Refusal::NotAVoter => "ConfigError",
                _ => "NotAcceptedError",
            };
            Report::new(class, format!("leadership is not given away: {why}"))
                .node(*node)
                .text("reason", snake_case(&format!("{why:?}")))
        }
        NodeError::Removed { node } => Report::new("NotLeaderError", "this node was removed from the cluster")
            .node(*node)
            .text("hint", "Close it, and ask another node"),
        NodeError::Witness { node, leader, address, term } => {
            Report::new("NotLeaderError", "a witness keeps no state machine and gives no results")
                .node(*node)
                .maybe_number("leader_id", *leader)
                .maybe_text("address", address.as_ref())
                .number("term", *term)
                .text("hint", "Ask another node")
        }
        NodeError::Join { node, error } => refused_join(*node, error),
        NodeError::OutcomeUnknown { node, why } => {
            Report::new("OutcomeUnknownError", format!("the proposal may or may not be applied: {why}"))
                .node(*node)
                .text("hint", "Read the state before repeating it")
        }
        NodeError::SessionExpired { node, session } => Report::new(
            "SessionExpiredError",
            format!("session {session} is not known (any more): nothing was applied now"),
        )
        .node(*node)
        .number("session", *session)
        .text(
            "hint",
            "If this repeats an earlier attempt, that one's outcome is unknown: read the state. Open a new session",
        ),
        NodeError::ResultLost { node, session, sequence } => {
            Report::new("ResultLostError", "it was applied, once, but its result was not kept")
                .node(*node)
                .number("session", *session)
                .number("sequence", *sequence)
                .text("hint", "Do not repeat it; read the state")
        }
        NodeError::Deadline { node, what } => Report::new("DeadlineError", format!("{what} took too long")).node(*node),
        NodeError::Plugin { node, failure } => plugin(*node, failure),
        NodeError::Storage { node, error } => storage(*node, error),
        NodeError::Transport { node, error } => transport(*node, error),
        NodeError::WipedMember { node, expected, found } => Report::new(
            "WipedMemberError",
            "the cluster knows this member by another data directory: was its disk wiped?",
        )
        .node(*node)
        .text("expected", expected.to_string())
        .text("found", found.to_string()),
        NodeError::Panic { node, thread, message } => {
            Report::new("DEngineError", format!("thread {thread} failed: {message}. The node has stopped"))
                .node(*node)
                .text("hint", "This is a defect of d-engine-core: please report it")
        }
    }
}

/// An entry over the limit.
pub fn too_large(size: usize, limit: usize) -> Report {
    Report::new("TooLargeError", format!("an entry of {size} bytes is over the limit of {limit} (max_entry_bytes)"))
        .number("size", size as u64)
        .number("limit", limit as u64)
}

/// A change of the members that was not made: a mistake, unless it may be made a little later.
fn refused_change(node: NodeId, why: ChangeError) -> Report {
    let class = if passes(why) { "NotAcceptedError" } else { "ConfigError" };
    let kind = format!("{why:?}");
    let kind = kind.split([' ', '(']).next().unwrap_or_default();
    Report::new(class, format!("the members stay as they are: {why}")).node(node).text("reason", snake_case(kind))
}

fn refused_join(node: NodeId, error: &JoinError) -> Report {
    match error {
        JoinError::WrongCluster { expected, found } => Report::new("WrongClusterError", error.to_string())
            .node(node)
            .text("expected", expected.as_str())
            .text("found", found.as_str()),
        JoinError::Refused(why) => refused_change(node, *why),
        JoinError::Unanswered(why) => Report::new("DeadlineError", format!("no member took this node in: {why}"))
            .node(node)
            .text("hint", "Are they running, do they have a leader, are the addresses right?"),
        JoinError::SameNode(_) | JoinError::Unsupported | JoinError::Other(_) => {
            Report::new("ConfigError", error.to_string()).node(node)
        }
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// A storage's failure, whichever room it comes from.
pub fn storage(node: NodeId, error: &StorageError) -> Report {
    match error {
        StorageError::Plugin(failure) => of_plugin("StorageError", node, failure),
        StorageError::Corrupt { what, offset, index, why } => {
            Report::new("CorruptLogError", format!("{what} is damaged at offset {offset}: {why}"))
                .node(node)
                .text("segment", what.as_str())
                .number("offset", *offset)
                .maybe_number("index", *index)
                .text("hint", "Restore this node from another member")
        }
        StorageError::Locked { directory } => {
            Report::new("DirectoryLockedError", error.to_string()).node(node).text("directory", directory.as_str())
        }
        StorageError::WrongNode { expected, found, .. } => Report::new("WrongNodeError", error.to_string())
            .node(node)
            .number("expected", *expected)
            .number("found", *found),
        StorageError::WrongCluster { expected, found, .. } => Report::new("WrongClusterError", error.to_string())
            .node(node)
            .text("expected", expected.as_str())
            .text("found", found.as_str()),
        StorageError::Io { .. } | StorageError::Inconsistent(_) | StorageError::NoMembers { .. } => {
            Report::new("StorageError", error.to_string()).node(node)
        }
    }
}

fn transport(node: NodeId, error: &TransportError) -> Report {
    match error {
        TransportError::Bind { .. } => Report::new("ConfigError", error.to_string())
            .node(node)
            .text("hint", "Choose a free address of this machine"),
        TransportError::Plugin(failure) => plugin(node, failure),
        TransportError::Other(why) => Report::new("ConfigError", why.as_str()).node(node),
    }
}
