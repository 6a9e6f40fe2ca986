"""Is what clients saw possible if there were one copy only? Histories of calls, and the search for an order of them."""

from __future__ import annotations

from ._check import Linearizability, SequentialModel, check_linearizable
from ._history import UNKNOWN, History, Operation, PendingCall

__all__ = [
    "UNKNOWN",
    "History",
    "Linearizability",
    "Operation",
    "PendingCall",
    "SequentialModel",
    "check_linearizable",
]
