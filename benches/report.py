"""The report of a run: tables in Markdown, everything as JSON, and the picture."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from picture import Bars, draw
from saving import save
from systems import NAMES, TITLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compare import Run
    from measure import Measured, Throughput

DURABILITY = (
    "d-engine acknowledges a write once it is synced to disk (`fdatasync`) on a quorum of the three nodes: it survives"
    " `kill -9` and power loss of all of them at once. PySyncObj keeps its log in memory: a restart of the processes"
    " loses everything. The comparison is therefore in PySyncObj's favour."
)
NOTE = (
    "256-byte entries, three processes on loopback. d-engine acknowledges a write once it is synced to disk on a quorum of"
    " the nodes; PySyncObj keeps everything in memory. Bars are medians, marks are single rounds or kills."
)


def middle(values: list[float]) -> tuple[float, float]:
    """Median, and spread as the ratio of the largest to the smallest."""
    return statistics.median(values), max(values) / min(values) if min(values) > 0 else 1.0


def per_round(run: Run, system: str, value: Callable[[Measured], float | None]) -> list[float]:
    found = (value(result) for results in run.rounds for result in results if result.system == system)
    return [number for number in found if number is not None]


def all_kills(run: Run, system: str) -> list[float]:
    return [
        seconds
        for results in run.rounds
        for result in results
        if result.system == system
        for seconds in result.failover
    ]


def cell(values: list[float], scale: float, form: str) -> str:
    if not values:
        return "-"
    median, spread = middle(values)
    return f"{median * scale:{form}} (x{spread:.2f})"


def rate(name: str) -> Callable[[Measured], float | None]:
    def value(result: Measured) -> float | None:
        throughput: Throughput | None = getattr(result, name)
        return throughput.rate if throughput else None

    return value


def systems_of(run: Run) -> list[str]:
    return [name for name in NAMES if per_round(run, name, lambda result: result.p50)]


def main_table(run: Run) -> list[str]:
    lines = [
        (
            "| system | sequential p50, ms | p99, ms | writes/s, 4,096 in flight, `submit_many` of 64 | one call each |"
            " failover p50, s | longest |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in systems_of(run):
        kills = all_kills(run, name)
        lines.append(
            f"| {TITLES[name]}"
            f" | {cell(per_round(run, name, lambda result: result.p50), 1e3, '.3f')}"
            f" | {cell(per_round(run, name, lambda result: result.p99), 1e3, '.3f')}"
            f" | {cell(per_round(run, name, rate('many')), 1, ',.0f')}"
            f" | {cell(per_round(run, name, rate('single')), 1, ',.0f')}"
            f" | {f'{statistics.median(kills):.2f} of {len(kills)} kills' if kills else '-'}"
            f" | {f'{max(kills):.2f}' if kills else '-'} |"
        )
    return lines


def floor_table(run: Run) -> list[str]:
    lines = ["| floor | p50, ms | p99, ms | entries/s |", "| --- | --- | --- | --- |"]
    streams = [floor.stream for floor in run.floors]
    lines.append(
        f"| loopback stream round trip, 320 bytes | {cell([p50 for p50, _ in streams], 1e3, '.3f')}"
        f" | {cell([p99 for _, p99 in streams], 1e3, '.3f')} | - |"
    )
    for kind in ("one_entry", "batches"):
        for at, processes in enumerate(("one process", "three processes at once")):
            floors = [getattr(floor, kind)[at] for floor in run.floors]
            size = statistics.median(floor.batch_bytes for floor in floors)
            entries = [floor.batches_per_second * floor.batch_bytes / 320 for floor in floors]
            lines.append(
                f"| write + fdatasync of {size:,.0f} bytes, {processes}"
                f" | {cell([floor.p50 for floor in floors], 1e3, '.3f')}"
                f" | {cell([floor.p99 for floor in floors], 1e3, '.3f')} | {cell(entries, 1, ',.0f')} |"
            )
    return lines


def batching_table(run: Run) -> list[str]:
    lines = [
        "| 4,096 in flight | node | entries a call of `apply_batch` | an append | a sync | bytes a sync | processors |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for results in run.rounds[-1:]:
        for result in results:
            for title, throughput in (("`submit_many` of 64", result.many), ("one `submit` each", result.single)):
                if throughput is None:
                    continue
                for role, sizes in throughput.batching.items():
                    if sizes:
                        lines.append(
                            f"| {title} | {role} | {sizes['entries_per_apply']:,.0f} | {sizes['entries_per_append']:,.0f}"
                            f" | {sizes['entries_per_sync']:,.0f} | {sizes['bytes_per_sync']:,.0f}"
                            f" | {throughput.cpu[role]:.2f} |"
                        )
    return lines


def versions() -> str:
    found = []
    for package in ("d-engine-core", "pysyncobj"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return ", ".join(found)


def text(run: Run, profile: str) -> str:
    lost = sum(
        throughput.lost
        for results in run.rounds
        for result in results
        if result.system != "d-engine"
        for throughput in (result.single,)
        if throughput
    )
    lines = [
        "# Benchmark",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {versions()}, CPython {platform.python_version()}, {platform.system()}"
            f" {platform.release()}, {os.cpu_count()} processors, data on {run.file_system or 'an unknown file system'}."
        ),
        (
            "Three processes on loopback, entries of 256 bytes, the same Python state machine on every node; the load comes"
            " from two threads of the leader's process. One run, the order of the systems turns from round to round."
        ),
        f"{len(run.rounds)} rounds; each figure is the median, in brackets the largest round divided by the smallest.",
        f"Load average before the rounds: {', '.join(f'{load:.1f}' for load in run.load)}."
        + (f" {run.remark}" if run.remark else ""),
        "",
        f"**What was durable.** {DURABILITY}",
        "",
        "![The same figures as bars](report.svg)",
        "",
        *main_table(run),
        "",
        (
            "Failover is the time from SIGKILL of the leader to the acknowledgement of a write that was sent after it, through"
            " one of the two survivors, where a new write is sent every 10 ms. PySyncObj has no call for several entries."
            f" Writes that PySyncObj never acknowledged under load: {lost:,}."
        ),
        "",
        "## The floor of this machine",
        "",
        (
            "The same bytes in the same batches (as large as our leader's under load in this run), written and synced without"
            " anything around it, and one record there and back between two processes."
        ),
        "",
        *floor_table(run),
        "",
        "## Batching",
        "",
        *batching_table(run),
        "",
    ]
    if profile:
        lines += [profile.rstrip(), ""]
    return "\n".join(lines)


def write_report(run: Run, output: Path) -> None:
    """report.md, report.json and report.svg; a file profile.md in the same place becomes a part of report.md."""
    save(output, asdict(run), lambda profile: text(run, profile))
    names = systems_of(run)
    labels = [TITLES[name] for name in names]

    def bars(title: str, unit: str, values: dict[str, list[float]], *, log: bool = False) -> Bars:
        return Bars(title, unit, labels, [values.get(name, []) for name in names], log=log)

    best = {name: per_round(run, name, rate("many")) or per_round(run, name, rate("single")) for name in names}
    panels = [
        bars(
            "One write at a time, p50",
            "ms",
            {n: [1e3 * v for v in per_round(run, n, lambda r: r.p50)] for n in names},
            log=True,
        ),
        bars("4,096 writes in flight", "writes/s", best),
        bars("kill -9 of the leader to the next write", "s", {n: all_kills(run, n) for n in names}),
    ]
    draw(
        panels,
        output / "report.svg",
        NOTE,
    )
