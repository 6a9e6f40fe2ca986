"""A few operations as a drawing in text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ._history import Operation

__all__ = ["diagram"]

_WIDTH: Final = 60
_NARROW: Final = 4


def diagram(operations: Sequence[Operation], culprit: Operation) -> str:
    """One line an operation, by invocation. Time is drawn by the order of events alone; bars that share a column overlap."""
    if not operations:
        return ""
    moments = sorted({time for call in operations for time in (call.invoked, call.returned) if time is not None})
    step = max(1, min(_NARROW, _WIDTH // len(moments)))
    column = {time: at * step for at, time in enumerate(moments)}
    width = column[moments[-1]] + 1
    clients = [f"client {call.client}" for call in operations]
    bars = [_bar(call, column, width) for call in operations]
    lines: list[str] = []
    for client, bar, call in zip(clients, bars, operations, strict=True):
        mark = "   <- impossible" if call is culprit else ""
        lines.append(f"{client:<{max(map(len, clients))}}  {bar:<{max(map(len, bars))}}  {call.described()}{mark}")
    return "\n".join(lines)


def _bar(call: Operation, column: dict[float, int], width: int) -> str:
    begin = column[call.invoked]
    if call.returned is None or call.unknown:
        bar = "|" + "~" * (width - begin - 1) + ">"
    else:
        end = column[call.returned]
        bar = "|" if end == begin else "|" + "-" * (end - begin - 1) + "|"
    return " " * begin + bar
