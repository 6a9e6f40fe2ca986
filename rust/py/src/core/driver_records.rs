//! The records of `d_engine.pure.driver`, which share some of their names with the core's.

use super::records::records;

records! {
    /// The records of the driver.
    DriverRecord of "d_engine.pure.driver" {
        DriverSettings(
            id, forward, max_forward_bytes, read_retry, refusal_pause, snapshot_every_entries, snapshot_every_bytes,
            trailing_entries, snapshot_pin_bytes, pin_grace
        ),
        DriverStart(applied, snapshot, purged, ids_after),
        // inputs
        Receive(message),
        Propose(draft, waiter, deadline),
        Read(waiter, deadline, consistency),
        Change(changes, waiter, deadline),
        Transfer(to, waiter, deadline),
        Snapshot(waiter, deadline, applied),
        Persisted(token),
        PersistFailed(token),
        Fetched(id, entries),
        Applied(last, bytes),
        ApplyStopped(),
        SnapshotTaken(last),
        SnapshotFailed(),
        SnapshotReceived(sender, term, last, time, configuration),
        SnapshotSent(to, delivered),
        Unreachable(node),
        Close(handover, drain_until),
        // failures
        NotLeader(leader, term),
        Refused(why),
        ChangeRefused(why),
        Overwritten(at, by),
        TooLargeToForward(size, limit),
        Unknown(why, at),
        // actions
        More(),
        Last(waiter),
        Cut(waiter, failure),
        Wanted(start, stop, id, deadline, piece),
        Apply(entries, wanted),
        Query(waiter, index),
        TakeSnapshot(),
        FailProposal(id, waiter, failure),
        FailRead(waiter, failure),
        EndSnapshot(waiter, result),
        EndChange(waiter, result),
        EndTransfer(waiter, result),
        Forwarded(to, entries),
        ReadRound(),
    }
}
