//! A turn of a node's core thread: everything that waits is taken in, then what is due fires.

use d_engine_node::driver::{Action, DriverInput};
use d_engine_node::storage::LogTask;
use d_engine_raft::{Event as Happening, Micros, NodeId, Role};

use super::host::{ApplyTask, Item, Process};
use super::{Event, Tell, World};
use crate::driver::SimCalls;
use crate::fact::{End, Fact, Outcome, Request};

/// Until a thread that was woken runs.
const WAKE_UP: (Micros, Micros) = (5, 60);

impl World {
    /// Something waits in a node's inbox.
    pub(super) fn plan_turn(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        if process.turn_planned || host.paused > 0 {
            return;
        }
        process.turn_planned = true;
        let at = self.now + self.streams.cores.between(WAKE_UP.0, WAKE_UP.1);
        self.agenda.add(at, Event::Turn { node, life: host.life });
    }

    /// Reports something to a node's core.
    pub(super) fn report(&mut self, node: NodeId, word: &'static str, input: DriverInput<SimCalls>) {
        if let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) {
            process.inbox.push(Item::Input(word, input));
            self.plan_turn(node);
        }
    }

    /// Takes a process out of its host, to work on; `None` if it has ended, or does not run now.
    pub(super) fn take_process(
        &mut self,
        node: NodeId,
        life: u32,
        event: impl FnOnce() -> Event,
    ) -> Option<Box<Process>> {
        let host = self.hosts.get_mut(&node)?;
        if host.life != life {
            return None;
        }
        if host.paused > 0 {
            if host.process.is_some() {
                host.deferred.push(event());
            }
            return None;
        }
        host.process.take()
    }

    pub(super) fn put_back(&mut self, node: NodeId, process: Box<Process>) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.process = Some(process);
        }
    }

    pub(super) fn wake(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.life == life) else { return };
        let now = host.now(self.now);
        let Some(process) = host.process.as_mut() else { return };
        if process.wake_at.is_none_or(|at| at > self.now) {
            return;
        }
        process.wake_at = None;
        if process.turn_planned {
            // It looks at the time itself.
            return;
        }
        if process.driver.deadline().is_some_and(|due| due <= now) {
            self.turn(node, life, tell);
        } else {
            self.plan_wake(node);
        }
    }

    /// Plans to wake a node at its driver's deadline.
    pub(crate) fn plan_wake(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        let Some(due) = process.driver.deadline() else { return };
        let at = host.clock.world(due).max(self.now + 1);
        if process.wake_at.is_none_or(|planned| at < planned) {
            process.wake_at = Some(at);
            self.agenda.add(at, Event::Wake { node, life: host.life });
        }
    }

    pub(super) fn turn(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        let Some(mut process) = self.take_process(node, life, || Event::Turn { node, life }) else { return };
        process.turn_planned = false;
        let Some(host) = self.hosts.get(&node) else { return };
        let (now, wall) = (host.now(self.now), host.wall.local(self.now));
        let mut inbox = std::mem::take(&mut process.inbox);
        for item in inbox.drain(..) {
            let (word, input) = match item {
                Item::Input(word, input) => (word, input),
                Item::Message(message) => ("message", DriverInput::Message(message)),
            };
            process.driver.handle(now, wall, input, &mut process.actions);
            self.stepped(node, &mut process, now, word, tell);
        }
        if process.inbox.is_empty() {
            process.inbox = inbox;
        }
        let before = process.driver.inputs();
        process.driver.flush(now, wall, &mut process.actions);
        if process.driver.inputs() != before || !process.actions.is_empty() {
            self.stepped(node, &mut process, now, "flush", tell);
        }
        process.inputs = process.driver.inputs();
        let closed = process.driver.closed();
        self.put_back(node, process);
        self.kick_log(node, tell);
        self.kick_apply(node);
        if closed {
            self.end_process(node, &End::Closed, tell);
        } else {
            self.plan_wake(node);
        }
    }

    /// Tells of a step and carries out what it wants.
    fn stepped(
        &mut self,
        node: NodeId,
        process: &mut Process,
        now: Micros,
        input: &'static str,
        tell: &mut Tell<'_, '_>,
    ) {
        let position = process.driver.position();
        if position.role == Role::Leader && process.role != Role::Leader {
            tell.tally.summary.elections += 1;
        }
        process.role = position.role;
        tell.fact(&Fact::Stepped { node, now, input, position: &position });
        let mut actions = std::mem::take(&mut process.actions);
        for action in actions.drain(..) {
            self.carry(node, process, action, tell);
        }
        process.actions = actions;
    }

    fn carry(&mut self, node: NodeId, process: &mut Process, action: Action<SimCalls>, tell: &mut Tell<'_, '_>) {
        match action {
            Action::Persist(persist) => {
                tell.fact(&Fact::Persist { node, persist: &persist });
                process.log_lane.tasks.push_back(LogTask::Persist(persist));
            }
            Action::Purge(upto) => process.log_lane.tasks.push_back(LogTask::Purge(upto)),
            Action::Fetch { id, lo, hi, max_bytes } => {
                let at = self.now + self.streams.disk.between(20, 200);
                let life = self.hosts.get(&node).map_or(0, |host| host.life);
                self.agenda.add(at, Event::Fetched { node, life, id, range: (lo, hi), max_bytes });
            }
            Action::Send(message) => {
                let raises = self.hosts.get(&node).is_some_and(|host| host.send_raises);
                let raises = raises && self.streams.machines.happens(500_000);
                self.send(message, raises, self.now, tell);
            }
            Action::Apply { entries, wanted } => {
                process.apply_lane.tasks.push_back(ApplyTask::Apply { entries, wanted });
            }
            Action::Restore(last) => process.apply_lane.tasks.push_back(ApplyTask::Restore(last)),
            Action::Query { waiter, index } => {
                process.apply_lane.tasks.push_back(ApplyTask::Query { id: waiter, index });
            }
            Action::TakeSnapshot => process.apply_lane.tasks.push_back(ApplyTask::TakeSnapshot),
            Action::SendSnapshot { to, at_least } => self.begin_transfer(node, process, to, at_least, tell),
            Action::FailProposal { id: Some(id), waiter, failure } => {
                process.apply_lane.tasks.push_back(ApplyTask::Fail { id, waiter, failure });
            }
            Action::FailProposal { id: None, waiter, failure } | Action::FailRead { waiter, failure } => {
                self.complete(waiter, super::calls::failed(&failure), tell);
            }
            Action::EndSnapshot { waiter, result } | Action::EndTransfer { waiter, result } => {
                self.ended(waiter, result.map(drop), tell);
            }
            Action::EndChange { waiter, result } => self.ended(waiter, result.map(drop), tell),
            Action::Event(Happening::Configured { index, configuration }) => {
                tell.fact(&Fact::Configured { node, index, configuration: &configuration });
                process.configuration = Some((index, configuration));
            }
            Action::Closed => self.closed(node, tell),
            Action::Event(_) | Action::Forwarded { .. } | Action::ReadRound => {}
        }
    }

    fn ended(&mut self, call: u64, result: Result<(), d_engine_node::driver::Failure>, tell: &mut Tell<'_, '_>) {
        let outcome = result.map_or_else(|failure| super::calls::failed(&failure), |()| Outcome::Done);
        self.complete(call, outcome, tell);
    }

    /// Answers whoever wanted the node closed.
    fn closed(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        for call in self.calls.of(node, |request| *request == Request::Close) {
            self.complete(call, Outcome::Done, tell);
        }
    }
}
