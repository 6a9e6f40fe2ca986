//! A node's settings: the Rust side of the public `Config`.

use std::time::Duration;

use d_engine_raft::{Configuration, Draft, EntryKind, HEADER_BYTES, Member, MemberRole, Micros, NodeId, Settings};

use crate::driver::{DriverSettings, Limits};
use crate::error::NodeError;

/// The largest `max_entry_bytes`: an entry must fit into one frame of 1 MiB together with its header.
pub const MAX_ENTRY_BYTES: usize = (1 << 20) - (4 << 10);

/// Everything that can be set on a node. The defaults suit one local network.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The cluster's name, stored at first start and checked at every later one.
    pub cluster: String,
    /// Between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Shortest and longest election timeout.
    pub election_timeout: (Duration, Duration),
    /// How much a clock may run fast or slow, as a fraction.
    pub drift_bound: f64,
    /// How long a call waits if it does not say.
    pub request_timeout: Duration,
    /// Age of the oldest unanswered storage request at which a leader gives up.
    pub storage_stall_timeout: Duration,
    /// Whether a follower passes proposals on to the leader.
    pub forward: bool,
    /// Whether addresses beyond the loopback may be used without TLS.
    pub insecure: bool,
    /// Largest payload of one entry.
    pub max_entry_bytes: usize,
    /// Append messages in flight to one follower.
    pub max_inflight_messages: usize,
    /// Bytes in flight to one follower.
    pub max_inflight_bytes: usize,
    /// Bytes that a leader holds and no quorum has.
    pub max_uncommitted_bytes: usize,
    /// A snapshot after that many entries; 0: not by number.
    pub snapshot_every_entries: u64,
    /// A snapshot after that many bytes of entries; 0: not by size.
    pub snapshot_every_bytes: u64,
    /// Entries kept in the log behind the newest snapshot.
    pub trailing_entries: u64,
    /// Bytes of log that a running snapshot transfer may keep from being purged.
    pub snapshot_pin_bytes: u64,
    /// Bytes of snapshots sent in a second to all followers together; 0: as many as go.
    pub snapshot_bytes_per_second: u64,
    /// Sessions kept.
    pub max_sessions: usize,
    /// A session unused for so long, by entry times, is dropped.
    pub session_ttl: Duration,
    /// Bytes of results kept for the repetition of sessions' proposals.
    pub max_session_bytes: u64,
    /// Size of one file of the native log.
    pub segment_bytes: u64,
    /// Payload bytes of one append message, unless a single entry is larger.
    pub max_append_bytes: usize,
    /// Calls waiting on this node at once (proposals and reads).
    pub max_waiting_calls: usize,
    /// Bytes of proposals on their way into the log of this node or of the leader.
    pub max_waiting_bytes: usize,
    /// Entries handed to the state machine in one call.
    pub max_apply_entries: usize,
    /// Bytes handed to the state machine in one call.
    pub max_apply_bytes: usize,
    /// Bytes written to the log before one sync.
    pub max_sync_bytes: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            cluster: "default".into(),
            heartbeat_interval: Duration::from_millis(50),
            election_timeout: (Duration::from_millis(250), Duration::from_millis(500)),
            drift_bound: 0.05,
            request_timeout: Duration::from_secs(5),
            storage_stall_timeout: Duration::from_secs(15),
            forward: true,
            insecure: false,
            max_entry_bytes: 960 << 10,
            max_inflight_messages: 16,
            max_inflight_bytes: 4 << 20,
            max_uncommitted_bytes: 64 << 20,
            snapshot_every_entries: 100_000,
            snapshot_every_bytes: 256 << 20,
            trailing_entries: 10_000,
            snapshot_pin_bytes: 1 << 30,
            snapshot_bytes_per_second: 0,
            max_sessions: 10_000,
            session_ttl: Duration::from_secs(3600),
            max_session_bytes: 16 << 20,
            segment_bytes: 64 << 20,
            max_append_bytes: 256 << 10,
            max_waiting_calls: 65_536,
            max_waiting_bytes: 64 << 20,
            max_apply_entries: 8_192,
            max_apply_bytes: 8 << 20,
            max_sync_bytes: 8 << 20,
        }
    }
}

