//! Striking: each fault of the plan, when its time has come.

use d_engine_raft::{Change, MemberRole, Micros, NodeId};

use crate::fact::{Fact, Fault, Phase, Request};
use crate::network::Weather;
use crate::world::{Event, Standing, Tell, World, voter};

/// A machine that hangs for longer is one to restart.
const LONGEST_HANG: Micros = 2_500_000;

impl World {
    /// A fault of the plan strikes, if it may.
    pub(crate) fn strike(&mut self, number: usize, tell: &mut Tell<'_, '_>) {
        if self.phase != Phase::Faults {
            return;
        }
        let Some(strike) = self.nemesis.strikes.get(number).cloned() else { return };
        let Some((nodes, lasts)) = self.whom(&strike) else { return };
        if let Some(strike) = self.nemesis.strikes.get_mut(number) {
            strike.nodes.clone_from(&nodes);
            strike.active = lasts.is_some();
        }
        tell.fact(&Fact::Struck { fault: strike.fault, nodes: &nodes });
        self.carry_out(number, strike.fault, &nodes, strike.dice, tell);
        if let Some(span) = lasts {
            self.agenda.add(self.now + span, Event::Cease(number));
        }
    }

    /// Whom a fault may strike now, and for how long it lasts; `None`: nobody.
    fn whom(&mut self, strike: &super::Strike) -> Option<(Vec<NodeId>, Option<Micros>)> {
        use Fault as F;
        let members = self.members();
        let running: Vec<NodeId> = members
            .iter()
            .copied()
            .filter(|id| self.hosts.get(id).is_some_and(|host| host.process.is_some()))
            .collect();
        let dice = usize::try_from(strike.dice[0] >> 1).unwrap_or(0);
        let one = |of: &[NodeId]| (!of.is_empty()).then(|| vec![of[dice % of.len()]]);
        // Half of the time the leader: it is the one with most to lose.
        let leader = self.leader().filter(|_| strike.dice[0] & 1 == 1).map(|leader| vec![leader]);
        let target = leader.or_else(|| one(&running));
        match strike.fault {
            F::Loss | F::Duplication | F::Reordering | F::Delay | F::LostSnapshotChunk => {
                Some((members, Some(strike.span)))
            }
            F::Partition => {
                let side = self.side(strike.dice[1]);
                (!side.is_empty()).then_some((side, Some(strike.span)))
            }
            F::OneWayCut
            | F::Isolation
            | F::Flapping
            | F::ClockDrift
            | F::DiskFull
            | F::SlowDisk
            | F::SlowApply
            | F::SendRaises
            | F::SnapshotHangs => Some((target?, Some(strike.span))),
            F::ApplyHangs | F::Pause | F::DiskStall => Some((target?, Some(strike.span.min(LONGEST_HANG)))),
            F::ClockJump
            | F::WallJump
            | F::Crash
            | F::PowerLoss
            | F::TornWrite
            | F::WriteFails
            | F::SyncFails
            | F::Close => Some((target?, None)),
            F::PowerLossOfAll => Some((self.hosts.keys().copied().collect(), None)),
            F::ApplyRaises | F::SnapshotRaises | F::RestoreRaises => {
                // Where every machine has stopped, nobody can lead.
                let quiet = self.hosts.values().all(|host| !host.troubles.apply_raises);
                if quiet { Some((target?, Some(strike.span))) } else { None }
            }
            F::Wipe => {
                let target = target?;
                self.may_lose_a_copy().then_some((target, None))
            }
            F::BitRot | F::MisdirectedWrite | F::LostWrite => {
                let target = target?;
                let rots = self.may_lose_a_copy() && self.damage(target[0], strike.fault, strike.dice[1]);
                rots.then_some((target, None))
            }
            F::MembershipChange => self.is_settled(2).then(|| (self.leader().into_iter().collect(), None)),
            F::Transfer | F::Snapshot => Some((one(&running)?, None)),
        }
    }

    /// One side of a partition: some of the members, but neither none nor all.
    fn side(&self, dice: u64) -> Vec<NodeId> {
        let members = self.members();
        let mut side: Vec<NodeId> =
            members.iter().enumerate().filter(|(at, _)| dice >> (at % 64) & 1 == 1).map(|(_, &id)| id).collect();
        if side.len() == members.len() {
            side.pop();
        }
        side
    }

