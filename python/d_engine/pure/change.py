"""Membership changes: which configurations a cluster goes through (section 6, thesis 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from .configuration import Configuration, Member
from .quorum import quorum
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

CHANGE_ERRORS: Final[dict[ChangeErrorKind, str]] = {
    "empty": "no change was asked for: name at least one member",
    "duplicate": "node {} is named twice: ask for one change of each member at a time",
    "unknown_member": "node {} is no member: add it first",
    "not_a_learner": "node {} is no learner: only learners are promoted",
    "not_a_voter": "node {} is no voter: only voters are demoted",
    "role_of_member": "node {} is a member with another role: promote or demote it, or remove it first",
    "witness_role": "node {} is a witness: remove it and add it with the other role",
    "not_seen": "node {} has not been heard of: start it, and promote it once it follows",
    "no_voter_left": "no voter that can lead would be left: keep or add one",
    "too_many_witnesses": "{} witnesses are too many, {} are allowed: add voters or remove witnesses",
    "no_change": "nothing would change: the members are already like that",
    "zero_id": "0 is no node's number: choose one from 1 on",
    "in_flight": "the change at index {} is not complete: ask again when it is",
    "not_ready": "the leader has not committed anything in its term: ask again soon",
    "not_leader": "not the leader: ask the leader",
    "transferring": "leadership is being transferred: ask again soon",
    "storage_stalled": "the leader's storage is stalled: ask again when it answers",
    "closing": "the node is closing: ask another one",
    "overloaded": "too many uncommitted bytes: ask again soon",
}
"""In words; `{}` stands for the detail."""


class ChangeError(NamedTuple):
    """Why a change was not taken: certain, nothing has changed.

    `detail` is what the kind is about: the member for most, the index for "in_flight", both counts for "too_many_witnesses".
    """

    kind: ChangeErrorKind
    detail: tuple[int, ...] = ()

    def __str__(self) -> str:
        return CHANGE_ERRORS[self.kind].format(*self.detail)


class ChangeRefusedError(ValueError):
    """What `change` raises: `why` is the `ChangeError`."""

    def __init__(self, why: ChangeError) -> None:
        super().__init__(str(why))
        self.why = why


def change(current: Configuration, changes: Sequence[Change]) -> tuple[Configuration, ...]:
    """The configurations that `current` goes through: one, or a joint one and the one after it.

    Raises:
        ChangeRefusedError: says what is wrong with the first change that cannot be made, or with what all of them would lead to.
    """
    if current.is_joint():
        raise _refused("in_flight", 0)
    _check_request(changes)
    members = {member.id: member for member in current.members}
    for one in changes:
        _make(members, one)
    wanted = tuple(member for _, member in sorted(members.items()))
    if wanted == current.members:
        raise _refused("no_change")
    _check_members(wanted)
    return _steps(current, wanted)


def _refused(kind: ChangeErrorKind, *detail: int) -> ChangeRefusedError:
    return ChangeRefusedError(ChangeError(kind, detail))


def _node(one: Change) -> NodeId:
    return one.member.id if isinstance(one, Add) else one.id


def _check_request(changes: Sequence[Change]) -> None:
    """Each member once, and nobody by the number 0."""
    if not changes:
        raise _refused("empty")
    named: set[NodeId] = set()
    for one in changes:
        node = _node(one)
        if node == 0:
            raise _refused("zero_id")
        if node in named:
            raise _refused("duplicate", node)
        named.add(node)


def _make(members: dict[NodeId, Member], one: Change) -> None:
    node = _node(one)
    member = members.get(node)
    if isinstance(one, Add):
        members[node] = _newcomer(one.member) if member is None else _described(member, one.member)
    elif member is None:
        raise _refused("unknown_member", node)
    elif isinstance(one, Remove):
        del members[node]
    elif member.role == "witness":
        raise _refused("witness_role", node)
    elif isinstance(one, Promote):
        if member.role == "voter":
            raise _refused("not_a_learner", node)
        if member.incarnation is None:
            raise _refused("not_seen", node)
        members[node] = member._replace(role="voter")
    else:
        if member.role == "learner":
            raise _refused("not_a_voter", node)
        # It stays a learner until it is promoted by name.
        members[node] = member._replace(role="learner", auto_promote=False)


def _newcomer(given: Member) -> Member:
    """Nobody votes before it has caught up (thesis 4.2.1), unless that is said."""
    catches_up = given.role == "voter" and given.auto_promote
    return given._replace(role="learner" if catches_up else given.role, leaving=False)


def _described(member: Member, given: Member) -> Member:
    """Address and preferences are replaced. On another data directory than the recorded one a member begins as a learner again."""
    another = (
        given.incarnation is not None and member.incarnation is not None and given.incarnation != member.incarnation
    )
    if member.role == "witness" and another:
        raise _refused("witness_role", member.id)
    # To be a voter is what becomes of a learner, and of a voter whose disk was wiped; `auto_promote` says whether by itself.
    fits = (
        given.role == member.role
        or (member.role == "learner" and given.role == "voter")
        or (member.role == "voter" and given.role == "learner" and another)
    )
    if not fits:
        raise _refused("role_of_member", member.id)
    return given._replace(
        role="learner" if another else member.role,
        incarnation=member.incarnation if given.incarnation is None else given.incarnation,
        leaving=False,
    )


def _check_members(members: Sequence[Member]) -> None:
    """Somebody can lead, and no quorum consists of witnesses alone."""
    witnesses = sum(member.role == "witness" for member in members)
    others = sum(member.role == "voter" for member in members)
    if not others:
        raise _refused("no_voter_left")
    allowed = others + witnesses - quorum(others + witnesses)
    if witnesses > allowed:
        raise _refused("too_many_witnesses", witnesses, allowed)


def _steps(current: Configuration, members: tuple[Member, ...]) -> tuple[Configuration, ...]:
    """One voter more or less: quorums of before and after have a node in common (thesis 4.1). Else a joint phase lies between (section 6)."""
    target = current._replace(members=members, outgoing=())
    old = current.voters()
    if len(set(old) ^ set(target.voters())) <= 1:
        return (target,)
    joint = _joint(current, target, old)
    return joint, joint.incoming()


def _joint(current: Configuration, target: Configuration, outgoing: tuple[NodeId, ...]) -> Configuration:
    """Both halves: what is to be, and who votes in what was."""
    members = {member.id: member for member in target.members}
    for before in current.members:
        after = members.get(before.id)
        if after is None:
            members[before.id] = before._replace(leaving=True)
        elif before.votes() and after.incarnation != before.incarnation:
            # Its votes of before still count in the old half, and a wiped disk may have forgotten one: whoever it is now, it is recorded after the
            # joint phase.
            members[before.id] = after._replace(incarnation=None)
    return target._replace(members=tuple(member for _, member in sorted(members.items())), outgoing=outgoing)
