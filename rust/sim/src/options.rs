//! What a run is made of: all of it stands in a failure's message, and all of it can be given back on a command line.

use std::fmt::{self, Write};

use d_engine_raft::Micros;

use crate::fact::Fault;

/// Which of all faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u64);

impl Faults {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every one.
    #[must_use]
    pub fn all() -> Self {
        Self::of(&Fault::ALL)
    }

    /// These.
    #[must_use]
    pub fn of(faults: &[Fault]) -> Self {
        faults.iter().fold(Self::NONE, |set, &fault| set.with(fault))
    }

    /// That one too.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u64)
    }

    /// All but that one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u64))
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u64 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |&fault| self.has(fault))
    }
}

/// A kind of world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Every fault, a few of them in each seed.
    #[default]
    All,
    /// Nothing goes wrong.
    Calm,
    /// Messages get lost, late and doubled; nodes are cut off.
    Network,
    /// Processes and power.
    Power,
    /// Disks that lie, fail, fill up and stall.
    Disks,
    /// Machines and transports that raise and hang.
    Plugins,
    /// Members come and go, leaders change.
    Members,
    /// Clocks.
    Clocks,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::All, Self::Calm, Self::Network, Self::Power, Self::Disks, Self::Plugins, Self::Members, Self::Clocks];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What may go wrong in it.
    #[must_use]
    pub fn faults(self) -> Faults {
        use Fault as F;
        match self {
            Self::All => Faults::all(),
            Self::Calm => Faults::NONE,
            Self::Network => Faults::of(&[
                F::Loss,
                F::Duplication,
                F::Reordering,
                F::Delay,
                F::OneWayCut,
                F::Partition,
                F::Isolation,
                F::Flapping,
                F::Crash,
                F::Transfer,
                F::LostSnapshotChunk,
            ]),
            Self::Power => {
                Faults::of(&[F::Crash, F::Pause, F::PowerLoss, F::PowerLossOfAll, F::TornWrite, F::Snapshot, F::Close])
            }
            Self::Disks => Faults::of(&[
                F::PowerLoss,
                F::TornWrite,
                F::BitRot,
                F::MisdirectedWrite,
                F::LostWrite,
                F::WriteFails,
                F::SyncFails,
                F::DiskFull,
                F::DiskStall,
                F::SlowDisk,
                F::Wipe,
                F::Snapshot,
                F::Partition,
            ]),
            Self::Plugins => Faults::of(&[
                F::ApplyRaises,
                F::ApplyHangs,
                F::SlowApply,
                F::SnapshotRaises,
                F::SnapshotHangs,
                F::RestoreRaises,
                F::SendRaises,
                F::Snapshot,
                F::Crash,
                F::Partition,
                F::Transfer,
            ]),
            Self::Members => Faults::of(&[
                F::MembershipChange,
                F::Wipe,
                F::Transfer,
                F::Crash,
                F::Partition,
                F::Isolation,
                F::Loss,
                F::Snapshot,
                F::Close,
            ]),
            Self::Clocks => {
                Faults::of(&[F::ClockDrift, F::ClockJump, F::WallJump, F::Pause, F::Crash, F::Partition, F::Transfer])
            }
        }
    }
}

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The one number that everything else is drawn from.
    pub seed: u64,
    /// The kind of world.
    pub profile: Profile,
    /// What may go wrong.
    pub faults: Faults,
    /// Voters at first; 0: as the seed has it.
    pub nodes: u64,
    /// Clients; 0: as the seed has it.
    pub clients: u64,
    /// How long faults strike.
    pub faults_for: Micros,
    /// How soon everything must work again after they have ended.
    pub heal_within: Micros,
    /// Microseconds between two calls of one client, on average.
    pub think: Micros,
    /// Keys that clients use.
    pub keys: u64,
    /// Entries after which a node makes a snapshot; 0: as the seed has it.
    pub snapshot_every: u64,
    /// Ends a run that storms.
    pub max_events: u64,
    /// Faults of the plan, by number, that are left out: how a failure is made smaller.
    pub skip: Vec<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self::of(Profile::All, 1)
    }
}

