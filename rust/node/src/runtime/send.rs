//! Frames on their way out: grouped by receiver and lane, given to the transport here or on a thread of its own.

use std::sync::Arc;

use d_engine_raft::{Body, Entry, Member, Message, NodeId};

use super::Queue;
use super::inbox::message_bytes;
use super::shared::Shared;
use crate::metrics::{add, count};
use crate::traits::{Frame, Lane, Level, PROTOCOL_VERSION, Payload, Transport};

/// One thing for the send thread.
pub enum SendTask {
    Frames(Vec<Frame>),
    Peers(Vec<Member>),
}

/// The way out.
pub enum Outbound {
    /// The transport never waits, and is used on the core thread.
    Here(Box<dyn Transport>),
    /// A plugin's, on the send thread.
    Thread(Arc<Queue<SendTask>>),
}

/// A frame is closed when it has that many bytes of entries: a frame of 1 MiB holds that and one more message.
const FRAME_BYTES: usize = 256 << 10;
/// Waiting frames of a send thread.
const MAX_WAITING: usize = 4_096;

impl Outbound {
    pub fn send(&mut self, shared: &Shared, frames: &mut Vec<Frame>) {
        if frames.is_empty() {
            return;
        }
        for frame in frames.iter() {
            let lane = match frame.lane {
                Lane::Control => &shared.counters.frames_sent_control,
                Lane::Data => &shared.counters.frames_sent_data,
                Lane::Bulk => &shared.counters.frames_sent_bulk,
            };
            add(lane, 1);
        }
        match self {
            Self::Here(transport) => transport.send(frames),
            Self::Thread(queue) => {
                if queue.visit(|tasks| tasks.len()) >= MAX_WAITING {
                    count(&shared.counters.messages_dropped, frames.len());
                } else {
                    queue.push(SendTask::Frames(std::mem::take(frames)));
                }
            }
        }
        frames.clear();
    }

    pub fn set_peers(&mut self, shared: &Shared, members: &[Member]) {
        match self {
            Self::Here(transport) => {
                if let Err(error) = transport.set_peers(members) {
                    shared.record(Level::Error, "transport", || format!("the new members were not taken: {error}"));
                }
            }
            Self::Thread(queue) => drop(queue.push(SendTask::Peers(members.to_vec()))),
        }
    }

    pub fn close(&mut self) {
        match self {
            Self::Here(transport) => transport.close(),
            Self::Thread(queue) => queue.close(),
        }
    }
}

/// The send thread: everything that waits goes in one call.
pub fn run(shared: &Shared, queue: &Queue<SendTask>, mut transport: Box<dyn Transport>) {
    let mut frames = Vec::new();
    while let Some(tasks) = queue.take(None, std::mem::take) {
        if shared.is_stopped() {
            break;
        }
        for task in tasks {
            match task {
                SendTask::Frames(more) => frames.extend(more),
                SendTask::Peers(members) => {
                    if let Err(error) = transport.set_peers(&members) {
                        shared.record(Level::Error, "transport", || format!("the new members were not taken: {error}"));
                    }
                }
            }
        }
        if !frames.is_empty() {
            transport.send(&mut frames);
            frames.clear();
        }
    }
    transport.close();
}

/// The lane of a message. An answer to a forwarded proposal or change goes with the entries, so that its place is known before
/// they are applied.
const fn lane(body: &Body) -> Lane {
    match body {
        Body::Append { .. } | Body::Propose { .. } | Body::ProposeReply { .. } | Body::ChangeReply { .. } => Lane::Data,
        _ => Lane::Control,
    }
}

/// Collects the messages of one turn.
#[derive(Default)]
pub struct Outbox {
    open: Vec<(NodeId, Lane, usize, Vec<Message>)>,
    closed: Vec<Frame>,
}

impl Outbox {
    pub fn push(&mut self, shared: &Shared, message: Message) {
        let (to, lane) = (message.to, lane(&message.body));
        let size = match &message.body {
            Body::Append { entries, .. } => entries.iter().map(Entry::size).sum(),
            Body::Propose { entries, .. } => entries.size(),
            _ => 0,
        };
        let at = self.open.iter().position(|open| open.0 == to && open.1 == lane);
        let Some(at) = at else {
            self.open.push((to, lane, size, vec![message]));
            return;
        };
        if self.open[at].2 > 0 && self.open[at].2 + size > FRAME_BYTES {
            let full = std::mem::take(&mut self.open[at].3);
            self.open[at].2 = 0;
            self.close(shared, to, lane, full);
        }
        self.open[at].2 += size;
        self.open[at].3.push(message);
    }

    fn close(&mut self, shared: &Shared, to: NodeId, lane: Lane, messages: Vec<Message>) {
        count(&shared.counters.messages_sent, messages.len());
        count(&shared.counters.bytes_sent, message_bytes(&messages));
        let hello = &shared.hello;
        self.closed.push(Frame {
            cluster_id: hello.cluster_id,
            group: hello.group,
            recovery_epoch: hello.recovery_epoch,
            version: PROTOCOL_VERSION,
            from: hello.node,
            incarnation: hello.incarnation,
            to,
            lane,
            payload: Payload::Messages(messages),
        });
    }

    /// Frames of a snapshot transfer.
    pub fn extend(&mut self, frames: Vec<Frame>) {
        self.closed.extend(frames);
    }

    /// All frames of this turn; control first.
    pub fn take(&mut self, shared: &Shared) -> &mut Vec<Frame> {
        for (to, lane, _, messages) in std::mem::take(&mut self.open) {
            self.close(shared, to, lane, messages);
        }
        // Stable: the order in a lane to one node stays.
        self.closed.sort_by_key(|frame| frame.lane as u8);
        &mut self.closed
    }
}
