"""State machines for tests."""

import json
import threading
from collections import Counter

from d_engine import CommandError, StateMachine


class WordCount(StateMachine[bytes, int]):
    """The one of the README."""

    def __init__(self):
        self.words = Counter()

    def apply(self, entry):
        self.words.update(entry.data.decode().split())
        return self.words.total()

    def query(self, request):
        return self.words[request]

    def snapshot(self, out):
        out.write(json.dumps(self.words).encode())

    def restore(self, src):
        self.words = Counter(json.load(src))


class Journal(StateMachine[bytes, int]):
    """Keeps everything it is given, in order; refuses what begins with "refuse"."""

    def __init__(self):
        self.items = []
        self.batches = []

    def apply(self, entry):
        if entry.data.startswith(b"refuse"):
            raise CommandError("refused", entry.data)
        self.items.append(entry.data)
        return len(self.items)

    def query(self, request):
        return list(self.items)

    def snapshot(self, out):
        out.write(json.dumps([item.decode("latin-1") for item in self.items]).encode())

    def restore(self, src):
        self.items = [item.encode("latin-1") for item in json.load(src)]


class Gate:
    """Holds a thread where a test wants it: `reached` is set there, `release` lets it go on. Released at the end of the test."""

    def __init__(self):
        self.reached = threading.Event()
        self.release = threading.Event()

    def pass_through(self, limit=60.0):
        self.reached.set()
        if not self.release.wait(limit):
            raise RuntimeError("the test never opened its gate")
