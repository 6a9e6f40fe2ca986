"""A core with everything that a node decides around it: inputs in, actions out, the same for the same inputs.

A runtime hands in everything that happened since its last turn, each with `handle`, then calls `flush` once: proposals and
reads that came together make one step of the core each, and what is due fires after what was queued. Actions are carried
out in their order and never waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from d_engine.pure import input as core

from .changes import Changes
from .close import Closing, close_when_drained, fail_everything
from .digest import digest
from .effects import carry
from .policy import Policy
from .proposals import Proposals
from .reads import Reads
from .transfers import Transfers
from .types import (
    Applied,
    ApplyStopped,
    Change,
    Close,
    EndChange,
    EndSnapshot,
    EndTransfer,
    FailProposal,
    FailRead,
    Fetched,
    NotLeader,
    Persisted,
    PersistFailed,
    Propose,
    Query,
    Read,
    ReadRound,
    Receive,
    Snapshot,
    SnapshotFailed,
    SnapshotReceived,
    SnapshotSent,
    SnapshotTaken,
    Transfer,
    Unreachable,
)

if TYPE_CHECKING:
    from d_engine.pure.types import LogId, Role

    from .types import Action, DriverInput, DriverSettings, DriverStart, Failure, Raft

_Handler: TypeAlias = "Callable[[Driver, int, int, Any, list[Action]], None]"


class Driver:
    """Decides what waits for what, without threads, clocks or I/O."""

    __slots__ = (
        "applied",
        "apply_stopped",
        "changes",
        "closing",
        "core",
        "failed",
        "handed",
        "last_id",
        "policy",
        "proposals",
        "reads",
        "removed",
        "settings",
        "transfers",
    )

    def __init__(self, core: Raft, settings: DriverSettings, start: DriverStart) -> None:
        """Around a core that was just made."""
        self.core: Final = core
        self.settings: Final = settings
        self.proposals: Final = Proposals()
        self.reads: Final = Reads()
        self.policy: Final = Policy(settings, start)
        self.changes: Final = Changes()
        self.transfers: Final = Transfers()
        self.closing: Final = Closing()
        self.last_id = start.ids_after
        # The last index given out in an `Apply`, or covered by a `Restore`.
        self.handed = start.applied.index
        # What the state machine has reported.
        self.applied: LogId = start.applied
        self.apply_stopped = False
        self.failed = False
        self.removed = False  # this node is no member any more

    @property
    def ready(self) -> bool:
        """A leader is known, and an entry of its term is applied here."""
        return self.core.leader is not None and self.applied.term == self.core.term

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do."""
        return self.closing.done

    @property
    def waiting(self) -> int:
        """Calls that wait in here."""
        return len(self.proposals) + len(self.reads) + len(self.changes) + len(self.transfers)

    def position(self) -> tuple[Role, int, int | None]:
        """What this node is, its term, and whom it follows."""
        return self.core.role, self.core.term, self.core.leader

    def handle(self, now: int, wall: int, input: DriverInput) -> list[Action]:  # noqa: A002
        """Takes in one thing that happened."""
        out: list[Action] = []
        self._HANDLERS[type(input)](self, now, wall, input, out)
        return out

    def flush(self, now: int, wall: int) -> list[Action]:
        """Ends a turn: steps what has been collected, then fires what is due."""
        out: list[Action] = []
        self._ask(now, wall, out)
        due = self.core.deadline()
        if due is not None and due <= now:
            self.step(now, core.Time(now, wall), out)
            # A timer may have made this node a leader, and what waits for one must not wait for the next wake-up.
            self._ask(now, wall, out)
        self._expire(now, out)
        close_when_drained(self, now, out)
        return out

    def deadline(self) -> int | None:
        """When `flush` must be called at the latest."""
        leader_known = self.core.leader is not None
        own = (
            self.core.deadline(),
            self.proposals.deadline(self._applying(), leader_known=leader_known and not self._giving_away()),
            self.reads.deadline(leader_known=leader_known),
            self.policy.deadline(),
            self.changes.deadline(leader_known=leader_known),
            self.transfers.deadline(),
            self.closing.deadline(),
        )
        return min((due for due in own if due is not None), default=None)

    def fail_everything(self) -> list[Action]:
        """Ends every call that waits in here; for a node that stops without closing its core."""
        out: list[Action] = []
        fail_everything(self, out)
        return out

    def digest(self) -> bytes:
        """SHA-256 over everything that the driver and its core decide by; for comparing, not for keeping."""
        return digest(self)

    # --- for the modules beside this one -----------------------------------------------------------------------------------

    def step(self, now: int, told: core.Input, out: list[Action]) -> None:
        """Steps the core, and carries out what it wants."""
        for effect in self.core.step(told):
            carry(self, now, effect, out)

    def _applying(self) -> int:
        """Entries that the state machine was given and has not reported."""
        return max(self.handed - self.applied.index, 0)

    def _next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def _refuses(self) -> Failure | None:
        """Why nothing new is taken in, if so."""
        if self.closing.refuses:
            return "closed"
        return "removed" if self.removed else None

    def _ask(self, now: int, wall: int, out: list[Action]) -> None:
        self._propose(now, wall, out)
        self._ask_changes(now, wall, out)
        self._ask_reads(now, lease=False, out=out)
        self._ask_reads(now, lease=True, out=out)

    def _propose(self, now: int, wall: int, out: list[Action]) -> None:
        if not self.proposals.can_ask(now, self._applying()):
            return
        leader = self.core.leader
        if leader is None:
            return
        here = leader == self.settings.id
        if self._giving_away():
            # It would be refused; who leads then takes it.
            return
        if self.apply_stopped and here:
            # Its own result could never be given; the core refuses for everybody else by itself.
            self.proposals.fail_held("apply_stopped", out)
            return
        if not here and not self.settings.forward:
            self.proposals.fail_held(NotLeader(leader, self.core.term), out)
            return
        limit = None if here else self.settings.max_forward_bytes
        self.last_id, batches = self.proposals.ask(self.last_id, limit, out)
        if batches:
            self.step(now, core.Propose(now, wall, tuple(batches)), out)

    def _giving_away(self) -> bool:
        """The user gives leadership away just now."""
        return len(self.transfers) > 0 and self.core.leader == self.settings.id

    def _ask_changes(self, now: int, wall: int, out: list[Action]) -> None:
        while self.changes.can_ask(now):
            leader = self.core.leader
            if leader is None:
                return
            if self.apply_stopped:
                # Nobody here would see the change through.
                self.changes.fail_held("apply_stopped", out)
                return
            if leader != self.settings.id and not self.settings.forward:
                self.changes.fail_held(NotLeader(leader, self.core.term), out)
                return
            request = self._next_id()
            self.step(now, core.ChangeMembers(now, wall, request, self.changes.ask(request)), out)

    def _ask_reads(self, now: int, *, lease: bool, out: list[Action]) -> None:
        if self.core.leader is not None and self.reads.can_ask(now, lease=lease):
            request = self._next_id()
            self.reads.ask(request, now + self.settings.read_retry, lease=lease)
            out.append(ReadRound())
            self.step(now, core.Read(now, request, lease), out)

    def _expire(self, now: int, out: list[Action]) -> None:
        self.proposals.expire(now, self.core.term, out)
        self.reads.expire(now, out)
        self.policy.expire(now, out)
        self.changes.expire(now, self.core.term, out)
        self.transfers.expire(now, out)
        if self.policy.grace_is_over(now):
            self._purge(now, out)

    def _purge(self, now: int, out: list[Action]) -> None:
        upto = self.policy.purge(now, self.core.matched)
        if upto is not None:
            self.step(now, core.Purge(now, upto), out)

    # --- inputs ------------------------------------------------------------------------------------------------------------

    def _receive(self, now: int, wall: int, told: Receive, out: list[Action]) -> None:
        self.step(now, core.Receive(now, wall, told.message), out)

    def _hold(self, now: int, _wall: int, told: Propose, out: list[Action]) -> None:
        failure = self._refuses()
        if failure is not None:
            out.append(FailProposal(None, told.waiter, failure))
        else:
            self.proposals.hold(now, self._applying(), told.draft, told.waiter, told.deadline)

    def _read(self, _now: int, _wall: int, told: Read, out: list[Action]) -> None:
        if told.consistency == "eventual":
            out.append(Query(told.waiter, 0))
            return
        failure = self._refuses()
        if failure is not None:
            out.append(FailRead(told.waiter, failure))
        else:
            self.reads.wait(told.waiter, told.deadline, lease=told.consistency == "lease")

    def _change(self, _now: int, _wall: int, told: Change, out: list[Action]) -> None:
        failure = self._refuses()
        if failure is not None:
            out.append(EndChange(told.waiter, failure))
        else:
            self.changes.hold(told.changes, told.waiter, told.deadline)

    def _transfer(self, now: int, _wall: int, told: Transfer, out: list[Action]) -> None:
        failure = self._refuses()
        if failure is not None:
            out.append(EndTransfer(told.waiter, failure))
        elif told.to == self.settings.id and self.core.leader == told.to:
            out.append(EndTransfer(told.waiter, self.settings.id))
        else:
            request = self._next_id()
            self.transfers.ask(request, told.waiter, told.deadline)
            self.step(now, core.Transfer(now, request, told.to), out)

    def _snapshot(self, _now: int, _wall: int, told: Snapshot, out: list[Action]) -> None:
        if self.closing.refuses:
            out.append(EndSnapshot(told.waiter, "closed"))
        else:
            self.policy.wanted(told.waiter, told.deadline, max(told.applied, self.applied.index), out)

    def _persisted(self, now: int, _wall: int, told: Persisted, out: list[Action]) -> None:
        self.step(now, core.Persisted(now, told.token), out)

    def _persist_failed(self, now: int, _wall: int, told: PersistFailed, out: list[Action]) -> None:
        self.failed = True
        self.step(now, core.PersistFailed(now, told.token), out)

    def _fetched(self, now: int, _wall: int, told: Fetched, out: list[Action]) -> None:
        self.step(now, core.Fetched(now, told.id, told.entries), out)

    def _applied(self, now: int, _wall: int, told: Applied, out: list[Action]) -> None:
        self.applied = told.last
        self.policy.applied(told.last, told.bytes, stopped=self.apply_stopped, out=out)
        self.step(now, core.Applied(now, told.last.index), out)

    def _stop_applying(self, now: int, _wall: int, _told: ApplyStopped, out: list[Action]) -> None:
        self.apply_stopped = True
        self.proposals.fail_placed("apply_stopped", out)
        self.policy.fail_waiting("apply_stopped", out)
        self.changes.fail_placed("apply_stopped", out)
        # The apply thread knows how far it came, and answers each by that.
        self.reads.release_all(out)
        self.step(now, core.ApplyStopped(now), out)

    def _snapshot_taken(self, now: int, _wall: int, told: SnapshotTaken, out: list[Action]) -> None:
        self.policy.taken(told.last, self.applied, out)
        self.step(now, core.SnapshotTaken(now, told.last), out)
        self._purge(now, out)

    def _snapshot_failed(self, _now: int, _wall: int, _told: SnapshotFailed, out: list[Action]) -> None:
        self.policy.failed(self.applied, out)

    def _snapshot_received(self, now: int, _wall: int, told: SnapshotReceived, out: list[Action]) -> None:
        self.step(now, core.SnapshotReceived(now, *told), out)

    def _snapshot_sent(self, now: int, _wall: int, told: SnapshotSent, out: list[Action]) -> None:
        self.policy.sent(now, told.to, told.delivered)
        self.step(now, core.SnapshotSent(now, told.to, told.delivered), out)
        self._purge(now, out)

    def _unreachable(self, now: int, _wall: int, told: Unreachable, out: list[Action]) -> None:
        self.step(now, core.Unreachable(now, told.node), out)

    def _close(self, _now: int, _wall: int, told: Close, out: list[Action]) -> None:
        self.closing.begin(handover=told.handover, until=told.drain_until)
        self.proposals.fail_held("closed", out)
        self.reads.fail_waiting("closed", out)
        self.policy.fail_waiting("closed", out)
        self.changes.fail_held("closed", out)

    _HANDLERS: ClassVar[dict[type, _Handler]] = {
        Receive: _receive,
        Propose: _hold,
        Read: _read,
        Change: _change,
        Transfer: _transfer,
        Snapshot: _snapshot,
        Persisted: _persisted,
        PersistFailed: _persist_failed,
        Fetched: _fetched,
        Applied: _applied,
        ApplyStopped: _stop_applying,
        SnapshotTaken: _snapshot_taken,
        SnapshotFailed: _snapshot_failed,
        SnapshotReceived: _snapshot_received,
        SnapshotSent: _snapshot_sent,
        Unreachable: _unreachable,
        Close: _close,
    }
