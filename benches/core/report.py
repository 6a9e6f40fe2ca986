"""The report of a run: tables in Markdown, everything as JSON, and the picture."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import TYPE_CHECKING

from picture import Bars, draw
from saving import save

if TYPE_CHECKING:
    from pathlib import Path

    from .compare import Run

TITLES = {
    "native": "native, from Rust",
    "raft-rs": "raft-rs 0.7, from Rust",
    "raft-rs-prost": "raft-rs 0.7 with prost, from Rust",
    "native-python": "native, through Python's `step`",
    "pure": "pure Python",
}
# What is asked for: (system, batch) -> times raft-rs, or commits/s.
RATIOS = {("native", 1): 1.5, ("native", 64): 2.5}
RATES = {
    ("native-python", 1): 20_000,
    ("native-python", 64): 150_000,
    ("pure", 1): 8_000,
    ("pure", 64): 30_000,
}
NOTE = (
    "Three cores in one process, in memory, entries of 256 bytes; a batch enters when the one before it has been applied on"
    " all three. Bars are medians, marks are single stretches."
)
HOW = (
    "Three cores on one thread under one virtual clock, everything in memory, entries of 256 bytes; seconds are those of the"
    " thread on a processor, so that other work on the machine counts less. A batch enters when the"
    " one before it has been applied on all three members. All are driven by the same loop: whatever waits for one member"
    " is given to it, then comes the next member; messages are handed over as they are, without encoding; the log keeps its"
    " last 4,096 entries. Our cores are told through the public inputs that a write is durable (`Persisted`) and that"
    " entries are applied (`Applied`), and their followers learn of a commit by the leader's timer, so the loop moves the"
    " clock to the next deadline: 14 steps for a batch, and heartbeats. raft-rs tells its followers at once, so no timer"
    " fires and its clock stands still; it gets what its documentation recommends and what was its fastest form of those"
    " tried: the entries of a batch in one proposal, their payloads slices of one buffer, rust-protobuf as its codec (with"
    " prost, measured beside it, every copy of an entry copies its payload), `MemStorage`, all waiting messages before one `Ready`, which is"
    " persisted and advanced at once, and no logging compiled in."
)


def rates(run: Run, system: str, batch: int) -> list[float]:
    return [
        result["rate"]
        for results in run.rounds
        for result in results
        if (result["system"], result["batch"]) == (system, batch)
    ]


def ratios(run: Run, system: str, batch: int, to: str) -> list[float]:
    """Round by round, so that what slows down both cancels out."""
    pairs = zip(rates(run, system, batch), rates(run, to, batch), strict=True)
    return [ours / theirs for ours, theirs in pairs]


def spread(values: list[float]) -> float:
    return max(values) / min(values)


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} (x{spread(values):.2f})"


def main_table(run: Run) -> list[str]:
    lines = [
        "| commits/s | " + " | ".join(f"batches of {batch:,}" for batch in run.batches) + " |",
        "| --- |" + " --- |" * len(run.batches),
    ]
    for system in run.systems:
        cells = [cell(rates(run, system, batch)) for batch in run.batches]
        lines.append(f"| {TITLES[system]} | " + " | ".join(cells) + " |")
    return lines


def aims_table(run: Run) -> list[str]:
    lines = ["| asked for | batch | at least | measured | spread | |", "| --- | --- | --- | --- | --- | --- |"]
    for ((system, batch), aim), other in product(RATIOS.items(), ("raft-rs", "raft-rs-prost")):
        if system in run.systems and other in run.systems and batch in run.batches:
            found = ratios(run, system, batch, other)
            median = statistics.median(found)
            codec = " with prost" if other == "raft-rs-prost" else ""
            lines.append(
                f"| {TITLES[system]}, times raft-rs{codec} | {batch} | {aim} | {median:.2f} | x{spread(found):.2f}"
                f" | {'yes' if median >= aim else '**no**'} |"
            )
    for (system, batch), aim in RATES.items():
        if system in run.systems and batch in run.batches:
            found = rates(run, system, batch)
            median = statistics.median(found)
            lines.append(
                f"| {TITLES[system]}, commits/s | {batch} | {aim:,} | {median:,.0f} | x{spread(found):.2f}"
                f" | {'yes' if median >= aim else '**no**'} |"
            )
    return lines


def versions() -> str:
    try:
        ours = f"d-engine-core {version('d-engine-core')}"
    except PackageNotFoundError:
        ours = "d-engine-core (from the source tree)"
    rustc = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    return f"{ours}, raft 0.7.0, rustc {rustc}, CPython {platform.python_version()}"


def text(run: Run, profile: str) -> str:
    lines = [
        "# The cores alone",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {versions()}, {platform.system()} {platform.release()}, {os.cpu_count()} processors.",
        (
            f"One run, the order of the systems turns from round to round; {len(run.rounds)} rounds of {run.seconds:g} s each;"
            " a figure is the median, in brackets the largest round divided by the smallest; a ratio is taken within a round."
        ),
        f"Load average before the rounds: {', '.join(f'{load:.1f}' for load in run.load)}."
        + (f" {run.remark}" if run.remark else ""),
        "",
        HOW,
        "",
        "![The same figures as bars](report.svg)",
        "",
        *main_table(run),
        "",
        *aims_table(run),
        "",
    ]
    if profile:
        lines += [profile.rstrip(), ""]
    return "\n".join(lines)


def write_report(run: Run, output: Path) -> None:
    """report.md, report.json and report.svg; a file profile.md in the same place becomes a part of report.md."""
    save(output, asdict(run), lambda profile: text(run, profile))
    labels = [TITLES[system].replace("`", "") for system in run.systems]
    draw(
        [
            Bars(
                "One entry at a time" if batch == 1 else f"Batches of {batch:,}",
                "commits/s",
                labels,
                [rates(run, system, batch) for system in run.systems],
            )
            for batch in run.batches
        ],
        output / "report.svg",
        NOTE,
    )
