"""Raft for Python: a native core, with storage, state machine and transport replaceable by Python objects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Entries, Entry, GrpcTransport, LocalTransport, __version__
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
    from .socket_transport import SocketTransport
    from .sqlite_storage import SQLiteStorage
    from .status import Change, Member, Progress, Status
    from .storage import FileStorage, MemoryStorage

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

# Everything is loaded when it is first asked for: who imports one module of the package pays for that one.
_HOMES = {
    "_core": "Entries Entry GrpcTransport LocalTransport __version__",
    "async_raft": "AsyncRaft",
    "config": "Config",
    "errors": (
        "ClosedError CommandError CompactedError ConfigError CorruptLogError DEngineError DeadlineError "
        "DirectoryLockedError ForkError InvalidMessageError NotAcceptedError NotLeaderError "
        "OutcomeUnknownError OverloadedError PluginError PluginTypeError ProposalError ResultLostError "
        "SessionExpiredError StorageError TooLargeError WipedMemberError WrongClusterError WrongNodeError"
    ),
    "local_cluster": "LocalCluster",
    "peers": "Peer",
    "plugins": (
        "Batch DurableStateMachine HardState Identity LogBounds LogId LogStore MetaStore Outgoing Record "
        "SnapshotMeta SnapshotReader SnapshotStore SnapshotWriter StateMachine StorageEngine SupportsApply "
        "SupportsFreeze SupportsSnapshotStore Transport"
    ),
    "raft": "Raft",
    "sessions": "AsyncSession Session SessionPlace",
    "socket_transport": "SocketTransport",
    "sqlite_storage": "SQLiteStorage",
    "status": "Change Member Progress Status",
    "storage": "FileStorage MemoryStorage",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        if name in _HOMES:
            return importlib.import_module(f".{name}", __name__)
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
