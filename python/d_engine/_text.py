"""Reading values that people write: durations, sizes, names, addresses. No I/O."""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Iterable

_NUMBER = re.compile(r"^\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-zµ]*)\s*$")
_DURATIONS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def parse_duration(text: str) -> float:
    """Seconds from "150ms", "5s", "2m". Raises `ValueError` that names the units."""
    match = _NUMBER.match(text)
    if match is None or match[2] not in _DURATIONS:
        raise ValueError(
            f"{text!r} is no duration: write a number of seconds, or one with a unit, such as '150ms' ({_units(_DURATIONS)})"
        )
    return float(match[1]) * _DURATIONS[match[2]]


def parse_size(text: str) -> int:
    """Bytes from "64MiB", "1GB". Raises `ValueError` that names the units."""
    match = _NUMBER.match(text)
    if match is None or match[2] not in _SIZES:
        raise ValueError(
            f"{text!r} is no size: write a number of bytes, or one with a unit, such as '64MiB' ({_units(_SIZES)})"
        )
    value = float(match[1]) * _SIZES[match[2]]
    if not value.is_integer():
        raise ValueError(f"{text!r} is no whole number of bytes")
    return int(value)


def _units(table: Iterable[str]) -> str:
    return ", ".join(table)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is most like it, with a space before it; empty where none is."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def shown(value: object, limit: int = 80) -> str:
    """`repr`, cut, and never an exception of somebody else's `__repr__`."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (somebody else's __repr__)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port". Raises `ValueError` that says what is wrong."""
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise ValueError(f"address {address!r} is not 'host:port'")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {address!r}: write an IPv6 host in brackets, '[{host}]:{port}'")
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"address {address!r}: the port is a number from 1 to 65535")
    if not host or any(c.isspace() or ord(c) < 33 for c in host):
        raise ValueError(f"address {address!r}: the host is empty or holds white space")
    return host, int(port)


def loopback(host: str) -> bool | None:
    """Whether a literal address is one of this machine alone; None for a name that has to be resolved first."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return None


def seconds(value: object, name: str = "timeout") -> float:
    """A timeout as a float: not negative, not NaN; `math.inf` waits for ever. Raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value < 0:
        raise ValueError(
            f"{name} is {shown(value)}: give seconds as a number ≥ 0, math.inf for ever, or None for Config.request_timeout"
        )
    return float(value)
