//! The parts of a node that a user may own. Nothing here is async; every callback runs on the thread that its documentation
//! names, and may block that thread only.

mod machine;
mod observe;
mod storage;
mod transport;

pub use machine::{Applied, Batch, Reading, StateMachine, View};
pub use observe::{Level, LogRecord, LogSink, NoHooks, NoLog, ThreadHooks};
pub use storage::{
    Identity, Loaded, LogBounds, LogStore, MetaStore, RecordStore, SnapshotMeta, SnapshotReader, SnapshotStore,
    SnapshotWriter, Storage,
};
pub use transport::{
    Admission, Frame, FrameError, Hello, Inbound, JoinDone, JoinError, JoinRequest, Lane, PROTOCOL_VERSION, Park,
    Payload, SnapshotFrame, Transport, TransportStart, Unpark,
};
