"""Correct state machines, with a disk that a kill leaves behind: what the broken ones are made of."""

import json
import sys
from copy import deepcopy
from dataclasses import dataclass, field

from d_engine import CommandError, StateMachine
from d_engine.testing.conformance import StateMachineConformance
from support.broken.registry import Registry


class Accounts(StateMachine[bytes, int]):
    """Balances that never go below zero."""

    def __init__(self, disk=None):
        self.balances = {}
        self.count = 0
        self.latest = 0.0

    def apply(self, entry):
        name, amount = self.parsed(entry)
        balance = self.balances.get(name, 0) + amount
        if balance < 0:
            raise CommandError(f"{name} has only {balance - amount}")
        self.balances[name] = balance
        self.count += 1
        self.latest = entry.time
        return self.result(entry, balance)

    def parsed(self, entry):
        name, amount = entry.data.decode().split()
        return name, int(amount)

    def result(self, entry, balance):
        return balance

    def query(self, request):
        return self.balances.get(request, 0)

    def dump(self):
        return {"balances": self.balances, "count": self.count, "latest": self.latest}

    def load(self, state):
        self.balances, self.count, self.latest = state["balances"], state["count"], state["latest"]

    def snapshot(self, out):
        out.write(json.dumps(self.dump()).encode())

    def restore(self, src):
        self.load(json.loads(src.read()))

    def dump_result(self, result):
        return b"%d" % result

    def load_result(self, data):
        return int(data)


class Frozen(Accounts):
    """The same, written while apply goes on."""

    def freeze(self):
        return deepcopy(self.dump())

    def write_view(self, view, out):
        out.write(json.dumps(view).encode())


@dataclass
class Disk:
    """What is at one path."""

    state: dict = field(default_factory=lambda: {"balances": {}, "count": 0, "latest": 0.0})
    applied: tuple = (0, b"")


class Durable(Accounts):
    """The same, with its own applied position."""

    def __init__(self, disk):
        super().__init__()
        self.disk = disk
        self.load(deepcopy(disk.state))
        self.position = disk.applied

    def applied(self):
        return self.position

    def apply_durable(self, batch):
        before = deepcopy(self.dump())
        try:
            results = self.applied_batch(batch)
        except BaseException:
            self.load(before)
            raise
        self.position = self.position_of(batch)
        self.commit()
        return results

    def applied_batch(self, batch):
        return self.apply_batch(batch.entries)

    def position_of(self, batch):
        return (batch.last_index, batch.sidecar)

    def restore(self, src):
        super().restore(src)
        self.commit()

    def commit(self):
        self.disk.state = deepcopy(self.dump())
        self.disk.applied = self.position

    def close(self):
        pass


NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay", "gil", "hal", "ian", "joy")


def suite_of(machine):
    """The suite over a machine, at the top of the machine's module, where another interpreter finds it."""

    class Suite(StateMachineConformance):
        patience = 10.0

        def disk(self, path):
            return self.__dict__.setdefault("disks", {}).setdefault(path, Disk())

        def make(self, path):
            return machine(self.disk(path))

        def commands(self):
            return [f"{name} {10 + at}".encode() for at, name in enumerate(NAMES)] + [b"ada -3", b"bob -4"]

        def refused(self):
            return [b"ada -100000", b"nobody -1"]

        def queries(self):
            return ["ada", "nobody"]

        def crash(self, path, copy):
            held = self.disk(path)
            self.disks[copy] = Disk(deepcopy(held.state), held.applied)

    Suite.__module__, Suite.__qualname__ = machine.__module__, f"{machine.__name__}Suite"
    setattr(sys.modules[machine.__module__], Suite.__qualname__, Suite)
    return Suite


MACHINES = Registry("machine", suite_of)
fails = MACHINES.fails

IN_ORDER = [suite_of(Frozen), suite_of(Durable)]
"""What is in order, for comparison."""
