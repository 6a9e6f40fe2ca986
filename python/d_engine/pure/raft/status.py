"""What a core shows of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from d_engine.pure.configuration import Configuration
from d_engine.pure.progress import Flow
from d_engine.pure.types import Index, LogId, Micros, NodeId, Role, Term

from . import election

if TYPE_CHECKING:
    from . import Core


class ProgressStatus(NamedTuple):
    """A follower, as its leader sees it: `inflight` counts append messages under way, `heard` is when it last answered."""

    id: NodeId
    matched: Index
    next: Index
    state: Flow
    inflight: int
    heard: Micros | None
    apply_stopped: bool


class CoreStatus(NamedTuple):
    """A core at one moment.

    `last` is the end of its log, `durable` the end of what is on disk, `purged` what stands before its first entry; `missing` are voters that
    must be seen once before the first leader can be elected; `progress` are a leader's followers.
    """

    id: NodeId
    role: Role
    term: Term
    vote: NodeId | None
    leader: NodeId | None
    commit: Index
    applied: Index
    last: LogId
    durable: Index
    purged: LogId
    snapshot: LogId | None
    configuration: Configuration
    configuration_index: Index
    lease_until: Micros | None
    storage_stalled: bool
    apply_stopped: bool
    missing: tuple[NodeId, ...]
    progress: tuple[ProgressStatus, ...]


def status(core: Core) -> CoreStatus:
    """Everything worth showing."""
    current = core.configurations.current
    followers = core.leadership.followers if core.leadership is not None else {}
    return CoreStatus(
        id=core.id,
        role=core.role,
        term=core.term,
        vote=core.vote,
        leader=core.leader,
        commit=core.commit,
        applied=core.applying.applied,
        last=core.log.last_id(),
        durable=core.log.durable,
        purged=core.log.purged,
        snapshot=core.snapshot,
        configuration=current,
        configuration_index=core.configurations.index,
        lease_until=election.lease_until(core),
        storage_stalled=core.storage_stalled,
        apply_stopped=core.apply_stopped,
        missing=tuple(voter for voter in current.unknown_voters() if voter not in core.seen),
        progress=tuple(
            ProgressStatus(
                node,
                follower.matched,
                follower.next,
                follower.flow,
                len(follower.inflight),
                follower.heard,
                follower.apply_stopped,
            )
            for node, follower in followers.items()
        ),
    )
