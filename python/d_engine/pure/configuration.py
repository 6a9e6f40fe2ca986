"""Who belongs to the cluster, and its encoding in configuration entries, snapshots and identity records."""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from .types import Incarnation, Micros, NodeId

__all__ = ["NOBODY", "Configuration", "ConfigurationError", "Member", "MemberRole", "decode", "encode"]

MemberRole: TypeAlias = Literal["voter", "learner", "witness"]
"""What a member takes part in: a voter votes and keeps the whole log, a learner gets the log and does not vote, a witness votes, but is
never a candidate and keeps no state machine."""
MEMBER_ROLES: Final[tuple[MemberRole, ...]] = ("voter", "learner", "witness")
"""All roles, each at its number."""

_VERSION: Final = 1
_HEAD: Final = Struct("<BQ")
_MEMBER: Final = Struct("<QBBi")
_COUNT: Final = Struct("<I")


class ConfigurationError(ValueError):
    """Bytes are not a configuration."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not a configuration: {why}")


class Member(NamedTuple):
    """One member of a configuration.

    `address` is `host:port` where other members reach it, `client_address` where clients do, if that is another one; `priority` is the
    preference as a leader; `auto_promote`: a learner becomes a voter by itself once it has caught up; `incarnation` is the data directory
    that it started with, `None` until a leader has recorded it; `leaving`: it is no part of the new half of a joint configuration, so it
    votes in the old half, if there, and goes with it.
    """

    id: NodeId
    address: str
    client_address: str | None = None
    role: MemberRole = "voter"
    priority: int = 0
    auto_promote: bool = True
    incarnation: Incarnation | None = None
    leaving: bool = False

    def votes(self) -> bool:
        """Whether it votes in the new half."""
        return self.role != "learner" and not self.leaving


class Configuration(NamedTuple):
    """A membership: takes effect as soon as it stands in the log. While `outgoing` is not empty it is joint (section 6):
    elections and commits need a quorum of each half by itself.

    `members` are those of both halves, in ascending order of `id`; `outgoing` are the voters of the old half, ascending;
    `min_election_timeout` is the cluster's, fixed at first start: what leases rest on.
    """

    members: tuple[Member, ...]
    outgoing: tuple[NodeId, ...] = ()
    min_election_timeout: Micros = 0

    def voters(self) -> tuple[NodeId, ...]:
        """The voters of the active (in a joint phase: the incoming) half, ascending. Witnesses vote."""
        return tuple(member.id for member in self.members if member.votes())

    def member(self, node: NodeId) -> Member | None:
        """The member of that number."""
        for member in self.members:
            if member.id == node:
                return member
        return None

    def is_voter(self, node: NodeId) -> bool:
        """Whether that node votes, in either half."""
        member = self.member(node)
        return (member is not None and member.votes()) or node in self.outgoing

    def is_joint(self) -> bool:
        """Whether two halves are in force."""
        return bool(self.outgoing)

    def record(self, node: NodeId, incarnation: Incarnation) -> Configuration:
        """With that member's data directory recorded, if none is and if that is safe: a vote that it gave in the old half, before it was told apart
        from its former self, may be forgotten."""
        member = self.member(node)
        if node in self.outgoing or member is None or member.incarnation is not None:
            return self
        known = member._replace(incarnation=incarnation)
        return self._replace(members=tuple(known if one is member else one for one in self.members))

    def incoming(self) -> Configuration:
        """What follows a joint phase: the new half alone."""
        return self._replace(members=tuple(member for member in self.members if not member.leaving), outgoing=())

    def is_recorded(self, node: NodeId) -> bool:
        """Whether that member's data directory is recorded. Until then nothing that it grants or acknowledges counts."""
        member = self.member(node)
        return member is not None and member.incarnation is not None

    def unknown_voters(self) -> tuple[NodeId, ...]:
        """Voters whose incarnation no leader has recorded."""
        return tuple(member.id for member in self.members if member.votes() and member.incarnation is None)

    def __str__(self) -> str:
        members = ", ".join(
            f"{member.id}={member.address}" + ("" if member.role == "voter" else f" ({member.role})")
            for member in self.members
        )
        return f"{members}; leaving {list(self.outgoing)}" if self.outgoing else members


NOBODY: Final = Configuration(())
"""What a node that joins starts with: it never campaigns, and grants what it is asked."""


def encode(configuration: Configuration) -> bytes:
    """The bytes of a configuration entry's payload."""
    out = bytearray(_HEAD.pack(_VERSION, configuration.min_election_timeout))
    out += _COUNT.pack(len(configuration.members))
    for member in configuration.members:
        flags = (
            member.auto_promote
            | (member.client_address is not None) << 1
            | (member.incarnation is not None) << 2
            | member.leaving << 3
        )
        out += _MEMBER.pack(member.id, MEMBER_ROLES.index(member.role), flags, member.priority)
        out += _text(member.address)
        if member.client_address is not None:
            out += _text(member.client_address)
        if member.incarnation is not None:
            out += member.incarnation.to_bytes(16, "little")
    out += _COUNT.pack(len(configuration.outgoing))
    for node in configuration.outgoing:
        out += node.to_bytes(8, "little")
    return bytes(out)


def decode(source: bytes) -> Configuration:
    """Reads what `encode` wrote.

    Raises:
        ConfigurationError: the bytes are cut off, of a later format, or hold members out of order.
    """
    cursor = _Cursor(source)
    if cursor.number(1) != _VERSION:
        raise ConfigurationError("its format is of a later release")
    min_election_timeout = cursor.number(8)
    members: list[Member] = []
    for _ in range(cursor.number(4)):
        member = _member(cursor)
        if members and members[-1].id >= member.id:
            raise ConfigurationError("its members are out of order")
        members.append(member)
    outgoing = tuple([cursor.number(8) for _ in range(cursor.number(4))])
    if cursor.at != len(source):
        raise ConfigurationError("bytes follow its end")
    return Configuration(tuple(members), outgoing, min_election_timeout)


def _member(cursor: _Cursor) -> Member:
    node, role = cursor.number(8), cursor.number(1)
    if role >= len(MEMBER_ROLES):
        raise ConfigurationError("a member has an unknown role")
    flags = cursor.number(1)
    priority = int.from_bytes(cursor.take(4), "little", signed=True)
    address = cursor.text()
    client_address = cursor.text() if flags & 2 else None
    incarnation = cursor.number(16) if flags & 4 else None
    return Member(
        node, address, client_address, MEMBER_ROLES[role], priority, bool(flags & 1), incarnation, bool(flags & 8)
    )


def _text(text: str) -> bytes:
    source = text.encode()
    return _COUNT.pack(len(source)) + source


class _Cursor:
    """What is left to read."""

    __slots__ = ("at", "source")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.at = 0

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.source):
            raise ConfigurationError("it is cut off")
        taken = self.source[self.at : end]
        self.at = end
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def text(self) -> str:
        try:
            return self.take(self.number(4)).decode()
        except UnicodeDecodeError:
            raise ConfigurationError("an address is not UTF-8") from None
