//! The gRPC transport: peer streams on the core thread, everything else on a second one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use d_engine_node::{
    Admission, Frame, JoinError, JoinRequest, Lane, Park, Transport, TransportError, TransportStart, Unpark as _,
};
use d_engine_raft::{Incarnation, Member, NodeId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::accept::{accept, receive_visitors};
use crate::address::check_address;
use crate::handshake::Rejection;
use crate::join;
use crate::park::{Bell, CoreRuntime, RuntimePark, lock};
use crate::shared::{Links, Shared};

/// How long the end of a runtime waits for its name look-ups, the only thing in it that can block.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

/// How to make a `GrpcTransport`.
#[derive(Debug, Default)]
pub struct GrpcOptions {
    /// Where to listen; `None`: on the node's own address. Port 0 takes any: `GrpcHandle::local_addr` says which.
    pub listen: Option<String>,
    /// A listening socket that is there already; it wins over `listen`.
    pub listener: Option<TcpListener>,
    /// Whether an address beyond the loopback is allowed although nothing is encrypted.
    pub insecure: bool,
}

/// Carries frames over gRPC. Its streams are served where the core thread waits (`Park`); connections are taken, and snapshots
/// sent and received, on a thread of its own.
pub struct GrpcTransport {
    options: GrpcOptions,
    handle: GrpcHandle,
    running: Option<Running>,
}

struct Running {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    core: CoreRuntime,
    side: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Looks into a `GrpcTransport`, from any thread and for as long as one likes.
#[derive(Clone, Default)]
pub struct GrpcHandle(Arc<Seen>);

#[derive(Default)]
struct Seen {
    address: OnceLock<SocketAddr>,
    shared: Mutex<Option<Arc<Shared>>>,
}

/// One peer, as the transport sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its number.
    pub id: NodeId,
    /// Where it is looked for.
    pub address: String,
    /// Whether its stream for control and data is open.
    pub connected: bool,
    /// The data directory that it last named.
    pub incarnation: Option<Incarnation>,
    /// Why the last stream ended or was refused; `None` while all is well.
    pub error: Option<Rejection>,
    /// Streams opened so far, both kinds.
    pub connections: u64,
    /// Frames handed to its streams.
    pub sent: u64,
    /// Frames dropped: no connection, or a full lane.
    pub dropped: u64,
    /// Bytes that wait.
    pub waiting_bytes: usize,
}

impl GrpcHandle {
    /// Where the transport listens, once it is started.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.address.get().copied()
    }

    /// All peers, in ascending order; empty before the start and after the end.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let Some(shared) = lock(&self.0.shared).clone() else {
            return Vec::new();
        };
        shared.with_links(|links| links.iter().map(|(&id, links)| status(id, links)).collect())
    }
}

fn status(id: NodeId, links: &Links) -> PeerStatus {
    let (exchange, snapshot) = (links.exchange.status(), links.snapshot.status());
    PeerStatus {
        id,
        address: exchange.address,
        connected: exchange.queue.connected,
        incarnation: exchange.incarnation,
        error: exchange.error,
        connections: exchange.connections + snapshot.connections,
        sent: exchange.queue.sent + snapshot.queue.sent,
        dropped: exchange.queue.dropped + snapshot.queue.dropped,
        waiting_bytes: exchange.queue.waiting_bytes + snapshot.queue.waiting_bytes,
    }
}

impl fmt::Debug for GrpcHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "GrpcHandle({:?})", self.local_addr())
    }
}

impl fmt::Debug for GrpcTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GrpcTransport")
            .field("options", &self.options)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl GrpcTransport {
    /// Does nothing yet: `start` binds.
    #[must_use]
    pub fn new(options: GrpcOptions) -> Self {
        Self { options, handle: GrpcHandle::default(), running: None }
    }

    /// A view that stays when the transport has gone into its node.
    #[must_use]
    pub fn handle(&self) -> GrpcHandle {
        self.handle.clone()
    }

    fn bind(&mut self, own: &str) -> Result<TcpListener, TransportError> {
        let listener = match self.options.listener.take() {
            Some(listener) => listener,
            None => self.bind_address(own)?,
        };
        listener.set_nonblocking(true).map_err(|error| TransportError::Other(error.to_string()))?;
        Ok(listener)
    }

    fn bind_address(&self, own: &str) -> Result<TcpListener, TransportError> {
        let address = self.options.listen.as_deref().unwrap_or(own);
        let failed = |why: String| TransportError::Bind { address: address.to_owned(), why };
        check_address(address, self.options.insecure).map_err(failed)?;
        let candidates: Vec<SocketAddr> =
            address.to_socket_addrs().map_err(|error| failed(error.to_string()))?.collect();
        // The name may have several addresses; the rule above is about what they are, not about how they are written.
        let candidates: Vec<SocketAddr> = candidates
            .into_iter()
            .filter(|candidate| self.options.insecure || candidate.ip().to_canonical().is_loopback())
            .collect();
        if candidates.is_empty() {
            return Err(failed("the name has no address that may be listened on; set insecure=True for others".into()));
        }
        TcpListener::bind(&*candidates).map_err(|error| failed(error.to_string()))
    }
}

