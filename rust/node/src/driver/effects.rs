//! From the core's effects to actions.

use d_engine_raft::{Effect, Entries, Entry, Event, Input, Micros, Refusal, Reply};

use super::Driver;
use super::types::{Action, Calls, Failure, Raft};

impl<C: Raft, K: Calls> Driver<C, K> {
    pub(super) fn step(&mut self, now: Micros, input: Input, out: &mut Vec<Action<K>>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(now, input, &mut effects);
        for effect in effects.drain(..) {
            self.carry(now, effect, out);
        }
        self.effects = effects;
    }

    fn carry(&mut self, now: Micros, effect: Effect, out: &mut Vec<Action<K>>) {
        match effect {
            Effect::Persist(persist) => out.push(Action::Persist(persist)),
            Effect::Fetch { id, lo, hi, max_bytes } => out.push(Action::Fetch { id, lo, hi, max_bytes }),
            Effect::Send(message) => out.push(Action::Send(message)),
            Effect::Apply(entries) => self.hand_out(entries, out),
            Effect::Restore(last) => {
                self.handed = last.index;
                self.proposals.restored(last, out);
                self.changes.restored(last, out);
                self.policy.restored(last);
                out.push(Action::Restore(last));
                self.reads.release(self.handed, out);
            }
            Effect::Purge(upto) => out.push(Action::Purge(upto)),
            Effect::SendSnapshot { to, at_least } => {
                self.policy.sending(to, at_least);
                out.push(Action::SendSnapshot { to, at_least });
            }
            Effect::Reply(reply) => self.reply(now, reply, out),
            Effect::Event(event) => self.event(now, event, out),
        }
    }

    fn hand_out(&mut self, entries: Entries, out: &mut Vec<Action<K>>) {
        let Some(last) = entries.last().map(Entry::index) else { return };
        if self.apply_stopped {
            return;
        }
        self.handed = last;
        self.changes.hand_out(&entries, out);
        let wanted = self.proposals.hand_out(&entries, out);
        out.push(Action::Apply { entries, wanted });
        self.reads.release(last, out);
    }

    fn reply(&mut self, now: Micros, reply: Reply, out: &mut Vec<Action<K>>) {
        match reply {
            Reply::Proposed { id, at } => {
                if at.index <= self.handed {
                    self.proposals.passed(id, at, out);
                } else if self.apply_stopped {
                    self.proposals.fail(id, Failure::ApplyStopped, out);
                } else {
                    self.proposals.place(id, at);
                }
            }
            Reply::Forwarded { id, to } => {
                self.changes.forwarded(id, to, self.core.term());
                if let Some(entries) = self.proposals.forwarded(id, to, self.core.term(), now) {
                    out.push(Action::Forwarded { to, entries });
                }
            }
            Reply::Refused { id, why } => {
                let again = now + self.settings.refusal_pause;
                if !self.reads.refused(id, again) {
                    let closing = self.closing.refuses();
                    self.proposals.refused(id, why, self.core.leader(), self.core.term(), again, closing, out);
                }
            }
            Reply::ReadReady { id, index } => self.reads.ready(id, index, self.handed, self.apply_stopped, out),
            Reply::Transferred { id, to } => {
                let result = to.map_err(|why| self.refused_transfer(why));
                self.transfers.ended(id, result, out);
            }
            Reply::Changing { id, at } => self.changes.place(id, at, self.handed, out),
            Reply::ChangeRefused { id, why } => {
                let again = now + self.settings.refusal_pause;
                self.changes.refused(id, why, again, self.closing.refuses(), out);
            }
            Reply::Closed => self.finish(out),
        }
    }

    fn refused_transfer(&self, why: Refusal) -> Failure {
        match why {
            Refusal::NotLeader => Failure::NotLeader { leader: self.core.leader(), term: self.core.term() },
            why => Failure::Refused(why),
        }
    }

    fn event(&mut self, now: Micros, event: Event, out: &mut Vec<Action<K>>) {
        match &event {
            Event::Changed { leader: Some(_), term, .. } => {
                self.proposals.leader_changed(*term, now + self.settings.read_retry);
                self.changes.leader_changed(*term, now + self.settings.read_retry);
                self.reads.leader_changed();
            }
            Event::Configured { configuration, .. } if configuration.member(self.settings.id).is_some() => {
                self.removed = false;
            }
            Event::Removed => self.was_removed(now, out),
            _ => {}
        }
        out.push(Action::Event(event));
    }

    /// No leader counts on this node any more, and none answers it.
    fn was_removed(&mut self, now: Micros, out: &mut Vec<Action<K>>) {
        self.removed = true;
        self.proposals.fail_held(&Failure::Removed, out);
        self.reads.fail_all(&Failure::Removed, out);
        self.changes.fail_held(&Failure::Removed, out);
        // What was committed before the removal is still to be handed out.
        let answer_by = now + self.settings.read_retry;
        self.proposals.removed(answer_by);
        self.changes.removed(answer_by);
    }
}
