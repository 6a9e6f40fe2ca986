//! One outgoing stream to one peer: dial, introduce, carry, and again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use d_engine_node::{Frame, Lane};
use d_engine_raft::{Incarnation, NodeId};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::{Code, Status};

use crate::address;
use crate::codec::{self, Head};
use crate::handshake::{self, Rejection};
use crate::park::lock;
use crate::queue::{Pushed, Queue, QueueStatus};
use crate::shared::{Route, Shared, excerpt};
use crate::stream::{self, Outgoing};
use crate::wire::RejectionReason;

/// What a request adds to the frame in it: a tag and a length.
pub(crate) const ENVELOPE_BYTES: usize = 16;
/// From a connection to the answer of its receiver, which may be busy starting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// One outgoing stream to one peer.
pub(crate) struct Link {
    pub(crate) to: NodeId,
    route: Route,
    queue: Arc<Queue>,
    /// Headers of the frames sent so far, by lane.
    heads: Mutex<[Option<Head>; 2]>,
    state: Mutex<State>,
    /// The address has changed.
    moved: Notify,
    /// There is a reason to try now.
    hurry: Notify,
    /// The first frame of a stream that is opened on demand.
    wanted: Notify,
}

struct State {
    /// Where the configuration has it.
    address: String,
    /// Where it said itself that it is.
    heard_at: Option<String>,
    /// The next attempt goes where it said.
    follow: bool,
    task: Option<AbortHandle>,
    incarnation: Option<Incarnation>,
    error: Option<Rejection>,
    connections: u64,
}

impl State {
    /// Where to try next.
    fn target(&self) -> &str {
        self.heard_at.as_ref().filter(|_| self.follow).unwrap_or(&self.address)
    }
}

/// What `GrpcHandle::peers` tells of a link.
pub(crate) struct LinkStatus {
    pub(crate) address: String,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) error: Option<Rejection>,
    pub(crate) connections: u64,
    pub(crate) queue: QueueStatus,
}

