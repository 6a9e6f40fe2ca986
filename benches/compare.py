"""Side by side in one run: d-engine (durable), PySyncObj (in memory, batching on and off), and this machine's floor.

    python benches/compare.py              # three rounds, 30 kills a system: about 20 minutes
    python benches/compare.py --quick      # two rounds, 6 kills: about 4 minutes

Writes report.md, report.json and the picture (report.svg) beside this file, or to --output.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from floor import RECORD, SyncFloor, round_trip, sync_floor
from measure import Measured, Plan, measure
from report import write_report
from systems import NAMES

from d_engine.demo.places import IN_MEMORY, file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent


@dataclass
class Floor:
    """The floor of one round."""

    stream: tuple[float, float]  # seconds, p50 and p99
    one_entry: list[SyncFloor] = field(default_factory=list)  # one process, three processes
    batches: list[SyncFloor] = field(default_factory=list)  # batches as large as the leader's under load


@dataclass
class Run:
    """Everything that was measured."""

    file_system: str
    plan: Plan
    remark: str = ""
    load: list[float] = field(default_factory=list)  # load average before each round
    rounds: list[list[Measured]] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare d-engine with PySyncObj and with this machine's floor.")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer and shorter rounds, fewer kills")
    add("--rounds", type=int, help="how often everything is measured (default 3; quick: 2)")
    add("--kills", type=int, help="kills of a leader a system, over all rounds (default 30; quick: 6)")
    add("--seconds", type=float, help="length of each throughput stretch (default 8; quick: 4)")
    add("--systems", nargs="+", choices=NAMES, default=list(NAMES))
    add("--directory", type=Path, default=HERE.parent / "build" / "bench", help="where data goes; a real file system")
    add("--remark", default="", help="a sentence for the report, such as what else the machine was doing")
    add("--output", type=Path, default=HERE, help="where the report goes")
    return parser.parse_args(argv)


def measure_floor(directory: Path, batch_bytes: int, seconds: float, tell: Callable[[str], None]) -> Floor:
    tell("loopback round trip")
    floor = Floor(round_trip(seconds))
    for processes in (1, 3):
        tell(f"write + fdatasync, {processes} process(es)")
        floor.one_entry.append(sync_floor(directory, RECORD, seconds, processes))
        floor.batches.append(sync_floor(directory, batch_bytes, seconds, processes))
    return floor


def leader_batch(results: list[Measured]) -> int:
    """Bytes a sync of our leader's log under load in this round; without it, those of 64 entries."""
    for result in results:
        if result.many and result.many.batching.get("leader"):
            return max(round(result.many.batching["leader"]["bytes_per_sync"]), RECORD)
    return 64 * RECORD


class Progress:
    """One line a step, with the share of the steps that are done. Plain, as it runs for minutes and often into a file."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = time.monotonic()

    def step(self, name: str) -> Callable[[str], None]:
        share = self._done / self._steps
        self._done += 1

        def tell(text: str) -> None:
            print(f"[{time.monotonic() - self._began:6.1f} s, {share:4.0%}] {name}: {text}", flush=True)

        return tell


def main(argv: Sequence[str] | None = None) -> int:
    """Runs everything and writes the report; 2 if the directory is in memory."""
    options = arguments(argv)
    rounds = options.rounds or (2 if options.quick else 3)
    kills = options.kills if options.kills is not None else (6 if options.quick else 30)
    seconds = options.seconds or (4.0 if options.quick else 8.0)
    plan = Plan(sequential_seconds=seconds * 0.75, throughput_seconds=seconds, kills=-(-kills // rounds))
    options.directory.mkdir(parents=True, exist_ok=True)
    directory = options.directory.resolve()
    kind = file_system(directory)
    if kind in IN_MEMORY:
        print(f"{directory} is in memory ({kind}); durable writes are measured on a disk: --directory", file=sys.stderr)
        return 2
    run = Run(kind, plan, options.remark)
    progress = Progress(rounds * (len(options.systems) + 1))
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=directory))
    try:
        for number in range(rounds):
            run.load.append(os.getloadavg()[0])
            first = number % len(options.systems)
            order = options.systems[first:] + options.systems[:first]
            results = [
                measure(system, plan, folder / system, progress.step(f"round {number + 1}, {system}"))
                for system in order
            ]
            run.rounds.append(results)
            step = progress.step(f"round {number + 1}, floor")
            run.floors.append(measure_floor(folder, leader_batch(results), min(seconds, 3.0), step))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_report(run, options.output)
    print(f"written: {options.output}/report.md, report.json, report.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
