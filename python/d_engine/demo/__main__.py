"""The demo's command line: `python -m d_engine.demo [FILE...]`."""

import argparse
import math
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from d_engine import texts
from d_engine.demo.cluster import Cluster
from d_engine.demo.feed import Work
from d_engine.demo.places import file_system, make_place
from d_engine.demo.processes import ChildAnswerError, ChildGoneError
from d_engine.demo.show import Display, make_display
from d_engine.demo.story import Result, Story

FEWEST_ENTRIES = 600
LONGEST_LINE = 1_000_000


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d_engine.demo",
        description="Three processes count the words of your files through Raft. The leader is killed with SIGKILL"
        " half-way; a follower is stopped until only a snapshot can bring it back. At the end the three counts are"
        " compared with one made without Raft: equal, or exit status 1.",
    )
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="text files (default: three texts of the package)")
    add("--directory", type=Path, help="where the nodes keep their data (default: a temporary directory)")
    add("--seconds", type=float, default=8.0, help="spread the lines over about this long (0: as fast as can be)")
    add("--plain", action="store_true", help="no progress bar, one line a second")
    return parser.parse_args(argv)


def read_lines(files: Sequence[Path]) -> list[str]:
    """Every line of the files; few lines are taken several times, so that there is a log to purge."""
    lines: list[str] = []
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
            if len(line.encode()) > LONGEST_LINE:
                raise ValueError(f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes, which is no entry")
            lines.append(line)
        if lines and not lines[-1]:  # what follows the last line's end is no line
            lines.pop()
    if not lines:
        raise ValueError(f"there is no line in {', '.join(str(path) for path in files)}")
    rounds = -(-FEWEST_ENTRIES // len(lines))
    return lines * rounds


class Refresher:
    """Refreshes the display from one thread, which also tells what happens: displays need not be thread-safe."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._told: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="demo-display", daemon=True)
        self._thread.start()

    def tell(self, text: str) -> None:
        self._told.put(text)

    def close(self) -> None:
        self._told.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                text = self._told.get(timeout=0.1)
            except Empty:
                self._display.refresh()
                continue
            if text is None:
                self._display.close()
                return
            self._display.tell(text)


def summary(result: Result) -> str:
    """What was done, in a few lines."""

    def seconds(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.2f} s"

    rows = [
        ("entries", f"{result.lines:,} lines in {result.seconds:.1f} s, {result.words:,} words counted on each node"),
        ("acknowledged", f"{result.acknowledged:,}"),
        ("unknown outcomes", f"{result.unknown:,}, of which {result.unknown_applied:,} turned out to be in the log"),
        ("refused, sent again", f"{result.refused:,} (refusals are certain, unknown outcomes are never sent again)"),
        ("elections", f"{result.elections:,}"),
        ("kill -9 of the leader", f"{result.in_flight_at_kill:,} lines in flight"),
        ("  until the new leader", seconds(result.new_leader)),
        ("  until the next write", seconds(result.next_write)),
        ("snapshots", f"{result.snapshots_taken:,} taken, {result.snapshots_installed:,} installed"),
        ("syncs to disk", f"{result.syncs:,} on three nodes"),
    ]
    return "\n".join(f"{name:<24}{value}" for name, value in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 if the three states equal the count without Raft, 1 if anything is wrong, 2 for bad arguments."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the children in order, as Ctrl-C does
    try:
        lines = read_lines(options.files or texts.paths())
        directory = make_place(options.directory)
    except (OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    every = max(len(lines) // 12, 50)
    config = {"cluster": "demo", "snapshot_every_entries": every, "trailing_entries": every // 4}
    cluster = Cluster(directory, config)
    work = Work(lines, len(lines) / options.seconds if options.seconds > 0 else math.inf)
    refresher = Refresher(make_display(cluster, work, plain=options.plain))
    refresher.tell(f"{len(lines):,} lines; data in {directory} ({file_system(directory) or 'file system unknown'})")
    result = Result()
    problem = None
    try:
        result = Story(cluster, work, refresher.tell).run()
    except KeyboardInterrupt:
        problem = "interrupted"
    except (TimeoutError, RuntimeError, ChildGoneError, ChildAnswerError) as error:
        problem = str(error)
    finally:
        cluster.close()
        refresher.close()
    if problem is None:
        print(summary(result))
        if not result.differences:
            print("All three nodes and the count without Raft are EQUAL.")
            if options.directory is None:
                shutil.rmtree(directory)
            return 0
        problem = "; ".join(result.differences)
    print(f"demo FAILED: {problem}\nThe nodes' data and messages stay in {directory}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
