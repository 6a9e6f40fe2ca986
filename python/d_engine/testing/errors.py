"""What a simulation that failed raises."""

from __future__ import annotations

from typing import Any

from d_engine.errors import DEngineError

__all__ = ["SimulationError"]


class SimulationError(DEngineError, AssertionError):
    """A simulated cluster, or the state machine on it, broke a promise. The message says what happened, why, and how to see it again.

    Attributes:
        check: the promise that was broken, in a word (str), such as "replicas-equal".
        seed: the world in which it happened (int), or None where it happened outside of any.
        replay: the line that makes it happen again (str).
        states: the states that differ, by who held them (dict[str, Any]); empty where the failure is about something else.
        why: what was seen that explains it (str), or None.
    """

    check: str = ""
    seed: int | None = None
    replay: str = ""
    states: dict[str, Any]
    why: str | None = None

    def fill(self) -> None:
        """For this package only."""
        super().fill()
        if "states" not in self.__dict__:
            self.states = {}

    def __str__(self) -> str:
        # The message is a page of its own: what DEngineError would append stands in it.
        return str(self.args[0]) if self.args else ""
