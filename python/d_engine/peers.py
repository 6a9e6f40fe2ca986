"""The table of members."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, cast

from ._text import loopback, shown, split_address
from .config import refused

if TYPE_CHECKING:
    from ._core_hooks import RawPeer

__all__ = ["Peer"]


@dataclasses.dataclass(frozen=True)
class Peer:
    """One member: where it is reached, and what it takes part in.

    Attributes:
        address: "host:port" (IPv6: "[host]:port") where other members reach it; host names are resolved at every connect.
        role: "voter"; "learner", which gets the log and does not vote; or "witness", which votes and keeps the log, but has no state
            machine and never leads (at most as many as there are voters beyond a quorum).
        priority: among voters the one with the highest (int) is the first to campaign and the first to be given leadership; it
            never decides a vote.
        auto_promote: whether a learner becomes a voter by itself once it has caught up. A voter that is added comes in as such a
            learner; with False it votes at once.
        client_address: where clients reach it, if that is another one (str), or None.
    """

    address: str
    role: Literal["voter", "learner", "witness"] = "voter"
    priority: int = 0
    auto_promote: bool = True
    client_address: str | None = None

    def problems(self, what: str) -> list[str]:
        """What is wrong with it, in words."""
        found = address_problems(what, self.address)
        if self.client_address is not None:
            found += address_problems(f"{what}.client_address", self.client_address)
        if self.role not in {"voter", "learner", "witness"}:
            found.append(f"{what}.role is {shown(self.role)}: 'voter', 'learner' or 'witness' is needed")
        if (
            isinstance(self.priority, bool)
            or not isinstance(self.priority, int)  # pyright: ignore[reportUnnecessaryIsInstance]
            or not -(2**31) <= self.priority < 2**31
        ):
            found.append(f"{what}.priority is {shown(self.priority)}: a whole number of 32 bits is needed")
        if not _is_flag(self.auto_promote):
            found.append(f"{what}.auto_promote is {shown(self.auto_promote)}: True or False is needed")
        return found

    def raw(self, node: int) -> RawPeer:
        """As native code takes it."""
        return (node, self.address, self.client_address, self.role, self.priority, self.auto_promote)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def address_problems(what: str, address: object, *, port_zero: bool = False) -> list[str]:
    """What is wrong with an address, in words."""
    if not isinstance(address, str):
        return [f"{what} is {shown(address)}: a text such as '10.0.0.1:9081' is needed"]
    try:
        _, port = split_address(address)
    except ValueError as error:
        return [f"{what}: {error}"]
    if port == 0 and not port_zero:
        return [f"{what}: address {address!r}: the port is a number from 1 to 65535"]
    return []


def listen_problems(address: str, *, insecure: bool) -> list[str]:
    """Refuses to serve other machines without TLS, as far as the address tells that without a look-up."""
    if not insecure and loopback(split_address(address)[0]) is False:
        return [not_loopback(address)]
    return []


def not_loopback(address: str) -> str:
    """Why an address may not be served, and what to do."""
    return (
        f"{address!r} can be reached from other machines and there is no TLS: use a loopback address,"
        " or say insecure=True in a network you trust"
    )


def node_id_problems(node_id: object) -> list[str]:
    """Whether it is a number that a member can have."""
    if isinstance(node_id, bool) or not isinstance(node_id, int) or not 1 <= node_id < 2**63:
        return [f"node id {shown(node_id)}: a whole number from 1 is needed"]
    return []


def checked_peers(node_id: object, peers: object, *, initial: bool = True) -> dict[int, Peer] | None:
    """The table in ascending order. Raises `ConfigError` with all that is wrong; None stays None.

    `initial`: a cluster begins with it.
    """
    problems = node_id_problems(node_id)
    table: dict[int, Peer] = {}
    if peers is not None:
        table, found = _table("peers", peers)
        problems += found
        if isinstance(peers, Mapping) and not peers:
            problems.append("peers is empty: name all initial members, this node included")
        if peers and not problems and node_id not in table:
            known = ", ".join(str(key) for key in sorted(table))
            problems.append(
                f"node id {node_id} is not among peers ({known}): the table names all members, this one too"
            )
        if initial and not problems:
            problems += _role_problems(table)
    if problems:
        raise refused(problems, "Raft")
    return None if peers is None else dict(sorted(table.items()))


def checked_members(what: str, members: object) -> list[RawPeer]:
    """A table of members to be added, as native code takes it. Raises `ConfigError` with all that is wrong."""
    if members is None:
        return []
    table, problems = _table(what, members)
    if problems:
        raise refused(problems, "change")
    return [peer.raw(node) for node, peer in sorted(table.items())]


def checked_ids(what: str, ids: object) -> list[int]:
    """Ids of members. Raises `ConfigError` with all that is wrong."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise refused([f"{what} is {shown(ids)}: a list of node ids is needed"], "change")
    listed = list(cast("Iterable[object]", ids))
    problems = [f"{what}: {problem}" for node in listed for problem in node_id_problems(node)]
    if problems:
        raise refused(problems, "change")
    return [node for node in listed if isinstance(node, int)]


def _table(what: str, peers: object) -> tuple[dict[int, Peer], list[str]]:
    """{id: address or Peer} as {id: Peer}, and what is wrong with it."""
    table: dict[int, Peer] = {}
    if not isinstance(peers, Mapping):
        return table, [f"{what} is {shown(peers)}: a mapping {{id: 'host:port'}} is needed"]
    problems: list[str] = []
    seen: dict[str, object] = {}
    for key, value in peers.items():  # pyright: ignore[reportUnknownVariableType]
        problems += [f"{what}: {problem}" for problem in node_id_problems(key)]  # pyright: ignore[reportUnknownArgumentType]
        peer = Peer(value) if isinstance(value, str) else value  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(peer, Peer):
            problems.append(f"{what}[{key!r}] is {shown(value)}: an address or a Peer is needed")  # pyright: ignore[reportUnknownArgumentType]
            continue
        problems += peer.problems(f"{what}[{key!r}]")
        if peer.address in seen:
            problems.append(f"{what}: {seen[peer.address]!r} and {key!r} have the same address {peer.address!r}")
        seen[peer.address] = key  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(key, int):
            table[key] = peer
    return table, problems


def _role_problems(table: Mapping[int, Peer]) -> list[str]:
    """Whether such a cluster could have a leader, and keep what it acknowledges."""
    voters = sum(peer.role == "voter" for peer in table.values())
    witnesses = sum(peer.role == "witness" for peer in table.values())
    if not voters:
        return ["peers has no voter: at least one that can lead is needed"]
    allowed = (voters + witnesses - 1) // 2
    if witnesses > allowed:
        return [f"peers has {witnesses} witnesses beside {voters} voters: at most {allowed} are allowed"]
    return []
