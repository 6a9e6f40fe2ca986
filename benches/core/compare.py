"""Our cores beside raft-rs: commits per second of three cores in one process, in memory, in one alternating run.

    cd benches && python -m core.compare             # fifteen rounds: about 3 minutes
    cd benches && python -m core.compare --quick     # five short rounds

Writes report.md, report.json and the picture (report.svg) into this folder, or to --output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .build import build
from .report import write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
SYSTEMS = ("native", "raft-rs", "raft-rs-prost", "native-python", "pure")
# Which build of the Rust half drives which of them.
CODECS = {"native": "rust-protobuf", "raft-rs": "rust-protobuf", "raft-rs-prost": "prost"}


@dataclass
class Run:
    """Everything that was measured."""

    systems: list[str]
    batches: list[int]
    seconds: float
    remark: str = ""
    load: list[float] = field(default_factory=list)  # load average before each round
    rounds: list[list[dict[str, Any]]] = field(default_factory=list)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="core.compare", description="Compare our cores with raft-rs, in memory.")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer and shorter rounds")
    add("--rounds", type=int, help="how often everything is measured (default 15; quick: 5)")
    add("--seconds", type=float, help="length of each stretch (default 0.5; quick: 0.3)")
    add("--batches", type=int, nargs="+", default=[1, 64, 1024])
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    add("--remark", default="", help="a sentence for the report, such as what else the machine was doing")
    add("--output", type=Path, default=HERE, help="where the report goes")
    return parser.parse_args(argv)


def measure(program: Path | None, system: str, batch: int, seconds: float) -> dict[str, Any]:
    """One stretch, in a process of its own."""
    core = system.removesuffix("-python").removesuffix("-prost")
    driver = [str(program)] if program else [sys.executable, "-m", "core.loop"]
    command = [*driver, core, str(batch), str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent)
    return {**json.loads(done.stdout), "system": system}


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    rounds = options.rounds or (5 if options.quick else 15)
    seconds = options.seconds or (0.3 if options.quick else 0.5)
    programs = {system: build(CODECS[system]) for system in options.systems if system in CODECS}
    run = Run(options.systems, options.batches, seconds, options.remark)
    total, done, began = rounds * len(options.batches) * len(options.systems), 0, time.monotonic()
    for number in range(rounds):
        run.load.append(os.getloadavg()[0])
        results: list[dict[str, Any]] = []
        for batch in options.batches:
            # Whoever is first in one round is second in the next.
            first = number % len(options.systems)
            for system in options.systems[first:] + options.systems[:first]:
                result = measure(programs.get(system), system, batch, seconds)
                results.append(result)
                done += 1
                print(
                    f"[{time.monotonic() - began:6.1f} s, {done / total:4.0%}] round {number + 1}, batch {batch:>4},"
                    f" {system:<13} {result['rate']:>12,.0f} commits/s",
                    flush=True,
                )
        run.rounds.append(results)
    write_report(run, options.output)
    print(f"written: {options.output}/report.md, report.json, report.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
