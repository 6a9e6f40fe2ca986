//! A transport with a thread that does what a core thread does: send, park, receive.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use d_engine_node::{
    Admission, Frame, FrameError, Hello, Inbound, JoinDone, JoinError, JoinRequest, Payload, Transport, TransportStart,
    Unpark,
};
use d_engine_raft::{Body, Incarnation, Member, NodeId};
use d_engine_rpc::{GrpcHandle, GrpcOptions, GrpcTransport};

use crate::support::{configuration, frame, heartbeat, member};

/// Longer than anything takes; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a transport has told its node.
#[derive(Debug, Default)]
pub struct Told {
    pub frames: Vec<Frame>,
    /// Where each frame came.
    pub threads: Vec<ThreadId>,
    pub warnings: Vec<String>,
    pub invalid: Vec<String>,
    pub unreachable: Vec<NodeId>,
    pub lost: u64,
    pub joining: Vec<JoinRequest>,
}

impl Told {
    /// The rounds of all heartbeats from that node, in the order of their arrival.
    pub fn rounds(&self, from: NodeId) -> Vec<u64> {
        let mut rounds = Vec::new();
        for frame in self.frames.iter().filter(|frame| frame.from == from) {
            if let Payload::Messages(messages) = &frame.payload {
                rounds.extend(messages.iter().filter_map(|message| match message.body {
                    Body::Heartbeat { round, .. } => Some(round),
                    _ => None,
                }));
            }
        }
        rounds
    }

    pub fn warned(&self, parts: &[&str]) -> bool {
        self.warnings.iter().any(|warning| parts.iter().all(|part| warning.contains(part)))
    }
}

#[derive(Default)]
pub struct Collector {
    told: Mutex<Told>,
    changed: Condvar,
    bell: Mutex<Option<Arc<dyn Unpark>>>,
    /// What whoever wants to join is told.
    pub answer: Mutex<Option<Result<Admission, JoinError>>>,
}

impl Collector {
    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap());
        self.changed.notify_all();
        if let Some(bell) = &*self.bell.lock().unwrap() {
            bell.unpark();
        }
    }

    /// Waits until that is so.
    pub fn wait(&self, what: &str, mut wanted: impl FnMut(&Told) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut told = self.told.lock().unwrap();
        while !wanted(&told) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}: {told:?}");
            told = self.changed.wait_timeout(told, left).unwrap().0;
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap())
    }
}

impl Inbound for Collector {
    fn deliver(&self, frame: Frame) -> Result<(), FrameError> {
        self.tell(|told| {
            told.frames.push(frame);
            told.threads.push(std::thread::current().id());
        });
        Ok(())
    }

    fn invalid(&self, from: &str, why: &str) {
        self.tell(|told| told.invalid.push(format!("{from}: {why}")));
    }

    fn unreachable(&self, node: NodeId) {
        self.tell(|told| told.unreachable.push(node));
    }

    fn lost(&self, frames: u64) {
        self.tell(|told| told.lost += frames);
    }

    fn warn(&self, message: String) {
        self.tell(|told| told.warnings.push(message));
    }

    fn join(&self, request: JoinRequest, _timeout: Duration, done: JoinDone) {
        self.tell(|told| told.joining.push(request));
        done(self.answer.lock().unwrap().clone().unwrap_or(Err(JoinError::Unsupported)));
    }
}

pub fn hello(id: NodeId) -> Hello {
    let made = frame(id, 99, d_engine_node::Lane::Control, Vec::new());
    Hello {
        node: id,
        incarnation: made.incarnation,
        cluster: "test".into(),
        cluster_id: made.cluster_id,
        group: made.group,
        recovery_epoch: made.recovery_epoch,
        version: made.version,
        initial: configuration(vec![member(1, "one:1"), member(2, "two:2"), member(3, "three:3")]),
    }
}

type Work = Box<dyn FnOnce(&mut GrpcTransport) + Send>;

