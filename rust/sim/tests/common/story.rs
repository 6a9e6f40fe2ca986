//! A short history of three nodes, told by hand: an election, writes, a partition in which the old leader goes on appending, the
//! election of another one, and the old one's return, which cuts its entry. It holds every kind of fact.

use std::sync::Arc;

use d_engine_node::Consistency;
use d_engine_raft::{
    AppendReply, Body, Configuration, Entry, EntryKind, HardState, Incarnation, LogId, Member, MemberRole, Message,
    Micros, NodeId, Persist, Role, Start,
};
use d_engine_sim::fact::{
    End, Fact, Fault, Observer, Operation, Outcome, Phase, Platter, Position, Request, Violation,
};

/// A disk that nobody looks at.
#[derive(Debug)]
struct Blank;

impl Platter for Blank {
    fn hard_state(&self) -> Option<HardState> {
        None
    }

    fn last(&self) -> Option<LogId> {
        None
    }
}

struct Teller<'a> {
    to: &'a mut dyn Observer,
    round: u64,
    at: Micros,
    positions: [Position; 3],
    messages: u64,
    token: u64,
}

/// Time that one telling takes, rounded up.
const ROUND: Micros = 2_000_000;

/// Tells the story, for the `round`-th time.
///
/// # Errors
/// What the observer refuses.
pub fn tell(to: &mut dyn Observer, round: u64) -> Result<(), Violation> {
    let mut teller = Teller {
        to,
        round,
        at: round * ROUND,
        positions: [Position::START; 3],
        messages: 1_000 * round,
        token: 1_000 * round,
    };
    teller.begin()?;
    teller.election(1, 1, 2)?;
    teller.writes()?;
    teller.partition()?;
    teller.end()
}

/// What the last round ends with.
#[must_use]
pub fn violation(round: u64) -> (Micros, Violation) {
    (
        round * ROUND + 1_600_500,
        Violation { check: "made-up", what: "a <story> & its \"end\": node 1 has cut entry 4@1".to_owned() },
    )
}

fn slot(node: NodeId) -> usize {
    usize::try_from(node - 1).unwrap_or(0)
}

fn command(index: u64, term: u64, text: &str) -> Entry {
    let kind = if text.is_empty() { EntryKind::Noop } else { EntryKind::Command };
    Entry::new(LogId::new(index, term), kind, 1_700_000_000_000_000, 0, 0, 0, text.as_bytes())
}

