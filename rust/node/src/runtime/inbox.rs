//! What the core thread is told, and where it is told.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use d_engine_raft::{Draft, Entry, Message, Micros, NodeId};

use super::Queue;
use super::calls::{RuntimeCalls, StatusReply};
use super::park::lock;
use super::shared::Shared;
use crate::driver::DriverInput;
use crate::metrics::{add, count, set};
use crate::node::Completion;
use crate::status::Change;
use crate::traits::{
    Frame, FrameError, Inbound, JoinDone, JoinRequest, Lane, Level, PROTOCOL_VERSION, Payload, SnapshotFrame,
    StateMachine, Unpark,
};
use crate::transfer::TransferInput;

/// One thing for the core thread.
pub enum Item<S: StateMachine> {
    /// Something for the driver.
    Driver(DriverInput<RuntimeCalls<S>>),
    /// Messages of one checked frame.
    Messages(Vec<Message>),
    /// Frames of a snapshot transfer to send.
    Send(Vec<Frame>),
    /// The whole status.
    Status(StatusReply),
    /// Tell when the node is ready.
    WaitReady(Completion<()>, Option<Micros>),
    /// Tell of a change beyond that version.
    NextChange(u64, Completion<Change>, Option<Micros>),
    /// Stop without closing.
    Stop,
}

struct State<S: StateMachine> {
    items: Vec<Item<S>>,
    frame_bytes: usize,
    frames: usize,
    /// The core thread is gone.
    ended: bool,
}

/// The core thread's queue: bounded where peers fill it, and by admission where callers do.
pub struct Inbox<S: StateMachine> {
    state: Mutex<State<S>>,
    /// Set once the transport has said where the core thread waits; before that nobody waits.
    unpark: OnceLock<Arc<dyn Unpark>>,
}

const MAX_FRAMES: usize = 16_384;
const MAX_FRAME_BYTES: usize = 64 << 20;

impl<S: StateMachine> Default for Inbox<S> {
    fn default() -> Self {
        let state = State { items: Vec::new(), frame_bytes: 0, frames: 0, ended: false };
        Self { state: Mutex::new(state), unpark: OnceLock::new() }
    }
}

impl<S: StateMachine> Inbox<S> {
    pub fn set_unpark(&self, unpark: Arc<dyn Unpark>) {
        // Called once, by the start.
        let _ = self.unpark.set(unpark);
    }

    fn wake(&self) {
        if let Some(unpark) = self.unpark.get() {
            unpark.unpark();
        }
    }

    /// Gives the item back if nobody will take it.
    #[expect(clippy::result_large_err, reason = "it is the very item, and seldom")]
    pub fn push(&self, item: Item<S>) -> Result<(), Item<S>> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(item);
        }
        // Whoever put in the first one has woken, or will wake, the core thread.
        let wake = state.items.is_empty();
        state.items.push(item);
        drop(state);
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// For reports of the node's own threads: without a core thread nobody needs them.
    pub fn report(&self, input: DriverInput<RuntimeCalls<S>>) {
        drop(self.push(Item::Driver(input)));
    }

    fn push_frame(&self, messages: Vec<Message>, bytes: usize) -> Result<(), FrameError> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(FrameError::Closed);
        }
        if state.frames >= MAX_FRAMES || state.frame_bytes > 0 && state.frame_bytes + bytes > MAX_FRAME_BYTES {
            return Err(FrameError::Full);
        }
        state.frames += 1;
        state.frame_bytes += bytes;
        let wake = state.items.is_empty();
        state.items.push(Item::Messages(messages));
        drop(state);
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// Takes everything; `into` is empty and gives its memory for the next round.
    pub fn drain(&self, shared: &Shared, into: &mut Vec<Item<S>>) {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.items, into);
        set(&shared.counters.inbox_bytes, state.frame_bytes);
        state.frames = 0;
        state.frame_bytes = 0;
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.state).items.is_empty()
    }

    /// Nobody takes any more; returns what is there.
    pub fn end(&self) -> Vec<Item<S>> {
        let mut state = lock(&self.state);
        state.ended = true;
        std::mem::take(&mut state.items)
    }
}

