"""What can be set, with its limits."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from ._text import nearest, parse_duration, parse_size, shown
from .errors import ConfigError

if TYPE_CHECKING:
    from ._core import Settings

__all__ = ["MAX_ENTRY_BYTES", "Config"]

MAX_ENTRY_BYTES: Final = 1024 * 1024 - 4096
"""The largest `Config.max_entry_bytes`: a frame between nodes is bounded by 1 MiB, its header included."""

T = TypeVar("T")
_KIB, _MIB, _GIB = 2**10, 2**20, 2**30
_DURATIONS = ("heartbeat_interval", "request_timeout", "storage_stall_timeout")  # seconds, up to _LONGEST
_SIZES = {  # name: (smallest, largest)
    "max_entry_bytes": (1, MAX_ENTRY_BYTES),
    "max_inflight_bytes": (64 * _KIB, _GIB),
    "max_uncommitted_bytes": (_MIB, 64 * _GIB),
    "snapshot_every_bytes": (64 * _KIB, 2**50),
    "snapshot_pin_bytes": (_MIB, 2**50),
    "snapshot_bytes_per_second": (0, 2**50),
    "segment_bytes": (_MIB + 256 * _KIB, 4 * _GIB),
}
_COUNTS = {
    "max_inflight_messages": (1, 4096),
    "snapshot_every_entries": (1, 2**40),
    "trailing_entries": (0, 2**40),
    "max_sessions": (1, 1_000_000),
}
_FLAGS = ("forward", "insecure")
_LONGEST = 86_400.0
_LONGEST_SESSION = 366 * 86_400.0


def _naming_unknown_fields(cls: type[T]) -> type[T]:
    """Lets the constructor name an unknown field and the nearest known one, where the dataclass has only a TypeError."""
    dataclass_init: Any = cls.__init__

    @functools.wraps(dataclass_init)
    def init(self: T, *args: object, **values: object) -> None:
        if args:
            raise _refused(["Config takes keyword arguments only, such as Config(request_timeout=10.0)"])
        unknown = _unknown(values)
        if unknown:
            raise _refused(unknown + _problems({**_defaults(), **_known(values)}))
        dataclass_init(self, **values)

    type.__setattr__(cls, "__init__", init)
    return cls


@_naming_unknown_fields
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one node. Immutable; durations in seconds (float), sizes in bytes (int).

    Members of one cluster may differ in all but `cluster`; the smallest `election_timeout` of the first start is what the cluster keeps.

    Attributes:
        cluster: the cluster's name, stored with the data and checked at every start and on every connection; 1 to 255 bytes of UTF-8.
        heartbeat_interval: seconds between two heartbeats of a leader.
        election_timeout: (smallest, largest) seconds without a leader before a node asks for votes; drawn anew each time.
        drift_bound: how much faster or slower than another a clock may run, as a fraction (0.05: five percent).
        request_timeout: seconds a call waits when it is given no `timeout`; also how long `close` may take.
        storage_stall_timeout: a leader whose oldest write has waited for this many seconds gives leadership away.
        forward: whether a follower passes proposals on to the leader; if not, it raises `NotLeaderError`.
        insecure: whether an address that other machines can reach may be served without TLS.
        max_entry_bytes: the longest data of one proposal; at most `MAX_ENTRY_BYTES`.
        max_inflight_messages: append messages under way to one follower.
        max_inflight_bytes: bytes under way to one follower.
        max_uncommitted_bytes: bytes a leader takes without a quorum having them, before it answers `OverloadedError`.
        snapshot_every_entries: a snapshot is made when this many entries were applied since the last one,
        snapshot_every_bytes: or this many bytes.
        trailing_entries: entries kept in the log behind a snapshot, for followers that are a little late.
        snapshot_pin_bytes: bytes of log that a running snapshot transfer may hold back from being purged.
        snapshot_bytes_per_second: bytes of snapshots that this node sends in a second, to all followers together; 0: as fast as it goes.
        max_sessions: sessions kept; where one more is opened, the least recently used one goes.
        session_ttl: a session that is not used for this many seconds, by the times of entries, goes. This and `max_sessions` of the
            node that opened the newest session hold for all nodes.
        segment_bytes: size of one log file of `FileStorage`.

    Raises:
        ConfigError: with all problems at once (`problems`); unknown names come with the nearest known one.
    """

    cluster: str = "default"
    heartbeat_interval: float = 0.05
    election_timeout: tuple[float, float] = (0.25, 0.5)
    drift_bound: float = 0.05
    request_timeout: float = 5.0
    storage_stall_timeout: float = 15.0
    forward: bool = True
    insecure: bool = False
    max_entry_bytes: int = MAX_ENTRY_BYTES
    max_inflight_messages: int = 16
    max_inflight_bytes: int = 4 * _MIB
    max_uncommitted_bytes: int = 64 * _MIB
    snapshot_every_entries: int = 100_000
    snapshot_every_bytes: int = 256 * _MIB
    trailing_entries: int = 10_000
    snapshot_pin_bytes: int = _GIB
    snapshot_bytes_per_second: int = 0
    max_sessions: int = 10_000
    session_ttl: float = 3600.0
    segment_bytes: int = 16 * _MIB

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        problems = _problems(values)
        if problems:
            raise _refused(problems)
        low, high = self.election_timeout
        object.__setattr__(self, "election_timeout", (float(low), float(high)))
        for name in (*_DURATIONS, "session_ttl", "drift_bound"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @classmethod
    def lan(cls, **changes: Any) -> Config:
        """For members in one network: the defaults (heartbeat 50 ms, election 250–500 ms). `changes` are fields of `Config`."""
        return cls(**changes)

    @classmethod
    def wan(cls, **changes: Any) -> Config:
        """For members far apart: heartbeat 250 ms, election 1.5–3 s, requests 15 s, bigger windows. `changes` are fields of `Config`."""
        preset: dict[str, Any] = {
            "heartbeat_interval": 0.25,
            "election_timeout": (1.5, 3.0),
            "request_timeout": 15.0,
            "storage_stall_timeout": 30.0,
            "max_inflight_messages": 64,
            "max_inflight_bytes": 16 * _MIB,
        }
        return cls(**(preset | changes))

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Config:
        """Reads the fields from a TOML file, from its table `[d_engine]` if it has one, else from the top level.

        Durations may be numbers (seconds) or texts such as "150ms", sizes numbers (bytes) or texts such as "64MiB"; `preset = "lan" | "wan"`
        names what the other values stand on.

        Raises:
            ConfigError: the file is no TOML, or with all problems of its values.
            OSError: the file cannot be read.
        """
        with Path(path).open("rb") as file:
            try:
                table: dict[str, Any] = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{os.fspath(path)}: no TOML: {error}") from error
        inner = table.get("d_engine")
        if isinstance(inner, dict):
            table = dict(cast("dict[str, Any]", inner))
        problems: list[str] = []
        base: dict[str, Any] = _defaults()
        preset = table.pop("preset", "lan")
        if preset == "wan":
            base = cls.wan().to_dict()
        elif preset != "lan":
            problems.append(f"preset is {shown(preset)}: write 'lan' or 'wan'")
        problems += _unknown(table)
        values = dict[str, Any]()
        for name, value in _known(table).items():
            try:
                values[name] = _from_text(name, value)
            except ValueError as error:
                problems.append(f"{name}: {error}")
        problems += _problems(base | values)
        if problems:
            raise _refused(problems, os.fspath(path))
        return cls(**(base | values))

    def replace(self, **changes: Any) -> Config:
        """A copy with other values. Raises `ConfigError` like the constructor."""
        return type(self)(**(self.to_dict() | changes))

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def settings(config: Config) -> Settings:
    """What the native node is given: whole numbers."""
    low, high = config.election_timeout
    return {
        "cluster": config.cluster,
        "heartbeat_interval_micros": _micros(config.heartbeat_interval),
        "election_timeout_min_micros": _micros(low),
        "election_timeout_max_micros": _micros(high),
        "drift_ppm": round(config.drift_bound * 1_000_000),
        "request_timeout_micros": _micros(config.request_timeout),
        "storage_stall_timeout_micros": _micros(config.storage_stall_timeout),
        "forward": config.forward,
        "insecure": config.insecure,
        "max_entry_bytes": config.max_entry_bytes,
        "max_inflight_messages": config.max_inflight_messages,
        "max_inflight_bytes": config.max_inflight_bytes,
        "max_uncommitted_bytes": config.max_uncommitted_bytes,
        "snapshot_every_entries": config.snapshot_every_entries,
        "snapshot_every_bytes": config.snapshot_every_bytes,
        "trailing_entries": config.trailing_entries,
        "snapshot_pin_bytes": config.snapshot_pin_bytes,
        "snapshot_bytes_per_second": config.snapshot_bytes_per_second,
        "max_sessions": config.max_sessions,
        "session_ttl_micros": _micros(config.session_ttl),
        "segment_bytes": config.segment_bytes,
    }


def refused(problems: list[str], what: str) -> ConfigError:
    """One `ConfigError` for all of `problems`."""
    return _refused(problems, what)


def _refused(problems: list[str], what: str = "Config") -> ConfigError:
    text = problems[0] if len(problems) == 1 else f"{len(problems)} problems: " + "; ".join(problems)
    error = ConfigError(f"{what}: {text}")
    error.problems = list(problems)
    return error


def _micros(value: float) -> int:
    return max(1, round(value * 1_000_000))


def _names() -> list[str]:
    return [field.name for field in dataclasses.fields(Config)]


def _defaults() -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(Config)}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    names = _names()
    return {name: value for name, value in values.items() if name in names}


