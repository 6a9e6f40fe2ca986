"""The core: one file for each part of the protocol, all on one state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from d_engine.pure.configurations import Configurations
from d_engine.pure.durability import Durability
from d_engine.pure.effect import Changed, Effect, Event, Refused, Reply, Send
from d_engine.pure.input import (
    Applied,
    ApplyStopped,
    ChangeMembers,
    Close,
    Fetched,
    Input,
    Persisted,
    PersistFailed,
    Propose,
    Purge,
    Read,
    Receive,
    Settings,
    SnapshotReceived,
    SnapshotSent,
    SnapshotTaken,
    Start,
    Time,
    Transfer,
    Unreachable,
)
from d_engine.pure.log import Log
from d_engine.pure.message import Body, Message, Refusal
from d_engine.pure.progress import Window
from d_engine.pure.rng import SplitMix64
from d_engine.pure.types import (
    FetchId,
    HardState,
    Incarnation,
    Index,
    LogId,
    Micros,
    NodeId,
    RequestId,
    Role,
    Term,
    Token,
)

from . import (
    apply,
    digest,
    durable,
    election,
    leader,
    membership,
    proposals,
    reads,
    replication,
    snapshots,
    status,
    transfer,
)
from .apply import Applying
from .leader import Leadership
from .receive import receive, receive_from_peer
from .replication import FetchFor
from .status import CoreStatus, ProgressStatus
from .transfer import Handover

__all__ = ["Core", "CoreStatus", "ProgressStatus"]


class Core:
    """One member's protocol state. `step` is its only entrance; it never blocks and never fails.

    The rules stand in the modules of this package, each a function of the core: terms (section 5.1), election (5.2, 5.4.1, thesis 9.6), leader
    and follower (5.3, 5.4.2), replication (thesis 10.2.1), proposals, reads (thesis 6.4), apply, snapshots (section 7), transfer (thesis 3.10),
    membership (section 6, thesis 4).
    """

    __slots__ = (
        "apply_stopped",
        "applying",
        "belongs",
        "closed",
        "closing",
        "commit",
        "configurations",
        "durability",
        "election_at",
        "fetches",
        "group",
        "heard",
        "id",
        "incarnation",
        "leader",
        "leadership",
        "log",
        "next_fetch",
        "now",
        "rank",
        "rest",
        "rng",
        "role",
        "seen",
        "sends",
        "settings",
        "shown",
        "snapshot",
        "storage_stalled",
        "term",
        "transfer",
        "vote",
        "votes",
        "wall",
        "window",
        "wiped",
        "withhold_until",
    )

    def __init__(self, now: Micros, settings: Settings, start: Start) -> None:
        """A member as it comes up from its storage. Gives out no effects: step a `Time` first."""
        covered = start.snapshot.index if start.snapshot is not None else 0
        self.id = start.id
        self.incarnation = start.incarnation
        self.group = start.group
        self.settings = settings
        self.window = Window(settings.max_inflight_messages, settings.max_inflight_bytes)
        self.rng = SplitMix64(start.seed)
        self.now = now
        self.wall = 0

        # What must be on disk before anybody hears of it (figure 2: persistent state).
        self.term: Term = start.hard_state.term
        self.vote: NodeId | None = start.hard_state.vote
        self.log = Log(start.purged, start.last, start.term_runs, start.last_time, settings.tail_bytes)
        self.durability = Durability()
        self.configurations = Configurations(start.configurations)
        # It has been a member since it last said that it is none.
        self.belongs = any(one.member(start.id) is not None for one in self.configurations.in_force())

        # What this node is. `votes` belong to a pre-candidate or candidate, `leadership` to a leader.
        self.role: Role = "follower"
        self.leader: NodeId | None = None
        self.votes: dict[NodeId, bool] = {}
        self.leadership: Leadership | None = None

        self.commit: Index = min(max(start.applied, covered, start.purged.index), start.last)
        self.configurations.committed(self.commit)
        self.snapshot: LogId | None = start.snapshot
        self.applying = Applying(max(start.applied, covered))

        # The leader that was heard last, and when: it may rely on this node for a while, whatever happens here.
        self.heard: tuple[NodeId, Micros] | None = None
        # Before this moment no vote is given: a lease of before the restart may still run.
        self.withhold_until: Micros = now
        # When a node that hears no leader campaigns.
        self.election_at: Micros = now
        # The data directories that voters showed in this election; members that were reported as wiped, with what they showed last.
        self.seen: dict[NodeId, Incarnation] = {}
        self.wiped: dict[NodeId, Incarnation] = {}
        # Leadership that is being given away; outlives it until the next leader is known.
        self.transfer: Handover | None = None

        self.next_fetch: FetchId = 1
        self.fetches: dict[FetchId, FetchFor] = {}

        self.apply_stopped = False
        self.storage_stalled = False
        self.closing = False
        self.closed = False

        # What of this step is to be done, but for storage.
        self.shown: tuple[Role, Term, NodeId | None] = ("follower", self.term, None)
        self.sends: list[Effect] = []
        self.rest: list[Effect] = []

        # How many preferences of possible leaders are above its own: it waits longer before it campaigns.
        self.rank = election.rank_of_priority(self)
        election.reset_election_timer(self)
        if self._nobody_can_lead_else():
            self.election_at = now
        else:
            self.withhold_until = now + election.min_election_timeout(self)
            self.election_at = max(self.election_at, self.withhold_until)

    def step(self, given: Input) -> list[Effect]:
        """Takes one input and says what is to be done, in order. `now` may stand still, but does not go back."""
        if self.closed:
            return []
        self.now = max(self.now, given.now)
        kind = type(given)
        _TAKE[kind](self, given)
        # What follows from it. A report of the state machine moves nothing of a leader, but learners' rounds go by the clock too.
        leadership = self.leadership
        if leadership is not None and (kind is not Applied or leadership.promotable):
            leader.lead(self, leadership)
        if self.belongs and self.id not in self.configurations.members:
            membership.notice_removal(self)
        if self.applying.handed < self.commit:
            apply.advance_apply(self)
        log = self.log
        if log.tail_bytes > log.tail_limit:
            log.trim()
        return self._effects()

    def deadline(self) -> Micros | None:
        """The moment at which `Time` must be stepped at the latest."""
        if self.closed:
            return None
        deadlines: list[Micros] = []
        if self.leadership is not None:
            deadlines.append(leader.leader_deadline(self, self.leadership))
        elif self.leader is not None or election.may_campaign(self):
            deadlines.append(self.election_at)
        oldest = self.durability.oldest()
        if oldest is not None and not self.storage_stalled:
            deadlines.append(oldest + self.settings.storage_stall_timeout)
        if self.transfer is not None:
            deadlines.append(self.transfer.deadline)
        return min(deadlines) if deadlines else None

    def status(self) -> CoreStatus:
        """Everything worth showing."""
        return status.status(self)

    def digest(self) -> bytes:
        """32 bytes that this core has in common with every other one that took the same inputs."""
        return digest.digest(self)

    def matched(self, node: NodeId) -> Index | None:
        """Up to where that follower is known to hold this leader's log; `None`: this node does not lead, or has no such follower."""
        follower = self.leadership.followers.get(node) if self.leadership is not None else None
        return follower.matched if follower is not None else None

    def _effects(self) -> list[Effect]:
        """What this step wants done, in order: storage first, then peers, then the rest."""
        effects, self.sends = self.sends, []
        if self.durability.staged:
            effects = [self.durability.flush(self.log.last, self.now), *effects]
        if self.rest:
            effects = [*effects, *self.rest]
            self.rest.clear()
        shown = (self.role, self.term, self.leader)
        if shown != self.shown:
            self.shown = shown
            effects = [*effects, Changed(*shown)]
        return effects

    def _nobody_can_lead_else(self) -> bool:
        """Whether a lease of before the start is out of the question: this is the only voter by every configuration that may be in force, and it has
        elected nobody else in its term."""
        own_term = self.vote == self.id or (self.term == 0 and self.vote is None)
        return own_term and all(
            one.voters() == (self.id,) and all(node == self.id for node in one.outgoing)
            for one in self.configurations.in_force()
        )

    # What the rules share.

    def reply(self, reply: Reply) -> None:
        """Answers a request of the local user."""
        self.rest.append(reply)

    def event(self, event: Event) -> None:
        """Tells something worth knowing."""
        self.rest.append(event)

    def refuse(self, request: RequestId, why: Refusal) -> None:
        """Answers that a proposal or a read was not taken."""
        self.rest.append(Refused(request, why))

    def send(self, to: NodeId, body: Body) -> None:
        """Sends a message of the current term, which must be durable before anybody hears of it."""
        self.send_in(self.term, to, body, self.durability.hard_state_token)

    def send_after(self, to: NodeId, body: Body, token: Token) -> None:
        """Sends a message that waits for `token` too, if that is not 0."""
        self.send_in(self.term, to, body, max(token, self.durability.hard_state_token))

    def send_in(self, term: Term, to: NodeId, body: Body, token: Token) -> None:
        """Sends a message of that term once `token` is durable."""
        message = Message(self.id, self.incarnation, to, term, body)
        if token:
            self.durability.withhold(token, message)
        elif to == self.id:
            receive(self, message)
        else:
            self.sends.append(Send(message))

    def send_plain(self, to: NodeId, body: Body) -> None:
        """Sends what belongs to no term, and so never waits: the newest term may not be durable, and must not show."""
        self.send_in(0, to, body, 0)

    def hard_state_changed(self) -> None:
        """Term or vote are to be written."""
        self.durability.stage_hard_state(HardState(self.term, self.vote))

    def alone(self) -> bool:
        """Whether this node is the only voter."""
        configurations = self.configurations
        return configurations.voters == (self.id,) and all(node == self.id for node in configurations.outgoing)


