"""Tests for what you bring: state machines on simulated clusters, storages and transports against their promises, histories of clients."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformance import ConformanceError, StateMachineConformance, StorageConformance, TransportConformance
    from .errors import SimulationError
    from .linearizability import (
        UNKNOWN,
        History,
        Linearizability,
        Operation,
        PendingCall,
        SequentialModel,
        check_linearizable,
    )

__all__ = [
    "UNKNOWN",
    "ConformanceError",
    "History",
    "Linearizability",
    "Operation",
    "PendingCall",
    "SequentialModel",
    "SimulationError",
    "StateMachineConformance",
    "StorageConformance",
    "TransportConformance",
    "check_linearizable",
]

# Loaded when they are first asked for: the pytest plugin lies here, and every test run of every project imports it.
_HOMES = {
    "conformance": "ConformanceError StateMachineConformance StorageConformance TransportConformance",
    "errors": "SimulationError",
    "linearizability": "UNKNOWN History Linearizability Operation PendingCall SequentialModel check_linearizable",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