/// The node as its transport sees it.
pub struct NodeInbound<S: StateMachine> {
    pub shared: Arc<Shared>,
    pub inbox: Arc<Inbox<S>>,
    pub transfers: Arc<Queue<TransferInput>>,
}

/// Snapshot frames waiting for the transfer thread; the sender's window is far smaller.
const MAX_TRANSFER_FRAMES: usize = 64;

impl<S: StateMachine> NodeInbound<S> {
    fn check(&self, frame: &Frame) -> Result<(), FrameError> {
        let hello = &self.shared.hello;
        if frame.version != PROTOCOL_VERSION {
            return Err(FrameError::Version(frame.version));
        }
        if frame.cluster_id != hello.cluster_id {
            return Err(FrameError::Cluster { expected: hello.cluster_id, found: frame.cluster_id });
        }
        if frame.group != hello.group {
            return Err(FrameError::Group(frame.group));
        }
        if frame.recovery_epoch != hello.recovery_epoch {
            return Err(FrameError::Epoch { expected: hello.recovery_epoch, found: frame.recovery_epoch });
        }
        if frame.to != hello.node {
            return Err(FrameError::Recipient { expected: hello.node, found: frame.to });
        }
        let fits = |message: &Message| {
            message.from == frame.from && message.to == frame.to && message.incarnation == frame.incarnation
        };
        match &frame.payload {
            Payload::Messages(messages) if frame.from == hello.node || !messages.iter().all(fits) => {
                Err(FrameError::Envelope)
            }
            _ => Ok(()),
        }
    }
}

/// Bytes of entries in messages.
pub fn message_bytes(messages: &[Message]) -> usize {
    use d_engine_raft::Body;
    let size = |message: &Message| match &message.body {
        Body::Append { entries, .. } => entries.iter().map(Entry::size).sum(),
        Body::Propose { entries, .. } => Draft::size(entries),
        _ => 0,
    };
    messages.iter().map(size).sum()
}

impl<S: StateMachine> Inbound for NodeInbound<S> {
    fn deliver(&self, frame: Frame) -> Result<(), FrameError> {
        let counters = &self.shared.counters;
        if let Err(error) = self.check(&frame) {
            add(&counters.invalid_messages, 1);
            self.shared
                .record(Level::Warning, "transport", || format!("refused a frame of node {}: {error}", frame.from));
            return Err(error);
        }
        let lane = match frame.lane {
            Lane::Control => &counters.frames_received_control,
            Lane::Data => &counters.frames_received_data,
            Lane::Bulk => &counters.frames_received_bulk,
        };
        add(lane, 1);
        let result = match frame.payload {
            Payload::Messages(messages) => {
                let bytes = message_bytes(&messages);
                count(&counters.messages_received, messages.len());
                count(&counters.bytes_received, bytes);
                self.inbox.push_frame(messages, bytes)
            }
            Payload::Snapshot(snapshot) => {
                if let SnapshotFrame::Chunk { data, .. } = &snapshot {
                    count(&counters.bytes_received, data.len());
                    count(&counters.bytes_received_bulk, data.len());
                }
                if self.transfers.visit(|queue| queue.len()) >= MAX_TRANSFER_FRAMES {
                    Err(FrameError::Full)
                } else if self.transfers.push(TransferInput::Frame(frame.from, snapshot)) {
                    Ok(())
                } else {
                    Err(FrameError::Closed)
                }
            }
        };
        if result.is_err() {
            add(&counters.messages_dropped, 1);
        }
        result
    }

    fn invalid(&self, from: &str, why: &str) {
        add(&self.shared.counters.invalid_messages, 1);
        self.shared.record(Level::Warning, "transport", || format!("bytes from {from} are no frame: {why}"));
    }

    fn unreachable(&self, node: NodeId) {
        self.inbox.report(DriverInput::Unreachable(node));
    }

    fn lost(&self, frames: u64) {
        add(&self.shared.counters.send_errors, frames);
    }

    fn warn(&self, message: String) {
        self.shared.record(Level::Warning, "transport", || message);
    }

    fn join(&self, request: JoinRequest, timeout: Duration, done: JoinDone) {
        self.admit(request, timeout, done);
    }
}
