"""The check of a history, and what came of it in words."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast

from d_engine._process import native

from ._diagram import diagram
from ._history import UNKNOWN, Operation, shown

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["Linearizability", "SequentialModel", "check_linearizable"]

S = TypeVar("S")

# The names of the built-in models, and those that others have for them.
_MODELS: Final[Mapping[str, str]] = {
    "register": "register",
    "cas-register": "register",
    "map": "map",
    "kv": "map",
    "counter": "counter",
    "append-list": "append-list",
    "queue": "queue",
    "set": "set",
    "lock": "lock",
    "mutex": "lock",
}
_WITH_INITIAL: Final = {"register", "map", "counter"}
_STATES: Final = 8

# What the search answers.
_Answer: TypeAlias = (
    tuple[Literal["ok"], list[list[int]]]
    | tuple[Literal["undecided"], list[int], Literal["moves", "memory", "time"]]
    | tuple[Literal["violation"], list[int], int, list[int], list[Any], list[int]]
)


class SequentialModel(Protocol[S]):
    """The thing that is used, as one caller alone would see it: an object, or a class that is called without arguments.

    A model may also have:

    - `partition(call)`: what the call concerns, such as a key; None if that is everything. Calls that concern different things are searched apart,
      each part from `init()`: a large gain.
    - `reads(call)`: whether the call changes no state, whichever it comes upon. The search then need not try it at other moments: a gain, too.

    Calls, results and states are kept apart by `==` and `hash()`, and a step is made once for equal ones. States must have a hash: give tuples,
    frozensets, frozen dataclasses, not lists or dicts. A step must depend on nothing but its arguments, and leave them as they are.
    """

    def init(self) -> S:
        """The state before all calls."""
        ...

    def step(self, state: S, call: Any, result: Any, /) -> tuple[bool, S]:
        """Whether `call` in `state` can have had that result, and the state afterwards.

        Where nobody knows the outcome, `result` is `UNKNOWN`, which is equal to everything: `result == expected` just works.
        """
        ...


@dataclass(frozen=True)
class Linearizability:
    """What came out of a check; true only if the history is linearizable. As text: the reason, in words, with a small drawing.

    Attributes:
        ok: there is an order.
        undecided: the search ended before it had looked at everything: neither in order nor certainly not.
        model: the model's name.
        operations: all operations, by the order in which they were given.
        orders: if ok, an order of each part of the history; of calls with unknown outcome only those that are needed.
        part: if not ok, the operations of the part that is wrong or was not decided.
        culprit: if violated, the operation whose return no order reaches: up to just before it, all is in order.
        prefix: such an order of what came before.
        states: the states that such orders lead to, that of `prefix` first.
        window: as few operations as were found that contradict each other, by their invocation, whatever all others did.
        explanation: all of this in words.
        diagram: `window` as a drawing: time goes from left to right.
    """

    ok: bool
    undecided: bool
    model: str
    operations: Sequence[Operation] = field(repr=False)
    orders: tuple[tuple[Operation, ...], ...] = field(default=(), repr=False)
    part: tuple[Operation, ...] = field(default=(), repr=False)
    culprit: Operation | None = None
    prefix: tuple[Operation, ...] = field(default=(), repr=False)
    states: tuple[Any, ...] = ()
    window: tuple[Operation, ...] = field(default=(), repr=False)
    explanation: str = ""
    diagram: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return f"{self.explanation}\n\n{self.diagram}" if self.diagram else self.explanation

    def __repr__(self) -> str:
        return f"<{self}>"


def check_linearizable(
    history: Iterable[Operation],
    model: str | SequentialModel[Any] | type[SequentialModel[Any]],
    *,
    initial: Any = None,
    timeout: float = 60.0,
    max_moves: int | None = None,
    max_bytes: int = 1 << 30,
) -> Linearizability:
    """Looks for an order of the calls that explains all results: one moment for each call, between its beginning and its end.

    The search is that of Wing and Gong with Lowe's memory, in Rust. It tries to find an order for each part of the history; the more calls are
    under way at the same moment, the longer that can take.

    Args:
        history: the operations, in any order.
        model: "register" (also "cas-register"), "map" ("kv"), "counter", "append-list", "queue", "set" or "lock" ("mutex"); or a model of your own,
            see `SequentialModel`.
        initial: what a register holds, a map answers for a key that is not there, or a counter begins with.
        timeout: seconds until the search gives up; `math.inf` never does.
        max_moves: the same in moves of the search, which are the same on every machine.
        max_bytes: the same in memory.

    Returns:
        A result that is true only if there is an order. An undecided one is false, too.

    Raises:
        TypeError: the model is none, or does not take a call; a step returned something else than a pair, or a state without a hash.
        ValueError: no model has this name, or a limit is none.
    """
    operations = tuple(history)
    name, prepared = _model(model)
    if initial is not None and name not in _WITH_INITIAL:
        raise ValueError(f"initial is for {', '.join(sorted(_WITH_INITIAL))}: the model {name} begins by itself")
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}: seconds above 0 are needed, or math.inf")
    answer: _Answer = native().linear_check(
        prepared, initial, _rows(operations), 2**63 if max_moves is None else max_moves, max_bytes, float(timeout)
    )

    def pick(places: Iterable[int]) -> tuple[Operation, ...]:
        return tuple(operations[place] for place in places)

    match answer:
        case ("ok", orders):
            return Linearizability(
                ok=True,
                undecided=False,
                model=name,
                operations=operations,
                orders=tuple(map(pick, orders)),
                explanation=f"Linearizable as {name}: {_counted(operations)}",
            )
        case ("undecided", part, why):
            limit = {
                "time": f"timeout={timeout:g} seconds",
                "moves": f"max_moves={max_moves}",
                "memory": f"max_bytes={max_bytes}",
            }[why]
            return Linearizability(
                ok=False,
                undecided=True,
                model=name,
                operations=operations,
                part=pick(part),
                explanation=_undecided(limit, pick(part)),
            )
        case ("violation", part, culprit, prefix, states, window):
            return Linearizability(
                ok=False,
                undecided=False,
                model=name,
                operations=operations,
                part=pick(part),
                culprit=operations[culprit],
                prefix=pick(prefix),
                states=tuple(states),
                window=pick(window),
                explanation=_violation(name, operations[culprit], pick(prefix), states, pick(window)),
                diagram=diagram(pick(window), operations[culprit]),
            )


def _rows(operations: Sequence[Operation]) -> list[tuple[Any, Any, bool, int, int]]:
    """The operations for the search, which knows moments by number only: equal times are one moment."""
    times: set[float] = set()
    for operation in operations:
        if not isinstance(operation, Operation):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a history has Operations, not {shown(operation)}")
        times.add(operation.invoked)
        if operation.returned is not None:
            times.add(operation.returned)
    number = {time: at for at, time in enumerate(sorted(times))}
    return [
        (call.call, call.result, not call.unknown, number[call.invoked], number[cast("float", call.returned)])
        if not call.unknown
        else (call.call, None, False, number[call.invoked], 0)
        for call in operations
    ]


# --- models -----------------------------------------------------------------------------------------------------------------


def _is_name(model: object) -> TypeIs[str]:
    return isinstance(model, str)


def _model(model: object) -> tuple[str, Any]:
    """Its name, and what the search takes for it."""
    if _is_name(model):
        if model not in _MODELS:
            near = difflib.get_close_matches(model, _MODELS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(set(_MODELS.values())))}"
            raise ValueError(f"no model is called {model!r}: {hint}")
        return _MODELS[model], _MODELS[model]
    made: Any = model() if inspect.isclass(model) else model
    name = type(made).__name__
    step: Any = getattr(made, "step", None)
    if not callable(step):
        raise TypeError(f"the model {name} has no method step(state, call, result) -> (possible, new state)")
    if not hasattr(made, "init"):
        raise TypeError(f"the model {name} has no init: the state before all calls, or a method that returns it")
    init: Any = made.init
    start: Callable[[], Any] = init if callable(init) else lambda: init
    return name, (start, step, getattr(made, "partition", None), getattr(made, "reads", None), UNKNOWN)


# --- words ------------------------------------------------------------------------------------------------------------------


def _counted(operations: Sequence[Operation]) -> str:
    unknown = sum(operation.unknown for operation in operations)
    return f"{len(operations)} operations" + (f", {unknown} of them with unknown outcome" if unknown else "")


def _during(operation: Operation) -> str:
    return f"from {operation.invoked} to {operation.returned}"


def _violation(
    name: str, culprit: Operation, prefix: Sequence[Operation], states: Sequence[Any], window: Sequence[Operation]
) -> str:
    listed = ", ".join(shown(state) for state in states[:_STATES]) + (", …" if len(states) > _STATES else "")
    by_then = f"the state was {listed}" if len(states) == 1 else f"the state was one of {listed}"
    last = f"; the last of them was {prefix[-1]}" if prefix else ""
    words = [
        f"Not linearizable as {name}: no moment {_during(culprit)} explains {culprit}.",
        f"Everything that had returned before can be put in order ({len(prefix)} operations{last}). By then {by_then}.",
    ]
    if len(window) > 1:
        words.append(f"These {len(window)} operations contradict each other, whatever all others did:")
        words += [f"  - {operation}, {_during(operation)}" for operation in window]
    return "\n".join(words)


def _undecided(limit: str, part: Sequence[Operation]) -> str:
    return (
        f"Undecided: {limit} was used up at a part of {_counted(part)}, up to {_at_once(part)} under way at the same moment. It takes"
        " longer with every one of these: let fewer clients use the same key, give up less often, or give the model partition(call)"
        " and reads(call); or raise the limit."
    )


def _at_once(operations: Sequence[Operation]) -> int:
    """How many are under way at most; what is unknown is so for ever."""
    moments = [(operation.invoked, 0, 1) for operation in operations]
    moments += [
        (math.inf if operation.returned is None or operation.unknown else operation.returned, 1, -1)
        for operation in operations
    ]
    most = now = 0
    for _, _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most
