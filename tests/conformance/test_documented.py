"""The plugins of the documentation keep what is promised: people begin with them."""

import functools
import re
from pathlib import Path

from d_engine.testing.conformance import StateMachineConformance, StorageConformance, TransportConformance

DOCS = Path(__file__).resolve().parents[2] / "docs"


@functools.cache
def documented(page):
    """What the blocks of a page define, up to where they start nodes."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        definitions = re.split(r"^(?:with|peers =|assert)\b", block, maxsplit=1, flags=re.MULTILINE)[0]
        exec(definitions, names)
    return names


class TestTableStorage(StorageConformance):
    def make(self, path):
        return documented("custom-storage.md")["TableStorage"](path)


class TestAccounts(StateMachineConformance):
    name = "Accounts"

    def make(self, path):
        return documented("state-machine.md")[self.name]()

    def commands(self):
        return [
            documented("state-machine.md")["command"](name, amount)
            for name, amount in (("ada", 10), ("bob", 7), ("ada", -3))
        ]

    def refused(self):
        return [documented("state-machine.md")["command"]("ada", -1000)]

    def queries(self):
        return ["ada"]


class TestBig(TestAccounts):
    name = "Big"


class TestCounter(StateMachineConformance):
    def make(self, path):
        return documented("state-machine.md")["Counter"]()


class TestTable(StateMachineConformance):
    def make(self, path):
        return documented("state-machine.md")["Table"](path / "words.db")


class TestQueueTransport(TransportConformance):
    def make(self, node_id, address):
        queues = self.__dict__.setdefault("queues", {})
        return documented("transport.md")["QueueTransport"](queues)