fn runtime() -> Result<Runtime, TransportError> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| TransportError::Other(format!("cannot make a runtime: {error}")))
}

impl Transport for GrpcTransport {
    fn join(&mut self, address: &str, request: &JoinRequest, limit: Duration) -> Result<Admission, JoinError> {
        join::ask(address, request, limit)
    }

    fn start(&mut self, start: TransportStart) -> Result<Option<Box<dyn Park>>, TransportError> {
        if self.running.is_some() {
            return Err(TransportError::Other("this transport has been started before; make a new one".into()));
        }
        let listener = self.bind(&start.address)?;
        let address = listener.local_addr().map_err(|error| TransportError::Other(error.to_string()))?;
        let bell = Arc::new(Bell::default());
        let (core, side) = (runtime()?, runtime()?);
        let (core_tasks, side_tasks) = (core.handle().clone(), side.handle().clone());
        let shared = Arc::new(Shared::new(start, Arc::clone(&bell), [core_tasks.clone(), side_tasks.clone()]));
        let (pass_on, visitors) = mpsc::unbounded_channel();
        drop(core_tasks.spawn(receive_visitors(visitors, Arc::clone(&shared))));
        let listener = {
            let _context = side_tasks.enter();
            tokio::net::TcpListener::from_std(listener).map_err(|error| TransportError::Other(error.to_string()))?
        };
        drop(side_tasks.spawn(accept(listener, Arc::clone(&shared), pass_on)));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(format!("d-engine-{}-side", shared.hello.node))
            .spawn(move || {
                // An error says that the sender is gone: the same.
                drop(side.block_on(stopped));
                side.shutdown_timeout(SHUTDOWN_TIMEOUT);
            })
            .map_err(|error| TransportError::Other(format!("cannot start a thread: {error}")))?;
        // A second start is refused above, so that the cell is empty.
        let _ = self.handle.0.address.set(address);
        *lock(&self.handle.0.shared) = Some(Arc::clone(&shared));
        let core: CoreRuntime = Arc::new(Mutex::new(Some(core)));
        let park = RuntimePark::new(Arc::clone(&bell), Arc::clone(&core));
        self.running = Some(Running { shared, bell, core, side: Some((stop, thread)) });
        Ok(Some(Box::new(park)))
    }

    fn set_peers(&mut self, members: &[Member]) -> Result<(), TransportError> {
        let Some(running) = &self.running else {
            return Err(TransportError::Other("this transport is not running".into()));
        };
        running.shared.set_members(members);
        Ok(())
    }

    fn send(&mut self, frames: &mut Vec<Frame>) {
        let Some(running) = &self.running else {
            frames.clear();
            return;
        };
        for frame in frames.drain(..) {
            match running.shared.links(frame.to) {
                Some(links) if frame.lane == Lane::Bulk => links.snapshot.send(&running.shared, frame),
                Some(links) => links.exchange.send(&running.shared, frame),
                None => running.shared.inbound.lost(1),
            }
        }
    }

    fn close(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        *lock(&self.handle.0.shared) = None;
        if let Some((stop, thread)) = running.side.take() {
            // An error says that the thread has ended already; so does a panic in it.
            let _ = stop.send(());
            drop(thread.join());
        }
        // Should the core thread wait in there (it does not when it is the one that closes), it must come out.
        running.bell.unpark();
        let core = lock(&running.core).take();
        if let Some(core) = core {
            core.shutdown_timeout(SHUTDOWN_TIMEOUT);
        }
        // Links and tasks know each other.
        running.shared.with_links(BTreeMap::clear);
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.close();
    }
}
