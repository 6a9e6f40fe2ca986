//! Processes and power: how nodes start, end, and are stopped for a while.

use std::sync::Arc;

use d_engine_node::apply::{AppliedState, Trouble, is_witness, own_member};
use d_engine_node::recover::recover;
use d_engine_node::{Hello, StorageError};
use d_engine_raft::{Configuration, Incarnation, Micros, NodeId, Role};

use super::disk::Disk;
use super::host::{Host, Process, Standing};
use super::hosted::Hosted;
use super::{EPOCH, Event, Tell, World};
use crate::clock::Clock;
use crate::fact::{End, Fact};

/// Until a supervisor starts a process again that has ended.
const RESTART: (Micros, Micros) = (50_000, 900_000);
/// The protocol that all of them speak.
const VERSION: u32 = 1;

impl World {
    pub(super) fn new_host(&mut self, id: NodeId, member: bool) -> Host {
        let seed = self.streams.damage.number();
        let (shown, wall) = (self.streams.clocks.below(1 << 32), EPOCH + self.streams.clocks.below(10_000_000));
        Host {
            id,
            disk: Disk::new(seed),
            hello: None,
            clock: Clock::new(0, shown, 0),
            wall: Clock::new(0, wall, 0),
            drift: 0,
            standing: if member { Standing::Sound } else { Standing::Outside },
            life: 0,
            process: None,
            paused: 0,
            deferred: Vec::new(),
            troubles: super::Troubles::default(),
            apply_hangs: false,
            snapshot_hangs: false,
            send_raises: false,
            disk_pace: 1,
            apply_pace: 1,
            disk_stalled: false,
            hindered_until: 0,
            held_down: !member,
        }
    }

    /// Plans the start of a host's next process.
    pub(crate) fn plan_start(&mut self, node: NodeId, after: Micros) {
        if let Some(host) = self.hosts.get(&node) {
            self.agenda.add(self.now + after, Event::Start { node, life: host.life });
        }
    }

    pub(super) fn start_planned(&mut self, node: NodeId, life: u32, tell: &mut Tell<'_, '_>) {
        if self.hosts.get(&node).is_some_and(|host| host.life == life && !host.held_down) {
            self.start(node, tell);
        }
    }

