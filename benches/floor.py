"""What this machine can do without any consensus: writes that are synced, and a round trip over a loopback stream.

python benches/floor.py [--directory DIR]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
RECORD = 256 + 64  # an entry's payload and its header
AREA = 64 << 20  # written through in a circle, zero-filled before: no block is allocated while the clock runs


@dataclass
class SyncFloor:
    """write + fdatasync of one batch after the other."""

    batch_bytes: int
    processes: int
    p50: float  # seconds a batch
    p99: float
    batches_per_second: float  # of each process


def sync_run(directory: str, batch_bytes: int, seconds: float, start: float) -> tuple[list[float], float]:
    """Batches begin on a 4 KiB boundary, as the log's do. Returns the durations and the time it took."""
    data = os.urandom(batch_bytes)
    step = -(-batch_bytes // PAGE) * PAGE
    area = max(AREA, step)
    file = os.open(Path(directory) / f"floor-{os.getpid()}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for offset in range(0, area, 1 << 20):
            os.pwrite(file, bytes(min(1 << 20, area - offset)), offset)
        os.fsync(file)
        time.sleep(max(start - time.monotonic(), 0))
        durations: list[float] = []
        offset = 0
        now = began = time.perf_counter()
        while now - began < seconds:
            before = now
            os.pwrite(file, data, offset)
            os.fdatasync(file)
            offset = offset + step if offset + 2 * step <= area else 0
            now = time.perf_counter()
            durations.append(now - before)
        return durations, now - began
    finally:
        os.close(file)


def sync_floor(directory: Path, batch_bytes: int, seconds: float, processes: int) -> SyncFloor:
    """The floor of one log, or of three on the same disk at once."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        start = time.monotonic() + (0.0 if processes == 1 else 2.0)  # all at once, once their files are there
        context = multiprocessing.get_context("spawn")
        with context.Pool(processes) as pool:
            results = pool.starmap(sync_run, [(folder, batch_bytes, seconds, start)] * processes)
    durations = sorted(duration for run, _ in results for duration in run)
    rate = statistics.mean(len(run) / elapsed for run, elapsed in results)
    return SyncFloor(batch_bytes, processes, statistics.median(durations), durations[int(len(durations) * 0.99)], rate)


def echo(port: int) -> None:
    """The other side of the round trip."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := stream.recv(1 << 16):
            stream.sendall(data)


def round_trip(seconds: float) -> tuple[float, float]:
    """p50 and p99 of one record there and back between two processes, seconds."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = context.Process(target=echo, args=(server.getsockname()[1],))
        process.start()
        stream, _ = server.accept()
    data = os.urandom(RECORD)
    durations: list[float] = []
    with stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = began = time.perf_counter()
        while now - began < seconds:
            before = now
            stream.sendall(data)
            left = RECORD
            while left:
                left -= len(stream.recv(left))
            now = time.perf_counter()
            durations.append(now - before)
    process.join()
    durations.sort()
    return statistics.median(durations), durations[int(len(durations) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(description="The machine's floor: synced writes, loopback round trip.")
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    for entries in (1, 64, 1024):
        for processes in (1, 3):
            floor = sync_floor(options.directory, entries * RECORD, options.seconds, processes)
            print(
                f"{entries:5} entries a batch, {processes} process(es): p50 {floor.p50 * 1e3:.3f} ms,"
                f" p99 {floor.p99 * 1e3:.3f} ms, {floor.batches_per_second * entries:,.0f} entries/s each"
            )
    p50, p99 = round_trip(options.seconds)
    print(f"loopback round trip: p50 {p50 * 1e6:.0f} us, p99 {p99 * 1e6:.0f} us")


if __name__ == "__main__":
    main()
