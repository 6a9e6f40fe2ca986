//! One core, whose peers are the test: it says what they say and sees what they would get.

use d_engine_raft::{
    AppendReply, Body, Change, ChangeError, Configuration, Draft, Entry, HardState, Incarnation, Input, LogId, Message,
    Micros, NodeId, ProgressStatus, Reply, RequestId, Role, Settings, Term,
};

use super::cluster::Cluster;
use super::make::{ELECTION, message, name, seen, settings};

/// Node 1 of a cluster whose other members are not there.
pub struct Solo {
    pub cluster: Cluster,
    /// Whether log reads wait to be answered by hand.
    pub slow_reads: bool,
}

impl Solo {
    /// A follower in `term` with such a log, past the time in which it gives no votes. Its persists complete by themselves.
    pub fn new(nodes: u64, term: Term, log: Vec<Entry>) -> Self {
        Self::with(&settings(), &seen(nodes), term, log)
    }

    pub fn with(settings: &Settings, configuration: &Configuration, term: Term, log: Vec<Entry>) -> Self {
        let mut solo = Self::just_started(settings, configuration, HardState { term, vote: None }, log);
        solo.cluster.now += ELECTION.0;
        solo
    }

    pub fn just_started(settings: &Settings, configuration: &Configuration, state: HardState, log: Vec<Entry>) -> Self {
        let nodes = configuration.members.len() as u64;
        let mut cluster = Cluster::idle(nodes, settings, configuration, 3);
        cluster.node(1).disk.hard_state = state;
        cluster.node(1).disk.entries = log.into();
        cluster.start(1);
        Self { cluster, slow_reads: false }
    }

    /// A leader of term `term + 1`, elected by node 2; its first entry is durable, and what it sent then is taken away.
    pub fn leading(nodes: u64, term: Term, log: Vec<Entry>) -> Self {
        Self::leading_with(&settings(), &seen(nodes), term, log)
    }

    pub fn leading_with(settings: &Settings, configuration: &Configuration, term: Term, log: Vec<Entry>) -> Self {
        let mut solo = Self::with(settings, configuration, term, log);
        solo.win();
        solo
    }

    /// A leader in term 5 that all have answered; its first entry (2) is committed.
    pub fn ready(nodes: u64) -> Self {
        let mut solo = Self::leading(nodes, 4, super::make::log_of(&[4]));
        for id in 2..=nodes {
            solo.accepted(id, 2);
            solo.heartbeat_reply(id, 1, 2);
        }
        solo.cluster.node(1).events.clear();
        solo
    }

    /// Campaigns and is elected by all the others. What it says first as a leader.
    pub fn win(&mut self) -> Vec<Message> {
        self.cluster.due(1);
        let term = self.term() + 1;
        for id in 2..=self.cluster.nodes.len() as u64 {
            self.hear(id, term, Body::PreVoteReply { granted: true });
        }
        let mut first = Vec::new();
        for id in 2..=self.cluster.nodes.len() as u64 {
            first.extend(self.hear(id, term, Body::VoteReply { granted: true }));
        }
        assert_eq!(self.role(), Role::Leader);
        first
    }

    /// What a peer says, and what is sent at once (and, if the disk works by itself, after it).
    pub fn hear(&mut self, from: NodeId, term: Term, body: Body) -> Vec<Message> {
        self.hear_message(message(from, 1, term, body))
    }

    pub fn hear_message(&mut self, message: Message) -> Vec<Message> {
        self.cluster.hand_over(message);
        self.work();
        self.sent()
    }

    pub fn step(&mut self, input: Input) -> Vec<Message> {
        self.cluster.step(1, input);
        self.work();
        self.sent()
    }

    fn work(&mut self) {
        loop {
            let node = self.cluster.node(1);
            let (persists, applies) = (node.auto_persist, node.auto_apply);
            let mut busy = persists && self.cluster.persist(1);
            busy |= applies && self.cluster.apply(1);
            busy |= !self.slow_reads && self.cluster.answer_fetch(1);
            if !busy {
                return;
            }
        }
    }

    pub fn sent(&mut self) -> Vec<Message> {
        self.cluster.wire.drain(..).collect()
    }

    /// The disk stops answering by itself.
    pub fn slow_disk(&mut self) {
        self.cluster.node(1).auto_persist = false;
    }