    /// Starts a process, if none runs.
    pub(crate) fn start(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get(&node) else { return };
        if host.process.is_some() {
            return;
        }
        if host.hello.is_none() {
            self.identify(node);
        }
        match self.bring_up(node, tell) {
            Ok(process) => {
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.process = Some(Box::new(process));
                    let (shown, drift) = (host.now(self.now), host.drift);
                    tell.fact(&Fact::Clock { node, shown, drift });
                }
                self.plan_turn(node);
            }
            Err(why) => self.did_not_start(node, &why, tell),
        }
    }

    /// An empty disk gets an identity of its own.
    fn identify(&mut self, node: NodeId) {
        let (high, low) = (self.streams.identities.number(), self.streams.identities.number());
        let incarnation = Incarnation(u128::from(high) << 64 | u128::from(low));
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let mut initial = self.initial.clone();
        // Whoever was no member at the beginning knows nobody; whoever was does not know that its disk was wiped.
        if initial.member(node).is_none() {
            initial = Configuration { members: Vec::new(), outgoing: Vec::new(), ..initial };
        }
        host.hello = Some(Hello {
            node,
            incarnation,
            cluster: self.config.cluster.clone(),
            cluster_id: self.cluster_id,
            group: 0,
            recovery_epoch: 0,
            version: VERSION,
            initial,
        });
    }

    fn bring_up(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) -> Result<Process, Trouble> {
        let missing = || StorageError::Inconsistent("no such host".into());
        let host = self.hosts.get_mut(&node).ok_or_else(missing)?;
        let hello = host.hello.clone().ok_or_else(missing)?;
        #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
        let salt = hello.incarnation.0 as u64;
        tell.tally.summary.logs_opened += 1;
        tell.tally.summary.crash_images += u64::from(host.disk.cut);
        let (log, loaded) = host.disk.open(hello.cluster_id, salt)?;
        if let Some(why) = host.disk.shortened() {
            tell.broken("silently-shortened", format!("the log of node {node}: {why}"));
        }
        let snapshots = host.disk.snapshots();
        let recovered = recover(&hello, loaded, log.as_ref(), snapshots.as_ref())?;
        let mut machine = Hosted::new(self.machines.make(node));
        machine.troubles = host.troubles;
        let first = recovered.configurations.first().cloned().unwrap_or_else(|| (0, hello.initial.clone()));
        let newest =
            recovered.configurations.last().map_or_else(|| hello.initial.clone(), |(_, newest)| newest.clone());
        let mut state = AppliedState::new(first);
        state.set_witness(own_member(&newest, &[], &hello).is_some_and(|own| is_witness(&own)));
        state.bring_up(&mut machine, snapshots.as_ref(), &recovered)?;
        let seed = self.streams.cores.number();
        let start = recovered.core_start(&hello, seed, state.last());
        let driver_start = recovered.driver_start(seed, state.last());
        tell.fact(&Fact::Started { node, incarnation: hello.incarnation, start: &start });
        if state.last().index > 0 {
            let digest = machine.machine.digest();
            tell.fact(&Fact::Restored { node, last: state.last(), state: digest });
        }
        let now = host.clock.local(self.now);
        let settings = self.settings.clone();
        let configuration = recovered.configurations.last().map(|(index, newest)| (*index, Arc::new(newest.clone())));
        let driver = self.drivers.start(now, settings, start, self.config.driver_settings(node), driver_start);
        let transfers = super::transfers::Lane::new(now, &self.config, &hello, &snapshots, seed);
        Ok(Process {
            driver,
            log,
            snapshots,
            machine,
            state,
            inbox: Vec::new(),
            turn_planned: false,
            wake_at: None,
            log_lane: super::host::LogLane::default(),
            apply_lane: super::host::ApplyLane::default(),
            making: None,
            transfers,
            role: Role::Follower,
            inputs: 0,
            started: self.now,
            actions: Vec::new(),
            configuration,
        })
    }

    /// A start that failed is tried again, unless there was no reason for it to fail.
    fn did_not_start(&mut self, node: NodeId, why: &Trouble, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.disk.files.is_dead() {
            return self.lose_power(node, tell);
        }
        let planted = host.disk.troubled || host.troubles.restore_raises;
        if host.standing == Standing::Sound && !planted && matches!(why, Trouble::Storage(_)) {
            tell.broken("sound-disk-opens", format!("node {node} does not start on a sound disk: {why}"));
        }
        tell.fact(&Fact::Stopped { node, why: &End::Storage(why.to_string()) });
        host.life += 1;
        let after = self.streams.machines.between(RESTART.0, RESTART.1);
        self.plan_start(node, after);
    }

    /// A process ends; unless it was closed or is held down, it is soon started again.
    pub(crate) fn end_process(&mut self, node: NodeId, why: &End, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.take() else { return };
        host.life += 1;
        host.deferred.clear();
        tell.tally.summary.inputs += process.inputs;
        tell.tally.summary.node_time += self.now - process.started;
        drop(process);
        tell.fact(&Fact::Stopped { node, why });
        self.calls_are_gone(node, tell);
        let after = self.streams.machines.between(RESTART.0, RESTART.1);
        self.plan_start(node, after);
    }

    /// A process is killed; the system keeps what was written.
    pub(crate) fn kill(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        self.end_process(node, &End::Crash, tell);
    }

    /// The power goes: what was not synced is there or not.
    pub(crate) fn lose_power(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        let seed = self.streams.damage.number();
        let shown = self.streams.clocks.below(1 << 32);
        let Some(host) = self.hosts.get_mut(&node) else { return };
        match host.disk.images(self.cluster_id, seed) {
            Ok(images) => tell.tally.summary.crash_images += images,
            Err(why) => tell.broken("crash-image", format!("the log of node {node}: {why}")),
        }
        host.disk.power_cut(seed);
        // A monotonic clock begins anew with its machine.
        host.clock = Clock::new(self.now, shown, host.drift);
        if host.process.is_some() {
            self.end_process(node, &End::Power, tell);
        } else {
            host.life += 1;
            self.plan_start(node, RESTART.1);
        }
    }

    /// The disk is exchanged for an empty one.
    pub(crate) fn wipe(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        self.end_process(node, &End::Wiped, tell);
        let seed = self.streams.damage.number();
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.disk = Disk::new(seed);
        host.hello = None;
        if host.standing != Standing::Outside {
            host.standing = Standing::Empty;
        }
        host.life += 1;
        self.plan_start(node, RESTART.0);
    }

    /// A process does not run for a while.
    pub(crate) fn pause(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.paused += 1;
        }
    }

    /// It runs again, and finds that time has passed.
    pub(crate) fn resume(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.paused = host.paused.saturating_sub(1);
        host.hindered_until = self.now;
        self.release(node);
    }

    /// What a pause or a hanging callback kept back goes on now.
    pub(crate) fn release(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.paused > 0 {
            return;
        }
        for event in std::mem::take(&mut host.deferred) {
            self.agenda.add(self.now, event);
        }
        if let Some(process) = host.process.as_mut() {
            process.turn_planned = false;
            process.wake_at = None;
        }
        self.plan_turn(node);
        self.kick_apply(node);
    }
}