impl NodeConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// `NodeError::Config` with all problems at once.
    pub fn validate(&self) -> Result<(), NodeError> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, problem: String| {
            if !fine {
                problems.push(problem);
            }
        };
        let (shortest, longest) = self.election_timeout;
        check(!self.cluster.is_empty(), "cluster must not be empty".into());
        check(
            self.heartbeat_interval >= Duration::from_millis(1),
            format!("heartbeat_interval must be at least 1 ms, not {:?}", self.heartbeat_interval),
        );
        check(
            shortest >= self.heartbeat_interval.saturating_mul(2),
            format!(
                "the shortest election_timeout ({shortest:?}) must be at least twice heartbeat_interval ({:?})",
                self.heartbeat_interval
            ),
        );
        check(
            longest > shortest,
            format!(
                "election_timeout must be (shortest, longest) with a span to draw from, not ({shortest:?}, {longest:?})"
            ),
        );
        check(
            (0.0..0.5).contains(&self.drift_bound),
            format!("drift_bound must be at least 0 and below 0.5, not {}", self.drift_bound),
        );
        check(!self.request_timeout.is_zero(), "request_timeout must not be zero".into());
        check(
            self.storage_stall_timeout > longest,
            format!("storage_stall_timeout ({:?}) must be longer than an election timeout", self.storage_stall_timeout),
        );
        check(
            (1..=MAX_ENTRY_BYTES).contains(&self.max_entry_bytes),
            format!("max_entry_bytes must be 1 to {MAX_ENTRY_BYTES}, not {}", self.max_entry_bytes),
        );
        for (name, size) in [
            ("max_inflight_messages", self.max_inflight_messages),
            ("max_inflight_bytes", self.max_inflight_bytes),
            ("max_append_bytes", self.max_append_bytes),
            ("max_waiting_calls", self.max_waiting_calls),
            ("max_apply_entries", self.max_apply_entries),
            ("max_apply_bytes", self.max_apply_bytes),
            ("max_sync_bytes", self.max_sync_bytes),
            ("max_sessions", self.max_sessions),
        ] {
            check(size > 0, format!("{name} must not be zero"));
        }
        for (name, size) in
            [("max_uncommitted_bytes", self.max_uncommitted_bytes), ("max_waiting_bytes", self.max_waiting_bytes)]
        {
            check(size >= self.max_entry_bytes, format!("{name} ({size}) must hold one entry of max_entry_bytes"));
        }
        check(!self.session_ttl.is_zero(), "session_ttl must not be zero".into());
        check(
            self.snapshot_bytes_per_second == 0 || self.snapshot_bytes_per_second >= 64 << 10,
            format!(
                "snapshot_bytes_per_second must be 0 (no limit) or at least 65536, not {}",
                self.snapshot_bytes_per_second
            ),
        );
        check(
            self.segment_bytes >= 64 << 10,
            format!("segment_bytes must be at least 65536, not {}", self.segment_bytes),
        );
        if problems.is_empty() { Ok(()) } else { Err(NodeError::Config(problems)) }
    }

    /// A proposal that opens a session within these limits.
    #[must_use]
    pub fn session_draft(&self) -> Draft {
        let limits = Limits {
            ttl: micros(self.session_ttl),
            max_sessions: self.max_sessions as u64,
            max_bytes: self.max_session_bytes,
        };
        let mut draft = Draft::default();
        draft.push(EntryKind::Session, &limits.encode());
        draft
    }

    /// What the protocol core needs of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            heartbeat_interval: micros(self.heartbeat_interval),
            election_timeout: (micros(self.election_timeout.0), micros(self.election_timeout.1)),
            drift_ppm: drift_ppm(self.drift_bound),
            storage_stall_timeout: micros(self.storage_stall_timeout),
            max_append_bytes: self.max_append_bytes,
            max_inflight_messages: self.max_inflight_messages,
            max_inflight_bytes: self.max_inflight_bytes,
            max_uncommitted_bytes: self.max_uncommitted_bytes,
            tail_bytes: 32 << 20,
            max_applying_bytes: 16 << 20,
        }
    }

    /// What the driver of that node needs of it.
    #[must_use]
    pub fn driver_settings(&self, id: NodeId) -> DriverSettings {
        DriverSettings {
            id,
            forward: self.forward,
            max_forward_bytes: MAX_ENTRY_BYTES + HEADER_BYTES,
            read_retry: micros(self.election_timeout.0),
            refusal_pause: micros(self.heartbeat_interval),
            snapshot_every_entries: self.snapshot_every_entries,
            snapshot_every_bytes: self.snapshot_every_bytes,
            trailing_entries: self.trailing_entries,
            snapshot_pin_bytes: self.snapshot_pin_bytes,
            pin_grace: 10_000_000,
        }
    }

    /// The configuration at index 0 of a new cluster.
    ///
    /// # Errors
    /// `NodeError::Config`: the members are empty, not distinct, or `id` is not among them.
    pub fn initial_configuration(&self, id: NodeId, mut members: Vec<Member>) -> Result<Configuration, NodeError> {
        members.sort_by_key(|member| member.id);
        let mut problems = Vec::new();
        if members.is_empty() {
            problems.push("peers must not be empty".to_owned());
        } else if !members.iter().any(|member| member.id == id) {
            let known: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
            problems.push(format!("peers ({}) must name this node ({id}) too", known.join(", ")));
        }
        for pair in members.windows(2) {
            if pair[0].id == pair[1].id {
                problems.push(format!("peers name node {} twice", pair[0].id));
            }
        }
        for (at, member) in members.iter().enumerate() {
            if member.id == 0 {
                problems.push("a node's number must be at least 1".to_owned());
            }
            if let Some(other) = members[..at].iter().find(|other| other.address == member.address) {
                problems.push(format!("nodes {} and {} have one address: {}", other.id, member.id, member.address));
            }
        }
        if !members.is_empty() && members.iter().all(|member| member.role != MemberRole::Voter) {
            problems.push("peers need at least one voter".to_owned());
        }
        if problems.is_empty() {
            Ok(Configuration { members, outgoing: Vec::new(), min_election_timeout: micros(self.election_timeout.0) })
        } else {
            Err(NodeError::Config(problems))
        }
    }
}

/// A span in the core's unit; beyond half a million years it is cut.
#[must_use]
pub fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "validated to lie in 0..0.5")]
fn drift_ppm(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 0.5) * 1e6).round() as u64
}
