"""Conformance suites: whether a storage, state machine or transport keeps what the node relies on.

Derive a test class, say in `make` how yours is made, and pytest collects every case. Each case says in its docstring what is promised; a
failure says what was expected, what came, and what to do.
"""

from __future__ import annotations

from ._case import ConformanceError, Report, run
from .machine import StateMachineConformance
from .storage import StorageConformance
from .transport import TransportConformance

__all__ = ["ConformanceError", "Report", "StateMachineConformance", "StorageConformance", "TransportConformance", "run"]
