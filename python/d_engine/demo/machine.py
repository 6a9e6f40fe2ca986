"""The demo's state machine: the word counter of the README, which also remembers which lines it has counted."""

import json
from collections import Counter
from typing import Any, BinaryIO
from zlib import crc32

from d_engine import Entry, StateMachine


def encode(number: int, text: str) -> bytes:
    """One entry: the line's number and the line."""
    return f"{number} {text}".encode()


def decode(data: bytes) -> tuple[int, str]:
    number, _, text = data.decode().partition(" ")
    return int(number), text


class WordCount(StateMachine[bytes, int]):
    """Counts words. The rest is for the comparison at the end, where it has to be told exactly which lines were counted.

    `apply` depends on nothing but the entries before it, so that every node computes the same.
    """

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.lines = bytearray()  # one bit a line: counted
        self.repeated = 0  # lines counted a second time; stays 0
        self.order = 0  # a checksum over the line numbers in the order they came
        self.last_index = 0
        self.restores = 0  # how often a snapshot replaced everything (of this process, so not part of the state)

    def apply(self, entry: Entry) -> int:
        number, text = decode(entry.data)
        self.words.update(text.split())
        byte, bit = divmod(number, 8)
        if byte >= len(self.lines):
            self.lines.extend(bytes(byte + 1 - len(self.lines)))
        self.repeated += self.lines[byte] >> bit & 1
        self.lines[byte] |= 1 << bit
        self.order = crc32(b"%d" % number, self.order)
        self.last_index = entry.index
        return self.words.total()

    def query(self, request: str) -> int:
        return self.words[request]

    def snapshot(self, out: BinaryIO) -> None:
        out.write(json.dumps(self.dump()).encode())

    def restore(self, src: BinaryIO) -> None:
        state = json.load(src)
        self.words = Counter(state["words"])
        self.lines = bytearray.fromhex(state["lines"])
        self.repeated, self.order, self.last_index = state["repeated"], state["order"], state["last_index"]
        self.restores += 1

    def dump(self) -> dict[str, Any]:
        """The whole state, as JSON can carry it."""
        return {
            "words": dict(self.words),
            "lines": self.lines.hex(),
            "repeated": self.repeated,
            "order": self.order,
            "last_index": self.last_index,
        }
