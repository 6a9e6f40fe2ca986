"""What can go wrong, as exceptions.

All are `DEngineError`s. Each pickles and copies with its attributes, says in `retryable` whether the same call may succeed later *without the risk
of being carried out twice*, and names, as far as they are known, `node` (id), `index` (log position), `callback` (the plugin method that failed)
and `hint` (what to do next). Where a plugin's own exception is behind it, that one is `__cause__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from .sessions import SessionPlace

__all__ = [
    "ClosedError",
    "CommandError",
    "CompactedError",
    "ConfigError",
    "CorruptLogError",
    "DEngineError",
    "DeadlineError",
    "DirectoryLockedError",
    "ForkError",
    "InvalidMessageError",
    "NotAcceptedError",
    "NotLeaderError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PluginError",
    "PluginTypeError",
    "ProposalError",
    "ResultLostError",
    "SessionExpiredError",
    "StorageError",
    "TooLargeError",
    "WipedMemberError",
    "WrongClusterError",
    "WrongNodeError",
]

_E = TypeVar("_E", bound="DEngineError")


def _rebuild(cls: type[_E], args: tuple[Any, ...], state: dict[str, Any]) -> _E:
    # Not through `__init__`: its parameters differ from class to class (and in users' subclasses of CommandError), the state does not.
    error = cls.__new__(cls, *args)
    error.args = args  # OSError and its kin (DeadlineError) set them in `__init__` only
    error.__dict__.update(state)
    return error


class DEngineError(Exception):
    """The root of all errors of this package.

    Attributes:
        retryable: whether the same call may succeed later and cannot be carried out twice by that.
        node: the node that raised it (int), or None.
        index: the log index it is about (int), or None.
        callback: the plugin method behind it, such as "apply" or "LogStore.append" (str), or None.
        hint: what to do next (str), or None.
        results: only on errors of `propose_many` and `submit_many`: the results of the leading items that were certainly applied (list).
    """

    retryable: ClassVar[bool] = False
    node: int | None = None
    index: int | None = None
    callback: str | None = None
    hint: str | None = None
    results: list[Any]

    def __init__(
        self,
        *args: object,
        node: int | None = None,
        index: int | None = None,
        callback: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(*args)
        if node is not None:
            self.node = node
        if index is not None:
            self.index = index
        if callback is not None:
            self.callback = callback
        if hint is not None:
            self.hint = hint
        self.fill()

    def fill(self) -> None:
        """Completes the attributes. For this package only."""
        if "results" not in self.__dict__:
            self.results = []

    def __str__(self) -> str:
        text = super().__str__()
        where = [
            f"{name} {value}"
            for name, value in (("node", self.node), ("index", self.index), ("in", self.callback))
            if value is not None
        ]
        if where:
            text = f"{text} ({', '.join(where)})" if text else ", ".join(where)
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


class ConfigError(DEngineError, ValueError):
    """A setting, a peer table, an address or a change of the members is wrong. Nothing was started or changed.

    Attributes:
        problems: all that was found (list[str]).
        reason: of a change or a transfer that the rules refuse, in one word (str): "empty", "duplicate", "unknown_member",
            "not_a_learner", "not_a_voter", "role_of_member", "witness_role", "not_seen", "no_voter_left", "too_many_witnesses",
            "no_change"; otherwise None.
    """

    problems: list[str]
    reason: str | None = None

    def fill(self) -> None:
        """For this package only."""
        super().fill()
        self.problems = [str(self.args[0])] if self.args else []


class PluginTypeError(DEngineError, TypeError):
    """An object that was handed over is no such plugin: a method is missing, takes other arguments, or is a coroutine function."""


class ClosedError(DEngineError):
    """The node, cluster or queue is closed (or stopped by itself: then the reason is `__cause__`)."""


class ForkError(DEngineError):
    """The object was made before `os.fork()` and is used in the child, where its threads do not exist."""


class ProposalError(DEngineError):
    """A proposal was not answered with a result."""


class NotAcceptedError(ProposalError):
    """The proposal (or change, or transfer) was certainly not carried out and never will be: it may be repeated.

    Attributes:
        reason: of a change or a transfer that was refused for now, in one word (str): "in_flight" (another change is), "not_ready"
            (the leader is new), "transferring", "storage_stalled", "apply_stopped", "closing", "too_far_behind", "no_successor";
            otherwise None.
    """

    retryable: ClassVar[bool] = True
    reason: str | None = None


class NotLeaderError(NotAcceptedError):
    """This node does not lead, and did not (or could not) forward.

    Attributes:
        leader_id: who leads, as far as this node knows (int), or None.
        address: the leader's address (str), or None.
        term: this node's term (int), or None.
    """

    leader_id: int | None
    address: str | None
    term: int | None

    def __init__(
        self,
        leader_id: int | None = None,
        address: str | None = None,
        term: int | None = None,
        *,
        message: str | None = None,
        node: int | None = None,
        hint: str | None = None,
    ) -> None:
        if message is None:
            message = (
                "no leader is known" if leader_id is None else f"not the leader: node {leader_id} at {address} leads"
            )
        super().__init__(message, node=node, hint=hint)
        self.leader_id, self.address, self.term = leader_id, address, term


class OverloadedError(NotAcceptedError):
    """A queue that is bounded is full: wait, then repeat."""


class TooLargeError(NotAcceptedError):
    """An entry is longer than `Config.max_entry_bytes`. Repeating the same one cannot help.

    Attributes:
        size: its length in bytes (int), or None.
        limit: the longest that is accepted, in bytes (int), or None.
    """

    retryable: ClassVar[bool] = False
    size: int | None = None
    limit: int | None = None


class OutcomeUnknownError(ProposalError):
    """The proposal may or may not be applied: leadership was lost, the deadline passed or the node closed while it was under way.

    Repeating it can apply it twice, unless it belongs to a session: `session.retry(error)` repeats it there safely.

    Attributes:
        place: where it stands in its session (SessionPlace); None without one. It pickles: `propose(data, session=error.place)` repeats it
            through any node, in any process.
    """

    place: SessionPlace | None = None
    _attempt: object = None


class DeadlineError(DEngineError, TimeoutError):
    """A read or a wait was not over in time. Nothing was changed."""

    retryable: ClassVar[bool] = True


class CommandError(DEngineError):
    """For users: raised in `apply`, it refuses that entry, deterministically on every node, and reaches the one who proposed it.

    Subclass it freely; give `args` what a pickle needs.
    """


class PluginError(DEngineError):
    """A plugin's method raised, hung or returned something wrong. `callback`, `node` and `index` say which, where and at which entry."""


