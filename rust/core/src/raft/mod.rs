//! The core: one file for each part of the protocol, all on one state.

mod apply;
mod digest;
mod durable;
mod election;
mod follower;
mod leader;
mod membership;
mod promotion;
mod proposals;
mod reads;
mod replication;
mod snapshots;
mod status;
mod terms;
mod transfer;

use std::collections::BTreeMap;

use crate::configuration::Configuration;
use crate::configurations::Configurations;
use crate::durability::Durability;
use crate::effect::{Effect, Event, Reply};
use crate::input::{Input, Settings, Start};
use crate::log::Log;
use crate::message::{Body, Message, Refusal};
use crate::mutants;
use crate::rng::SplitMix64;
use crate::types::{
    FetchId, GroupId, HardState, Incarnation, Index, LogId, Micros, NodeId, RequestId, Role, Term, Token, WallMicros,
};

use apply::Applying;
pub(crate) use digest::Digest;
use leader::Leadership;
pub use status::{CoreStatus, ProgressStatus};
use transfer::Transfer;

/// Votes by voter.
type Votes = BTreeMap<NodeId, bool>;

/// What a node is, with what belongs to that.
#[derive(Debug)]
enum State {
    Follower { leader: Option<NodeId> },
    PreCandidate { votes: Votes },
    Candidate { votes: Votes },
    Leader(Box<Leadership>),
}

/// What a log read was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchFor {
    Follower(NodeId),
    Apply,
}

// Each flag stands for a fault or a request of its own; any of them can come with any other.
#[allow(clippy::struct_excessive_bools)]
/// One member's protocol state. `step` is its only entrance; it never blocks and never fails.
#[derive(Debug)]
pub struct Core {
    id: NodeId,
    incarnation: Incarnation,
    group: GroupId,
    settings: Settings,
    rng: SplitMix64,
    now: Micros,
    wall: WallMicros,

    hard_state: HardState,
    state: State,
    log: Log,
    configurations: Configurations,
    durability: Durability,
    commit: Index,
    snapshot: Option<LogId>,
    applying: Applying,

    /// When a node that hears no leader campaigns.
    election_at: Micros,
    /// The leader that was heard last, and when: it may rely on this node for a while, whatever happens here.
    heard: Option<(NodeId, Micros)>,
    /// Before this moment no vote is given: a lease of before the restart may still run.
    withhold_until: Micros,
    /// The data directories that voters showed in this election.
    seen: BTreeMap<NodeId, Incarnation>,
    /// Members that were reported as wiped, with what they showed last.
    wiped: BTreeMap<NodeId, Incarnation>,
    /// How many preferences of possible leaders are above its own: it waits longer before it campaigns.
    rank: u64,
    /// It has been a member since it last said that it is none.
    belongs: bool,
    /// Leadership that is being given away; outlives it until the next leader is known.
    transfer: Option<Transfer>,

    next_fetch: FetchId,
    fetches: BTreeMap<FetchId, FetchFor>,

    apply_stopped: bool,
    storage_stalled: bool,
    closing: bool,
    closed: bool,

    shown: (Role, Term, Option<NodeId>),
    // Empty between two steps, kept for the memory that they have.
    sends: Vec<Message>,
    rest: Vec<Effect>,
    released: Vec<Message>,
}

impl Core {
    /// A member as it comes up from its storage. Gives out no effects: step a `Time` first.
    #[must_use]
    pub fn new(now: Micros, settings: Settings, start: Start) -> Self {
        let known =
            if mutants::on("22-forgotten-at-start") { start.applied.max(start.purged.index) } else { Index::MAX };
        let found = start.configurations.into_iter().filter(|&(index, _)| index <= known);
        let configurations = Configurations::new(found.collect());
        let covered = start.snapshot.map_or(0, |snapshot| snapshot.index);
        let commit = start.applied.max(covered).max(start.purged.index).min(start.last);
        let belongs = configurations.in_force().any(|configuration| configuration.member(start.id).is_some());
        let mut core = Self {
            id: start.id,
            incarnation: start.incarnation,
            group: start.group,
            rng: SplitMix64::new(start.seed),
            now,
            wall: 0,
            hard_state: start.hard_state,
            state: State::Follower { leader: None },
            log: Log::new(start.purged, start.last, start.term_runs, start.last_time, settings.tail_bytes),
            configurations,
            durability: Durability::new(),
            commit,
            snapshot: start.snapshot,
            applying: Applying::from(if mutants::on("31-older-machine") {
                start.applied
            } else {
                start.applied.max(covered)
            }),
            settings,
            election_at: now,
            heard: None,
            withhold_until: now,
            seen: BTreeMap::new(),
            wiped: BTreeMap::new(),
            rank: 0,
            belongs,
            transfer: None,
            next_fetch: 1,
            fetches: BTreeMap::new(),
            apply_stopped: false,
            storage_stalled: false,
            closing: false,
            closed: false,
            shown: (Role::Follower, start.hard_state.term, None),
            sends: Vec::new(),
            rest: Vec::new(),
            released: Vec::new(),
        };
        core.configurations.committed(commit);
        core.rank = core.rank_of_priority();
        core.reset_election_timer();
        if core.nobody_can_lead_else() {
            core.election_at = now;
        } else {
            core.withhold_until = now + core.min_election_timeout();
            core.election_at = core.election_at.max(core.withhold_until);
        }
        core
    }