impl Link {
    pub(crate) fn new(to: NodeId, route: Route, address: String) -> Self {
        let state = State {
            address,
            heard_at: None,
            follow: false,
            task: None,
            incarnation: None,
            error: None,
            connections: 0,
        };
        Self {
            to,
            route,
            queue: Arc::new(Queue::new()),
            heads: Mutex::default(),
            state: Mutex::new(state),
            moved: Notify::new(),
            hurry: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// Takes the task that runs it, to be ended with `stop`.
    pub(crate) fn started(&self, task: AbortHandle) {
        lock(&self.state).task = Some(task);
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        if let Some(task) = lock(&self.state).task.take() {
            task.abort();
        }
        self.queue.end(false);
    }

    /// The peer is elsewhere now.
    pub(crate) fn set_address(&self, address: &str) {
        let mut state = lock(&self.state);
        if state.address != address {
            address.clone_into(&mut state.address);
            // The newest word counts.
            (state.heard_at, state.follow) = (None, false);
            drop(state);
            self.moved.notify_one();
        }
    }

    /// The peer says that it is there: tried in turn with the configuration's address, which may be older, or newer.
    pub(crate) fn heard_at(&self, address: &str) {
        let mut state = lock(&self.state);
        state.heard_at = (state.address != address).then(|| address.to_owned());
    }

    /// The peer is there: try now rather than later.
    pub(crate) fn hurry(&self) {
        if !self.queue.status().connected {
            self.hurry.notify_one();
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let state = lock(&self.state);
        LinkStatus {
            address: state.address.clone(),
            incarnation: state.incarnation,
            error: state.error.clone(),
            connections: state.connections,
            queue: self.queue.status(),
        }
    }

    /// Queues a frame, or drops and counts it. Never waits.
    pub(crate) fn send(&self, shared: &Shared, frame: Frame) {
        let urgent = frame.lane == Lane::Control;
        let head = lock(&self.heads)[usize::from(urgent)].get_or_insert_with(|| Head::of(&frame)).clone();
        let mut lost = 0;
        let encoded = codec::encode(&head, frame.payload, |error| {
            lost += 1;
            shared.complain(
                format!("oversized for node {}", self.to),
                format!("a message for node {} is dropped: {error}", self.to),
            );
        });
        for frame in encoded {
            match self.queue.push(frame, urgent) {
                // The tasks of the other route live on another thread.
                Pushed::Wake(sender) if self.route == Route::Exchange => shared.bell.run_on_park(sender),
                Pushed::Wake(sender) => sender.wake(),
                Pushed::Waits if self.route == Route::Snapshot => self.wanted.notify_one(),
                Pushed::Waits => {}
                Pushed::Unconnected => lost += 1,
                Pushed::Full { first } => {
                    lost += 1;
                    if first && self.route == Route::Exchange {
                        shared.inbound.unreachable(self.to);
                    }
                }
            }
        }
        if lost > 0 {
            shared.inbound.lost(lost);
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let mut delay = FIRST_DELAY;
        let subject = format!("link {:?} to node {}", self.route, self.to);
        loop {
            while self.route == Route::Snapshot && self.queue.is_empty() {
                // Most nodes never send a snapshot: no connection for nothing.
                self.wanted.notified().await;
            }
            let stream = self.queue.begin();
            let mut accepted = false;
            let ended = tokio::select! {
                ended = self.carry(&shared, stream, &subject, &mut accepted) => ended,
                () = self.moved.notified() => Rejection::new(RejectionReason::Unspecified, "its address has changed".into()),
            };
            let lost = self.queue.end(self.route == Route::Snapshot);
            if lost > 0 {
                shared.inbound.lost(lost);
            }
            if self.route == Route::Exchange && (accepted || lost > 0) {
                shared.inbound.unreachable(self.to);
            }
            let address = {
                let mut state = lock(&self.state);
                state.error = Some(ended.clone());
                let tried = state.target().to_owned();
                state.follow = if accepted { state.follow } else { !state.follow };
                tried
            };
            shared.complain(subject.clone(), format!("no stream to node {} at {address}: {}", self.to, ended.text));
            if accepted {
                delay = FIRST_DELAY;
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(delay)) => {}
                () = self.hurry.notified() => {}
                () = self.moved.notified() => {}
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// One connection, from its first to its last byte. Says why it ended.
    async fn carry(&self, shared: &Shared, stream: u64, subject: &str, accepted: &mut bool) -> Rejection {
        match self.converse(shared, stream, subject, accepted).await {
            Ok(()) => Rejection::new(RejectionReason::Unspecified, "the other side has closed it".into()),
            Err(status) => Rejection::from_status(&status).unwrap_or_else(|| {
                let text = excerpt(status.message());
                Rejection::new(RejectionReason::Unspecified, text)
            }),
        }
    }

    async fn converse(&self, shared: &Shared, stream: u64, subject: &str, accepted: &mut bool) -> Result<(), Status> {
        let address = lock(&self.state).target().to_owned();
        let tcp =
            address::connect(&address).await.map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
        let introduction = async {
            let hello = Some(handshake::hello(shared, self.to));
            let outgoing = Outgoing { hello, queue: Arc::clone(&self.queue), stream };
            let mut call = stream::open(tcp, self.route, self.to, outgoing).await?;
            let answer = call.answers.message().await?;
            Ok::<_, Status>((call, answer))
        };
        let Ok(introduced) = tokio::time::timeout(HANDSHAKE_TIMEOUT, introduction).await else {
            return Err(Status::new(Code::DeadlineExceeded, "it does not answer the introduction"));
        };
        let (mut call, answer) = introduced?;
        let Some(welcome) = answer.and_then(|answer| answer.welcome) else {
            return Err(Status::new(Code::Internal, "it answers without a welcome"));
        };
        let incarnation = handshake::check_welcome(shared, self.to, &welcome)
            .map_err(|rejection| rejection.into_status(shared.hello.node))?;
        {
            let mut state = lock(&self.state);
            state.incarnation = Some(incarnation);
            state.error = None;
            state.connections += 1;
        }
        *accepted = true;
        shared.content(subject);
        self.queue.accept();
        // Nothing more is said on this side; what comes is the end.
        while call.answers.message().await?.is_some() {}
        Ok(())
    }
}

/// Half to all of it, so that nodes that lost each other together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 512).unwrap_or(0) + 512;
    delay * share / 1024
}
