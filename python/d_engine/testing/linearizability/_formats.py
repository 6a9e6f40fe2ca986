"""Histories in the formats of Jepsen, Knossos, Maelstrom and Porcupine's test data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from . import _edn
from ._history import Operation, items

__all__ = ["parse"]

# "INFO  jepsen.util - 3	:invoke	:write	4" of a log, or the same without what comes before the process, as in history.txt.
_LOGGED: Final = re.compile(
    r"(?:^|jepsen\S*\s+-\s+)\s*(\S+)\s+:(invoke|ok|fail|info)\s+:(\S+)(?:[ \t]+(\S.*))?$", re.MULTILINE
)
_EMPTY: Final = re.compile(r"(?:[\s\[\]()]|;[^\n]*)*")
# What these take, besides a key, is nothing: some histories say in the invocation what will be read.
_WITHOUT_ARGUMENT: Final = {"read", "get", "dequeue"}


@dataclass(frozen=True, slots=True)
class _Event:
    line: int
    process: object
    kind: str
    function: str
    key: tuple[()] | tuple[Any]
    value: Any


@dataclass(slots=True)
class _Call:
    event: _Event
    call: tuple[Any, ...]
    invoked: int
    end: tuple[int, Any] | None = None
    happened: bool = True


def parse(text: str, *, keyed: bool, observed_failures: frozenset[str]) -> list[Operation]:
    """The operations of a history, by their invocations."""
    events = [_keyed(event) for event in _events(text)] if keyed else _events(text)
    under_way: dict[object, _Call] = {}
    calls: list[_Call] = []
    for now, event in enumerate(events):
        if not isinstance(event.process, int):
            continue
        if event.kind == "invoke":
            if event.process in under_way:
                before = under_way[event.process].event
                raise ValueError(
                    f"line {event.line}: process {event.process} invokes {event.function} while its {before.function} of line"
                    f" {before.line} is under way"
                )
            call = _Call(event, _call(event), now)
            calls.append(call)
            under_way[event.process] = call
        else:
            _end(under_way.pop(event.process, None), event, now, observed_failures)
    return [_operation(call) for call in calls if call.happened]


def _call(event: _Event) -> tuple[Any, ...]:
    arguments: tuple[object, ...] = (event.value,)
    if event.value is None or event.function in _WITHOUT_ARGUMENT:
        arguments = ()
    elif event.function == "cas":
        arguments = items(event.value) or arguments
    return (event.function, *event.key, *arguments)


def _end(call: _Call | None, event: _Event, now: int, observed_failures: frozenset[str]) -> None:
    if call is None:
        if event.kind == "info":  # a remark
            return
        raise ValueError(f"line {event.line}: process {event.process} ends {event.function}, which it has not invoked")
    if call.event.function != event.function:
        raise ValueError(
            f"line {event.line}: process {event.process} ends {event.function}, but has invoked {call.event.function}"
            f" in line {call.event.line}"
        )
    if event.kind == "fail":
        call.happened = event.function in observed_failures
        call.end = (now, False)
    elif event.kind == "ok":
        call.end = (now, _result(call.event, event))


def _result(invoked: _Event, ended: _Event) -> Any:
    if ended.function == "cas":
        return True
    # What was asked is repeated in the answer where there is none.
    repeated = ended.function not in _WITHOUT_ARGUMENT and ended.value == invoked.value
    return None if repeated else ended.value


def _operation(call: _Call) -> Operation:
    process = call.event.process
    if call.end is None:
        return Operation(process, call.call, None, call.invoked, None, unknown=True)
    returned, result = call.end
    return Operation(process, call.call, result, call.invoked, returned)


def _keyed(event: _Event) -> _Event:
    if not isinstance(event.process, int) or (event.value is None and event.kind != "invoke"):
        return event
    pair = items(event.value)
    if len(pair) != 2:
        raise ValueError(f"line {event.line}: the value is {event.value!r}, where a pair of key and value is needed")
    return _Event(event.line, event.process, event.kind, event.function, (pair[0],), pair[1])


# --- events of a text -------------------------------------------------------------------------------------------------------


def _events(text: str) -> list[_Event]:
    brace = re.search(r'\{\s*([":])', text)
    if brace is None:
        return [] if _EMPTY.fullmatch(text) else list(_logged(text))
    if brace[1] == '"':
        return [_event(line, fields) for line, fields in _json(text)]
    return [_event(line, fields) for line, fields in _edn.read_all(text, flat=True)]


def _logged(text: str) -> Iterator[_Event]:
    found = False
    line, at = 1, 0
    for match in _LOGGED.finditer(text):
        found = True
        line, at = line + text.count("\n", at, match.start()), match.start()
        process, kind, function, rest = match.groups()
        value = None
        if rest is not None and kind in {"invoke", "ok"}:
            value = _edn.read_all(rest)[0][1]
        yield _Event(line, int(process) if process.isdigit() else process, kind, function, (), value)
    if not found:
        raise ValueError("line 1: neither EDN nor JSON, and no line has a process, a type and a function")


def _json(text: str) -> Iterator[tuple[int, Any]]:
    if text.lstrip().startswith("["):
        try:
            events = cast("list[object]", json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno}: {error.msg}") from None
        # Lines are those of a file with one event a line.
        yield from ((line, _tuples(event)) for line, event in enumerate(events, 1))
        return
    for line, row in enumerate(text.splitlines(), 1):
        if row.strip():
            try:
                yield line, _tuples(json.loads(row))
            except json.JSONDecodeError as error:
                raise ValueError(f"line {line}: {error.msg}") from None


def _tuples(value: object) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def _event(line: int, fields: object) -> _Event:
    if not isinstance(fields, Mapping):
        raise ValueError(f"line {line}: {fields!r} is no event")  # noqa: TRY004  # of the text, not of what was passed
    event = cast("Mapping[str, Any]", fields)
    missing = [name for name in ("process", "type", "f") if name not in event]
    if missing:
        raise ValueError(f"line {line}: an event without {' and '.join(missing)}: {dict(event)!r}")
    key = (event["key"],) if event.get("key") is not None else ()
    kind = str(event["type"])
    if kind not in {"invoke", "ok", "fail", "info"}:
        raise ValueError(f"line {line}: the type is {kind!r}: invoke, ok, fail or info is needed")
    return _Event(line, event["process"], kind, str(event["f"]), key, event.get("value"))
