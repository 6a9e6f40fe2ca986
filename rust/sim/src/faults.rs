//! The faults by name: what each does, and which of them last.

use crate::fact::Fault;

impl Fault {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 37] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::Delay,
        Self::OneWayCut,
        Self::Partition,
        Self::Isolation,
        Self::Flapping,
        Self::ClockDrift,
        Self::ClockJump,
        Self::WallJump,
        Self::Crash,
        Self::Pause,
        Self::Wipe,
        Self::PowerLoss,
        Self::PowerLossOfAll,
        Self::TornWrite,
        Self::BitRot,
        Self::MisdirectedWrite,
        Self::LostWrite,
        Self::WriteFails,
        Self::SyncFails,
        Self::DiskFull,
        Self::DiskStall,
        Self::SlowDisk,
        Self::ApplyRaises,
        Self::ApplyHangs,
        Self::SlowApply,
        Self::SnapshotRaises,
        Self::SnapshotHangs,
        Self::RestoreRaises,
        Self::SendRaises,
        Self::LostSnapshotChunk,
        Self::MembershipChange,
        Self::Transfer,
        Self::Snapshot,
        Self::Close,
    ];

    /// Its name in options, counters and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// What it does.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        self.words().1
    }

    /// The fault of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Whether it lasts until `Fact::Ended`. The others strike once.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::Loss
                | Self::Duplication
                | Self::Reordering
                | Self::Delay
                | Self::OneWayCut
                | Self::Partition
                | Self::Isolation
                | Self::Flapping
                | Self::ClockDrift
                | Self::Pause
                | Self::DiskFull
                | Self::DiskStall
                | Self::SlowDisk
                | Self::ApplyHangs
                | Self::SlowApply
                | Self::SnapshotHangs
                | Self::SendRaises
                | Self::LostSnapshotChunk
        )
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Loss => ("loss", "messages get lost"),
            Self::Duplication => ("duplication", "messages arrive more than once"),
            Self::Reordering => ("reordering", "messages overtake each other"),
            Self::Delay => ("delay", "messages take long"),
            Self::OneWayCut => ("one-way-cut", "what one node sends to another does not arrive, but answers would"),
            Self::Partition => ("partition", "groups of nodes that do not reach each other"),
            Self::Isolation => ("isolation", "one node is cut off from all others"),
            Self::Flapping => ("flapping", "a connection comes and goes"),
            Self::ClockDrift => ("clock-drift", "a clock runs too fast or too slowly"),
            Self::ClockJump => ("clock-jump", "a monotonic clock leaps forward"),
            Self::WallJump => ("wall-jump", "a wall clock is set"),
            Self::Crash => ("crash", "a process is killed; the system keeps what was written"),
            Self::Pause => ("pause", "a process does not run for a while"),
            Self::Wipe => ("wipe", "a disk is exchanged for an empty one"),
            Self::PowerLoss => ("power-loss", "a machine loses power, and what was not synced"),
            Self::PowerLossOfAll => ("power-loss-of-all", "all machines lose power at once"),
            Self::TornWrite => ("torn-write", "a write that a power cut interrupts is there in part"),
            Self::BitRot => ("bit-rot", "a bit on a disk changes"),
            Self::MisdirectedWrite => ("misdirected-write", "a write lands at another place"),
            Self::LostWrite => ("lost-write", "a write that was reported as done is not there"),
            Self::WriteFails => ("write-fails", "a write fails"),
            Self::SyncFails => ("sync-fails", "a sync fails"),
            Self::DiskFull => ("disk-full", "no space is left"),
            Self::DiskStall => ("disk-stall", "a disk answers nothing for a while"),
            Self::SlowDisk => ("slow-disk", "a disk takes long"),
            Self::ApplyRaises => ("apply-raises", "a state machine raises in `apply`"),
            Self::ApplyHangs => ("apply-hangs", "a state machine does not return from `apply` for a while"),
            Self::SlowApply => ("slow-apply", "a state machine takes long"),
            Self::SnapshotRaises => ("snapshot-raises", "a state machine raises in `snapshot`"),
            Self::SnapshotHangs => ("snapshot-hangs", "a state machine does not return from `snapshot` for a while"),
            Self::RestoreRaises => ("restore-raises", "a state machine raises in `restore`"),
            Self::SendRaises => ("send-raises", "a transport raises in `send`"),
            Self::LostSnapshotChunk => ("lost-snapshot-chunk", "parts of a snapshot do not arrive"),
            Self::MembershipChange => ("membership-change", "members join, leave and change their role"),
            Self::Transfer => ("transfer", "leadership is given away"),
            Self::Snapshot => ("snapshot", "a snapshot is demanded"),
            Self::Close => ("close", "a node is closed in order and started again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_that_leads_back_to_it() {
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(!fault.describe().is_empty());
        }
        assert_eq!(Fault::named("gremlins"), None);
        // The last one of the declaration stands at the end of the list: none was forgotten.
        assert_eq!(Fault::Close as usize + 1, Fault::ALL.len());
        assert!(Fault::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
