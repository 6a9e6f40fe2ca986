//! Takes connections on the second thread, and passes those of peers' control and data streams to the core thread's runtime: what
//! strangers do on the port never costs the core thread anything.

use std::collections::VecDeque;
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
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
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

/// A connection, from its acceptance to its end.
#[derive(Default)]
pub(crate) struct Guest {
    /// It has introduced itself as a peer. The others only take room, and make place when there is none.
    introduced: AtomicBool,
    leave: Notify,
}

impl Guest {
    pub(crate) fn introduce(&self) {
        self.introduced.store(true, Ordering::Relaxed);
    }

    fn is_introduced(&self) -> bool {
        self.introduced.load(Ordering::Relaxed)
    }

    /// Returns when the guest must leave, never for one that has introduced itself.
    async fn overstayed(&self) {
        let patience = tokio::time::sleep(2 * HELLO_TIMEOUT);
        tokio::select! {
            () = self.leave.notified() => {}
            () = patience => {}
        }
        if self.is_introduced() {
            std::future::pending::<()>().await;
        }
    }
}

/// A connection with all that belongs to it.
pub(crate) struct Visitor<S> {
    stream: S,
    remote: SocketAddr,
    guest: Arc<Guest>,
    permit: OwnedSemaphorePermit,
}

/// To the core thread's runtime: a connection that belongs to none.
pub(crate) type ToCore = mpsc::UnboundedSender<Visitor<std::net::TcpStream>>;
type FromAccept = mpsc::UnboundedReceiver<Visitor<std::net::TcpStream>>;

/// Accepts until it is aborted.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, to_core: ToCore) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut guests: VecDeque<Arc<Guest>> = VecDeque::new();
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.complain("accept".into(), format!("cannot take a connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(permit) = admit(&permits, &mut guests).await else {
            let text = format!("{CONNECTIONS} connections of peers are open: a further one is closed at once");
            shared.complain("accept".into(), text);
            continue;
        };
        let guest = Arc::new(Guest::default());
        guests.push_back(Arc::clone(&guest));
        if guests.len() > 2 * CONNECTIONS {
            forget_gone(&mut guests);
        }
        let visitor = Visitor { stream, remote, guest, permit };
        tokio::spawn(sort(visitor, Arc::clone(&shared), to_core.clone()));
    }
}

/// Room for one more; the oldest one that has not introduced itself must make it if need be.
async fn admit(permits: &Arc<Semaphore>, guests: &mut VecDeque<Arc<Guest>>) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    forget_gone(guests);
    let oldest = guests.iter().position(|guest| !guest.is_introduced())?;
    guests.remove(oldest)?.leave.notify_one();
    tokio::time::timeout(HELLO_TIMEOUT, Arc::clone(permits).acquire_owned()).await.ok()?.ok()
}

fn forget_gone(guests: &mut VecDeque<Arc<Guest>>) {
    // Whoever is in no other hands than the list's has left.
    guests.retain(|guest| Arc::strong_count(guest) > 1);
}

/// Finds out what a connection is for.
async fn sort(visitor: Visitor<TcpStream>, shared: Arc<Shared>, to_core: ToCore) {
    let first = tokio::select! {
        first = tokio::time::timeout(HELLO_TIMEOUT, look(&visitor.stream)) => first,
        () = visitor.guest.overstayed() => return,
    };
    match first {
        Ok(Ok(First::Exchange)) => {
            let Visitor { stream, remote, guest, permit } = visitor;
            // A failure here or below ends this connection only; the dialler comes back.
            if let Ok(stream) = stream.into_std() {
                drop(to_core.send(Visitor { stream, remote, guest, permit }));
            }
        }
        Ok(Ok(First::Other)) => serve(visitor, shared).await,
        Ok(Ok(First::Garbage)) => {
            shared.inbound.invalid(&visitor.remote.to_string(), "the connection does not begin as HTTP/2");
        }
        Ok(Ok(First::Nothing) | Err(_)) | Err(_) => {}
    }
}

/// Serves what `accept` passes on, on the core thread.
pub(crate) async fn receive_visitors(mut visitors: FromAccept, shared: Arc<Shared>) {
    while let Some(Visitor { stream, remote, guest, permit }) = visitors.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(serve(Visitor { stream, remote, guest, permit }, Arc::clone(&shared)));
        }
    }
}

async fn serve(visitor: Visitor<TcpStream>, shared: Arc<Shared>) {
    let Visitor { stream, remote, guest, permit } = visitor;
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let reception = Reception { shared, remote, guest: Arc::clone(&guest) };
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
    tokio::select! {
        // What a connection ends with is known already: its streams say it.
        _ = connection => {}
        () = guest.overstayed() => {}
    }
    drop(permit);
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
