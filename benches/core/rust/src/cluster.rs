//! What both systems are made to do.

/// Members of the cluster.
pub const MEMBERS: usize = 3;
/// Bytes of an entry.
pub const PAYLOAD: usize = 256;
/// Entries that the log in memory keeps; twice as many at most.
pub const KEPT: usize = 4096;

/// Three cores and the loop around them.
pub trait Cluster {
    /// Proposes so many entries at once and runs until all of them are applied on all members.
    fn commit(&mut self, proposals: &mut Proposals, batch: usize);

    /// Calls into the cores so far.
    fn calls(&self) -> u64;

    /// What the three state machines have seen.
    fn applied(&self) -> [Applied; MEMBERS];

    /// Whether every member has applied exactly what was proposed, in order.
    fn check(&self, proposals: &Proposals) {
        for applied in self.applied() {
            assert_eq!((applied.count, applied.digest), (proposals.made, proposals.digest), "all entries, in order");
        }
    }
}

/// Makes payloads, each with a number of its own.
#[derive(Default)]
pub struct Proposals {
    made: u64,
    digest: u64,
    payload: Payload,
}

struct Payload([u8; PAYLOAD]);

impl Default for Payload {
    fn default() -> Self {
        Self([b'.'; PAYLOAD])
    }
}

impl Proposals {
    /// How many there were.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// The next one.
    pub fn next(&mut self) -> &[u8; PAYLOAD] {
        self.made += 1;
        self.digest = digest(self.digest, self.made);
        self.payload.0[..8].copy_from_slice(&self.made.to_le_bytes());
        &self.payload.0
    }
}

/// A state machine: remembers how many commands it has seen and in which order.
#[derive(Clone, Copy, Default)]
pub struct Applied {
    count: u64,
    digest: u64,
}

impl Applied {
    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The next command.
    pub fn apply(&mut self, payload: &[u8]) {
        let mut number = [0; 8];
        number.copy_from_slice(&payload[..8]);
        self.count += 1;
        self.digest = digest(self.digest, u64::from_le_bytes(number));
    }
}

const fn digest(before: u64, number: u64) -> u64 {
    (before ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
