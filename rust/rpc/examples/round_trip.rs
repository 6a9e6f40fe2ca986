//! Time of a frame to a peer and back, between two `GrpcTransport`s on the loopback: what the transport adds to a write.
//!
//! `cargo run --release -p d-engine-rpc --example round_trip [FRAMES] [BYTES]`

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use d_engine_node::{
    Frame, FrameError, Hello, Inbound, Lane, PROTOCOL_VERSION, Park, Payload, Transport as _, TransportStart, Unpark,
};
use d_engine_raft::{Body, Configuration, Draft, EntryKind, Incarnation, LogId, Member, MemberRole, Message, NodeId};
use d_engine_rpc::{GrpcOptions, GrpcTransport};

/// The inbox of a core thread: frames come from the park that it calls itself.
#[derive(Default)]
struct Inbox {
    frames: Mutex<Vec<Frame>>,
    bell: Mutex<Option<Arc<dyn Unpark>>>,
}

impl Inbox {
    fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inbound for Inbox {
    fn deliver(&self, frame: Frame) -> Result<(), FrameError> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        if let Some(bell) = &*self.bell.lock().unwrap_or_else(PoisonError::into_inner) {
            bell.unpark();
        }
        Ok(())
    }

    fn invalid(&self, from: &str, why: &str) {
        eprintln!("invalid from {from}: {why}");
    }

    fn unreachable(&self, _node: NodeId) {}

    fn lost(&self, frames: u64) {
        eprintln!("{frames} frames lost");
    }

    fn warn(&self, message: String) {
        eprintln!("{message}");
    }
}

fn member(id: NodeId, listener: &TcpListener) -> Result<Member, Box<dyn Error>> {
    let address = listener.local_addr()?.to_string();
    let role = MemberRole::Voter;
    Ok(Member {
        id,
        address,
        client_address: None,
        role,
        priority: 0,
        auto_promote: true,
        incarnation: None,
        leaving: false,
    })
}

struct Node {
    transport: GrpcTransport,
    park: Box<dyn Park>,
    inbox: Arc<Inbox>,
}

fn start(id: NodeId, listener: TcpListener, members: &[Member]) -> Result<Node, Box<dyn Error>> {
    let initial = Configuration { members: members.to_vec(), outgoing: Vec::new(), min_election_timeout: 250_000 };
    let hello = Hello {
        node: id,
        incarnation: Incarnation(id.into()),
        cluster: "bench".into(),
        cluster_id: 1,
        group: 0,
        recovery_epoch: 0,
        version: PROTOCOL_VERSION,
        initial,
    };
    let inbox = Arc::new(Inbox::default());
    let inbound = Arc::clone(&inbox) as Arc<dyn Inbound>;
    let mut transport = GrpcTransport::new(GrpcOptions { listener: Some(listener), ..GrpcOptions::default() });
    let park = transport.start(TransportStart { hello, address: String::new(), inbound })?;
    let park = park.ok_or("the transport brings no place to wait")?;
    *inbox.bell.lock().unwrap_or_else(PoisonError::into_inner) = Some(park.unparker());
    transport.set_peers(members)?;
    Ok(Node { transport, park, inbox })
}

fn frame(from: NodeId, to: NodeId, lane: Lane, body: Body) -> Frame {
    let incarnation = Incarnation(from.into());
    let payload = Payload::Messages(vec![Message { from, incarnation, to, term: 1, body }]);
    Frame {
        cluster_id: 1,
        group: 0,
        recovery_epoch: 0,
        version: PROTOCOL_VERSION,
        from,
        incarnation,
        to,
        lane,
        payload,
    }
}

fn append(payload: &[u8]) -> Body {
    let mut draft = Draft::with_capacity(1, payload.len());
    draft.push(EntryKind::Command, payload);
    let mut entries = Vec::new();
    draft.stamp(1, 1, 0, &mut entries);
    Body::Append { prev: LogId::ZERO, commit: 0, entries: entries.into() }
}

/// Answers everything until told to stop.
fn echo(mut node: Node, stop: &Receiver<()>) {
    while stop.try_recv().is_err() {
        node.park.park(Some(Duration::from_millis(100)));
        let frames = node.inbox.take();
        let mut answers: Vec<Frame> = frames
            .iter()
            .map(|_| frame(2, 1, Lane::Control, Body::HeartbeatReply { round: 1, last: 1, apply_stopped: false }))
            .collect();
        black_box(&frames);
        node.transport.send(&mut answers);
    }
    node.transport.close();
}

fn round_trip(node: &mut Node, payload: &[u8]) -> Duration {
    let began = Instant::now();
    node.transport.send(&mut vec![frame(1, 2, Lane::Data, append(payload))]);
    while node.inbox.take().is_empty() {
        node.park.park(None);
    }
    began.elapsed()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let frames: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let members = [member(1, &listeners[0])?, member(2, &listeners[1])?];
    let [first, second] = listeners;
    let mut one = start(1, first, &members)?;
    let two = start(2, second, &members)?;
    let (stop, stopped): (Sender<()>, _) = mpsc::channel();
    let thread = thread::spawn(move || echo(two, &stopped));
    let payload = vec![7; bytes];
    for _ in 0..frames / 10 {
        round_trip(&mut one, &payload);
    }
    let mut times: Vec<Duration> = (0..frames).map(|_| round_trip(&mut one, &payload)).collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    println!("{frames} round trips of {bytes} bytes: p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs", at(50), at(90), at(99));
    stop.send(())?;
    one.transport.close();
    thread.join().map_err(|_| "the other node failed")?;
    Ok(())
}
