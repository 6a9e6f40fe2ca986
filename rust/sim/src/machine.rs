//! What simulated nodes apply their log to: registers, or a machine that somebody wants to test.

use std::collections::BTreeMap;

use bytes::Bytes;
use d_engine_raft::{Entry, NodeId, mutants};

/// A machine refused or broke down: in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(pub String);

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Results {
    /// One for each entry that was applied, in order.
    pub results: Vec<Bytes>,
    /// Why the entry after those was not.
    pub failure: Option<MachineError>,
}

/// One node's state. All calls come one after the other.
pub trait Machine: Send {
    /// Applies commands in log order.
    fn apply(&mut self, entries: &[Entry]) -> Results;

    /// Answers a query.
    ///
    /// # Errors
    /// Only this query fails.
    fn read(&mut self, query: &[u8]) -> Result<Bytes, MachineError>;

    /// The whole state.
    ///
    /// # Errors
    /// No snapshot is made.
    fn snapshot(&mut self) -> Result<Vec<u8>, MachineError>;

    /// Replaces the whole state.
    ///
    /// # Errors
    /// Apply stops.
    fn restore(&mut self, state: &[u8]) -> Result<(), MachineError>;

    /// A number that equal states have in common and others have not. Asked after every batch.
    fn digest(&mut self) -> u64;
}

/// Makes machines: an empty one for every start of a node.
pub trait Machines {
    /// A new one.
    fn make(&mut self, node: NodeId) -> Box<dyn Machine>;

    /// A command that a client may give, and how it is read: `None` for registers, whose commands the world makes itself.
    fn workload(&mut self) -> Option<Box<dyn Workload>> {
        None
    }
}

/// What clients ask of a machine that is not the built-in one.
pub trait Workload {
    /// The next thing that a client asks. `number` is any number, drawn from the seed.
    fn next(&mut self, client: u64, number: u64) -> Wish;
}

/// One thing to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To be applied.
    Command(Bytes),
    /// To be answered.
    Query(Bytes),
}

/// Registers, each a number; a command sets one and gives what it held before.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    values: BTreeMap<u64, u64>,
    digest: u64,
    /// Whose they are, which nothing may depend on.
    own: NodeId,
}

/// Bytes behind each register in a snapshot, so that one needs several chunks.
const FILLER: usize = 1_008;

/// Makes registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisterMachines;

impl Machines for RegisterMachines {
    fn make(&mut self, node: NodeId) -> Box<dyn Machine> {
        Box::new(Registers { own: node, ..Registers::default() })
    }
}

/// The command that puts `value` into `key`; `padding` more bytes make it larger.
#[must_use]
pub fn write_command(key: u64, value: u64, padding: usize) -> Vec<u8> {
    let mut command = Vec::with_capacity(16 + padding);
    command.extend_from_slice(&key.to_le_bytes());
    command.extend_from_slice(&value.to_le_bytes());
    command.resize(16 + padding, 0xa5);
    command
}

/// The number in the first eight bytes; 0 if they are not there.
#[must_use]
pub fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn mixed(key: u64, value: u64) -> u64 {
    let mixed = (key ^ value.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Registers {
    fn put(&mut self, key: u64, value: u64) -> u64 {
        if mutants::on("31-parts-ways") && self.values.len() > 3 && value % 16 == 3 && self.own % 2 == 1 {
            return 0;
        }
        let before = self.values.insert(key, value);
        if let Some(before) = before {
            self.digest = self.digest.wrapping_sub(mixed(key, before));
        }
        self.digest = self.digest.wrapping_add(mixed(key, value));
        before.unwrap_or(0)
    }
}

impl Machine for Registers {
    fn apply(&mut self, entries: &[Entry]) -> Results {
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            let payload = entry.payload();
            let (Some(key), Some(value)) = (payload.get(..8), payload.get(8..16)) else {
                let why = format!("entry {} is no command of registers", entry.id());
                return Results { results, failure: Some(MachineError(why)) };
            };
            let before = self.put(number(key), number(value));
            results.push(Bytes::copy_from_slice(&before.to_le_bytes()));
        }
        Results { results, failure: None }
    }

    fn read(&mut self, query: &[u8]) -> Result<Bytes, MachineError> {
        let mut value = self.values.get(&number(query)).copied().unwrap_or(0);
        if mutants::on("14-older-value") && value > 100 {
            value -= 100;
        }
        Ok(Bytes::copy_from_slice(&value.to_le_bytes()))
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, MachineError> {
        let mut state = Vec::with_capacity(self.values.len() * (16 + FILLER));
        for (key, value) in &self.values {
            state.extend_from_slice(&key.to_le_bytes());
            state.extend_from_slice(&value.to_le_bytes());
            state.resize(state.len() + FILLER, 0x5a);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), MachineError> {
        let (pairs, rest) = state.as_chunks::<{ 16 + FILLER }>();
        if !rest.is_empty() {
            return Err(MachineError(format!("{} bytes are no registers", state.len())));
        }
        *self = Self { own: self.own, ..Self::default() };
        let kept = pairs.len() - usize::from(mutants::on("27-forgets-a-register") && pairs.len() > 1);
        for pair in &pairs[..kept] {
            self.put(number(&pair[..8]), number(&pair[8..16]));
        }
        Ok(())
    }

    fn digest(&mut self) -> u64 {
        self.digest
    }
}
