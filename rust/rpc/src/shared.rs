//! What all tasks of one transport share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use d_engine_node::{Hello, Inbound};
use d_engine_raft::{Incarnation, Member, NodeId};

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
/// Characters kept of a text that a stranger wrote.
const EXCERPT: usize = 500;

/// What all tasks of one transport share.
pub(crate) struct Shared {
    pub(crate) hello: Hello,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) bell: Arc<Bell>,
    members: Mutex<Vec<Member>>,
    links: Mutex<BTreeMap<NodeId, Links>>,
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

impl Shared {
    pub(crate) fn new(hello: Hello, inbound: Arc<dyn Inbound>, bell: Arc<Bell>) -> Self {
        Self {
            hello,
            inbound,
            bell,
            members: Mutex::default(),
            links: Mutex::default(),
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

    pub(crate) fn set_members(&self, members: &[Member]) {
        *lock(&self.members) = members.to_vec();
    }

    pub(crate) fn links(&self, node: NodeId) -> Option<Links> {
        lock(&self.links).get(&node).cloned()
    }

    pub(crate) fn with_links<T>(&self, work: impl FnOnce(&mut BTreeMap<NodeId, Links>) -> T) -> T {
        work(&mut lock(&self.links))
    }

    /// A stream of that peer begins, and ends the one before it. Says when it is over itself.
    pub(crate) fn begin_stream(&self, from: NodeId, route: Route) -> Arc<AtomicBool> {
        let live = Arc::new(AtomicBool::new(true));
        if let Some(before) = lock(&self.current).insert((from, route), Arc::clone(&live)) {
            before.store(false, Ordering::Relaxed);
        }
        if route == Route::Exchange {
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
