"""Looks at plugins when they are handed over, so that a mistake is named there and not in the middle of an election."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from ._text import shown
from .errors import PluginTypeError


class Method(NamedTuple):
    """How the node calls a method."""

    name: str
    arguments: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    optional: bool = False

    def signature(self) -> str:
        """As a line of Python, for messages."""
        parts = ["self", *self.arguments]
        if self.keywords:
            parts += ["*", *self.keywords]
        return f"def {self.name}({', '.join(parts)})"


STATE_MACHINE = (
    Method("apply", ("entry",)),
    Method("apply_batch", ("entries",), optional=True),
    Method("restore", ("src",)),
    Method("query", ("request",), optional=True),
)
DURABLE = (
    Method("applied"),
    Method("apply_durable", ("batch",)),
    Method("restore", ("src",)),
    Method("query", ("request",), optional=True),
)
SNAPSHOT = (Method("snapshot", ("out",)),)
FREEZE = (Method("freeze"), Method("write_view", ("view", "out")))
RESULTS = (Method("dump_result", ("result",)), Method("load_result", ("data",)))
LOG_STORE = (
    Method("bounds"),
    Method("read", ("start", "stop", "max_bytes")),
    Method("append", ("records",), ("truncate_from",)),
    Method("purge", ("upto",)),
)
META_STORE = (Method("load"), Method("save", ("state",)))
SNAPSHOT_STORE = (
    Method("create", ("meta",)),
    Method("latest"),
    Method("open", ("meta",)),
    Method("partial"),
    Method("retain", ("count",)),
)
STORAGE = (Method("open", ("identity",)), Method("close"))
TRANSPORT = (
    Method("start", ("node_id", "receive")),
    Method("set_peers", ("peers",)),
    Method("send", ("batch",)),
    Method("close"),
)


def check(what: str, plugin: object, methods: Sequence[Method]) -> None:
    """Raises `PluginTypeError` unless `plugin` has all these methods as plain functions that take these arguments.

    Args:
        what: its role, for the message, such as "state_machine".
        plugin: what the user handed over.
        methods: what the node is going to call.
    """
    if isinstance(plugin, type):
        raise PluginTypeError(
            f"{what} is the class {plugin.__name__}, not an object", hint=f"Hand over {plugin.__name__}(...)"
        )
    owner = type(plugin).__name__
    for method in methods:
        try:
            function = getattr(plugin, method.name, None)
        except Exception as error:
            raise PluginTypeError(
                f"{what}: {owner}.{method.name} raised {shown(error)}", callback=method.name
            ) from error
        if function is None:
            if not method.optional:
                _refuse(what, owner, method, "is missing")
            continue
        if not callable(function):
            _refuse(what, owner, method, f"is {shown(function)}, not a method")
        check_callable(what, owner, method, function)


def check_callable(what: str, owner: str, method: Method, function: Callable[..., Any]) -> None:
    """The same for one function."""
    kind = _kind(function)
    if kind is not None:
        _refuse(what, owner, method, f"is {kind}: a plain function is needed, it runs on a thread of the node")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # built in, without a readable signature
    try:
        signature.bind(*method.arguments, **dict.fromkeys(method.keywords))
    except TypeError as error:
        _refuse(what, owner, method, f"cannot be called as the node does: {error}")


def _kind(function: Callable[..., Any]) -> str | None:
    call: Any = getattr(function, "__call__", None)  # noqa: B004 (objects whose __call__ is a coroutine function are meant)
    for candidate in (function, call):
        if inspect.iscoroutinefunction(candidate):
            return "a coroutine function"
        if inspect.isgeneratorfunction(candidate):
            return "a generator function"
        if inspect.isasyncgenfunction(candidate):
            return "an asynchronous generator function"
    return None


def _refuse(what: str, owner: str, method: Method, problem: str) -> NoReturn:
    raise PluginTypeError(
        f"{what}: {owner}.{method.name} {problem}", callback=method.name, hint=f"Define it as '{method.signature()}'"
    )
