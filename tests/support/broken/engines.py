"""Broken engines, hard states and disks."""

import threading
from typing import ClassVar

from d_engine import DirectoryLockedError, HardState, LogId, StorageError
from support.broken.storage_model import NODES, Model, fails


@fails("load_of_nothing")
class StartsWithAState(Model):
    def load(self):
        return super().load() or HardState(0, None)


@fails("load_gives_what_was_saved")
class LoadsOnce(Model):
    cached = False

    def load(self):
        if not self.cached:
            self.cached, self.first = True, super().load()
        return self.first


@fails("save_replaces")
class SavesOnce(Model):
    def save(self, state):
        if self.state.hard_state is None or state.vote is None or state.term == self.state.hard_state.term:
            super().save(state)


@fails("a_new_term_has_no_vote")
class KeepsTheOldVote(Model):
    def save(self, state):
        held = self.state.hard_state
        super().save(state if state.vote is not None or held is None else HardState(state.term, held.vote))


@fails("a_vote_in_the_same_term")
class SavesNewTermsOnly(Model):
    def save(self, state):
        if self.state.hard_state is None or state.term > self.state.hard_state.term:
            super().save(state)


@fails("large_hard_state")
class VotesAreFloats(Model):
    def load(self):
        state = super().load()
        return state and HardState(state.term, state.vote and int(float(state.vote)))


@fails("the_log_leaves_the_hard_state_alone")
class ResetClearsTheHardState(Model):
    def reset(self, upto):
        super().reset(upto)
        self.state.hard_state = None


@fails("save_leaves_the_log_alone")
class ANewTermClearsTheLog(Model):
    def save(self, state):
        if state.vote is None:
            self.state.records = self.state.records[:1]
        super().save(state)


@fails("calls_from_other_threads", *NODES)
class OneThreadOnly(Model):
    def open(self, identity):
        self.thread = threading.get_ident()
        return super().open(identity)

    def sync(self, what):
        if threading.get_ident() != self.thread and what != "close":
            raise StorageError("another thread")
        super().sync(what)


# --- engine --------------------------------------------------------------------------------------------------------------


@fails("the_first_open_stores_the_identity")
class DrawsItsOwnIncarnation(Model):
    def open(self, identity):
        return super().open(identity._replace(incarnation=b"drawn here......"))


@fails("the_stored_identity_holds", "a_node_runs_on_it", "a_node_goes_on_from_a_snapshot")
class TheNewestIncarnationHolds(Model):
    def open(self, identity):
        stored = super().open(identity)
        return stored._replace(incarnation=identity.incarnation)


@fails("every_field_of_the_identity_is_kept")
class NamesAreAscii(Model):
    def open(self, identity):
        stored = super().open(identity)
        return stored._replace(cluster=stored.cluster.encode("ascii", "replace").decode())


@fails("the_identity_is_durable_on_return")
class IdentityIsWrittenAtClose(Model):
    def sync(self, what):
        if what == "close":
            super().sync(what)
        elif what != "identity":
            identity, self.state.identity = self.state.identity, None
            super().sync(what)
            self.state.identity = identity


@fails("open_twice_is_refused")
class NoLock(Model):
    def open(self, identity):
        self.disk.owner = None
        return super().open(identity)


@fails("a_refused_open_disturbs_nothing")
class ARefusalBreaksTheLock(Model):
    def open(self, identity):
        try:
            return super().open(identity)
        except DirectoryLockedError:
            self.disk.owner = None
            raise


@fails(
    "close_gives_it_free",
    "the_stored_identity_holds",
    "every_field_of_the_identity_is_kept",
    "records_outlive_a_restart",
    "the_hard_state_outlives_a_restart",
    "the_purge_outlives_a_restart",
    "a_truncation_outlives_a_restart",
    "a_reset_outlives_a_restart",
    "append_is_one_unit",
    "snapshots_outlive_a_restart",
    *NODES,
)
class KeepsItsLock(Model):
    def open(self, identity):
        if self.disk.owner is self:
            self.disk.owner = None
        return super().open(identity)

    def close(self):
        super().close()
        self.disk.owner = self


@fails("open_may_follow_close")
class OpensOnce(Model):
    used = False

    def open(self, identity):
        if self.used:
            raise StorageError("it was closed")
        self.used = True
        return super().open(identity)


@fails("close_is_idempotent")
class ClosesOnce(Model):
    def close(self):
        if not self.opened:
            raise StorageError("it is closed")
        super().close()


@fails("close_on_another_thread", *NODES)
class ClosesWhereItWasOpened(Model):
    def open(self, identity):
        self.thread = threading.get_ident()
        return super().open(identity)

    def close(self):
        if self.opened and threading.get_ident() != self.thread:
            raise StorageError("another thread")
        super().close()


