"""The digest: 32 bytes that two cores have in common if, and in practice only if, they are in the same state.

SHA-256 over the state in a fixed order, the native core's being its twin. Every number is a little-endian u64 (an incarnation two of them), an
option 0 or 1 and its value, a list its length and its items, text its length and its bytes. Entries in memory stand there with the checksum of
their payload. What follows from the rest (sums, caches) is left out, and so is what a step leaves empty behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from struct import pack
from typing import TYPE_CHECKING, Final

from d_engine.pure import configuration
from d_engine.pure.crc32c import crc32c
from d_engine.pure.entry import HEADER_BYTES
from d_engine.pure.types import U64, Incarnation, LogId, NodeId

if TYPE_CHECKING:
    from d_engine.pure.durability import Durability
    from d_engine.pure.log import Log
    from d_engine.pure.progress import Progress
    from d_engine.pure.reads import Asker, Reads

    from . import Core
    from .apply import Applying
    from .leader import Leadership

_ROLES: Final = {"follower": 0, "pre_candidate": 1, "candidate": 2, "leader": 3}
_FLOWS: Final = {"probe": 0, "replicate": 2, "snapshot": 3}

_encoded = lru_cache(maxsize=256)(configuration.encode)


def digest(core: Core) -> bytes:
    """What this core has in common with every other that took the same inputs, the native one included."""
    before = [core.id, *_halves(core.incarnation), core.group, core.now, core.wall, core.rng.state, core.term]
    before += _option(core.vote)
    before += _state(core)
    before += _log(core.log)
    texts = [_configuration(index, one) for index, one in core.configurations.stack]
    after = _durability(core.durability)
    after.append(core.commit)
    after += _log_id(core.snapshot)
    after += _applying(core.applying)
    after += _elections(core)
    after += _transfer(core)
    after.append(core.next_fetch)
    after += _pairs(core.fetches.items())
    after += [core.apply_stopped, core.storage_stalled, core.closing, core.closed, core.belongs]
    role, term, leader = core.shown
    after += [_ROLES[role], term, *_option(leader)]
    before.append(len(texts))
    return sha256(b"".join([_numbers(before), *texts, _numbers(after)])).digest()


def _numbers(numbers: Sequence[int]) -> bytes:
    return pack(f"<{len(numbers)}Q", *numbers)


def _halves(incarnation: Incarnation) -> tuple[int, int]:
    return incarnation & U64, incarnation >> 64


def _option(number: int | None) -> tuple[int, ...]:
    return (0,) if number is None else (1, number)


def _option_pair(pair: tuple[int, int] | None) -> tuple[int, ...]:
    return (0,) if pair is None else (1, *pair)


def _pairs(pairs: Iterable[tuple[int, int]]) -> list[int]:
    numbers = [number for pair in pairs for number in pair]
    return [len(numbers) // 2, *numbers]


def _log_id(at: LogId | None) -> tuple[int, ...]:
    return (0,) if at is None else (1, *at)


def _configuration(index: int, one: configuration.Configuration) -> bytes:
    text = _encoded(one)
    return _numbers((index, len(text))) + text


def _state(core: Core) -> list[int]:
    numbers = [_ROLES[core.role]]
    if core.leadership is not None:
        numbers += _leadership(core.leadership)
    elif core.role == "follower":
        numbers += _option(core.leader)
    else:
        numbers += _pairs(sorted(core.votes.items()))
    return numbers


def _leadership(leadership: Leadership) -> list[int]:
    numbers = [len(leadership.followers)]
    for node, follower in leadership.followers.items():
        numbers.append(node)
        numbers += _progress(follower)
    numbers += [leadership.first, leadership.since, leadership.round]
    numbers += _pairs(leadership.unconfirmed)
    numbers += _option(leadership.confirmed_at)
    numbers.append(leadership.heartbeat_at)
    numbers += _option(leadership.notice_at)
    numbers += _reads(leadership.reads)
    numbers.append(leadership.handed_over)
    numbers += _pairs(leadership.uncommitted)
    return numbers


def _progress(follower: Progress) -> list[int]:
    known, leaving, catch_up = follower.known, follower.leaving, follower.catch_up
    return [
        *((0,) if known is None else (1, *_halves(known))),
        follower.matched,
        follower.next,
        _FLOWS[follower.flow] + (follower.flow == "probe" and follower.waiting),
        follower.round,
        *_option(follower.heard),
        follower.apply_stopped,
        follower.commit_told,
        follower.awaited,
        *_option(follower.fetch),
        *_option_pair(follower.quiet),
        follower.unreachable,
        *_pairs(follower.inflight),
        *((0,) if leaving is None else (1, leaving.index, leaving.until, *_option(leaving.told))),
        *((0,) if catch_up is None else (1, *catch_up)),
        follower.pause_until,
    ]


def _reads(reads: Reads) -> list[int]:
    numbers = _askers(reads.waiting)
    numbers.append(len(reads.confirming))
    for round_, index, askers in reads.confirming:
        numbers += [round_, index, *_askers(askers)]
    return numbers


def _askers(askers: Sequence[Asker]) -> list[int]:
    return _pairs(askers)


def _log(log: Log) -> list[int]:
    numbers = [*log.purged, log.last, log.durable, log.last_time]
    numbers += _pairs(log.runs)
    tail = log.tail
    numbers.append(len(tail))
    for entry in tail:
        numbers += [entry.index, entry.term, crc32c(entry.data), HEADER_BYTES + len(entry.data)]
    return numbers


def _durability(durability: Durability) -> list[int]:
    numbers = [durability.next, len(durability.outstanding)]
    for waiting in durability.outstanding:
        numbers += [waiting.token, waiting.upto, waiting.issued]
    numbers += _option(durability.hard_state_token or None)
    numbers.append(len(durability.withheld))
    for token, message in durability.withheld:
        numbers += [token, message.to, message.term]
    return numbers


def _applying(applying: Applying) -> list[int]:
    return [
        applying.handed,
        applying.applied,
        applying.restored,
        *_pairs(applying.outstanding),
        applying.fetching,
    ]


def _elections(core: Core) -> list[int]:
    numbers = [core.election_at, *_option_pair(core.heard), core.withhold_until]
    return numbers + _incarnations(core.seen) + _incarnations(core.wiped)


def _incarnations(shown: Mapping[NodeId, Incarnation]) -> list[int]:
    numbers = [len(shown)]
    for node, incarnation in sorted(shown.items()):
        numbers += [node, *_halves(incarnation)]
    return numbers


def _transfer(core: Core) -> list[int]:
    transfer = core.transfer
    if transfer is None:
        return [0]
    return [1, transfer.to, transfer.deadline, transfer.sent, *_option(transfer.asked)]
