//! raft-rs 0.7, in the form that its documentation recommends and that was the fastest of those tried: the entries of a
//! batch in one proposal, their payloads slices of one buffer; a member takes all messages that wait for it before it asks
//! for what is ready; storage in memory is synchronous, so a ready is persisted, answered and advanced at once.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use raft::StateRole;
use raft::prelude::{Config, Entry, Message, MessageType, RawNode};
use raft::storage::MemStorage;

use crate::cluster::{Applied, Cluster, KEPT, MEMBERS, PAYLOAD, Proposals};

/// One member: its core, messages that it has not seen yet, its log and its state machine.
struct Node {
    core: RawNode<MemStorage>,
    inbox: VecDeque<Message>,
    log: MemStorage,
    kept_from: u64,
    applied: Applied,
}

/// Three members. No clock: followers are told of a commit at once, so no timer ever has to fire.
pub struct RaftRs {
    nodes: Vec<Node>,
    calls: u64,
}

impl RaftRs {
    /// A cluster with a leader, which is the first member.
    pub fn elected() -> Self {
        let mut cluster = Self { nodes: (1..=MEMBERS as u64).map(Node::new).collect(), calls: 0 };
        cluster.nodes[0].core.campaign().expect("a fresh member may campaign");
        cluster.ready(0);
        cluster.run();
        assert_eq!(cluster.nodes[0].core.raft.state, StateRole::Leader);
        cluster
    }

    /// Steps until nothing waits any more: all that waits for one member, then the next one.
    fn run(&mut self) {
        let mut idle = 0;
        for at in (0..MEMBERS).cycle() {
            if self.nodes[at].inbox.is_empty() {
                idle += 1;
                if idle == MEMBERS {
                    return;
                }
                continue;
            }
            idle = 0;
            while let Some(message) = self.nodes[at].inbox.pop_front() {
                self.calls += 1;
                self.nodes[at].core.step(message).expect("members are honest");
            }
            self.ready(at);
        }
    }

    /// Persists, sends and applies what one member has ready.
    fn ready(&mut self, at: usize) {
        if !self.nodes[at].core.has_ready() {
            return;
        }
        self.calls += 1;
        let mut ready = self.nodes[at].core.ready();
        self.send(ready.take_messages());
        self.nodes[at].apply(&ready.take_committed_entries());
        self.nodes[at].persist(ready.entries());
        if let Some(hard_state) = ready.hs() {
            self.nodes[at].log.wl().set_hardstate(hard_state.clone());
        }
        self.send(ready.take_persisted_messages());
        let mut light = self.nodes[at].core.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.nodes[at].log.wl().mut_hard_state().set_commit(commit);
        }
        self.send(light.take_messages());
        self.nodes[at].apply(&light.take_committed_entries());
        self.nodes[at].core.advance_apply();
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.nodes[message.to as usize - 1].inbox.push_back(message);
        }
    }
}

impl Cluster for RaftRs {
    fn commit(&mut self, proposals: &mut Proposals, batch: usize) {
        let mut block = BytesMut::with_capacity(batch * PAYLOAD);
        for _ in 0..batch {
            block.extend_from_slice(proposals.next());
        }
        let block = block.freeze();
        let mut propose = Message::default();
        propose.set_msg_type(MessageType::MsgPropose);
        propose.from = 1;
        propose.entries = (0..batch).map(|at| entry(block.slice(at * PAYLOAD..(at + 1) * PAYLOAD))).collect();
        self.calls += 1;
        self.nodes[0].core.step(propose).expect("the leader takes proposals");
        self.ready(0);
        self.run();
        assert!(self.nodes.iter().all(|node| node.applied.count() == proposals.made()), "all is applied everywhere");
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    fn applied(&self) -> [Applied; MEMBERS] {
        std::array::from_fn(|at| self.nodes[at].applied)
    }
}

fn entry(payload: Bytes) -> Entry {
    Entry { data: payload.into(), ..Entry::default() }
}

impl Node {
    fn new(id: u64) -> Self {
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let log = MemStorage::new_with_conf_state(((1..=MEMBERS as u64).collect::<Vec<_>>(), vec![]));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let core = RawNode::new(&config, log.clone(), &logger).expect("the configuration is valid");
        Self { core, inbox: VecDeque::new(), log, kept_from: 0, applied: Applied::default() }
    }

    fn persist(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let mut log = self.log.wl();
        log.append(entries).expect("entries are contiguous");
        if last.index > self.kept_from + 2 * KEPT as u64 {
            self.kept_from = last.index - KEPT as u64;
            log.compact(self.kept_from).expect("it is in the log");
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !entry.data.is_empty()) {
            self.applied.apply(&entry.data);
        }
    }
}
