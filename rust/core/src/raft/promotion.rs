//! Learners become voters by themselves once they have caught up (thesis 4.2.1).

use crate::change::{Change, change};
use crate::configuration::{Configuration, Member, MemberRole};
use crate::effect::Event;
use crate::progress::{CatchUp, Progress};
use crate::types::{Index, Micros, NodeId};

use super::{Core, State};

/// Rounds after which a learner that still falls behind is left alone for a while.
const ROUNDS: u64 = 10;
/// That while, in election timeouts.
const PAUSE: u64 = 10;

/// Learners that are to be voters and whose data directory is recorded.
pub(super) fn promotable(configuration: &Configuration) -> Vec<NodeId> {
    let waits = |member: &&Member| {
        member.role == MemberRole::Learner && member.auto_promote && !member.leaving && member.incarnation.is_some()
    };
    configuration.members.iter().filter(waits).map(|member| member.id).collect()
}

/// How a learner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not there, or is left alone.
    Away,
    /// A round is under way.
    Catching,
    /// A round has taken less than the shortest election timeout: what it lacks as a voter, nobody will notice.
    CaughtUp,
    /// The last round was too long again.
    FallenBehind,
}

impl Core {
    /// Looks after the learners that are to be promoted; all that have caught up are promoted together.
    pub(super) fn advance_promotion(&mut self) {
        let State::Leader(leadership) = &self.state else { return };
        if leadership.promotable.is_empty() {
            return;
        }
        let learners = leadership.promotable.clone();
        if self.check_may_change().is_err() {
            // What was measured will be old when a change may begin.
            return learners.into_iter().for_each(|id| self.with_follower(id, |learner| learner.catch_up = None));
        }
        let mut ready = Vec::new();
        for id in learners {
            match self.catch_up(id) {
                Standing::CaughtUp => ready.push(Change::Promote(id)),
                Standing::FallenBehind => self.event(Event::NotCatchingUp(id)),
                Standing::Away | Standing::Catching => {}
            }
        }
        if !ready.is_empty() {
            self.promote(&ready);
        }
    }

    /// One learner's rounds.
    fn catch_up(&mut self, id: NodeId) -> Standing {
        let (now, last, fast) = (self.now, self.log.last(), self.min_election_timeout());
        let patience = self.settings.election_timeout.1;
        let State::Leader(leadership) = &mut self.state else { return Standing::Away };
        let Some(learner) = leadership.followers.get_mut(id) else { return Standing::Away };
        let there = learner.heard.is_some_and(|heard| heard + patience > now) && !learner.apply_stopped;
        if !there || now < learner.pause_until {
            learner.catch_up = None;
            return Standing::Away;
        }
        let standing = advance_round(learner, now, last, fast);
        if standing == Standing::FallenBehind {
            learner.pause_until = now + PAUSE * patience;
        }
        standing
    }

    /// All of them in one change. What cannot be is not tried again at every step.
    fn promote(&mut self, ready: &[Change]) {
        let steps = change(self.configurations.current(), ready).unwrap_or_default();
        if let Some(first) = steps.first() {
            self.append_configuration(first);
            return;
        }
        let pause = self.now + PAUSE * self.settings.election_timeout.1;
        for promoted in ready {
            self.with_follower(promoted.id(), |learner| learner.pause_until = pause);
        }
    }
}

/// A round begins with what the log holds then, and ends when the learner holds that.
fn advance_round(learner: &mut Progress, now: Micros, last: Index, fast: Micros) -> Standing {
    let round = *learner.catch_up.get_or_insert(CatchUp { target: last, since: now, rounds: 1 });
    if learner.matched < round.target {
        return Standing::Catching;
    }
    if now - round.since < fast {
        return Standing::CaughtUp;
    }
    if round.rounds >= ROUNDS {
        learner.catch_up = None;
        return Standing::FallenBehind;
    }
    learner.catch_up = Some(CatchUp { target: last, since: now, rounds: round.rounds + 1 });
    Standing::Catching
}
