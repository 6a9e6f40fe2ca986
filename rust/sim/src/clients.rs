//! Clients: they write, in sessions or without, and read, in every way, on any node; what has no answer they ask again, if they
//! may.

use d_engine_node::Consistency;
use d_engine_raft::{Micros, NodeId};

use crate::fact::{Outcome, Phase, Request};
use crate::machine::{Wish, Workload};
use crate::options::Options;
use crate::random::{Purpose, Stream};
use crate::world::{Call, Event, SESSION_IS_GONE, Tell, World};

/// Attempts of one command of a session.
const ATTEMPTS: u32 = 12;

/// One of them: it waits for one answer at a time.
#[derive(Debug, Default)]
struct Client {
    /// Its session, and the number of its next command there.
    session: Option<(u64, u64)>,
    wants_session: bool,
    /// A command that has no answer: it is asked again, with the same number.
    again: Option<Request>,
    attempts: u32,
    waits_for: Option<u64>,
}

/// All of them.
pub(crate) struct Clients {
    random: Stream,
    each: Vec<Client>,
    workload: Option<Box<dyn Workload>>,
    think: Micros,
    keys: u64,
    /// The newest value that was written anywhere.
    value: u64,
}

impl Clients {
    pub fn new(options: &Options, workload: Option<Box<dyn Workload>>) -> Self {
        let mut random = Stream::new(options.seed, Purpose::Clients);
        let drawn = random.between(3, 7);
        let count = if options.clients == 0 { drawn } else { options.clients };
        let by_hand = options.clients == 0 && options.faults_for == Micros::MAX;
        let count = if options.think == 0 || by_hand { 0 } else { count };
        let client = |random: &mut Stream| Client { wants_session: random.happens(550_000), ..Client::default() };
        let each = (0..count).map(|_| client(&mut random)).collect();
        Self { random, each, workload, think: options.think, keys: options.keys, value: 0 }
    }

    /// Whether they use another machine than registers.
    pub const fn has_workload(&self) -> bool {
        self.workload.is_some()
    }

    /// Their numbers, from 1.
    pub fn all(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.each.len() as u64
    }

    /// A value that nobody has written.
    pub const fn new_value(&mut self) -> u64 {
        self.value += 1;
        self.value
    }

    /// A write, or a command, for those who want to see that one works.
    pub fn any_write(&mut self) -> Request {
        if let Some(workload) = &mut self.workload {
            for _ in 0..1_000 {
                if let Wish::Command(payload) = workload.next(0, self.random.number()) {
                    return Request::Command { payload, session: None };
                }
            }
        }
        Request::Write { key: 1, value: self.new_value(), session: None }
    }

    /// The same for a read.
    pub fn any_read(&mut self, consistency: Consistency) -> Request {
        if let Some(workload) = &mut self.workload {
            for _ in 0..1_000 {
                if let Wish::Query(query) = workload.next(0, self.random.number()) {
                    return Request::Query { query, consistency };
                }
            }
        }
        Request::Read { key: 1, consistency }
    }

    fn think(&mut self) -> Micros {
        self.random.between(self.think / 4, self.think * 7 / 4)
    }

    fn consistency(&mut self) -> Consistency {
        match self.random.below(10) {
            0..=3 => Consistency::Linearizable,
            4..=7 => Consistency::Lease,
            _ => Consistency::Eventual,
        }
    }

    fn wish(&mut self, number: usize) -> Request {
        let session = self.each[number].session;
        if self.each[number].wants_session && session.is_none() {
            return Request::OpenSession;
        }
        if let Some(workload) = &mut self.workload {
            let drawn = self.random.number();
            return match workload.next(number as u64 + 1, drawn) {
                Wish::Command(payload) => Request::Command { payload, session },
                Wish::Query(query) => Request::Query { query, consistency: self.consistency() },
            };
        }
        let key = 1 + self.random.below(self.keys);
        if self.random.happens(550_000) {
            Request::Write { key, value: self.new_value(), session }
        } else {
            Request::Read { key, consistency: self.consistency() }
        }
    }

    /// A few are large: they fill segments, frames and windows.
    fn padding(&mut self) -> usize {
        let most = match self.random.below(40) {
            0 => 12_000,
            1..=8 => 900,
            _ => 60,
        };
        usize::try_from(self.random.below(most)).unwrap_or(0)
    }

    fn number(&self, client: u64) -> Option<usize> {
        usize::try_from(client.checked_sub(1)?).ok().filter(|&number| number < self.each.len())
    }
}

impl World {
    /// A client has thought long enough.
    pub(crate) fn client(&mut self, client: u64, tell: &mut Tell<'_, '_>) {
        if self.phase == Phase::Over {
            return;
        }
        let Some(number) = self.clients.number(client) else { return };
        if self.clients.each[number].waits_for.is_some() {
            return;
        }
        let request = if let Some(request) = self.clients.each[number].again.take() {
            request
        } else {
            self.clients.each[number].attempts = 0;
            self.clients.wish(number)
        };
        self.clients.each[number].attempts += 1;
        let node = self.somebody();
        let padding = self.clients.padding();
        let patience = self.clients.random.between(600_000, 2_500_000);
        // An answer may come before this returns: then there is nothing to wait for.
        self.clients.each[number].waits_for = Some(0);
        let call = self.invoke(client, node, request, padding, patience, tell);
        if self.calls.get(call).is_some() {
            self.clients.each[number].waits_for = Some(call);
        }
    }

    /// A node to ask: mostly one that runs.
    fn somebody(&mut self) -> NodeId {
        let any = self.clients.random.happens(30_000);
        let hosts = self.hosts.values().filter(|host| any || host.runs());
        let nodes: Vec<NodeId> = hosts.map(|host| host.id).collect();
        self.clients.random.pick(&nodes).copied().unwrap_or(1)
    }

    /// A client has an answer.
    pub(crate) fn returned(&mut self, call: &Call, outcome: &Outcome) {
        let Some(number) = self.clients.number(call.client) else { return };
        let client = &mut self.clients.each[number];
        client.waits_for = None;
        let session = match &call.request {
            Request::Write { session, .. } | Request::Command { session, .. } => *session,
            _ => None,
        };
        let mut soon = false;
        match (outcome, session) {
            (Outcome::Opened(session), _) => client.session = Some((*session, 1)),
            (Outcome::Unknown(why), Some(_)) if why == SESSION_IS_GONE => client.session = None,
            (Outcome::Unknown(_) | Outcome::Gone, Some(_)) if client.attempts < ATTEMPTS => {
                client.again = Some(call.request.clone());
                soon = true;
            }
            (_, Some((session, sequence))) => client.session = Some((session, sequence + 1)),
            _ => {}
        }
        let think = self.clients.think();
        let pause = if soon { 5_000 } else { think };
        self.agenda.add(self.now + pause, Event::Client(call.client));
    }
}
