"""The table of members."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ._text import loopback, shown, split_address
from .config import refused

__all__ = ["Peer"]


@dataclasses.dataclass(frozen=True)
class Peer:
    """One member, as other members and clients reach it.

    Attributes:
        address: "host:port" (IPv6: "[host]:port") where other members reach it; host names are resolved at every connect.
        client_address: where clients reach it, if that is another one (str), or None.
    """

    address: str
    client_address: str | None = dataclasses.field(default=None, kw_only=True)


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


def checked_peers(node_id: object, peers: object) -> dict[int, Peer] | None:
    """The table in ascending order. Raises `ConfigError` with all that is wrong; None stays None."""
    problems = node_id_problems(node_id)
    table: dict[int, Peer] = {}
    if peers is not None:
        if not isinstance(peers, Mapping):
            problems.append(f"peers is {shown(peers)}: a mapping {{id: 'host:port'}} is needed")
            raise refused(problems, "Raft")
        if not peers:
            problems.append("peers is empty: name all initial members, this node included")
        seen: dict[str, object] = {}
        for key, value in peers.items():  # pyright: ignore[reportUnknownVariableType]
            problems += [f"peers: {problem}" for problem in node_id_problems(key)]  # pyright: ignore[reportUnknownArgumentType]
            peer = Peer(value) if isinstance(value, str) else value  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(peer, Peer):
                problems.append(f"peers[{key!r}] is {shown(value)}: an address or a Peer is needed")  # pyright: ignore[reportUnknownArgumentType]
                continue
            problems += address_problems(f"peers[{key!r}]", peer.address)
            if peer.client_address is not None:
                problems += address_problems(f"peers[{key!r}].client_address", peer.client_address)
            if peer.address in seen:
                problems.append(f"peers: {seen[peer.address]!r} and {key!r} have the same address {peer.address!r}")
            seen[peer.address] = key  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(key, int):
                table[key] = peer
        if peers and not problems and node_id not in table:
            known = ", ".join(str(key) for key in sorted(table))
            problems.append(
                f"node id {node_id} is not among peers ({known}): the table names all members, this one too"
            )
    if problems:
        raise refused(problems, "Raft")
    return None if peers is None else dict(sorted(table.items()))
