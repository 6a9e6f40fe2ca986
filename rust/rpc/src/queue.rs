//! What waits to be sent to one peer: bounded, control before data.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::codec::Encoded;
use crate::park::lock;

/// Bytes that wait at most in the control lane.
const CONTROL_BYTES: usize = 2 << 20;
/// Bytes that wait at most in the data or bulk lane: several windows of a leader.
const PAYLOAD_BYTES: usize = 16 << 20;

/// Frames that wait for one stream, in the order of their lanes.
#[derive(Debug)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Frames are dropped unless a connection is there or being made.
    takes: bool,
    /// The stream that may send: earlier ones end.
    stream: u64,
    /// Whether that stream has been accepted.
    accepted: bool,
    lanes: [Lane; 2],
    sender: Option<Waker>,
    sent: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Lane {
    frames: VecDeque<Encoded>,
    bytes: usize,
    bound: usize,
    /// The last frame was dropped because the lane was full.
    full: bool,
}

impl Lane {
    const fn new(bound: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, bound, full: false }
    }
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// It waits; that task must run to send it.
    Wake(Waker),
    /// It waits; the task knows.
    Waits,
    /// Dropped: no connection.
    Unconnected,
    /// Dropped: the lane is full. `first`: the frame before it was not.
    Full {
        /// Whether this is news.
        first: bool,
    },
}

/// Numbers and state for `PeerStatus`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueStatus {
    pub(crate) connected: bool,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) waiting_bytes: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State {
            takes: true,
            stream: 0,
            accepted: false,
            lanes: [Lane::new(CONTROL_BYTES), Lane::new(PAYLOAD_BYTES)],
            sender: None,
            sent: 0,
            dropped: 0,
        }))
    }

    /// Adds a frame; `urgent`: to the control lane.
    pub(crate) fn push(&self, frame: Encoded, urgent: bool) -> Pushed {
        let mut state = lock(&self.0);
        let state = &mut *state;
        if !state.takes {
            state.dropped += 1;
            return Pushed::Unconnected;
        }
        let lane = &mut state.lanes[usize::from(!urgent)];
        if lane.bytes + frame.size() > lane.bound {
            state.dropped += 1;
            return Pushed::Full { first: !std::mem::replace(&mut lane.full, true) };
        }
        lane.full = false;
        lane.bytes += frame.size();
        lane.frames.push_back(frame);
        if !state.accepted {
            return Pushed::Waits;
        }
        state.sender.take().map_or(Pushed::Waits, Pushed::Wake)
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).lanes.iter().all(|lane| lane.frames.is_empty())
    }

    /// A connection is being made: frames are kept for it. Gives the number of its stream.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = lock(&self.0);
        state.takes = true;
        state.accepted = false;
        state.stream += 1;
        state.stream
    }

    /// The peer has accepted the stream: what waits may leave.
    pub(crate) fn accept(&self) {
        let sender = {
            let mut state = lock(&self.0);
            state.accepted = true;
            state.sender.take()
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// The connection is gone, and what waited with it: says how many frames. `takes`: what comes now waits for the next one.
    pub(crate) fn end(&self, takes: bool) -> u64 {
        let mut state = lock(&self.0);
        state.takes = takes;
        state.accepted = false;
        state.stream += 1;
        state.sender = None;
        let mut lost = 0;
        for lane in &mut state.lanes {
            lost += lane.frames.len() as u64;
            lane.frames.clear();
            lane.bytes = 0;
            lane.full = false;
        }
        state.dropped += lost;
        lost
    }

    /// The next frame for that stream; `None`: it is not the current one any more.
    pub(crate) fn poll(&self, stream: u64, context: &mut Context<'_>) -> Poll<Option<Encoded>> {
        let mut state = lock(&self.0);
        let state = &mut *state;
        if state.stream != stream {
            return Poll::Ready(None);
        }
        if state.accepted {
            for lane in &mut state.lanes {
                if let Some(frame) = lane.frames.pop_front() {
                    lane.bytes -= frame.size();
                    state.sent += 1;
                    return Poll::Ready(Some(frame));
                }
            }
        }
        state.sender = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn status(&self) -> QueueStatus {
        let state = lock(&self.0);
        QueueStatus {
            connected: state.accepted,
            sent: state.sent,
            dropped: state.dropped,
            waiting_bytes: state.lanes.iter().map(|lane| lane.bytes).sum(),
        }
    }
}
