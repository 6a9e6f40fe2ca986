"""Sequential latency of a `LocalCluster`: three nodes with real logs in one process, one write at a time.

python benches/latency.py [--seconds 3] [--size 256] [--directory DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

from d_engine import Config, Entry, LocalCluster, StateMachine
from d_engine.demo.places import file_system


class Tally(StateMachine[bytes, int]):
    def __init__(self) -> None:
        self.entries = 0

    def apply(self, entry: Entry) -> int:  # noqa: ARG002
        self.entries += 1
        return self.entries

    def snapshot(self, out: Any) -> None:
        out.write(str(self.entries).encode())

    def restore(self, src: Any) -> None:
        self.entries = int(src.read())


def main() -> None:
    parser = argparse.ArgumentParser(description="Sequential latency of a LocalCluster.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--size", type=int, default=256, help="bytes of an entry")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where the logs go (default: a temporary directory)"
    )
    options = parser.parse_args()
    data = os.urandom(options.size)
    with LocalCluster(Tally, nodes=3, config=Config(), directory=options.directory) as cluster:
        leader = cluster.nodes[cluster.leader]
        durations: list[float] = []
        for warming in (True, False):
            durations.clear()
            end = time.perf_counter() + (0.5 if warming else options.seconds)
            now = time.perf_counter()
            while now < end:
                began = now
                leader.propose(data)
                now = time.perf_counter()
                durations.append(now - began)
        metrics = leader.metrics()
    durations.sort()
    where = file_system(options.directory.resolve()) if options.directory else "temporary directory"
    print(
        f"{len(durations):,} writes of {options.size} bytes ({where}): p50 {statistics.median(durations) * 1e3:.3f} ms,"
        f" p99 {durations[int(len(durations) * 0.99)] * 1e3:.3f} ms; {metrics['log_syncs']:,} syncs on the leader"
    )


if __name__ == "__main__":
    main()
