//! Counters since start. Relaxed: each is exact, together they are no snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The node's own counters.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub(crate) $name: AtomicU64,)+
        }

        /// Their values at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Reads all.
            #[must_use]
            pub fn read(&self) -> Metrics {
                Metrics { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl Metrics {
            /// All of them by name.
            #[must_use]
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    /// Calls of `propose`.
    proposals,
    /// Entries in them.
    proposed_entries,
    /// Entries passed on to a leader.
    forwarded_entries,
    /// Calls refused because too much was waiting.
    overloaded,
    /// Proposals and reads that ended at their deadline.
    expired,
    /// Calls of the state machine's `apply`.
    apply_batches,
    /// Entries given to it.
    applied_entries,
    /// Their bytes.
    applied_bytes,
    /// Entries of sessions that had been applied before, and were not applied again.
    repeated_entries,
    /// Sessions known (now).
    sessions,
    /// Batches written to the log: `LogStore.append` calls of a plugin.
    log_appends,
    /// Entries in them.
    log_append_entries,
    /// Bytes in them.
    log_append_bytes,
    /// Waits for the log's disk.
    log_syncs,
    /// Microseconds spent in them.
    log_sync_micros,
    /// Reads of the log for followers or for apply.
    log_reads,
    /// Queries, reads and barriers.
    reads,
    /// Core reads made for them.
    read_rounds,
    /// Steps of the core.
    core_steps,
    /// Times that the core thread woke up.
    core_wakeups,
    /// Elections that this node began.
    elections,
    /// Terms in which this node led.
    leaderships,
    /// Changes of term seen.
    term_changes,
    /// Core messages given to the transport.
    messages_sent,
    /// Core messages received.
    messages_received,
    /// Frames given to the transport, by lane.
    frames_sent_control,
    /// Frames given to the transport, by lane.
    frames_sent_data,
    /// Frames given to the transport, by lane.
    frames_sent_bulk,
    /// Frames received, by lane.
    frames_received_control,
    /// Frames received, by lane.
    frames_received_data,
    /// Frames received, by lane.
    frames_received_bulk,
    /// Entry and snapshot bytes given to the transport.
    bytes_sent,
    /// Snapshot bytes given to the transport.
    bytes_sent_bulk,
    /// Entry and snapshot bytes received.
    bytes_received,
    /// Snapshot bytes received.
    bytes_received_bulk,
    /// Frames dropped because a queue of this node was full.
    messages_dropped,
    /// Frames that the transport could not send.
    send_errors,
    /// Frames that were garbage, or for somebody else.
    invalid_messages,
    /// Snapshots made here.
    snapshots_taken,
    /// Snapshots that could not be made.
    snapshots_failed,
    /// Snapshots that a follower took from here.
    snapshots_sent,
    /// Snapshots received and restored.
    snapshots_installed,
    /// Entries waiting in the apply queue (now).
    apply_queue,
    /// Bytes waiting in the log queue (now).
    log_queue_bytes,
    /// Bytes of received frames waiting for the core (now).
    inbox_bytes,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(crate) fn count(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

pub(crate) fn set(counter: &AtomicU64, value: usize) {
    counter.store(value as u64, Ordering::Relaxed);
}