    /// Takes one input at `now` and adds what is to be done, in order. `now` may stand still, but does not go back.
    pub fn step(&mut self, now: Micros, input: Input, effects: &mut Vec<Effect>) {
        if self.closed {
            return;
        }
        self.now = self.now.max(now);
        let reported = matches!(input, Input::Applied(_));
        match input {
            Input::Time { wall } => {
                self.wall = wall;
                self.fire_timers();
            }
            Input::Message { wall, message } => {
                self.wall = wall;
                self.receive_from_peer(message);
            }
            Input::Propose { wall, batches } => {
                self.wall = wall;
                for (id, draft) in batches {
                    self.propose(id, draft);
                }
            }
            Input::Read { id, lease } => self.read(id, lease),
            Input::Change { wall, id, changes } => {
                self.wall = wall;
                self.change(id, changes);
            }
            Input::Transfer { id, to } => self.ask_transfer(id, to),
            Input::Persisted(token) => self.persisted(token),
            // Nothing that this node says from now on could be kept: it falls silent.
            Input::PersistFailed(_) => self.fail(),
            Input::Fetched { id, entries } => self.fetched(id, entries),
            Input::Applied(index) => self.applying.applied(index),
            Input::ApplyStopped => self.stop_apply(),
            Input::SnapshotTaken(last) => self.snapshot_taken(last),
            Input::Purge { upto } => self.purge(upto),
            Input::SnapshotReceived { from, term, last, time, configuration } => {
                self.snapshot_received(from, term, last, time, configuration);
            }
            Input::SnapshotSent { to, delivered } => self.snapshot_sent(to, delivered),
            Input::Unreachable(peer) => self.unreachable(peer),
            Input::Close { handover } => self.close(handover),
        }
        self.finish(reported, effects);
    }

    /// The moment at which `Time` must be stepped at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        if self.closed {
            return None;
        }
        let role = match &self.state {
            State::Leader(leadership) => Some(self.leader_deadline(leadership)),
            _ => (self.may_campaign() || self.leader().is_some()).then_some(self.election_at),
        };
        let stall = (!self.storage_stalled)
            .then(|| self.durability.oldest().map(|issued| issued + self.settings.storage_stall_timeout))
            .flatten();
        let transfer = self.transfer.as_ref().map(|transfer| transfer.deadline);
        [role, stall, transfer].into_iter().flatten().min()
    }

    fn fire_timers(&mut self) {
        self.check_stall();
        self.check_transfer_deadline();
        if matches!(self.state, State::Leader(_)) {
            self.leader_timers();
        } else if self.now >= self.election_at {
            self.election_timed_out();
        }
    }

    /// Settles what follows from this step, and orders the effects: storage first, then peers, then the rest.
    fn finish(&mut self, reported: bool, effects: &mut Vec<Effect>) {
        // A report of the state machine moves nothing of a leader, but learners' rounds go by the clock too.
        if matches!(&self.state, State::Leader(leadership) if !reported || !leadership.promotable.is_empty()) {
            self.advance_commit();
            self.advance_membership();
            self.advance_promotion();
            self.advance_transfer();
            self.start_read_round();
            self.replicate_all();
        }
        self.notice_removal();
        self.advance_apply();
        self.log.trim();
        let last = self.log.last();
        if let Some(persist) = self.durability.flush(last, self.now) {
            effects.push(Effect::Persist(persist));
        }
        if !self.sends.is_empty() {
            effects.extend(self.sends.drain(..).map(Effect::Send));
        }
        effects.append(&mut self.rest);
        let shown = (self.role(), self.hard_state.term, self.leader());
        if shown != self.shown {
            self.shown = shown;
            let (role, term, leader) = shown;
            effects.push(Effect::Event(Event::Changed { role, term, leader }));
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.rest.push(Effect::Reply(reply));
    }

    fn event(&mut self, event: Event) {
        self.rest.push(Effect::Event(event));
    }

    /// Sends a message of the current term, which must be durable before anybody hears of it.
    fn send(&mut self, to: NodeId, body: Body) {
        let token = self.durability.hard_state_token().filter(|_| !mutants::on("01-vote-not-durable"));
        self.send_in(self.hard_state.term, to, body, token);
    }

    /// Sends a message that waits for `token` too, if there is one.
    fn send_after(&mut self, to: NodeId, body: Body, token: Option<Token>) {
        let token = token.max(self.durability.hard_state_token());
        self.send_in(self.hard_state.term, to, body, token);
    }

    fn send_in(&mut self, term: Term, to: NodeId, body: Body, token: Option<Token>) {
        let message = Message { from: self.id, incarnation: self.incarnation, to, term, body };
        match token {
            Some(token) => self.durability.withhold(token, message),
            None if to == self.id => self.receive(message),
            None => self.sends.push(message),
        }
    }

    /// Sends what belongs to no term, and so never waits: the newest term may not be durable, and must not show.
    fn send_plain(&mut self, to: NodeId, body: Body) {
        self.send_in(0, to, body, None);
    }

    /// Whether a lease of before the start is out of the question: this is the only voter by every configuration that may be in
    /// force, and it has elected nobody else in its term.
    fn nobody_can_lead_else(&self) -> bool {
        let sole = |configuration: &Configuration| {
            configuration.voters().eq([self.id]) && configuration.outgoing.iter().all(|&id| id == self.id)
        };
        let own_term = self.hard_state == HardState::default() || self.hard_state.vote == Some(self.id);
        own_term && self.configurations.in_force().all(sole)
    }

    fn alone(&self) -> bool {
        self.configurations.voters() == [self.id] && self.configurations.outgoing().iter().all(|&id| id == self.id)
    }

    fn refuse(&mut self, id: RequestId, why: Refusal) {
        self.reply(Reply::Refused { id, why });
    }

    /// This core's log, for those who run several.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }
}