impl Options {
    /// What that profile has, with that seed.
    #[must_use]
    pub fn of(profile: Profile, seed: u64) -> Self {
        Self {
            seed,
            profile,
            faults: profile.faults(),
            nodes: 0,
            clients: 0,
            faults_for: 26_000_000,
            heal_within: 10_000_000,
            think: 160_000,
            keys: 12,
            snapshot_every: 0,
            max_events: 2_000_000,
            skip: Vec::new(),
        }
    }

    /// The same for another seed.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// Reads what `Display` writes: `--name value` pairs, each of which changes one thing. `--profile` comes first, because it
    /// sets everything else.
    ///
    /// # Errors
    /// Says which word is wrong.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            options.set(name, value)?;
        }
        Ok(options)
    }

    /// Sets one of them.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        let fault = || Fault::named(value).ok_or_else(|| format!("{value:?} is no fault"));
        match name {
            "--seed" => self.seed = number()?,
            "--profile" => {
                let known = Profile::ALL.into_iter().find(|profile| profile.name() == value);
                let profile = known.ok_or_else(|| {
                    let all: Vec<String> = Profile::ALL.into_iter().map(Profile::name).collect();
                    format!("{value:?} is no profile: choose one of {}", all.join(", "))
                })?;
                *self = Self::of(profile, self.seed);
            }
            "--fault" => self.faults = self.faults.with(fault()?),
            "--no-fault" => self.faults = self.faults.without(fault()?),
            "--nodes" => self.nodes = number()?,
            "--clients" => self.clients = number()?,
            "--faults-for" => self.faults_for = number()?,
            "--heal-within" => self.heal_within = number()?,
            "--think" => self.think = number()?,
            "--keys" => self.keys = number()?.max(1),
            "--snapshot-every" => self.snapshot_every = number()?,
            "--max-events" => self.max_events = number()?,
            "--skip" => self.skip.push(number()?),
            _ => return Err(format!("{name:?} is no option")),
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self::of(self.profile, self.seed);
        write!(out, "--profile {} --seed {}", self.profile.name(), self.seed)?;
        for fault in Fault::ALL {
            match (plain.faults.has(fault), self.faults.has(fault)) {
                (true, false) => write!(out, " --no-fault {}", fault.name())?,
                (false, true) => write!(out, " --fault {}", fault.name())?,
                _ => {}
            }
        }
        let numbers = [
            ("nodes", self.nodes, plain.nodes),
            ("clients", self.clients, plain.clients),
            ("faults-for", self.faults_for, plain.faults_for),
            ("heal-within", self.heal_within, plain.heal_within),
            ("think", self.think, plain.think),
            ("keys", self.keys, plain.keys),
            ("snapshot-every", self.snapshot_every, plain.snapshot_every),
            ("max-events", self.max_events, plain.max_events),
        ];
        for (name, here, there) in numbers {
            if here != there {
                write!(out, " --{name} {here}")?;
            }
        }
        self.skip.iter().try_for_each(|strike| write!(out, " --skip {strike}"))
    }
}

impl Options {
    /// The words of `Display`, for those who pass them on.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = String::new();
        // Writing to a string does not fail.
        let _ = write!(words, "{self}");
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_back() {
        let mut options = Options::of(Profile::Disks, 42);
        options.faults = options.faults.without(Fault::BitRot).with(Fault::Close);
        (options.nodes, options.skip, options.think) = (5, vec![3, 9], 7);
        let written = options.to_string();
        assert_eq!(Options::parse(written.split(' ')), Ok(options.clone()), "{written}");
        assert_eq!(written, options.words());
        assert_eq!(Options::parse(Options::default().to_string().split(' ')), Ok(Options::default()));
    }

    #[test]
    fn mistakes_are_named() {
        for (words, complaint) in [("--seed x", "a number"), ("--sed 1", "no option"), ("--profile x", "choose one of")]
        {
            let said = Options::parse(words.split(' ')).expect_err("a mistake");
            assert!(said.contains(complaint), "{said}");
        }
    }
}
