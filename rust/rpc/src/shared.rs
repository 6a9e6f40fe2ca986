//! What all tasks of one transport share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use d_engine_node::{Hello, Inbound, TransportStart};
use d_engine_raft::{Incarnation, Member, NodeId};
use tokio::runtime::Handle;

use crate::link::Link;
use crate::park::{Bell, lock};

/// Which of the two streams, and with it which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    /// Control and data, on the core thread.
    Exchange,
    /// Snapshots, on the second thread.
    Snapshot,
}

/// Different complaints remembered, so that none is repeated at every attempt.
const COMPLAINTS: usize = 256;
/// Nodes that are answered although no configuration here names them.
const GUESTS: usize = 64;
/// Characters kept of a text that a stranger wrote.
const EXCERPT: usize = 500;

/// What all tasks of one transport share.
pub(crate) struct Shared {
    pub(crate) hello: Hello,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) bell: Arc<Bell>,
    /// Where exchange and snapshot links run.
    tasks: [Handle; 2],
    /// The own address, as long as no configuration names one.
    address: String,
    members: Mutex<Vec<Member>>,
    links: Mutex<BTreeMap<NodeId, Links>>,
    /// Those of `links` that no configuration here names: they have come by themselves, and are answered where they say they are.
    /// A node whose configuration is old hears of the newer one from a leader that it does not know.
    guests: Mutex<BTreeSet<NodeId>>,
    /// The newest accepted stream of each peer: an older one of the same peer is over.
    current: Mutex<BTreeMap<(NodeId, Route), Arc<AtomicBool>>>,
    complaints: Mutex<BTreeMap<String, String>>,
}

/// The outgoing streams to one peer.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) exchange: Arc<Link>,
    pub(crate) snapshot: Arc<Link>,
}

impl Links {
    fn stop(&self) {
        self.exchange.stop();
        self.snapshot.stop();
    }

    fn set_address(&self, address: &str) {
        self.exchange.set_address(address);
        self.snapshot.set_address(address);
    }

    fn heard_at(&self, address: &str) {
        self.exchange.heard_at(address);
        self.snapshot.heard_at(address);
    }
}

impl Shared {
    pub(crate) fn new(start: TransportStart, bell: Arc<Bell>, tasks: [Handle; 2]) -> Self {
        let TransportStart { hello, inbound, address } = start;
        Self {
            hello,
            inbound,
            bell,
            tasks,
            address,
            members: Mutex::default(),
            links: Mutex::default(),
            guests: Mutex::default(),
            current: Mutex::default(),
            complaints: Mutex::default(),
        }
    }

    /// The incarnation that the newest configuration names for that node.
    pub(crate) fn recorded(&self, node: NodeId) -> Option<Incarnation> {
        lock(&self.members).iter().find(|member| member.id == node).and_then(|member| member.incarnation)
    }

    /// Whether the newest configuration names this node with its own incarnation.
    pub(crate) fn admitted(&self) -> bool {
        self.recorded(self.hello.node) == Some(self.hello.incarnation)
    }

    /// Where this node is reached, as far as it knows.
    pub(crate) fn own_address(&self) -> String {
        let members = lock(&self.members);
        let own = members.iter().find(|member| member.id == self.hello.node);
        own.map_or_else(|| self.address.clone(), |member| member.address.clone())
    }

    /// The members from now on. Links to others than them and guests end, new ones begin.
    pub(crate) fn set_members(self: &Arc<Self>, members: &[Member]) {
        *lock(&self.members) = members.to_vec();
        let others = || members.iter().filter(|member| member.id != self.hello.node);
        let mut links = lock(&self.links);
        let mut guests = lock(&self.guests);
        guests.retain(|guest| others().all(|member| member.id != *guest));
        links.retain(|id, links| {
            let keep = guests.contains(id) || others().any(|member| member.id == *id);
            if !keep {
                links.stop();
            }
            keep
        });
        for member in others() {
            match links.get(&member.id) {
                Some(links) => links.set_address(&member.address),
                None => drop(links.insert(member.id, self.begin_links(member.id, &member.address))),
            }
        }
    }

    fn begin_links(self: &Arc<Self>, to: NodeId, address: &str) -> Links {
        let begin = |route, tasks: &Handle| {
            let link = Arc::new(Link::new(to, route, address.to_owned()));
            link.started(tasks.spawn(Arc::clone(&link).run(Arc::clone(self))).abort_handle());
            link
        };
        let [exchange, snapshot] = &self.tasks;
        Links { exchange: begin(Route::Exchange, exchange), snapshot: begin(Route::Snapshot, snapshot) }
    }

    /// A node has come that says where it is.
    fn meet(self: &Arc<Self>, node: NodeId, address: &str) {
        let mut links = lock(&self.links);
        if let Some(links) = links.get(&node) {
            links.heard_at(address);
            return;
        }
        let mut guests = lock(&self.guests);
        if guests.len() < GUESTS {
            guests.insert(node);
            links.insert(node, self.begin_links(node, address));
        }
    }

    /// Its stream has ended: a guest is not called back.
    pub(crate) fn guest_left(&self, node: NodeId) {
        let mut links = lock(&self.links);
        if lock(&self.guests).remove(&node)
            && let Some(links) = links.remove(&node)
        {
            links.stop();
        }
    }

    pub(crate) fn links(&self, node: NodeId) -> Option<Links> {
        lock(&self.links).get(&node).cloned()
    }

    pub(crate) fn with_links<T>(&self, work: impl FnOnce(&mut BTreeMap<NodeId, Links>) -> T) -> T {
        work(&mut lock(&self.links))
    }

    /// A stream of that peer begins, and ends the one before it. Says when it is over itself.
    pub(crate) fn begin_stream(self: &Arc<Self>, from: NodeId, route: Route, address: &str) -> Arc<AtomicBool> {
        let live = Arc::new(AtomicBool::new(true));
        if let Some(before) = lock(&self.current).insert((from, route), Arc::clone(&live)) {
            before.store(false, Ordering::Relaxed);
        }
        if route == Route::Exchange {
            if !address.is_empty() {
                self.meet(from, address);
            }
            // It is up: a link that waits before it tries again need not wait longer.
            if let Some(links) = self.links(from) {
                links.exchange.hurry();
            }
        }
        live
    }

    /// Writes a warning, unless the same was the last one about that subject.
    pub(crate) fn complain(&self, subject: String, text: String) {
        let mut complaints = lock(&self.complaints);
        if complaints.get(&subject) == Some(&text) {
            return;
        }
        if complaints.len() >= COMPLAINTS {
            complaints.clear();
        }
        complaints.insert(subject, text.clone());
        drop(complaints);
        self.inbound.warn(text);
    }

    /// That subject is well again: its next complaint is news.
    pub(crate) fn content(&self, subject: &str) {
        lock(&self.complaints).remove(subject);
    }

    /// Who this is, for error texts.
    pub(crate) fn describe(&self) -> String {
        let Hello { node, cluster, cluster_id, initial, .. } = &self.hello;
        let members = excerpt(&initial.to_string());
        format!("node {node} of cluster {cluster:?} ({cluster_id:032x}; {members})")
    }
}

/// A stranger's text, fit for a log: bounded, without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars().take(EXCERPT) {
        if character.is_control() {
            // Writing to a string does not fail.
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    if text.chars().nth(EXCERPT).is_some() {
        out.push('…');
    }
    out
}