def _unknown(values: Mapping[str, Any]) -> list[str]:
    names = _names()
    return [f"unknown field {name!r}{nearest(name, names)}" for name in values if name not in names]


def _from_text(name: str, value: Any) -> Any:
    if name in {*_DURATIONS, "session_ttl"} and isinstance(value, str):
        return parse_duration(value)
    if name in _SIZES and isinstance(value, str):
        return parse_size(value)
    if name == "election_timeout" and isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return tuple(parse_duration(part) if isinstance(part, str) else part for part in parts)
    return value


def _problems(values: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    cluster = values["cluster"]
    if not isinstance(cluster, str) or not 1 <= len(cluster.encode("utf-8", "replace")) <= 255 or "\0" in cluster:
        found.append(f"cluster is {shown(cluster)}: a name of 1 to 255 bytes is needed")
    found += [
        f"{name} is {shown(values[name])}: seconds above 0, up to a day, are needed"
        for name in _DURATIONS
        if not _is_number(values[name]) or not 0 < values[name] <= _LONGEST
    ]
    rate = values["snapshot_bytes_per_second"]
    if isinstance(rate, int) and 0 < rate < 64 * _KIB:
        found.append(f"snapshot_bytes_per_second is {rate}: 0 (no limit) or at least {64 * _KIB} is needed")
    ttl = values["session_ttl"]
    if not _is_number(ttl) or not 0 < ttl <= _LONGEST_SESSION:
        found.append(f"session_ttl is {shown(ttl)}: seconds above 0, up to a year, are needed")
    found += _election_problems(values)
    drift = values["drift_bound"]
    if not _is_number(drift) or not 0 <= drift < 0.5:
        found.append(f"drift_bound is {shown(drift)}: a fraction from 0 to below 0.5 is needed")
    for name in _FLAGS:
        if not isinstance(values[name], bool):
            found.append(f"{name} is {shown(values[name])}: True or False is needed")
    for name, (low, high) in {**_SIZES, **_COUNTS}.items():
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            unit = "bytes" if name in _SIZES else name.rpartition("_")[2]
            found.append(f"{name} is {shown(value)}: a whole number of {unit} from {low} to {high} is needed")
    return found


def _election_problems(values: Mapping[str, Any]) -> list[str]:
    pair = values["election_timeout"]
    parts: list[Any] = list(pair) if isinstance(pair, (tuple, list)) else []  # pyright: ignore[reportUnknownArgumentType]
    if len(parts) != 2 or not all(map(_is_number, parts)):
        return [
            f"election_timeout is {shown(values['election_timeout'])}: a pair (smallest, largest) of seconds is needed"
        ]
    low, high = parts
    found: list[str] = []
    if not 0 < low <= _LONGEST or not 0 < high <= _LONGEST:
        found.append(f"election_timeout is ({low}, {high}): both values are seconds above 0, up to a day")
    elif low >= high:
        found.append(
            f"election_timeout is ({low}, {high}): (smallest, largest) with a span between them is needed, such as (0.25, 0.5)"
        )
    heartbeat = values["heartbeat_interval"]
    if _is_number(heartbeat) and heartbeat > 0 and 0 < low < 2 * heartbeat:
        found.append(
            f"election_timeout is ({low}, {high}): the smallest has to be at least twice heartbeat_interval ({heartbeat})"
        )
    stall = values["storage_stall_timeout"]
    if _is_number(stall) and 0 < stall <= high:
        found.append(
            f"storage_stall_timeout is {stall}: it has to be longer than the largest election_timeout ({high})"
        )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
