"""Transfers of leadership that callers wait for. The core decides everything else, and answers by its own deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .digest import option
from .types import EndTransfer

if TYPE_CHECKING:
    from d_engine.pure.types import Micros, NodeId, RequestId

    from .types import Action, Failure


class Transfers:
    """All transfers that the local user waits for: who, and until when."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked: dict[RequestId, tuple[object, Micros | None]] = {}  # ids ascend

    def __len__(self) -> int:
        return len(self.asked)

    def ask(self, request: RequestId, waiter: object, deadline: Micros | None) -> None:
        """The core is asked for one."""
        self.asked[request] = (waiter, deadline)

    def deadline(self) -> Micros | None:
        """When `expire` has something to do."""
        return min((deadline for _, deadline in self.asked.values() if deadline is not None), default=None)

    def ended(self, request: RequestId, result: NodeId | Failure, out: list[Action]) -> None:
        """The core has answered."""
        asked = self.asked.pop(request, None)
        if asked is not None:
            out.append(EndTransfer(asked[0], result))

    def fail_all(self, failure: Failure, out: list[Action]) -> None:
        """Ends all."""
        out += [EndTransfer(waiter, failure) for waiter, _ in self.asked.values()]
        self.asked.clear()

    def expire(self, now: Micros, out: list[Action]) -> None:
        """Ends those whose time is over."""
        for request, (waiter, deadline) in list(self.asked.items()):
            if deadline is not None and deadline <= now:
                del self.asked[request]
                out.append(EndTransfer(waiter, "deadline"))

    def numbers(self) -> list[int]:
        """For the digest."""
        found = [len(self.asked)]
        for request, (_, deadline) in self.asked.items():
            found += [request, *option(deadline)]
        return found