    /// The oldest job of the disk is done; what is sent then.
    pub fn persist(&mut self) -> Vec<Message> {
        assert!(self.cluster.persist(1), "nothing to persist");
        self.sent()
    }

    pub fn persist_all(&mut self) -> Vec<Message> {
        self.cluster.persist_all(1);
        self.sent()
    }

    /// Time passes until the next deadline.
    pub fn due(&mut self) -> Vec<Message> {
        self.cluster.due(1);
        self.work();
        self.sent()
    }

    /// That much time passes, and whatever is due then fires once.
    pub fn pass(&mut self, span: Micros) -> Vec<Message> {
        self.cluster.now += span;
        self.cluster.time(1);
        self.work();
        self.sent()
    }

    pub fn propose(&mut self, payload: &[u8]) -> (RequestId, Vec<Message>) {
        let request = self.cluster.propose(1, payload);
        self.work();
        (request, self.sent())
    }

    /// Several batches in one step.
    pub fn propose_many(&mut self, payloads: &[&[u8]]) -> Vec<Message> {
        let batches = payloads.iter().zip(1_000..).map(|(payload, id)| (id, Draft::command(payload))).collect();
        self.step(Input::Propose { wall: 0, batches })
    }

    pub fn read(&mut self) -> (RequestId, Vec<Message>) {
        let request = self.cluster.read(1);
        (request, self.sent())
    }

    // --- what the peers say most

    pub fn append(&mut self, from: NodeId, term: Term, prev: LogId, entries: Vec<Entry>) -> Vec<Message> {
        self.append_committed(from, term, prev, entries, 0)
    }

    pub fn append_committed(
        &mut self,
        from: NodeId,
        term: Term,
        prev: LogId,
        entries: Vec<Entry>,
        commit: u64,
    ) -> Vec<Message> {
        self.hear(from, term, Body::Append { prev, commit, entries: entries.into() })
    }

    pub fn accepted(&mut self, from: NodeId, matched: u64) -> Vec<Message> {
        let term = self.term();
        self.hear(from, term, Body::AppendReply(AppendReply::Accepted { matched }))
    }

    pub fn rejected(&mut self, from: NodeId, prev: u64, hint: LogId) -> Vec<Message> {
        let term = self.term();
        self.hear(from, term, Body::AppendReply(AppendReply::Rejected { prev, hint }))
    }

    pub fn heartbeat_reply(&mut self, from: NodeId, round: u64, last: u64) -> Vec<Message> {
        let term = self.term();
        self.hear(from, term, Body::HeartbeatReply { round, last, apply_stopped: false })
    }

    /// Asks for a change. What the core has made of it; what was sent is lost.
    pub fn change(&mut self, changes: Vec<Change>) -> Option<Result<LogId, ChangeError>> {
        let request = self.cluster.change(1, changes);
        self.work();
        self.sent();
        self.cluster.changing(1, request)
    }

    // --- looks

    pub fn configuration(&self) -> Configuration {
        self.cluster.status(1).configuration.as_ref().clone()
    }

    /// The data directory by which that member is known.
    pub fn recorded(&self, id: NodeId) -> Option<Incarnation> {
        self.configuration().member(id).unwrap().incarnation
    }

    pub fn progress(&self, id: NodeId) -> Option<ProgressStatus> {
        self.cluster.status(1).progress.into_iter().find(|follower| follower.id == id)
    }

    pub fn role(&self) -> Role {
        self.cluster.core(1).role()
    }

    pub fn term(&self) -> Term {
        self.cluster.core(1).term()
    }

    pub fn commit(&self) -> u64 {
        self.cluster.core(1).commit()
    }

    pub fn last(&self) -> LogId {
        self.cluster.status(1).last
    }

    pub fn replies(&self) -> &[Reply] {
        &self.cluster.nodes[&1].replies
    }

    /// The newest round that was sent in those messages.
    pub fn round(messages: &[Message]) -> u64 {
        let round = |message: &Message| match message.body {
            Body::Heartbeat { round, .. } => Some(round),
            _ => None,
        };
        messages.iter().filter_map(round).max().unwrap_or_default()
    }
}

/// The kinds of messages to one member, in order.
pub fn kinds(messages: &[Message], to: NodeId) -> Vec<&'static str> {
    messages.iter().filter(|message| message.to == to).map(|message| name(&message.body)).collect()
}
