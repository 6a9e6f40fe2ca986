//! A machine of the data centre: its disk and clocks, and the process that runs on it, if one does.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use d_engine_node::apply::AppliedState;
use d_engine_node::driver::{Action, DriverInput, Wanted};
use d_engine_node::storage::{LogBatch, LogTask};
use d_engine_node::{Hello, LogStore, SnapshotStore};
use d_engine_raft::{Configuration, Entries, Index, LogId, Micros, NodeId, RequestId, Role};

use super::disk::Disk;
use super::hosted::{Hosted, Troubles};
use crate::clock::Clock;
use crate::driver::{SimCalls, SimDriver};

/// What it is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its disk holds what the cluster counts on.
    Sound,
    /// Its disk was damaged behind its back: it may refuse to start.
    Damaged,
    /// Its disk is empty, and the cluster has not taken it in again.
    Empty,
    /// It has never been a member, or is none any more.
    Outside,
}

// Each flag stands for a fault of its own; any of them can come with any other.
#[allow(clippy::struct_excessive_bools)]
/// One of them.
pub struct Host {
    pub id: NodeId,
    pub disk: Disk,
    /// Whose data the disk holds; `None`: nobody's.
    pub hello: Option<Hello>,
    pub clock: Clock,
    pub wall: Clock,
    /// Drift of the monotonic clock, for telling.
    pub drift: i64,
    pub standing: Standing,
    /// Counts processes, so that what was under way for one does not reach the next.
    pub life: u32,
    pub process: Option<Box<Process>>,
    /// It does not run at the moment; reference counted by faults.
    pub paused: u32,
    /// What came for its threads while they did not run.
    pub deferred: Vec<super::Event>,
    pub troubles: Troubles,
    pub apply_hangs: bool,
    pub snapshot_hangs: bool,
    pub send_raises: bool,
    /// How many times longer than usual its disk and its machine take.
    pub disk_pace: u64,
    pub apply_pace: u64,
    pub disk_stalled: bool,
    /// Calls that were made up to then may have met a hindrance.
    pub hindered_until: Micros,
    /// It is down on purpose, and nobody starts it again but who stopped it.
    pub held_down: bool,
}

/// One thing for a node's core.
pub enum Item {
    Input(&'static str, DriverInput<SimCalls>),
    Message(d_engine_raft::Message),
}

/// The log threads: one writes while the other syncs, and never do two sync at once.
#[derive(Default)]
pub struct LogLane {
    pub tasks: VecDeque<LogTask>,
    /// Being written.
    pub writing: Option<LogBatch>,
    /// Written, and waiting for the sync before it.
    pub written: Option<LogBatch>,
    /// Being synced.
    pub syncing: Option<LogBatch>,
    /// Something was written since the last marker.
    pub unvouched: bool,
    pub idle_planned: bool,
    pub last_write: Micros,
}

/// One thing for its state machine.
pub enum ApplyTask {
    Apply { entries: Entries, wanted: Vec<Wanted<u64>> },
    Query { id: u64, index: Index },
    Restore(LogId),
    Fail { id: RequestId, waiter: u64, failure: d_engine_node::driver::Failure },
    TakeSnapshot,
}

/// The apply thread.
#[derive(Default)]
pub struct ApplyLane {
    pub tasks: VecDeque<ApplyTask>,
    /// Taken, and being worked on.
    pub round: Vec<ApplyTask>,
    pub busy: bool,
}

/// A node that runs.
pub struct Process {
    pub driver: Box<dyn SimDriver>,
    pub log: Arc<dyn LogStore>,
    pub snapshots: Arc<dyn SnapshotStore>,
    pub machine: Hosted,
    pub state: AppliedState<Vec<Bytes>>,
    pub inbox: Vec<Item>,
    pub turn_planned: bool,
    /// When it wakes by itself.
    pub wake_at: Option<Micros>,
    pub log_lane: LogLane,
    pub apply_lane: ApplyLane,
    pub making: Option<d_engine_node::apply::Making>,
    pub transfers: super::transfers::Lane,
    pub role: Role,
    pub inputs: u64,
    pub started: Micros,
    pub actions: Vec<Action<SimCalls>>,
    /// The members as it knows them, and the index of their entry.
    pub configuration: Option<(Index, Arc<Configuration>)>,
}

impl Host {
    /// Its monotonic clock.
    pub fn now(&self, at: Micros) -> Micros {
        self.clock.local(at)
    }

    /// Whether somebody who called lately may wait in vain: its threads hang, or did a moment ago.
    pub fn hinders_calls(&self, at: Micros) -> bool {
        let hangs = self.paused > 0 || self.apply_hangs || self.disk_stalled || self.apply_pace > 1;
        self.process.is_none() || hangs || self.hindered_until + 3_500_000 > at
    }

    /// Whether a process runs that takes part.
    pub fn runs(&self) -> bool {
        self.process.is_some() && self.paused == 0
    }
}
