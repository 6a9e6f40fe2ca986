"""What a node says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from .peers import Peer
from .plugins import LogId

if TYPE_CHECKING:
    from ._core import RawStatus
    from ._core_hooks import RawMember
    from .errors import PluginError

__all__ = ["Change", "Member", "Progress", "Status"]


class Change(NamedTuple):
    """Who leads, as this node sees it.

    Attributes:
        role: this node's role.
        term: its term (int).
        leader: whom it follows (id), itself included; None where none is known.
    """

    role: Literal["follower", "precandidate", "candidate", "leader"]
    term: int
    leader: int | None


def make_change(role: str, term: int, leader: int | None) -> Change:
    """From what native code gives."""
    return Change(cast("Any", role), term, leader)


@dataclasses.dataclass(frozen=True)
class Member(Peer):
    """A member as the cluster has it: a `Peer`, and the data directory that it runs on.

    Attributes:
        incarnation: of its data directory (32 hex digits); None until a leader has heard of it.
    """

    incarnation: str | None = None


def make_members(raw: Iterable[RawMember]) -> dict[int, Member]:
    """From what native code gives."""
    return {
        node: Member(address, role, priority, auto_promote, client, incarnation)
        for (node, address, client, role, priority, auto_promote), incarnation in raw
    }


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a follower is, as its leader sees it.

    Attributes:
        id: the follower.
        matched: the last index known to be durable there (int).
        next: the index that is sent next (int).
        state: "probe" (finding out where its log ends), "replicate", or "snapshot" (one is being sent).
        active: whether it was heard from within an election timeout.
    """

    id: int
    matched: int
    next: int
    state: Literal["probe", "replicate", "snapshot"]
    active: bool


@dataclasses.dataclass(frozen=True)
class Status:
    """One node at one moment. Frozen; positions are log indexes (int).

    Attributes:
        id: the node.
        role: "follower", "precandidate", "candidate" or "leader".
        term: its term.
        leader: whom it follows (id), or None.
        commit: the last entry known to be on a quorum.
        applied: the last entry the state machine holds.
        last: the end of the log, with its term.
        durable: the last entry known to be on this node's disk.
        purged: the last entry no longer in the log, with its term.
        snapshot: the newest snapshot, or None.
        members: all members by id, as far as this node knows: with role and incarnation. A node that was removed is not among them.
        missing: voters that have never been seen: the first election waits for them.
        apply_error: why the state machine has stopped here, or None.
        storage_stalled: whether the oldest write waits for longer than `Config.storage_stall_timeout`.
        progress: the followers by id, on a leader; None elsewhere.
    """

    id: int
    role: Literal["follower", "precandidate", "candidate", "leader"]
    term: int
    leader: int | None
    commit: int
    applied: int
    last: LogId
    durable: int
    purged: LogId
    snapshot: LogId | None
    members: Mapping[int, Member]
    missing: tuple[int, ...]
    apply_error: PluginError | None
    storage_stalled: bool
    progress: Mapping[int, Progress] | None


def make_status(raw: RawStatus) -> Status:
    """From what native code gives."""
    progress = raw["progress"]
    return Status(
        id=raw["id"],
        role=raw["role"],
        term=raw["term"],
        leader=raw["leader"],
        commit=raw["commit"],
        applied=raw["applied"],
        last=LogId(*raw["last"]),
        durable=raw["durable"],
        purged=LogId(*raw["purged"]),
        snapshot=None if raw["snapshot"] is None else LogId(*raw["snapshot"]),
        members=make_members(raw["members"]),
        missing=tuple(raw["missing"]),
        apply_error=cast("PluginError | None", raw["apply_error"]),
        storage_stalled=raw["storage_stalled"],
        progress=None if progress is None else {item["id"]: Progress(**item) for item in progress},
    )