/// How the thread of a `TestNode` behaves.
#[derive(Clone, Copy, Default)]
pub struct Behaviour {
    /// Never waits, as a node whose inbox is never empty.
    pub busy: bool,
    /// Sends a heartbeat to that node at every interval.
    pub beat: Option<(NodeId, Duration)>,
    /// The round before the first of these.
    pub round: u64,
}

pub struct TestNode {
    pub id: NodeId,
    pub heard: Arc<Collector>,
    pub handle: GrpcHandle,
    pub address: SocketAddr,
    work: Arc<Mutex<Vec<Work>>>,
    bell: Arc<dyn Unpark>,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    pub fn start(id: NodeId) -> Self {
        Self::start_as(hello(id), "127.0.0.1:0", Behaviour::default())
    }

    pub fn start_as(hello: Hello, listen: &str, behaviour: Behaviour) -> Self {
        let id = hello.node;
        let options = GrpcOptions { listen: Some(listen.into()), ..GrpcOptions::default() };
        let mut transport = GrpcTransport::new(options);
        let handle = transport.handle();
        let heard = Arc::new(Collector::default());
        let inbound = Arc::clone(&heard) as Arc<dyn Inbound>;
        let mut park = transport.start(TransportStart { hello, address: String::new(), inbound }).unwrap().unwrap();
        let bell = park.unparker();
        *heard.bell.lock().unwrap() = Some(Arc::clone(&bell));
        let work: Arc<Mutex<Vec<Work>>> = Arc::default();
        let (todo, closed) = (Arc::clone(&work), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut next = Instant::now();
            let mut round = behaviour.round;
            loop {
                for work in std::mem::take(&mut *todo.lock().unwrap()) {
                    work(&mut transport);
                }
                if transport.handle().local_addr().is_none() || closed.bell.lock().unwrap().is_none() {
                    return;
                }
                let mut limit = behaviour.busy.then_some(Duration::ZERO);
                if let Some((to, interval)) = behaviour.beat {
                    if next <= Instant::now() {
                        next += interval;
                        round += 1;
                        let beat = frame(id, to, d_engine_node::Lane::Control, vec![heartbeat(round)]);
                        transport.send(&mut vec![beat]);
                    }
                    limit = limit.or(Some(next.saturating_duration_since(Instant::now())));
                }
                park.park(limit);
            }
        });
        let address = handle.local_addr().unwrap();
        Self { id, heard, handle, address, work, bell, thread: Some(thread) }
    }

    /// Runs that on the core thread.
    pub fn run(&self, work: impl FnOnce(&mut GrpcTransport) + Send + 'static) {
        self.work.lock().unwrap().push(Box::new(work));
        self.bell.unpark();
    }

    pub fn send(&self, frames: Vec<Frame>) {
        self.run(move |transport| {
            let mut frames = frames;
            transport.send(&mut frames);
            assert!(frames.is_empty());
        });
    }

    pub fn set_peers(&self, members: Vec<Member>) {
        self.run(move |transport| transport.set_peers(&members).unwrap());
    }

    pub fn member(&self) -> Member {
        member(self.id, &self.address.to_string())
    }

    pub fn core_thread(&self) -> ThreadId {
        self.thread.as_ref().unwrap().thread().id()
    }

    pub fn beat(&self, to: NodeId, round: u64) {
        self.send(vec![frame(self.id, to, d_engine_node::Lane::Control, vec![heartbeat(round)])]);
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        let heard = Arc::clone(&self.heard);
        self.run(move |transport| {
            transport.close();
            *heard.bell.lock().unwrap() = None;
        });
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(joined.is_ok() || std::thread::panicking());
        }
    }
}

/// Everybody knows everybody.
pub fn introduce(nodes: &[&TestNode]) {
    let members: Vec<Member> = nodes.iter().map(|node| node.member()).collect();
    for node in nodes {
        node.set_peers(members.clone());
    }
}

pub fn with_incarnation(member: Member, incarnation: Incarnation) -> Member {
    Member { incarnation: Some(incarnation), ..member }
}
