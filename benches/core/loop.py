"""Three cores in one process, driven from Python by `step`: commits per second.

    python -m core.loop native 64 2       # the core, the batch, seconds; in benches/

The loop is that of `rust/src/native.rs`: every effect is carried out at once, in memory, and acknowledged through the
public inputs; a batch enters when the one before it has been applied on all three members. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from d_engine.pure import (
    Applied,
    Apply,
    Configuration,
    HardState,
    LogId,
    Member,
    Persist,
    Persisted,
    Proposal,
    Propose,
    Receive,
    Send,
    Settings,
    Start,
    Time,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from d_engine.pure import CoreStatus, Effect, Entry, Input

MEMBERS = 3
PAYLOAD = 256
KEPT = 4096  # entries that the log in memory keeps
RECORD = 64 + PAYLOAD
CORES = {"native": ("d_engine.core", "NativeCore"), "pure": ("d_engine.pure", "Core")}


class Core(Protocol):
    """What both cores have."""

    def step(self, what: Input, /) -> list[Effect]: ...
    def deadline(self) -> int | None: ...
    def status(self) -> CoreStatus: ...


def settings() -> Settings:
    return Settings(
        heartbeat_interval=100_000,
        election_timeout=(1_000_000, 2_000_000),
        drift_ppm=20_000,
        storage_stall_timeout=15_000_000,
        max_append_bytes=1 << 20,
        max_inflight_messages=256,
        max_inflight_bytes=16 << 20,
        max_uncommitted_bytes=64 << 20,
        tail_bytes=KEPT * RECORD,
        max_applying_bytes=16 << 20,
    )


def start(node: int) -> Start:
    members = tuple(Member(member, f"member-{member}:1") for member in range(1, MEMBERS + 1))
    return Start(
        id=node,
        incarnation=node,
        group=0,
        seed=node,
        hard_state=HardState(),
        purged=LogId(),
        last=0,
        term_runs=(),
        last_time=0,
        configurations=((0, Configuration(members, (), 1_000_000)),),
        snapshot=None,
        applied=0,
    )


class Cluster:
    """Three members under one virtual clock."""

    def __init__(self, core: Callable[[int, Settings, Start], Core]) -> None:
        self.cores = [core(0, settings(), start(node)) for node in range(1, MEMBERS + 1)]
        self.inboxes: list[deque[Input]] = [deque() for _ in self.cores]
        self.logs: list[deque[Entry]] = [deque(maxlen=KEPT) for _ in self.cores]
        self.applied = [0] * MEMBERS
        self.newest = [b""] * MEMBERS
        self.made = 0
        self.now = 0
        self.calls = 0
        self.request = 0
        while not all(status.commit > 0 for status in self.status()):
            self.pass_time()
        self.leader = next(at for at, status in enumerate(self.status()) if status.role == "leader")

    def status(self) -> list[CoreStatus]:
        return [core.status() for core in self.cores]

    def run(self) -> None:
        """Steps until nothing waits any more: all that waits for one member, then the next one."""
        now, inboxes = self.now, self.inboxes
        calls = 0
        busy = True
        while busy:
            busy = False
            for at, inbox in enumerate(inboxes):
                step = self.cores[at].step
                while inbox:
                    busy = True
                    calls += 1
                    for effect in step(inbox.popleft()):
                        if isinstance(effect, Send):
                            message = effect.message
                            inboxes[message.to - 1].append(Receive(now, now, message))
                        elif isinstance(effect, Persist):
                            self.logs[at].extend(effect.entries)
                            inbox.append(Persisted(now, effect.token))
                        elif isinstance(effect, Apply):
                            self.apply(at, effect.entries)
                            inbox.append(Applied(now, effect.entries[-1].index))
        self.calls += calls

    def apply(self, at: int, entries: tuple[Entry, ...]) -> None:
        if entries[0].kind == "command":
            self.applied[at] += len(entries)
            self.newest[at] = entries[-1].data

    def pass_time(self) -> None:
        """Nothing happens any more until the next deadline: so it is now."""
        deadlines = [core.deadline() for core in self.cores]
        self.now = now = max(self.now, min(at for at in deadlines if at is not None))
        for inbox, deadline in zip(self.inboxes, deadlines, strict=True):
            if deadline is not None and deadline <= now:
                inbox.append(Time(now, now))
        self.run()

    def commit(self, batch: int) -> None:
        """Proposes so many entries at once and runs until all of them are applied on all members."""
        first = self.made + 1
        self.made = made = self.made + batch
        rest = b"." * (PAYLOAD - 8)
        draft = tuple(
            [Proposal("command", 0, 0, 0, number.to_bytes(8, "little") + rest) for number in range(first, made + 1)]
        )
        self.request += 1
        self.inboxes[self.leader].append(Propose(self.now, self.now, ((self.request, draft),)))
        self.run()
        while self.applied != [made] * MEMBERS:
            self.pass_time()
        if self.newest != [draft[-1].data] * MEMBERS:
            raise AssertionError("every member applies what was proposed, in order")


def measure(name: str, batch: int, seconds: float) -> dict[str, object]:
    module, core = CORES[name]
    cluster = Cluster(getattr(import_module(module), core))
    chunk = max(1, 64 // batch)  # the clock is read once for so many batches

    def stretch(wanted: float) -> tuple[int, int, float, float]:
        made, calls, began, computed = cluster.made, cluster.calls, time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - began) < wanted:
            for _ in range(chunk):
                cluster.commit(batch)
        return cluster.made - made, cluster.calls - calls, elapsed, time.process_time() - computed

    stretch(seconds / 10)
    commits, calls, elapsed, computed = stretch(seconds)
    return {
        "core": name,
        "batch": batch,
        "seconds": elapsed,
        "commits": commits,
        "rate": commits / computed,
        "wall_rate": commits / elapsed,
        "calls_per_batch": calls * batch / commits,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