impl Teller<'_> {
    fn say(&mut self, after: Micros, fact: &Fact<'_>) -> Result<(), Violation> {
        self.at += after;
        self.to.fact(self.at, fact)
    }

    const fn call(&self, number: u64) -> u64 {
        3 * self.round + number
    }

    /// A turn of a node that leaves it as `change` makes it.
    fn step(&mut self, node: NodeId, input: &'static str, change: impl FnOnce(&mut Position)) -> Result<(), Violation> {
        change(&mut self.positions[slot(node)]);
        let position = self.positions[slot(node)];
        self.say(100, &Fact::Stepped { node, now: self.at + 5_000_000, input, position: &position })
    }

    fn send(&mut self, from: NodeId, to: NodeId, body: Body) -> Result<(u64, Message), Violation> {
        self.messages += 1;
        let term = self.positions[slot(from)].term;
        let message = Message { from, incarnation: Incarnation(u128::from(from)), to, term, body };
        let number = self.messages;
        self.say(10, &Fact::Sent { number, message: &message, platter: &Blank })?;
        Ok((number, message))
    }

    fn deliver(&mut self, after: Micros, sent: &(u64, Message)) -> Result<(), Violation> {
        self.say(after, &Fact::Delivered { number: sent.0, message: &sent.1 })
    }

    fn persist(&mut self, node: NodeId, persist: Persist) -> Result<(), Violation> {
        self.token += 1;
        let token = self.token;
        self.say(0, &Fact::Persist { node, persist: &Persist { token, ..persist } })?;
        self.say(900, &Fact::Durable { node, token })
    }

    fn append(&mut self, node: NodeId, entries: Vec<Entry>) -> Result<(), Violation> {
        let last = entries.last().map_or(LogId::ZERO, Entry::id);
        self.step(node, "append", |position| position.last = last)?;
        self.persist(node, Persist { entries: entries.into(), ..Persist::default() })?;
        self.step(node, "persisted", |position| position.durable = last.index)
    }

    fn begin(&mut self) -> Result<(), Violation> {
        self.say(0, &Fact::Phase(Phase::Faults))?;
        let member = |id| Member {
            id,
            address: format!("node-{id}:7000"),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: false,
            incarnation: Some(Incarnation(u128::from(id))),
            leaving: false,
        };
        let configuration = Configuration {
            members: (1..=3).map(member).collect(),
            outgoing: Vec::new(),
            min_election_timeout: 150_000,
        };
        for node in 1..=3 {
            let start = Start {
                id: node,
                incarnation: Incarnation(u128::from(node)),
                group: 0,
                seed: 7,
                hard_state: HardState::default(),
                purged: LogId::ZERO,
                last: 0,
                term_runs: Vec::new(),
                last_time: 0,
                configurations: vec![(0, configuration.clone())],
                snapshot: None,
                applied: 0,
            };
            let incarnation = Incarnation(u128::from(node));
            self.say(1_000, &Fact::Started { node, incarnation, start: &start })?;
            self.say(0, &Fact::Clock { node, shown: 5_000_000, drift: 20 })?;
            self.say(0, &Fact::Configured { node, index: 0, configuration: &configuration })?;
            self.step(node, "start", |_| {})?;
            self.step(node, "time", |_| {})?; // changes nothing
        }
        Ok(())
    }

    /// `node` becomes leader of `term` with the vote of `voter`.
    fn election(&mut self, node: NodeId, term: u64, voter: NodeId) -> Result<(), Violation> {
        let last = self.positions[slot(node)].last;
        self.at += 200_000;
        self.step(node, "time", |position| position.role = Role::PreCandidate)?;
        let asked = self.send(node, voter, Body::PreVote { last })?;
        self.deliver(2_000, &asked)?;
        let answered = self.send(voter, node, Body::PreVoteReply { granted: true })?;
        self.deliver(2_500, &answered)?;
        self.step(node, "message", |position| {
            (position.role, position.term, position.leader) = (Role::Candidate, term, None);
        })?;
        let vote = |node| Persist { hard_state: Some(HardState { term, vote: Some(node) }), ..Persist::default() };
        self.persist(node, vote(node))?;
        let asked = self.send(node, voter, Body::Vote { last, transfer: false })?;
        self.deliver(2_000, &asked)?;
        self.step(voter, "message", |position| (position.term, position.leader) = (term, None))?;
        self.persist(voter, vote(node))?;
        let answered = self.send(voter, node, Body::VoteReply { granted: true })?;
        self.deliver(2_200, &answered)?;
        self.step(node, "message", |position| (position.role, position.leader) = (Role::Leader, Some(node)))
    }

    /// `from` replicates entries to `to`, which answers.
    fn replicate(&mut self, from: NodeId, to: NodeId, prev: LogId, entries: &[Entry]) -> Result<(), Violation> {
        let (commit, term) = (self.positions[slot(from)].commit, self.positions[slot(from)].term);
        let body = Body::Append { prev, commit, entries: entries.to_vec().into() };
        let sent = self.send(from, to, body)?;
        self.deliver(1_500, &sent)?;
        self.step(to, "message", |position| (position.term, position.leader) = (term, Some(from)))?;
        self.append(to, entries.to_vec())?;
        let matched = self.positions[slot(to)].last.index;
        let answer = self.send(to, from, Body::AppendReply(AppendReply::Accepted { matched }))?;
        self.deliver(1_200, &answer)
    }

    fn writes(&mut self) -> Result<(), Violation> {
        self.append(1, vec![command(1, 1, "")])?;
        self.replicate(1, 2, LogId::ZERO, &[command(1, 1, "")])?;
        self.replicate(1, 3, LogId::ZERO, &[command(1, 1, "")])?;
        self.step(1, "message", |position| (position.commit, position.lease_until) = (1, Some(5_400_000)))?;
        let request = Request::Write { key: 5, value: 77, session: Some((1, 1)) };
        self.say(20_000, &Fact::Invoked(&Operation { id: self.call(1), client: 1, node: 1, request }))?;
        let entries = [command(2, 1, "k5=77"), command(3, 1, "k6=78")];
        self.append(1, entries.to_vec())?;
        self.replicate(1, 2, LogId::new(1, 1), &entries)?;
        self.replicate(1, 3, LogId::new(1, 1), &entries)?;
        for node in [1, 2, 3] {
            self.step(node, "message", |position| position.commit = 3)?;
            let given = [2, 3];
            self.say(700, &Fact::Applied { node, entries: &entries, given: &given, state: 0xfeed_beef })?;
            self.step(node, "applied", |position| position.applied = 3)?;
        }
        self.say(100, &Fact::Returned { id: self.call(1), outcome: &Outcome::Written { index: 2, previous: 0 } })?;
        let request = Request::Read { key: 5, consistency: Consistency::Linearizable };
        self.say(5_000, &Fact::Invoked(&Operation { id: self.call(2), client: 2, node: 2, request }))?;
        self.say(9_000, &Fact::Returned { id: self.call(2), outcome: &Outcome::Read { value: 77, applied: 3 } })?;
        self.say(50, &Fact::SnapshotKept { node: 3, last: LogId::new(3, 1), bytes: 512, received: false })?;
        self.say(50, &Fact::Purged { node: 3, upto: LogId::new(2, 1) })?;
        self.step(3, "purged", |position| position.purged = LogId::new(2, 1))
    }

    fn partition(&mut self) -> Result<(), Violation> {
        self.say(150_000, &Fact::Struck { fault: Fault::Partition, nodes: &[1] })?;
        let request = Request::Write { key: 5, value: 79, session: None };
        self.say(5_000, &Fact::Invoked(&Operation { id: self.call(3), client: 1, node: 1, request }))?;
        self.append(1, vec![command(4, 1, "k5=79")])?;
        for to in [2, 3] {
            let entries = Arc::new([command(4, 1, "k5=79")]);
            let body = Body::Append { prev: LogId::new(3, 1), commit: 3, entries: entries.to_vec().into() };
            let lost = self.send(1, to, body)?;
            self.say(1_500, &Fact::Lost { number: lost.0, message: &lost.1 })?;
        }
        self.election(2, 2, 3)?;
        self.say(10_000, &Fact::Struck { fault: Fault::Crash, nodes: &[1] })?;
        self.say(0, &Fact::Stopped { node: 1, why: &End::Crash })?;
        self.say(10, &Fact::Returned { id: self.call(3), outcome: &Outcome::Gone })?;
        self.append(2, vec![command(4, 2, ""), command(5, 2, "k7=80")])?;
        self.replicate(2, 3, LogId::new(3, 1), &[command(4, 2, ""), command(5, 2, "k7=80")])?;
        self.step(2, "message", |position| position.commit = 5)?;
        self.step(3, "message", |position| position.commit = 5)?;
        self.say(300_000, &Fact::Ended { fault: Fault::Partition, nodes: &[1] })
    }

    fn end(&mut self) -> Result<(), Violation> {
        self.say(1_000, &Fact::Phase(Phase::Healing))?;
        let start = Start {
            id: 1,
            incarnation: Incarnation(1),
            group: 0,
            seed: 8,
            hard_state: HardState { term: 1, vote: Some(1) },
            purged: LogId::ZERO,
            last: 4,
            term_runs: vec![(1, 1)],
            last_time: 0,
            configurations: Vec::new(),
            snapshot: None,
            applied: 0,
        };
        self.say(50_000, &Fact::Started { node: 1, incarnation: Incarnation(1), start: &start })?;
        let last = LogId::new(4, 1);
        self.positions[0] = Position { role: Role::Follower, leader: None, last, durable: 4, ..self.positions[2] };
        (self.positions[0].commit, self.positions[0].applied, self.positions[0].purged) = (0, 0, LogId::ZERO);
        self.step(1, "start", |position| position.term = 1)?;
        let body = Body::Append { prev: LogId::new(5, 2), commit: 5, entries: Vec::new().into() };
        let sent = self.send(2, 1, body)?;
        self.deliver(1_500, &sent)?;
        self.deliver(300, &sent)?; // twice
        self.step(1, "message", |position| {
            (position.term, position.leader, position.last, position.durable) = (2, Some(2), LogId::new(5, 2), 3);
        })?;
        let entries = vec![command(4, 2, ""), command(5, 2, "k7=80")];
        let hard_state = Some(HardState { term: 2, vote: None });
        self.persist(1, Persist { hard_state, truncate_from: Some(4), entries: entries.into(), ..Persist::default() })?;
        self.say(100, &Fact::Restored { node: 1, last: LogId::new(3, 1), state: 0xfeed_beef })?;
        self.at = violation(self.round).0 - 100;
        self.step(1, "persisted", |position| (position.durable, position.commit) = (5, 5))
    }
}
