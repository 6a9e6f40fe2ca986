//! Takes connections on the second thread, and passes those of peers' control and data streams to the core thread's runtime: what
//! strangers do on the port never costs the core thread anything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::codegen::Service as _;
use tonic::codegen::http::Request;

use crate::codec::MAX_FRAME_BYTES;
use crate::link;
use crate::receive::{HELLO_TIMEOUT, Reception};
use crate::shared::Shared;
use crate::stream::{CONNECTION_WINDOW, EXCHANGE_MARK, HTTP_FRAME_BYTES, STREAM_WINDOW};
use crate::wire::peer_service_server::PeerServiceServer;

/// Connections open at once. A cluster has at most a few for each member.
const CONNECTIONS: usize = 256;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a connection whose first bytes have not all come.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Before the next try when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STREAMS_A_CONNECTION: u32 = 8;
const HEADER_BYTES: u32 = 16 << 10;

/// A connection on its way to the core thread's runtime.
pub(crate) struct Visitor {
    stream: std::net::TcpStream,
    remote: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Accepts until it is aborted.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, to_core: mpsc::UnboundedSender<Visitor>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let full = format!("more than {CONNECTIONS} connections are open: further ones are closed at once");
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(sort(stream, remote, permit, Arc::clone(&shared), to_core.clone()));
                }
                Err(_) => shared.complain("accept".into(), full.clone()),
            },
            Err(error) => {
                shared.complain("accept".into(), format!("cannot take a connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Finds out what a connection is for.
async fn sort(
    stream: TcpStream,
    remote: SocketAddr,
    permit: OwnedSemaphorePermit,
    shared: Arc<Shared>,
    to_core: mpsc::UnboundedSender<Visitor>,
) {
    let first = tokio::time::timeout(HELLO_TIMEOUT, look(&stream)).await;
    match first {
        Ok(Ok(First::Exchange)) => {
            // A failure here or below ends this connection only; the dialler comes back.
            if let Ok(stream) = stream.into_std() {
                drop(to_core.send(Visitor { stream, remote, permit }));
            }
        }
        Ok(Ok(First::Other)) => serve(stream, remote, permit, shared).await,
        Ok(Ok(First::Garbage)) => {
            shared.inbound.invalid(&remote.to_string(), "the connection does not begin as HTTP/2");
        }
        Ok(Ok(First::Nothing) | Err(_)) | Err(_) => {}
    }
}

/// Serves what `accept` passes on, on the core thread.
pub(crate) async fn receive_visitors(mut visitors: mpsc::UnboundedReceiver<Visitor>, shared: Arc<Shared>) {
    while let Some(Visitor { stream, remote, permit }) = visitors.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(serve(stream, remote, permit, Arc::clone(&shared)));
        }
    }
}

async fn serve(stream: TcpStream, remote: SocketAddr, _permit: OwnedSemaphorePermit, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let introduced = Arc::new(AtomicBool::new(false));
    let reception = Reception { shared, remote, introduced: Arc::clone(&introduced) };
    let service = PeerServiceServer::new(reception).max_decoding_message_size(MAX_FRAME_BYTES + link::ENVELOPE_BYTES);
    let service = service_fn(move |request: Request<Incoming>| service.clone().call(request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(HTTP_FRAME_BYTES)
        .max_concurrent_streams(STREAMS_A_CONNECTION)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Who has not said a sensible word by then only takes room. What a connection ends with is known already: its streams say it.
    tokio::select! {
        _ = &mut connection => return,
        () = tokio::time::sleep(2 * HELLO_TIMEOUT) => {}
    }
    if introduced.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}

enum First {
    /// A peer's control and data stream.
    Exchange,
    /// HTTP/2, and nothing that says more.
    Other,
    Garbage,
    /// It ended before it began.
    Nothing,
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const SETTINGS: u8 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Looks at the first bytes of a connection without taking them.
async fn look(stream: &TcpStream) -> io::Result<First> {
    let mut bytes = [0; 256];
    loop {
        let there = stream.peek(&mut bytes).await?;
        if there == 0 {
            return Ok(First::Nothing);
        }
        if let Some(first) = sort_bytes(&bytes[..there], there == bytes.len()) {
            return Ok(first);
        }
        // More must come; `peek` would return at once with the same bytes.
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// `None`: more bytes are needed to tell.
fn sort_bytes(bytes: &[u8], all: bool) -> Option<First> {
    let (preface, rest) = bytes.split_at(bytes.len().min(PREFACE.len()));
    if !PREFACE.starts_with(preface) {
        return Some(First::Garbage);
    }
    let Some((header, settings)) = rest.split_at_checked(FRAME_HEADER) else {
        return if all { Some(First::Other) } else { None };
    };
    if header[3] != SETTINGS {
        return Some(First::Garbage);
    }
    let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    if settings.len() < length && !all {
        return None;
    }
    let marked = settings[..length.min(settings.len())].chunks_exact(6).any(|setting| {
        u16::from_be_bytes([setting[0], setting[1]]) == MAX_HEADER_LIST_SIZE
            && u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]) == EXCHANGE_MARK
    });
    Some(if marked { First::Exchange } else { First::Other })
}
