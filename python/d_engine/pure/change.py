"""Membership changes: which configurations a cluster goes through (section 6, thesis 4)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from .configuration import Configuration, Member
from .types import NodeId

__all__ = [
    "CHANGE_ERRORS",
    "Add",
    "Change",
    "ChangeError",
    "ChangeErrorKind",
    "ChangeRefusedError",
    "Demote",
    "Promote",
    "Remove",
    "change",
]


class Add(NamedTuple):
    """That member joins; or, of a member: its addresses, priority and `auto_promote` become these."""

    member: Member


class Remove(NamedTuple):
    """That member leaves."""

    id: NodeId


class Promote(NamedTuple):
    """That learner votes from now on."""

    id: NodeId


class Demote(NamedTuple):
    """That voter is a learner from now on."""

    id: NodeId


Change: TypeAlias = Add | Remove | Promote | Demote
"""One wish; several in one call come into force together."""

ChangeErrorKind: TypeAlias = Literal[
    "empty",
    "duplicate",
    "unknown_member",
    "not_a_learner",
    "not_a_voter",
    "role_of_member",
    "witness_role",
    "not_seen",
    "no_voter_left",
    "too_many_witnesses",
    "no_change",
    "zero_id",
    "in_flight",
    "not_ready",
    "not_leader",
    "transferring",
    "storage_stalled",
    "closing",
    "overloaded",
]
"""Why a change is not taken."""

CHANGE_ERRORS: Final[dict[ChangeErrorKind, str]] = {}
"""In words; `{}` stands for the detail."""


class ChangeError(NamedTuple):
    """Why a change was not taken: certain, nothing has changed.

    `detail` is what the kind is about: the member for most, the index for "in_flight", both counts for "too_many_witnesses".
    """

    kind: ChangeErrorKind
    detail: tuple[int, ...] = ()

    def __str__(self) -> str:
        return CHANGE_ERRORS.get(self.kind, self.kind).format(*self.detail)


class ChangeRefusedError(ValueError):
    """What `change` raises: `why` is the `ChangeError`."""

    def __init__(self, why: ChangeError) -> None:
        super().__init__(str(why))
        self.why = why


def change(current: Configuration, changes: tuple[Change, ...]) -> tuple[Configuration, ...]:
    """The configurations that `current` goes through: one, or the joint one and the one after it.

    Raises:
        ChangeRefusedError: the changes do not fit each other or the configuration.
    """
    raise NotImplementedError
