//! What a node tells its surroundings: log records, and which threads it starts.

use d_engine_raft::{Index, NodeId, Term};

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// A change of role, of membership, of files.
    Info,
    /// Something is wrong, and the node copes.
    Warning,
    /// The node, or a part of it, has stopped.
    Error,
}

/// One thing to write into a log.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// How much it matters.
    pub level: Level,
    /// The part that speaks: `core`, `log`, `apply`, `snapshot`, `transport`, `node`.
    pub part: &'static str,
    /// What happened.
    pub message: String,
    /// Where.
    pub node: NodeId,
    /// In which term, where that matters.
    pub term: Option<Term>,
    /// At which entry, where that matters.
    pub index: Option<Index>,
}

/// Takes log records. Called from every thread of the node: it must not block, and must not wait for an interpreter; a full
/// queue drops and counts.
pub trait LogSink: Send + Sync {
    /// Whether records of that level are wanted: they are not made otherwise.
    fn enabled(&self, level: Level) -> bool;
    /// Takes one.
    fn log(&self, record: LogRecord);
}

/// Wants no records.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl LogSink for NoLog {
    fn enabled(&self, _level: Level) -> bool {
        false
    }

    fn log(&self, _record: LogRecord) {}
}

/// Called at the beginning and at the end of each thread that may call plugins (`apply`, `log`, `reader`, `snapshot`,
/// `transfer`, `send`), on that thread; never on the core thread. An adaptor keeps its thread state between the two.
pub trait ThreadHooks: Send + Sync {
    /// The thread begins.
    fn started(&self, thread: &str);
    /// The thread ends; nothing of a plugin is called on it afterwards.
    fn ending(&self, thread: &str);
}

/// Does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl ThreadHooks for NoHooks {
    fn started(&self, _thread: &str) {}
    fn ending(&self, _thread: &str) {}
}