    fn carry_out(&mut self, number: usize, fault: Fault, nodes: &[NodeId], dice: [u64; 3], tell: &mut Tell<'_, '_>) {
        use Fault as F;
        let key = number as u64;
        let node = nodes.first().copied().unwrap_or(0);
        match fault {
            F::Loss => self.storm(key, |weather| weather.loss = 20_000 + dice[1] % 280_000),
            F::Duplication => self.storm(key, |weather| weather.duplication = 50_000 + dice[1] % 300_000),
            F::Reordering => self.storm(key, |weather| {
                (weather.reordering, weather.delay) = (300_000, (80, 4_000 + dice[1] % 40_000));
            }),
            F::Delay => self.storm(key, |weather| weather.delay = (200, 2_000 + dice[1] % 120_000)),
            F::LostSnapshotChunk => self.storm(key, |weather| weather.chunk_loss = 300_000),
            F::OneWayCut | F::Partition | F::Isolation | F::Flapping => self.cut_off(key, fault, nodes, dice[1]),
            F::ClockDrift => self.drift(node, (dice[1] % 20_000).cast_signed() - 10_000, tell),
            F::ClockJump => self.leap(node, (dice[1] % 3_000).cast_signed(), tell),
            F::WallJump => {
                if let Some(host) = self.hosts.get_mut(&node) {
                    let by = (dice[1] % 40_000_000).cast_signed() - 20_000_000;
                    host.wall.jump(self.now, by);
                }
            }
            F::Crash => self.kill(node, tell),
            F::Pause => self.pause(node),
            F::Wipe => self.wipe(node, tell),
            F::PowerLoss => self.lose_power(node, tell),
            F::PowerLossOfAll => nodes.iter().for_each(|&node| self.lose_power(node, tell)),
            F::TornWrite | F::WriteFails | F::SyncFails | F::DiskFull => self.trouble_disk(node, fault, dice[1]),
            F::DiskStall | F::SlowDisk | F::SlowApply | F::ApplyHangs | F::SnapshotHangs | F::SendRaises => {
                self.slow_down(node, fault, dice[1], true);
            }
            F::ApplyRaises | F::SnapshotRaises | F::RestoreRaises => self.plant(node, fault, true),
            F::MembershipChange => self.change_members(dice, tell),
            F::Transfer => {
                let others = self.members();
                let to = (dice[1] & 1 == 1).then(|| others[usize::try_from(dice[2] >> 1).unwrap_or(0) % others.len()]);
                self.ask(node, Request::Transfer(to), tell);
            }
            F::Snapshot => {
                self.ask(node, Request::Snapshot, tell);
            }
            F::Close => {
                self.ask(node, Request::Close, tell);
            }
            F::BitRot | F::MisdirectedWrite | F::LostWrite => {}
        }
    }

    fn storm(&mut self, number: u64, change: impl FnOnce(&mut Weather)) {
        let mut weather = Weather::CALM;
        change(&mut weather);
        self.network.storm(number, weather);
    }

    fn cut_off(&mut self, number: u64, fault: Fault, nodes: &[NodeId], dice: u64) {
        let everybody: Vec<NodeId> = self.hosts.keys().copied().collect();
        let others: Vec<NodeId> = everybody.into_iter().filter(|id| !nodes.contains(id)).collect();
        let mut links = Vec::new();
        for &here in nodes {
            for (at, &there) in others.iter().enumerate() {
                if fault == Fault::OneWayCut {
                    let chosen = dice >> (at % 32) & 1 == 1 || others.len() == 1;
                    links.extend(chosen.then_some(if dice >> 40 & 1 == 1 { (here, there) } else { (there, here) }));
                } else {
                    links.extend([(here, there), (there, here)]);
                }
            }
        }
        self.network.cut(number, links);
    }

    pub(crate) fn drift(&mut self, node: NodeId, drift: i64, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.clock.set_drift(self.now, drift);
        host.wall.set_drift(self.now, drift);
        host.drift = drift;
        self.told_clock(node, tell);
    }

    fn leap(&mut self, node: NodeId, by: i64, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.clock.jump(self.now, by);
        self.told_clock(node, tell);
    }

