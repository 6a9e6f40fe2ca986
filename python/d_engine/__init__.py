"""Raft for Python: a native core, with storage, state machine and transport replaceable by Python objects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .async_raft import AsyncRaft
from .config import Config
from .errors import (
    ClosedError,
    CommandError,
    CompactedError,
    ConfigError,
    CorruptLogError,
    DeadlineError,
    DEngineError,
    DirectoryLockedError,
    ForkError,
    InvalidMessageError,
    NotAcceptedError,
    NotLeaderError,
    OutcomeUnknownError,
    OverloadedError,
    PluginError,
    PluginTypeError,
    ProposalError,
    ResultLostError,
    SessionExpiredError,
    StorageError,
    TooLargeError,
    WipedMemberError,
    WrongClusterError,
    WrongNodeError,
)
from .local_cluster import LocalCluster
from .peers import Peer
from .plugins import (
    Batch,
    DurableStateMachine,
    HardState,
    Identity,
    LogBounds,
    LogId,
    LogStore,
    MetaStore,
    Outgoing,
    Record,
    SnapshotMeta,
    SnapshotReader,
    SnapshotStore,
    SnapshotWriter,
    StateMachine,
    StorageEngine,
    SupportsApply,
    SupportsFreeze,
    SupportsSnapshotStore,
    Transport,
)
from .raft import Raft
from .sessions import AsyncSession, Session, SessionPlace
from .status import Change, Member, Progress, Status
from .storage import FileStorage, MemoryStorage

if TYPE_CHECKING:
    from ._core import Entries, Entry, GrpcTransport, LocalTransport, __version__
    from .socket_transport import SocketTransport
    from .sqlite_storage import SQLiteStorage

__all__ = [
    "AsyncRaft",
    "AsyncSession",
    "Batch",
    "Change",
    "ClosedError",
    "CommandError",
    "CompactedError",
    "Config",
    "ConfigError",
    "CorruptLogError",
    "DEngineError",
    "DeadlineError",
    "DirectoryLockedError",
    "DurableStateMachine",
    "Entries",
    "Entry",
    "FileStorage",
    "ForkError",
    "GrpcTransport",
    "HardState",
    "Identity",
    "InvalidMessageError",
    "LocalCluster",
    "LocalTransport",
    "LogBounds",
    "LogId",
    "LogStore",
    "Member",
    "MemoryStorage",
    "MetaStore",
    "NotAcceptedError",
    "NotLeaderError",
    "OutcomeUnknownError",
    "Outgoing",
    "OverloadedError",
    "Peer",
    "PluginError",
    "PluginTypeError",
    "Progress",
    "ProposalError",
    "Raft",
    "Record",
    "ResultLostError",
    "SQLiteStorage",
    "Session",
    "SessionExpiredError",
    "SessionPlace",
    "SnapshotMeta",
    "SnapshotReader",
    "SnapshotStore",
    "SnapshotWriter",
    "SocketTransport",
    "StateMachine",
    "Status",
    "StorageEngine",
    "StorageError",
    "SupportsApply",
    "SupportsFreeze",
    "SupportsSnapshotStore",
    "TooLargeError",
    "Transport",
    "WipedMemberError",
    "WrongClusterError",
    "WrongNodeError",
    "__version__",
]

# Loaded when they are first asked for: the native module, and what few programs use.
_LAZY = {
    "Entries": "_core",
    "Entry": "_core",
    "GrpcTransport": "_core",
    "LocalTransport": "_core",
    "SQLiteStorage": "sqlite_storage",
    "SocketTransport": "socket_transport",
    "__version__": "_core",
}


def __getattr__(name: str) -> Any:
    home = _LAZY.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home == "_core":
        from ._process import native

        value = getattr(native(), name)
    else:
        value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
