"""`SplitMix64` (Steele, Lea and Flood 2014): small enough to be the same, bit for bit, in every language."""

from __future__ import annotations

from .types import U64

__all__ = ["SplitMix64"]


class SplitMix64:
    """A stream of pseudo-random numbers."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        """The next number."""
        self.state = z = (self.state + 0x9E37_79B9_7F4A_7C15) & U64
        z = (z ^ z >> 30) * 0xBF58_476D_1CE4_E5B9 & U64
        z = (z ^ z >> 27) * 0x94D0_49BB_1331_11EB & U64
        return z ^ z >> 31

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included. The bias of the remainder is far below what a timeout could show."""
        if high <= low:
            return low
        return low + self.next() % (high - low + 1)
