"""Linearizable reads by `ReadIndex` (thesis 6.4): a round of heartbeats confirms only reads that were queued before it was sent."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from .types import Index, NodeId, RequestId

__all__ = ["Asker", "Reads"]

LIMIT: Final = 4096
"""Reads that a leader lets wait at most; more are refused."""

Asker: TypeAlias = tuple[NodeId, RequestId]
"""Who asked: a member (maybe this one) and its number for the read."""


class Reads:
    """A leader's reads."""

    __slots__ = ("confirming", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Asker] = []
        self.confirming: deque[tuple[int, Index, list[Asker]]] = deque()

    def ask(self, asker: Asker) -> bool:
        """A read is asked for; `False`: too many wait already."""
        room = len(self.waiting) < LIMIT
        if room:
            self.waiting.append(asker)
        return room

    def want_round(self) -> bool:
        """Whether a round should start now."""
        return bool(self.waiting) and not self.confirming

    def round_starts(self, round_: int, commit: Index) -> None:
        """A round is about to be sent; all that wait are to be answered with `commit` once it is confirmed."""
        if self.waiting:
            self.confirming.append((round_, commit, self.waiting))
            self.waiting = []

    def confirmed(self, round_: int) -> list[tuple[Asker, Index]]:
        """A quorum has answered that round, and with it every earlier one: the reads that may be answered, with what."""
        answers: list[tuple[Asker, Index]] = []
        while self.confirming and self.confirming[0][0] <= round_:
            _, index, askers = self.confirming.popleft()
            answers += [(asker, index) for asker in askers]
        return answers

    def abandon(self) -> list[Asker]:
        """Leadership is over: all that are unanswered."""
        askers = [asker for _, _, confirming in self.confirming for asker in confirming] + self.waiting
        self.confirming.clear()
        self.waiting = []
        return askers