@fails("two_paths_are_two_storages")
class OneForAll(Model):
    """Whatever is opened beside another one gets what that one has."""

    open_ones: ClassVar[list] = []

    def open(self, identity):
        found = super().open(identity)
        if self.open_ones and not self.state.records:
            self.state.records = list(self.open_ones[-1].state.records)
            self.state.hard_state = self.open_ones[-1].state.hard_state
        self.open_ones.append(self)
        return found

    def close(self):
        super().close()
        if self in self.open_ones:
            self.open_ones.remove(self)


# --- disk --------------------------------------------------------------------------------------------------------------------


class Buffered(Model):
    """Does not write some of its changes before it is closed."""

    late = ()

    def sync(self, what):
        if what not in self.late:
            super().sync(what)


class Forgetful(Model):
    """Loses a part of what was there at close."""

    def sync(self, what):
        if what == "close":
            self.forget()
        super().sync(what)


@fails("records_outlive_a_restart", "a_truncation_outlives_a_restart", "append_is_one_unit", "a_node_runs_on_it")
class RecordsInMemory(Forgetful):
    def forget(self):
        if not self.state.purged.index:
            self.state.records = self.state.records[:0]


@fails("the_hard_state_outlives_a_restart")
class HardStateInMemory(Forgetful):
    def forget(self):
        self.state.hard_state = None


@fails("the_purge_outlives_a_restart", "a_reset_outlives_a_restart")
class PurgeInMemory(Forgetful):
    def forget(self):
        if not self.state.records:
            self.state.purged = LogId(0, 0)


@fails("a_truncation_outlives_a_restart")
class TruncationInMemory(Forgetful):
    tail = ()

    def truncate(self, index):
        before = list(self.state.records)
        super().truncate(index)
        self.tail = before[len(self.state.records) :]

    def forget(self):
        behind = [record for record in self.tail if record.index > self.last().index]
        self.state.records.extend(behind)


@fails("a_reset_outlives_a_restart")
class ResetInMemory(Forgetful):
    before = None

    def reset(self, upto):
        if self.state.records:
            self.before = self.state.purged, list(self.state.records)
        super().reset(upto)

    def forget(self):
        if self.before is not None:
            self.state.purged, self.state.records = self.before


@fails("append_is_durable_on_return", "every_append_is_durable_on_return")
class AppendsAreWrittenAtClose(Buffered):
    late = ("append",)


@fails("every_append_is_durable_on_return")
class EveryOtherAppendIsWritten(Model):
    appends = 0

    def sync(self, what):
        self.appends += what == "append"
        if what != "append" or self.appends % 2:
            super().sync(what)


@fails("truncation_is_durable_on_return")
class TruncationsAreWrittenAtClose(Buffered):
    late = ("truncate",)


@fails("purge_is_durable_on_return")
class PurgesAreWrittenAtClose(Buffered):
    late = ("purge",)


@fails("reset_is_durable_on_return")
class ResetsAreWrittenAtClose(Buffered):
    late = ("reset",)


@fails("save_is_durable_on_return")
class VotesAreWrittenAtClose(Buffered):
    late = ("save",)


@fails("append_is_one_unit")
class InsertsOneByOne(Model):
    def taken(self, records):
        return records

    def insert(self, records):
        for record in records:
            self.state.records.append(record)
            self.sync("append")


# --- with a node on top ----------------------------------------------------------------------------------------------------------


@fails(
    "a_node_runs_on_it",
    "a_node_goes_on_from_a_snapshot",
    "a_node_of_another_id_is_refused",
    "a_node_of_another_cluster_is_refused",
)
class ReadsTheRecords(Model):
    """Takes what is in a record for its own business: the fifth byte says what kind of entry it is."""

    def stored(self, record):
        if record.data[4] != 1:
            raise StorageError("this is no command")
        return record


@fails("a_node_goes_on_from_a_snapshot")
class RefusesSingleBytes(Model):
    class snapshots(Model.snapshots):
        class writer(Model.snapshots.writer):
            def write(self, offset, data):
                if len(data) == 1:
                    raise StorageError("one byte is no piece")
                super().write(offset, data)


@fails("a_node_of_another_id_is_refused")
class OneIdentityANode(Model):
    def open(self, identity):
        stored = super().open(identity)
        return stored._replace(node_id=identity.node_id)


@fails("a_node_of_another_cluster_is_refused")
class OneIdentityACluster(Model):
    def open(self, identity):
        stored = super().open(identity)
        return stored._replace(cluster=identity.cluster)