    fn told_clock(&mut self, node: NodeId, tell: &mut Tell<'_, '_>) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let (shown, drift) = (host.now(self.now), host.drift);
        if let Some(process) = host.process.as_mut() {
            process.wake_at = None;
            tell.fact(&Fact::Clock { node, shown, drift });
        }
        self.plan_wake(node);
    }

    /// A fault that lasts ends, or a flapping link changes its mind.
    pub(crate) fn cease(&mut self, number: usize, tell: &mut Tell<'_, '_>) {
        let Some(strike) = self.nemesis.strikes.get_mut(number).filter(|strike| strike.active) else { return };
        let flaps = strike.fault == Fault::Flapping && strike.round < 9 && self.phase == Phase::Faults;
        if flaps {
            strike.round += 1;
            let (nodes, up, dice) = (strike.nodes.clone(), strike.round % 2 == 1, strike.dice[1]);
            let pause = 20_000 + (dice >> strike.round) % 400_000;
            if up {
                self.network.mend(number as u64);
            } else {
                self.cut_off(number as u64, Fault::Flapping, &nodes, dice);
            }
            self.agenda.add(self.now + pause, Event::Cease(number));
            return;
        }
        strike.active = false;
        let (fault, nodes, dice) = (strike.fault, strike.nodes.clone(), strike.dice[1]);
        self.network.mend(number as u64);
        for &node in &nodes {
            self.undo(fault, node, dice, tell);
        }
        tell.fact(&Fact::Ended { fault, nodes: &nodes });
    }

    fn undo(&mut self, fault: Fault, node: NodeId, dice: u64, tell: &mut Tell<'_, '_>) {
        use Fault as F;
        match fault {
            F::ClockDrift => self.drift(node, 0, tell),
            F::Pause => self.resume(node),
            F::DiskFull => self.relieve_disk(node),
            F::DiskStall | F::SlowDisk | F::SlowApply | F::ApplyHangs | F::SnapshotHangs | F::SendRaises => {
                self.slow_down(node, fault, dice, false);
                self.release(node);
                self.kick_log(node, tell);
                self.kick_sync(node, tell);
            }
            F::ApplyRaises | F::SnapshotRaises | F::RestoreRaises => {
                self.plant(node, fault, false);
                let stopped = self
                    .hosts
                    .get(&node)
                    .is_some_and(|host| host.process.as_ref().is_some_and(|process| process.state.stopped()));
                if stopped {
                    // Apply goes on after a restart, and not before.
                    self.kill(node, tell);
                }
            }
            _ => {}
        }
    }

    fn plant(&mut self, node: NodeId, fault: Fault, on: bool) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        match fault {
            Fault::ApplyRaises => host.troubles.apply_raises = on,
            Fault::SnapshotRaises => host.troubles.snapshot_raises = on,
            _ => host.troubles.restore_raises = on,
        }
    }

    fn slow_down(&mut self, node: NodeId, fault: Fault, dice: u64, on: bool) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.hindered_until = self.now;
        let pace = if on { 5 + dice % 60 } else { 1 };
        match fault {
            Fault::DiskStall => host.disk_stalled = on,
            Fault::SlowDisk => host.disk_pace = pace,
            Fault::SlowApply => host.apply_pace = pace * 8,
            Fault::ApplyHangs => host.apply_hangs = on,
            Fault::SnapshotHangs => host.snapshot_hangs = on,
            _ => host.send_raises = on,
        }
    }

    /// Members come, go, and change their role, but three voters stay.
    fn change_members(&mut self, dice: [u64; 3], tell: &mut Tell<'_, '_>) {
        let Some((_, configuration, _)) = self.membership() else { return };
        let Some(leader) = self.leader() else { return };
        let voters: Vec<NodeId> = configuration.voters().collect();
        let learners: Vec<NodeId> = configuration
            .members
            .iter()
            .filter(|member| member.role == MemberRole::Learner)
            .map(|member| member.id)
            .collect();
        let outsiders = self.outsiders();
        let pick = |of: &[NodeId]| (!of.is_empty()).then(|| of[usize::try_from(dice[1] >> 8).unwrap_or(0) % of.len()]);
        let spare = voters.len() > 3 && !self.nemesis.repair.is_busy() && self.may_lose_a_copy();
        let mut changes = Vec::new();
        match (dice[1] % 5, pick(&outsiders), pick(&learners), pick(&voters)) {
            (0 | 1, Some(newcomer), ..) => changes.extend(self.join(newcomer, dice[2].is_multiple_of(4), tell)),
            (2, _, Some(learner), _) => changes.push(Change::Promote(learner)),
            (2, _, None, Some(other)) if spare => changes.push(Change::Demote(other)),
            (3, Some(newcomer), _, Some(old)) if spare => {
                // Two voters change at once, which takes a joint phase.
                if let Some(Change::Add(mut member)) = self.join(newcomer, true, tell) {
                    member.role = MemberRole::Voter;
                    changes.extend([Change::Add(member), Change::Remove(old)]);
                }
            }
            (_, _, Some(learner), _) => changes.push(Change::Remove(learner)),
            (_, _, None, Some(old)) if spare => changes.push(Change::Remove(old)),
            (_, Some(newcomer), ..) => changes.extend(self.join(newcomer, false, tell)),
            _ => {}
        }
        if !changes.is_empty() {
            self.nemesis.repair.asked(&changes);
            self.ask(leader, Request::Change(changes), tell);
        }
    }

    /// A fresh node begins, and asks to be taken in.
    fn join(&mut self, node: NodeId, learner: bool, tell: &mut Tell<'_, '_>) -> Option<Change> {
        self.wipe(node, tell);
        let host = self.hosts.get_mut(&node)?;
        host.standing = Standing::Outside;
        host.held_down = false;
        self.start(node, tell);
        let incarnation = self.hosts.get(&node)?.hello.as_ref()?.incarnation;
        let role = if learner { MemberRole::Learner } else { MemberRole::Voter };
        let mut member = voter(node);
        (member.role, member.incarnation, member.auto_promote) = (role, Some(incarnation), !learner);
        Some(Change::Add(member))
    }
}