class StorageError(DEngineError):
    """The storage failed. The node has stopped: nothing it had not confirmed as durable was acknowledged."""


class CorruptLogError(StorageError):
    """The log is damaged at a place that was known to be durable. It is never cut there by itself.

    Attributes:
        segment: the file (str), or None.
        offset: where in it, in bytes (int), or None.
    """

    segment: str | None = None
    offset: int | None = None


class DirectoryLockedError(StorageError):
    """Another process (or another `Raft` of this one) uses the data directory. `directory` names it (str)."""

    retryable: ClassVar[bool] = True
    directory: str | None = None


class WrongClusterError(DEngineError):
    """A storage or a peer belongs to another cluster. `expected` and `found` name both (str)."""

    expected: str | None = None
    found: str | None = None


class WrongNodeError(DEngineError):
    """A storage belongs to another node, or a peer is not who its address says. `expected` and `found` are ids (int)."""

    expected: int | None = None
    found: int | None = None


class WipedMemberError(DEngineError):
    """A member came back without the disk that the cluster knows it by; its votes do not count. `expected`, `found`: incarnations (hex str)."""

    expected: str | None = None
    found: str | None = None


class InvalidMessageError(DEngineError):
    """Bytes that came from outside are no message of this protocol. They were dropped."""


class SessionExpiredError(ProposalError):
    """The session is not known (any more): it was unused for too long, or too many were opened. Nothing was applied now.

    Where this was a repetition, the outcome of the earlier attempt is unknown: read the state. Then open another session.

    Attributes:
        session: its id (int), or None.
    """

    session: int | None = None


class ResultLostError(ProposalError):
    """The proposal was applied, once, but its result was not kept: it was acknowledged, too old, or none that can be kept.

    Attributes:
        session: the session's id (int), or None.
        sequence: the proposal's number in it (int), or None.
    """

    session: int | None = None
    sequence: int | None = None


class CompactedError(DEngineError):
    """What was asked for has been purged from the log. `index` says where the log begins."""


_BY_NAME: dict[str, type[DEngineError]] = {
    name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, DEngineError)
}


def command_error(name: str, args: tuple[Any, ...], attributes: dict[str, Any]) -> CommandError:
    """Makes a refusal again that was kept by "module:class". For `d_engine._core` only.

    Where this process does not know the class, or its module by another name, a class of the same name will do, else `CommandError`.
    """
    known: dict[str, type[CommandError]] = {}
    classes = [CommandError]
    while classes:
        cls = classes.pop()
        known[f"{cls.__module__}:{cls.__qualname__}"] = cls
        known.setdefault(cls.__qualname__, cls)
        classes += cls.__subclasses__()
    found = known.get(name) or known.get(name.partition(":")[2]) or CommandError
    error = _rebuild(found, args, attributes)
    error.fill()
    return error


def from_native(
    name: str, message: str, attributes: dict[str, Any], cause: BaseException | None = None
) -> DEngineError:
    """Makes the error that native code has to report. For `d_engine._core` only; called on whatever thread reports.

    Args:
        name: a class of this module; an unknown name gives a `DEngineError` that mentions it.
        message: what happened, without node, index, callback and hint.
        attributes: attributes of the class and of `DEngineError`; None values are left out.
        cause: becomes `__cause__`.
    """
    cls = _BY_NAME.get(name)
    if cls is None:
        cls, message = DEngineError, f"{name}: {message}"
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    for key, value in attributes.items():
        if value is not None or key in ("leader_id", "address", "term"):
            setattr(error, key, value)
    error.fill()
    if isinstance(error, NotLeaderError):
        for key in ("leader_id", "address", "term"):
            error.__dict__.setdefault(key, None)
    error.__cause__ = cause
    return error
