"""`python -m d_engine doctor DIR`: what this machine gives a node. Standard library only."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main", "report"]

_SYNCS = 200
_BLOCK = 4096
_FEW_BYTES = 1 << 30


def main(arguments: list[str]) -> int:
    """Prints the report for a directory. 0: fine, 1: something is wrong, 2: wrong usage."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m d_engine doctor DIR    (a directory where a node is to keep its data)", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    if not directory.is_dir():
        print(f"{directory} is no directory: make it, or name its parent", file=sys.stderr)
        return 2
    lines, problems = report(directory)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")
    for problem in problems:
        print(f"! {problem}")
    print("problems found" if problems else "nothing to complain about")
    return 1 if problems else 0


def report(directory: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """(name, value) pairs and problems. Writes and removes one small file in `directory`."""
    lines: list[tuple[str, str]] = []
    problems: list[str] = []
    lines.append(("python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"))
    _native(lines, problems)
    lines.append(("sqlite", sqlite3.sqlite_version))
    lines.append(("cpus", str(os.cpu_count())))
    kind = file_system(directory)
    lines.append(("directory", f"{directory.resolve()} ({kind or 'file system unknown'})"))
    if kind in {"tmpfs", "ramfs"}:
        problems.append(f"{directory} lies in memory ({kind}): nothing there survives a power cut")
    if kind.startswith(("nfs", "cifs", "smb", "fuse")):
        problems.append(
            f"{directory} lies on {kind}: locks and syncs may not mean there what they mean on a local disk"
        )
    usage = shutil.disk_usage(directory)
    lines.append(("free space", f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB"))
    if usage.free < _FEW_BYTES:
        problems.append(f"less than 1 GiB is free in {directory}")
    _syncs(directory, lines, problems)
    _clock(lines, problems)
    return lines, problems


def _native(lines: list[tuple[str, str]], problems: list[str]) -> None:
    from ._process import native

    try:
        core = native()
    except ImportError as error:
        lines.append(("core", "missing"))
        problems.append(str(error))
    else:
        lines.append(("d-engine-core", core.__version__))
        lines.append(("core", f"native ({', '.join(core.features())})"))


def _syncs(directory: Path, lines: list[tuple[str, str]], problems: list[str]) -> None:
    sync = getattr(os, "fdatasync", os.fsync)
    block = os.urandom(_BLOCK)
    taken: list[float] = []
    try:
        handle, path = tempfile.mkstemp(prefix="d-engine-doctor-", dir=directory)
    except OSError as error:
        problems.append(f"{directory} cannot be written: {error}")
        return
    try:
        # Like a log: the file is filled first, so that what is measured is data and not the file's growth.
        for _ in range(_SYNCS):
            os.write(handle, block)
        os.fsync(handle)
        os.lseek(handle, 0, os.SEEK_SET)
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(handle, block)
            sync(handle)
            taken.append(time.perf_counter() - began)
    except OSError as error:
        problems.append(f"{directory} cannot be written: {error}")
        return
    finally:
        os.close(handle)
        os.unlink(path)  # noqa: PTH108 (a descriptor's name, not a path of the user)
    taken.sort()
    middle, slow = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    lines.append(
        (sync.__name__, f"p50 {middle * 1e3:.3f} ms, p99 {slow * 1e3:.3f} ms ({_SYNCS} writes of {_BLOCK} bytes)")
    )
    if slow > 0.5:
        problems.append(
            f"one write in a hundred takes {slow:.1f} s to become durable: elections may be slow, use a faster disk"
        )


def _clock(lines: list[tuple[str, str]], problems: list[str]) -> None:
    info = time.get_clock_info("monotonic")
    lines.append(("clock", f"{info.implementation}, resolution {info.resolution * 1e9:.0f} ns"))
    lines.append(("wall time", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())))
    before_wall, before = time.time(), time.monotonic()
    time.sleep(0.05)
    drift = abs((time.time() - before_wall) - (time.monotonic() - before))
    if drift > 0.01:
        problems.append(
            f"wall clock and monotonic clock differ by {drift * 1e3:.0f} ms over 50 ms: is the clock being set?"
        )


def file_system(directory: Path) -> str:
    """The kind of file system, where the system tells (Linux); else ""."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        where = directory.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ")
        if where.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), parts[2]
    return kind