def _time(core: Core, given: Time) -> None:
    core.wall = given.wall
    transfer.check_stall(core)
    if core.transfer is not None:
        transfer.check_transfer_deadline(core)
    if core.leadership is not None:
        leader.leader_timers(core, core.leadership)
    elif core.now >= core.election_at:
        election.election_timed_out(core)


def _receive(core: Core, given: Receive) -> None:
    core.wall = given.wall
    receive_from_peer(core, given.message)


def _propose(core: Core, given: Propose) -> None:
    core.wall = given.wall
    for request, draft in given.batches:
        proposals.propose(core, request, draft)


def _applied(core: Core, given: Applied) -> None:
    core.applying.report(given.index)


_TAKE: Final[dict[type[Input], Callable[[Core, Any], None]]] = {
    Time: _time,
    Receive: _receive,
    Propose: _propose,
    Read: reads.read,
    ChangeMembers: membership.change_members,
    Transfer: transfer.ask_transfer,
    Persisted: durable.persisted,
    PersistFailed: transfer.fail,
    Fetched: replication.fetched,
    Applied: _applied,
    ApplyStopped: apply.stop_apply,
    SnapshotTaken: snapshots.snapshot_taken,
    Purge: snapshots.purge,
    SnapshotReceived: snapshots.snapshot_received,
    SnapshotSent: snapshots.snapshot_sent,
    Unreachable: replication.unreachable,
    Close: transfer.close,
}
