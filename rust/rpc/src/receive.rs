//! The receiver's half of a stream: checks the introduction, then every frame.

use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use d_engine_node::{FrameError, Lane};
use tokio_stream::Stream;
use tonic::codec::Streaming;
use tonic::{Request, Response, Status};

use crate::accept::Guest;
use crate::codec;
use crate::handshake::{self, Accepted, Rejection};
use crate::join;
use crate::shared::{Route, Shared, excerpt};
use crate::wire::peer_service_server::PeerService;
use crate::wire::{self, RejectionReason};

/// How long a dialler may take to introduce itself.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Frames taken from one stream before others get a turn.
const FRAMES_A_TURN: u32 = 64;

/// What a request says, on either route.
pub(crate) enum Said {
    Hello(wire::Hello),
    Frame(wire::Frame),
    Nothing,
}

impl From<wire::ExchangeRequest> for Said {
    fn from(request: wire::ExchangeRequest) -> Self {
        match request.content {
            Some(wire::exchange_request::Content::Hello(hello)) => Self::Hello(hello),
            Some(wire::exchange_request::Content::Frame(frame)) => Self::Frame(frame),
            None => Self::Nothing,
        }
    }
}

impl From<wire::TransferSnapshotRequest> for Said {
    fn from(request: wire::TransferSnapshotRequest) -> Self {
        match request.content {
            Some(wire::transfer_snapshot_request::Content::Hello(hello)) => Self::Hello(hello),
            Some(wire::transfer_snapshot_request::Content::Frame(frame)) => Self::Frame(frame),
            None => Self::Nothing,
        }
    }
}

impl From<wire::Welcome> for wire::ExchangeResponse {
    fn from(welcome: wire::Welcome) -> Self {
        Self { welcome: Some(welcome) }
    }
}

impl From<wire::Welcome> for wire::TransferSnapshotResponse {
    fn from(welcome: wire::Welcome) -> Self {
        Self { welcome: Some(welcome) }
    }
}

/// The service, as one connection sees it.
pub(crate) struct Reception {
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: SocketAddr,
    pub(crate) guest: Arc<Guest>,
}

#[tonic::async_trait]
impl PeerService for Reception {
    type ExchangeStream = Frames<wire::ExchangeRequest, wire::ExchangeResponse>;
    type TransferSnapshotStream = Frames<wire::TransferSnapshotRequest, wire::TransferSnapshotResponse>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        self.receive(Route::Exchange, request.into_inner()).await.map(Response::new)
    }

    async fn transfer_snapshot(
        &self,
        request: Request<Streaming<wire::TransferSnapshotRequest>>,
    ) -> Result<Response<Self::TransferSnapshotStream>, Status> {
        self.receive(Route::Snapshot, request.into_inner()).await.map(Response::new)
    }

    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinResponse>, Status> {
        join::answer(&self.shared, request.into_inner()).await.map(Response::new)
    }
}

impl Reception {
    async fn receive<Q, A>(&self, route: Route, mut requests: Streaming<Q>) -> Result<Frames<Q, A>, Status>
    where
        Said: From<Q>,
        A: From<wire::Welcome>,
    {
        let remote = self.remote;
        let Ok(first) = tokio::time::timeout(HELLO_TIMEOUT, requests.message()).await else {
            return Err(Status::deadline_exceeded("no introduction came"));
        };
        let judged = if let Some(Said::Hello(hello)) = first?.map(Said::from) {
            handshake::judge(&self.shared, &hello).map(|accepted| (accepted, hello.address))
        } else {
            let text = format!("{} refuses {remote}: the first message is no introduction", self.shared.describe());
            Err(Rejection::new(RejectionReason::Hello, text))
        };
        let subject = format!("stream from {}", remote.ip());
        match judged {
            Ok((accepted, address)) => {
                self.shared.content(&subject);
                self.guest.introduce();
                Ok(Frames {
                    welcome: Some(handshake::welcome(&self.shared).into()),
                    live: self.shared.begin_stream(accepted.node, route, &address),
                    shared: Arc::clone(&self.shared),
                    requests,
                    accepted,
                    route,
                    remote,
                })
            }
            Err(rejection) => {
                self.shared.complain(subject, rejection.text.clone());
                Err(rejection.into_status(self.shared.hello.node))
            }
        }
    }
}

/// The answers of a stream: a welcome, and then, for as long as it is polled, the work of taking in the frames.
pub(crate) struct Frames<Q, A> {
    welcome: Option<A>,
    requests: Streaming<Q>,
    accepted: Accepted,
    route: Route,
    remote: SocketAddr,
    live: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl<Q, A> Frames<Q, A> {
    /// Hands a frame to the node. An error ends the stream.
    fn take(&self, said: Said) -> Result<(), Rejection> {
        let refuse = |why: String| Err(Rejection::new(RejectionReason::Frame, why));
        let frame = match said {
            Said::Frame(frame) => frame,
            Said::Hello(_) => return refuse("a second introduction".into()),
            Said::Nothing => return refuse("a request without content".into()),
        };
        let frame = match codec::open(frame) {
            Ok(frame) => frame,
            Err(error) => return refuse(error.to_string()),
        };
        if (frame.from, frame.incarnation) != (self.accepted.node, self.accepted.incarnation) {
            return refuse(format!("its frame names node {} ({}) as its sender", frame.from, frame.incarnation));
        }
        if (frame.lane == Lane::Bulk) != (self.route == Route::Snapshot) {
            return refuse(format!("a frame of lane {:?} on stream {:?}", frame.lane, self.route));
        }
        match self.shared.inbound.deliver(frame) {
            // A full node drops frames as a network does, and has counted it; a closed one is about to end this stream.
            Ok(()) | Err(FrameError::Full | FrameError::Closed) => Ok(()),
            Err(error) => refuse(error.to_string()),
        }
    }

    /// The stream cannot be read on.
    fn broken(&self, status: &Status) -> Option<Result<A, Status>> {
        // With a source it is the connection that broke, which is the dialler's to report. Without one it is what was sent on it: over
        // the bound, cut off, or not protobuf.
        if status.source().is_some() {
            return None;
        }
        let why = format!("what was sent is no request: {}", excerpt(status.message()));
        Some(Err(self.refused(&Rejection::new(RejectionReason::Frame, why))))
    }

    fn refused(&self, rejection: &Rejection) -> Status {
        let Accepted { node, .. } = self.accepted;
        self.shared.inbound.invalid(&format!("node {node} at {}", self.remote), &rejection.text);
        let text = format!("{} refuses a frame of node {node}: {}", self.shared.describe(), rejection.text);
        Rejection::new(rejection.reason, text).into_status(self.shared.hello.node)
    }
}

impl<Q, A> Drop for Frames<Q, A> {
    fn drop(&mut self) {
        if self.route == Route::Exchange && self.live.load(Ordering::Relaxed) {
            self.shared.guest_left(self.accepted.node);
        }
    }
}

impl<Q, A> Stream for Frames<Q, A>
where
    Said: From<Q>,
    A: Unpin,
{
    type Item = Result<A, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(welcome) = self.welcome.take() {
            return Poll::Ready(Some(Ok(welcome)));
        }
        for _ in 0..FRAMES_A_TURN {
            if !self.live.load(Ordering::Relaxed) {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.requests).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(status))) => return Poll::Ready(self.broken(&status)),
                Poll::Ready(Some(Ok(request))) => {
                    if let Err(rejection) = self.take(Said::from(request)) {
                        return Poll::Ready(Some(Err(self.refused(&rejection))));
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
