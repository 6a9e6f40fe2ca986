"""The state machine: counts words. The same on every node, since it depends on nothing but the entries before."""

import json
from collections import Counter
from typing import BinaryIO

from d_engine import Entry, StateMachine


class WordCount(StateMachine[bytes, int]):
    """Entries are lines of text (UTF-8); the result of each is how many words there are by then."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()

    def apply(self, entry: Entry) -> int:
        self.words.update(entry.data.decode().split())
        return self.words.total()

    def query(self, request: str) -> int:
        return self.words[request]

    def snapshot(self, out: BinaryIO) -> None:
        out.write(json.dumps(self.words).encode())

    def restore(self, src: BinaryIO) -> None:
        self.words = Counter(json.load(src))
