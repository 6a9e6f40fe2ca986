//! The dialler's half of a stream: an HTTP/2 connection and the gRPC call on it.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut as _;
use d_engine_raft::NodeId;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::encoding::{self, WireType};
use prost::{DecodeError, Message as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response, Uri};
use tonic::{Code, Status};

use crate::codec::{Encoded, MAX_FRAME_BYTES};
use crate::queue::Queue;
use crate::shared::Route;
use crate::{link, wire};

/// Receive windows: the receiver always reads, so that a window only has to be larger than what is on its way. Few updates
/// mean few packets against the stream.
pub(crate) const STREAM_WINDOW: u32 = 8 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;
/// Larger than the usual 16 KiB, so that a full frame is not cut into many.
pub(crate) const HTTP_FRAME_BYTES: u32 = 256 << 10;
/// What the HTTP layer takes out of the queues before the socket has room: control messages wait behind no more than this.
const SEND_BUFFER: usize = 512 << 10;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is a few bytes, or a refusal.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// A setting with which the dialler of an `Exchange` stream says so before its first request: the receiver then serves the connection
/// on its core thread. It is harmless anywhere else, and without it the stream works as well, on the other thread.
pub(crate) const EXCHANGE_MARK: u32 = (64 << 10) + 0xde;

/// What a stream sends.
pub(crate) enum Item {
    Hello(wire::Hello),
    Frame(Encoded),
}

/// The request's body: a hello, then what the queue gives.
pub(crate) struct Outgoing {
    pub(crate) hello: Option<wire::Hello>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stream: u64,
}

impl Stream for Outgoing {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        match self.hello.take() {
            Some(hello) => Poll::Ready(Some(Item::Hello(hello))),
            None => self.queue.poll(self.stream, context).map(|frame| frame.map(Item::Frame)),
        }
    }
}

/// The answers of both routes look the same on the wire, the requests too: `oneof { hello = 1, frame = 2 }`.
#[derive(Clone, Copy, Default)]
struct PeerCodec;

const FRAME_FIELD: u32 = 2;

impl Codec for PeerCodec {
    type Encode = Item;
    type Decode = wire::ExchangeResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for PeerCodec {
    type Item = Item;
    type Error = Status;

    fn encode(&mut self, item: Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match item {
            Item::Hello(hello) => {
                let content = Some(wire::exchange_request::Content::Hello(hello));
                let request = wire::ExchangeRequest { content };
                out.reserve(request.encoded_len());
                request.encode(out).map_err(|error| Status::internal(error.to_string()))
            }
            Item::Frame(frame) => {
                // Tag and length.
                out.reserve(8 + frame.size());
                encoding::encode_key(FRAME_FIELD, WireType::LengthDelimited, out);
                encoding::encode_varint(frame.size() as u64, out);
                debug_assert!(out.remaining_mut() >= frame.size());
                frame.write(out);
                Ok(())
            }
        }
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(16 << 10, HTTP_FRAME_BYTES as usize)
    }
}

impl Decoder for PeerCodec {
    type Item = wire::ExchangeResponse;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = wire::ExchangeResponse::decode(source);
        answer.map(Some).map_err(|error: DecodeError| Status::internal(format!("the answer is garbage: {error}")))
    }
}

/// A connection as a service.
pub(crate) struct Http(http2::SendRequest<Body>);

impl Service<Request<Body>> for Http {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// An open call; dropping it closes the connection.
pub(crate) struct Call {
    pub(crate) answers: Streaming<wire::ExchangeResponse>,
    _connection: Connection,
}

/// The task that carries a connection: ends with this.
pub(crate) struct Connection(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A plain connection, for a single call.
pub(crate) async fn connect(tcp: TcpStream) -> Result<(Http, Connection), Status> {
    let (sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(tcp)).await.map_err(unavailable)?;
    Ok((Http(sender), Connection(tokio::spawn(connection))))
}

/// Whom a request is for, as HTTP wants it: nobody looks at it.
pub(crate) fn origin(name: &str) -> Result<Uri, Status> {
    Uri::from_maybe_shared(format!("http://{name}")).map_err(unavailable)
}

/// Opens a stream on a fresh connection; returns when the receiver has answered the hello.
pub(crate) async fn open(tcp: TcpStream, route: Route, to: NodeId, outgoing: Outgoing) -> Result<Call, Status> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let path = match route {
        Route::Exchange => {
            builder.max_header_list_size(EXCHANGE_MARK);
            "/d_engine.v1.PeerService/Exchange"
        }
        Route::Snapshot => "/d_engine.v1.PeerService/TransferSnapshot",
    };
    let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.map_err(unavailable)?;
    let connection = Connection(tokio::spawn(connection));
    let mut grpc = Grpc::with_origin(Http(sender), origin(&format!("node-{to}"))?)
        .max_decoding_message_size(MAX_ANSWER_BYTES)
        .max_encoding_message_size(MAX_FRAME_BYTES + link::ENVELOPE_BYTES);
    grpc.ready().await.map_err(unavailable)?;
    let request = tonic::Request::new(outgoing);
    let answer = grpc.streaming(request, PathAndQuery::from_static(path), PeerCodec).await?;
    Ok(Call { answers: answer.into_inner(), _connection: connection })
}

/// An error with all its causes: the outermost says least.
fn unavailable(error: impl Error) -> Status {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Status::new(Code::Unavailable, text)
}
